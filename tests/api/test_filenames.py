"""Names that people give to files."""

import re
from email.message import Message
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.filenames import content_disposition, download_name
from octavia_stream.uploads.upload import display_name


@pytest.mark.parametrize(
    ("source", "artifact", "expected"),
    [
        ("talk.mov", "dub.mp4", "talk.pt.mp4"),
        ("talk.mov", "dub.ja.mp4", "talk.ja.mp4"),
        ("talk.mov", "dub.burned.mp4", "talk.pt.burned.mp4"),
        ("talk.mov", "dub.ja.burned.mp4", "talk.ja.burned.mp4"),
        ("talk.mov", "ja.srt", "talk.ja.srt"),
        ("talk.mov", "source.srt", "talk.en.srt"),
        ("talk.mov", "target.vtt", "talk.pt.vtt"),
        ("talk.mov", "report.json", "talk.pt.report.json"),
        ("v1.2 final.mkv", "dub.mkv", "v1.2 final.pt.mkv"),
        ("noextension", "dub.wav", "noextension.pt.wav"),
        ("../../etc/passwd", "dub.mp4", "passwd.pt.mp4"),
        ("x" * 300 + ".mkv", "dub.mkv", "x" * 90 + ".pt.mkv"),
    ],
)
def test_a_result_is_named_after_its_source(source: str, artifact: str, expected: str) -> None:
    assert download_name(source, artifact, "en", "pt") == expected


@given(st.text(max_size=100))
def test_any_name_survives_the_header(name: str) -> None:
    cleaned = display_name(name)
    header = content_disposition(cleaned)
    assert header.isascii()
    assert not re.search(r"[\r\n\x00]", header)
    assert unquote(header.rsplit("UTF-8''", 1)[1]) == cleaned
    message = Message()
    message["Content-Disposition"] = header
    assert message.get_content_disposition() == "attachment"
