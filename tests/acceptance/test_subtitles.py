"""`octavia subtitle` and `octavia speak`, typed as a user types them, on the real stack."""

from pathlib import Path

import pytest

from octavia_stream.captions.subtitle_file import read_subtitles
from tests.acceptance.conftest import DATA, Running
from tests.acceptance.test_command import leftovers, octavia

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.ray,
    pytest.mark.services,
    pytest.mark.model,
    pytest.mark.timeout(300),
]

FILM = DATA / "subtitles" / "sintel-en.vtt"


async def test_a_film_s_subtitles_are_translated(real_stack: Running, tmp_path: Path) -> None:
    code, said = await octavia(
        real_stack, "subtitle", str(FILM), "--from", "en", "--to", "pt", "--output", str(tmp_path)
    )
    assert code == 0, said
    original, translated = (read_subtitles(path.read_bytes()) for path in (FILM, tmp_path / "sintel-en.pt.vtt"))
    assert [(cue.start_ms, cue.end_ms) for cue in translated.cues] == [
        (cue.start_ms, cue.end_ms) for cue in original.cues
    ]
    assert "lâmina" in translated.document


async def test_a_talk_is_written_down_in_two_languages(real_stack: Running, tmp_path: Path) -> None:
    talk = DATA / "speech" / "en" / "jfk.flac"
    code, said = await octavia(real_stack, "subtitle", str(talk), "--to", "pt", "--output", str(tmp_path))
    assert code == 0, said
    assert set(leftovers(tmp_path)) == {
        "jfk.en.srt",
        "jfk.en.vtt",
        "jfk.pt.srt",
        "jfk.pt.vtt",
        "jfk.report.json",
    }
    assert "país" in (tmp_path / "jfk.pt.srt").read_text()


async def test_subtitles_are_spoken(real_stack: Running, tmp_path: Path) -> None:
    film = tmp_path / "film.en.srt"
    film.write_text("1\n00:00:01,000 --> 00:00:03,500\nThis blade has a dark past.\n")
    code, said = await octavia(
        real_stack, "speak", str(film), "--from", "en", "--to", "pt", "--format", "wav", "--output", str(tmp_path)
    )
    assert code == 0, said
    # A header, and three and a half seconds at 24 kHz in 16 bit.
    assert (tmp_path / "film.pt.wav").stat().st_size == pytest.approx(3.5 * 24_000 * 2, abs=200)
    assert "lâmina" in (tmp_path / "film.pt.srt").read_text()


async def test_what_is_no_subtitle_file_is_one_sentence(real_stack: Running, tmp_path: Path) -> None:
    text = tmp_path / "words.srt"
    text.write_text("just words\n")
    code, said = await octavia(real_stack, "subtitle", str(text), "--from", "en", "--to", "pt")
    assert code == 1
    assert said.startswith("Error: This is no subtitle file")
    assert "Traceback" not in said
