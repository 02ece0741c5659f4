"""Cues are readable, in order, and never overlap."""

from itertools import pairwise

import pysubs2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.captions.cues import COLUMNS, LINES, Cue, CueRules, SpokenText, make_cues, write_srt, write_vtt

LONG = (
    "In point of accuracy the modern printer has almost entirely surpassed the old one, and yet in the matter of "
    "beauty he has been left far behind by those who worked before him."
)


def test_a_long_sentence_becomes_several_cues_of_two_lines() -> None:
    cues = make_cues([SpokenText(1.0, 11.0, LONG)], 60.0)
    assert len(cues) == 3
    assert all(len(line) <= COLUMNS for cue in cues for line in cue.text.splitlines())
    assert all(len(cue.text.splitlines()) <= LINES for cue in cues)
    assert " ".join(cue.text.replace("\n", " ") for cue in cues) == LONG
    assert cues[0].start_s == 1.0


def test_a_sentence_of_long_words_never_takes_a_third_line() -> None:
    text = "No entanto, devido aos canais de comunicação lentos, os estilos no oeste poderiam ficar para trás."
    cues = make_cues([SpokenText(0.0, 8.0, text)], 60.0)
    assert all(len(cue.text.splitlines()) <= LINES for cue in cues)
    assert all(len(line) <= COLUMNS for cue in cues for line in cue.text.splitlines())
    assert " ".join(cue.text.replace("\n", " ") for cue in cues) == text


def test_a_short_word_stays_long_enough_to_be_read_unless_the_next_one_comes() -> None:
    alone = make_cues([SpokenText(1.0, 1.2, "Yes.")], 60.0)
    hurried = make_cues([SpokenText(1.0, 1.2, "Yes."), SpokenText(1.5, 2.5, "No.")], 60.0)
    assert alone[0].end_s > 1.8
    assert hurried[0].end_s < 1.5


def test_ideographs_are_counted_as_two_columns() -> None:
    cues = make_cues([SpokenText(0.0, 20.0, "東" * 100)], 60.0)
    assert all(len(line) <= COLUMNS // 2 for cue in cues for line in cue.text.splitlines())
    assert sum(cue.text.count("東") for cue in cues) == 100


@given(
    st.lists(
        st.tuples(st.floats(0.1, 9), st.text(st.characters(categories=("L", "P", "Zs")), max_size=300)), max_size=12
    )
)
def test_cues_keep_every_word_and_never_overlap(parts: list[tuple[float, str]]) -> None:
    texts: list[SpokenText] = []
    at = 0.0
    for duration, text in parts:
        texts.append(SpokenText(at, at + duration, text))
        at += duration
    cues = make_cues(texts, at)
    for first, second in pairwise(cues):
        assert first.start_s < first.end_s <= second.start_s
    assert all(len(cue.text.splitlines()) <= LINES for cue in cues)


def test_files_are_what_other_programs_read() -> None:
    cues = [Cue(1.0, 2.5, "Olá,\nmundo"), Cue(3.0, 4.0, "fim")]
    for text in (write_srt(cues), write_vtt(cues)):
        read = pysubs2.SSAFile.from_string(text)
        assert [(event.start, event.end, event.plaintext) for event in read] == [
            (1000, 2500, "Olá,\nmundo"),
            (3000, 4000, "fim"),
        ]
    assert write_vtt(cues).startswith("WEBVTT")


def test_webvtt_escapes_what_would_be_markup() -> None:
    assert "R&amp;D &lt;b&gt;" in write_vtt([Cue(0.0, 1.0, "R&D <b>")])
    assert "R&D <b>" in write_srt([Cue(0.0, 1.0, "R&D <b>")])


def test_times_beyond_an_hour_are_written_in_full() -> None:
    assert "01:01:01,500 --> 02:00:00,000" in write_srt([Cue(3661.5, 7200.0, "late")])
    assert "01:01:01.500 --> 02:00:00.000" in write_vtt([Cue(3661.5, 7200.0, "late")])


@pytest.mark.parametrize(("columns", "lines"), [(20, 1), (32, 2), (32, 3), (80, 1)])
def test_cues_keep_to_the_rules_that_are_asked_for(columns: int, lines: int) -> None:
    cues = make_cues([SpokenText(1.0, 11.0, LONG)], 60.0, CueRules(columns=columns, lines=lines))
    assert " ".join(cue.text.replace("\n", " ") for cue in cues) == LONG
    assert all(len(line) <= columns for cue in cues for line in cue.text.splitlines())
    assert max(len(cue.text.splitlines()) for cue in cues) == lines


def test_slow_readers_have_the_time_they_ask_for() -> None:
    text = "A sentence of forty characters, exactly."
    for speed in (5.0, 17.0, 40.0):
        [cue] = make_cues([SpokenText(0.0, 0.5, text)], 60.0, CueRules(characters_per_second=speed))
        assert cue.end_s == pytest.approx(max(len(text) / speed, 5 / 6))
