"""A dub can be watched while it is made: what is out is final, whole, and what the finished file holds."""

import hashlib
import re
import threading
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from octavia_stream.audio.chunk import AudioChunk, Samples
from octavia_stream.config import MediaSettings
from octavia_stream.dubbing.batch import DubRequest, DubResult, DubTarget, dub_file
from octavia_stream.dubbing.checkpoints import NoCheckpoints
from octavia_stream.dubbing.engines import local
from octavia_stream.errors import StorageUnavailable
from octavia_stream.events.event import JobEvent, StreamReady, Warned
from octavia_stream.languages import Language
from octavia_stream.media.probe import probe
from octavia_stream.mt.routes import Route, plan_route
from octavia_stream.testing import ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator
from octavia_stream.tts.voice import Voice
from octavia_stream.vad.detector import VAD_FRAME_SAMPLES, Probabilities
from tests.media.studio import BURST_S, Picture, Sound, write_media

TALK = Path(__file__).parents[1] / "data" / "video" / "muxed_pt.mp4"
EN, PT = Language("en"), Language("pt")
VOICE = Voice("scripted/voice", PT, "neutral", "scripted", characters_per_second=16.0)
FRAME_S = 0.05
"""A frame of AAC, and one of the picture."""


class EnergyDetector:
    """Speech is whatever is not silent."""

    def __init__(self) -> None:
        self._rest: Samples = np.zeros(0, np.float32)

    def push(self, samples: Samples) -> Probabilities:
        heard = np.concatenate([self._rest, samples])
        whole = len(heard) // VAD_FRAME_SAMPLES * VAD_FRAME_SAMPLES
        self._rest = heard[whole:]
        peaks = np.abs(heard[:whole]).reshape(-1, VAD_FRAME_SAMPLES).max(axis=1)
        loud: Probabilities = (peaks > 0.01).astype(np.float32)
        return loud

    def finish(self) -> Probabilities:
        return np.zeros(0, np.float32)


class Shelf:
    """A `StreamStore` that keeps files, and every state of each playlist."""

    base = ""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.states: list[str] = []
        self.announced = threading.Event()

    async def put(self, name: str, content: bytes) -> None:
        self.files[name] = content
        if name == "dub.m3u8":
            self.states.append(content.decode())

    async def announce(self, master: str) -> None:
        self.files["index.m3u8"] = master.encode()
        self.announced.set()

    def playlist(self, name: str) -> str:
        return self.files[f"{name}.m3u8"].decode()

    def segments(self, name: str) -> list[str]:
        return [line for line in self.playlist(name).splitlines() if not line.startswith("#")]

    def durations(self, name: str) -> list[float]:
        return [float(found) for found in re.findall(r"#EXTINF:([\d.]+),", self.playlist(name))]


class BrokenShelf(Shelf):
    async def put(self, name: str, content: bytes) -> None:
        raise StorageUnavailable("away")


class WaitingSynthesizer(ScriptedSynthesizer):
    """Speaks five sentences, and the others only when the stream can be watched."""

    def __init__(self, announced: threading.Event) -> None:
        super().__init__()
        self._announced = announced
        self._calls = 0

    def synthesize(self, text: str, voice: Voice, speed: float = 1.0) -> AudioChunk:
        self._calls += 1
        if self._calls > 5 and not self._announced.wait(60):
            raise AssertionError("the stream waits for the end of the job")
        return super().synthesize(text, voice, speed)


def to_portuguese(spoken: Language, target: Language) -> Route:
    return plan_route(spoken, target, {(EN, PT): "scripted"})


async def dub(
    source: Path,
    folder: Path,
    shelf: Shelf,
    events: list[JobEvent],
    synthesizer: ScriptedSynthesizer,
    *,
    transcode: bool = False,
) -> DubResult:
    settings = MediaSettings()
    info = await probe(source, settings)
    request = DubRequest(
        source=source,
        info=info,
        track=info.audio[0],
        targets=(DubTarget(VOICE, folder / "dub.mkv", {"transcribe": "a", "translate": "b", "synthesize": "c"}),),
        container="mkv",
        scratch=folder,
        source_language=EN,
        route=to_portuguese,
        media=settings,
        stream=shelf,
        stream_transcode=transcode,
    )
    engines = local(ScriptedTranscriber(), ScriptedTranslator(), synthesizer)
    return await dub_file(request, engines, EnergyDetector(), NoCheckpoints(), events.append)


class Watched:
    """A dubbed talk, its stream, and what was told."""

    def __init__(self, shelf: Shelf, events: list[JobEvent], result: DubResult, folder: Path) -> None:
        self.shelf, self.events, self.result, self.folder = shelf, events, result, folder
        self.stream = folder / "stream"
        self.stream.mkdir()
        for name, content in shelf.files.items():
            (self.stream / name).write_bytes(content)


