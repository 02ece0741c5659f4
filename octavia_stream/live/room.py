"""LiveRoom: one conversation, from the samples that come in to the frames and events that go out."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable

from octavia_stream.dubbing.engines import Engines
from octavia_stream.errors import NotFound
from octavia_stream.languages import Language, language_name
from octavia_stream.live.events import LiveRecord, SessionEnded, SpeakerJoined, SpeakerLeft
from octavia_stream.live.frame import OUTPUT_RATE_HZ
from octavia_stream.live.journal import Journal
from octavia_stream.live.listener import Listener
from octavia_stream.live.options import LiveOptions
from octavia_stream.live.original import OriginalSound
from octavia_stream.live.pacer import Outlet, Pacer
from octavia_stream.live.phrase import SpokenLine
from octavia_stream.live.speaker import SpeakerInput
from octavia_stream.live.state import LanguageLoad, LanguageState, RoomLoad, RoomState, SpeakerState
from octavia_stream.live.track import Started, Track
from octavia_stream.live.voices import VoiceChooser
from octavia_stream.vad.detector import SpeechDetector


class LiveRoom:
    """Speakers in, languages out. `run` owns every task; the rest may be called before, meanwhile and after."""

    def __init__(
        self,
        options: LiveOptions,
        engines: Engines,
        detector: Callable[[], SpeechDetector],
        voices: VoiceChooser,
        state: RoomState | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """detector: makes one for each speaker. state: what the room was elsewhere; it goes on with its numbers."""
        self._options = options
        self._engines = engines
        self._detector = detector
        self._voices = voices
        self._clock = clock
        self._resumed = state or RoomState()
        self._journal = Journal(clock, self._resumed.seq)
        self._original = OriginalSound()
        self._outlets = {
            target.language: Outlet(target.language, Track[SpokenLine](self._before(target.language).position))
            for target in options.targets
        }
        self._speakers: dict[str, SpeakerInput] = {}
        self._closing = asyncio.Event()
        self._reason = "closed"

    def _before(self, language: Language) -> LanguageState:
        return self._resumed.languages.get(language, LanguageState())

    async def run(self) -> None:
        """Until `close`. Use once."""
        pacer = Pacer(list(self._outlets.values()), self._options.original, self._original, self._clock, self._started)
        async with asyncio.TaskGroup() as group:
            pacing = group.create_task(pacer.run(), name="pacer")
            await self._closing.wait()
            pacing.cancel()
        self._journal.write(SessionEnded(self._reason, self._heard_s()))
        self._journal.end()
        for outlet in self._outlets.values():
            for listener in outlet.listeners:
                listener.end()

    async def close(self, reason: str) -> None:
        """Let what was said be spoken out, then end `run`. May be called twice."""
        if not self._closing.is_set():
            self._reason = reason
            self._closing.set()

    def speaker(self, speaker_id: str) -> SpeakerInput:
        """Where a speaker's sound comes in; the same one for the same id."""
        if speaker_id not in self._speakers:
            before = self._resumed.speakers.get(speaker_id, SpeakerState())
            self._speakers[speaker_id] = SpeakerInput(speaker_id, self._clock, before.position)
            self._journal.write(SpeakerJoined(speaker_id))
        return self._speakers[speaker_id]

    def listen(self, language: Language) -> Listener:
        """Hear one language from now on. Raises NotFound for one that does not go out."""
        outlet = self._outlets.get(language)
        if outlet is None:
            raise NotFound(f"This session does not go out in {language_name(language)}.")
        listener = Listener(language, outlet.listeners.discard)
        outlet.listeners.add(listener)
        return listener

    def events(self, after: int = 0) -> AsyncIterator[LiveRecord]:
        """What happened after this number and happens from now on, until the room ends."""
        return self._journal.follow(after)

    def state(self) -> RoomState:
        """What another room needs to go on with this one."""
        speakers = {name: SpeakerState(position=speaker.position) for name, speaker in self._speakers.items()}
        languages = {language: LanguageState(outlet.track.position) for language, outlet in self._outlets.items()}
        return RoomState(self._journal.last, self._resumed.segment, self._resumed.speakers | speakers, languages)

    def load(self) -> RoomLoad:
        """How it keeps up."""
        languages = {
            language: LanguageLoad(
                len(outlet.listeners), 0, 0.0, 0, sum(listener.dropped for listener in outlet.listeners)
            )
            for language, outlet in self._outlets.items()
        }
        return RoomLoad(self._heard_s(), len(self._speakers), 0.0, 0.0, languages)

    def _heard_s(self) -> float:
        positions = {name: before.position for name, before in self._resumed.speakers.items()}
        positions |= {name: speaker.position for name, speaker in self._speakers.items()}
        return sum(positions.values()) / 16_000

    def _started(self, outlet: Outlet, started: Started[SpokenLine]) -> None:
        del outlet, started
        _ = OUTPUT_RATE_HZ, SpeakerLeft
