"""A part of a dubbed track exchanged: everything else stays bit for bit, and nobody hears where it was cut."""

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from octavia_stream.config import MediaSettings
from octavia_stream.errors import EngineUnavailable, MediaRejected
from octavia_stream.languages import Language
from octavia_stream.media import wire
from octavia_stream.media.child import decoding, muxing
from octavia_stream.media.child.splicing import window_shape
from octavia_stream.media.demuxer import Demuxer
from octavia_stream.media.muxer import Muxer, MuxPlan, Splice
from octavia_stream.media.muxer import _request as request_of
from tests.media.studio import _LIMITS as LIMITS
from tests.media.studio import (
    MakeMedia,
    Picture,
    Sound,
    decoded,
    decoded_here,
    described,
    packet_digests,
    packet_times,
)

HZ = 44_100
SECONDS = 9.0
FRAME = 1024


@dataclass(frozen=True)
class Case:
    """Where the sound is another one, in seconds."""

    start_s: float
    end_s: float
    channels: int = 1
    track_starts_s: float = 0.0
    container: str = "mp4"
    odd: int = 0
    """Samples that the track is longer."""


def talk(channels: int, seconds: float, seed: int) -> NDArray[np.float32]:
    """Something like speech, shape (n, channels): tones that swell, hiss, and clicks, which ask for short windows."""
    chance = np.random.default_rng(seed)
    count = round(seconds * HZ)
    time = np.arange(count) / HZ
    swell = 0.5 + 0.5 * np.sin(2 * np.pi * 2.3 * time + seed)
    mono = 0.25 * swell * np.sin(2 * np.pi * 180 * time) + 0.1 * swell * np.sin(2 * np.pi * 1_330 * time)
    mono += 0.02 * swell * chance.standard_normal(count)
    for at in chance.integers(0, count - 400, round(4 * seconds)):
        mono[at : at + 400] += 0.4 * np.exp(-np.arange(400) / 60) * chance.standard_normal(400)
    sides = [mono * (1 - 0.3 * side) + 0.01 * side * chance.standard_normal(count) for side in range(channels)]
    return np.clip(np.stack(sides, axis=1), -0.95, 0.95).astype(np.float32)


def mux_here(
    source: Path, output: Path, plan: MuxPlan, samples: NDArray[np.float32], changed: wire.Splice | None = None
) -> None:
    """Write in this process: a jail takes its time. changed: what to ask of the child instead of the plan's own."""
    left = samples

    def read(count: int) -> NDArray[np.float32]:
        nonlocal left
        block, left = left[:count], left[count:]
        return block

    task = request_of(plan, output.name)
    if changed is not None:
        task = msgspec.structs.replace(task, splice=changed)
    earlier = str(plan.splice.earlier) if plan.splice else ""
    muxing.mux(str(source), str(output.parent), task, read, earlier)
    (output.parent / task.output_name).rename(output)


def plan_of(source: Path, case: Case, length: int) -> MuxPlan:
    [track] = described(source).audio
    return MuxPlan(case.container, HZ, case.channels, Language("pt"), "Dub", track, length=length)


