"""Sentences are found across cues, and their translations fill the same cues."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from octavia_stream.captions.subtitle_file import SubtitleFile, read_subtitles
from octavia_stream.dubbing.cue_sentences import cue_sentences, new_texts, share_out, split_by_length
from octavia_stream.languages import Language

EN = Language("en")
PT = Language("pt")
JA = Language("ja")


def file_of(*cues: tuple[float, float, str]) -> SubtitleFile:
    """A WebVTT file: start, end, text."""
    blocks = [f"{_time(start)} --> {_time(end)}\n{text}\n" for start, end, text in cues]
    return read_subtitles(("WEBVTT\n\n" + "\n".join(blocks)).encode())


def _time(seconds: float) -> str:
    return f"{int(seconds) // 60:02}:{seconds % 60:06.3f}"


def sentences(*cues: tuple[float, float, str]) -> list[str]:
    return [sentence.text for sentence in cue_sentences(file_of(*cues).cues, EN)]


def test_a_sentence_over_several_cues_is_one() -> None:
    assert sentences((0, 2, "This is the beginning"), (2, 4, "of a long sentence,"), (4, 6, "and this its end.")) == [
        "This is the beginning of a long sentence, and this its end."
    ]


def test_several_sentences_in_a_cue_are_several() -> None:
    assert sentences((0, 2, "Dr. Smith is here.\nAre you?"), (2, 4, "Yes.")) == [
        "Dr. Smith is here.",
        "Are you?",
        "Yes.",
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((0, 2, "Wait for"), (4, 6, "me there")),
        ((0, 2, "Wait for"), (2, 4, "- me there")),
        ((0, 2, "<i>Wait for</i>"), (2, 4, "me there")),
        ((0, 2, "<v Ann>Wait for"), (2, 4, "<v Bob>me there")),
        ((0, 2, "Wait for"), (2, 4, "[door opens]")),
        ((0, 4, "Wait for"), (1, 4, "me there")),
    ],
    ids=["pause", "dash", "style", "voice", "sound", "side by side"],
)
def test_what_belongs_apart_stays_apart(first: tuple[float, float, str], second: tuple[float, float, str]) -> None:
    assert len(sentences(first, second)) == 2


def test_a_sentence_begins_where_its_first_word_stands_in_its_cue() -> None:
    one, two = cue_sentences(file_of((10, 12, "First one. Second 1."), (12, 13, "Next.")).cues, EN)[:2]
    assert one.start == 160_000
    assert two.start == pytest.approx(160_000 + 16_000, abs=1_700)
    assert one.end <= two.start


def test_text_without_any_full_stop_is_cut() -> None:
    found = sentences(*((i, i + 1, "word " * 10) for i in range(40)))
    assert len(found) >= 40 / 6
    assert sum(len(text.split()) for text in found) == 400


def test_a_translation_is_shared_out_by_length_at_the_nearest_pause() -> None:
    file = file_of((0, 2, "You're a fool for traveling alone,"), (2, 4, "so completely unprepared."))
    found = cue_sentences(file.cues, EN)
    shares = share_out(found, ["És tolo por viajares sozinho, e sem te preparares."], PT)
    assert new_texts(file.cues, shares) == [["És tolo por viajares sozinho,"], ["e sem te preparares."]]


def test_two_sentences_come_back_into_one_cue() -> None:
    file = file_of((0, 2, "Here. And"), (2, 4, "there."))
    shares = share_out(cue_sentences(file.cues, EN), ["Aqui.", "E ali."], PT)
    assert new_texts(file.cues, shares) == [["Aqui. E"], ["ali."]]


def test_a_script_without_spaces_is_cut_between_characters() -> None:
    assert split_by_length("これはとても長い文です。", [5, 5], JA) == ["これはとても", "長い文です。"]


def test_no_cue_is_left_empty() -> None:
    assert split_by_length("Não!", [3, 3], PT) == ["Não!", "Não!"]


words = st.lists(st.text(st.characters(categories=["Lu", "Ll"]), min_size=1, max_size=12), min_size=1, max_size=40)


@given(words=words, weights=st.lists(st.integers(1, 200), min_size=1, max_size=6))
def test_nothing_is_lost_and_nothing_changes_its_order(words: list[str], weights: list[int]) -> None:
    parts = split_by_length(" ".join(words), weights, PT)
    assert len(parts) == len(weights)
    assert all(parts)
    if len(words) >= len(weights):
        assert " ".join(parts).split() == " ".join(words).split()


def test_words_of_a_file_are_each_in_one_sentence() -> None:
    cues = [(float(i), i + 0.9, text) for i, text in enumerate(["A b.", "<i>c</i>\nd e", "- f\n- g h.", "i, j", "k?"])]
    file = file_of(*cues)
    found = cue_sentences(file.cues, EN)
    assert sorted("".join(sentence.text for sentence in found).replace(" ", "")) == sorted("Ab.cdefgh.i,jk?")
    back = share_out(found, [sentence.text for sentence in found], EN)
    said = [text for cue in new_texts(file.cues, back) for text in cue]
    assert all(said)
    assert " ".join(said).split() == [word for cue in file.cues for p in cue.passages for word in p.text.split()]


@pytest.mark.timeout(60)
def test_a_file_of_nothing_but_full_stops_takes_no_careful_look() -> None:
    body = ". ".join(["Go"] * 1000) + "."
    file = file_of(*((float(i), i + 0.5, body) for i in range(110)))
    assert len(cue_sentences(file.cues, EN)) == 110 * 1000
