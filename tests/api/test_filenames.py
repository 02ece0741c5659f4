"""Names that people give to files."""

import re
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.filenames import MAX_NAME_BYTES, clean_filename, content_disposition, download_name


@pytest.mark.parametrize(
    ("given_name", "expected"),
    [
        ("talk.mp4", "talk.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\talk.mp4", "talk.mp4"),
        ("..", "upload"),
        ("", "upload"),
        (None, "upload"),
        ("a\x00b\r\nc.mp4", "abc.mp4"),
        ("exe.\u202e4pm.mp4", "exe.4pm.mp4"),
        ("Ação — 講演.mp4", "Ação — 講演.mp4"),
        (".hidden", "hidden"),
        ("trailing. . ", "trailing"),
    ],
)
def test_what_is_left_of_a_name(given_name: str | None, expected: str) -> None:
    assert clean_filename(given_name) == expected


@given(st.text(max_size=400))
def test_a_clean_name_is_short_visible_and_no_path(name: str) -> None:
    cleaned = clean_filename(name)
    assert 1 <= len(cleaned.encode()) <= MAX_NAME_BYTES
    assert cleaned not in {".", ".."}
    assert not re.search(r"[/\\\x00-\x1f\x7f\u2028\u2029]", cleaned)
    assert clean_filename(cleaned) == cleaned


def test_a_name_too_long_keeps_its_extension() -> None:
    cleaned = clean_filename("é" * 300 + ".mp4")
    assert cleaned.endswith("é.mp4")
    assert len(cleaned.encode()) <= MAX_NAME_BYTES


@pytest.mark.parametrize(
    ("source", "artifact", "expected"),
    [
        ("talk.mov", "dub.mp4", "talk.pt.mp4"),
        ("talk.mov", "source.srt", "talk.en.srt"),
        ("talk.mov", "target.vtt", "talk.pt.vtt"),
        ("talk.mov", "report.json", "talk.pt.report.json"),
        ("v1.2 final.mkv", "dub.mkv", "v1.2 final.pt.mkv"),
        ("noextension", "dub.wav", "noextension.pt.wav"),
    ],
)
def test_a_result_is_named_after_its_source(source: str, artifact: str, expected: str) -> None:
    assert download_name(source, artifact, "en", "pt") == expected


@given(st.text(max_size=100))
def test_any_name_survives_the_header(name: str) -> None:
    cleaned = clean_filename(name)
    header = content_disposition(cleaned)
    assert header.isascii()
    assert not re.search(r"[\r\n\x00]", header)
    assert unquote(header.rsplit("UTF-8''", 1)[1]) == cleaned
    message = Message()
    message["Content-Disposition"] = header
    assert message.get_content_disposition() == "attachment"
