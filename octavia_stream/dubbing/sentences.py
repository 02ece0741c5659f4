"""From words to sentences: what is translated and dubbed as one.

Where a sentence ends depends on the words alone, never on how many of them came at a time: each decision looks at the
words since the last end and at a few that follow, and waits until those are known.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from octavia_stream.asr.transcript import Word
from octavia_stream.dubbing.punctuation import Punctuation, ends_clause, join_words
from octavia_stream.dubbing.segment import Sentence
from octavia_stream.languages import Language

_RATE_HZ = 16_000

LONG_PAUSE = int(1.2 * _RATE_HZ)
"""A pause that ends a sentence even without punctuation, in samples."""
LONGEST = 14 * _RATE_HZ
"""Longer sentences are cut, so that a dub never strays far from the picture."""
SHORTEST = int(0.6 * _RATE_HZ)
"""Shorter sentences join a neighbour: no voice says a word well in less."""
_OPEN = 2 * LONGEST
"""Speech without any end is cut when it is this long, so that nobody waits for the end of a monologue."""
_LOOKAHEAD_WORDS = 3

# What makes a place to cut, in samples of distance from the middle that it outweighs.
_CLAUSE_BONUS = 4 * _RATE_HZ
_PAUSE_BONUS_PER_SAMPLE = 10
_MOST_PAUSE_BONUS = 4 * _RATE_HZ


@dataclass(slots=True)
class _Stage:
    """Words that no sentence has yet."""

    words: list[Word] = field(default_factory=list)
    decided: int = 0
    """How many of them are known not to end a sentence."""


class SentenceAssembler:
    """Words in, whole sentences out, across chunk borders. Positions in samples at 16 kHz on the file's timeline."""

    def __init__(self, language: Language, first_index: int = 0) -> None:
        """first_index: the index of the first sentence it makes."""
        self._language = language
        self._punctuation = Punctuation(language)
        self._next_index = first_index
        self._stage = _Stage()
        self._held: list[Word] = []
        """A whole sentence that may still be joined by a short one after it."""

    @property
    def language(self) -> Language:
        """Of the words."""
        return self._language

    @property
    def next_start(self) -> int | None:
        """Where the next sentence will start; None while no word of it is known."""
        words = self._held or self._stage.words
        return words[0].start if words else None

    def push(self, words: Sequence[Word], final_until: int) -> list[Sentence]:
        """Add words in order of time, and take the sentences that they complete.

        final_until: every word that starts before this position has been pushed.
        """
        self._stage.words.extend(word for word in words if word.text.strip())
        return self._advance(final_until, finished=False)

    def finish(self) -> list[Sentence]:
        """No more words will come: take what is left."""
        return self._advance(0, finished=True)

    def change_language(self, language: Language) -> list[Sentence]:
        """No sentence goes from one language into another: take what is left, before words in the next are added."""
        released = self.finish()
        self._language = language
        self._punctuation = Punctuation(language)
        return released

    def _advance(self, final_until: int, *, finished: bool) -> list[Sentence]:
        released: list[Sentence] = []
        while (length := self._next_end(final_until, finished)) is not None:
            words = self._stage.words
            # What follows the cut is looked at anew, with another beginning.
            self._stage = _Stage(words[length:])
            for part in _cut(words[:length]):
                released += self._join_or_release(part)
        if self._held and (finished or self._nothing_joins_held(final_until)):
            released += self._release()
        return released

    def _nothing_joins_held(self, final_until: int) -> bool:
        """Whether the sentence after the one held back is known to be far off, or neither of the two to be short."""
        words = self._stage.words
        next_start = words[0].start if words else final_until
        if next_start - _end(self._held) >= LONG_PAUSE:
            return True
        return min(_length(self._held), _length(words[: self._stage.decided])) >= SHORTEST

    def _next_end(self, final_until: int, finished: bool) -> int | None:
        """How many words the next sentence takes; None when that is not known yet."""
        words = self._stage.words
        for i in range(self._stage.decided, len(words)):
            following = _following(words, i)
            complete = (
                len(following) == _LOOKAHEAD_WORDS
                or i + len(following) + 1 < len(words)
                or finished
                or final_until - _end(words) >= LONG_PAUSE
            )
            if not complete:
                return None
            self._stage.decided = i + 1
            if not following or self._punctuation.ends_sentence(words[: i + 1], following):
                return i + 1
            if words[i].end - words[0].start > _OPEN and (cut := _best_cut(words[: i + 1])):
                return cut
        return None

    def _join_or_release(self, words: list[Word]) -> list[Sentence]:
        """Hold a sentence back until the next is known; a short one of the two joins the other."""
        held = self._held
        near = bool(held) and words[0].start - _end(held) < LONG_PAUSE
        short = min(_length(held), _length(words)) < SHORTEST
        if near and short and _end(words) - held[0].start <= LONGEST:
            self._held = held + words
            return []
        released = self._release()
        self._held = words
        return released

    def _release(self) -> list[Sentence]:
        words, self._held = self._held, []
        if not words:
            return []
        index = self._next_index
        self._next_index += 1
        text = join_words([word.text.strip() for word in words], self._language)
        return [Sentence(index, text, self._language, words[0].start, _end(words))]


def _following(words: Sequence[Word], i: int) -> list[Word]:
    """The next words that no long pause parts from word `i`, three at most."""
    following: list[Word] = []
    for previous, word in zip(words[i:], words[i + 1 : i + 1 + _LOOKAHEAD_WORDS], strict=False):
        if word.start - previous.end >= LONG_PAUSE:
            break
        following.append(word)
    return following


def _cut(words: list[Word]) -> list[list[Word]]:
    """Parts of a sentence no longer than the longest, unless single words are."""
    cut = _best_cut(words) if _length(words) > LONGEST else None
    if cut is None:
        return [words]
    return _cut(words[:cut]) + _cut(words[cut:])


def _best_cut(words: Sequence[Word]) -> int | None:
    """How many words stand before the best place to cut: near the middle, after a clause or in a pause.

    None where either part would be too short to be said well.
    """
    middle = (words[0].start + _end(words)) // 2

    def cost(i: int) -> int:
        before, after = words[i - 1], words[i]
        pause = max(after.start - before.end, 0)
        distance = abs((before.end + after.start) // 2 - middle)
        bonus = _CLAUSE_BONUS if ends_clause(before.text) else 0
        return distance - bonus - min(pause * _PAUSE_BONUS_PER_SAMPLE, _MOST_PAUSE_BONUS)

    places = [i for i in range(1, len(words)) if min(_length(words[:i]), _length(words[i:])) >= SHORTEST]
    return min(places, key=cost, default=None)


def _end(words: Sequence[Word]) -> int:
    return max(word.end for word in words)


def _length(words: Sequence[Word]) -> int:
    return _end(words) - words[0].start if words else 0
