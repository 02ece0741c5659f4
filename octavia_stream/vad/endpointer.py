"""Endpointer: probabilities of speech → utterances. Pure; positions are counted, never looked up."""

from dataclasses import dataclass

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.vad.detector import VAD_FRAME_SAMPLES, Probabilities
from octavia_stream.vad.utterance import Utterance


@dataclass(frozen=True, slots=True)
class EndpointerOptions:
    """When speech starts and when it is over."""

    enter: float = 0.5
    """A frame at least this likely starts speech…"""
    leave: float = 0.35
    """…and only one below this can end it: between the two, what was goes on."""
    min_speech_ms: int = 250
    min_silence_ms: int = 200
    """A shorter silence belongs to the utterance."""
    pad_ms: int = 96
    """Added on both sides, for soft onsets and endings; at most half of `min_silence_ms`, so that none overlap."""

    def __post_init__(self) -> None:
        if 2 * self.pad_ms > self.min_silence_ms or self.leave > self.enter:
            raise ValueError("padding must fit into the shortest silence, and leave must not be above enter")


class Endpointer:
    """Follows one stream from sample 0. Give it every frame's probability, in order."""

    def __init__(self, options: EndpointerOptions | None = None) -> None:
        self._options = options or EndpointerOptions()
        self._pad = self._options.pad_ms * ASR_RATE_HZ // 1000
        self._min_speech = self._options.min_speech_ms * ASR_RATE_HZ // 1000
        self._min_silence = self._options.min_silence_ms * ASR_RATE_HZ // 1000
        self._start: int | None = None
        self._speech_end = 0
        self._voiced = 0
        self.position = 0
        """Samples heard so far."""

    @property
    def open(self) -> Utterance | None:
        """The utterance that is going on, as far as it goes; None while it is too short to count."""
        if self._start is None or self._voiced < self._min_speech:
            return None
        return Utterance(self._start, min(self._speech_end + self._pad, self.position))

    def push(self, probabilities: Probabilities) -> list[Utterance]:
        """The utterances that are now over."""
        return [ended for value in probabilities.tolist() if (ended := self.push_frame(value))]

    def push_frame(self, probability: float) -> Utterance | None:
        """One frame; the utterance that it ends, if any."""
        begin = self.position
        self.position += VAD_FRAME_SAMPLES
        if probability >= self._options.enter or (
            self._start is not None and self._speech_end == begin and probability >= self._options.leave
        ):
            if self._start is None:
                self._start = max(0, begin - self._pad)
                self._voiced = 0
            self._voiced += VAD_FRAME_SAMPLES
            self._speech_end = self.position
            return None
        if self._start is not None and self.position - self._speech_end >= self._min_silence:
            return self.finish()
        return None

    def cut(self, position: int) -> Utterance:
        """Split the open utterance in two; gives the first part, the second goes on."""
        if self._start is None or not self._start < position < self.position:
            raise ValueError("there is no open utterance at this position")
        first = Utterance(self._start, position)
        self._start = position
        return first

    def finish(self) -> Utterance | None:
        """The stream ends here: the open utterance, if it is long enough."""
        ended = self.open
        self._start = None
        return ended
