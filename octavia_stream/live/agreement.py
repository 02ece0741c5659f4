"""Agreement: which words of a hypothesis will stay. Pure.

LocalAgreement-2 (Liu et al. 2020; Macháček et al. 2023): what two hypotheses in a row begin with alike is committed,
and a committed word never changes. The last word of a hypothesis is not: it may be cut in the middle, and the model
likes to put a full stop behind it.
"""

import re
from collections.abc import Sequence

from octavia_stream.asr.transcript import Word

_RATE_HZ = 16_000
_WORTH = int(0.2 * _RATE_HZ)
"""Times of a word differ from one hypothesis to the next. Each word that is the same outweighs so much difference."""
_LONGEST_OVERLAP = 5
_MARKS = re.compile(r"[^\w]+")


class Agreement:
    """Follows the hypotheses of one speaker. Positions in samples at 16 kHz on the speaker's timeline."""

    def __init__(self) -> None:
        self._committed: list[Word] = []
        """The last ones, to find the place where a hypothesis goes on."""
        self._tail: tuple[Word, ...] = ()

    @property
    def tail(self) -> tuple[Word, ...]:
        """What was heard last and may still change."""
        return self._tail

    @property
    def until(self) -> int | None:
        """Where the last committed word ends."""
        return self._committed[-1].end if self._committed else None

    def push(self, hypothesis: Sequence[Word], *, final: bool = False) -> list[Word]:
        """The words that are now committed.

        hypothesis: all words of a stretch of sound that starts at, or before, the first word not committed.
        final: nothing follows; every word is committed.
        """
        fresh = tuple(hypothesis[self._known(hypothesis) :])
        agreed = len(fresh) if final else min(_common(self._tail, fresh), max(len(fresh) - 1, 0))
        words = list(fresh[:agreed])
        self._tail = fresh[agreed:]
        self._committed = (self._committed + words)[-_LONGEST_OVERLAP:]
        return words

    def finish(self) -> list[Word]:
        """Nothing follows, and nobody asks again: the words heard last are committed."""
        return self.force(0)

    def force(self, left_open: int) -> list[Word]:
        """Commit the words heard last but so many, agreed or not."""
        agreed = max(len(self._tail) - left_open, 0)
        words, self._tail = list(self._tail[:agreed]), self._tail[agreed:]
        self._committed = (self._committed + words)[-_LONGEST_OVERLAP:]
        return words

    def _known(self, hypothesis: Sequence[Word]) -> int:
        """How many words of a hypothesis are committed already."""
        if not self._committed or not hypothesis:
            return 0
        end = self._committed[-1].end

        def cost(place: int) -> float:
            distance = hypothesis[place - 1].end - end if place else hypothesis[0].start - end
            return abs(distance) - self._overlap(hypothesis, place) * _WORTH

        return min(range(len(hypothesis) + 1), key=cost)

    def _overlap(self, hypothesis: Sequence[Word], place: int) -> int:
        """How many words before a place are the last committed ones."""
        count = 0
        for committed, word in zip(reversed(self._committed), reversed(hypothesis[:place]), strict=False):
            if plain(committed.text) != plain(word.text):
                break
            count += 1
        return count


def plain(text: str) -> str:
    """A word as two hypotheses are compared by: without case and marks."""
    return _MARKS.sub("", text).casefold() or text


def _common(first: Sequence[Word], second: Sequence[Word]) -> int:
    """How many words both begin with."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if plain(one.text) != plain(other.text):
            break
        count += 1
    return count
