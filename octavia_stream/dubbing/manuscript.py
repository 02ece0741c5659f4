"""All that was said in a finished dub, and how: what an edit starts from, so that nothing else is made again."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from octavia_stream.asr.transcriber import AsrTask
from octavia_stream.dubbing.segment import Forecast, Placement, Slot
from octavia_stream.languages import Language
from octavia_stream.media.demuxer import DecodeReport


class SpokenText(msgspec.Struct, frozen=True):
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
    spoken: dict[Language, SpokenText]


class Hearing(msgspec.Struct, frozen=True):
    """What speech recognition wrote down in one language, and the dubs that are made of it."""

    task: AsrTask
    language: Language
    """Of the words."""
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
