"""Speech recognition as a Serve deployment: chunks of different jobs share one call of the model."""

import os
from collections.abc import Callable, Sequence
from functools import partial

from deployments.backlog import Backlog, HeardBacklogs
from deployments.batching import batched
from deployments.engine_threads import EngineThreads
from deployments.replica_report import ReplicaReport
from octavia_stream.asr.transcriber import AsrTask, BatchTranscriber, TranscribeRequest
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.config import Settings, ThreadedReplicaSettings
from octavia_stream.errors import OctaviaError
from octavia_stream.languages import Language
from octavia_stream.telemetry.context import Carried
from octavia_stream.telemetry.metrics import ENGINE_BATCH


class Asr:
    """One model in one replica."""

    def __init__(
        self,
        make_engine: Callable[[], BatchTranscriber],
        limits: ThreadedReplicaSettings,
        settings: Settings | None = None,
    ) -> None:
        self._report = ReplicaReport("asr", settings)
        self._engine = EngineThreads(make_engine(), "asr", limits.stuck_after_s, limits.concurrent_calls)
        self._batched = batched(self._together, limits, limits.concurrent_calls)
        self._backlogs = HeardBacklogs()

    async def transcribe(
        self,
        audio: AudioChunk,
        language: Language | None,
        task: AsrTask = "transcribe",
        brought: Carried = None,
        *,
        backlog: Backlog | None = None,
        live: bool = False,
    ) -> Transcript:
        """As `Transcriber.transcribe`. brought: the caller's ids; backlog: what waits with the caller.

        live: goes before everything that waits to be batched.
        """
        self._backlogs.hear(backlog)
        request = TranscribeRequest(audio, language, task)
        with self._report.call(brought):
            outcome = await self._at_once(request) if live else await self._batched(request)
            if isinstance(outcome, OctaviaError):
                raise outcome
            return outcome

    async def _at_once(self, request: TranscribeRequest) -> Transcript | OctaviaError:
        [outcome] = await self._engine.run(partial(transcribe_each, requests=[request]))
        return outcome

    async def _together(self, requests: Sequence[TranscribeRequest]) -> list[Transcript | OctaviaError]:
        ENGINE_BATCH.labels("transcribe").observe(len(requests))
        return await self._engine.run(partial(transcribe_each, requests=requests))

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve asks for it, and gives it to `QueuedSoundPolicy`."""
        return self._backlogs.stats()

    async def check_health(self) -> None:
        self._report.start()
        self._engine.check()

    async def pid(self) -> int:
        """The replica's process, for operators and tests."""
        return os.getpid()


def transcribe_each(engine: BatchTranscriber, requests: Sequence[TranscribeRequest]) -> list[Transcript | OctaviaError]:
    """One call for all; when it is refused, one call each, so that nobody pays for a neighbour's bad chunk."""
    try:
        return list(engine.transcribe_batch(requests))
    except OctaviaError as error:
        if len(requests) == 1:
            return [error]
    return [outcome for request in requests for outcome in transcribe_each(engine, [request])]
