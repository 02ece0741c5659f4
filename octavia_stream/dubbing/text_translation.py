"""Sentences of text into another language: in batches, several under way, each done once."""

import asyncio
from collections.abc import Sequence

from octavia_stream.channel import Channel
from octavia_stream.dubbing.digest import digest
from octavia_stream.dubbing.engines import Engines
from octavia_stream.dubbing.glossary import Glossary
from octavia_stream.dubbing.once import Once
from octavia_stream.dubbing.progress import Emit, ProgressTracker
from octavia_stream.dubbing.stage import run_stage
from octavia_stream.languages import Language
from octavia_stream.mt.routes import Route

BATCH_SENTENCES = 32
"""What a replica translates at once, and what a lost worker costs at most."""


class TextTranslation:
    """Translates the texts of one job, into one language or several."""

    def __init__(
        self,
        engines: Engines,
        once: Once,
        progress: ProgressTracker,
        fingerprint: str,
        glossary: Glossary,
        emit: Emit,
        *,
        total: int,
        length: int,
        batches_in_flight: int = 4,
    ) -> None:
        """
        fingerprint: what beside the models of the route decides the result. total: sentences over all languages.
        length: of the timeline that `progress` counts; the work is spread evenly over it.
        """
        self._engines = engines
        self._glossary = glossary
        self._emit = emit
        self._once = once
        self._progress = progress
        self._fingerprint = fingerprint
        self._total = max(total, 1)
        self._length = length
        self._window = batches_in_flight
        self._done = 0
        progress.expect("translate", total, final=True)

    async def translate(self, texts: Sequence[str], route: Route, target: Language) -> list[str]:
        """One translation each, in order. Raises what the translator raises when asking again does not help."""
        if not route.hops:
            self._count(len(texts))
            return list(texts)
        batches: Channel[tuple[int, Sequence[str]]] = Channel(self._window)
        translated: Channel[list[str]] = Channel(self._window)

        async def ask(batch: tuple[int, Sequence[str]]) -> list[str]:
            return await self._batch(*batch, route, target)

        async with asyncio.TaskGroup() as group:
            group.create_task(_send(texts, batches))
            group.create_task(run_stage(batches, translated, ask, self._window))
            gathering = group.create_task(_gather(translated))
        return gathering.result()

    async def _batch(self, index: int, texts: Sequence[str], route: Route, target: Language) -> list[str]:
        models = " ".join(hop.model_id for hop in route.hops)
        fingerprint = self._fingerprint + self._glossary.translation_digest(target)
        key = digest(route.text_source, target, models, fingerprint, *texts)
        translator = self._glossary.over(self._engines, target, self._emit).translator

        async def work() -> list[str]:
            translations = await translator.translate(texts, route.text_source, target)
            return [translation.best.text for translation in translations]

        result = await self._once("translate", index, key, list[str], work)
        self._count(len(texts))
        return result

    def _count(self, sentences: int) -> None:
        self._done += sentences
        self._progress.finished("translate", sentences, self._length * self._done // self._total)


async def _send(texts: Sequence[str], outbox: Channel[tuple[int, Sequence[str]]]) -> None:
    for index, start in enumerate(range(0, len(texts), BATCH_SENTENCES)):
        await outbox.send((index, texts[start : start + BATCH_SENTENCES]))
    await outbox.close()


async def _gather(inbox: Channel[list[str]]) -> list[str]:
    return [text async for batch in inbox for text in batch]
