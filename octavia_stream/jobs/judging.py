"""Judge a dub by what was measured while it was made."""

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import pairwise

import msgspec

from octavia_stream.config import QualitySettings
from octavia_stream.dubbing.audition import Impression
from octavia_stream.dubbing.batch import Dub
from octavia_stream.dubbing.segment import SegmentFit
from octavia_stream.events.event import QualityCheck, QualityFinding
from octavia_stream.jobs.quality import Coverage, DubQuality, Hearing, Loudness, QualityReport, Timing
from octavia_stream.languages import Language, language_name


def quality_of(dubs: Sequence[Dub], original_lufs: float, limits: QualitySettings) -> QualityReport:
    """Judge what was measured. original_lufs: of what was dubbed, as one channel."""
    judged = [_dub(dub, original_lufs, limits) for dub in dubs]
    return QualityReport(all(dub.passed for dub in judged), judged)


def summary(report: QualityReport) -> dict[str, object]:
    """The figures without the sentences, as they stand in the job's own report."""
    return {"passed": report.passed, "dubs": {dub.language: _figures(dub) for dub in report.dubs}}


def _figures(dub: DubQuality) -> dict[str, object]:
    hearing = dub.hearing
    return {
        "passed": dub.passed,
        "failed": [finding.check for finding in dub.failed],
        "coverage": dub.coverage.share,
        "inside_share": dub.timing.inside_share,
        "stretched_share": dub.timing.stretched_share,
        "overlaps": dub.timing.overlaps,
        "worst_overrun_s": dub.timing.worst_overrun_s,
        "dub_lufs": dub.loudness.dub_lufs,
        "loudness_difference_lu": dub.loudness.difference_lu,
        "heard_s": hearing.length_s if hearing else 0.0,
        "heard_language": hearing.language if hearing else None,
        "word_error_rate": hearing.word_error_rate if hearing else None,
    }


def _dub(dub: Dub, original_lufs: float, limits: QualitySettings) -> DubQuality:
    language, fits = dub.target.language, dub.fits
    coverage, timing = _coverage(fits), _timing(dub)
    loudness = _loudness(dub.impression, original_lufs)
    hearing = _hearing(dub.impression)
    checked = DubQuality(language, True, [], coverage, timing, loudness, hearing, dub.impression.unheard, dub.fits)
    failed = list(_failed(checked, limits))
    return msgspec.structs.replace(checked, passed=not failed, failed=failed)


def _coverage(fits: Sequence[SegmentFit]) -> Coverage:
    spoken = sum(fit.spoken for fit in fits)
    return Coverage(len(fits), spoken, round(spoken / len(fits), 4) if fits else 1.0)


def _timing(dub: Dub) -> Timing:
    fit, fits = dub.fit, dub.fits
    sounding = [one for one in fits if one.spoken]
    return Timing(
        inside_share=round(fit.inside_share, 4),
        stretched_share=round(fit.stretched_share, 4),
        hurried_share=round(fit.hurried / fit.segments, 4) if fit.segments else 0.0,
        alternatives=fit.alternatives,
        overlaps=sum(after.start_s < before.end_s for before, after in pairwise(sounding)),
        worst_overrun_s=fit.worst_overrun_s,
        worst_delay_s=fit.worst_delay_s,
        worst_tempo=fit.worst_tempo,
    )


def _loudness(heard: Impression, original_lufs: float) -> Loudness:
    return Loudness(
        dub_lufs=round(heard.loudness_lufs, 1),
        original_lufs=round(original_lufs, 1),
        difference_lu=round(heard.mono_lufs - original_lufs, 1),
        peak_dbfs=round(heard.peak_dbfs, 1),
    )


def _hearing(heard: Impression) -> Hearing | None:
    if not heard.reels:
        return None
    lines = [line for reel in heard.reels for line in reel.lines]
    seconds: Counter[Language] = Counter()
    for reel in heard.reels:
        seconds[reel.language] += round(reel.length_s * 1000)
    words = sum(line.words for line in lines)
    return Hearing(
        length_s=round(sum(reel.length_s for reel in heard.reels), 1),
        language=seconds.most_common(1)[0][0],
        words=words,
        word_error_rate=round(sum(line.errors for line in lines) / max(words, 1), 4),
        lines=lines,
    )


def _failed(dub: DubQuality, limits: QualitySettings) -> Iterator[QualityFinding]:
    def finding(check: QualityCheck, value: float | str, limit: float | str, message: str) -> QualityFinding:
        return QualityFinding(dub.language, check, value, limit, message)

    coverage, timing, loudness, hearing = dub.coverage, dub.timing, dub.loudness, dub.hearing
    if coverage.share < limits.min_coverage:
        missing = coverage.lines - coverage.spoken
        message = f"{missing} of {coverage.lines} sentences are not said in the dub."
        yield finding("coverage", coverage.share, limits.min_coverage, message)
    if timing.overlaps > 0:
        yield finding("overlaps", timing.overlaps, 0, f"{timing.overlaps} sentences overlap the one before.")
    if timing.inside_share < limits.min_inside_share:
        message = f"Only {timing.inside_share:.0%} of the sentences fit the times of the original."
        yield finding("inside", timing.inside_share, limits.min_inside_share, message)
    if timing.stretched_share > limits.max_stretched_share:
        message = f"{timing.stretched_share:.0%} of the sentences had to be stretched."
        yield finding("stretched", timing.stretched_share, limits.max_stretched_share, message)
    if timing.worst_overrun_s > limits.max_overrun_s:
        message = f"A sentence reaches {timing.worst_overrun_s:.1f} s into the time of the next."
        yield finding("overrun", timing.worst_overrun_s, limits.max_overrun_s, message)
    if abs(loudness.difference_lu) > limits.max_loudness_difference_lu:
        way = "louder" if loudness.difference_lu > 0 else "quieter"
        message = f"The dub is {abs(loudness.difference_lu):.1f} LU {way} than the original."
        yield finding("loudness", loudness.difference_lu, limits.max_loudness_difference_lu, message)
    if hearing is not None and hearing.language != dub.language:
        heard, wanted = (language_name(Language(tag)) for tag in (hearing.language, dub.language))
        yield finding("language", hearing.language, dub.language, f"The dub sounds like {heard}, not {wanted}.")
    if hearing is not None and hearing.word_error_rate > limits.max_word_error_rate:
        message = f"{hearing.word_error_rate:.0%} of the words heard again were understood otherwise."
        yield finding("words", hearing.word_error_rate, limits.max_word_error_rate, message)
