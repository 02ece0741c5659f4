"""Port: speech to text."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.languages import Language


@dataclass(frozen=True, slots=True)
class Follow:
    """Transcribe speech that is going on: at a cost that grows with the sound, for a caller who knows that there is
    speech in it, and asks again."""

    said: str = ""
    """What was said just before, in the same language: names and cases are written as there."""


AsrTask: TypeAlias = Literal["transcribe", "translate"] | Follow
"""`translate` is Whisper's own translation of any language into English."""


class Transcriber(Protocol):
    """Speech to text, in the language spoken or in English."""

    async def transcribe(
        self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
    ) -> Transcript:
        """Transcribe one chunk.

        audio: mono float32 in [-1, 1], shape (n,), 16 kHz, at most 30 s (the window of Radford et al. 2022).
        language: what is spoken; None lets the model detect it.
        Returns words in order; positions are on the timeline of `audio` (its offset added).
        Raises EngineUnavailable (a retry helps), InvalidRequest when the audio is too long.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class TranscribeRequest:
    """One chunk to transcribe; `Transcriber.transcribe` says what the fields mean."""

    audio: AudioChunk
    language: Language | None
    task: AsrTask = "transcribe"


class BatchTranscriber(Protocol):
    """What a synchronous ASR engine offers to whoever has chunks of several callers at hand."""

    def transcribe_batch(self, requests: Sequence[TranscribeRequest]) -> list[Transcript]:
        """One result each, in order. Raises what `Transcriber.transcribe` raises, for all or none."""
        ...
