"""Output: one language that goes out, from phrases to captions and speech."""

import asyncio
from collections.abc import Callable

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.dubbing.engines import Engines
from octavia_stream.live.cast import Cast
from octavia_stream.live.drafting import Drafting
from octavia_stream.live.events import Caption, PhrasesDropped, PhraseSpoken
from octavia_stream.live.frame import OUTPUT_RATE_HZ
from octavia_stream.live.interpreting import Interpreting
from octavia_stream.live.journal import Journal
from octavia_stream.live.lag import HOPELESS
from octavia_stream.live.options import LiveOptions, LiveTarget
from octavia_stream.live.pacer import Outlet
from octavia_stream.live.phrase import Draft, Line, Phrase, SpokenLine
from octavia_stream.live.reliance import Reliance
from octavia_stream.live.speaking import Speaking
from octavia_stream.live.state import LanguageLoad, LanguageState
from octavia_stream.live.track import Started, Track


class Output:
    """Translates once, whoever listens; speaks once for each speaker."""

    def __init__(
        self,
        target: LiveTarget,
        options: LiveOptions,
        engines: Engines,
        cast: Cast,
        journal: Journal,
        before: LanguageState,
        clock: Callable[[], float],
    ) -> None:
        language = target.language
        self.language = language
        self._target = target
        self._options = options
        self._journal = journal
        self._clock = clock
        self._lag_s = 0.0
        self._dropped = before.dropped_phrases
        self.outlet = Outlet(language, Track[SpokenLine](before.position))
        translating = Reliance(journal)
        self._drafting = Drafting(language, engines.translator, translating, self._tell_draft)
        self._interpreting = Interpreting(
            language, engines.translator, translating, self._tell, self._drop, self._hopeless, before.contexts
        )
        self._speaking = Speaking(
            language,
            self.outlet.track,
            engines.synthesizer,
            Reliance(journal),
            lambda speaker: cast.voice(speaker, language),
            clock,
            options.max_lag_s,
            self._drop,
        )

    def add(self, phrase: Phrase) -> None:
        """Take a phrase of any speaker."""
        self._interpreting.add(phrase)

    def draft(self, draft: Draft) -> None:
        """Caption what will be a phrase."""
        if draft.language != self.language:
            self._drafting.add(draft)

    async def run(self) -> None:
        """Until `end`, and everything has sounded."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._speaking.run(), name=f"speaking-{self.language}")
            drafting = group.create_task(self._drafting.run(), name=f"drafting-{self.language}")
            await self._interpreting.run()
            drafting.cancel()
            self._speaking.end()
        await asyncio.sleep(self.outlet.track.ahead / OUTPUT_RATE_HZ)

    def end(self) -> None:
        """No phrase comes any more."""
        self._interpreting.end()

    def started(self, started: Started[SpokenLine]) -> None:
        """A line begins to sound now."""
        spoken, phrase = started.what, started.what.line.phrase
        self._lag_s = self._clock() - phrase.heard_at
        self._journal.write(
            PhraseSpoken(
                self.language,
                phrase.segment,
                spoken.line.text,
                phrase.speaker,
                round(started.start / OUTPUT_RATE_HZ, 3),
                round(started.length / OUTPUT_RATE_HZ, 3),
                round(self._lag_s, 3),
                spoken.speed,
            )
        )

    def state(self) -> LanguageState:
        """What goes on elsewhere."""
        return LanguageState(self.outlet.track.position, self._dropped, dict(self._interpreting.contexts))

    def load(self) -> LanguageLoad:
        """How it keeps up."""
        listeners = self.outlet.listeners
        dropped_frames = sum(listener.dropped for listener in listeners)
        return LanguageLoad(len(listeners), self._speaking.waiting, self._lag_s, self._dropped, dropped_frames)

    def _tell(self, line: Line) -> None:
        phrase = line.phrase
        self._drafting.settle(phrase.speaker, phrase.segment)
        self._caption(phrase, line.text, final=True)
        silent = phrase.language == self.language and self._options.own_language == "silent"
        if not (silent or self._target.captions_only):
            self._speaking.add(line)

    def _tell_draft(self, draft: Draft, text: str) -> None:
        self._caption(draft, text, final=False)

    def _caption(self, what: Phrase | Draft, text: str, *, final: bool) -> None:
        self._journal.write(
            Caption(
                self.language,
                what.segment,
                text,
                len(text) if final else 0,
                final,
                what.start / ASR_RATE_HZ,
                what.end / ASR_RATE_HZ,
                what.speaker,
                False,
            )
        )

    def _hopeless(self, phrase: Phrase) -> bool:
        return self._clock() - phrase.heard_at > HOPELESS * self._options.max_lag_s

    def _drop(self, count: int) -> None:
        self._dropped += count
        self._journal.write(PhrasesDropped(self.language, count, self._dropped))
