"""Real speech through real models: what is heard is what was translated."""

import asyncio
import re
from pathlib import Path

import jiwer
import pytest

from benchmarks.live_corridor import converse, engines
from benchmarks.live_measures import measure
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.audio.resampling import resample
from octavia_stream.config import Settings
from octavia_stream.live.events import Caption, PhraseSpoken
from octavia_stream.live.frame import OUTPUT_RATE_HZ
from octavia_stream.live.options import LiveOptions, LiveTarget
from octavia_stream.models.registry import Registry
from octavia_stream.virtual_time import VirtualTimeLoop
from tests.asr.conftest import Recording, recording
from tests.live.conftest import EN, PT

pytestmark = [pytest.mark.model, pytest.mark.timeout(240)]

__all__ = ["recording"]


def words(text: str) -> str:
    return " ".join(re.sub(r"[^\w\s]", " ", text.lower()).split())


def test_what_comes_out_is_what_was_translated(recording: Recording, tmp_path: Path) -> None:
    settings = Settings.model_validate({"home": tmp_path, "models": {"prepared": ()}})
    options = LiveOptions(targets=(LiveTarget(PT),), source=EN)
    speech = recording("speech/en/jfk.flac").samples[: 8 * ASR_RATE_HZ]
    runner = asyncio.Runner(loop_factory=VirtualTimeLoop)
    with engines(settings, scripted=False) as ports, runner:
        records, heard = runner.run(converse(speech, options, ports, Registry(settings.models, tmp_path)))
        sound = resample(AudioChunk((heard / 32768).astype("float32"), OUTPUT_RATE_HZ), ASR_RATE_HZ)
        again = runner.run(ports.transcriber.transcribe(sound, PT))

    events = [record.event for record in records]
    source = " ".join(one.text for one in events if isinstance(one, Caption) and one.source and one.final)
    spoken = " ".join(one.text for one in events if isinstance(one, PhraseSpoken))
    assert jiwer.wer("and so my fellow americans ask not what your country can do for you", words(source)) <= 0.2
    assert jiwer.wer(words(spoken), words(again.text)) <= 0.35
    measured = measure(records, PT)
    assert (measured.dropped, measured.retracted) == (0, 0)
