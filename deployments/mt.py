"""Translation as a Serve deployment: sentences of different jobs share one call of the model."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from deployments.backlog import Backlog, HeardBacklogs
from deployments.batching import batched
from deployments.engine_threads import EngineThreads
from deployments.replica_report import ReplicaReport
from octavia_stream.config import ReplicaSettings, Settings
from octavia_stream.dubbing.engines import PlainTranslator
from octavia_stream.errors import OctaviaError
from octavia_stream.languages import Language
from octavia_stream.mt.translator import Translation
from octavia_stream.telemetry.context import Carried
from octavia_stream.telemetry.metrics import ENGINE_BATCH


@dataclass(frozen=True, slots=True)
class TranslateRequest:
    """What one caller asked; `Translator.translate` says what the fields mean."""

    sentences: tuple[str, ...]
    source: Language
    target: Language
    hypotheses: int


class Mt:
    """All installed language pairs in one replica."""

    def __init__(
        self, make_engine: Callable[[], PlainTranslator], limits: ReplicaSettings, settings: Settings | None = None
    ) -> None:
        self._report = ReplicaReport("mt", settings)
        self._engine = EngineThreads(make_engine(), "mt", limits.stuck_after_s)
        self._batched = batched(self._together, limits)
        self._backlogs = HeardBacklogs()

    async def translate(
        self,
        sentences: Sequence[str],
        source: Language,
        target: Language,
        hypotheses: int = 1,
        brought: Carried = None,
        *,
        backlog: Backlog | None = None,
        live: bool = False,
    ) -> list[Translation]:
        """As `Translator.translate`. brought: the caller's ids; backlog: what waits with the caller.

        live: goes before everything that waits to be batched.
        """
        self._backlogs.hear(backlog)
        request = TranslateRequest(tuple(sentences), source, target, hypotheses)
        with self._report.call(brought):
            outcome = await self._at_once(request) if live else await self._batched(request)
            if isinstance(outcome, OctaviaError):
                raise outcome
            return outcome

    async def _at_once(self, request: TranslateRequest) -> list[Translation] | OctaviaError:
        [outcome] = await self._engine.run(partial(translate_together, requests=[request]))
        return outcome

    async def _together(self, requests: Sequence[TranslateRequest]) -> list[list[Translation] | OctaviaError]:
        ENGINE_BATCH.labels("translate").observe(len(requests))
        return await self._engine.run(partial(translate_together, requests=requests))

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve asks for it, and gives it to `QueuedSoundPolicy`."""
        return self._backlogs.stats()

    async def check_health(self) -> None:
        self._report.start()
        self._engine.check()

    async def pid(self) -> int:
        """The replica's process, for operators and tests."""
        return os.getpid()


def translate_together(
    engine: PlainTranslator, requests: Sequence[TranslateRequest]
) -> list[list[Translation] | OctaviaError]:
    """One engine call for all requests that ask for the same pair; answers in the order of the requests."""
    groups: dict[tuple[Language, Language, int], list[int]] = {}
    for place, request in enumerate(requests):
        groups.setdefault((request.source, request.target, request.hypotheses), []).append(place)
    answers: dict[int, list[Translation] | OctaviaError] = {}
    for (source, target, hypotheses), places in groups.items():
        sentences = [sentence for place in places for sentence in requests[place].sentences]
        try:
            translations = engine.translate(sentences, source, target, hypotheses)
        except OctaviaError as error:
            answers |= dict.fromkeys(places, error)
            continue
        remaining = iter(translations)
        for place in places:
            answers[place] = [next(remaining) for _ in requests[place].sentences]
    return [answers[place] for place in range(len(requests))]
