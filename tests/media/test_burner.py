"""Subtitles are drawn into the picture, and nothing else of a file changes."""

import struct
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from octavia_stream.config import MediaSettings
from octavia_stream.errors import MediaRejected
from octavia_stream.languages import Language
from octavia_stream.media import wire
from octavia_stream.media.burner import burn_in, burned_name, can_draw
from octavia_stream.media.child.burning import burn
from octavia_stream.media.child.lettering import Letterer
from tests.media.studio import MakeMedia, Picture, Sound, burst_starts, decoded, packet_digests

# A variable rate: pauses of all lengths, and the sound begins before and ends after the picture.
TIMES = (0.0, 0.04, 0.1, 0.5, 0.513, 0.9, 1.0, 1.2, 1.22, 1.499, 1.5, 1.9, 2.4)
WIDTH, HEIGHT = 320, 240
TURNED_CLOCKWISE = struct.pack(">9i", 0, 0x10000, 0, -0x10000, 0, 0, 0, 0, 0x40000000)


@dataclass(frozen=True)
class Line:
    start_s: float
    end_s: float
    text: str


def frames(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    """Time and brightness, shape (rows, columns), of every frame that a player shows."""
    with av.open(str(path)) as container:
        shown = list(container.decode(video=0))
    return [(float(frame.time or 0), frame.to_ndarray(format="gray").astype(np.uint8)) for frame in shown]


def changed(old: NDArray[np.uint8], new: NDArray[np.uint8]) -> float:
    """Which share of the lowest quarter has become quite another."""
    foot = slice(old.shape[0] * 3 // 4, None)
    return float((np.abs(old[foot].astype(int) - new[foot]) > 110).mean())


async def burned(source: Path, cues: list[Line], start_s: float = 0.0) -> Path:
    folder = source.parent / "burned"
    folder.mkdir()
    return await burn_in(source, folder, cues, start_s, 3.0, MediaSettings(), lambda _: None)


@pytest.mark.parametrize(("container", "codec"), [("mp4", "aac"), ("mkv", "libopus"), ("mov", "pcm_s16le")])
async def test_text_is_in_the_picture_while_a_cue_is_shown_and_nothing_else_changes(
    make_media: MakeMedia, container: str, codec: str
) -> None:
    picture = Picture(times=TIMES, width=WIDTH, height=HEIGHT)
    sounds = [Sound(codec=codec, seconds=2.5, bursts=(0.7,)), Sound(codec=codec, seconds=2.0, language="por")]
    source = make_media(f"dub.{container}", picture, *sounds)
    made = await burned(source, [Line(0.4, 1.4, "Não é só ação:\nmañana, Zürich")], start_s=0.1)
    assert made.name == f"dub.burned.{container}"
    before, after = frames(source), frames(made)
    assert [time for time, _ in after] == [time for time, _ in before]
    for (time, old), (_, new) in zip(before, after, strict=True):
        assert (changed(old, new) > 0.01) == (0.5 <= time < 1.5), time
        assert np.abs(old[: HEIGHT // 2].astype(int) - new[: HEIGHT // 2]).mean() < 12
    for nth in range(len(sounds)):
        assert packet_digests(made, "audio", nth) == packet_digests(source, "audio", nth)
    (old_sound, rate_hz, old_start), (new_sound, _, new_start) = decoded(source), decoded(made)
    old_bursts = [old_start + at for at in burst_starts(old_sound, rate_hz)]
    assert [new_start + at for at in burst_starts(new_sound, rate_hz)] == pytest.approx(old_bursts, abs=0.001)
    with av.open(str(made)) as written:
        assert [stream.language for stream in written.streams.audio][1] == "por"


async def test_a_picture_that_was_filmed_turned_stands_upright_with_its_text_at_the_foot(make_media: MakeMedia) -> None:
    source = make_media("dub.mp4", Picture(seconds=0.4, width=WIDTH, height=HEIGHT), Sound(codec="aac", seconds=0.4))
    content = bytearray(source.read_bytes())
    matrix = content.index(b"tkhd") + 44
    content[matrix : matrix + 36] = TURNED_CLOCKWISE
    source.write_bytes(content)
    made = await burned(source, [Line(0.0, 0.2, "Agora está de pé,\ne o texto também está.")])
    for (time, old), (_, new) in zip(frames(source), frames(made), strict=True):
        assert new.shape == (WIDTH, HEIGHT)
        upright = np.rot90(old, -1)
        assert np.abs(upright[: WIDTH // 2].astype(int) - new[: WIDTH // 2]).mean() < 12
        assert (changed(upright, new) > 0.01) == (time < 0.2)


async def test_the_decoder_goes_on_with_its_own_pictures(make_media: MakeMedia) -> None:
    # Pictures stand on those before them: were they drawn on, the text would stay in what comes after.
    source = make_media("dub.mp4", Picture(seconds=1.0, width=WIDTH, height=HEIGHT), Sound(codec="aac", seconds=1.0))
    made = await burned(
        source, [Line(0.0, 0.08, "Erst eine lange Zeile"), Line(0.6, 0.64, "und noch eine lange Zeile")]
    )
    shown = [changed(old, new) > 0.005 for (_, old), (_, new) in zip(frames(source), frames(made), strict=True)]
    assert [number for number, text in enumerate(shown) if text] == [0, 1, 15]


async def test_sound_alone_is_refused(make_media: MakeMedia) -> None:
    source = make_media("dub.mp4", Sound(codec="aac"))
    with pytest.raises(MediaRejected, match="no picture"):
        await burned(source, [])


def test_it_is_told_where_work_has_come_to(make_media: MakeMedia, monkeypatch: pytest.MonkeyPatch) -> None:
    source = make_media("dub.mp4", Picture(seconds=1.0), Sound(codec="aac", seconds=1.0))
    monkeypatch.setattr("octavia_stream.media.child.burning._TOLD_EVERY_S", 0.0)
    told: list[float] = []
    done = burn(str(source), str(source.parent), wire.BurnRequest("x.mp4", "mp4", ()), Letterer(), told.append)
    assert done.frames == 25
    assert told[-1] == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("text", ["curto", "x" * 400, "\n".join(["linha"] * 40), "a\nb"])
@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (64, 48), (2, 2)])
def test_text_of_any_length_lies_within_a_picture_of_any_size(text: str, width: int, height: int) -> None:
    stamp = Letterer().stamp(text, width, height)
    rows, columns = stamp.cover.shape
    assert stamp.ink.shape == (rows, columns)
    assert [number % 2 for number in (rows, columns, stamp.top, stamp.left)] == [0, 0, 0, 0]
    assert 0 <= stamp.top <= height - rows
    assert 0 <= stamp.left <= width - columns


def test_every_letter_of_a_language_that_can_be_drawn_has_a_form_of_its_own() -> None:
    letterer = Letterer()
    missing = letterer.stamp("\U000f0000", WIDTH, HEIGHT).ink
    for letter in "ãáàâçéêíñóõôúüßœøåæŁłčřžőğışțđ¿¡«»“”—…€ЖжЩїΩλ":
        form = letterer.stamp(letter, WIDTH, HEIGHT).ink
        assert form.shape != missing.shape or (form != missing).any(), letter


def test_what_can_be_drawn_and_what_it_is_called() -> None:
    assert [tag for tag in ("en", "pt", "es", "ru", "el", "ja", "zh", "hi", "ar") if can_draw(Language(tag))] == [
        "en", "pt", "es", "ru", "el",
    ]  # fmt: skip
    assert burned_name("dub.pt.webm") == "dub.pt.burned.mkv"
