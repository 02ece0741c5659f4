"""What somebody wants changed in a finished dub, and what that makes of its segments."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Annotated

import msgspec

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.dubbing.manuscript import Hearing, Manuscript, ManuscriptLine, ManuscriptSegment, slots
from octavia_stream.dubbing.punctuation import join_words
from octavia_stream.dubbing.segment import Slot
from octavia_stream.errors import InvalidRequest
from octavia_stream.languages import Language, language_name, parse_language

LONGEST_TEXT = 1000
MOST_EDITS = 500
SHORTEST = round(0.1 * ASR_RATE_HZ)
"""No voice says anything in less, in samples at 16 kHz."""

_ONE_LINE = r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$"
Text = Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT, pattern=_ONE_LINE)]
SegmentId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
Moment = Annotated[float, msgspec.Meta(ge=0, le=1_000_000)]
Tag = Annotated[str, msgspec.Meta(min_length=2, max_length=35)]
VoiceName = Annotated[str, msgspec.Meta(min_length=1, max_length=100)]


class _Edit(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="edit", kw_only=True):
    """A change to one segment of the version that was read."""

    id: SegmentId
    language: Tag | None = None
    """Into which the dub is; may be left out where there is one. Of what was heard: every dub that is made of it."""


class TranscriptEdit(_Edit, frozen=True, tag="transcript"):
    """Something else was said. It is translated anew."""

    text: Text


class TranslationEdit(_Edit, frozen=True, tag="translation"):
    """Say something else."""

    text: Text


class VoiceEdit(_Edit, frozen=True, tag="voice"):
    """Let another voice say it."""

    voice: VoiceName


class RetimeEdit(_Edit, frozen=True, tag="retime"):
    """It was said at another time; the dub follows."""

    start_s: Moment
    end_s: Moment


class SplitEdit(_Edit, frozen=True, tag="split"):
    """These were two. Both are translated anew."""

    at_s: Moment
    """Where the second begins."""
    texts: tuple[Text, Text]
    """What was said in each."""


class MergeEdit(_Edit, frozen=True, tag="merge"):
    """This and the one after it are one, which is translated anew."""


Edit = TranscriptEdit | TranslationEdit | VoiceEdit | RetimeEdit | SplitEdit | MergeEdit


@dataclass(frozen=True, slots=True)
class DraftLine:
    """A segment in one language, as it is to be spoken."""

    voice: str
    text: str | None
    """None: it is to be translated."""
    speed: float | None = None
    """None: to be chosen anew, for text, voice or slot are others."""
    kept: ManuscriptLine | None = None
    """How it is spoken already: nothing of it was changed."""
    by_hand: bool = False


@dataclass(frozen=True, slots=True)
class DraftSegment:
    """A segment as it is to be. Positions in samples at 16 kHz."""

    id: int
    text: str
    start: int
    end: int
    lines: dict[Language, DraftLine]
    language: Language | None = None
    """Of the words, where it is not that of the others."""


@dataclass(frozen=True, slots=True)
class DraftHearing:
    """What becomes of one `Hearing`."""

    of: Hearing
    segments: list[DraftSegment]
    next_id: int


@dataclass(frozen=True, slots=True)
class Draft:
    """What becomes of a `Manuscript`."""

    of: Manuscript
    hearings: list[DraftHearing]
    spans: dict[Language, list[tuple[float, float]]]
    """Of each dub the parts that were edited: start and end in seconds, where they were heard."""


def revise(manuscript: Manuscript, edits: Sequence[Edit]) -> Draft:
    """Apply edits, all of which name segments as they are in `manuscript`.

    Raises InvalidRequest, in whose sentence the mistake is; UnsupportedLanguage for a language that is none.
    """
    if not edits:
        raise InvalidRequest("Say what to edit.")
    by_hearing: dict[int, list[tuple[Edit, tuple[Language, ...]]]] = {}
    for edit in edits:
        number, languages = _meant(manuscript, edit)
        by_hearing.setdefault(number, []).append((edit, languages))
    hearings = []
    spans: dict[Language, list[tuple[float, float]]] = {}
    for number, hearing in enumerate(manuscript.hearings):
        revision = _Revision(hearing, manuscript.length)
        for edit, languages in by_hearing.get(number, []):
            revision.apply(edit, languages)
        hearings.append(revision.draft())
        for language, touched in revision.spans.items():
            spans[language] = touched
    draft = Draft(manuscript, hearings, spans)
    if all(_unchanged(hearing) for hearing in hearings):
        raise InvalidRequest("These edits change nothing: everything is as they say.")
    return draft


def _meant(manuscript: Manuscript, edit: Edit) -> tuple[int, tuple[Language, ...]]:
    """Which hearing an edit is about, and which of its dubs."""
    targets = manuscript.targets
    if edit.language is None:
        of_one = isinstance(edit, TranslationEdit | VoiceEdit) and len(targets) > 1
        if of_one or len(manuscript.hearings) > 1:
            raise InvalidRequest(f"Say which language edit {_named(edit)} is about: {', '.join(targets)}.")
        return 0, tuple(targets)
    language = parse_language(edit.language)
    for number, hearing in enumerate(manuscript.hearings):
        if language in hearing.targets:
            one = isinstance(edit, TranslationEdit | VoiceEdit)
            return number, (language,) if one else hearing.targets
    raise InvalidRequest(f"There is no dub in {language_name(language)}; there is {', '.join(targets)}.")


def _named(edit: Edit) -> str:
    return f"“{edit.__struct_config__.tag}” of segment {edit.id}"


def _unchanged(hearing: DraftHearing) -> bool:
    before = [(one.id, one.text, one.start, one.end) for one in hearing.of.segments]
    after = [(one.id, one.text, one.start, one.end) for one in hearing.segments]
    return before == after and all(line.kept for one in hearing.segments for line in one.lines.values())


class _Revision:
    """Edits of one hearing, one after the other."""

    def __init__(self, hearing: Hearing, length: int) -> None:
        self._hearing = hearing
        self._length = length
        self.spans: dict[Language, list[tuple[float, float]]] = {}
        self._now = {one.id: [_as_it_is(one)] for one in hearing.segments}
        self._order = [one.id for one in hearing.segments]
        self._next_id = hearing.next_id
        self._edited: set[tuple[int, str, Language]] = set()
        self._reshaped: set[int] = set()
        self._moved: set[int] = set()

    def apply(self, edit: Edit, languages: tuple[Language, ...]) -> None:
        if edit.id not in self._now:
            raise InvalidRequest(f"There is no segment {edit.id}.")
        self._claim(edit, languages)
        before = self._now[edit.id]
        match edit:
            case SplitEdit():
                self._now[edit.id] = self._split(before[0], edit)
            case MergeEdit():
                self._merge(before[0])
            case _:
                self._now[edit.id] = [self._changed(before[0], edit, languages)]
        touched = [(one.start / ASR_RATE_HZ, one.end / ASR_RATE_HZ) for one in (*before, *self._now[edit.id])]
        for language in languages:
            self.spans.setdefault(language, []).append((min(s for s, _ in touched), max(e for _, e in touched)))

    def _claim(self, edit: Edit, languages: tuple[Language, ...]) -> None:
        """No two edits say different things of one segment."""
        kind = str(edit.__struct_config__.tag)
        reshapes = isinstance(edit, SplitEdit | MergeEdit)
        ids = [edit.id, self._following(edit.id)] if isinstance(edit, MergeEdit) else [edit.id]
        names = [(one, kind, language) for one in ids for language in languages]
        others = {one for one, _, _ in self._edited}
        if self._edited & set(names) or self._reshaped & set(ids) or (reshapes and others & set(ids)):
            raise InvalidRequest(f"Segment {edit.id} is edited twice; split or merge it in a request of its own.")
        self._edited |= set(names)
        if reshapes:
            self._reshaped |= set(ids)

    def _following(self, segment_id: int) -> int:
        place = self._order.index(segment_id) + 1
        if place == len(self._order):
            raise InvalidRequest(f"Segment {segment_id} is the last one: there is none after it to merge it with.")
        return self._order[place]

    def _changed(self, one: DraftSegment, edit: Edit, languages: Iterable[Language]) -> DraftSegment:
        lines = dict(one.lines)
        match edit:
            case TranscriptEdit(text=text):
                if text.strip() == one.text:
                    return one
                for language in languages:
                    if not (lines[language].by_hand and lines[language].kept is None):
                        # What was written in this very request stays.
                        lines[language] = DraftLine(lines[language].voice, None)
                return replace(one, text=text.strip(), lines=lines)
            case TranslationEdit(text=text):
                [language] = languages
                line = lines[language]
                if line.text != text.strip() or (line.kept is not None and line.kept.kept_original):
                    lines[language] = DraftLine(line.voice, text.strip(), by_hand=True)
            case VoiceEdit(voice=voice):
                [language] = languages
                if lines[language].voice != voice:
                    lines[language] = replace(lines[language], voice=voice, speed=None, kept=None)
            case RetimeEdit():
                self._moved.add(one.id)
                start, end = self._position(edit.start_s, one.start), self._position(edit.end_s, one.end)
                if end - start < SHORTEST or end > self._length:
                    raise InvalidRequest(
                        f"Segment {one.id} must end at least 0.1 s after it starts, and not after the sound,"
                        f" which ends at {self._length / ASR_RATE_HZ:.2f} s."
                    )
                return replace(one, start=start, end=end)
        return replace(one, lines=lines)

    def _position(self, seconds: float, now: int) -> int:
        """In samples; what is as it was shown stays where it is."""
        return now if shown(now) == seconds else round(seconds * ASR_RATE_HZ)

    def _split(self, one: DraftSegment, edit: SplitEdit) -> list[DraftSegment]:
        at = round(edit.at_s * ASR_RATE_HZ)
        if not one.start + SHORTEST <= at <= one.end - SHORTEST:
            raise InvalidRequest(
                f"Segment {one.id} goes from {shown(one.start)} to {shown(one.end)} s;"
                " split it within, at least 0.1 s from its ends."
            )
        second = self._next_id
        self._next_id += 1
        first_text, second_text = (text.strip() for text in edit.texts)
        fresh = {language: DraftLine(line.voice, None) for language, line in one.lines.items()}
        self._moved |= {one.id, second}
        return [
            DraftSegment(one.id, first_text, one.start, at, fresh, one.language),
            DraftSegment(second, second_text, at, one.end, dict(fresh), one.language),
        ]

    def _merge(self, one: DraftSegment) -> None:
        following = self._following(one.id)
        [other] = self._now[following]
        if one.language != other.language:
            raise InvalidRequest(f"Segments {one.id} and {following} are in different languages; they stay apart.")
        text = join_words([one.text, other.text], one.language or self._hearing.language)
        if len(text) > LONGEST_TEXT:
            raise InvalidRequest(f"Segments {one.id} and {following} together have more than {LONGEST_TEXT} letters.")
        fresh = {language: DraftLine(line.voice, None) for language, line in one.lines.items()}
        self._now[one.id] = [DraftSegment(one.id, text, one.start, max(one.end, other.end), fresh, one.language)]
        self._now[following] = []

    def draft(self) -> DraftHearing:
        """Everything in order, with room for each line. Raises InvalidRequest where times overlap."""
        segments = [one for segment_id in self._order for one in self._now[segment_id]]
        for one, other in pairwise(segments):
            if {one.id, other.id} & self._moved and other.start < one.end:
                raise InvalidRequest(
                    f"Segment {other.id} would start at {shown(other.start)} s, before segment {one.id} has ended"
                    f" at {shown(one.end)} s; retime both, or keep their order."
                )
        was = dict(
            zip((one.id for one in self._hearing.segments), slots(self._hearing.segments, self._length), strict=True)
        )
        now = slots(segments, self._length)
        roomy = [_with_room(one, slot, was.get(one.id)) for one, slot in zip(segments, now, strict=True)]
        return DraftHearing(self._hearing, roomy, self._next_id)


def _as_it_is(one: ManuscriptSegment) -> DraftSegment:
    lines = {
        language: DraftLine(said.voice, said.text, said.speed, said, said.by_hand)
        for language, said in one.spoken.items()
    }
    return DraftSegment(one.id, one.text, one.start, one.end, lines, one.language)


def _with_room(one: DraftSegment, slot: Slot, before: Slot | None) -> DraftSegment:
    """How fast a line is spoken depends on its slot: where that is another, it is chosen anew."""
    if slot == before:
        return one
    return replace(one, lines={language: replace(line, speed=None) for language, line in one.lines.items()})


def shown(position: int) -> float:
    """A position in samples at 16 kHz as seconds, as it is told."""
    return round(position / ASR_RATE_HZ, 3)


def voices_of(edits: Iterable[Edit]) -> list[VoiceEdit]:
    """Those that choose a voice."""
    return [edit for edit in edits if isinstance(edit, VoiceEdit)]
