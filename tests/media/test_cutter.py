"""A part of a file is cut out packet for packet."""

import asyncio
from pathlib import Path

import av
import numpy as np
import pytest

from octavia_stream.config import MediaSettings
from octavia_stream.errors import MediaRejected
from octavia_stream.media.cutter import Cut, Range, cut_media
from octavia_stream.media.demuxer import decode_audio
from octavia_stream.media.probe import probe

DATA = Path(__file__).parents[1] / "data"
RATE_HZ = 16_000


async def cut(source: Path, part: Range, folder: Path, *, picture: bool) -> Cut:
    settings = MediaSettings()
    info = await probe(source, settings)
    return await cut_media(source, info, info.audio[0], part, folder, settings, picture=picture)


async def sound(path: Path) -> np.ndarray:
    settings = MediaSettings()
    info = await probe(path, settings)
    blocks = decode_audio(path, info.audio[0], rate_hz=RATE_HZ, channels=1, settings=settings)
    return np.concatenate([block.samples async for block in blocks])


@pytest.mark.parametrize(
    "source",
    ["speech/en/jfk.flac", "speech/es/fleurs-es-003.ogg", "speech/pt/leopard_pt.wav", "video/muxed_en.mkv"],
)
async def test_sound_is_cut_to_the_packet_and_is_what_was_there(source: str, tmp_path: Path) -> None:
    whole = await sound(DATA / source)
    done = await cut(DATA / source, Range(1.0, 3.0), tmp_path, picture=False)
    part = await sound(done.path)
    assert done.start_s == pytest.approx(1.0, abs=0.12)
    assert len(part) / RATE_HZ == pytest.approx(3.0 - done.start_s, abs=0.12)
    # The first packet of some codecs is decoded with the one before it, and times of Matroska are whole milliseconds.
    skipped, length = RATE_HZ // 4, RATE_HZ
    begin = round(done.start_s * RATE_HZ) + skipped
    near = whole[begin - 800 : begin + length + 800]
    wanted = part[skipped : skipped + length]
    match = np.correlate(near, wanted, "valid").max() / float(np.dot(wanted, wanted))
    assert match == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(("source", "start_s"), [("video/muxed_pt.mp4", 20.0), ("video/friday.mp4", 3.0)])
async def test_a_picture_begins_at_one_that_needs_no_other(source: str, start_s: float, tmp_path: Path) -> None:
    done = await cut(DATA / source, Range(start_s, start_s + 2), tmp_path, picture=True)
    with await asyncio.to_thread(av.open, str(DATA / source)) as container:
        keys = [float(p.pts * p.time_base) for p in container.demux(video=0) if p.is_keyframe and p.pts is not None]
    assert done.start_s == pytest.approx(max(key for key in keys if key <= start_s), abs=0.001)
    with await asyncio.to_thread(av.open, str(done.path)) as container:
        frames = list(container.decode(video=0))
    assert frames[0].key_frame
    assert frames[0].time == pytest.approx(0.0, abs=0.001)
    assert frames[-1].time == pytest.approx(start_s + 2 - done.start_s, abs=0.3)


async def test_no_end_is_the_end_of_the_file(tmp_path: Path) -> None:
    source = DATA / "speech" / "en" / "jfk.flac"
    done = await cut(source, Range(8.0), tmp_path, picture=False)
    assert len(await sound(done.path)) / RATE_HZ == pytest.approx(11.0 - done.start_s, abs=0.05)


async def test_after_the_end_there_is_nothing(tmp_path: Path) -> None:
    with pytest.raises(MediaRejected, match="nothing in this file between"):
        await cut(DATA / "speech" / "en" / "jfk.flac", Range(20.0, 30.0), tmp_path, picture=False)
