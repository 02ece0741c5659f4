"""LiveRoom: one conversation, from the samples that come in to the frames and events that go out."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence

from octavia_stream.audio.chunk import ASR_RATE_HZ, Samples
from octavia_stream.dubbing.engines import Engines
from octavia_stream.errors import NotFound
from octavia_stream.languages import Language, language_name
from octavia_stream.live.cast import Cast
from octavia_stream.live.events import LiveRecord, SessionEnded, SpeakerJoined
from octavia_stream.live.hearing import Hearing
from octavia_stream.live.journal import Journal
from octavia_stream.live.listener import Listener
from octavia_stream.live.listening import Listening
from octavia_stream.live.options import LiveOptions
from octavia_stream.live.original import OriginalSound
from octavia_stream.live.output import Output
from octavia_stream.live.pacer import Outlet, Pacer
from octavia_stream.live.patience import PATIENCE
from octavia_stream.live.phrase import Draft, Phrase, SpokenLine
from octavia_stream.live.speaker import SpeakerInput
from octavia_stream.live.state import LanguageState, RoomLoad, RoomState, SpeakerState
from octavia_stream.live.track import Started
from octavia_stream.live.voices import VoiceChooser
from octavia_stream.vad.detector import SpeechDetector

LAST_WORDS_S = 8.0
"""How long a room that closes may still speak."""


class LiveRoom:
    """Speakers in, languages out. `run` owns every task; the rest may be called before, meanwhile and after.

    Everything is called from the event loop that `run` runs in.
    """

    def __init__(
        self,
        options: LiveOptions,
        engines: Engines,
        detector: Callable[[], SpeechDetector],
        voices: VoiceChooser,
        state: RoomState | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """detector: makes one for each speaker. state: what the room was elsewhere; it goes on with its numbers.

        clock: seconds that go by as `asyncio.sleep` does.
        """
        before = state or RoomState()
        self._options = options
        self._engines = engines
        self._detector = detector
        self._clock = clock
        self._before = before
        self._segment = before.segment
        self._journal = Journal(clock, before.seq)
        self._original = OriginalSound()
        self._cast = Cast(options.targets, voices, {name: one.voices for name, one in before.speakers.items()})
        self._outputs = {
            target.language: Output(
                target,
                options,
                engines,
                self._cast,
                self._journal,
                before.languages.get(target.language, LanguageState()),
                clock,
            )
            for target in options.targets
        }
        self._speakers: dict[str, SpeakerInput] = {}
        self._hearings: dict[str, Hearing] = {}
        self._hearing_tasks: list[asyncio.Task[None]] = []
        self._group: asyncio.TaskGroup | None = None
        self._running = False
        self._closing = asyncio.Event()
        self._closed = asyncio.Event()
        self._reason = "closed"

    async def run(self) -> None:
        """Until `close`. Use once. When it is cancelled or fails, it ends at once, and says so."""
        outlets = [output.outlet for output in self._outputs.values()]
        pacer = Pacer(outlets, self._options.original, self._original, self._clock, self._started)
        self._running = True
        ended_well = False
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                pacing = group.create_task(pacer.run(), name="pacer")
                outputs = [
                    group.create_task(output.run(), name=f"output-{output.language}")
                    for output in self._outputs.values()
                ]
                for hearing in self._hearings.values():
                    self._run_hearing(hearing)
                await self._closing.wait()
                await self._last_words(outputs)
                for task in (*self._hearing_tasks, *outputs, pacing):
                    task.cancel()
            ended_well = True
        finally:
            self._end(self._reason if ended_well else "failed")

    async def _last_words(self, outputs: Sequence[asyncio.Task[None]]) -> None:
        """Let everybody finish, for as long as that is bearable."""
        for hearing in self._hearings.values():
            hearing.end()
        deadline = self._clock() + LAST_WORDS_S
        if self._hearing_tasks:
            await asyncio.wait(self._hearing_tasks, timeout=LAST_WORDS_S)
        for output in self._outputs.values():
            output.end()
        await asyncio.wait(outputs, timeout=max(deadline - self._clock(), 0))

    async def close(self, reason: str) -> None:
        """Let what was said be spoken out, for some seconds, then end `run`. May be called twice."""
        if not self._closing.is_set():
            self._reason = reason
            self._closing.set()
        if not self._running:
            self._end(self._reason)
        await self._closed.wait()

    def speaker(self, speaker_id: str) -> SpeakerInput:
        """Where a speaker's sound comes in; the same one for the same id."""
        if speaker_id not in self._speakers:
            before = self._before.speakers.get(speaker_id, SpeakerState())
            self._speakers[speaker_id] = SpeakerInput(speaker_id, self._clock, self._journal.write, before.position)
            self._journal.write(SpeakerJoined(speaker_id))
            self._cast.join(speaker_id)
            self._start_hearing(speaker_id, before)
        return self._speakers[speaker_id]

    def listen(self, language: Language) -> Listener:
        """Hear one language from now on. Raises NotFound for one that does not go out."""
        output = self._outputs.get(language)
        if output is None:
            raise NotFound(f"This session does not go out in {language_name(language)}.")
        listener = Listener(language, output.outlet.listeners.discard)
        if self._closed.is_set():
            listener.end()
        output.outlet.listeners.add(listener)
        return listener

    def events(self, after: int = 0) -> AsyncIterator[LiveRecord]:
        """What happened after this number and happens from now on, until the room ends."""
        return self._journal.follow(after)

    def state(self) -> RoomState:
        """What another room needs to go on with this one."""
        speakers = dict(self._before.speakers)
        for name, speaker in self._speakers.items():
            speakers[name] = SpeakerState(speaker.position, self._hearings[name].language, self._cast.ids(name))
        languages = {language: output.state() for language, output in self._outputs.items()}
        return RoomState(self._journal.last, self._segment, speakers, languages)

    def load(self) -> RoomLoad:
        """How it keeps up."""
        return RoomLoad(
            heard_s=self._heard_s(),
            speakers=sum(speaker.left is None for speaker in self._speakers.values()),
            waiting_s=max((hearing.waiting_s for hearing in self._hearings.values()), default=0.0),
            dropped_input_s=sum(speaker.dropped for speaker in self._speakers.values()) / ASR_RATE_HZ,
            languages={language: output.load() for language, output in self._outputs.items()},
        )

    def _start_hearing(self, speaker_id: str, before: SpeakerState) -> None:
        speaker = self._speakers[speaker_id]
        options = PATIENCE[self._options.latency]
        self._hearings[speaker_id] = Hearing(
            speaker,
            Listening(speaker, self._detector(), options.endpointing, self._overhear),
            self._engines.transcriber,
            options,
            self._journal,
            self._options.source,
            before.language,
            self._number,
            self._say,
            self._draft,
            self._keeps_sound,
            self._clock,
        )
        if not self._closing.is_set():
            self._run_hearing(self._hearings[speaker_id])

    def _run_hearing(self, hearing: Hearing) -> None:
        """Now, or when the room runs."""
        if self._group is not None:
            self._hearing_tasks.append(self._group.create_task(hearing.listen(), name="listen"))
            self._hearing_tasks.append(self._group.create_task(hearing.recognise(), name="recognise"))

    def _overhear(self, speaker_id: str, samples: Samples) -> None:
        if self._options.original != "silent":
            self._original.push(speaker_id, samples)

    def _number(self) -> int:
        self._segment += 1
        return self._segment

    def _say(self, phrase: Phrase) -> None:
        for output in self._outputs.values():
            output.add(phrase)

    def _draft(self, draft: Draft) -> None:
        for output in self._outputs.values():
            output.draft(draft)

    def _keeps_sound(self, language: Language) -> bool:
        return self._options.own_language == "pass" and language in self._outputs

    def _started(self, outlet: Outlet, started: Started[SpokenLine]) -> None:
        self._outputs[outlet.language].started(started)

    def _heard_s(self) -> float:
        positions = {name: before.position for name, before in self._before.speakers.items()}
        positions |= {name: speaker.position for name, speaker in self._speakers.items()}
        return sum(positions.values()) / ASR_RATE_HZ

    def _end(self, reason: str) -> None:
        self._journal.write(SessionEnded(reason, round(self._heard_s(), 3)))
        self._journal.end()
        for output in self._outputs.values():
            for listener in output.outlet.listeners:
                listener.end()
        self._closing.set()
        self._closed.set()
