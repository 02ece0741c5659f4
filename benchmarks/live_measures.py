"""What the events of a live session say of it: lag and its slope, drops, retractions, how restless captions were."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from octavia_stream.languages import Language
from octavia_stream.live.events import Caption, LiveRecord, PhrasesDropped, PhraseSpoken


@dataclass(frozen=True, slots=True)
class LiveMeasures:
    """One session in one language."""

    phrases: int
    span_p50_s: float
    span_p95_s: float
    span_max_s: float
    first_dub_s: float
    """Start of the first phrase in what goes out."""
    slope: float
    """How much the ear-voice span grows each second, by least squares."""
    slope_error: float
    """Standard error of the slope."""
    dropped: int
    retracted: int
    """Characters that were called stable, or final, and changed all the same."""
    caption_p50_s: float
    """From the end of a segment in the source until its final caption."""
    caption_p95_s: float
    erasure: float
    """Normalised erasure (Arivazhagan et al. 2020) of the source's captions: words taken back per word that stayed."""
    mean_speed: float

    def lines(self) -> list[str]:
        """For people."""
        return [f"{name}: {getattr(self, name)}" for name in self.__slots__]


def measure(records: Sequence[LiveRecord], target: Language) -> LiveMeasures:
    """Positions in the source must have come in real time, the first of them when the session began."""
    spoken = [one.event for one in records if isinstance(one.event, PhraseSpoken) and one.event.language == target]
    spans = np.array([phrase.ear_voice_span_s for phrase in spoken] or [0.0])
    slope, error = _slope(np.array([phrase.start_s for phrase in spoken]), spans) if len(spoken) > 2 else (0.0, 0.0)
    drops = [one.event.count for one in records if isinstance(one.event, PhrasesDropped)]
    source = [(one.at_s, one.event) for one in records if isinstance(one.event, Caption) and one.event.source]
    late = np.array([at_s - caption.end_s for at_s, caption in source if caption.final] or [0.0])
    return LiveMeasures(
        phrases=len(spoken),
        span_p50_s=_rounded(np.percentile(spans, 50)),
        span_p95_s=_rounded(np.percentile(spans, 95)),
        span_max_s=_rounded(spans.max()),
        first_dub_s=spoken[0].start_s if spoken else 0.0,
        slope=slope,
        slope_error=error,
        dropped=sum(drops),
        retracted=_retracted(records),
        caption_p50_s=_rounded(np.percentile(late, 50)),
        caption_p95_s=_rounded(np.percentile(late, 95)),
        erasure=_erasure(source),
        mean_speed=_rounded(np.mean([phrase.speed for phrase in spoken] or [1.0])),
    )


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 3)


def _slope(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    centred = x - x.mean()
    spread = float(centred @ centred) or 1.0
    slope = float(centred @ (y - y.mean())) / spread
    rest = y - y.mean() - slope * centred
    return round(slope, 5), round(float(np.sqrt(rest @ rest / max(len(x) - 2, 1) / spread)), 5)


def _retracted(records: Sequence[LiveRecord]) -> int:
    """Over all languages and segments."""
    promised: dict[tuple[str, int], str] = {}
    lost = 0
    for record in records:
        caption = record.event
        if not isinstance(caption, Caption):
            continue
        key = (caption.language, caption.segment)
        before = promised.get(key, "")
        lost += len(before) - _common(before, caption.text)
        promised[key] = caption.text[: caption.stable]
    return lost


def _erasure(captions: Sequence[tuple[float, Caption]]) -> float:
    """Of what is on the screen at the end of each moment, all segments one after the other."""
    final: dict[str, list[str]] = defaultdict(list)
    open_: dict[str, list[str]] = defaultdict(list)
    shown: dict[str, list[str]] = defaultdict(list)
    erased = 0
    for place, (at_s, caption) in enumerate(captions):
        words, speaker = caption.text.split(), caption.speaker
        if caption.final:
            final[speaker] += words
        open_[speaker] = [] if caption.final else words
        if place + 1 < len(captions) and captions[place + 1][0] == at_s:
            continue
        now = final[speaker] + open_[speaker]
        erased += len(shown[speaker]) - _common(shown[speaker], now)
        shown[speaker] = now
    return round(erased / max(sum(map(len, final.values())), 1), 3)


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    count = 0
    for left, right in zip(one, other, strict=False):
        if left != right:
            break
        count += 1
    return count
