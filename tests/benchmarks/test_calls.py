"""Recorded calls: kept, read back, made again."""

from pathlib import Path

import numpy as np

from benchmarks.calls import CallJournal, Cost, EngineSet, SynthesizeCall, TranscribeCall, TranslateCall, cpu_s
from benchmarks.recording import RecordingSynthesizer, RecordingTranscriber, RecordingTranslator
from octavia_stream.asr.transcriber import TranscribeRequest
from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.languages import Language
from octavia_stream.testing import Journal, ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator, tone
from octavia_stream.tts.voice import Voice

ENGLISH, PORTUGUESE = Language("en"), Language("pt")
VOICE = Voice("test/one", PORTUGUESE, "neutral", "test")


def test_recorded_calls_hold_what_was_asked_and_can_be_made_again(tmp_path: Path) -> None:
    journal = CallJournal(tmp_path / "calls")
    heard = tone(2.0, ASR_RATE_HZ, offset=16_000)
    RecordingTranscriber(ScriptedTranscriber(), journal).transcribe_batch([TranscribeRequest(heard, None)])
    RecordingTranslator(ScriptedTranslator(), journal).translate(["One.", "Two."], ENGLISH, PORTUGUESE, 4)
    speech = RecordingSynthesizer(ScriptedSynthesizer(), journal).synthesize("Um, dois.", VOICE, 1.1)

    transcribe, translate, synthesize = journal.read()
    assert isinstance(transcribe, TranscribeCall)
    [request] = [chunk.request() for chunk in transcribe.chunks]
    assert request.audio.offset == heard.offset
    assert np.array_equal(request.audio.samples, heard.samples)
    assert isinstance(translate, TranslateCall)
    assert (translate.sentences, translate.hypotheses) == (["One.", "Two."], 4)
    assert isinstance(synthesize, SynthesizeCall)
    assert (synthesize.text, synthesize.voice, synthesize.speed) == ("Um, dois.", VOICE, 1.1)
    assert len(synthesize.speech) == 2 * speech.length

    again = Journal(tmp_path / "again.jsonl")
    engines = EngineSet(
        ScriptedTranscriber(journal=again.path),
        ScriptedTranslator(journal=again.path),
        ScriptedSynthesizer(journal=again.path),
    )
    for call in (transcribe, translate, synthesize):
        engines.repeat(call)
    assert [call.items for call in again.read()] == [["16000-48000"], ["One.", "Two."], ["Um, dois."]]


def test_a_cleared_journal_is_empty(tmp_path: Path) -> None:
    journal = CallJournal(tmp_path)
    RecordingTranslator(ScriptedTranslator(), journal).translate(["One."], ENGLISH, PORTUGUESE)
    journal.clear()
    assert journal.read() == []


def test_a_repeated_call_tells_what_it_took(tmp_path: Path) -> None:
    journal = CallJournal(tmp_path)
    RecordingTranslator(ScriptedTranslator(pause_s=0.05), journal).translate(["One."], ENGLISH, PORTUGUESE)
    [call] = journal.read()
    assert call.cost.wall_s >= 0.05
    assert cpu_s([call.cost]) < call.cost.wall_s


def test_what_calls_of_one_process_took_together_is_counted_once() -> None:
    costs = [Cost(1, 2.0, (5.0, 9.0)), Cost(1, 2.0, (3.0, 6.0)), Cost(1, 1.0, (4.0, 5.0)), Cost(2, 1.0, (5.0, 6.0))]

    assert cpu_s(costs) == 7.0
