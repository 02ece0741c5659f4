"""What of a finished dub sounds differently after an edit."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.dubbing.assembly import Revision
from octavia_stream.dubbing.levelling import usual_loudness
from octavia_stream.dubbing.loudness import LoudnessContour
from octavia_stream.dubbing.manuscript import HeardFor, Hearing, Manuscript, ManuscriptSegment
from octavia_stream.dubbing.mixing import BRIDGE_S, FADE_UP_S
from octavia_stream.dubbing.speaking import FittedSegment
from octavia_stream.languages import Language

_REACH = round((BRIDGE_S + FADE_UP_S) * ASR_RATE_HZ)
"""So far from a line the original may be louder or quieter because of it."""
_MOST = 1 / 3
"""Of the sound: when more is to be made again, all is."""


def revisions(
    before: Manuscript,
    heard: Sequence[HeardFor],
    fitted: Mapping[Language, Sequence[FittedSegment]],
    earlier: Mapping[Language, Path],
    contour: LoudnessContour,
) -> dict[Language, Revision]:
    """For each dub that was put together before: what is left to do, where that is little.

    heard, fitted: as all is to be now. earlier: the files that `before` is about.
    """
    found: dict[Language, Revision] = {}
    for one in heard:
        now = one.written(fitted)
        for target in one.targets:
            was = before.hearing_of(target)
            if was is None or target not in earlier or _levels(was, contour) != _levels(now, contour):
                continue
            start, end = _changed(was, now, target, before.length)
            if end - start <= _MOST * before.length:
                found[target] = Revision(earlier[target], start, end)
    return found


def _levels(hearing: Hearing, contour: LoudnessContour) -> float:
    """Every line may be as loud as it is because of this."""
    return usual_loudness(contour, hearing.segments)


def _changed(was: Hearing, now: Hearing, target: Language, length: int) -> tuple[int, int]:
    """All that sounds differently lies between; (0, 0): nothing does."""
    before, after = ({one.id: one for one in hearing.segments} for hearing in (was, now))
    touched = [
        one
        for number in before.keys() | after.keys()
        if _said(before.get(number), target) != _said(after.get(number), target)
        for one in (before.get(number), after.get(number))
        if one is not None
    ]
    if not touched:
        return 0, 0
    start = min(min(one.start, one.spoken[target].placement.start) for one in touched)
    end = max(max(one.end, one.spoken[target].placement.end) for one in touched)
    return max(start - _REACH, 0), min(end + _REACH, length)


def _said(one: ManuscriptSegment | None, target: Language) -> object:
    """All that the sound of a segment follows from."""
    return None if one is None else (one.start, one.end, one.spoken[target])
