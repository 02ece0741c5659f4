"""Utterance: one stretch of speech on the timeline."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Utterance:
    """Where somebody speaks: positions in samples at 16 kHz, `end` exclusive."""

    start: int
    end: int

    @property
    def length(self) -> int:
        return self.end - self.start
