"""Hearing: one speaker's sound → phrases that will not change, and captions that still may.

Recognition asks about what was said since the last phrase again and again, each time with more sound, and `Agreement`
says which words stay. A silence ends an utterance: what was heard of it is final. What a server does not answer in time
waits as sound, which is bounded.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from octavia_stream.asr.transcriber import Follow, Transcriber
from octavia_stream.asr.transcript import Transcript, Word
from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.dubbing.punctuation import ends_line, join_words
from octavia_stream.errors import OctaviaError
from octavia_stream.languages import Language
from octavia_stream.live.agreement import Agreement, plain
from octavia_stream.live.events import Caption, LanguageHeard
from octavia_stream.live.journal import Journal
from octavia_stream.live.listening import Listening
from octavia_stream.live.phrase import Draft, Phrase
from octavia_stream.live.phrasing import PhraseCutter, PhrasingOptions
from octavia_stream.live.reliance import Reliance
from octavia_stream.live.speaker import SpeakerInput
from octavia_stream.vad.endpointer import EndpointerOptions
from octavia_stream.vad.utterance import Utterance

LONGEST_S = 15.0
"""Sound that is asked about at once."""
WORTH_ASKING_S = 0.8
"""With less the model guesses."""
LET_GO_S = 5.0
"""With more than this, what is in a phrase is not heard again: each call costs as much as it hears."""
SURE = 0.75
"""How probable a language must be before it is believed…"""
LISTENED_S = 3.0
"""…unless so much was heard."""
NONSENSE = 0.25
"""Words that are less probable than this on average are music or noise."""
LEAD_S = 0.2
"""Of the silence before an utterance: without it the first word is often misheard."""
HANGING_S = 1.0
"""A pause behind a word that leans on the next may be so long."""
ECHO_S = 0.3
"""A word that is said twice takes longer the second time."""
PROMPT_WORDS = 30
"""Given to the model as what was said before. With them, over 150 s of a talk: word error rate 4.3 % in place of 6.4,
erasure of captions 0.11 in place of 0.18, at the same lag."""
_LEFT_OPEN = 2
"""Words that stay open where an utterance without an end is cut."""


@dataclass(frozen=True, slots=True)
class HearingOptions:
    """How patient hearing is."""

    every_s: float
    """How much new sound is worth a call; more when calls take longer."""
    silence_ms: int
    """A silence that ends an utterance."""
    phrasing: PhrasingOptions

    @property
    def endpointing(self) -> EndpointerOptions:
        return EndpointerOptions(min_silence_ms=self.silence_ms)


@dataclass(frozen=True, slots=True)
class _Question:
    """A stretch of sound to ask about, in samples on the speaker's timeline."""

    start: int
    end: int
    final: bool
    """Whether the utterance ends with it."""

    @property
    def seconds(self) -> float:
        return (self.end - self.start) / ASR_RATE_HZ


