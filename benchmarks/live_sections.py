"""What a live session is measured by: its lag, what the way costs without models, and how many go at once."""

import asyncio
import time
import wave
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
from av import AudioFrame

from benchmarks.detector import load_detector
from benchmarks.figure import Figure, Section, at_least, at_most, ratio
from benchmarks.flat_out import load_engines
from benchmarks.live_measures import measure
from benchmarks.processes import Observer
from benchmarks.quality import transcribe
from benchmarks.scoring import word_error_rate
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.audio.resampling import resample
from octavia_stream.cli.client import Client, ServerRefused
from octavia_stream.cli.live import Told, finished, visiting
from octavia_stream.config import Settings
from octavia_stream.dubbing.speech_spool import from_int16
from octavia_stream.languages import Language
from octavia_stream.live.events import PhraseSpoken
from octavia_stream.live.frame import OUTPUT_RATE_HZ, PcmSamples
from octavia_stream.runtime import load_secret
from octavia_stream.sessions.node_token import node_token
from octavia_stream.sessions.registry import NodeRegistry
from octavia_stream.sessions.supervisor import NodeLoad
from octavia_stream.webrtc.client import SpokenTrack, mono

SPAN_GOALS = {"pt": (3.5, 6.0)}
"""Median and 95th percentile of the ear-voice span into a language, in seconds."""
OTHER_GOALS = (3.0, 6.0)
CLICK_EVERY_S = 1.0
CLICKS = 40
SESSIONS = 8
SESSION_S = 20.0
MOST_SESSIONS = 32


@dataclass(frozen=True, slots=True)
class LiveServer:
    """A running stack, and one account on it."""

    client: Client
    settings: Settings
    """With the addresses of its services."""

    async def load(self) -> NodeLoad:
        """What its one live node says of itself."""
        url = self.settings.redis_url
        async with NodeRegistry(url.get_secret_value() if url else "") as registry, httpx.AsyncClient() as http:
            [card] = await registry.nodes()
            bearer = {"Authorization": f"Bearer {node_token(load_secret(self.settings))}"}
            answer = await http.get(f"{card.url}/load", headers=bearer)
        return msgspec.json.decode(answer.content, type=NodeLoad)


@dataclass(slots=True)
class _Heard:
    """What came of one language."""

    frames: list[PcmSamples] = field(default_factory=list)
    came_at: list[float] = field(default_factory=list)

    def take(self, frame: AudioFrame) -> None:
        self.frames.append(mono(frame))
        self.came_at.append(time.monotonic())

    @property
    def sound(self) -> AudioChunk:
        samples = np.concatenate(self.frames) if self.frames else np.zeros(0, np.int16)
        return AudioChunk(from_int16(samples), OUTPUT_RATE_HZ)


async def measure_lag(
    server: LiveServer,
    talk: AudioChunk,
    words: str | None,
    source: Language,
    target: Language,
    seconds: float,
    latency: str,
    log: Path | None,
) -> Section:
    """talk: mono, 48 kHz, repeated up to `seconds`. words: what is said in it once."""
    told, heard = Told(), _Heard()
    options = {"source": source, "targets": [{"language": target}], "latency": latency}
    with Observer() as observer:
        await _visit(server, options, SpokenTrack(_repeated(talk, seconds)), {target: heard}, told)
    if log is not None:
        _write_log(log, told, heard, target, seconds, words)
    figures = _lag_figures(told, target)
    times = seconds / talk.duration_s
    if words is not None and times >= 1 and float(times).is_integer():
        said = " ".join(
            caption.text for (of_source, _, _), caption in sorted(told.captions.items(), key=_by_segment) if of_source
        )
        figures.append(
            Figure("ASR: word error rate", 100 * word_error_rate(" ".join([words] * int(times)), said, source), "%")
        )
    if target == "pt":
        figures.append(_understood(server.settings, told, heard, target))
    return Section(f"Live, {source} into {target}, {seconds:.0f} s", figures, {"lag": observer.usage.other_cores})