@pytest.fixture(scope="module")
async def watched(tmp_path_factory: pytest.TempPathFactory) -> Watched:
    folder = tmp_path_factory.mktemp("watched")
    shelf, events = Shelf(), list[JobEvent]()
    result = await dub(TALK, folder, shelf, events, WaitingSynthesizer(shelf.announced))
    return Watched(shelf, events, result, folder)


def play(path: Path) -> "av.container.InputContainer":
    return av.open(str(path), options={"allowed_extensions": "ALL", "extension_picky": "0"})


def payloads(container: "av.container.InputContainer") -> list[str]:
    packets = container.demux(video=0)
    return [hashlib.sha256(bytes(packet)).hexdigest() for packet in packets if packet.size]


def shown_s(path: Path) -> list[float]:
    """When each picture is shown, in the order in which they lie in the file."""
    with play(path) as container:
        packets = container.demux(video=0)
        return [float(p.pts * p.time_base) for p in packets if p.size and p.pts is not None and p.time_base is not None]


def decoded_s(path: Path, kind: str) -> list[float]:
    """When each frame of the first track of a kind is shown or heard."""
    with play(path) as container:
        [frames] = [container.decode(stream) for stream in container.streams.get({kind: 0})]
        return [frame.time for frame in frames if isinstance(frame, av.frame.Frame) and frame.time is not None]


def sound(path: Path, nth: int, rate_hz: int) -> Samples:
    with play(path) as container:
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=rate_hz)
        frames = [*container.decode(audio=nth), None]
        return np.concatenate([out.to_ndarray()[0] for frame in frames for out in resampler.resample(frame)])


async def test_it_can_be_watched_before_the_rest_is_spoken(watched: Watched) -> None:
    # The synthesizer would have refused otherwise.
    assert [event for event in watched.events if isinstance(event, StreamReady)] == [StreamReady(picture=True)]
    assert not [event for event in watched.events if isinstance(event, Warned)]


def test_playlists_only_grow_until_they_end(watched: Watched) -> None:
    states = watched.shelf.states
    assert len(states) > 10
    for before, after in pairwise(states):
        assert after.startswith(before)
        assert "#EXT-X-ENDLIST" not in before
    for name in ("picture", "dub", "original", "subtitles-target", "subtitles-source"):
        assert watched.shelf.playlist(name).endswith("#EXT-X-ENDLIST\n")


def test_every_segment_of_a_list_is_there_and_no_longer_than_players_were_told(watched: Watched) -> None:
    for name in ("picture", "dub", "original", "subtitles-target", "subtitles-source"):
        assert set(watched.shelf.segments(name)) <= set(watched.shelf.files)
        (longest,) = re.findall(r"#EXT-X-TARGETDURATION:(\d+)", watched.shelf.playlist(name))
        assert max(watched.shelf.durations(name)) < int(longest) + 0.5
    named = re.findall(r'URI="([^"]+)"', watched.shelf.files["index.m3u8"].decode())
    assert set(named) <= set(watched.shelf.files)


def test_the_picture_is_that_of_the_source_packet_for_packet_and_in_step(watched: Watched) -> None:
    with play(TALK) as source, play(watched.stream / "picture.m3u8") as stream:
        assert payloads(stream) == payloads(source)
    starts = [shown_s(TALK), shown_s(watched.stream / "picture.m3u8")]
    apart = np.subtract(starts[1], starts[0])
    # The stream counts from the first packet that is decoded; sound and picture do so alike.
    assert np.ptp(apart) < 0.002
    assert abs(sum(watched.shelf.durations("picture")) - (max(starts[0]) - min(starts[0]))) < 2 * FRAME_S


def test_each_sound_is_as_long_as_the_talk(watched: Watched) -> None:
    rate_hz = watched.result.dubs[0].muxed.codec_rate_hz
    talk_s = watched.result.dubs[0].muxed.length / rate_hz
    lead_s = lead(watched)
    for name in ("dub", "original"):
        played = len(sound(watched.stream / f"{name}.m3u8", 0, rate_hz)) / rate_hz
        assert talk_s + lead_s <= played + 0.001
        assert played < talk_s + lead_s + 2 * FRAME_S
        assert sum(watched.shelf.durations(name)) == pytest.approx(talk_s + lead_s, abs=0.001)


def lead(watched: Watched) -> float:
    """How much later the stream's picture is than the file's: as much as its sound must be."""
    return shown_s(watched.stream / "picture.m3u8")[0] - shown_s(TALK)[0]


def test_the_sound_is_that_of_the_finished_file_at_the_same_moments(watched: Watched) -> None:
    rate_hz = 16_000
    early = round(lead(watched) * rate_hz)
    for name, other in (("dub", watched.folder / "dub.mkv"), ("original", TALK)):
        streamed = sound(watched.stream / f"{name}.m3u8", 0, rate_hz)[early:]
        finished = sound(other, 0, rate_hz)
        length = min(len(streamed), len(finished))
        for start in range(rate_hz, length - 4 * rate_hz, 8 * rate_hz):
            ours, theirs = streamed[start : start + 4 * rate_hz], finished[start : start + 4 * rate_hz]
            assert np.corrcoef(ours, theirs)[0, 1] > 0.9, (name, start / rate_hz)


