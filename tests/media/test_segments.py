"""Where segments are cut, and what their boxes say."""

import struct

import pytest

from octavia_stream.media.segments import LONGEST_S, BoxReader, SegmentCutter, codec_of, delayed


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def cut(*durations: float) -> list[tuple[float, bytes]]:
    cutter = SegmentCutter()
    found = [segment for number, duration in enumerate(durations) for segment in cutter.push(duration, bytes([number]))]
    return [(segment.duration_s, segment.content) for segment in (*found, *cutter.finish())]


def test_short_fragments_are_gathered_until_they_are_long_enough() -> None:
    assert cut(0.5, 0.75, 1.0, 1.0, 1.0, 1.5, 1.0) == [(1.25, b"\0\1"), (4.5, b"\2\3\4\5"), (1.0, b"\6")]


def test_no_segment_becomes_longer_than_players_were_told() -> None:
    assert cut(3.0, 5.0, 1.0) == [(3.0, b"\0"), (5.0, b"\1"), (1.0, b"\2")]
    assert all(duration <= LONGEST_S for duration, _ in cut(*[2.5] * 10, 6.0, 3.9, 3.9))


def test_nothing_comes_of_nothing() -> None:
    assert cut() == []


def test_boxes_come_whole_however_they_are_written() -> None:
    data = box(b"ftyp", b"abcd") + box(b"moov", b"x" * 100)
    reader, found = BoxReader(), []
    for start in range(0, len(data), 7):
        reader.write(data[start : start + 7])
        found += list(reader.boxes())
    assert [kind for kind, _ in found] == [b"ftyp", b"moov"]
    assert b"".join(content for _, content in found) == data


def test_what_is_no_box_is_refused() -> None:
    reader = BoxReader()
    reader.write(b"\0\0\0\1moof")
    with pytest.raises(ValueError, match="no box"):
        list(reader.boxes())


@pytest.mark.parametrize(("version", "field"), [(0, ">I"), (1, ">Q")])
def test_a_fragment_is_delayed_by_its_own_clock(version: int, field: str) -> None:
    def moof(time: int) -> bytes:
        tfdt = box(b"tfdt", bytes([version, 0, 0, 0]) + struct.pack(field, time))
        return box(b"moof", box(b"mfhd", b"tfdt" * 2) + box(b"traf", box(b"tfhd", b"1234") + tfdt))

    assert delayed(moof(1_000), 234) == moof(1_234)


def test_the_codec_is_named_where_the_head_shows_it() -> None:
    assert codec_of(b"..." + box(b"avcC", b"\x01\x64\x00\x1f\xff")) == "avc1.64001f"
    assert codec_of(b"hvcC") is None
