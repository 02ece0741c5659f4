"""What edits make of the segments of a dub: what they leave alone keeps how it is spoken."""

import pytest

from octavia_stream.dubbing.edits import (
    Draft,
    Edit,
    MergeEdit,
    RetimeEdit,
    SplitEdit,
    TranscriptEdit,
    TranslationEdit,
    VoiceEdit,
    revise,
)
from octavia_stream.dubbing.manuscript import Hearing, Manuscript, ManuscriptLine, ManuscriptSegment
from octavia_stream.dubbing.segment import NO_FORECAST, Placement
from octavia_stream.errors import InvalidRequest
from octavia_stream.languages import Language
from octavia_stream.media.demuxer import DecodeReport

EN, PT, DE = Language("en"), Language("pt"), Language("de")
SECOND = 16_000


def segment(number: int, start_s: float, end_s: float) -> ManuscriptSegment:
    start, end = round(start_s * SECOND), round(end_s * SECOND)
    placement = Placement(start, end - start, 1.0, 0, 0)
    spoken = {
        language: ManuscriptLine(f"{language} {number}", f"{language}-voice", 1.1, placement, NO_FORECAST)
        for language in (PT, DE)
    }
    return ManuscriptSegment(number, f"Sentence {number}.", start, end, spoken)


DUB = Manuscript(
    EN,
    10 * SECOND,
    DecodeReport(),
    b"",
    [Hearing("transcribe", EN, (PT, DE), [segment(0, 1, 3), segment(1, 3.5, 5), segment(2, 6, 8)], 3)],
)


def revised(*edits: Edit) -> Draft:
    return revise(DUB, edits)


def untouched(draft: Draft) -> list[tuple[int, str]]:
    """Segments and languages that are spoken as they were."""
    return [
        (one.id, language)
        for one in draft.hearings[0].segments
        for language, line in one.lines.items()
        if line.kept is not None and line.speed is not None
    ]


def test_a_new_translation_leaves_all_others_and_costs_its_own_seconds() -> None:
    draft = revised(TranslationEdit(id=1, language="pt", text=" Bom dia. "))
    line = draft.hearings[0].segments[1].lines[PT]
    assert (line.text, line.speed, line.kept, line.by_hand, line.voice) == ("Bom dia.", None, None, True, "pt-voice")
    assert untouched(draft) == [(0, "pt"), (0, "de"), (1, "de"), (2, "pt"), (2, "de")]
    assert draft.spans == {PT: [(3.5, 5.0)]}


def test_what_was_heard_concerns_every_language_and_gives_way_to_what_is_written() -> None:
    draft = revised(TranslationEdit(id=0, language="de", text="Hallo."), TranscriptEdit(id=0, text="Hello."))
    first = draft.hearings[0].segments[0]
    assert (first.text, first.lines[PT].text, first.lines[DE].text) == ("Hello.", None, "Hallo.")
    assert set(draft.spans) == {PT, DE}


def test_a_split_takes_a_name_of_its_own_and_a_merge_gives_one_up() -> None:
    split = revised(SplitEdit(id=1, at_s=4.0, texts=("One", "two.")))
    assert [(one.id, one.text) for one in split.hearings[0].segments] == [
        *((0, "Sentence 0."), (1, "One"), (3, "two."), (2, "Sentence 2.")),
    ]
    assert split.hearings[0].next_id == 4
    assert untouched(split) == [(0, "pt"), (0, "de"), (2, "pt"), (2, "de")]
    merged = revised(MergeEdit(id=0))
    assert [(one.id, one.text, one.end) for one in merged.hearings[0].segments] == [
        *((0, "Sentence 0. Sentence 1.", 5 * SECOND), (2, "Sentence 2.", 8 * SECOND)),
    ]
    assert merged.spans[PT] == [(1.0, 5.0)]


def test_whoever_has_another_slot_chooses_a_speed_anew() -> None:
    draft = revised(RetimeEdit(id=1, start_s=3.2, end_s=5.0))
    assert untouched(draft) == [(2, "pt"), (2, "de")]
    kept = [line.kept is not None for line in draft.hearings[0].segments[0].lines.values()]
    assert kept == [True, True], "the words stay"


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ((), "what to edit"),
        ((VoiceEdit(id=0, voice="other"),), "Say which language"),
        ((TranslationEdit(id=0, language="fr", text="Salut."),), "no dub in French; there is pt, de"),
        ((RetimeEdit(id=1, start_s=2.0, end_s=5.0),), "before segment 0 has ended at 3.0 s"),
        ((RetimeEdit(id=2, start_s=7.0, end_s=7.05),), "at least 0.1 s"),
        ((SplitEdit(id=1, at_s=4.0, texts=("a", "b")), TranscriptEdit(id=1, text="c")), "edited twice"),
        ((TranscriptEdit(id=1, text="c"), MergeEdit(id=0)), "edited twice"),
        ((VoiceEdit(id=0, language="pt", voice="pt-voice"),), "change nothing"),
    ],
)
def test_nonsense_is_refused(edits: tuple[Edit, ...], words: str) -> None:
    with pytest.raises(InvalidRequest, match=words):
        revised(*edits)
