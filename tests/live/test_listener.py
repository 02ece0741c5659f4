"""Who listens slowly loses the oldest, is told how much, and keeps nobody waiting; events have no gaps."""

import asyncio

import numpy as np

from octavia_stream.live.events import LiveRecord, SpeakerJoined
from octavia_stream.live.frame import FRAME_SAMPLES, Frame
from octavia_stream.live.journal import KEPT_RECORDS, Journal
from octavia_stream.live.listener import Listener
from octavia_stream.live.speaker import MOST_WAITING, SpeakerInput
from tests.live.conftest import PT


def frame(number: int) -> Frame:
    return Frame(np.zeros(FRAME_SAMPLES, np.int16), number * FRAME_SAMPLES)


async def test_a_slow_listener_loses_the_oldest_frames_and_counts_them() -> None:
    listener = Listener(PT, lambda _: None, capacity=3)
    for number in range(5):
        listener.offer(frame(number))
    listener.end()
    assert [one.position // FRAME_SAMPLES async for one in listener] == [2, 3, 4]
    assert listener.dropped == 2


async def test_a_listener_that_closes_leaves_and_hears_no_more() -> None:
    left: list[Listener] = []
    listener = Listener(PT, left.append)
    listener.offer(frame(0))
    listener.close()
    listener.close()
    assert [one async for one in listener] == []
    assert left[0] is listener


async def test_everybody_who_follows_gets_every_record_once_from_where_they_were() -> None:
    journal = Journal(lambda: 0.0, last=7)

    async def follow(after: int) -> list[int]:
        return [record.seq async for record in journal.follow(after)]

    journal.write(SpeakerJoined("a"))
    followers = [asyncio.create_task(follow(after)) for after in (0, 8, 9)]
    await asyncio.sleep(0)
    journal.write(SpeakerJoined("b"))
    await asyncio.sleep(0)
    journal.write(SpeakerJoined("c"))
    journal.end()
    assert await asyncio.gather(*followers) == [[8, 9, 10], [9, 10], [10]]


async def test_a_slow_follower_goes_on_with_the_oldest_that_is_kept() -> None:
    journal = Journal(lambda: 0.0)
    for _ in range(KEPT_RECORDS + 5):
        journal.write(SpeakerJoined("a"))
    journal.end()
    records: list[LiveRecord] = [record async for record in journal.follow()]
    assert (records[0].seq, records[-1].seq, len(records)) == (6, KEPT_RECORDS + 5, KEPT_RECORDS)


def test_sound_that_nobody_takes_is_bounded_and_keeps_its_place() -> None:
    speaker = SpeakerInput("a", lambda: 0.0, lambda _: None)
    for _ in range(12):
        speaker.push(np.ones(16_000, np.float32))
    blocks = speaker.take()
    assert speaker.dropped == 2 * 16_000
    assert blocks[0].offset == 2 * 16_000
    assert blocks[-1].end == speaker.position == 12 * 16_000
    assert sum(block.length for block in blocks) == MOST_WAITING


def test_the_moment_a_sample_came_is_remembered() -> None:
    now = [10.0]
    speaker = SpeakerInput("a", lambda: now[0], lambda _: None)
    for _ in range(5):
        speaker.push(np.zeros(320, np.float32))
        now[0] += 0.02
    assert speaker.heard_at(640) == 10.02
    assert speaker.heard_at(641) == 10.04
