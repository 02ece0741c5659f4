"""An engine in its threads, and when it is beyond help. No Ray needed."""

import asyncio
import threading

import pytest

from deployments.engine_threads import MOST_FAILURES_IN_A_ROW, EngineThreads, load_engine
from octavia_stream.config import ServeSettings, Settings
from octavia_stream.errors import EngineUnavailable, InvalidRequest
from octavia_stream.testing import ScriptedTranslator


class Bench:
    """An engine that does what it is told."""

    def answer(self) -> str:
        return threading.current_thread().name

    def break_down(self) -> None:
        raise RuntimeError("CUDA error: out of memory")

    def refuse(self) -> None:
        raise InvalidRequest


async def test_calls_run_one_at_a_time_in_one_named_thread() -> None:
    thread = EngineThreads(Bench(), "asr", 60.0)

    names = await asyncio.gather(*(thread.run(Bench.answer) for _ in range(5)))

    assert set(names) == {"asr_0"}


async def test_an_engine_that_may_computes_several_calls_at_once() -> None:
    threads = EngineThreads(Bench(), "asr", 60.0, threads=2)
    both = threading.Barrier(2)

    await asyncio.gather(*(threads.run(lambda _: both.wait(10)) for _ in range(2)))


async def test_an_engine_that_broke_a_few_times_in_a_row_is_ill() -> None:
    thread = EngineThreads(Bench(), "asr", 60.0)
    for _ in range(MOST_FAILURES_IN_A_ROW):
        thread.check()
        with pytest.raises(EngineUnavailable, match="broke on this call"):
            await thread.run(Bench.break_down)

    with pytest.raises(EngineUnavailable, match="3 times in a row"):
        thread.check()


async def test_a_refusal_is_no_illness() -> None:
    thread = EngineThreads(Bench(), "asr", 60.0)
    for _ in range(MOST_FAILURES_IN_A_ROW + 1):
        with pytest.raises(InvalidRequest):
            await thread.run(Bench.refuse)

    thread.check()


async def test_a_success_between_failures_counts_them_anew() -> None:
    thread = EngineThreads(Bench(), "asr", 60.0)
    for _ in range(MOST_FAILURES_IN_A_ROW - 1):
        with pytest.raises(EngineUnavailable, match="broke on this call"):
            await thread.run(Bench.break_down)
    await thread.run(Bench.answer)
    with pytest.raises(EngineUnavailable, match="broke on this call"):
        await thread.run(Bench.break_down)

    thread.check()


async def test_an_engine_that_hangs_is_ill_until_it_answers() -> None:
    thread = EngineThreads(Bench(), "asr", stuck_after_s=0.0)
    go_on, working = threading.Event(), threading.Event()

    def hang(_engine: Bench) -> None:
        working.set()
        go_on.wait(10)

    call = asyncio.create_task(thread.run(hang))
    await asyncio.to_thread(working.wait, 10)
    with pytest.raises(EngineUnavailable, match="one call"):
        thread.check()
    go_on.set()
    await call

    thread.check()


async def test_an_engine_is_ill_while_one_of_its_calls_hangs() -> None:
    threads = EngineThreads(Bench(), "asr", stuck_after_s=0.0, threads=2)
    go_on, working = threading.Event(), threading.Event()

    def hang(_engine: Bench) -> None:
        working.set()
        go_on.wait(10)

    call = asyncio.create_task(threads.run(hang))
    await asyncio.to_thread(working.wait, 10)
    await threads.run(Bench.answer)
    with pytest.raises(EngineUnavailable, match="one call"):
        threads.check()
    go_on.set()
    await call

    threads.check()


async def test_the_settings_name_the_module_that_makes_the_engines() -> None:
    settings = Settings(serve=ServeSettings(engines="octavia_stream.testing"))

    assert isinstance(load_engine(settings, "translator"), ScriptedTranslator)
