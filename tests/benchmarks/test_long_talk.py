"""A long talk says nothing twice in the same way, and is as long as it claims."""

from itertools import islice
from pathlib import Path

import av
import numpy as np

from benchmarks.hours_section import overlaps
from benchmarks.long_talk import RATE_HZ, repeated, said, write_talk
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.dubbing.speech_spool import to_int16
from octavia_stream.events.event import SegmentDubbed
from octavia_stream.languages import Language
from octavia_stream.testing import tone


def utterances() -> list[AudioChunk]:
    return [tone(0.3, RATE_HZ, frequency_hz=frequency) for frequency in (200.0, 300.0, 400.0)]


def test_everything_is_said_as_recorded_first_and_never_the_same_way_again() -> None:
    heard = list(islice(said(utterances()), 15))

    for once, recorded in zip(heard, utterances(), strict=False):
        assert np.array_equal(once[: recorded.length], to_int16(recorded.samples))
        assert not once[recorded.length :].any()
    assert len({one.tobytes() for one in heard}) == len(heard)


def test_the_same_talk_comes_out_every_time_and_no_longer_than_asked(tmp_path: Path) -> None:
    one, other = tmp_path / "one.flac", tmp_path / "other.flac"

    length = write_talk(one, utterances(), 5 * RATE_HZ)
    write_talk(other, utterances(), 5 * RATE_HZ)

    with av.open(str(one)) as container:
        decoded = sum(frame.samples for frame in container.decode(audio=0))
    assert 4 * RATE_HZ < length == decoded <= 5 * RATE_HZ
    assert one.read_bytes() == other.read_bytes()


def test_what_comes_again_is_counted() -> None:
    assert repeated(["Yes.", "No.", "Yes.", "Yes."]) == 2


def segment(index: int, start_s: float, end_s: float) -> SegmentDubbed:
    return SegmentDubbed(index=index, start_s=start_s, end_s=end_s, source="", text="", language=Language("en"))


def test_sentences_over_each_other_are_counted() -> None:
    assert overlaps([segment(0, 0.0, 2.0), segment(1, 2.0, 4.0), segment(2, 3.5, 5.0)]) == 1
