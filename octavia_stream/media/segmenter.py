"""Picture, dub and original → segments of HLS, one after the other, made in a jailed child that writes no file."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import numpy as np

from octavia_stream.audio.chunk import Samples
from octavia_stream.config import MediaSettings
from octavia_stream.errors import MediaRejected, MediaTooLarge
from octavia_stream.media import wire
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.jail import Jail
from octavia_stream.media.wire import Rendition

__all__ = ["Piece", "Rendition", "Segmenter", "streamable_picture"]

PICTURE_CODECS = frozenset({"h264", "hevc", "av1", "vp9"})
"""What players take in fragmented MP4."""
_PATIENCE_S = 7 * 86_400.0
"""The child is silent while nothing is dubbed; whoever waits too long for that decides so elsewhere."""
_LARGEST_PIECE_BYTES = 256 * 1024**2
_WRITE_SAMPLES = 32_768


@dataclass(frozen=True, slots=True)
class Piece:
    """A rendition's head, or its next segment."""

    rendition: Rendition
    head: bool
    duration_s: float
    lead_s: float
    """In the head of a sound: how long after the stream's zero its first sample is heard."""
    content: bytes


def streamable_picture(info: MediaInfo) -> bool:
    """Whether the picture can be streamed without encoding it anew."""
    return info.video is not None and info.video.codec in PICTURE_CODECS


class Segmenter:
    """Cuts one file; an async context manager. Somebody must read `pieces()` while another writes."""

    def __init__(
        self,
        source: Path,
        track: AudioTrack,
        *,
        channels: int,
        picture: bool,
        settings: MediaSettings,
        encode: bool = False,
    ) -> None:
        """track: the original sound, at whose rate samples come. picture: whether there shall be one.

        encode: whether it is encoded anew, which every picture can be; ask `streamable_picture` whether it must.
        """
        self._channels = channels
        task = wire.StreamRequest(
            rate_hz=track.rate_hz, channels=channels, start_s=track.start_s, picture=picture, encode=encode
        )
        self._jail = Jail(task, settings, source=source)

    async def __aenter__(self) -> Self:
        await self._jail.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._jail.__aexit__(kind, error, traceback)

    @property
    def pid(self) -> int:
        """Process id of the jailed child."""
        return self._jail.pid

    async def write(self, dub: Samples, original: Samples) -> None:
        """Append to both sounds: float32, shape (n, channels), or (n,) for one channel.

        Raises what `Jail.write` raises: the stream is then lost.
        """
        both = np.concatenate([one.reshape(-1, self._channels) for one in (dub, original)], axis=1)
        for start in range(0, len(both), _WRITE_SAMPLES):
            await self._jail.write(both[start : start + _WRITE_SAMPLES].astype("<f4", copy=False).tobytes())

    async def close(self) -> None:
        """No more samples come; `pieces` ends when the rest is cut."""
        await self._jail.close_stdin()

    async def pieces(self) -> AsyncIterator[Piece]:
        """Heads and segments as they are ready. Raises what `Jail.frame` raises."""
        content = bytearray()
        while True:
            kind, payload = await self._jail.frame(_PATIENCE_S)
            match kind:
                case wire.FrameKind.BYTES:
                    content += payload
                    if len(content) > _LARGEST_PIECE_BYTES:
                        raise MediaTooLarge("The picture takes more data a second than a stream can carry.")
                case wire.FrameKind.PIECE:
                    told = msgspec.json.decode(payload, type=wire.StreamPiece)
                    yield Piece(told.rendition, told.head, told.duration_s, told.lead_s, bytes(content))
                    content.clear()
                case wire.FrameKind.RESULT:
                    return
                case _:
                    raise MediaRejected("The file made its decoder answer nonsense.")