def _by_segment(item: tuple[tuple[bool, Language, int], Any]) -> int:
    return item[0][2]


def _lag_figures(told: Told, target: Language) -> list[Figure]:
    found = measure(told.records, target)
    median, late = SPAN_GOALS.get(target, OTHER_GOALS)
    return [
        Figure("ear-voice span, median", found.span_p50_s, "s", at_most(median)),
        Figure("ear-voice span, 95 of 100 within", found.span_p95_s, "s", at_most(late)),
        Figure("ear-voice span grows by", 60 * found.slope, "s/min"),
        Figure("standard error of that", 60 * found.slope_error, "s/min"),
        Figure("first dubbed phrase after", found.first_dub_s, "s"),
        Figure("phrases", found.phrases),
        Figure("dropped phrases", found.dropped, "", at_most(0)),
        Figure("retracted characters", found.retracted, "", at_most(0)),
        Figure("final caption after the last word, median", found.caption_p50_s, "s"),
        Figure("final caption after the last word, 95 of 100 within", found.caption_p95_s, "s"),
        Figure("normalised erasure of captions", found.erasure),
        Figure("mean speed of the voice", found.mean_speed, "×"),
    ]


def _understood(settings: Settings, told: Told, heard: _Heard, target: Language) -> Figure:
    """The sound that came over WebRTC, heard by the recogniser, against what was to be said."""
    spoken = " ".join(phrase.text for phrase in told.phrases)
    understood = transcribe(resample(heard.sound, ASR_RATE_HZ), load_engines(settings), load_detector(settings))
    return Figure(
        "dub transcribed back: word error rate against its translation",
        100 * word_error_rate(spoken, understood, target),
        "%",
        at_most(20),
    )


async def measure_overhead(server: LiveServer, target: Language) -> Section:
    """Clicks go in and come out with the original sound: the whole way of a sample, and nothing that a model does."""
    told, heard = Told(), _Heard()
    track = SpokenTrack(_clicks())
    options = {"source": "en", "targets": [{"language": target}], "original": "pass"}
    with Observer() as observer:
        await _visit(server, options, track, {target: heard}, told)
    late = _click_delays(track, heard)
    return Section(
        "Live, without models",
        [
            Figure("from microphone to ear, median", 1000 * float(np.median(late)), "ms"),
            Figure(
                "from microphone to ear, 95 of 100 within", 1000 * float(np.percentile(late, 95)), "ms", at_most(300)
            ),
            Figure("clicks that came", 100 * ratio(len(late), CLICKS), "%", at_least(95)),
        ],
        {"overhead": observer.usage.other_cores},
    )


async def _clicks() -> AsyncIterator[AudioChunk]:
    every = round(CLICK_EVERY_S * OUTPUT_RATE_HZ)
    block = np.zeros(every, np.float32)
    length = OUTPUT_RATE_HZ // 50
    block[:length] = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(length) / OUTPUT_RATE_HZ)
    for number in range(CLICKS):
        yield AudioChunk(block, OUTPUT_RATE_HZ, number * every)


def _click_delays(track: SpokenTrack, heard: _Heard) -> list[float]:
    """Seconds from the moment a click was due at the microphone to when its first frame came."""
    loud = [
        came
        for came, frame in zip(heard.came_at, heard.frames, strict=True)
        if np.abs(frame.astype(np.int32)).max() > 3000
    ]
    onsets = [came for before, came in zip([0.0, *loud], loud, strict=False) if came - before > CLICK_EVERY_S / 2]
    return [(came - track.spoken_at) % CLICK_EVERY_S for came in onsets]


