"""Picture bit for bit, dubbed sound exact to the sample, everything else in its place."""

import asyncio
import os
import signal
import struct
from dataclasses import dataclass
from pathlib import Path

import av
import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from octavia_stream.audio.resampling import resampled_length
from octavia_stream.config import MediaSettings
from octavia_stream.errors import EngineUnavailable, MediaRejected
from octavia_stream.languages import Language
from octavia_stream.media.child import muxing
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.muxer import Muxer, MuxPlan, MuxResult, SubtitleTrack, container_for
from octavia_stream.media.muxer import _request as request_of
from tests.media.studio import (
    DATA,
    MakeMedia,
    Picture,
    Sound,
    burst_sound,
    burst_starts,
    decoded,
    decoded_length,
    described,
    packet_digests,
    packet_times,
)

PT, EN = Language("pt"), Language("en")
VIDEOS = ("friday.mp4", "softcatala_english.mp4", "muxed_en.mkv", "sample_with_srt.mkv", "flower_nospeech.webm")


@dataclass(frozen=True)
class Line:
    start_s: float
    end_s: float
    text: str


async def dub(
    source: Path,
    settings: MediaSettings,
    container: str | None = None,
    *,
    bursts: tuple[float, ...] = (0.5,),
    length: int | None = None,
    written: int | None = None,
    tell_length: bool = True,
    subtitles: tuple[SubtitleTrack, ...] = (),
    jailed: bool = True,
) -> tuple[Path, MuxResult, MediaInfo]:
    """Write beeps over a source. Returns the new file, the result and what a probe finds in it.

    jailed: False runs the child's side right here, without the time that a process takes to start.
    """
    info = described(source)
    track = info.audio[0]
    kind = container_for(info, container)
    channels = min(track.channels, 2)
    length = length if length is not None else decoded_length(source)
    output = source.with_name(f"dubbed.{kind}")
    plan = MuxPlan(
        container=kind,
        rate_hz=track.rate_hz,
        channels=channels,
        language=PT,
        title="Português (dubbed)",
        source_track=track,
        length=length if tell_length else None,
        subtitles=subtitles,
    )
    samples = burst_sound(track.rate_hz, channels, (length if written is None else written) / track.rate_hz, bursts)
    if jailed:
        async with Muxer(source, output, plan, settings) as muxer:
            for block in np.array_split(samples, 7):
                await muxer.write(block)
            result = await muxer.close()
    else:
        result = mux_here(source, output, plan, samples)
    assert result.size == output.stat().st_size
    assert not list(output.parent.glob(".mux-*"))
    return output, result, described(output)


def mux_here(source: Path, output: Path, plan: MuxPlan, samples: NDArray[np.float32]) -> MuxResult:
    left = samples

    def read(count: int) -> NDArray[np.float32]:
        nonlocal left
        block, left = left[:count], left[count:]
        return block

    task = request_of(plan, output.name)
    result = muxing.mux(str(source), str(output.parent), task, read)
    (output.parent / task.output_name).rename(output)
    return msgspec.convert(result, MuxResult, from_attributes=True)


def copied(name: str, directory: Path) -> Path:
    """A file of the test data where results may be written beside it."""
    path = directory / name
    path.write_bytes((DATA / "video" / name).read_bytes())
    return path


@pytest.mark.parametrize("name", VIDEOS)
async def test_a_real_video_keeps_picture_and_original_sound_bit_for_bit(
    name: str, tmp_path: Path, settings: MediaSettings
) -> None:
    source = copied(name, tmp_path)
    output, result, info = await dub(source, settings)
    assert output.suffix == source.suffix
    assert packet_digests(output, "video") == packet_digests(source, "video")
    assert packet_times(output, "video") == pytest.approx(packet_times(source, "video"), abs=0.001)
    assert result.original_copied
    assert packet_digests(output, "audio", 1) == packet_digests(source, "audio")
    length = decoded_length(source)
    original, original_hz, _ = decoded(source)
    dubbed, dubbed_hz, start_s = decoded(output)
    assert length == len(original)
    assert len(dubbed) == resampled_length(len(original), original_hz, dubbed_hz)
    assert start_s == pytest.approx(described(source).audio[0].start_s, abs=0.001)
    assert [track.language for track in info.audio][:1] == ["por"]
    assert [track.default for track in info.audio] == [True, False]
    assert result.padded == result.cut == 0


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("start_s", [0.0, 0.01, 0.5])
@pytest.mark.parametrize("length", [48_000, 49_153, 96_777])
async def test_the_decoded_length_is_exact_for_any_length_and_start(
    container: str, start_s: float, length: int, make_media: MakeMedia, settings: MediaSettings
) -> None:
    sound = Sound("pcm_s16le", seconds=2.1, start_s=start_s)
    source = make_media("source.mkv", Picture(seconds=2.4), sound, options={"avoid_negative_ts": "0"})
    output, result, info = await dub(source, settings, container, length=length, jailed=False)
    samples, rate_hz, first_s = decoded(output)
    assert (len(samples), rate_hz) == (length, 48_000)
    assert result.length == length
    # Matroska rounds the time of the encoder's priming to a millisecond.
    assert first_s == pytest.approx(start_s, abs=0.0015)
    assert info.audio[0].start_s == pytest.approx(start_s, abs=0.0015)
    # Lossy codecs smear an onset by less than a millisecond or two.
    assert burst_starts(samples, rate_hz) == pytest.approx([0.5], abs=0.003)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("container", ["mp4", "mkv"])
