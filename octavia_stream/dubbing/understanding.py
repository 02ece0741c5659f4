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

EARLY_CHUNKS = 2
"""So many are listened to at once before it is known what is spoken: a second core has nothing else to do then."""
SURE = 0.9
"""How sure the model must be that a chunk is in another language than the file. Of clear speech it is, and of an accent
too: what it makes of the words in both languages decides."""


class Understanding:
    """Transcribes the chunks of one file."""

    def __init__(
        self,
        transcriber: Transcriber,
        once: Once,
        fingerprint: str,
        language: Language | None,
        decide: Callable[[Language], AsrTask],
        follow: Callable[[Language], bool],
    ) -> None:
        """
        fingerprint: which model listens. language: None lets the first words decide.
        decide: is told the language when it is known, and says what is to be done with it.
        follow: is told of another language later in the file, and says whether anything can be done with it.
        """
        self._transcriber = transcriber
        self._once = once
        self._fingerprint = fingerprint
        self._decide = decide
        self._follow = follow
        self._detects = language is None
        self._decision: asyncio.Future[None] | None = None
        """Done when the chunk that came last, and all before it, had their say in what is spoken."""
        self._language = language
        self._task: AsrTask | None = decide(language) if language is not None else None

    @property
    def language(self) -> Language | None:
        """What is spoken; None while nobody has said a word."""
        return self._language

    async def understand(self, chunk: SpeechChunk) -> Transcript:
        """The words of a chunk, in the language spoken or translated by the ASR model, as was decided.

        The language is that of the file, unless another is truly spoken here and nobody said what language it is.
        Chunks come in order; one need not be done before the next.
        """
        early = await self._early(chunk) if self._detects else None
        if early is not None and (not early.words or (early.language, "transcribe") == (self._language, self._task)):
            return early
        assert self._task is not None  # noqa: S101  told by whoever made this, or decided by these words
        transcript = await self.ask(chunk, self._language, self._task)
        other = transcript.sounds_like
        if (
            self._detects
            and self._task == "transcribe"
            and other not in (None, self._language)
            and transcript.sounds_like_probability >= SURE
        ):
            if early is None or early.language != other:
                early = await self.ask(chunk, other, "transcribe")
            return self._likelier(transcript, early)
        return transcript

    async def _early(self, chunk: SpeechChunk) -> Transcript | None:
        """What a chunk says if nobody is told its language, and with that a decision; None: there was one already.

        Which chunks are asked for in this way depends on no clock, so a job that is resumed asks for the same.
        """
        before, self._decision = self._decision, asyncio.get_running_loop().create_future()
        decision = self._decision
        try:
            if chunk.index >= EARLY_CHUNKS:
                await _passed(before)
                if self._task is not None:
                    return None
            early = await self.ask(chunk, None, "transcribe")
            await _passed(before)
            if self._task is None and early.words:
                self._language = early.language
                self._task = self._decide(early.language)
            return early
        finally:
            _pass_on(before, decision)

    def _likelier(self, usual: Transcript, other: Transcript) -> Transcript:
        """The words in the other language when the model is surer of them, and somebody can use them."""
        surer = _confidence(other) > _confidence(usual)
        return other if surer and self._follow(other.language) else usual

    async def ask(self, chunk: SpeechChunk, language: Language | None, task: AsrTask) -> Transcript:
        """One question to the ASR model."""
        pcm = to_int16(chunk.audio.samples).tobytes()
        key = digest(pcm, chunk.audio.offset, self._fingerprint, language, str(task))
        return await self._once(
            "transcribe",
            chunk.index,
            key,
            Transcript,
            lambda: self._transcriber.transcribe(chunk.audio, language, task),
        )


async def _passed(turn: asyncio.Future[None] | None) -> None:
    if turn is not None:
        # Whoever is cancelled while waiting must not cancel what others wait for, too.
        await asyncio.wait({turn})


def _pass_on(turn: asyncio.Future[None] | None, following: asyncio.Future[None]) -> None:
    """Once a turn has passed, the following one has, too."""
    if turn is None or turn.done():
        following.set_result(None)
    else:
        turn.add_done_callback(lambda _: following.set_result(None))


def _confidence(transcript: Transcript) -> float:
    """How sure the model is of its words, on average, 0 to 1; 0 without words."""
    words = transcript.words
    return sum(word.probability for word in words) / len(words) if words else 0.0
