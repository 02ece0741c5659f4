// Ear-voice spans over time: one line, the newest at the right. 600 × 120 units, 0 to 12 s.

const SHOWN = 120;
const WIDTH = 600;
const HEIGHT = 120;
const TOP_S = 12;
const SVG = "http://www.w3.org/2000/svg";

export class LagGraph {
  #spans = [];

  constructor(svg, output) {
    this.output = output;
    this.line = svg.appendChild(document.createElementNS(SVG, "polyline"));
    for (const seconds of [3, 6]) {
      const y = HEIGHT * (1 - seconds / TOP_S);
      const mark = svg.appendChild(document.createElementNS(SVG, "line"));
      for (const [name, value] of Object.entries({ x1: 0, x2: WIDTH, y1: y, y2: y })) mark.setAttribute(name, value);
    }
  }

  add(seconds) {
    this.#spans.push(seconds);
    if (this.#spans.length > SHOWN) this.#spans.shift();
    const step = WIDTH / SHOWN;
    const start = WIDTH - step * (this.#spans.length - 1);
    const points = this.#spans.map((span, i) => `${start + i * step},${HEIGHT * (1 - Math.min(span, TOP_S) / TOP_S)}`);
    this.line.setAttribute("points", points.join(" "));
    this.output.textContent = `${seconds.toFixed(1)} s`;
  }
}
