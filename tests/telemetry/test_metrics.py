"""Names, units and the page that lists them; what is counted where."""

import re
from pathlib import Path

import pytest

from octavia_stream.asr.transcript import Transcript
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.cli.metrics import metrics_page
from octavia_stream.dubbing.engines import Engines, local
from octavia_stream.errors import UnsupportedLanguage
from octavia_stream.jobs.measured_engines import measured
from octavia_stream.languages import Language
from octavia_stream.telemetry import metrics
from octavia_stream.testing import NO_LANGUAGE, ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator, silence
from octavia_stream.tts.voice import Voice

ROOT = Path(__file__).parents[2]
EN, PT = Language("en"), Language("pt")
UNITS = ("_seconds", "_bytes", "_ratio", "_seconds_total", "_bytes_total", "_info", "_up", "_total")
COUNTS_OF_THINGS = ("_jobs", "_leases", "_calls", "_clients", "_processes", "_held", "_deliveries", "_sessions")


@pytest.fixture
def engines() -> Engines:
    return measured(local(ScriptedTranscriber(), ScriptedTranslator(), ScriptedSynthesizer()))


def counted(name: str, **labels: str) -> float:
    return metrics.COUNTED.get_sample_value(name, labels) or 0.0


def test_the_reference_is_that_of_the_code() -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
    assert page == metrics_page(), "run: octavia metrics --markdown > docs/reference/metrics.md"


def test_every_name_says_its_unit_and_every_label_takes_few_values() -> None:
    for metric in metrics.catalogue():
        assert re.fullmatch(r"octavia_[a-z_]+", metric.name)
        assert metric.name.endswith((*UNITS, *COUNTS_OF_THINGS)), metric.name
        assert not {label for label in metric.labels if label == "id" or label.endswith("_id")}
        assert metric.meaning.endswith(".")


async def test_a_stage_is_timed_and_its_media_counted(engines: Engines) -> None:
    before = {
        stage: (
            counted("octavia_stage_seconds_count", stage=stage),
            counted("octavia_stage_media_seconds_total", stage=stage),
        )
        for stage in ("transcribe", "translate", "synthesize")
    }
    sentences = counted("octavia_sentences_translated_total")
    heard: Transcript = await engines.transcriber.transcribe(silence(2.0), EN)
    await engines.translator.translate(["One.", "Two."], EN, PT)
    said: AudioChunk = await engines.synthesizer.synthesize("Olá", Voice("a", PT, "female", "scripted"))
    assert heard.words[-1].end <= 2 * ASR_RATE_HZ
    for stage, media_s in (("transcribe", 2.0), ("translate", 0.0), ("synthesize", said.duration_s)):
        assert counted("octavia_stage_seconds_count", stage=stage) == before[stage][0] + 1
        now = counted("octavia_stage_media_seconds_total", stage=stage)
        assert now - before[stage][1] == pytest.approx(media_s)
        assert counted("octavia_stage_calls", stage=stage) == 0
    assert counted("octavia_sentences_translated_total") == sentences + 2


async def test_a_failed_call_is_counted_by_its_code_and_goes_on(engines: Engines) -> None:
    name, labels = "octavia_chunk_failures_total", {"stage": "translate", "code": "unsupported_language"}
    before, timed = counted(name, **labels), counted("octavia_stage_seconds_count", stage="translate")
    with pytest.raises(UnsupportedLanguage):
        await engines.translator.translate(["One."], EN, NO_LANGUAGE)
    assert counted(name, **labels) == before + 1
    assert counted("octavia_stage_seconds_count", stage="translate") == timed


def test_series_begin_at_zero_and_sums_of_processes_add_up() -> None:
    metrics.LEASES_LOST.inc()
    changes = metrics.take_changes()
    key = '["octavia_leases_lost_total",{}]'
    assert changes[key] >= 1
    assert metrics.take_changes() == {}
    metrics.give_back(changes)
    assert metrics.take_changes() == changes
    metrics.STAGE.labels("transcribe").observe(1.5)
    gauge = {'["octavia_event_clients",{"transport":"sse"}]': 2.0}
    unknown = {'["octavia_of_another_version_total",{}]': 1.0}
    text = metrics.exposition({**metrics.take_changes(), key: 5.0, **unknown}, [gauge, gauge]).decode()
    assert 'octavia_event_clients{transport="sse"} 4.0\n' in text
    assert "octavia_leases_lost_total 5.0\n" in text
    assert "another_version" not in text
    buckets = re.findall(r'octavia_stage_seconds_bucket\{le="([^"]+)",stage="transcribe"\}', text)
    assert [float(bucket) for bucket in buckets] == sorted(float(bucket) for bucket in buckets)
    assert buckets[-1] == "+Inf"
