"""Phrasing: committed words → phrases that can be translated and spoken before the sentence ends. Pure.

A phrase ends where a sentence or a clause does, before a word that opens a clause, in a pause, and at last where it has
become so long that listeners would wait: then before a preposition if there is one, and never behind a word that leans
on the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from octavia_stream.asr.transcript import Word
from octavia_stream.dubbing.punctuation import ends_clause, ends_line
from octavia_stream.languages import Language
from octavia_stream.live.agreement import plain
from octavia_stream.live.function_words import LEANING, OPENERS, PREPOSITIONS

_RATE_HZ = 16_000


@dataclass(frozen=True, slots=True)
class PhrasingOptions:
    """How long a phrase may become."""

    clause_words: int = 3
    """At least so many words before a cut at a comma, or before a word that opens a clause."""
    longest_s: float = 1.8
    """From here on any place will do."""
    pause_s: float = 0.3


class PhraseCutter:
    """Follows the committed words of one speaker."""

    def __init__(self, language: Language, options: PhrasingOptions | None = None) -> None:
        self._options = options or PhrasingOptions()
        self._openers = OPENERS.get(language, frozenset())
        self._prepositions = PREPOSITIONS.get(language, frozenset())
        self._leaning = LEANING.get(language, frozenset()) | self._openers | self._prepositions
        self._words: list[Word] = []

    @property
    def pending(self) -> Sequence[Word]:
        """Committed words that are in no phrase yet."""
        return self._words

    @property
    def certain(self) -> int:
        """How many of them will be in the next phrase, whatever comes."""
        words = self._words
        places = range(len(words), self._options.clause_words - 1, -1)
        weak = (i for i in places if i < len(words) and self._weak(i))
        whole = (i for i in places if plain(words[i - 1].text) not in self._leaning)
        return next(weak, next(whole, min(len(words), self._options.clause_words)))

    @property
    def hanging(self) -> bool:
        """Whether the last word leans on one that has not come: nobody ends there."""
        return bool(self._words) and plain(self._words[-1].text) in self._leaning

    def push(self, words: Sequence[Word]) -> list[list[Word]]:
        """Add words, and take the phrases that they complete."""
        self._words.extend(words)
        phrases = []
        while cut := self._cut():
            phrases.append(self._words[:cut])
            del self._words[:cut]
        return phrases

    def finish(self) -> list[list[Word]]:
        """A pause, or the end: take what is left."""
        phrases = self.push(())
        if self._words:
            phrases.append(self._words)
            self._words = []
        return phrases

    def _cut(self) -> int:
        """How many words the next phrase takes; 0 when that is not known yet."""
        words = self._words
        for i in range(1, len(words)):
            if self._strong(i):
                return i
            length_s = (words[i].end - words[0].start) / _RATE_HZ
            if length_s > self._options.longest_s and (cut := self._anywhere(i)):
                return cut
            if length_s > 2 * self._options.longest_s:
                return i
        return 0

    def _strong(self, i: int) -> bool:
        """Whether a phrase ends before word `i`."""
        before, after = self._words[i - 1], self._words[i]
        if ends_line(before.text, after.text):
            return True
        if i < 2:
            return False
        if after.start - before.end >= self._options.pause_s * _RATE_HZ:
            return plain(before.text) not in self._leaning
        if i < self._options.clause_words:
            return False
        return ends_clause(before.text) or (
            plain(after.text) in self._openers and plain(before.text) not in self._leaning
        )

    def _weak(self, i: int) -> bool:
        return plain(self._words[i].text) in self._prepositions and plain(self._words[i - 1].text) not in self._leaning

    def _anywhere(self, last: int) -> int:
        """The latest place up to `last` that does least harm; 0 when all would."""
        least = min(self._options.clause_words, last)
        places = range(last, least - 1, -1)
        for i in places:
            if self._weak(i):
                return i
        return next((i for i in places if plain(self._words[i - 1].text) not in self._leaning), 0)
