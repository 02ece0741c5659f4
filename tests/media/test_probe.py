"""What is accepted, what is refused, and what is said about it."""

from pathlib import Path

import pytest

from octavia_stream.config import MediaSettings
from octavia_stream.errors import MediaRejected, MediaTooLarge
from octavia_stream.media.probe import probe, require_audio
from tests.media.studio import DATA, MakeMedia, Picture, Sound, described


async def test_a_video_is_described(settings: MediaSettings) -> None:
    info = await probe(DATA / "video" / "friday.mp4", settings)
    assert info.containers[0] == "mov"
    assert info.video
    assert (info.video.codec, info.video.width, info.video.height, info.video.frame_rate) == ("h264", 640, 480, 30.0)
    (track,) = require_audio(info)
    assert (track.index, track.codec, track.rate_hz, track.channels, track.layout) == (0, "aac", 44100, 2, "stereo")
    assert info.duration_s == pytest.approx(6.166, abs=0.01)
    assert info.size == (DATA / "video" / "friday.mp4").stat().st_size


@pytest.mark.parametrize("path", sorted((DATA / "video").glob("*.m*")), ids=lambda path: path.name)
async def test_a_jail_changes_nothing_of_what_is_found(path: Path, settings: MediaSettings) -> None:
    """So that other tests may look without one."""
    assert await probe(path, settings) == described(path)


async def test_embedded_subtitles_are_listed(settings: MediaSettings) -> None:
    info = await probe(DATA / "video" / "sample_with_srt.mkv", settings)
    (subtitles,) = info.subtitles
    assert (subtitles.codec, subtitles.language, subtitles.title) == ("subrip", "eng", "Subs Label")


async def test_two_sound_tracks_are_told_apart(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media(
        "two.mkv",
        Picture(),
        Sound("aac", language="eng"),
        Sound("aac", rate_hz=44_100, channels=2, language="por", default=True),
    )
    info = await probe(path, settings)
    first, second = require_audio(info)
    assert (first.index, first.language, first.channels) == (1, "eng", 1)
    assert (second.index, second.language, second.channels, second.rate_hz) == (2, "por", 2, 44_100)
    assert second.default
    assert info.default_audio == (first if first.default else second)


@pytest.mark.parametrize("rate_hz", [8_000, 22_050, 44_100, 96_000])
@pytest.mark.parametrize("channels", [1, 2, 6])
def test_rates_and_layouts_are_those_that_decode(rate_hz: int, channels: int, make_media: MakeMedia) -> None:
    path = make_media("sound.flac", Sound("flac", rate_hz=rate_hz, channels=channels, seconds=0.5))
    (track,) = require_audio(described(path))
    assert (track.rate_hz, track.channels, track.start_s) == (rate_hz, channels, 0.0)


@pytest.mark.parametrize(("name", "container"), [("a.mkv", None), ("a.mp4", None), ("a.mov", None), ("a.ts", "mpegts")])
async def test_a_start_that_is_not_zero_is_known(
    name: str, container: str | None, make_media: MakeMedia, settings: MediaSettings
) -> None:
    path = make_media(name, Picture(), Sound("aac", start_s=0.5), format=container)
    info = await probe(path, settings)
    (track,) = info.audio
    # MPEG-TS starts everything 1.4 s late; encoders put their priming before the start.
    assert track.start_s - info.start_s == pytest.approx(0.5, abs=0.1)


async def test_cover_art_is_no_picture(settings: MediaSettings, tmp_path: Path, make_media: MakeMedia) -> None:
    import av

    sound = make_media("plain.mp3", Sound("libmp3lame", seconds=0.5))
    path = tmp_path / "cover.mp3"
    with av.open(str(sound)) as source, av.open(str(path), "w") as output:
        copy = output.add_stream_from_template(source.streams.audio[0], opaque=True)
        cover = output.add_stream("mjpeg", rate=1)
        cover.width = cover.height = 32
        cover.pix_fmt = "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        output.mux(cover.encode(av.VideoFrame(32, 32, "yuvj420p")))
        output.mux(cover.encode(None))
        for packet in source.demux(source.streams.audio[0]):
            if packet.size:
                packet.stream = copy
                output.mux(packet)
    info = await probe(path, settings)
    assert info.video is None
    assert info.audio


async def test_a_silent_video_has_nothing_to_translate(settings: MediaSettings) -> None:
    info = await probe(DATA / "video" / "video_only_no_audio.mp4", settings)
    with pytest.raises(MediaRejected, match="no sound"):
        require_audio(info)


async def test_what_is_no_file_is_refused(tmp_path: Path, settings: MediaSettings) -> None:
    empty, text = tmp_path / "empty.mp4", tmp_path / "text.mp4"
    empty.touch()
    text.write_text("This is a text about a film, not a film.\n" * 50)
    refusals = {
        empty: "is empty",
        text: "not a media file",
        tmp_path: "directory",
        tmp_path / "none.mp4": "no such file",
    }
    for path, sentence in refusals.items():
        with pytest.raises(MediaRejected, match=sentence) as refusal:
            await probe(path, settings)
        assert str(tmp_path) not in str(refusal.value)


async def test_what_is_too_long_is_refused_by_its_header(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("long.flac", Sound("flac", rate_hz=8_000, seconds=90))
    with pytest.raises(MediaTooLarge, match=r"2 h|90 s|1 min|long"):
        await probe(path, settings.model_copy(update={"max_duration_s": 60}))
    assert (await probe(path, settings.model_copy(update={"max_duration_s": 90}))).duration_s == 90


async def test_too_large_a_picture_is_refused(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("wide.mp4", Picture(width=320, seconds=0.2))
    with pytest.raises(MediaTooLarge, match="320×48"):
        await probe(path, settings.model_copy(update={"max_width": 160}))


async def test_too_many_tracks_are_refused(make_media: MakeMedia, settings: MediaSettings) -> None:
    path = make_media("many.mkv", *[Sound(seconds=0.1) for _ in range(5)])
    with pytest.raises(MediaTooLarge, match="5 tracks"):
        await probe(path, settings.model_copy(update={"max_streams": 4}))
