// Captions of one session: a card for each language, a paragraph for each segment, the unstable end in grey.

const KEPT = 40;

export class Captions {
  #cards = new Map();

  constructor(place) {
    this.place = place;
  }

  show(caption, title) {
    const key = `${caption.source ? "source" : "target"} ${caption.language}`;
    const list = this.#cards.get(key) ?? this.#card(key, caption, title);
    let line = list.querySelector(`[data-segment="${Number(caption.segment)}"]`);
    if (!line) {
      line = document.createElement("p");
      line.dataset.segment = caption.segment;
      list.append(line);
      while (list.children.length > KEPT) list.firstElementChild.remove();
    }
    const unstable = document.createElement("span");
    unstable.className = "unstable";
    unstable.textContent = caption.final ? "" : caption.text.slice(caption.stable);
    line.replaceChildren(caption.final ? caption.text : caption.text.slice(0, caption.stable), unstable);
    line.classList.toggle("final", caption.final);
    list.scrollTop = list.scrollHeight;
  }

  #card(key, caption, title) {
    const card = document.createElement("section");
    card.className = "card";
    card.dataset.language = caption.language;
    card.dataset.kind = caption.source ? "source" : "target";
    const heading = document.createElement("h2");
    heading.textContent = title;
    const list = document.createElement("div");
    list.className = "caption";
    list.lang = caption.language;
    list.setAttribute("aria-live", "polite");
    card.append(heading, list);
    this.place.append(card);
    this.#cards.set(key, list);
    return list;
  }
}
