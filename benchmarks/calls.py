"""Calls of engines as they were made, so that the same work can be done again elsewhere."""

import itertools
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from octavia_stream.asr.transcriber import AsrTask, BatchTranscriber, TranscribeRequest
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.engines import PlainSynthesizer, PlainTranslator
from octavia_stream.languages import Language
from octavia_stream.tts.voice import Voice


class Cost(msgspec.Struct, frozen=True):
    """What one call took in the process that made it."""

    pid: int
    wall_s: float
    cpu_span_s: tuple[float, float]
    """CPU seconds of all threads of the process since it started, before the call and after it: of calls that one
    process makes at once, nobody can tell them apart."""


class HeardChunk(msgspec.Struct, frozen=True):
    """One `TranscribeRequest`."""

    samples: bytes
    """Little-endian float32, mono, 16 kHz."""
    offset: int
    language: Language | None
    task: AsrTask

    def request(self) -> TranscribeRequest:
        chunk = AudioChunk(np.frombuffer(self.samples, "<f4"), ASR_RATE_HZ, self.offset)
        return TranscribeRequest(chunk, self.language, self.task)


class TranscribeCall(msgspec.Struct, frozen=True, tag="transcribe"):
    cost: Cost
    chunks: list[HeardChunk]

    @property
    def stage(self) -> Stage:
        return "transcribe"


class TranslateCall(msgspec.Struct, frozen=True, tag="translate"):
    cost: Cost
    sentences: list[str]
    source: Language
    target: Language
    hypotheses: int

    @property
    def stage(self) -> Stage:
        return "translate"


class SynthesizeCall(msgspec.Struct, frozen=True, tag="synthesize"):
    cost: Cost
    text: str
    voice: Voice
    speed: float
    rate_hz: int
    speech: bytes
    """What came back: little-endian int16, mono."""

    @property
    def stage(self) -> Stage:
        return "synthesize"


Call = TranscribeCall | TranslateCall | SynthesizeCall


@dataclass(frozen=True, slots=True)
class EngineSet:
    """The three plain engines of one process."""

    transcriber: BatchTranscriber
    translator: PlainTranslator
    synthesizer: PlainSynthesizer

    def repeat(self, call: Call) -> Cost:
        """Do the work of a recorded call again."""
        match call:
            case TranscribeCall():
                requests = [chunk.request() for chunk in call.chunks]
                with Stopwatch() as watch:
                    self.transcriber.transcribe_batch(requests)
            case TranslateCall():
                with Stopwatch() as watch:
                    self.translator.translate(call.sentences, call.source, call.target, call.hypotheses)
            case SynthesizeCall():
                with Stopwatch() as watch:
                    self.synthesizer.synthesize(call.text, call.voice, call.speed)
        return watch.cost


class Stopwatch:
    """A context manager that measures one call."""

    def __enter__(self) -> "Stopwatch":
        self._wall, self._cpu = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *error: object) -> None:
        self.cost = Cost(os.getpid(), time.perf_counter() - self._wall, (self._cpu, time.process_time()))


def cpu_s(costs: Iterable[Cost]) -> float:
    """CPU seconds in all these calls. What several of one process took together is counted once."""
    total = 0.0
    counted: dict[int, float] = {}
    for cost in sorted(costs, key=lambda cost: cost.cpu_span_s):
        start_s, end_s = cost.cpu_span_s
        total += max(end_s - max(start_s, counted.get(cost.pid, 0.0)), 0.0)
        counted[cost.pid] = max(end_s, counted.get(cost.pid, 0.0))
    return total


class CallJournal:
    """Calls in a folder, one file each: several processes write, nobody waits for anybody."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self._numbers = itertools.count()

    def write(self, call: Call) -> None:
        path = self._directory / f"{time.time_ns()}-{os.getpid()}-{next(self._numbers)}.msgpack"
        draft = path.with_suffix(".part")
        draft.write_bytes(msgspec.msgpack.encode(call))
        draft.rename(path)

    def read(self) -> list[Call]:
        """In order of their ends."""
        return list(self)

    def __iter__(self) -> Iterator[Call]:
        """The same one by one: those of a long file fill gigabytes."""
        for path in sorted(self._files()):
            yield msgspec.msgpack.decode(path.read_bytes(), type=Call)

    def clear(self) -> None:
        for path in self._files():
            path.unlink()

    def _files(self) -> list[Path]:
        return list(self._directory.glob("*.msgpack"))
