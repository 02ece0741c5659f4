"""Whether a dub is as good as the settings want it."""

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from octavia_stream.config import QualitySettings
from octavia_stream.dubbing.audition import HeardReel, Impression
from octavia_stream.dubbing.batch import Dub, DubTarget
from octavia_stream.dubbing.isochrony import report
from octavia_stream.dubbing.segment import HeardLine, SegmentFit
from octavia_stream.jobs.judging import quality_of, summary
from octavia_stream.jobs.quality import QualityReport
from octavia_stream.languages import Language
from octavia_stream.media.muxer import MuxResult
from octavia_stream.tts.voice import Voice

PT = Language("pt")
VOICE = Voice("scripted/voice", PT, "neutral", "scripted")
MUXED = MuxResult(1, 1, "aac", 48_000, 0, 0, True, ())
FIT = SegmentFit(
    index=0,
    start_s=0.0,
    end_s=3.0,
    slot_end_s=4.0,
    predicted_s=3.0,
    natural_s=3.0,
    hypothesis=1,
    hypotheses=1,
    speed=1.0,
    tempo=1.0,
    borrowed_s=0.5,
    delay_s=0.0,
    trimmed_s=0.0,
    overrun_s=0.0,
    inside=True,
    spoken=True,
)
LINE = HeardLine(0, "uma raposa e um cão", "uma raposa e um pão", 5, 1)
HEARD = Impression(-20.0, -23.0, -1.0, (HeardReel((LINE,), PT, 20.0),), None)
USUAL = QualitySettings()


def judged(
    fits: tuple[SegmentFit, ...] = (FIT,), impression: Impression = HEARD, limits: QualitySettings = USUAL
) -> QualityReport:
    target = DubTarget(VOICE, Path("dub.mp4"), {})
    dub = Dub(target, [], [], report(fits), list(fits), MUXED, impression)
    return quality_of([dub], -24.0, limits)


def test_a_good_dub_passes_and_says_why() -> None:
    good = judged()
    assert (good.passed, good.failed) == (True, [])
    [dub] = good.dubs
    assert dub.hearing is not None
    assert (dub.hearing.language, dub.hearing.words, dub.hearing.word_error_rate) == ("pt", 5, 0.2)
    assert (dub.loudness.difference_lu, dub.coverage.share, dub.timing.overlaps) == (1.0, 1.0, 0)
    assert dub.segments == [FIT]
    figures = summary(good)["dubs"]
    assert isinstance(figures, dict)
    assert figures["pt"]["heard_language"] == "pt"


LATE = replace(FIT, index=1, start_s=2.0, end_s=6.0, delay_s=2.0, overrun_s=2.0, inside=False)
STRETCHED = replace(FIT, tempo=1.2)


@pytest.mark.parametrize(
    ("check", "changed"),
    [
        ("coverage", judged((FIT, replace(FIT, spoken=False)))),
        ("overlaps", judged((FIT, LATE))),
        ("inside", judged((FIT, LATE))),
        ("overrun", judged((FIT, LATE))),
        ("stretched", judged((STRETCHED,))),
        ("loudness", judged(impression=replace(HEARD, mono_lufs=-31.0))),
        ("loudness", judged(impression=replace(HEARD, mono_lufs=-17.0))),
        ("language", judged(impression=replace(HEARD, reels=(HeardReel((LINE,), Language("gl"), 20.0),)))),
        ("words", judged(impression=replace(HEARD, reels=(HeardReel((replace(LINE, errors=4),), PT, 20.0),)))),
    ],
)
def test_what_is_not_good_enough_is_named_with_its_limit(check: str, changed: QualityReport) -> None:
    assert not changed.passed
    assert not changed.dubs[0].passed
    finding = next(one for one in changed.failed if one.check == check)
    assert finding.language == "pt"
    assert finding.value != finding.limit
    assert finding.message.endswith(".")


def test_the_settings_decide() -> None:
    limits = QualitySettings(min_inside_share=0, max_overrun_s=10)
    assert [one.check for one in judged((FIT, LATE), limits=limits).failed] == ["overlaps"]


def test_a_dub_that_was_not_heard_again_says_why_and_is_judged_by_the_rest() -> None:
    unheard = judged(impression=replace(HEARD, reels=(), unheard="It is too short."))
    assert unheard.passed
    assert (unheard.dubs[0].hearing, unheard.dubs[0].unheard) == (None, "It is too short.")


def test_it_comes_back_from_the_database_as_it_went_in() -> None:
    kept = judged((FIT, LATE))
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(kept)), QualityReport) == kept