async def test_odd_rates_stay_exact(
    rate_hz: int, container: str, make_media: MakeMedia, settings: MediaSettings
) -> None:
    source = make_media("source.mkv", Picture(), Sound("pcm_s16le", rate_hz=rate_hz, channels=2))
    output, _, _ = await dub(source, settings, container, length=2 * rate_hz + 333, jailed=False)
    samples, dubbed_hz, _ = decoded(output)
    assert (len(samples), dubbed_hz) == (2 * rate_hz + 333, rate_hz)
    assert burst_starts(samples, rate_hz) == pytest.approx([0.5], abs=0.005)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.ogg", "a.m4a"])
@pytest.mark.parametrize("length", [48_000, 96_777])
async def test_sound_alone_keeps_its_kind_and_length(
    name: str, length: int, make_media: MakeMedia, settings: MediaSettings
) -> None:
    codecs = {"wav": "pcm_s24le", "flac": "flac", "mp3": "libmp3lame", "ogg": "libopus", "m4a": "aac"}
    source = make_media(name, Sound(codecs[Path(name).suffix[1:]]))
    output, _, info = await dub(source, settings, length=length, jailed=length != 48_000)
    samples, _, _ = decoded(output)
    assert output.suffix == source.suffix
    assert len(samples) == length
    assert info.video is None
    assert len(info.audio) == 1
    assert burst_starts(samples, 48_000) == pytest.approx([0.5], abs=0.003)


@pytest.mark.parametrize("container", ["mp4", "mkv"])
async def test_a_length_that_is_not_told_ends_within_one_frame(
    container: str, make_media: MakeMedia, settings: MediaSettings
) -> None:
    source = make_media("source.mkv", Picture(), Sound("pcm_s16le"))
    output, result, info = await dub(source, settings, container, length=50_001, tell_length=False, jailed=False)
    samples, _, _ = decoded(output)
    assert result.length == 50_001
    if container == "mkv":
        assert len(samples) == 50_001
    else:
        # The edit list ends exactly there; FFmpeg decodes the rest of the last frame.
        assert 50_001 <= len(samples) < 50_001 + 1024
        assert info.audio[0].duration_s == pytest.approx(50_001 / 48_000, abs=1e-4)


@pytest.mark.parametrize(("written", "padded", "cut"), [(40_000, 8_000, 0), (60_000, 0, 12_000), (0, 48_000, 0)])
async def test_sound_of_another_length_is_padded_or_cut_and_that_is_told(
    written: int, padded: int, cut: int, make_media: MakeMedia, settings: MediaSettings
) -> None:
    source = make_media("source.mp4", Picture(), Sound("aac"))
    output, result, _ = await dub(source, settings, length=48_000, written=written, jailed=False)
    assert (result.length, result.padded, result.cut) == (48_000, padded, cut)
    assert len(decoded(output)[0]) == 48_000


async def test_a_variable_frame_rate_keeps_every_time(make_media: MakeMedia, settings: MediaSettings) -> None:
    times = (0.0, 0.04, 0.3, 0.33, 0.9, 1.7, 1.701, 1.9)
    for name in ("vfr.mkv", "vfr.mp4"):
        source = make_media(name, Picture(times=times), Sound("aac"))
        output, _, _ = await dub(source, settings)
        assert packet_times(output, "video") == pytest.approx(packet_times(source, "video"), abs=1e-6)
        assert packet_digests(output, "video") == packet_digests(source, "video")


@pytest.mark.parametrize(("name", "format"), [("a.ts", "mpegts"), ("a.avi", None)])
async def test_other_containers_become_matroska(
    name: str, format: str | None, make_media: MakeMedia, settings: MediaSettings
) -> None:
    codec, sound = ("libx264", "aac") if name == "a.ts" else ("mpeg4", "libmp3lame")
    source = make_media(name, Picture(codec), Sound(sound), format=format)
    output, _, info = await dub(source, settings)
    assert output.suffix == ".mkv"
    assert info.brand == "matroska"
    assert [frames(path) for path in (source, output)] == [frames(source)] * 2
    assert len(decoded(output)[0]) == len(decoded(source)[0])
    picture, sound_start = packet_times(output, "video")[0], info.audio[0].start_s
    source_info = described(source)
    lead = source_info.audio[0].start_s - packet_times(source, "video")[0]
    assert sound_start - picture == pytest.approx(lead, abs=0.002)


