"""How far a dub is, from what each stage has finished."""

import time
from collections.abc import Callable, Mapping

from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.events.event import JobEvent, Phase, Progress, StageCount

Emit = Callable[[JobEvent], None]
"""Takes an event and returns at once; events go off to the side and nobody waits for them."""

WEIGHTS: dict[Stage, float] = {"transcribe": 0.12, "translate": 0.03, "synthesize": 0.77, "assemble": 0.08}
"""Shares of the work, measured on the embedded models: synthesis is nine tenths of it."""
PHASES: dict[Stage, Phase] = {
    "transcribe": "TRANSCRIBING",
    "translate": "TRANSLATING",
    "synthesize": "SYNTHESIZING",
    "assemble": "ASSEMBLING",
}
INTERVAL_S = 0.25
"""At most four progress events a second."""


class ProgressTracker:
    """Counts what is done and tells it, no more often than every INTERVAL_S."""

    def __init__(
        self,
        emit: Emit,
        duration: int,
        now: Callable[[], float] = time.monotonic,
        *,
        weights: Mapping[Stage, float] = WEIGHTS,
    ) -> None:
        """duration: length of the file in samples at 16 kHz. weights: the stages there are, and their shares."""
        self._emit = emit
        self._duration = max(duration, 1)
        self._weights = weights
        self._now = now
        self._started = now()
        self._last_told = float("-inf")
        self._percent = 0.0
        self._counts: dict[Stage, StageCount] = {stage: StageCount() for stage in weights}
        self._reached: dict[Stage, int] = dict.fromkeys(weights, 0)

    def expect(self, stage: Stage, count: int, *, final: bool = False) -> None:
        """`count` more pieces are to come; `final` says that no others will."""
        old = self._counts[stage]
        self._counts[stage] = StageCount(old.done, old.total + count, old.final or final)

    def finished(self, stage: Stage, count: int, reached: int) -> None:
        """`count` pieces are done, and the stage has come to position `reached` of the timeline."""
        old = self._counts[stage]
        self._counts[stage] = StageCount(old.done + count, max(old.total, old.done + count), old.final)
        self._reached[stage] = max(self._reached[stage], min(reached, self._duration))
        self.tell()

    def ended(self, stage: Stage) -> None:
        """The stage has nothing left to do."""
        old = self._counts[stage]
        self._counts[stage] = StageCount(old.done, old.done, True)
        self._reached[stage] = self._duration
        self.tell(force=True)

    def tell(self, *, force: bool = False) -> None:
        """Emit the state, unless that was done a moment ago."""
        now = self._now()
        if not force and now - self._last_told < INTERVAL_S:
            return
        self._last_told = now
        share = sum(weight * self._reached[stage] / self._duration for stage, weight in self._weights.items())
        self._percent = max(self._percent, min(round(100 * share, 1), 99.9))
        elapsed = now - self._started
        remaining = round(elapsed * (1 - share) / share, 1) if share > 0.02 else None
        stages = {str(stage): count for stage, count in self._counts.items()}
        self._emit(Progress(self._phase(), self._percent, stages, remaining))

    def _phase(self) -> Phase:
        """The slowest stage that is not finished."""
        unfinished = [stage for stage in self._weights if self._reached[stage] < self._duration]
        busy = [stage for stage in unfinished if self._counts[stage].done or self._counts[stage].total]
        return PHASES[busy[-1] if busy else unfinished[0] if unfinished else list(self._weights)[-1]]
