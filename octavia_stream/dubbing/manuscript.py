"""All that was said in a finished dub, and how: what an edit starts from, so that nothing else is made again."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.dubbing.segment import Forecast, Placement, Slot
from octavia_stream.dubbing.speaking import FittedSegment
from octavia_stream.languages import Language
from octavia_stream.media.demuxer import DecodeReport


class ManuscriptLine(msgspec.Struct, frozen=True):
    """A segment in one language of the dub."""

    text: str
    voice: str
    """Its id."""
    speed: float
    """The speaking rate asked of the voice."""
    placement: Placement
    forecast: Forecast
    kept_original: bool = False
    """Nobody could speak it, so the original sounds there."""
    by_hand: bool = False
    """Somebody wrote the text; no model did."""


class ManuscriptSegment(msgspec.Struct, frozen=True):
    """A sentence as it was heard, and as it is spoken. Positions in samples at 16 kHz."""

    id: int
    """Stays the same in all versions; unique among the segments that are heard together."""
    text: str
    start: int
    end: int
    spoken: dict[Language, ManuscriptLine]
    language: Language | None = None
    """Of the words, where it is not that of the others."""


class Hearing(msgspec.Struct, frozen=True):
    """What speech recognition wrote down in one language, and the dubs that are made of it."""

    task: AsrTask
    language: Language
    """Of the words, where a segment has none of its own."""
    targets: tuple[Language, ...]
    segments: list[ManuscriptSegment]
    """In order of time."""
    next_id: int
    """No segment ever had this id, nor a greater one."""


class Manuscript(msgspec.Struct, frozen=True):
    """A finished dub, without its sound."""

    source_language: Language
    length: int
    """Of the sound, in samples at 16 kHz."""
    decoded: DecodeReport
    power: bytes
    """Of the original, as `LoudnessContour.power` has it: 64-bit little-endian."""
    hearings: list[Hearing]

    def hearing_of(self, target: Language) -> Hearing | None:
        """What a dub is made of; None: there is no dub in this language."""
        return next((hearing for hearing in self.hearings if target in hearing.targets), None)

    @property
    def targets(self) -> list[Language]:
        """All languages of the dub."""
        return [target for hearing in self.hearings for target in hearing.targets]


class _Timed(Protocol):
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...


def slots(segments: Sequence[_Timed], length: int) -> list[Slot]:
    """Where the dub of each may sound: to where the next one starts. length: of the sound, in samples at 16 kHz."""
    if not segments:
        return []
    ends = [*(following.start for following in segments[1:]), max(length, segments[-1].end)]
    return [Slot(one.start, max(end, one.start)) for one, end in zip(segments, ends, strict=True)]


@dataclass(frozen=True, slots=True)
class HeardFor:
    """What speech recognition wrote down in one language, and what is made of it."""

    task: AsrTask
    language: Language
    targets: tuple[Language, ...]
    next_id: int
    """Greater than the number of any of its sentences, now and in earlier versions."""
    by_hand: Collection[tuple[Language, int]] = ()
    """Dubs and sentences in them whose text somebody wrote."""

    def written(self, fitted: Mapping[Language, Sequence[FittedSegment]]) -> Hearing:
        """As it is kept. fitted: what is spoken in each language."""
        return Hearing(
            self.task,
            self.language,
            self.targets,
            [self._segment(together) for together in zip(*(fitted[target] for target in self.targets), strict=True)],
            self.next_id,
        )

    def _segment(self, together: Sequence[FittedSegment]) -> ManuscriptSegment:
        sentence = together[0].segment.sentence
        spoken = {
            target: ManuscriptLine(
                item.segment.text,
                item.segment.voice.id,
                item.segment.speed,
                item.segment.placement,
                item.segment.forecast,
                item.segment.kept_original,
                (target, sentence.index) in self.by_hand,
            )
            for target, item in zip(self.targets, together, strict=True)
        }
        own = sentence.language if sentence.language != self.language else None
        return ManuscriptSegment(sentence.index, sentence.text, sentence.start, sentence.end, spoken, own)
