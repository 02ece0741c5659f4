"""A stage works on many things at once and hands them on in order."""

import asyncio

import pytest

from octavia_stream.channel import Channel, ChannelClosed
from octavia_stream.dubbing.stage import run_stage


async def fill(channel: Channel[int], count: int) -> None:
    for number in range(count):
        await channel.send(number)
    await channel.close()


async def test_results_come_in_order_though_calls_end_in_any() -> None:
    inbox: Channel[int] = Channel(2)
    outbox: Channel[int] = Channel(2)
    running = 0
    most = 0

    async def call(number: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range((7 * number) % 5):
            await asyncio.sleep(0)
        running -= 1
        return number * 10

    async with asyncio.TaskGroup() as group:
        group.create_task(fill(inbox, 50))
        group.create_task(run_stage(inbox, outbox, call, 4))
        assert [result async for result in outbox] == [number * 10 for number in range(50)]
    assert 1 < most <= 4


async def test_nothing_is_taken_in_while_the_window_is_full() -> None:
    inbox: Channel[int] = Channel(1)
    outbox: Channel[int] = Channel(1)
    gate = asyncio.Event()
    started: list[int] = []

    async def call(number: int) -> int:
        started.append(number)
        await gate.wait()
        return number

    async with asyncio.TaskGroup() as group:
        group.create_task(fill(inbox, 20))
        group.create_task(run_stage(inbox, outbox, call, 3))
        for _ in range(100):
            await asyncio.sleep(0)
        assert started == [0, 1, 2]
        gate.set()
        assert len([result async for result in outbox]) == 20


async def test_the_first_error_ends_the_stage_and_its_other_calls() -> None:
    inbox: Channel[int] = Channel(5)
    outbox: Channel[int] = Channel(5)
    cancelled: list[int] = []

    async def call(number: int) -> int:
        if number == 2:
            raise ValueError("two")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    await fill(inbox, 3)
    with pytest.raises(ExceptionGroup) as caught:
        await run_stage(inbox, outbox, call, 3)
    assert caught.group_contains(ValueError, match="two")
    assert sorted(cancelled) == [0, 1]


async def test_a_closed_channel_hands_out_what_it_holds_and_takes_nothing_more() -> None:
    channel: Channel[int] = Channel(3)
    await fill(channel, 3)
    await channel.close()
    assert [item async for item in channel] == [0, 1, 2]
    with pytest.raises(ChannelClosed):
        await channel.send(4)
