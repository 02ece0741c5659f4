"""Words that have to be translated in one way, or not at all.

Three things are tried, each only on the sentences that the one before did not settle. Often the model says it as it
should anyway. Else the wanted words are written into the source: models copy what they do not know, and the words
around agree with it ("a lâmina", not "o lâmina"). Else a stand-in is, which models leave alone, and what it stands
for is put back afterwards.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from octavia_stream.languages import Language
from octavia_stream.mt.translator import Hypothesis, Translation, Translator

STAND_INS = ("XQ", "QX", "ZQ")
"""With a number after it. Both of the embedded models copy these in every place of a sentence; brackets they drop."""


@dataclass(frozen=True, slots=True)
class Term:
    """How one thing is said."""

    source: str
    target: str
    """The same as `source` for what is not translated."""

    @property
    def kept(self) -> bool:
        return self.source == self.target


class Terminology:
    """Terms of one language to translate into."""

    def __init__(self, terms: Iterable[Term]) -> None:
        """terms: of two with the same source the first counts."""
        self.terms: dict[str, Term] = {}
        for term in terms:
            self.terms.setdefault(_known_as(term.source), term)
        longest_first = sorted(self.terms.values(), key=lambda term: -len(term.source))
        self._pattern = re.compile("|".join(_written(term.source) for term in longest_first)) if longest_first else None

    def found_in(self, sentence: str) -> list[tuple[re.Match[str], Term]]:
        """Where terms stand in a sentence, in order, none over another."""
        if self._pattern is None:
            return []
        return [(match, self._term(match[0])) for match in self._pattern.finditer(sentence)]

    def _term(self, written: str) -> Term:
        # Of an acronym its capitals are part.
        words = " ".join(written.split())
        return self.terms.get(words) or self.terms[words.casefold()]


class GlossaryTranslator:
    """`Translator` that keeps to a terminology."""

    def __init__(self, translator: Translator, terminology: Terminology, missed: Callable[[Term], None]) -> None:
        """missed: is told each term that a sentence could not be given."""
        self._translator = translator
        self._terminology = terminology
        self._missed = missed

    async def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        """As `Translator.translate`; hypotheses that say a term otherwise are left out where others do not."""
        settled: dict[int, Translation] = {}
        plain: dict[int, Translation] = {}
        orders = {place: _Order(sentence, self._terminology) for place, sentence in enumerate(sentences)}
        for write in (_Order.as_it_is, _Order.with_targets, _Order.with_stand_ins):
            texts = {place: write(order) for place, order in orders.items() if place not in settled}
            asked = {place: text for place, text in texts.items() if place not in plain or text != sentences[place]}
            if not asked:
                continue
            answers = await self._translator.translate(list(asked.values()), source, target, hypotheses)
            for place, answer in zip(asked, answers, strict=True):
                plain.setdefault(place, answer)
                if kept := orders[place].accept(answer.hypotheses):
                    settled[place] = Translation(sentences[place], kept)
        for place in orders.keys() - settled.keys():
            for term in orders[place].missing(plain[place].best.text):
                self._missed(term)
        return [settled.get(place, plain[place]) for place in orders]


class _Order:
    """One sentence, and what has to be in its translation."""

    def __init__(self, sentence: str, terminology: Terminology) -> None:
        self._sentence = sentence
        self._found = terminology.found_in(sentence)
        prefix = next((one for one in STAND_INS if one not in sentence), STAND_INS[0])
        self._stand_ins = {f"{prefix}{number}": term for number, (_, term) in enumerate(self._found, start=1)}

    def as_it_is(self) -> str:
        return self._sentence

    def with_targets(self) -> str:
        return self._with(term.target for _, term in self._found)

    def with_stand_ins(self) -> str:
        return self._with(self._stand_ins)

    def accept(self, hypotheses: Sequence[Hypothesis]) -> tuple[Hypothesis, ...]:
        """Those that say all terms as they have to be said, with stand-ins put back."""
        said = (Hypothesis(self._restored(one.text), one.score) for one in hypotheses)
        return tuple(one for one in said if not self.missing(one.text))

    def missing(self, text: str) -> list[Term]:
        """Terms that a translation does not say as often as the sentence does."""
        wanted: dict[Term, int] = {}
        for _, term in self._found:
            wanted[term] = wanted.get(term, 0) + 1
        return [term for term, count in wanted.items() if _count(term, text) < count]

    def _with(self, replacements: Iterable[str]) -> str:
        return "".join(_replaced(self._sentence, [match.span() for match, _ in self._found], replacements))

    def _restored(self, text: str) -> str:
        for stand_in, term in self._stand_ins.items():
            text = re.sub(rf"(?<!\w){stand_in}(?!\w)", partial(_placed, term), text)
        for term in {term for _, term in self._found if term.kept and not _is_acronym(term.source)}:
            # A name at the start of a sentence, or in a title, is still written as its owner writes it.
            text = re.sub(_bounded(term.source), partial(_as_written, term), text, flags=re.IGNORECASE)
        return text


def _placed(term: Term, match: re.Match[str]) -> str:
    starts = match.start() == 0 and not term.kept
    return term.target[:1].upper() + term.target[1:] if starts else term.target


def _as_written(term: Term, _: re.Match[str]) -> str:
    return term.target


def _replaced(text: str, spans: Iterable[tuple[int, int]], replacements: Iterable[str]) -> Iterator[str]:
    position = 0
    for (start, end), replacement in zip(spans, replacements, strict=True):
        yield text[position:start]
        yield replacement
        position = end
    yield text[position:]


def _count(term: Term, text: str) -> int:
    flags = re.NOFLAG if term.kept else re.IGNORECASE
    return len(re.findall(_bounded(term.target), text, flags=flags))


def _known_as(source: str) -> str:
    words = " ".join(source.split())
    return words if _is_acronym(words) else words.casefold()


def _is_acronym(source: str) -> bool:
    """`US` is not `us`; of everything else capitals say nothing, for recognition decides them."""
    return len(source) > 1 and source.isupper()


def _written(source: str) -> str:
    return _bounded(source) if _is_acronym(source) else f"(?i:{_bounded(source)})"


def _bounded(words: str) -> str:
    """The words, and not as part of longer ones; languages that put no spaces between words have no such bounds."""
    before = r"(?<!\w)" if _has_bounds(words[0]) else ""
    after = r"(?!\w)" if _has_bounds(words[-1]) else ""
    return before + r"\s+".join(map(re.escape, words.split())) + after


def _has_bounds(character: str) -> bool:
    return character.isalnum() and ord(character) < _FIRST_WITHOUT_SPACES


_FIRST_WITHOUT_SPACES = 0x0E00
"""From Thai on, most scripts of Unicode's order that are translated here are written without spaces."""
