"""Speech synthesis as a Serve deployment: a sentence for each thread, for no engine of ours gains from a batch."""

import asyncio
import os
from collections.abc import Callable

from deployments.backlog import Backlog, HeardBacklogs
from deployments.engine_threads import EngineThreads
from deployments.replica_report import ReplicaReport
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.config import Settings, ThreadedReplicaSettings
from octavia_stream.dubbing.engines import PlainSynthesizer
from octavia_stream.telemetry.context import Carried
from octavia_stream.tts.voice import Voice


class Tts:
    """All installed voices in one replica."""

    def __init__(
        self,
        make_engine: Callable[[], PlainSynthesizer],
        limits: ThreadedReplicaSettings,
        settings: Settings | None = None,
    ) -> None:
        self._report = ReplicaReport("tts", settings)
        self._engine = EngineThreads(make_engine(), "tts", limits.stuck_after_s, limits.concurrent_calls)
        self._backlogs = HeardBacklogs()
        self._jobs_turn = asyncio.Semaphore(limits.concurrent_calls)
        """Whoever has it is at the engine; behind it, calls of live sessions find the engine's queue short."""

    async def synthesize(
        self,
        text: str,
        voice: Voice,
        speed: float = 1.0,
        brought: Carried = None,
        *,
        backlog: Backlog | None = None,
        live: bool = False,
    ) -> AudioChunk:
        """As `Synthesizer.synthesize`. brought: the caller's ids; backlog: what waits with the caller.

        live: goes before all jobs' calls but the one that is being computed.
        """
        self._backlogs.hear(backlog)
        with self._report.call(brought):
            if live:
                return await self._speak(text, voice, speed)
            async with self._jobs_turn:
                return await self._speak(text, voice, speed)

    async def _speak(self, text: str, voice: Voice, speed: float) -> AudioChunk:
        return await self._engine.run(lambda engine: engine.synthesize(text, voice, speed))

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Serve asks for it, and gives it to `QueuedSoundPolicy`."""
        return self._backlogs.stats()

    async def check_health(self) -> None:
        self._report.start()
        self._engine.check()

    async def pid(self) -> int:
        """The replica's process, for operators and tests."""
        return os.getpid()
