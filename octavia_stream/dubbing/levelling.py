"""How loud the dub of each sentence must be."""

from bisect import insort
from collections.abc import Sequence
from typing import Protocol

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.dubbing.loudness import SILENCE_LUFS, LoudnessContour, speech_loudness
from octavia_stream.dubbing.segment import Sentence

MAX_GAIN_DB = 24.0
"""A whisper in the original does not make the dub whisper; a shout in the dub is no answer to noise."""
LOUDNESS_SPREAD_LU = 6.0
"""How far one sentence may lie from the speech of the whole file."""
DEFAULT_LOUDNESS_LUFS = -23.0
"""EBU R128, for speech in an original that cannot be measured."""


class Timed(Protocol):
    """What was said then, in samples at 16 kHz."""

    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


def usual_loudness(contour: LoudnessContour, sentences: Sequence[Timed]) -> float:
    """The median loudness of these sentences in the original, in LUFS."""
    usual = UsualLoudness(contour)
    for sentence in sentences:
        usual.add(sentence)
    return usual.lufs


class UsualLoudness:
    """The same, one sentence after the other."""

    def __init__(self, contour: LoudnessContour) -> None:
        self._contour = contour
        self._measured: list[float] = []

    def add(self, sentence: Timed) -> None:
        """Measure one more; silence does not count."""
        loudness = self._contour.loudness(sentence.start, sentence.end)
        if loudness > SILENCE_LUFS:
            insort(self._measured, loudness)

    @property
    def lufs(self) -> float:
        """The median of those so far."""
        return self._measured[len(self._measured) // 2] if self._measured else DEFAULT_LOUDNESS_LUFS


def speech_gain(contour: LoudnessContour, sentence: Sentence, speech: AudioChunk, usual: float) -> float:
    """What makes the dub of a sentence as loud as the sentence was."""
    original = contour.loudness(sentence.start, sentence.end)
    if original <= SILENCE_LUFS:
        # Nothing sounds there in the original, so there is nothing to be as loud as.
        original = usual
    wanted = min(max(original, usual - LOUDNESS_SPREAD_LU), usual + LOUDNESS_SPREAD_LU)
    gain_db = wanted - speech_loudness(speech.samples, speech.rate_hz)
    return float(10 ** (min(gain_db, MAX_GAIN_DB) / 20))
