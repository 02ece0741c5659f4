"""What `make chaos` draws, and that its judge sees what it is there to see. The rounds themselves run apart."""

import os
from pathlib import Path

import pytest

from octavia_stream.testing import Call
from tests.chaos.books import Beginning, Piece
from tests.chaos.disk import fill, small_disk
from tests.chaos.plan import HEAVY, HEAVY_EVERY, LIGHT, STOPPABLE, draw
from tests.chaos.verdict import Product, counted, differences, unexplained
from tests.chaos.victims import SIGNS
from tests.chaos.work import TALK, fingerprint

HEARD: Piece = ("transcribe", 0, "a")
SPOKEN: Piece = ("synthesize", 3, "b")


def test_a_seed_says_everything_and_another_says_something_else() -> None:
    assert draw(7, 6) == draw(7, 6)
    assert draw(7, 6) != draw(8, 6)


def test_twenty_seeds_meet_every_part_and_every_trouble() -> None:
    faults = [fault for seed in range(20) for fault in draw(seed, 6).faults]
    assert {fault.part for fault in faults if fault.act == "kill"} == {*LIGHT, *HEAVY}
    assert {fault.act for fault in faults} == {"kill", "stop", "fill", "damage"}
    assert sum(fault.part in HEAVY for fault in faults if fault.act == "kill") == len(range(0, 20, HEAVY_EVERY))


def test_every_part_that_is_hit_can_be_found() -> None:
    assert {*LIGHT, *HEAVY, *STOPPABLE} <= SIGNS.keys()


def test_without_a_disk_of_its_own_nothing_is_filled() -> None:
    assert "fill" not in {fault.act for seed in range(20) for fault in draw(seed, 6, can_fill=False).faults}


def test_a_finished_piece_that_is_begun_again_is_counted() -> None:
    counts = counted([[Beginning(HEARD, None), Beginning(SPOKEN, None), Beginning(SPOKEN, "key of b")]], damaged=())
    assert (counts.begun, counts.again, counts.rerun, counts.remade) == (3, 0, 1, 0)


def test_a_piece_in_flight_may_be_begun_again_and_a_damaged_one_is_made_anew() -> None:
    begun = [Beginning(HEARD, None), Beginning(HEARD, None), Beginning(SPOKEN, None), Beginning(SPOKEN, "key of b")]
    counts = counted([begun], damaged={"key of b"})
    assert (counts.begun, counts.again, counts.rerun, counts.remade) == (4, 1, 0, 1)


def test_two_jobs_may_begin_the_same_piece() -> None:
    counts = counted([[Beginning(HEARD, None)], [Beginning(HEARD, None)]], damaged=())
    assert (counts.begun, counts.again, counts.rerun) == (2, 0, 0)


def test_another_result_is_seen() -> None:
    expected = Product({"dub.flac": "1", "en.srt": "2"}, frozenset({HEARD}))
    assert differences("talk", expected, expected) == []
    [other, foreign] = differences("talk", Product({"dub.flac": "1"}, frozenset({HEARD, SPOKEN})), expected)
    assert "en.srt" in other
    assert foreign.startswith("talk: 1 pieces")


def test_a_call_of_an_engine_for_nothing_that_was_begun_is_seen() -> None:
    calls = [Call("synthesize", ["one"], 1), Call("synthesize", ["one"], 1), Call("translate", ["x", "y"], 1)]
    assert unexplained(calls, {"synthesize": 2, "transcribe": 0}) == []
    assert len(unexplained(calls, {"synthesize": 1, "transcribe": 0})) == 1


def test_a_fingerprint_tells_files_apart() -> None:
    content = TALK.read_bytes()
    assert fingerprint("a.flac", content) == fingerprint("b.flac", content)
    assert fingerprint("a.flac", content) != fingerprint("a.flac", content[:-1])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a disk")
def test_a_full_disk_is_really_full() -> None:
    with small_disk("1m") as (place, mounted):
        if not mounted:
            pytest.skip("nothing may be mounted here")
        ballast = fill(place)
        with pytest.raises(OSError, match="No space left"):
            Path(place / "more").write_bytes(b"x")
        ballast.unlink()
        Path(place / "more").write_bytes(b"x")
