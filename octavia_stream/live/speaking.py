"""Speaking: lines → speech on the track of one language, hurried when it is late."""

from collections.abc import Callable
from functools import partial

from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.audio.resampling import resample
from octavia_stream.dubbing.punctuation import join_words
from octavia_stream.errors import OctaviaError
from octavia_stream.languages import Language
from octavia_stream.live.backlog import Backlog
from octavia_stream.live.frame import OUTPUT_RATE_HZ
from octavia_stream.live.lag import FASTEST, Pace, pace
from octavia_stream.live.phrase import Line, Phrase, SpokenLine
from octavia_stream.live.reliance import Reliance
from octavia_stream.live.track import Track
from octavia_stream.tts.synthesizer import Synthesizer
from octavia_stream.tts.voice import Voice

MOST_WAITING = 32
JOINED_CHARACTERS = 90
"""Lines that wait are spoken as one up to this length: it sounds better and costs less."""

SENTENCE_PAUSE_S = 0.25
CLAUSE_PAUSE_S = 0.05
"""Between two lines, when there is time."""


class Speaking:
    """One language. The room runs `run`; the next line is synthesised while one sounds."""

    def __init__(
        self,
        language: Language,
        track: Track[SpokenLine],
        synthesizer: Synthesizer,
        reliance: Reliance,
        voice: Callable[[str], Voice],
        clock: Callable[[], float],
        max_lag_s: float,
        dropped: Callable[[int], None],
    ) -> None:
        """voice: of a speaker; may raise. dropped: told how many phrases are lost."""
        self._language = language
        self._track = track
        self._synthesizer = synthesizer
        self._reliance = reliance
        self._voice = voice
        self._clock = clock
        self._max_lag_s = max_lag_s
        self._dropped = dropped
        self._backlog: Backlog[Line] = Backlog(MOST_WAITING)

    @property
    def waiting(self) -> int:
        """Lines that are not spoken yet."""
        return len(self._backlog)

    def add(self, line: Line) -> None:
        """Take a line; the oldest that waits gives way."""
        if lost := self._backlog.add(line):
            self._dropped(lost)

    def end(self) -> None:
        """No line comes any more."""
        self._backlog.end()

    async def run(self) -> None:
        """Until `end`, in order."""
        while (line := await self._backlog.take()) is not None:
            count, line = self._join(line)
            spoken = await self._speak(line)
            if spoken is None:
                self._dropped(count)

    def _join(self, line: Line) -> tuple[int, Line]:
        """A line together with those that wait behind it and belong to it, and how many those are."""
        count, last = 1, line
        while (after := self._backlog.first()) is not None:
            alike = after.phrase.speaker == line.phrase.speaker and after.phrase.sound is line.phrase.sound is None
            if not alike or len(line.text) + len(after.text) > JOINED_CHARACTERS:
                break
            self._backlog.drop_first()
            text = join_words([line.text, after.text], self._language)
            count, last = count + 1, after
            line = Line(line.phrase.until(last.phrase), text)
        return count, line

    async def _speak(self, line: Line) -> SpokenLine | None:
        """Lay it on the track; None when it is too late, or nobody can say it."""
        if line.phrase.sound is not None and line.phrase.language == self._language:
            return self._lay(AudioChunk(line.phrase.sound, ASR_RATE_HZ), line, Pace(1.0, 1.0))
        try:
            voice = self._voice(line.phrase.speaker)
            while (how := self._pace(line.phrase, self._waiting_s(voice))) is not None:
                synthesize = partial(self._synthesizer.synthesize, line.text, voice, how.speed)
                speech = await self._reliance.call(synthesize)
                if speech is not None:
                    return self._lay(speech, line, how)
        except OctaviaError:
            # No retry helps, and clients were told.
            return None
        return None

    def _pace(self, phrase: Phrase, waiting_s: float) -> Pace | None:
        ahead_s = self._track.ahead / OUTPUT_RATE_HZ
        lag_s = self._clock() + ahead_s - phrase.heard_at
        return pace(ahead_s + waiting_s, lag_s, self._max_lag_s)

    def _waiting_s(self, voice: Voice) -> float:
        """How long it will take to say what waits, at the fastest."""
        return sum(len(line.text) for line in self._backlog) / voice.characters_per_second / FASTEST

    def _lay(self, speech: AudioChunk, line: Line, how: Pace) -> SpokenLine:
        samples = resample(speech, OUTPUT_RATE_HZ).samples
        spoken = SpokenLine(line, samples, how.speed)
        if samples.size:
            pause_s = how.pauses * (SENTENCE_PAUSE_S if line.phrase.opens else CLAUSE_PAUSE_S)
            self._track.lay(samples, spoken, round(pause_s * OUTPUT_RATE_HZ))
        return spoken
