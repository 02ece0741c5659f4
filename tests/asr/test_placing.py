"""Word times, corrected by where there is speech."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.asr.placing import Region, drop_loops, place_words
from octavia_stream.asr.transcript import Word

S = 16_000


def words(*spans: tuple[str, float, float], probability: float = 0.9) -> list[Word]:
    return [Word(text, round(start * S), round(end * S), probability) for text, start, end in spans]


def places(placed: tuple[Word, ...]) -> list[tuple[str, float, float]]:
    return [(word.text, round(word.start / S, 2), round(word.end / S, 2)) for word in placed]


def speech(*spans: tuple[float, float]) -> list[Region]:
    return [(round(start * S), round(end * S)) for start, end in spans]


def test_a_first_word_at_zero_moves_to_where_speech_starts() -> None:
    placed = place_words(words(("Hello", 0.0, 3.4), ("there.", 3.4, 3.9)), speech((3.0, 4.0)), 5 * S)

    assert places(placed) == [("Hello", 3.0, 3.4), ("there.", 3.4, 4.0)]


def test_a_word_over_a_pause_belongs_to_what_follows_unless_most_of_it_came_before() -> None:
    regions = speech((0.0, 1.0), (2.0, 3.0))

    early = place_words(words(("not", 0.2, 0.9), ("what", 0.9, 2.3), ("your", 2.3, 2.9)), regions, 4 * S)
    late = place_words(words(("Americans,", 0.2, 2.1), ("ask", 2.1, 2.9)), regions, 4 * S)

    short = place_words(words(("Exhibition", 0.1, 0.6), ("in", 0.6, 2.2), ("being", 2.2, 2.9)), regions, 4 * S)

    assert places(short)[1] == ("in", 2.0, 2.2), "0.4 s before the pause are more than so short a word takes"
    assert places(early) == [("not", 0.0, 1.0), ("what", 2.0, 2.3), ("your", 2.3, 3.0)]
    assert places(late) == [("Americans,", 0.0, 1.0), ("ask", 2.0, 3.0)]


def test_an_improbable_word_far_from_all_speech_was_invented() -> None:
    invented = words(("Thanks.", 6.0, 7.0), probability=0.1)
    soft = words(("Thanks.", 6.0, 7.0), probability=0.8)
    said = words(("Good", 0.1, 0.4), ("day.", 0.4, 1.0))

    assert [word.text for word in place_words([*said, *invented], speech((0.0, 1.0)), 8 * S)] == ["Good", "day."]
    assert len(place_words([*said, *soft], speech((0.0, 1.0)), 8 * S)) == 3


def test_a_phrase_in_a_loop_is_kept_once_and_people_may_repeat_themselves() -> None:
    loop = words(*[(text, 0.0, 0.1) for text in ["and", "so", "on", "it", "goes."] * 7])
    stutter = words(*[("no,", 0.0, 0.1)] * 12)
    emphasis = words(*[("no,", 0.0, 0.1)] * 3, ("said", 0.3, 0.4), ("he", 0.4, 0.5))

    assert [word.text for word in drop_loops(loop)] == ["and", "so", "on", "it", "goes."]
    assert [word.text for word in drop_loops(stutter)] == ["no,"]
    assert drop_loops(emphasis) == emphasis


@given(
    st.lists(st.tuples(st.integers(-S, 12 * S), st.integers(-S, 3 * S), st.floats(0, 1)), max_size=60),
    st.lists(st.integers(0, 10 * S), max_size=8, unique=True),
)
def test_whatever_whisper_says_words_are_in_order_disjoint_and_inside(
    spans: list[tuple[int, int, float]], bounds: list[int]
) -> None:
    heard = [Word(f"w{i}", start, start + length, p) for i, (start, length, p) in enumerate(spans)]
    edges = sorted(bounds)
    regions = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=False) if a < b]

    placed = place_words(heard, regions, 10 * S)

    assert all(0 <= word.start < word.end <= 10 * S for word in placed)
    assert all(before.end <= after.start for before, after in pairwise(placed))
    texts = [word.text for word in heard]
    assert [word.text for word in placed] == [text for text in texts if text in {word.text for word in placed}]
