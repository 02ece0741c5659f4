"""Sound → a file of its own kind, byte by byte while it is being made: for listeners who do not wait for the end.

WAV and raw samples are written here; whatever takes a codec is encoded in a jailed child.
"""

import asyncio
import struct
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Literal, TypeAlias, get_args

import numpy as np

from octavia_stream.audio.chunk import AudioChunk, Samples
from octavia_stream.config import MediaSettings
from octavia_stream.errors import EngineUnavailable
from octavia_stream.media import wire
from octavia_stream.media.jail import Jail

SpokenFormat: TypeAlias = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
"""`opus` is in Ogg, `aac` in ADTS, `pcm` is 16 bit, little-endian, without a header."""
SPOKEN_FORMATS: tuple[SpokenFormat, ...] = get_args(SpokenFormat)
CONTENT_TYPES: dict[SpokenFormat, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
_PATIENCE_S = 3600.0
"""The child is silent while nothing is spoken; whoever waits too long for that decides so elsewhere."""
_WRITE_SAMPLES = 32_768
_WAV = struct.Struct("<4sI4s4sIHHIIHH4sI")
_UNKNOWN_LENGTH = 0xFFFF_FFFF
"""What a WAV says of its length that is still being made: players read to the end."""


async def write_sound(
    sound: AsyncGenerator[AudioChunk], kind: SpokenFormat, rate_hz: int, settings: MediaSettings
) -> AsyncGenerator[bytes]:
    """The file, piece by piece, as soon as there is something of it.

    sound: mono chunks at `rate_hz`, of any length. Raises what `sound` raises; EngineUnavailable when the child dies.
    """
    if kind == "wav" or kind == "pcm":  # noqa: PLR1714  (this form tells the type checker which are left)
        if kind == "wav":
            yield _wav_header(rate_hz)
        async with aclosing(sound):
            async for chunk in sound:
                yield to_pcm(chunk.samples)
        return
    async with Jail(wire.EncodeRequest(kind, rate_hz), settings) as jail:
        feeding = asyncio.create_task(_feed(sound, jail), name="encode: feed")
        try:
            async with aclosing(_encoded(jail)) as pieces:
                async for piece in pieces:
                    yield piece
            await feeding
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await sound.aclose()


def to_pcm(samples: Samples) -> bytes:
    """16 bit, little-endian."""
    return (np.clip(samples, -1.0, 1.0) * 32767.0).round().astype("<i2").tobytes()


async def _feed(sound: AsyncIterator[AudioChunk], jail: Jail) -> None:
    try:
        async for chunk in sound:
            for start in range(0, chunk.length, _WRITE_SAMPLES):
                block = chunk.samples[start : start + _WRITE_SAMPLES]
                await jail.write(block.astype("<f4", copy=False).tobytes())
    finally:
        # The child ends by itself, and then it is seen why nothing more came.
        await jail.close_stdin()


async def _encoded(jail: Jail) -> AsyncGenerator[bytes]:
    while True:
        kind, payload = await jail.frame(_PATIENCE_S)
        if kind is wire.FrameKind.RESULT:
            return
        if kind is not wire.FrameKind.BYTES:
            raise EngineUnavailable("The process that encodes sound answered nonsense; a retry helps.")
        yield payload


def _wav_header(rate_hz: int) -> bytes:
    return _WAV.pack(
        b"RIFF", _UNKNOWN_LENGTH, b"WAVE", b"fmt ", 16, 1, 1, rate_hz, rate_hz * 2, 2, 16, b"data", _UNKNOWN_LENGTH
    )
