"""A talk of any length, made of the shared speech: no stretch of sound in it comes twice.

All utterances of a language are said once in their order, as they were recorded. Every further round says them in
another order, each a little faster or slower than ever before, with other pauses: chunks are then cut elsewhere, and
as most utterances are parts of sentences, the sentences are others too. `repeated` counts those that came again.
"""

import asyncio
import csv
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import av
import numpy as np
from numpy.typing import NDArray

from benchmarks.sound import read_track
from benchmarks.talk import DATA
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.audio.stretching import stretch
from octavia_stream.dubbing.speech_spool import to_int16
from octavia_stream.languages import Language

RATE_HZ = 22_050
"""That of the longest recording."""
MARGIN_S = 0.05
"""Kept around an utterance that is cut out of a recording."""
PAUSES_S = (0.35, 0.9)
TEMPOS = (0.93, 1.08)
"""Slight enough that readers sound like themselves and are understood as well as before."""
SEED = 20_260_101
READERS: dict[str, tuple[str, ...]] = {
    "en": (
        "speech/en/lj_printing_4min.flac",
        "speech/en/fleurs-en-*.ogg",
        "speech/en/jfk.flac",
        "speech/parallel_synthetic/doc2_en.flac",
    ),
    "pt": (
        "speech/pt/fleurs-pt-*.ogg",
        "speech/pt/watson_pt_1.wav",
        "speech/pt/lusiadas_*.flac",
        "speech/pt/leopard_pt.wav",
        "speech/parallel_synthetic/doc*_pt.flac",
    ),
}
"""Files by language, below `tests/data`."""


@dataclass(frozen=True, slots=True)
class LongTalk:
    """Speech in a file, of which nobody knows all the words."""

    path: Path
    language: Language
    length: int
    """Samples at RATE_HZ."""

    @property
    def duration_s(self) -> float:
        return self.length / RATE_HZ


async def long_talk(directory: Path, language: Language, minutes: float) -> LongTalk:
    """Written into `directory` as FLAC, at most one utterance shorter than `minutes`, and the same every time."""
    utterances = await _utterances(language)
    path = directory / f"talk-{language}-{minutes:g}.flac"
    length = await asyncio.to_thread(write_talk, path, utterances, round(minutes * 60 * RATE_HZ))
    return LongTalk(path, language, length)


def repeated(sentences: Iterable[str]) -> int:
    """How many of these sentences were there before."""
    return sum(count - 1 for count in Counter(sentences).values())


async def _utterances(language: Language) -> list[AudioChunk]:
    paths = [path for pattern in READERS[language] for path in sorted(DATA.glob(pattern))]
    found = []
    for path in paths:
        sound = (await read_track(path, RATE_HZ)).sound
        found += [sound.cut(start, end) for start, end in _spans(path, sound.length)]
    return [AudioChunk(one.samples, RATE_HZ) for one in found]


def _spans(path: Path, length: int) -> list[tuple[int, int]]:
    """Of the utterances in a recording; where nobody wrote them down, it is one."""
    table = path.with_suffix(".segments.tsv")
    if not table.exists():
        return [(0, length)]
    with table.open(encoding="utf-8", newline="") as file:
        rows = [(float(row["start"]), float(row["end"])) for row in csv.DictReader(file, delimiter="\t")]
    return [
        (max(round((start - MARGIN_S) * RATE_HZ), 0), min(round((end + MARGIN_S) * RATE_HZ), length))
        for start, end in rows
    ]


def write_talk(path: Path, utterances: list[AudioChunk], longest: int) -> int:
    """Returns how many samples it has, at most `longest`."""
    written = 0
    with _FlacFile(path) as file:
        for samples in said(utterances):
            if written + len(samples) > longest:
                break
            file.write(samples)
            written += len(samples)
    return written


def said(utterances: list[AudioChunk]) -> Iterator[NDArray[np.int16]]:
    """Without end: each utterance, and the pause after it."""
    chance = random.Random(SEED)  # noqa: S311  the same talk every time
    order, first = list(range(len(utterances))), True
    while True:
        for index in order:
            utterance = utterances[index]
            said = utterance if first else stretch(utterance, chance.uniform(*TEMPOS))
            pause = np.zeros(round(chance.uniform(*PAUSES_S) * RATE_HZ), np.float32)
            yield to_int16(np.concatenate([said.samples, pause]))
        chance.shuffle(order)
        first = False


class _FlacFile:
    """Sixteen bits, mono, written as it comes; a context manager."""

    def __init__(self, path: Path) -> None:
        self._container = av.open(str(path), "w", format="flac")
        self._stream = self._container.add_stream("flac", rate=RATE_HZ, layout="mono")
        self._fifo = av.AudioFifo()

    def write(self, samples: NDArray[np.int16]) -> None:
        frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="s16", layout="mono")
        frame.rate = RATE_HZ
        self._fifo.write(frame)
        self._encode(partial=False)

    def _encode(self, *, partial: bool) -> None:
        while part := self._fifo.read(4096, partial=partial):
            self._container.mux(self._stream.encode(part))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._container:
            if error is None:
                self._encode(partial=True)
                self._container.mux(self._stream.encode(None))
