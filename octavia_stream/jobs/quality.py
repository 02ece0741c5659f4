"""How good what a job made is, as it is kept and sent."""

import msgspec

from octavia_stream.dubbing.segment import HeardLine, SegmentFit
from octavia_stream.events.event import QualityFinding


class Coverage(msgspec.Struct, frozen=True):
    """Whether all that was heard is said again."""

    lines: int
    """Sentences of the original."""
    spoken: int
    """Of them are said in the dub; of the others the original is kept, or nothing was to be said."""
    share: float


class Timing(msgspec.Struct, frozen=True):
    """How the dub fits the original's times."""

    inside_share: float
    """Sentences that start with their slot, end in it, and are whole."""
    stretched_share: float
    """Sentences whose sound was stretched."""
    hurried_share: float
    """Sentences for which the voice was asked to speak faster."""
    alternatives: int
    """Sentences for which another translation than the best was taken, for it is shorter."""
    overlaps: int
    """Sentences that begin before the one before has ended."""
    worst_overrun_s: float
    worst_delay_s: float
    worst_tempo: float


class Loudness(msgspec.Struct, frozen=True):
    """Integrated loudness by ITU-R BS.1770."""

    dub_lufs: float
    """Of the finished mix."""
    original_lufs: float
    """Of the original, as one channel."""
    difference_lu: float
    """The dub's less the original's, both as one channel."""
    peak_dbfs: float
    """The mix's largest sample."""


class Hearing(msgspec.Struct, frozen=True):
    """What was understood of the parts of the dub that were transcribed back."""

    length_s: float
    language: str
    """In which most of it seemed to be."""
    words: int
    word_error_rate: float
    """Words understood otherwise, not at all, or besides, for each word that was to be said."""
    lines: list[HeardLine]


class DubQuality(msgspec.Struct, frozen=True):
    """How good the dub into one language is."""

    language: str
    passed: bool
    failed: list[QualityFinding]
    """What is not as good as this server's settings want it."""
    coverage: Coverage
    timing: Timing
    loudness: Loudness
    hearing: Hearing | None
    """None: nothing was heard again."""
    unheard: str | None
    """Why; None when something was."""
    segments: list[SegmentFit]
    """What was done to each sentence so that it fits, in order of time."""


class QualityReport(msgspec.Struct, frozen=True):
    """How good what a job made is."""

    passed: bool
    dubs: list[DubQuality]
    """One for each language, in the order asked."""
    schema: int = 1
    """Rises when fields change their meaning or go; new ones may come at any time."""

    @property
    def failed(self) -> list[QualityFinding]:
        """Of all languages."""
        return [finding for dub in self.dubs for finding in dub.failed]
