"""Pieces of work are begun in the order they were asked for, whatever looking for saved ones takes."""

import asyncio

import pytest

from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.once import Once
from octavia_stream.errors import EngineUnavailable


class SlowCheckpoints:
    """Finds some pieces only after others were looked for."""

    def __init__(self, saved: dict[int, bytes] | None = None, slow: frozenset[int] = frozenset()) -> None:
        self.found = asyncio.Event()
        self._saved = saved or {}
        self._slow = slow

    async def load(self, stage: Stage, index: int, digest: str) -> bytes | None:
        if index in self._slow:
            await self.found.wait()
        return self._saved.get(index)

    async def begin(self, stage: Stage, index: int, digest: str) -> None:
        pass

    async def save(self, stage: Stage, index: int, digest: str, payload: bytes) -> None:
        pass


async def begun_in(
    once: Once, checkpoints: SlowCheckpoints, count: int, away: frozenset[int] = frozenset()
) -> list[int]:
    """The order in which pieces reach their engine when all are asked for at once."""
    order: list[int] = []

    async def work(index: int) -> int:
        order.append(index)
        await asyncio.sleep(0)
        if index in away:
            raise EngineUnavailable("The engine is away.")
        return index

    async def ask(index: int) -> int:
        return await once("synthesize", index, str(index), int, lambda: work(index))

    asked = [asyncio.create_task(ask(index)) for index in range(count)]
    for _ in range(50):
        await asyncio.sleep(0)
    assert not order or 0 not in checkpoints._slow, "somebody went before the first"
    checkpoints.found.set()
    await asyncio.gather(*asked, return_exceptions=True)
    return order


async def test_a_piece_that_is_looked_for_longer_goes_before_those_asked_for_after_it() -> None:
    checkpoints = SlowCheckpoints(slow=frozenset({0, 3}))
    assert await begun_in(Once(checkpoints, 1), checkpoints, 6) == [0, 1, 2, 3, 4, 5]


async def test_what_was_saved_is_not_done_and_keeps_nobody_from_their_turn() -> None:
    checkpoints = SlowCheckpoints(saved={0: b"\x00", 2: b"\x02"}, slow=frozenset({0, 2}))
    assert await begun_in(Once(checkpoints, 1), checkpoints, 5) == [1, 3, 4]


@pytest.mark.parametrize("away", [0, 1])
async def test_a_piece_that_fails_keeps_nobody_from_their_turn(away: int) -> None:
    checkpoints = SlowCheckpoints()
    assert await begun_in(Once(checkpoints, 1), checkpoints, 4, frozenset({away})) == [0, 1, 2, 3]


async def test_stages_do_not_wait_for_each_other() -> None:
    checkpoints = SlowCheckpoints(slow=frozenset({7}))
    once = Once(checkpoints, 1)

    async def answer() -> int:
        return 1

    waiting = asyncio.create_task(once("transcribe", 7, "", int, answer))
    await asyncio.sleep(0)
    assert await once("translate", 8, "", int, answer) == 1
    assert not waiting.done()
    checkpoints.found.set()
    assert await waiting == 1
