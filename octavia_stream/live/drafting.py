"""Drafting: captions of what is being said, in one language that goes out, before it is settled."""

import asyncio
from collections.abc import Callable

from octavia_stream.errors import OctaviaError
from octavia_stream.languages import Language
from octavia_stream.live.phrase import Draft
from octavia_stream.live.reliance import Reliance
from octavia_stream.mt.translator import Translator


class Drafting:
    """Translates the newest draft of each speaker, one at a time; whatever was overtaken meanwhile is left out."""

    def __init__(
        self, target: Language, translator: Translator, reliance: Reliance, drafted: Callable[[Draft, str], None]
    ) -> None:
        """drafted: given a draft and what it is in this language."""
        self._target = target
        self._translator = translator
        self._reliance = reliance
        self._drafted = drafted
        self._newest: dict[str, Draft] = {}
        self._settled: dict[str, int] = {}
        self._news = asyncio.Event()

    def add(self, draft: Draft) -> None:
        """Something more was heard."""
        self._newest[draft.speaker] = draft
        self._news.set()

    def settle(self, speaker: str, segment: int) -> None:
        """This segment is translated for good."""
        self._settled[speaker] = max(segment, self._settled.get(speaker, 0))

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await self._news.wait()
            self._news.clear()
            while self._newest:
                _, draft = self._newest.popitem()
                await self._translate(draft)

    async def _translate(self, draft: Draft) -> None:
        if self._overtaken(draft):
            return
        try:
            found = await self._reliance.call(
                lambda: self._translator.translate([draft.text], draft.language, self._target)
            )
        except OctaviaError:
            # Clients were told; what is settled goes the same way and says so too.
            return
        if found is not None and not self._overtaken(draft):
            self._drafted(draft, found[0].best.text.strip())

    def _overtaken(self, draft: Draft) -> bool:
        return draft.segment <= self._settled.get(draft.speaker, 0)
