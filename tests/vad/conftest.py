"""Real recordings, decoded."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from octavia_stream.audio.chunk import ASR_RATE_HZ, Samples
from octavia_stream.config import ModelSettings
from octavia_stream.models.registry import Registry
from octavia_stream.vad.silero import SileroDetector

DATA = Path(__file__).parents[1] / "data"

Recording = Callable[[str], Samples]


@pytest.fixture(scope="session")
def recording() -> Recording:
    """The samples of a file below tests/data: mono, 16 kHz."""

    def decode(name: str) -> Samples:
        resampler = av.AudioResampler("flt", "mono", ASR_RATE_HZ)
        with av.open(str(DATA / name)) as container:
            frames = [out for frame in container.decode(audio=0) for out in resampler.resample(frame)]
        frames += resampler.resample(None)
        return np.concatenate([frame.to_ndarray()[0] for frame in frames])

    return decode


@pytest.fixture
def silero(tmp_path: Path) -> SileroDetector:
    return SileroDetector(Registry(ModelSettings(), tmp_path).resolve("silero-v6").path)
