"""What every text engine does around its model: pass on what has no words, cut what is too long, join again."""

import re
from collections.abc import Callable, Sequence

from octavia_stream.mt.translator import Hypothesis, Translation

# Where a sentence that is too long may be cut, best places first. The cut falls after the match.
_CUTS = (
    re.compile(r"[.!?…]+[\"'”’»)\]]*(?=\s)|[。！？]+[」』”]?"),
    re.compile(r"[;:](?=\s)|[；：]|\s[–—-](?=\s)"),
    re.compile(r",(?=\s)|[，、،]"),
    re.compile(r"\s"),
)
_NO_SPACE_AFTER = re.compile(r"[\u3000-\u303f\u3040-\u30ff\u3400-\u9fff\uff00-\uffef\u0e00-\u0eff\u1000-\u109f]$")


def split_clauses(text: str, length: Callable[[str], int], limit: int) -> list[str]:
    """Cut `text` into parts of at most `limit`, as `length` measures them, at its punctuation if it has any.

    Nothing is lost but spaces at the cuts.
    """
    if length(text) <= limit or len(text) < 2:
        return [text]
    middle = len(text) // 2
    cut = middle
    for places in _CUTS:
        ends = [match.end() for match in places.finditer(text) if text[match.end() :].strip()]
        near = [end for end in ends if len(text) // 5 <= end <= len(text) - len(text) // 5]
        if near:
            cut = min(near, key=lambda end: abs(end - middle))
            break
    halves = (text[:cut].strip(), text[cut:].strip())
    return [part for half in halves if half for part in split_clauses(half, length, limit)]


def translate_in_clauses(
    sentences: Sequence[str],
    translate: Callable[[list[str]], list[tuple[Hypothesis, ...]]],
    length: Callable[[str], int],
    limit: int,
) -> list[Translation]:
    """Translate sentences of any length with an engine that takes clauses up to `limit`.

    translate: clauses to hypotheses, best first, one result each; called once at most.
    White space, line breaks too, becomes single spaces. A text without a letter (a number, an emoji) is its own
    translation, for models make words of it.
    """
    texts = [" ".join(sentence.split()) for sentence in sentences]
    clauses = [split_clauses(text, length, limit) if has_words(text) else [] for text in texts]
    flat = [clause for parts in clauses for clause in parts]
    results = iter(translate(flat) if flat else [])
    translations = []
    for sentence, parts in zip(sentences, clauses, strict=True):
        hypotheses = [next(results) for _ in parts]
        translations.append(Translation(sentence, _join(hypotheses)) if parts else as_they_are(sentence))
    return translations


def as_they_are(sentence: str) -> Translation:
    """A sentence that needs no translation, as one."""
    return Translation(sentence, (Hypothesis(" ".join(sentence.split()), 0.0),))


def has_words(text: str) -> bool:
    """Whether there is anything to translate."""
    return any(character.isalpha() for character in text)


def distinct(hypotheses: Sequence[Hypothesis]) -> tuple[Hypothesis, ...]:
    """Each text once, in order: different pieces may spell the same words. At least one, even when it is blank."""
    unique: dict[str, Hypothesis] = {}
    for hypothesis in hypotheses:
        if hypothesis.text.strip():
            unique.setdefault(hypothesis.text, hypothesis)
    return tuple(unique.values()) or tuple(hypotheses[:1])


def _join(parts: Sequence[tuple[Hypothesis, ...]]) -> tuple[Hypothesis, ...]:
    """The best of each part together, then the second best of each, as far as every part has one."""
    if len(parts) == 1:
        return parts[0]
    joined = []
    for rank in range(min(len(hypotheses) for hypotheses in parts)):
        chosen = [hypotheses[rank] for hypotheses in parts]
        text = ""
        for hypothesis in chosen:
            glue = "" if not text or _NO_SPACE_AFTER.search(text) else " "
            text += glue + hypothesis.text
        # Weighted by length, as if the parts had been scored in one go.
        weights = [len(hypothesis.text) + 1 for hypothesis in chosen]
        total = sum(hypothesis.score * weight for hypothesis, weight in zip(chosen, weights, strict=True))
        joined.append(Hypothesis(text, total / sum(weights)))
    return tuple(joined)
