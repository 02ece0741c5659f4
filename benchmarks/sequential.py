"""The plain script that a user would write with the same models: one stage after another, all cores for each.

Every library has its best settings for throughput on a CPU: Whisper batched over voice activity, greedy, int8, all
cores; all sentences translated in one batch; Kokoro's graph as it was published, with all cores, one sentence at a
time, since it gains nothing from a batch. (That the server rewrites the graph, `octavia_stream.tts.convolutions`, is a
part of what is measured.) Loading is not counted. `python -m benchmarks.sequential SOURCE OUTPUT FROM TO` prints its
timing as JSON.
"""

import sys
import time
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest.mock import patch

import av
import msgspec
import numpy as np
from faster_whisper import BatchedInferencePipeline, WhisperModel

from benchmarks.machine import cores
from octavia_stream import installed
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk, Samples
from octavia_stream.config import Settings
from octavia_stream.languages import Language
from octavia_stream.models.registry import Registry
from octavia_stream.tts import convolutions

OUTPUT_RATE_HZ = 24_000
BATCH = 8
LONGEST_WORDS = 40


class Timing(msgspec.Struct, frozen=True):
    """Seconds of wall by stage, models loaded."""

    decode_s: float
    transcribe_s: float
    translate_s: float
    synthesize_s: float
    write_s: float
    speech_s: float
    """Length of the speech that was made."""

    @property
    def wall_s(self) -> float:
        return self.decode_s + self.transcribe_s + self.translate_s + self.synthesize_s + self.write_s


def dub(source: Path, output: Path, spoken: Language, target: Language, settings: Settings) -> Timing:
    """Dub speech of one language into another, written as FLAC."""
    registry = Registry(settings.models, settings.home)
    whisper = BatchedInferencePipeline(
        WhisperModel(
            str(registry.resolve(settings.models.asr).path),
            device="cpu",
            compute_type=settings.models.compute_type,
            cpu_threads=settings.models.threads,
        )
    )
    translator = installed.translator(settings)
    with patch.object(convolutions, "gain_here", return_value=False):
        synthesizer = installed.synthesizer(settings)
    voice = registry.default_voice(target)

    marks = [time.perf_counter()]
    sound = decode(source)
    marks.append(time.perf_counter())
    segments, _ = whisper.transcribe(sound, batch_size=BATCH, beam_size=1, word_timestamps=True)
    sentences = list(sentences_of(word for segment in segments for word in segment.words or ()))
    marks.append(time.perf_counter())
    translations = translator.translate([text for _, text in sentences], spoken, target)
    marks.append(time.perf_counter())
    clips = [synthesizer.synthesize(translation.best.text, voice) for translation in translations]
    marks.append(time.perf_counter())
    write(output, place([start_s for start_s, _ in sentences], clips, len(sound) / ASR_RATE_HZ))
    marks.append(time.perf_counter())

    decode_s, transcribe_s, translate_s, synthesize_s, write_s = (end - start for start, end in pairwise(marks))
    speech_s = sum(clip.duration_s for clip in clips)
    return Timing(decode_s, transcribe_s, translate_s, synthesize_s, write_s, speech_s)


def decode(path: Path) -> Samples:
    """The first sound track, mono, 16 kHz."""
    resampler = av.AudioResampler("flt", "mono", ASR_RATE_HZ)
    with av.open(str(path)) as container:
        frames = [part for frame in container.decode(audio=0) for part in resampler.resample(frame)]
        frames += resampler.resample(None)
    return np.concatenate([frame.to_ndarray()[0] for frame in frames])


def sentences_of(words: Iterable[Any]) -> Iterator[tuple[float, str]]:
    """Start in seconds and text of each sentence."""
    start_s, text = 0.0, ""
    for word in words:
        start_s = start_s if text else word.start
        text += word.word
        if word.word.rstrip("\"')”").endswith((".", "!", "?")) or text.count(" ") >= LONGEST_WORDS:
            yield start_s, text.strip()
            text = ""
    if text.strip():
        yield start_s, text.strip()


def place(starts_s: list[float], clips: list[AudioChunk], duration_s: float) -> Samples:
    """Each clip where its sentence starts, or after the clip before."""
    track = np.zeros(round(duration_s * OUTPUT_RATE_HZ), np.float32)
    free = 0
    for start_s, clip in zip(starts_s, clips, strict=True):
        start = max(round(start_s * OUTPUT_RATE_HZ), free)
        kept = clip.samples[: max(len(track) - start, 0)]
        track[start : start + len(kept)] = kept
        free = start + len(kept)
    return track


def write(path: Path, track: Samples) -> None:
    """As FLAC, 16 bit."""
    with av.open(str(path), "w", format="flac") as container:
        stream = container.add_stream("flac", rate=OUTPUT_RATE_HZ, layout="mono")
        pcm = (np.clip(track, -1, 1) * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[np.newaxis], format="s16", layout="mono")
        frame.rate = OUTPUT_RATE_HZ
        fifo = av.AudioFifo()
        fifo.write(frame)
        while part := fifo.read(4096, partial=True):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))


def main() -> None:
    source, output = (Path(argument) for argument in sys.argv[1:3])
    spoken, target = (Language(argument) for argument in sys.argv[3:5])
    settings = Settings()
    models = settings.models.model_copy(update={"threads": cores()})
    timing = dub(source, output, spoken, target, settings.model_copy(update={"models": models}))
    print(msgspec.json.encode(timing).decode())


if __name__ == "__main__":
    main()