def frames(path: Path) -> list[int]:
    """A number for each decoded picture: framing of packets may differ between containers, pictures may not."""
    with av.open(str(path)) as container:
        return [hash(frame.to_ndarray().tobytes()) for frame in container.decode(container.streams.video[0])]


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv", "webm"])
async def test_subtitles_are_soft_tracks_in_their_languages(
    container: str, make_media: MakeMedia, settings: MediaSettings
) -> None:
    picture = "libvpx" if container == "webm" else "libx264"
    source = make_media("source.mkv", Picture(picture), Sound("libopus"))
    lines = (Line(0.2, 0.8, "Olá, mundo"), Line(1.0, 1.6, "Duas\nlinhas"))
    english = (Line(0.2, 0.8, "Hello, world"), Line(1.0, 1.6, "Two\nlines"))
    tracks = (SubtitleTrack(PT, "Português", lines), SubtitleTrack(EN, "English", english))
    output, _, info = await dub(source, settings, container, subtitles=tracks, jailed=container == "mkv")
    assert [track.language for track in info.subtitles] == ["por", "eng"]
    assert texts(output, 0) == [(0.2, 0.6, "Olá, mundo"), (1.0, 0.6, "Duas\nlinhas")]
    assert texts(output, 1) == [(0.2, 0.6, "Hello, world"), (1.0, 0.6, "Two\nlines")]
    if container in {"mkv", "webm"}:
        # MP4 has no such flag.
        with av.open(str(output)) as written:
            default = av.stream.Disposition.default
            assert not any(stream.disposition & default for stream in written.streams.subtitles)


def texts(path: Path, nth: int) -> list[tuple[float, float, str]]:
    """(start, duration, text) of every cue, as written."""
    cues = []
    with av.open(str(path)) as container:
        stream = container.streams.subtitles[nth]
        for packet in container.demux(stream):
            data = bytes(packet)
            if stream.codec_context.name == "mov_text":
                data = data[2 : 2 + int.from_bytes(data[:2], "big")]
            if data and packet.pts is not None and packet.duration and packet.time_base:
                start, duration = packet.pts * packet.time_base, packet.duration * packet.time_base
                cues.append((round(float(start), 3), round(float(duration), 3), data.decode()))
    return cues


async def test_subtitles_of_the_source_are_kept(tmp_path: Path, settings: MediaSettings) -> None:
    source = copied("sample_with_srt.mkv", tmp_path)
    output, _, info = await dub(source, settings, subtitles=(SubtitleTrack(PT, "Português", (Line(0.1, 0.4, "Olá"),)),))
    assert [(track.language, track.title) for track in info.subtitles] == [("por", "Português"), ("eng", "Subs Label")]
    assert texts(output, 1) == texts(source, 0)


async def test_original_sound_that_does_not_fit_is_encoded_anew(make_media: MakeMedia, settings: MediaSettings) -> None:
    source = make_media("source.mkv", Picture("libvpx"), Sound("ac3", bursts=(1.0,)))
    output, result, info = await dub(source, settings, "webm")
    assert not result.original_copied
    assert any("encoded anew" in warning for warning in result.warnings)
    assert [track.codec for track in info.audio] == ["opus", "opus"]
    samples, rate_hz, start_s = decoded(output, 1)
    (burst,) = burst_starts(samples, rate_hz)
    original, original_hz, original_start_s = decoded(source)
    assert burst + start_s == pytest.approx(burst_starts(original, original_hz)[0] + original_start_s, abs=0.003)


async def test_a_picture_that_does_not_fit_is_refused_in_a_sentence(
    make_media: MakeMedia, settings: MediaSettings
) -> None:
    source = make_media("source.mkv", Picture("libx264"), Sound("libopus"))
    with pytest.raises(MediaRejected, match="WEBM cannot hold a picture in H264; choose MKV"):
        await dub(source, settings, "webm")
    assert not source.with_name("dubbed.webm").exists()
    assert not list(source.parent.glob(".mux-*"))


async def test_the_index_of_an_mp4_comes_first(make_media: MakeMedia, settings: MediaSettings) -> None:
    """So that a browser plays before all is loaded."""
    output, _, _ = await dub(make_media("source.mp4", Picture(), Sound("aac")), settings)
    data = output.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


