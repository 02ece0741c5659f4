"""How far a dub is, from what each stage has finished."""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.events.event import JobEvent, Phase, Progress, StageCount

Emit = Callable[[JobEvent], None]
"""Takes an event and returns at once; events go off to the side and nobody waits for them."""

WEIGHTS: dict[Stage, float] = {"transcribe": 0.12, "translate": 0.03, "synthesize": 0.77, "assemble": 0.08}
"""Shares of the work, measured on the embedded models: synthesis is nine tenths of it."""
DRAWING: dict[Stage, float] = {"draw": 0.2}
"""The share of what only some jobs want: a picture encoded anew, with subtitles in it."""
PHASES: dict[Stage, Phase] = {
    "transcribe": "TRANSCRIBING",
    "translate": "TRANSLATING",
    "synthesize": "SYNTHESIZING",
    "assemble": "ASSEMBLING",
    "draw": "ASSEMBLING",
}
INTERVAL_S = 0.25
"""At most four progress events a second."""


SHARED_STAGES: frozenset[Stage] = frozenset({"transcribe"})
"""Done once, however many languages a file is dubbed into."""


class Finished(Protocol):
    """What a stage tells of its work."""

    def finished(self, stage: Stage, count: int, reached: int) -> None:
        """`count` pieces are done, and the stage has come to position `reached` of the timeline."""
        ...


class ProgressTracker:
    """Counts what is done and tells it, no more often than every INTERVAL_S."""

    def __init__(
        self,
        emit: Emit,
        duration: int,
        now: Callable[[], float] = time.monotonic,
        *,
        weights: Mapping[Stage, float] = WEIGHTS,
        lanes: int = 1,
    ) -> None:
        """
        duration: length of the file in samples at 16 kHz. weights: the stages there are, and their shares.
        lanes: how many times the stages that are not shared go over the file, once for each language.
        """
        self._emit = emit
        self._duration = max(duration, 1)
        work = {stage: share if stage in SHARED_STAGES else share * lanes for stage, share in weights.items()}
        self._weights = {stage: share / math.fsum(work.values()) for stage, share in work.items()}
        self._now = now
        self._started = now()
        self._last_told = float("-inf")
        self._percent = 0.0
        self._counts: dict[Stage, StageCount] = {stage: StageCount() for stage in weights}
        self._reached: dict[Stage, list[int]] = {
            stage: [0] * (1 if stage in SHARED_STAGES else lanes) for stage in weights
        }

    def expect(self, stage: Stage, count: int, *, final: bool = False) -> None:
        """`count` more pieces are to come; `final` says that no others will."""
        old = self._counts[stage]
        self._counts[stage] = StageCount(old.done, old.total + count, old.final or final)

    def lane(self, number: int) -> Finished:
        """For the stages of one language, counted from 0."""
        return _Lane(self, number)

    def finished(self, stage: Stage, count: int, reached: int, lane: int = 0) -> None:
        """`count` pieces are done, and the stage has come to position `reached` of the timeline."""
        old = self._counts[stage]
        self._counts[stage] = StageCount(old.done + count, max(old.total, old.done + count), old.final)
        positions = self._reached[stage]
        positions[lane] = max(positions[lane], min(reached, self._duration))
        self.tell()

    def ended(self, stage: Stage) -> None:
        """The stage has nothing left to do."""
        old = self._counts[stage]
        self._counts[stage] = StageCount(old.done, old.done, True)
        self._reached[stage] = [self._duration] * len(self._reached[stage])
        self.tell(force=True)

    def tell(self, *, force: bool = False) -> None:
        """Emit the state, unless that was done a moment ago."""
        now = self._now()
        if not force and now - self._last_told < INTERVAL_S:
            return
        self._last_told = now
        share = math.fsum(weight * self._done(stage) for stage, weight in self._weights.items())
        self._percent = max(self._percent, min(round(100 * share, 1), 99.9))
        elapsed = now - self._started
        remaining = round(elapsed * (1 - share) / share, 1) if share > 0.02 else None
        stages = {str(stage): count for stage, count in self._counts.items()}
        self._emit(Progress(self._phase(), self._percent, stages, remaining))

    def _done(self, stage: Stage) -> float:
        """Which share of a stage is done."""
        positions = self._reached[stage]
        return sum(positions) / (self._duration * len(positions))

    def _phase(self) -> Phase:
        """The slowest stage that is not finished."""
        unfinished = [stage for stage in self._weights if min(self._reached[stage]) < self._duration]
        busy = [stage for stage in unfinished if self._counts[stage].done or self._counts[stage].total]
        return PHASES[busy[-1] if busy else unfinished[0] if unfinished else list(self._weights)[-1]]


@dataclass(frozen=True, slots=True)
class _Lane:
    tracker: ProgressTracker
    number: int

    def finished(self, stage: Stage, count: int, reached: int) -> None:
        self.tracker.finished(stage, count, reached, self.number)