class Hearing:
    """One speaker, from a position on. Owns no task: the room runs `listen` and `recognise` side by side."""

    def __init__(
        self,
        speaker: SpeakerInput,
        listening: Listening,
        transcriber: Transcriber,
        options: HearingOptions,
        journal: Journal,
        source: Language | None,
        spoke: Language | None,
        number: Callable[[], int],
        said: Callable[[Phrase], None],
        drafted: Callable[[Draft], None],
        keep_sound: Callable[[Language], bool],
        clock: Callable[[], float],
    ) -> None:
        """source: what is spoken, if that is settled; spoke: what was spoken before. number: of a new segment.

        said: given each phrase; drafted: what will become one. keep_sound: whether phrases in a language need theirs.
        """
        self._speaker = speaker
        self._listening = listening
        self._transcriber = transcriber
        self._options = options
        self._journal = journal
        self._source = source
        self._number = number
        self._said = said
        self._drafted = drafted
        self._keep_sound = keep_sound
        self._clock = clock
        self._reliance = Reliance(journal)
        self._agreement = Agreement()
        self.language = source or spoke
        """What they speak, as far as that is known."""
        self._believed = source
        """The same for the utterance that is going on."""
        self._asked_in: Language | None = None
        """The language of the last question."""
        self._cutter = PhraseCutter(self.language or Language("und"), options.phrasing)
        self._phrased: deque[Word] = deque(maxlen=4 * PROMPT_WORDS)
        """The last words that are in phrases, some of which are asked about again."""
        self._from = speaker.position
        """What comes before is done with."""
        self._asked_until = speaker.position
        self._call_s = 0.0
        """What calls take, a moving average."""
        self._segment: int | None = None
        self._captioned = ""
        self._opens = True
        self._news = asyncio.Event()
        self._ending = False

    @property
    def waiting_s(self) -> float:
        """Sound that came and was not asked about yet, while somebody speaks."""
        speaking = self._listening.over or self._listening.open
        return (self._speaker.position - self._asked_until) / ASR_RATE_HZ if speaking else 0.0

    def end(self) -> None:
        """Nothing more comes: `listen` and `recognise` return when all is heard."""
        self._ending = True
        self._speaker.nudge()

    async def listen(self) -> None:
        """Take sound as it comes."""
        while not self._ending:
            await self._speaker.wait()
            self._listening.hear()
            self._news.set()
        self._listening.hear()
        self._listening.finish()
        self._news.set()

    async def recognise(self) -> None:
        """Ask, commit, tell."""
        while True:
            question = self._question()
            if question is None:
                self._release()
                if self._ending and not self._listening.over and self._listening.open is None:
                    return
                self._news.clear()
                await self._news.wait()
            elif question.final and self._heard_out(question):
                self._commit(self._agreement.finish(), over=True)
                self._close(question)
            else:
                await self._ask(question)

    def _question(self) -> _Question | None:
        """What to ask next; None when nothing is worth it."""
        self._bound()
        longest = round(LONGEST_S * ASR_RATE_HZ)
        if self._listening.over:
            utterance = self._listening.over[0]
            start = self._beginning(utterance)
            if utterance.end - start <= longest:
                return _Question(start, utterance.end, True)
            return _Question(start, start + longest, False)
        going_on = self._listening.open
        if going_on is None:
            return None
        start, end = self._beginning(going_on), self._listening.sound.end
        every = max(self._options.every_s, 1.2 * self._call_s)
        fresh = (end - max(self._asked_until, start)) / ASR_RATE_HZ
        if fresh < every or (end - start) / ASR_RATE_HZ < WORTH_ASKING_S:
            return None
        return _Question(start, min(end, start + longest), False)

    def _beginning(self, utterance: Utterance) -> int:
        """Where what is still to be heard of it begins."""
        return max(self._from, utterance.start - round(LEAD_S * ASR_RATE_HZ))

    def _bound(self) -> None:
        """Give up the oldest sound when a server was away for long."""
        kept = self._listening.sound.end - round(2 * LONGEST_S * ASR_RATE_HZ)
        if self._from < kept and (self._listening.over or self._listening.open):
            while self._listening.over and self._listening.over[0].end <= kept:
                self._close(_Question(self._from, self._listening.over[0].end, True))
            self._from = max(self._from, kept)

    def _heard_out(self, question: _Question) -> bool:
        """Whether the last answer was already about all of it."""
        speech_end = question.end - self._options.endpointing.pad_ms * ASR_RATE_HZ // 1000
        return question.start < speech_end <= self._asked_until and bool(self._agreement.tail)

    async def _ask(self, question: _Question) -> None:
        audio = self._listening.sound.cut(question.start, question.end)
        began = self._clock()
        # A word or two do not tell a language.
        short = self.language if question.seconds < LISTENED_S / 2 else None
        self._asked_in = self._believed or short
        task = Follow(self._before(question))
        try:
            answer = await self._reliance.call(lambda: self._transcriber.transcribe(audio, self._asked_in, task))
        except OctaviaError:
            # No retry helps: go on behind this.
            self._from = question.end
            if question.final:
                self._close(question)
            return
        if answer is None:
            return
        self._call_s += 0.3 * (self._clock() - began - self._call_s)
        self._asked_until = max(self._asked_until, question.end)
        self._hear(answer, question)

    def _before(self, question: _Question) -> str:
        """The last words of phrases that are not asked about again."""
        done = [word.text for word in self._phrased if word.end <= question.start]
        return " ".join(done[-PROMPT_WORDS:])

    def _hear(self, answer: Transcript, question: _Question) -> None:
        words = _sense(answer.words)
        usable = self._believe(answer, question)
        if question.final and words and not usable and self._believed is not None:
            # They were heard in the wrong language: the next question is the same, in the right one.
            return
        longest = question.seconds >= LONGEST_S
        committed = self._agreement.push(words if usable else (), final=question.final)
        if longest and not question.final and self._agreement.tail:
            committed += self._agreement.force(_LEFT_OPEN)
        self._commit(committed, over=question.final)
        if question.seconds > LET_GO_S and not question.final:
            self._let_go(question, at_once=longest)
        if question.final:
            self._close(question)

    def _believe(self, answer: Transcript, question: _Question) -> bool:
        """Settle what is spoken; whether the words can be used."""
        if self._asked_in is not None:
            return True
        if not answer.words:
            return False
        sure = answer.language_probability >= SURE
        if not sure and self.language is not None and answer.language != self.language:
            # Nobody changes the language for a word or two.
            self._believed = self.language if question.final or question.seconds >= LISTENED_S else None
            return False
        if not (sure or self.language is not None or question.final or question.seconds >= LISTENED_S):
            return False
        self._believed = answer.language
        if answer.language != self.language:
            self._say_rest()
            self.language = answer.language
            self._phrased.clear()
            self._cutter = PhraseCutter(answer.language, self._options.phrasing)
            self._journal.write(LanguageHeard(self._speaker.speaker_id, answer.language))
        return True

    def _commit(self, words: Sequence[Word], *, over: bool) -> None:
        phrases = self._cutter.push(words)
        if over and not self._cutter.hanging:
            phrases += self._cutter.finish()
        following = [*self._cutter.pending, *self._agreement.tail]
        for place, phrase in enumerate(phrases):
            after = phrases[place + 1] if place + 1 < len(phrases) else following
            self._say(phrase, after[0].text if after else "")
        # The last word may be half a word: showing it would mostly mean taking it back.
        self._caption(following if over else following[: max(len(following) - 1, len(self._cutter.pending))])

    def _release(self) -> None:
        """Say what was held back for a word that does not come."""
        pending = self._cutter.pending
        if not pending or self._listening.open or self._listening.over:
            return
        waited = self._listening.sound.end - pending[-1].end
        if self._ending or self._speaker.left is not None or waited > HANGING_S * ASR_RATE_HZ:
            self._say_rest()

    def _say_rest(self) -> None:
        for phrase in self._cutter.finish():
            self._say(phrase, "")

    def _say(self, words: Sequence[Word], following: str) -> None:
        language = self.language
        if language is None or not words:
            return
        self._phrased.extend(words)
        text = join_words([word.text for word in words], language)
        start, end = words[0].start, words[-1].end
        closes = ends_line(words[-1].text, following)
        sound = self._listening.sound.cut(start, end).samples if self._keep_sound(language) else None
        segment, self._segment, self._captioned = self._segment or self._number(), None, ""
        self._journal.write(self._captioning(segment, text, words, len(text), final=True))
        heard_at = self._speaker.heard_at(words[0].end)
        self._said(
            Phrase(segment, self._speaker.speaker_id, language, text, start, end, heard_at, self._opens, closes, sound)
        )
        self._opens = closes

    def _caption(self, words: Sequence[Word]) -> None:
        """Tell what is known of the segment that is going on, when that has changed."""
        language = self.language
        if language is None or not words:
            return
        text = join_words([word.text for word in words], language)
        if text == self._captioned:
            return
        self._captioned = text
        self._segment = self._segment or self._number()
        certain = join_words([word.text for word in self._cutter.pending[: self._cutter.certain]], language)
        self._journal.write(self._captioning(self._segment, text, words, len(certain), final=False))
        start, end = words[0].start, words[-1].end
        self._drafted(Draft(self._segment, self._speaker.speaker_id, language, text, start, end))

    def _captioning(self, segment: int, text: str, words: Sequence[Word], stable: int, *, final: bool) -> Caption:
        start_s, end_s = words[0].start / ASR_RATE_HZ, words[-1].end / ASR_RATE_HZ
        language = self.language or Language("und")
        return Caption(language, segment, text, stable, final, start_s, end_s, self._speaker.speaker_id, True)

    def _let_go(self, question: _Question, *, at_once: bool) -> None:
        """Hear what is in a phrase no more; and at once: nothing that is committed."""
        following = [*self._cutter.pending, *self._agreement.tail] if not at_once else self._agreement.tail
        until = following[0].start if following else self._agreement.until
        if at_once and (until is None or until <= self._from):
            # No words in all this: it is none, but its end may be half of one.
            until = question.end - ASR_RATE_HZ
        if until is not None and self._from < until < question.end:
            self._from = until

    def _close(self, question: _Question) -> None:
        """The utterance is over."""
        if self._listening.over:
            self._listening.over.popleft()
        self._from = question.end
        self._asked_until = max(self._asked_until, question.end)
        self._agreement = Agreement()
        self._believed = self._source


def _sense(words: tuple[Word, ...]) -> tuple[Word, ...]:
    """The words without echoes, for a model may say the last one twice; none, when they are what it makes of noise."""
    if not words or sum(word.probability for word in words) / len(words) < NONSENSE:
        return ()
    kept = [words[0]]
    for word in words[1:]:
        echo = plain(word.text) == plain(kept[-1].text) and word.end - word.start < ECHO_S * ASR_RATE_HZ
        if not echo:
            kept.append(word)
    return tuple(kept)