async def measure_sessions(server: LiveServer, talk: AudioChunk, target: Language) -> Section:
    """Several speakers at once, each with a listener; then as many sessions as are let in."""
    heard = [_Heard() for _ in range(SESSIONS)]
    options = {"source": "en", "targets": [{"language": target}]}
    with Observer() as observer:
        async with AsyncExitStack() as stack:
            for one in heard:
                session = await server.client.open_live(options)
                stack.push_async_callback(server.client.close_live, str(session["id"]))
                track = SpokenTrack(_repeated(talk, 10 * SESSION_S))
                await stack.enter_async_context(visiting(session, track, {target: one.take}, Told()))
            began = time.monotonic()
            await asyncio.sleep(SESSION_S)
            ended = time.monotonic()
            load = await server.load()
            more, refusal = await _fill(server, options, stack)
    rates = [sum(began <= came < ended for came in one.came_at) / (ended - began) for one in heard]
    return Section(
        f"Live, {SESSIONS} sessions at once",
        [
            Figure("frames a second, the slowest session", min(rates), "", at_least(49.5)),
            Figure("event loop late, 99 of 100 within", load.loop_lag_p99_ms, "ms", at_most(100)),
            Figure("machine in use", 100 * load.cpu, "%"),
            Figure("sessions let in", SESSIONS + more),
            Figure("one more is refused at once", int(refusal), "", at_least(1)),
        ],
        {"sessions": observer.usage.other_cores},
    )


async def _fill(server: LiveServer, options: dict[str, Any], stack: AsyncExitStack) -> tuple[int, bool]:
    """Open sessions until one is refused; how many, and whether one was."""
    for number in range(MOST_SESSIONS + 1):
        try:
            session = await server.client.open_live(options, patience_s=0)
        except ServerRefused:
            return number, True
        stack.push_async_callback(server.client.close_live, str(session["id"]))
    return MOST_SESSIONS + 1, False


async def _visit(
    server: LiveServer, options: dict[str, Any], track: SpokenTrack, heard: dict[Language, _Heard], told: Told
) -> None:
    """One session from its start until all of it was heard."""
    session = await server.client.open_live(options)
    try:
        takes = {language: one.take for language, one in heard.items()}
        async with visiting(session, track, takes, told) as following:
            await track.over.wait()
            over_at = time.monotonic()
            while not (told.ended or finished(told, over_at)):
                if following.done():
                    following.result()
                await asyncio.sleep(0.2)
    finally:
        with suppress(ServerRefused):
            await server.client.close_live(str(session["id"]))


async def _repeated(talk: AudioChunk, seconds: float) -> AsyncIterator[AudioChunk]:
    length, given = round(seconds * talk.rate_hz), 0
    while given < length:
        part = talk.samples[: length - given]
        yield AudioChunk(part, talk.rate_hz, given)
        given += len(part)


def _write_log(directory: Path, told: Told, heard: _Heard, target: Language, seconds: float, words: str | None) -> None:
    """`instances.log` as SimulEval writes it for text (delays in milliseconds for each word), and the sound."""
    directory.mkdir(parents=True, exist_ok=True)
    prediction, delays = [], []
    for record in told.records:
        if isinstance(record.event, PhraseSpoken) and record.event.language == target:
            spoken = record.event.text.split()
            prediction += spoken
            delays += [min(record.at_s, seconds) * 1000] * len(spoken)
    instance = {
        "index": 0,
        "prediction": " ".join(prediction),
        "delays": delays,
        "elapsed": delays,
        "prediction_length": len(prediction),
        "reference": words or "",
        "source": ["talk"],
        "source_length": seconds * 1000,
    }
    (directory / "instances.log").write_bytes(msgspec.json.encode(instance) + b"\n")
    (directory / "records.jsonl").write_bytes(b"\n".join(msgspec.json.encode(record) for record in told.records))
    with wave.open(str(directory / f"heard.{target}.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(OUTPUT_RATE_HZ)
        for frame in heard.frames:
            file.writeframes(frame.astype("<i2").tobytes())
