"""Real models and recordings."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from octavia_stream.asr.whisper import WhisperEngine
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.config import ModelSettings
from octavia_stream.models.registry import Registry

DATA = Path(__file__).parents[1] / "data"

Recording = Callable[[str], AudioChunk]


@pytest.fixture(scope="session")
def recording() -> Recording:
    """A file below tests/data: mono, 16 kHz, offset 0."""

    def decode(name: str) -> AudioChunk:
        resampler = av.AudioResampler("flt", "mono", ASR_RATE_HZ)
        with av.open(str(DATA / name)) as container:
            frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
        return AudioChunk(np.concatenate([frame.to_ndarray()[0] for frame in frames]), ASR_RATE_HZ)

    return decode


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    return Registry(ModelSettings(), tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="session")
def tiny(registry: Registry) -> WhisperEngine:
    return WhisperEngine(registry.resolve("whisper-tiny.en").path)


@pytest.fixture(scope="session")
def base(registry: Registry) -> WhisperEngine:
    return WhisperEngine(registry.resolve("whisper-base").path)