@pytest.mark.parametrize(
    "case",
    [
        Case(3.0, 4.5),
        Case(3.0, 4.5, channels=2),
        Case(0.0, 1.0, channels=2, odd=77),
        Case(0.9, 2.0, odd=1023),
        Case(7.5, 9.0, odd=500),
        Case(4.0, 5.0, channels=2, track_starts_s=0.7),
        Case(0.2, 1.0, track_starts_s=0.7, odd=3),
        Case(0.0, 0.0, odd=9),
        Case(2.0, 3.0, container="mov"),
        Case(2.0, 3.0, container="m4a"),
    ],
)
def test_a_splice_is_what_writing_it_all_anew_would_be(case: Case, make_media: MakeMedia) -> None:
    sound = Sound("aac", rate_hz=HZ, seconds=SECONDS, start_s=case.track_starts_s)
    source = make_media("source.mp4", Picture(seconds=SECONDS), sound)
    before = talk(case.channels, SECONDS, seed=1)[: round(SECONDS * HZ)]
    before = np.concatenate([before, before[: case.odd]])
    start, end = round(case.start_s * HZ), round(case.end_s * HZ)
    after = before.copy()
    after[start:end] = talk(case.channels, SECONDS, seed=2)[start:end]
    plan = plan_of(source, case, len(before))
    first, whole, spliced = (source.with_name(f"{name}.{case.container}") for name in ("first", "whole", "spliced"))
    mux_here(source, first, plan, before)
    mux_here(source, whole, plan, after)
    splice = Splice(first, start, end)
    sent = splice.sent(len(before), HZ)
    mux_here(source, spliced, replace(plan, splice=splice), after[slice(*sent)])

    # Packets: the same times, and those far from the part are those of the file before.
    assert packet_times(spliced, "audio") == packet_times(whole, "audio")
    told, kept = packet_digests(spliced, "audio"), packet_digests(first, "audio")
    near = range(sent[0] // FRAME, sent[1] // FRAME + 4)
    assert [one for n, one in enumerate(told) if n not in near] == [one for n, one in enumerate(kept) if n not in near]
    if case.container != "m4a":
        assert packet_digests(spliced, "video") == packet_digests(first, "video")
        assert packet_times(spliced, "video") == packet_times(first, "video")
        assert packet_digests(spliced, "audio", 1) == packet_digests(first, "audio", 1)
    # Sound: exactly as long, as near to what was to be written, and without a step that the whole has not.
    (made, _, made_start), (fully, _, fully_start) = decoded(spliced), decoded(whole)
    assert len(made) == len(fully) == len(after)
    assert made_start == fully_start
    errors = [_worst_error(one, after) for one in (made, fully)]
    assert errors[0] <= 1.5 * errors[1] + 0.002
    assert np.abs(np.diff(made, axis=0)).max() <= 1.1 * np.abs(np.diff(fully, axis=0)).max()


def _worst_error(made: NDArray[np.float32], wanted: NDArray[np.float32]) -> float:
    """The largest mean error over the length of a packet, anywhere."""
    squares = np.cumsum(np.concatenate([[0.0], ((made - wanted) ** 2).mean(axis=1)]))
    return float(np.sqrt((squares[FRAME:] - squares[:-FRAME]).max() / FRAME))


def test_an_earlier_file_of_another_sound_is_refused(make_media: MakeMedia) -> None:
    source = make_media("source.mp4", Picture(seconds=SECONDS), Sound("aac", rate_hz=HZ, seconds=SECONDS))
    sound = talk(1, SECONDS, seed=1)
    plan = plan_of(source, Case(0, 0), len(sound))
    mux_here(source, source.with_name("shorter.mp4"), replace(plan, length=len(sound) - 3 * FRAME), sound)
    mux_here(source, source.with_name("stereo.mp4"), replace(plan, channels=2), np.repeat(sound, 2, axis=1))
    mux_here(source, source.with_name("opus.mkv"), replace(plan, container="mkv"), sound)
    for name in ("shorter.mp4", "stereo.mp4", "opus.mkv"):
        splice = Splice(source.with_name(name), 3 * HZ, 4 * HZ)
        with pytest.raises(MediaRejected):
            mux_here(source, source.with_name("out.mp4"), replace(plan, splice=splice), sound[2 * HZ : 5 * HZ])


def test_samples_that_do_not_come_are_refused(make_media: MakeMedia) -> None:
    source = make_media("source.mp4", Sound("aac", rate_hz=HZ, seconds=SECONDS))
    sound = talk(1, SECONDS, seed=1)
    plan = plan_of(source, Case(0, 0), len(sound))
    first = source.with_name("first.mp4")
    mux_here(source, first, plan, sound)
    plan = replace(plan, splice=Splice(first, 3 * HZ, 4 * HZ))
    with pytest.raises(MediaRejected):
        mux_here(source, source.with_name("out.mp4"), plan, sound[2 * HZ : 3 * HZ])


def test_no_room_for_a_clean_cut_is_refused(make_media: MakeMedia) -> None:
    source = make_media("source.mp4", Sound("aac", rate_hz=HZ, seconds=SECONDS))
    sound = talk(1, SECONDS, seed=1)
    plan = plan_of(source, Case(0, 0), len(sound))
    first = source.with_name("first.mp4")
    mux_here(source, first, plan, sound)
    plan = replace(plan, splice=Splice(first, 3 * HZ, 4 * HZ))
    tight = wire.Splice(sent=(3 * HZ, 4 * HZ), changed=(3 * HZ, 4 * HZ))
    with pytest.raises(MediaRejected):
        mux_here(source, source.with_name("out.mp4"), plan, sound[3 * HZ : 4 * HZ], tight)


async def test_a_jailed_splice_killed_leaves_both_files_as_they_were(
    make_media: MakeMedia, settings: MediaSettings
) -> None:
    source = make_media("source.mp4", Picture(seconds=SECONDS), Sound("aac", rate_hz=HZ, seconds=SECONDS))
    sound = talk(1, SECONDS, seed=1)
    plan = plan_of(source, Case(0, 0), len(sound))
    first, output = source.with_name("first.mp4"), source.with_name("out.mp4")
    mux_here(source, first, plan, sound)
    kept = first.read_bytes()
    plan = replace(plan, splice=Splice(first, 3 * HZ, 4 * HZ))
    async with Muxer(source, output, plan, settings) as muxer:
        await muxer.write(sound[2 * HZ : 3 * HZ])
        os.kill(muxer.pid, signal.SIGKILL)
        with pytest.raises(EngineUnavailable):
            await muxer.close()
    assert not output.exists()
    async with Muxer(source, output, plan, settings) as muxer:
        await muxer.write(sound[2 * HZ : 5 * HZ])
        assert (await muxer.close()).length == len(sound)
    assert packet_times(output, "audio") == packet_times(first, "audio")
    assert first.read_bytes() == kept
    assert {path.name for path in source.parent.iterdir()} == {"source.mp4", "first.mp4", "out.mp4"}


async def test_a_part_is_decoded_as_it_is_in_the_whole(make_media: MakeMedia, settings: MediaSettings) -> None:
    source = make_media("source.mp4", Sound("aac", rate_hz=HZ, seconds=4.0, bursts=(1.0, 2.0), jump=(1.5, 0.3)))
    [track] = described(source).audio
    whole, _ = decoded_here(source, HZ)
    part = (round(1.2 * HZ), round(2.9 * HZ))
    task = wire.DecodeRequest(track.index, track.start_s, HZ, HZ, 1, part)
    blocks: list[NDArray[np.float32]] = []
    report = decoding.decode(str(source), task, LIMITS, blocks.append)
    assert np.array_equal(np.concatenate(blocks)[:, 0], whole[slice(*part)])
    assert report.length == part[1] - part[0]
    async with Demuxer(source, track, rate_hz=HZ, channels=1, settings=settings, part=part) as chunks:
        delivered = [chunk async for chunk in chunks]
    assert delivered[0].offset == part[0]
    assert delivered[-1].end == part[1]


@pytest.mark.parametrize(
    ("bits", "shape"),
    [
        ("000 0000 10110010 0 10 1", 0b101),
        ("001 0000 1 0 11 0", 0b110),
        ("001 0000 0 0 11 0", None),
        ("110 0000 00000000", None),
    ],
)
def test_the_shape_of_a_window_is_read_from_the_packet(bits: str, shape: int | None) -> None:
    packed = bits.replace(" ", "").ljust(32, "0")
    assert window_shape(int(packed, 2).to_bytes(4, "big")) == shape
