"""Quality: what is heard, translated, said and placed, against what should be."""

import statistics
from collections.abc import Sequence

import numpy as np

from benchmarks.calls import Call, EngineSet, SynthesizeCall
from benchmarks.figure import Figure, Section, at_least, at_most
from benchmarks.scoring import character_f_score, word_error_rate
from benchmarks.served import ServedDub
from benchmarks.sound import Track, read_track
from benchmarks.talk import Talk, parallel_sentences
from octavia_stream.asr.transcriber import TranscribeRequest
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk, Samples
from octavia_stream.audio.levels import integrated_loudness
from octavia_stream.audio.resampling import resample
from octavia_stream.audio.stretching import stretch
from octavia_stream.dubbing.speech_spool import from_int16
from octavia_stream.events.event import SegmentDubbed
from octavia_stream.languages import Language
from octavia_stream.vad.chunking import ChunkPlanner
from octavia_stream.vad.detector import SpeechDetector

ENGLISH, PORTUGUESE = Language("en"), Language("pt")
QUICK_SENTENCES = 40
SEARCH_S = 0.25
"""How far from its plan speech is looked for."""
MATCHED_S = 2.0
"""So much of a sentence's beginning is looked for."""
LEAST_MATCH = 0.5
"""Below this correlation it was not found: the original below it, or a codec, differs too much."""


async def measure_quality(
    talk: Talk, served: ServedDub, calls: Sequence[Call], engines: EngineSet, detector: SpeechDetector, *, quick: bool
) -> Section:
    """served, calls: the server's run on the talk and the calls of its engines in it."""
    dub = await read_track(served.dub)
    return Section(
        "Quality",
        [
            *_word_figures(talk, served, await read_track(served.dub, ASR_RATE_HZ), engines, detector),
            _translation_figure(engines, QUICK_SENTENCES if quick else None),
            Figure("segments inside their slot", 100 * served.inside_share, "%", at_least(95)),
            *_start_figures(served.segments, calls, dub),
            Figure("dub louder than the original by", _louder_by(talk, dub), "LU"),
            Figure("dub longer than the original by", dub.length - talk.track.length, "samples", at_most(0)),
        ],
    )


def _word_figures(
    talk: Talk, served: ServedDub, dub: Track, engines: EngineSet, detector: SpeechDetector
) -> list[Figure]:
    heard = " ".join(segment.source for segment in served.segments)
    translation = " ".join(segment.text for segment in served.segments)
    understood = transcribe(dub.sound, engines, detector)
    return [
        Figure("ASR: word error rate", 100 * word_error_rate(talk.words, heard, ENGLISH), "%"),
        Figure(
            "dub transcribed back: word error rate against its translation",
            100 * word_error_rate(translation, understood, PORTUGUESE),
            "%",
            at_most(15),
        ),
    ]


def transcribe(sound: AudioChunk, engines: EngineSet, detector: SpeechDetector) -> str:
    """All words of a Portuguese track. sound: mono, 16 kHz."""
    planner = ChunkPlanner()
    spans = [*planner.push(detector.push(sound.samples)), *planner.push(detector.finish()), *planner.finish()]
    chunks = [TranscribeRequest(sound.cut(span.start, span.end), PORTUGUESE) for span in spans]
    return " ".join(transcript.text for transcript in engines.transcriber.transcribe_batch(chunks))


def _translation_figure(engines: EngineSet, limit: int | None) -> Figure:
    english, portuguese = parallel_sentences(limit)
    translations = engines.translator.translate(english, ENGLISH, PORTUGUESE)
    score = character_f_score([translation.best.text for translation in translations], portuguese)
    return Figure(f"MT: chrF on {len(english)} news sentences", score)


def _start_figures(segments: Sequence[SegmentDubbed], calls: Sequence[Call], dub: Track) -> list[Figure]:
    said = {call.text: call for call in calls if isinstance(call, SynthesizeCall)}
    track = resample(dub.sound, ASR_RATE_HZ).samples
    errors = [start_error_s(placed_speech(said[s.text], s), s.start_s, track) for s in segments if s.text in said]
    found_ms = [1000 * abs(error) for error in errors if error is not None] or [float("nan")]
    return [
        Figure("segments found in the dub by their sound", 100 * (len(found_ms) / max(len(segments), 1)), "%"),
        Figure("start against plan, median", statistics.median(found_ms), "ms"),
        Figure("start against plan, worst", max(found_ms), "ms", at_most(40)),
    ]


def placed_speech(call: SynthesizeCall, segment: SegmentDubbed) -> Samples:
    """The speech of a segment as it should sound in the dub, at 16 kHz."""
    speech = AudioChunk(from_int16(np.frombuffer(call.speech, "<i2")), call.rate_hz)
    tempo_kept = (segment.end_s - segment.start_s) / speech.duration_s if speech.length else 1.0
    # Positions are whole samples at 16 kHz; a difference that small is no stretch.
    shaped = speech if abs(tempo_kept - 1) * speech.duration_s < 2 / ASR_RATE_HZ else stretch(speech, tempo_kept)
    return resample(shaped, ASR_RATE_HZ).samples


def start_error_s(speech: Samples, planned_s: float, track: Samples) -> float | None:
    """How much later than planned speech starts in a track; None when it is not found near its plan.

    speech, track: mono, 16 kHz. Found by normalised cross-correlation of its beginning.
    """
    wanted = speech[: round(MATCHED_S * ASR_RATE_HZ)].astype(np.float64)
    reach = round(SEARCH_S * ASR_RATE_HZ)
    first = round(planned_s * ASR_RATE_HZ) - reach
    padded = np.pad(track.astype(np.float64), (reach, len(wanted) + reach))[first + reach :]
    around = padded[: len(wanted) + 2 * reach]
    if not wanted.any() or len(around) < len(wanted) + 2 * reach:
        return None
    size = 1 << (len(around) + len(wanted)).bit_length()
    product = np.fft.irfft(np.fft.rfft(around, size) * np.conj(np.fft.rfft(wanted, size)), size)[: 2 * reach + 1]
    energy = np.cumsum(np.concatenate([[0.0], around**2]))
    norms = np.sqrt((energy[len(wanted) :] - energy[: len(energy) - len(wanted)]) * np.sum(wanted**2))
    correlation = product / np.maximum(norms[: 2 * reach + 1], 1e-12)
    best = int(np.argmax(correlation))
    return (best - reach) / ASR_RATE_HZ if correlation[best] >= LEAST_MATCH else None


def _louder_by(talk: Talk, dub: Track) -> float:
    return integrated_loudness(dub.sound) - integrated_loudness(talk.track.sound)
