"""Files made to take for ever, or all memory, end soon and in a sentence."""

import tracemalloc
from collections.abc import Callable
from contextlib import suppress

import pytest

from octavia_stream.captions import subtitle_cue
from octavia_stream.captions.subtitle_cue import MAX_BYTES, MAX_CUES
from octavia_stream.captions.subtitle_file import read_subtitles
from octavia_stream.errors import MediaTooLarge, OctaviaError, SubtitlesRejected

# Nothing here waits for long: a reader that takes quadratic time on ten megabytes takes hours.
pytestmark = pytest.mark.timeout(120)

XML = '<tt xmlns="http://www.w3.org/ns/ttml"><body><div>{}</div></body></tt>'
ENTITIES = "".join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(25))
BOMB = f'<?xml version="1.0"?><!DOCTYPE tt [<!ENTITY a "aaaaaaaaaa">{ENTITIES}]>' + XML.format("<p>&z;</p>")
CUE = "1\n00:00:01,000 --> 00:00:02,000\n"


def test_a_million_cues_are_too_many() -> None:
    with pytest.raises(MediaTooLarge, match="100,000"):
        read_subtitles(b"WEBVTT\n\n" + b"0:01 --> 0:02\nx\n\n" * (MAX_CUES + 1))
    with pytest.raises(MediaTooLarge, match="MiB"):
        read_subtitles(b"1\n00:00:01,000 --> 00:00:02,000\nx\n\n" * 1_000_000)


def test_as_many_cues_as_allowed_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    allowed = 1_000
    monkeypatch.setattr(subtitle_cue, "MAX_CUES", allowed)
    file = read_subtitles(b"WEBVTT\n\n" + b"0:01 --> 0:02\nx\n\n" * allowed)
    assert len(file.cues) == allowed
    with pytest.raises(MediaTooLarge):
        read_subtitles(b"WEBVTT\n\n" + b"0:01 --> 0:02\nx\n\n" * (allowed + 1))


def test_entities_and_what_declares_them_are_refused() -> None:
    with pytest.raises(SubtitlesRejected, match="DOCTYPE"):
        read_subtitles(BOMB.encode())
    external = BOMB.replace('"aaaaaaaaaa"', 'SYSTEM "file:///etc/passwd"')
    with pytest.raises(SubtitlesRejected, match="DOCTYPE"):
        read_subtitles(external.encode())


def test_deep_nesting_is_refused() -> None:
    with pytest.raises(SubtitlesRejected, match="nests"):
        read_subtitles(XML.format("<span>" * 100_000 + "</span>" * 100_000).encode())


def filled(pattern: str, head: str = "", tail: str = "") -> bytes:
    count = (MAX_BYTES - len(head) - len(tail) - 8) // len(pattern)
    return (head + pattern * count + tail).encode()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "one line": lambda: filled("a", CUE),
    "one line of brackets": lambda: filled("<", CUE),
    "one line of braces": lambda: filled("{\\", CUE),
    "one line of arrows": lambda: filled("-->", "1\n"),
    "spaces before an arrow": lambda: filled(" ", "1\n", "--> 1"),
    "a time that does not end": lambda: filled("0", "1\n", " --> 00:00:01,000\nx\n"),
    "nothing but newlines": lambda: filled("\n", CUE + "x"),
    "nothing but carriage returns": lambda: filled("\r", CUE + "x"),
    "many lines in one cue": lambda: filled("a\n", CUE),
    "many broken cues": lambda: filled("-->\n"),
    "tags that do not close": lambda: filled("<v ", "WEBVTT\n\n00:01.000 --> 00:02.000\n"),
    "a header that does not end": lambda: filled("Language: xx ", "WEBVTT\n"),
    "entities of HTML": lambda: filled("&amp;&#", "WEBVTT\n\n00:01.000 --> 00:02.000\n"),
    "columns without end": lambda: filled("a,", "[Events]\nFormat: "),
    "commas without end": lambda: filled(",", "[Events]\nDialogue: 0"),
    "overrides without end": lambda: filled("{\\p", "[Events]\nDialogue: 0,0:00:01.00,0:00:02.00,,,,,,,"),
    "many elements": lambda: filled("<p/>", XML.partition("{}")[0], XML.partition("{}")[2]),
    "many comments": lambda: filled("<!---->", '<tt xmlns="http://www.w3.org/ns/ttml">', "</tt>"),
    "comments before the root": lambda: filled("<!---->"),
    "no line that tells an old encoding": lambda: filled("é", "1\n").decode().encode("latin-1")[:MAX_BYTES],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_ten_megabytes_of_malice_end_in_a_sentence(name: str) -> None:
    content = HOSTILE[name]()
    with suppress(OctaviaError):
        assert read_subtitles(content).cues


@pytest.mark.parametrize("name", ["nothing but newlines", "many broken cues", "many elements"])
def test_memory_is_bounded_by_the_file(name: str) -> None:
    content = HOSTILE[name]()[: MAX_BYTES // 100]
    tracemalloc.start()
    try:
        with suppress(OctaviaError):
            read_subtitles(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 12 * len(content)