def test_the_whole_plays_with_both_sounds(watched: Watched) -> None:
    with play(watched.stream / "index.m3u8") as container:
        assert len(container.streams.video) == 1
        assert len(container.streams.audio) == 2
        counts = {stream.index: 0 for stream in (*container.streams.video, *container.streams.audio)}
        for packet in container.demux(*container.streams.video, *container.streams.audio):
            counts[packet.stream_index] += bool(packet.size)
    assert all(counts.values())


def test_subtitles_say_what_is_said(watched: Watched) -> None:
    for name, texts in (
        ("subtitles-target", [item.segment.text for item in watched.result.dubs[0].segments]),
        ("subtitles-source", [item.segment.sentence.text for item in watched.result.dubs[0].segments]),
    ):
        shown = " ".join(watched.shelf.files[file].decode() for file in watched.shelf.segments(name))
        assert all(text.split()[-1] in shown for text in texts)
        first = watched.shelf.files[watched.shelf.segments(name)[0]].decode()
        assert first.startswith("WEBVTT\nX-TIMESTAMP-MAP=MPEGTS:0,LOCAL:00:00:00.000\n\n00:00:0")
        assert len(watched.shelf.segments(name)) == len(watched.shelf.segments("dub"))


async def test_a_picture_that_players_do_not_take_leaves_the_sound(tmp_path: Path) -> None:
    shelf, events = Shelf(), list[JobEvent]()
    # Beeps without a gap between them.
    talk = Sound("libopus", seconds=10.0, bursts=tuple(np.arange(0.0, 9.0, BURST_S)))
    write_media(tmp_path / "talk.webm", [Picture("libvpx", seconds=10.0), talk], None, {})
    await dub(tmp_path / "talk.webm", tmp_path, shelf, events, ScriptedSynthesizer())
    assert StreamReady(picture=False) in events
    assert "picture.m3u8" not in shelf.files
    for name, content in shelf.files.items():
        (tmp_path / name).write_bytes(content)
    with play(tmp_path / "index.m3u8") as container:
        assert not container.streams.video
        assert len(container.streams.audio) == 2


@pytest.mark.parametrize(
    ("name", "picture", "codec"), [("talk.avi", "mpeg4", "libmp3lame"), ("talk.webm", "libvpx", "libopus")]
)
async def test_a_picture_that_players_do_not_take_is_encoded_anew_for_who_asks(
    tmp_path: Path, name: str, picture: str, codec: str
) -> None:
    shelf, events = Shelf(), list[JobEvent]()
    talk = Sound(codec, seconds=10.0, bursts=tuple(np.arange(0.0, 9.0, BURST_S)))
    write_media(tmp_path / name, [Picture(picture, seconds=9.6, start_s=0.4, width=63, height=48), talk], None, {})
    await dub(tmp_path / name, tmp_path, shelf, events, ScriptedSynthesizer(), transcode=True)
    assert StreamReady(picture=True) in events
    assert not [event for event in events if isinstance(event, Warned)]
    for file, content in shelf.files.items():
        (tmp_path / file).write_bytes(content)
    assert "avc1." in shelf.files["index.m3u8"].decode()
    # As many pictures, each as long after the sound's beginning as it was.
    shown, heard_s = decoded_s(tmp_path / name, "video"), decoded_s(tmp_path / name, "audio")[0]
    streamed, sounding_s = decoded_s(tmp_path / "picture.m3u8", "video"), decoded_s(tmp_path / "dub.m3u8", "audio")[0]
    assert len(streamed) == len(shown)
    assert np.ptp(np.subtract(streamed, shown)) < 0.002
    assert streamed[0] - sounding_s == pytest.approx(shown[0] - heard_s, abs=FRAME_S)
    assert sum(shelf.durations("picture")) == pytest.approx(shown[-1] - shown[0], abs=2 * FRAME_S)
    # Whoever seeks begins with a segment, so each begins with a picture that stands for itself.
    assert len(shelf.segments("picture")) >= 2
    for segment in shelf.segments("picture"):
        whole = tmp_path / "whole.mp4"
        whole.write_bytes(shelf.files["picture-init.mp4"] + shelf.files[segment])
        with av.open(str(whole)) as container:
            assert next(container.demux(video=0)).is_keyframe


async def test_a_stream_that_breaks_leaves_the_file(tmp_path: Path) -> None:
    events: list[JobEvent] = []
    await dub(TALK, tmp_path, BrokenShelf(), events, ScriptedSynthesizer())
    assert [event.code for event in events if isinstance(event, Warned)] == ["stream"]
    with av.open(str(tmp_path / "dub.mkv")) as container:
        assert len(container.streams.audio) == 2
