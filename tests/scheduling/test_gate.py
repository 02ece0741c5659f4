"""The queue on an event loop: turns, cancels and what the engines see."""

import asyncio
from uuid import uuid4

import numpy as np
import pytest

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.engines import Engines
from octavia_stream.languages import Language
from octavia_stream.mt.translator import Translation
from octavia_stream.scheduling.fair_engines import FairEngines
from octavia_stream.scheduling.gate import Gate
from octavia_stream.scheduling.share import Priority, Share
from octavia_stream.testing import silence
from octavia_stream.tts.voice import Voice

EN, PT = Language("en"), Language("pt")
VOICE = Voice("scripted/ana", PT, "female", "scripted", characters_per_second=10.0)


class Turns:
    """Callers of one gate; each ends when told."""

    def __init__(self, slots: int) -> None:
        self.gate = Gate(slots)
        self.order: list[str] = []
        self.ends: list[asyncio.Event] = []

    def ask(self, name: str, share: Share, cost: float = 1.0) -> "asyncio.Task[None]":
        end = asyncio.Event()
        self.ends.append(end)

        async def call() -> None:
            async with self.gate.turn(share, cost):
                self.order.append(name)
                await end.wait()

        return asyncio.create_task(call())

    def end_all(self) -> None:
        for end in self.ends:
            end.set()


async def settled() -> None:
    """Every task has run as far as it gets: nothing here waits for a clock or another thread."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_no_more_than_the_slots_are_under_way_and_each_end_lets_one_in() -> None:
    turns, share = Turns(2), Share(uuid4())
    calls = [turns.ask(str(number), share) for number in range(5)]
    await settled()
    assert (turns.order, turns.gate.running, turns.gate.waiting) == (["0", "1"], 2, 3)
    turns.ends[0].set()
    await settled()
    assert turns.order == ["0", "1", "2"]
    turns.gate.slots = 4
    await settled()
    assert turns.order == ["0", "1", "2", "3", "4"], "more servers take more at once"
    turns.end_all()
    await asyncio.gather(*calls)
    assert (turns.gate.running, turns.gate.waiting, turns.gate.queued_cost) == (0, 0, 0.0)


async def test_nine_that_come_late_are_served_before_the_next_but_one_of_the_first() -> None:
    turns, film = Turns(1), Share(uuid4())
    calls = [turns.ask("film", film, 28.0) for _ in range(40)]
    await settled()
    calls += [turns.ask(f"clip {number}", Share(uuid4()), 5.0) for number in range(9)]
    turns.end_all()
    await asyncio.gather(*calls)
    places = [place for place, name in enumerate(turns.order) if name.startswith("clip")]
    assert len(places) == 9
    assert places[-1] <= 11, "one call of the film runs, one may have the same right"


@pytest.mark.parametrize("given", [False, True], ids=["waiting", "given its slot in the same moment"])
async def test_a_cancelled_call_is_gone_and_loses_no_slot(given: bool) -> None:
    turns, share = Turns(1), Share(uuid4())
    first = turns.ask("first", share)
    await settled()
    second, third = turns.ask("second", share), turns.ask("third", Share(uuid4()))
    await settled()
    if given:
        # The slot comes free first, and the cancel reaches the same caller before it ran.
        turns.ends[0].set()
        first.cancel()
    second.cancel()
    await asyncio.gather(second, return_exceptions=True)
    if given:
        await asyncio.gather(first, return_exceptions=True)
    assert turns.gate.waiting == (0 if given else 1)
    turns.end_all()
    async with asyncio.timeout(10):
        await asyncio.gather(third, first, return_exceptions=True)
    assert turns.order == ["first", "third"]
    assert turns.gate.running == 0


async def test_a_call_that_fails_gives_its_slot_back() -> None:
    gate, share = Gate(1), Share(uuid4())
    for _ in range(2):
        with pytest.raises(RuntimeError, match="broke"):
            async with gate.turn(share, 1.0):
                raise RuntimeError("broke")
    assert gate.running == 0


class _Recorded:
    """All three ports; keeps what was asked until `go`."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.go = asyncio.Event()

    async def _answer(self, what: str) -> None:
        self.asked.append(what)
        await self.go.wait()

    async def transcribe(
        self, audio: AudioChunk, language: Language | None, task: AsrTask = "transcribe"
    ) -> Transcript:
        await self._answer(f"{task} {audio.duration_s:.0f}")
        return Transcript((), EN)

    async def translate(
        self, sentences: list[str], source: Language, target: Language, hypotheses: int = 1
    ) -> list[Translation]:
        await self._answer(f"{source}-{target} {hypotheses}")
        return []

    async def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        await self._answer(f"{text} {speed}")
        return AudioChunk(np.zeros(0, np.float32), 24_000)


async def test_each_stage_queues_for_itself_and_counts_seconds_of_sound() -> None:
    engine = _Recorded()
    gates: dict[Stage, Gate] = {"transcribe": Gate(1), "translate": Gate(1), "synthesize": Gate(1)}
    fair = FairEngines(Engines(engine, engine, engine), gates)  # type: ignore[arg-type]
    job, live = fair(Share(uuid4())), fair(Share(uuid4(), priority=Priority.LIVE))
    async with asyncio.TaskGroup() as group:
        for _ in range(2):
            group.create_task(job.transcriber.transcribe(silence(12.0), None))
            group.create_task(job.translator.translate(["a" * 28], EN, PT, 4))
            group.create_task(job.synthesizer.synthesize("b" * 40, VOICE, 2.0))
        await settled()
        group.create_task(live.transcriber.transcribe(silence(3.0), EN, "translate"))
        await settled()
        assert engine.asked == ["transcribe 12", "en-pt 4", f"{'b' * 40} 2.0"]
        queued = {stage: gate.queued_cost for stage, gate in gates.items()}
        assert queued == pytest.approx({"transcribe": 15.0, "translate": 2.0, "synthesize": 2.0})
        engine.go.set()
    assert [asked for asked in engine.asked if "trans" in asked] == ["transcribe 12", "translate 3", "transcribe 12"]


async def test_a_job_listens_on_cores_that_its_speaking_leaves_idle_and_in_order() -> None:
    engine = _Recorded()
    gates: dict[Stage, Gate] = {"transcribe": Gate(4), "translate": Gate(4), "synthesize": Gate(4)}
    fair = FairEngines(Engines(engine, engine, engine), gates, shared_cores=2)  # type: ignore[arg-type]
    job, other = fair(Share(uuid4())), fair(Share(uuid4()))
    async with asyncio.TaskGroup() as group:
        said = [group.create_task(job.synthesizer.synthesize(text, VOICE)) for text in ("a", "b", "c")]
        heard = [group.create_task(job.transcriber.transcribe(silence(at), None)) for at in (1.0, 2.0, 3.0)]
        await settled()
        assert engine.asked == ["a 1.0", "b 1.0", "c 1.0"]

        group.create_task(other.transcriber.transcribe(silence(9.0), None))
        await settled()
        assert engine.asked[3:] == ["transcribe 9"]

        # Two sentences less, one of them cancelled: a core is idle.
        said[0].cancel()
        said[1].cancel()
        await settled()
        assert engine.asked[4:] == ["transcribe 1"]

        heard[1].cancel()
        heard[0].cancel()
        await settled()
        assert engine.asked[5:] == ["transcribe 3"]
        engine.go.set()
