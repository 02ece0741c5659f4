"""A cue as the readers of the formats find it."""

from dataclasses import dataclass, field

from octavia_stream.captions.passages import Dialect, Passage, read_passages
from octavia_stream.errors import MediaTooLarge

MAX_BYTES = 10 * 1024**2
MAX_CUES = 100_000
MAX_CUE_CHARACTERS = 4_000
"""Nobody reads more at once; longer ones are left as they are."""


@dataclass(frozen=True, slots=True)
class SubtitleCue:
    """One cue with a valid time."""

    start_ms: int
    end_ms: int
    span: tuple[int, int]
    """Where its text stands in the document, in characters."""
    passages: tuple[Passage, ...]
    """None where there are no words."""
    group: str = ""
    """What the format files it under, a style for instance; sentences do not go on from one group to another."""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a format's reader found."""

    cues: list[SubtitleCue]
    dialect: Dialect
    language: tuple[int, int] | None = None
    """Where the document says its language."""
    warnings: list[str] = field(default_factory=list)


class CueCollector:
    """Gathers the cues that a reader finds, and counts those it cannot use."""

    def __init__(self, document: str, dialect: Dialect) -> None:
        self._document = document
        self._dialect = dialect
        self.cues: list[SubtitleCue] = []
        self._untimed = 0
        self._too_long = 0
        self._stray = 0

    def add(
        self, time_ms: tuple[int, int] | None, span: tuple[int, int], group: str = "", *, words: bool = True
    ) -> None:
        """A cue with its time; None for a time that cannot be read. words: False for what is not to be read.

        Raises MediaTooLarge when there are too many.
        """
        if time_ms is None or time_ms[1] <= time_ms[0]:
            self._untimed += 1
            return
        if span[1] - span[0] > MAX_CUE_CHARACTERS:
            self._too_long += 1
            return
        if len(self.cues) == MAX_CUES:
            raise MediaTooLarge(f"The file has more than {MAX_CUES:,} subtitles, the most this server takes.")
        passages = read_passages(self._document[slice(*span)], self._dialect) if words else ()
        self.cues.append(SubtitleCue(*time_ms, span, passages, group))

    def stray(self) -> None:
        """Lines that belong to no cue."""
        self._stray += 1

    def parsed(self, language: tuple[int, int] | None = None) -> Parsed:
        """What was found."""
        counted = (
            (self._untimed, "without a valid time"),
            (self._too_long, f"longer than {MAX_CUE_CHARACTERS:,} characters"),
            (self._stray, "without any time"),
        )
        warnings = [_left(count, what) for count, what in counted if count]
        return Parsed(self.cues, self._dialect, language, warnings)


def _left(count: int, what: str) -> str:
    return (
        f"One subtitle {what} is left as it is." if count == 1 else f"{count:,} subtitles {what} are left as they are."
    )
