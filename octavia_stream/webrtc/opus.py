"""Opus through PyAV: packets to samples and frames to packets, one stream each."""

from fractions import Fraction

import av
import numpy as np
from av.error import FFmpegError

from octavia_stream.audio.chunk import Samples
from octavia_stream.errors import MediaRejected
from octavia_stream.live.frame import FRAME_SAMPLES, OUTPUT_RATE_HZ, PcmSamples

BITS_PER_SECOND = 40_000
"""Speech in one channel at full bandwidth; more is not heard (RFC 7587, section 3.1.1)."""
COMPLEXITY = "5"
"""Half of what the encoder can: 10 costs twice the CPU for speech that sounds the same."""
LONGEST_PACKET = 5760
"""120 ms (RFC 6716, section 3.2.5)."""
_TIME_BASE = Fraction(1, OUTPUT_RATE_HZ)
_SILK_SAMPLES = (480, 960, 1920, 2880)
_HYBRID_SAMPLES = (480, 960)
_CELT_SAMPLES = (120, 240, 480, 960)


def packet_samples(payload: bytes) -> int:
    """How long a packet sounds, at 48 kHz, by its first bytes (RFC 6716, section 3.1); 0 if it is no Opus."""
    if not payload:
        return 0
    config, code = payload[0] >> 3, payload[0] & 3
    if config < 12:
        frame = _SILK_SAMPLES[config % 4]
    elif config < 16:
        frame = _HYBRID_SAMPLES[config % 2]
    else:
        frame = _CELT_SAMPLES[config % 4]
    frames = (1, 2, 2, payload[1] & 0x3F if len(payload) > 1 else 0)[code]
    samples = frame * frames
    return samples if samples <= LONGEST_PACKET else 0


class OpusDecoder:
    """One stream, to one channel."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("libopus", "r")
        self._codec.format = av.AudioFormat("s16")
        # libopus mixes two channels down by itself.
        self._codec.layout = av.AudioLayout("mono")
        self._codec.sample_rate = OUTPUT_RATE_HZ

    def decode(self, payload: bytes) -> Samples:
        """Mono float32 in [-1, 1] at 48 kHz, shape (n,). Raises MediaRejected for what is no Opus packet."""
        try:
            frames = self._codec.decode(av.Packet(payload))
        except FFmpegError as error:
            raise MediaRejected("A packet was not Opus.") from error
        parts = [frame.to_ndarray().reshape(-1) for frame in frames]
        samples = np.concatenate(parts) if parts else np.zeros(0, np.int16)
        return samples.astype(np.float32) / 32768.0


class OpusEncoder:
    """One stream of frames of 20 ms, one channel."""

    def __init__(self, bits_per_second: int = BITS_PER_SECOND) -> None:
        self._codec = av.CodecContext.create("libopus", "w")
        self._codec.format = av.AudioFormat("s16")
        self._codec.layout = av.AudioLayout("mono")
        self._codec.sample_rate = OUTPUT_RATE_HZ
        self._codec.time_base = _TIME_BASE
        self._codec.bit_rate = bits_per_second
        # With what it takes to hide one lost packet from the next one (in-band FEC).
        self._codec.options = {
            "application": "voip",
            "compression_level": COMPLEXITY,
            "fec": "1",
            "packet_loss": "5",
            "frame_duration": "20",
        }
        self._position = 0

    def encode(self, samples: PcmSamples) -> bytes:
        """One packet for one frame of int16, shape (960,)."""
        frame = av.AudioFrame.from_ndarray(samples.reshape(1, FRAME_SAMPLES), format="s16", layout="mono")
        frame.sample_rate = OUTPUT_RATE_HZ
        frame.time_base = _TIME_BASE
        frame.pts = self._position
        self._position += FRAME_SAMPLES
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))
