"""What an engine made once is not made again, for nobody who may not know it, and never wrong."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import numpy as np
import pytest

from octavia_stream.accounts.removal import Removal
from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript, Word
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.audit.invariants import audit, remove_orphans
from octavia_stream.cache import results
from octavia_stream.cache.engines import with_cache
from octavia_stream.cache.results import ResultCache
from octavia_stream.cache.shelf import EVICTED_DOWN_TO, NewResult, Shelf
from octavia_stream.config import CacheSettings
from octavia_stream.dubbing.digest import digest
from octavia_stream.dubbing.engines import Engines
from octavia_stream.errors import EngineUnavailable, StorageFull, StorageUnavailable
from octavia_stream.languages import Language
from octavia_stream.mt.routes import Hop, Route
from octavia_stream.mt.translator import Hypothesis, Translation
from octavia_stream.runtime import Runtime
from octavia_stream.storage.objects import ObjectStore, StoredObject
from octavia_stream.testing import tone
from octavia_stream.tts.voice import Voice

pytestmark = pytest.mark.services

EN, PT, DE = Language("en"), Language("pt"), Language("de")
VOICE = Voice("kokoro/pf_dora", PT, "female", "kokoro", "pf_dora")
LINE = "Esta mensagem foi trazida por quem a pagou."
MAKES_LARGE = b"a large result " * 1000


@dataclass
class Busy:
    """The three engines, and what they were asked for."""

    asked: list[str] = field(default_factory=list)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    """Somebody was asked to speak."""
    open: asyncio.Event = field(default_factory=asyncio.Event)
    """Who was asked waits for it."""
    failures: int = 0
    """How many calls of synthesis fail first."""

    def __post_init__(self) -> None:
        self.open.set()

    @property
    def engines(self) -> Engines:
        return Engines(self, self, self)

    async def transcribe(
        self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
    ) -> Transcript:
        self.asked.append(f"{audio.length} {language} {task}")
        return Transcript((Word("hello", audio.offset + 10, audio.offset + 90, 0.5),), language or EN)

    async def translate(
        self, sentences: Sequence[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        self.asked += sentences
        return [Translation(one, (Hypothesis(f"{target}: {one}", -0.5),) * hypotheses) for one in sentences]

    async def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        self.asked.append(text)
        self.begun.set()
        await self.open.wait()
        if self.failures:
            self.failures -= 1
            raise EngineUnavailable
        return tone(len(text) / 40 / speed, 24_000)


@dataclass
class Installed:
    """Models by name."""

    version: str = "1"
    asr: str = "whisper"

    def identity(self, *models: str) -> str:
        return f"{models} {self.version}"

    def route(self, source: Language, target: Language, *, text: bool = False) -> Route:
        return Route("transcribe", source, (Hop(source, target, f"{source}-{target}"),))


class Process:
    """One process's cache, on a shelf that all share."""

    def __init__(self, cache: ResultCache, busy: Busy) -> None:
        self.cache = cache
        self.busy = busy

    def job(self, owner: UUID, models: Installed | None = None) -> Engines:
        """The engines as a job of this owner has them."""
        return with_cache(self.busy.engines, self.cache, models or Installed(), owner)

    async def speak(self, owner: UUID, text: str = LINE, voice: Voice = VOICE, speed: float = 1.0) -> AudioChunk:
        return await self.job(owner).synthesizer.synthesize(text, voice, speed)


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with much else to do is no cache that fails."""
    monkeypatch.setattr(results, "FIND_TIMEOUT_S", 60.0)
    monkeypatch.setattr(results, "CLOSE_TIMEOUT_S", 60.0)


@pytest.fixture
async def clean(runtime: Runtime) -> None:
    """Nothing is kept, and nothing waits to be removed."""
    await runtime.pool.execute("delete from cached_result")
    await runtime.pool.execute("delete from object_removal")
    await runtime.objects.delete_prefix("cache")


@pytest.fixture
async def owner(runtime: Runtime, clean: None) -> UUID:
    return await somebody(runtime)


async def somebody(runtime: Runtime) -> UUID:
    tenant_id: UUID = await runtime.pool.fetchval("insert into tenant (id) values ($1) returning id", uuid4())
    return tenant_id


@asynccontextmanager
async def process(
    runtime: Runtime, *, limit: int = 2**30, shared: bool = False, objects: ObjectStore | None = None
) -> AsyncIterator[Process]:
    """It ends when all that it made is written."""
    shelf = Shelf(runtime.pool, objects or runtime.objects)
    async with ResultCache(shelf, CacheSettings(limit_bytes=limit, shared=shared)) as cache:
        yield Process(cache, Busy())
        await cache.written()


async def stored(runtime: Runtime) -> list[str]:
    return [one.key async for one in runtime.objects.list("cache")]


async def named(runtime: Runtime) -> list[str]:
    return [row["key"] for row in await runtime.pool.fetch("select key from cached_result where key is not null")]


async def nothing_is_left(runtime: Runtime) -> None:
    """Every object is named by a row, every row names one, nothing waits to be removed."""
    assert sorted(await stored(runtime)) == sorted(await named(runtime))
    assert await runtime.pool.fetchval("select count(*) from object_removal") == 0
    assert await remove_orphans(runtime.pool, runtime.objects, timedelta(0)) == (0, 0)


async def test_a_line_is_spoken_once_in_all_jobs_of_an_owner(runtime: Runtime, owner: UUID) -> None:
    async with process(runtime) as first:
        made = await first.speak(owner)
    async with process(runtime) as second:
        kept = await second.speak(owner)
        assert second.busy.asked == []
    np.testing.assert_array_equal(kept.samples, made.samples)
    assert kept.rate_hz == made.rate_hz
    await nothing_is_left(runtime)


async def test_a_line_that_several_want_at_once_is_spoken_once(runtime: Runtime, owner: UUID) -> None:
    async with process(runtime) as one:
        one.busy.open.clear()
        wanting = [asyncio.create_task(one.speak(owner)) for _ in range(5)]
        await one.busy.begun.wait()
        one.busy.open.set()
        spoken = await asyncio.gather(*wanting)
        assert one.busy.asked == [LINE]
        assert len({sound.samples.tobytes() for sound in spoken}) == 1


async def test_who_waits_for_a_call_that_fails_or_is_given_up_asks_by_itself(runtime: Runtime, owner: UUID) -> None:
    async with process(runtime) as one:
        one.busy.failures = 1
        one.busy.open.clear()
        given_up, failing, waiting = (asyncio.create_task(one.speak(owner)) for _ in range(3))
        await one.busy.begun.wait()
        given_up.cancel()
        one.busy.open.set()
        done = await asyncio.gather(given_up, failing, waiting, return_exceptions=True)
        kinds = [type(outcome) for outcome in done]
        assert kinds[0] is asyncio.CancelledError
        assert set(kinds[1:]) == {EngineUnavailable, AudioChunk}
        assert one.busy.asked == [LINE] * 3


async def test_of_a_batch_only_the_new_sentences_are_translated(runtime: Runtime, owner: UUID) -> None:
    async with process(runtime) as first:
        await first.job(owner).translator.translate(["one", "two"], EN, PT)
    async with process(runtime) as second:
        wanted = ["three", "two", "four", "three", "one"]
        made = await second.job(owner).translator.translate(wanted, EN, PT)
        assert [one.best.text for one in made] == [f"pt: {text}" for text in wanted]
        assert second.busy.asked == ["three", "four"]


async def test_the_same_sound_is_understood_once_wherever_it_comes(runtime: Runtime, owner: UUID) -> None:
    jingle = tone(1.0, ASR_RATE_HZ).samples
    async with process(runtime) as one:
        ears = one.job(owner).transcriber
        first = await ears.transcribe(AudioChunk(jingle, ASR_RATE_HZ, 1000), EN)
        again = await ears.transcribe(AudioChunk(jingle, ASR_RATE_HZ, 500_000), EN)
        assert first.words == (Word("hello", 1010, 1090, 0.5),)
        assert again.words == (Word("hello", 500_010, 500_090, 0.5),)
        assert len(one.busy.asked) == 1
        await ears.transcribe(AudioChunk(jingle, ASR_RATE_HZ), EN, "translate")
        await ears.transcribe(AudioChunk(jingle, ASR_RATE_HZ), None)
        assert len(one.busy.asked) == 3


async def test_what_was_made_for_one_owner_is_not_known_to_another(runtime: Runtime, owner: UUID) -> None:
    other = await somebody(runtime)
    async with process(runtime) as one:
        await one.speak(owner)
        await one.cache.written()
        await one.speak(other)
        assert one.busy.asked == [LINE, LINE]
    async with process(runtime, shared=True) as one:
        await one.speak(owner)
        await one.cache.written()
        await one.speak(other)
        assert one.busy.asked == [LINE]


async def test_whatever_changes_the_result_makes_it_another(runtime: Runtime, owner: UUID) -> None:
    async with process(runtime) as one:
        await one.speak(owner)
        await one.speak(owner, speed=1.1)
        await one.speak(owner, voice=Voice("kokoro/em_alex", PT, "male", "kokoro", "em_alex"))
        await one.speak(owner, text=LINE + "!")
        await one.job(owner, Installed("2")).synthesizer.synthesize(LINE, VOICE)
        assert len(one.busy.asked) == 5
        translate = one.job(owner).translator.translate
        await translate(["one"], EN, PT)
        await translate(["one"], EN, DE)
        await translate(["one"], EN, PT, 4)
        assert one.busy.asked[5:] == ["one"] * 3


def overwrite(path: Path) -> None:
    path.write_bytes(b"not what was written")


@pytest.mark.parametrize("spoil", [overwrite, Path.unlink])
async def test_a_damaged_result_is_made_again(runtime: Runtime, owner: UUID, spoil: Callable[[Path], object]) -> None:
    async with process(runtime) as first:
        made = await first.speak(owner)
    (key,) = await named(runtime)
    path = runtime.objects.local_path(key)
    assert path is not None
    spoil(path)
    async with process(runtime) as second:
        again = await second.speak(owner)
        assert second.busy.asked == [LINE]
    np.testing.assert_array_equal(again.samples, made.samples)
    async with process(runtime) as third:
        await third.speak(owner)
        assert third.busy.asked == []
    assert await Removal(runtime.pool, runtime.jobs, runtime.objects).remove_objects() == 1
    await nothing_is_left(runtime)


async def test_a_damaged_row_is_made_again(runtime: Runtime, owner: UUID) -> None:
    async with process(runtime) as one:
        await one.job(owner).translator.translate(["one"], EN, PT)
        await one.cache.written()
        await runtime.pool.execute("update cached_result set payload = 'pt: nothing'")
        (again,) = await one.job(owner).translator.translate(["one"], EN, PT)
        assert again.best.text == "pt: one"
        assert one.busy.asked == ["one", "one"]


class Away(ObjectStore):
    """A storage that fails whoever reads or writes."""

    def __init__(self, error: type[Exception]) -> None:
        self._error = error

    async def get(self, key: str) -> bytes:
        raise self._error

    async def put(self, key: str, data: bytes, *, create_only: bool = False) -> StoredObject:
        raise self._error


@pytest.mark.parametrize("error", [StorageUnavailable, StorageFull])
async def test_a_storage_that_fails_is_a_result_that_is_not_there(
    runtime: Runtime, owner: UUID, error: type[Exception]
) -> None:
    async with process(runtime, objects=Away(error)) as writing:
        assert (await writing.speak(owner)).length
    assert await named(runtime) == []
    async with process(runtime) as one:
        await one.speak(owner)
    async with process(runtime, objects=Away(error)) as reading:
        assert (await reading.speak(owner)).length
        assert reading.busy.asked == [LINE]
    await Removal(runtime.pool, runtime.jobs, runtime.objects).remove_objects()
    await nothing_is_left(runtime)


async def test_of_two_processes_that_make_the_same_at_once_one_is_kept(runtime: Runtime, owner: UUID) -> None:
    async with process(runtime) as one, process(runtime) as other:
        for each in (one, other):
            each.busy.open.clear()
        both = [asyncio.create_task(each.speak(owner)) for each in (one, other)]
        await asyncio.gather(one.busy.begun.wait(), other.busy.begun.wait())
        one.busy.open.set()
        other.busy.open.set()
        first, second = await asyncio.gather(*both)
        np.testing.assert_array_equal(first.samples, second.samples)
    assert len(await named(runtime)) == 1
    await nothing_is_left(runtime)


def result(name: str, payload: bytes = MAKES_LARGE) -> NewResult:
    return NewResult(digest(name), None, "synthesize", payload)


async def test_the_longest_unused_go_first(runtime: Runtime, clean: None) -> None:
    shelf = Shelf(runtime.pool, runtime.objects)
    names = [f"result {number}" for number in range(10)]
    size = await shelf.add([result(name) for name in names]) // len(names)
    for age, name in enumerate(names):
        used = "update cached_result set used_at = now() - make_interval(hours => $2) where digest = $1"
        await runtime.pool.execute(used, digest(name), age + 1)
    # The oldest is used once more.
    assert digest(names[-1]) in (await shelf.find([digest(names[-1])]))[0]
    limit = size * 5
    assert await shelf.evict(limit) == size * 6, "down to a little less than the limit"
    assert await shelf.taken() <= limit
    assert await shelf.taken() >= limit * EVICTED_DOWN_TO - size
    found, damaged = await shelf.find([digest(name) for name in names])
    assert set(found) == {digest(name) for name in (names[-1], *names[:3])}
    assert damaged == 0
    assert await shelf.evict(limit) == 0
    await nothing_is_left(runtime)


async def test_results_are_right_while_others_push_them_out(runtime: Runtime, clean: None) -> None:
    """Two processes whose results do not all fit: every answer is right, and nothing is left over."""
    limit = 12 * len(MAKES_LARGE)

    async def user(one: Process, number: int) -> None:
        for step in range(15):
            name = f"{(number * 7 + step * 5) % 20}"

            async def compute(_: Sequence[int], name: str = name) -> list[bytes]:
                return [name.encode() + MAKES_LARGE]

            key = digest(name)
            assert (await one.cache.results("synthesize", None, [key], compute))[key] == name.encode() + MAKES_LARGE

    async with process(runtime, limit=limit) as one, process(runtime, limit=limit) as other:
        await asyncio.gather(*(user(each, number) for number in range(6) for each in (one, other)))
    shelf = Shelf(runtime.pool, runtime.objects)
    await shelf.evict(limit)
    assert await shelf.taken() <= limit
    await nothing_is_left(runtime)


async def test_what_was_made_for_an_account_goes_with_it(runtime: Runtime, clean: None) -> None:
    owner = (await runtime.accounts.sign_up(f"{uuid4().hex}@example.org", "a good password")).id
    other = await somebody(runtime)
    async with process(runtime) as one:
        await one.speak(owner)
        await one.job(owner).translator.translate(["one"], EN, PT)
        await one.speak(other)
        await one.cache.written()
        await Removal(runtime.pool, runtime.jobs, runtime.objects).remove_account(owner)
        # A job that ended in the same instant.
        await one.speak(owner, text="Mais uma.")
    owners = await runtime.pool.fetch("select owner_id from cached_result")
    assert [row["owner_id"] for row in owners] == [other]
    await nothing_is_left(runtime)


async def test_nothing_is_kept_when_there_is_no_room_for_it(runtime: Runtime, owner: UUID) -> None:
    async with process(runtime, limit=0) as one:
        assert one.job(owner).synthesizer is one.busy
    async with process(runtime, limit=1) as one:
        await one.speak(owner)
    assert await stored(runtime) == []


async def test_the_audit_knows_what_is_kept_and_what_is_left_over(runtime: Runtime, owner: UUID) -> None:
    async with process(runtime) as one:
        await one.speak(owner)

    async def ownerless() -> int:
        found = await audit(runtime.pool, runtime.objects, runtime.settings.home, grace_s=0.0)
        return found.count("orphan_objects")

    assert await ownerless() == 0
    await runtime.objects.put("cache/ab/left-over", b"speech")
    assert await ownerless() == 1
    await runtime.pool.execute("insert into object_removal (key, is_prefix) values ('cache/ab/left-over', false)")
    assert await ownerless() == 0, "somebody will remove it"
    assert await Removal(runtime.pool, runtime.jobs, runtime.objects).remove_objects() == 1
    await nothing_is_left(runtime)
