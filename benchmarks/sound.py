"""Whole sound tracks in memory, and back to files: benchmarks use short ones."""

import wave
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.config import MediaSettings
from octavia_stream.dubbing.speech_spool import to_int16
from octavia_stream.media.demuxer import DecodeReport, decode_audio
from octavia_stream.media.probe import probe, require_audio


@dataclass(frozen=True, slots=True, eq=False)
class Track:
    """The sound track that a player would choose."""

    sound: AudioChunk
    """Mono."""
    length: int
    """Samples on the track's own timeline."""
    rate_hz: int
    """The track's own."""


async def read_track(path: Path, rate_hz: int | None = None) -> Track:
    """rate_hz: of the sound; None keeps the track's own."""
    settings = MediaSettings()
    info = await probe(path, settings)
    track = info.default_audio or require_audio(info)[0]
    report = DecodeReport()
    wanted = rate_hz or track.rate_hz
    blocks = [
        chunk.samples
        async for chunk in decode_audio(path, track, rate_hz=wanted, channels=1, settings=settings, report=report)
    ]
    return Track(AudioChunk(np.concatenate(blocks), wanted), report.source_length, track.rate_hz)


def write_wav(path: Path, sound: AudioChunk, times: int = 1) -> None:
    """times: how often the sound is repeated."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sound.rate_hz)
        block = to_int16(sound.samples).tobytes()
        for _ in range(times):
            file.writeframes(block)
