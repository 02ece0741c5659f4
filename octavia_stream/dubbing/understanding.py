"""From chunks of sound to words, in a language that the first chunk with words decides for all."""

import asyncio
from collections.abc import Callable

from octavia_stream.asr.transcriber import AsrTask, Transcriber
from octavia_stream.asr.transcript import Transcript
from octavia_stream.dubbing.digest import digest
from octavia_stream.dubbing.listening import SpeechChunk
from octavia_stream.dubbing.once import Once
from octavia_stream.dubbing.speech_spool import to_int16
from octavia_stream.languages import Language


class Understanding:
    """Transcribes the chunks of one file."""

    def __init__(
        self,
        transcriber: Transcriber,
        once: Once,
        fingerprint: str,
        language: Language | None,
        decide: Callable[[Language], AsrTask],
    ) -> None:
        """
        fingerprint: which model listens. language: None lets the first words decide.
        decide: is told the language when it is known, and says what is to be done with it.
        """
        self._transcriber = transcriber
        self._once = once
        self._fingerprint = fingerprint
        self._decide = decide
        self._deciding = asyncio.Lock()
        self._language = language
        self._task: AsrTask | None = decide(language) if language is not None else None

    @property
    def language(self) -> Language | None:
        """What is spoken; None while nobody has said a word."""
        return self._language

    async def understand(self, chunk: SpeechChunk) -> Transcript:
        """The words of a chunk, in the language spoken or translated by the ASR model, as was decided."""
        async with self._deciding:
            if self._task is None:
                transcript = await self.ask(chunk, None, "transcribe")
                if not transcript.words:
                    return transcript
                self._language = transcript.language
                self._task = self._decide(transcript.language)
                if self._task == "transcribe":
                    return transcript
        return await self.ask(chunk, self._language, self._task)

    async def ask(self, chunk: SpeechChunk, language: Language | None, task: AsrTask) -> Transcript:
        """One question to the ASR model."""
        pcm = to_int16(chunk.audio.samples).tobytes()
        key = digest(pcm, chunk.audio.offset, self._fingerprint, language, task)
        return await self._once(
            "transcribe",
            chunk.index,
            key,
            Transcript,
            lambda: self._transcriber.transcribe(chunk.audio, language, task),
        )
