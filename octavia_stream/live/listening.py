"""Listening: a speaker's sound → when they speak. The fast half of hearing: it never waits for a model server."""

from collections import deque
from collections.abc import Callable

from octavia_stream.audio.chunk import Samples
from octavia_stream.live.heard_sound import HeardSound
from octavia_stream.live.speaker import SpeakerInput
from octavia_stream.vad.detector import SpeechDetector
from octavia_stream.vad.endpointer import Endpointer, EndpointerOptions
from octavia_stream.vad.utterance import Utterance

KEPT_S = 40.0
_MOST_UTTERANCES = 64


class Listening:
    """Follows one speaker from a position on. Positions in samples at 16 kHz on the speaker's timeline."""

    def __init__(
        self,
        speaker: SpeakerInput,
        detector: SpeechDetector,
        options: EndpointerOptions,
        overheard: Callable[[str, Samples], None],
    ) -> None:
        """overheard: given all sound as it comes."""
        self._speaker = speaker
        self._detector = detector
        self._overheard = overheard
        self._base = speaker.position
        self._endpointer = Endpointer(options)
        self.sound = HeardSound(speaker.position, KEPT_S)
        self.over: deque[Utterance] = deque(maxlen=_MOST_UTTERANCES)
        """Utterances that ended, until somebody takes them from here."""

    @property
    def open(self) -> Utterance | None:
        """What is being said."""
        going_on = self._endpointer.open
        return None if going_on is None else self._placed(going_on)

    def hear(self) -> None:
        """Take what came."""
        for block in self._speaker.take():
            heard = self.sound.append(block).samples
            self._overheard(self._speaker.speaker_id, heard)
            for ended in self._endpointer.push(self._detector.push(heard)):
                self.over.append(self._placed(ended))
        if self._speaker.left is not None:
            self.finish()

    def finish(self) -> None:
        """Whoever was speaking is not any more."""
        if (last := self._endpointer.finish()) is not None:
            self.over.append(self._placed(last))

    def _placed(self, utterance: Utterance) -> Utterance:
        return Utterance(utterance.start + self._base, utterance.end + self._base)