async def test_a_muxer_that_is_not_closed_leaves_nothing(make_media: MakeMedia, settings: MediaSettings) -> None:
    source = make_media("source.mp4", Picture(), Sound("aac"))
    output = source.with_name("out.mp4")
    muxer = Muxer(source, output, plan_for(described(source)), settings)
    async with muxer:
        await muxer.write(np.zeros(1_000, np.float32))
    assert {path.name for path in source.parent.iterdir()} == {"source.mp4"}


async def test_cancelling_a_muxer_leaves_nothing(make_media: MakeMedia, settings: MediaSettings) -> None:
    source = make_media("source.mp4", Picture(), Sound("aac"))
    info = described(source)
    writing = asyncio.Event()

    async def write() -> None:
        async with Muxer(source, source.with_name("out.mp4"), plan_for(info), settings) as muxer:
            while True:
                await muxer.write(np.zeros(48_000, np.float32))
                writing.set()

    task = asyncio.create_task(write())
    await writing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert {path.name for path in source.parent.iterdir()} == {"source.mp4"}


async def test_a_killed_muxer_is_worth_a_retry(make_media: MakeMedia, settings: MediaSettings) -> None:
    source = make_media("source.mp4", Picture(), Sound("aac"))
    info = described(source)
    async with Muxer(source, source.with_name("out.mp4"), plan_for(info), settings) as muxer:
        await muxer.write(np.zeros(4_800, np.float32))
        os.kill(muxer.pid, signal.SIGKILL)
        with pytest.raises(EngineUnavailable):
            await _write_until_refused(muxer)
    assert {path.name for path in source.parent.iterdir()} == {"source.mp4"}


async def _write_until_refused(muxer: Muxer) -> None:
    for _ in range(100):
        await muxer.write(np.zeros(48_000, np.float32))
    await muxer.close()


def plan_for(info: MediaInfo) -> MuxPlan:
    track = info.audio[0]
    return MuxPlan(container="mp4", rate_hz=48_000, channels=1, language=PT, title="Dub", source_track=track)


async def test_an_older_result_is_replaced_only_when_the_new_one_is_finished(
    make_media: MakeMedia, settings: MediaSettings
) -> None:
    source = make_media("source.mp4", Picture(), Sound("aac"))
    output = source.with_name("out.mp4")
    output.write_bytes(b"older")
    async with Muxer(source, output, plan_for(described(source)), settings) as muxer:
        await muxer.write(np.zeros(4_800, np.float32))
        assert output.read_bytes() == b"older"
        await muxer.close()
    assert described(output).video


@pytest.mark.parametrize(
    ("name", "requested", "expected"),
    [
        ("friday.mp4", None, "mp4"),
        ("muxed_en.mkv", None, "mkv"),
        ("flower_nospeech.webm", None, "webm"),
        ("friday.mp4", ".MKV", "mkv"),
        ("friday.mp4", "wav", "wav"),
    ],
)
def test_a_container_stays_unless_another_is_asked_for(name: str, requested: str | None, expected: str) -> None:
    assert container_for(described(DATA / "video" / name), requested) == expected


def test_an_unknown_container_is_refused() -> None:
    info = described(DATA / "video" / "friday.mp4")
    with pytest.raises(MediaRejected, match="choose one of mp4"):
        container_for(info, "exe")


def test_samples_of_the_wrong_shape_are_refused(settings: MediaSettings, tmp_path: Path) -> None:
    track = AudioTrack(0, "aac", 48_000, 1, "mono", None, None, True, 0.0, 1.0)
    plan = MuxPlan(container="mp4", rate_hz=48_000, channels=3, language=PT, title="", source_track=track)
    with pytest.raises(ValueError, match="one or two channels"):
        Muxer(tmp_path / "a", tmp_path / "b", plan, settings)


async def test_a_picture_taken_on_its_side_stays_on_its_side(make_media: MakeMedia, settings: MediaSettings) -> None:
    """Telephones turn the picture by a matrix in the header, not by its pixels."""
    source = make_media("source.mp4", Picture(), Sound("aac"))
    upright = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    data = source.read_bytes()
    at = data.index(upright, data.index(b"tkhd"))
    source.write_bytes(data[:at] + turned + data[at + len(turned) :])
    assert rotation(source) != 0
    output, _, _ = await dub(source, settings)
    assert rotation(output) == rotation(source)


def rotation(path: Path) -> int:
    with av.open(str(path)) as container:
        return next(container.decode(container.streams.video[0])).rotation


async def test_h265_in_mp4_has_the_name_that_every_player_knows(make_media: MakeMedia, settings: MediaSettings) -> None:
    source = make_media("source.mkv", Picture("libx265", seconds=0.4), Sound("aac", seconds=0.5))
    output, _, info = await dub(source, settings, "mp4")
    assert info.video
    assert info.video.codec == "hevc"
    assert b"hvc1" in output.read_bytes()
    assert frames(output) == frames(source)
