"""Position equals presentation time, in bounded memory, whatever the file does."""

import struct
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from octavia_stream.audio.resampling import resampled_length
from octavia_stream.config import MediaSettings
from octavia_stream.errors import MediaRejected, MediaTooLarge
from octavia_stream.media.demuxer import DecodeReport, Demuxer, decode_audio
from octavia_stream.media.probe import probe, require_audio
from tests.media.studio import DATA, MakeMedia, Picture, Sound, burst_starts, decoded, decoded_here, described


async def decode(
    path: Path, settings: MediaSettings, rate_hz: int = 16_000, channels: int = 1, nth: int = 0
) -> tuple[NDArray[np.float32], DecodeReport]:
    track = described(path).audio[nth]
    report = DecodeReport()
    chunks = decode_audio(path, track, rate_hz=rate_hz, channels=channels, settings=settings, report=report)
    blocks, end = [], 0
    async for chunk in chunks:
        assert chunk.offset == end
        assert chunk.rate_hz == rate_hz
        end = chunk.end
        blocks.append(chunk.samples)
    assert report.complete
    assert report.length == end
    return np.concatenate(blocks), report


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_every_rate_and_layout_becomes_mono_at_16_khz(rate_hz: int, channels: int, make_media: MakeMedia) -> None:
    path = make_media("sound.flac", Sound("flac", rate_hz=rate_hz, channels=channels, seconds=2.013, bursts=(0.5, 1.5)))
    samples, report = decoded_here(path)
    assert report.source_length == round(2.013 * rate_hz)
    assert len(samples) == resampled_length(report.source_length, rate_hz, 16_000)
    assert samples.dtype == np.float32
    assert burst_starts(samples, 16_000) == pytest.approx([0.5, 1.5], abs=0.002)


