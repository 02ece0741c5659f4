"""Names of files, fit to show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.uploads.upload import FILENAME_MAX, display_name


@pytest.mark.parametrize(
    ("given_name", "shown"),
    [
        ("talk.mp4", "talk.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\Ana\\talk.mp4", "talk.mp4"),
        ("  o\n  discurso\t.mp4 ", "o discurso .mp4"),
        ("a\u202egpj.exe", "agpj.exe"),
        ('a"b<c>:d|e?f*.mp4', "a_b_c__d_e_f_.mp4"),
        ("Ac\u0327a\u0303o.mp4", "A\u00e7\u00e3o.mp4"),
        ("..", "upload"),
        ("", "upload"),
        ("dir/", "upload"),
        ("\x00\x1b[31m.mp4", "[31m.mp4"),
        ("x" * 300 + ".mp4", "x" * (FILENAME_MAX - 4) + ".mp4"),
    ],
)
def test_a_name_is_cleaned(given_name: str, shown: str) -> None:
    assert display_name(given_name) == shown


@given(st.text())
def test_any_name_becomes_one_that_harms_nobody(name: str) -> None:
    shown = display_name(name)
    assert 1 <= len(shown) <= FILENAME_MAX
    assert not set(shown) & set('/\\\0\r\n"')
    assert shown not in {".", ".."}
    assert shown.isprintable()
    assert display_name(shown) == shown
