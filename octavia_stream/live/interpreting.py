"""Interpreting: phrases → lines of one language, each translated as a part of its sentence.

A clause by itself is often translated otherwise than in its sentence. So the sentence so far is translated too, and
where that begins with what was said already, the rest of it is the line; else the clause's own translation is.
"""

import re
from collections.abc import Callable, Mapping

import msgspec

from octavia_stream.errors import OctaviaError
from octavia_stream.languages import Language
from octavia_stream.live.agreement import plain
from octavia_stream.live.backlog import Backlog
from octavia_stream.live.phrase import Line, Phrase
from octavia_stream.live.reliance import Reliance
from octavia_stream.mt.translator import Translator

MOST_WAITING = 64
FORGOTTEN_S = 3.0
"""After such a pause a sentence that did not end has ended all the same."""
_LONGEST_CONTEXT = 160
"""Characters; what is further away says nothing about a clause."""
_FULL_STOP = re.compile(r"[.。…]+$")
_TERMINAL = re.compile(r"[.!?…。！？]$")


class Context(msgspec.Struct, frozen=True):
    """The sentence that somebody is in the middle of."""

    source: str = ""
    target: str = ""
    end: int = 0
    """In samples on the speaker's timeline."""


class Interpreting:
    """One language. The room runs `run`."""

    def __init__(
        self,
        target: Language,
        translator: Translator,
        reliance: Reliance,
        translated: Callable[[Line], None],
        dropped: Callable[[int], None],
        hopeless: Callable[[Phrase], bool],
        contexts: Mapping[str, Context],
    ) -> None:
        """translated: given each line. dropped: told how many phrases are lost. hopeless: whether one is too late."""
        self._target = target
        self._translator = translator
        self._reliance = reliance
        self._translated = translated
        self._dropped = dropped
        self._hopeless = hopeless
        self._backlog: Backlog[Phrase] = Backlog(MOST_WAITING)
        self.contexts = dict(contexts)
        """Speaker → where they are."""

    def add(self, phrase: Phrase) -> None:
        """Take a phrase; the oldest that waits gives way."""
        if lost := self._backlog.add(phrase):
            self._dropped(lost)

    def end(self) -> None:
        """No phrase comes any more."""
        self._backlog.end()

    async def run(self) -> None:
        """Until `end`, in order."""
        while (phrase := await self._backlog.take()) is not None:
            if phrase.language == self._target:
                self._translated(Line(phrase, phrase.text))
                continue
            try:
                text = await self._interpret(phrase)
            except OctaviaError:
                # No retry helps, and clients were told.
                text = None
            if text is None:
                self._dropped(1)
            elif text:
                self._translated(Line(phrase, text))

    async def _interpret(self, phrase: Phrase) -> str | None:
        """None when the translator was away until it was too late."""
        context = self.contexts.get(phrase.speaker, Context())
        if phrase.opens or phrase.start - context.end > FORGOTTEN_S * 16_000 or len(context.source) > _LONGEST_CONTEXT:
            context = Context()
        sentence = f"{context.source} {phrase.text}".strip()
        texts = [phrase.text] if sentence == phrase.text else [phrase.text, sentence]
        while True:
            found = await self._reliance.call(lambda: self._translator.translate(texts, phrase.language, self._target))
            if found is not None:
                break
            if self._hopeless(phrase):
                return None
        alone, whole = found[0].best.text.strip(), found[-1].best.text.strip()
        text = _unended(_rest(whole, context.target) or alone, phrase)
        self.contexts[phrase.speaker] = (
            Context() if phrase.closes else Context(sentence, f"{context.target} {text}".strip(), phrase.end)
        )
        return text


def _rest(whole: str, said: str) -> str:
    """What `whole` says after what was said; nothing when it begins otherwise."""
    words, before = whole.split(), said.split()
    if not before or len(words) <= len(before):
        return ""
    same = all(plain(one) == plain(other) for one, other in zip(words, before, strict=False))
    return " ".join(words[len(before) :]) if same else ""


def _unended(text: str, phrase: Phrase) -> str:
    """Without the full stop that a translator puts behind a clause, which a voice would read as an end."""
    if phrase.closes or _TERMINAL.search(phrase.text):
        return text
    return _FULL_STOP.sub("", text)