async def test_surround_becomes_stereo_within_full_scale(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("surround.flac", Sound("flac", channels=6))
    samples, _ = await decode(path, settings, 48_000, 2)
    assert samples.shape == (96_000, 2)
    assert 0.15 < float(np.abs(samples).max()) <= 1.0


async def test_24_bit_sound_keeps_its_precision(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("deep.wav", Sound("pcm_s24le"))
    samples, _ = await decode(path, settings, 48_000)
    expected, _, _ = decoded(path)
    assert np.array_equal(samples, expected[:, 0])
    assert not np.array_equal(samples * 32768, np.round(samples * 32768))


@pytest.mark.parametrize(
    ("name", "format"), [("a.mkv", None), ("a.mp4", None), ("a.mov", None), ("a.webm", None), ("a.ts", "mpegts")]
)
async def test_the_first_sample_is_the_first_of_the_track_wherever_it_starts(
    name: str, format: str | None, make_media: MakeMedia, settings: MediaSettings
) -> None:
    codec, picture = ("libopus", "libvpx") if name == "a.webm" else ("aac", "libx264")
    path = make_media(name, Picture(picture), Sound(codec, start_s=0.7, bursts=(1.0,)), format=format)
    samples, report = await decode(path, settings)
    # The encoder's priming is sound of the track where the container does not mark it (24 ms at most).
    assert burst_starts(samples, 16_000) == pytest.approx([1.0], abs=0.025)
    assert report.filled == report.dropped == 0


async def test_a_gap_in_the_timestamps_is_silence(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("gap.mkv", Sound(bursts=(0.5, 1.5), jump=(1.0, 0.75)))
    samples, report = await decode(path, settings)
    assert burst_starts(samples, 16_000) == pytest.approx([0.5, 2.25], abs=0.002)
    assert report.filled == 36_000
    assert report.source_length == 96_000 + 36_000


async def test_an_overlap_in_the_timestamps_is_dropped(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("overlap.mkv", Sound(bursts=(0.5, 1.5), jump=(1.0, -0.24)), options={"avoid_negative_ts": "0"})
    samples, report = await decode(path, settings)
    assert burst_starts(samples, 16_000) == pytest.approx([0.5, 1.26], abs=0.002)
    assert report.dropped == 11_520


async def test_rounded_timestamps_are_left_alone(make_media: MakeMedia, settings: MediaSettings) -> None:
    """Matroska rounds to milliseconds: 44.1 kHz packets never fall on one."""
    path = make_media("rounded.mkv", Sound("aac", rate_hz=44_100, seconds=20))
    _, report = await decode(path, settings)
    assert report.filled == report.dropped == 0


async def test_an_endless_gap_is_refused_without_filling_memory(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("abyss.mkv", Sound(jump=(1.0, 90_000.0)))
    track = require_audio(await probe(path, settings.model_copy(update={"max_duration_s": 10**6})))[0]
    short = settings.model_copy(update={"max_duration_s": 60})
    with pytest.raises(MediaTooLarge, match="goes on for longer"):
        async for _ in decode_audio(path, track, rate_hz=16_000, channels=1, settings=short):
            pass


async def test_a_header_that_lies_about_the_length_is_found_out(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("liar.flac", Sound("flac", rate_hz=8_000, seconds=90))
    data = bytearray(path.read_bytes())
    # STREAMINFO: 20 bits of rate, 3 of channels, 5 of depth, 36 of length (RFC 9639, 8.2), 10 bytes into the block.
    at = data.index(b"fLaC") + 8 + 10
    (word,) = struct.unpack(">Q", data[at : at + 8])
    data[at : at + 8] = struct.pack(">Q", word >> 36 << 36 | 8_000)
    path.write_bytes(data)
    tight = settings.model_copy(update={"max_duration_s": 60})
    info = await probe(path, tight)
    assert info.duration_s < 60
    with pytest.raises(MediaTooLarge, match="goes on for longer"):
        async for _ in decode_audio(path, require_audio(info)[0], rate_hz=16_000, channels=1, settings=tight):
            pass


async def test_a_day_of_silence_in_a_small_file_is_refused(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("day.flac", Sound("flac", rate_hz=100, seconds=86_400))
    assert path.stat().st_size < 8 * 1024**2
    with pytest.raises(MediaTooLarge, match="24 h 00 min"):
        await probe(path, settings)


async def test_damaged_packets_are_skipped_and_counted(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("damaged.mp3", Sound("libmp3lame", seconds=10, bursts=(1.0, 9.0)))
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4_000] = np.random.default_rng(3).integers(0, 255, 4_000, dtype=np.uint8).tobytes()
    path.write_bytes(data)
    samples, report = await decode(path, settings)
    assert report.errors > 0
    assert 8 < len(samples) / 16_000 < 10.5
    assert burst_starts(samples, 16_000)[0] == pytest.approx(1.0, abs=0.05)


async def test_a_file_that_breaks_off_gives_what_it_holds(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("whole.mkv", Picture(seconds=4), Sound("flac", seconds=4, bursts=(0.5,)))
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    samples, _ = await decode(path, settings)
    assert 0.5 < len(samples) / 16_000 < 4
    assert burst_starts(samples, 16_000) == pytest.approx([0.5], abs=0.002)


async def test_the_second_track_can_be_chosen(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("two.mkv", Picture(), Sound("flac", bursts=(0.5,)), Sound("flac", rate_hz=44_100, bursts=(1.25,)))
    samples, report = await decode(path, settings, nth=1)
    assert burst_starts(samples, 16_000) == pytest.approx([1.25], abs=0.002)
    assert report.source_rate_hz == 44_100


async def test_a_track_that_is_not_there_is_refused(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("sound.wav", Sound())
    other = described(make_media("video.mkv", Picture(), Sound("flac"))).audio[0]
    with pytest.raises(MediaRejected, match="no sound track 1"):
        async for _ in decode_audio(path, other, rate_hz=16_000, channels=1, settings=settings):
            pass


async def test_a_reader_that_waits_makes_the_child_wait(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("long.flac", Sound("flac", channels=2, seconds=300))
    track = described(path).audio[0]
    async with Demuxer(path, track, rate_hz=48_000, channels=2, settings=settings) as chunks:
        await anext(chunks)
        child = psutil.Process(chunks.pid)
        # All of it would be 115 MB; the pipe and the reader hold a few blocks.
        assert child.is_running()
        rest = [chunk.length async for chunk in chunks]
    assert sum(rest) + 48_000 == pytest.approx(300 * 48_000, abs=48_000)


@pytest.mark.parametrize("path", sorted((DATA / "speech" / "en").glob("*.ogg")), ids=lambda path: path.name)
async def test_real_speech_decodes_to_the_length_players_hear(path: Path, settings: MediaSettings) -> None:
    samples, rate_hz, _ = decoded(path)
    ours, report = await decode(path, settings, rate_hz)
    here, here_report = decoded_here(path, rate_hz)
    assert np.array_equal(ours, here)
    assert report.source_length == here_report.source_length
    assert len(ours) == report.source_length == len(samples)
