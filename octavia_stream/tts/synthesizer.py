"""Port: text to speech."""

from typing import Protocol

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.tts.voice import Voice


class Synthesizer(Protocol):
    """Text to speech, a sentence at a time."""

    async def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        """Speak one sentence.

        speed: 1.0 is the voice's own pace; engines honour 0.8 to 1.3 and clip beyond.
        Returns mono float32 at the engine's own rate, offset 0, leading and trailing silence trimmed
        to at most 50 ms; text with nothing to say gives an empty chunk.
        Raises ModelMissing, EngineUnavailable (a retry helps).
        """
        ...
