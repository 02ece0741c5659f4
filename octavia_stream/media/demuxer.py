"""File → chunks: one sound track, decoded in a jailed child, block by block."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import numpy as np

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.config import MediaSettings
from octavia_stream.errors import MediaRejected
from octavia_stream.media import wire
from octavia_stream.media.info import AudioTrack
from octavia_stream.media.jail import Jail


@dataclass(slots=True)
class DecodeReport:
    """How decoding went; filled in when the last chunk has been read."""

    length: int = 0
    """Samples delivered per channel, at the rate asked for."""
    source_length: int = 0
    """Samples per channel on the track's timeline, at the track's own rate: its decoded length."""
    source_rate_hz: int = 0
    errors: int = 0
    """Packets that could not be decoded and were skipped."""
    filled: int = 0
    """Samples of silence put into gaps, at the track's rate."""
    dropped: int = 0
    """Samples dropped where timestamps overlap, at the track's rate."""
    truncated: bool = False
    """The file broke off before its end."""
    complete: bool = False
    """Whether all of it was read, so that the rest of this report is known."""


class Demuxer:
    """Decodes one track; an async context manager and an async iterator of chunks.

    Sample 0 is the track's first sample (`AudioTrack.start_s`), and position equals presentation time from there on:
    gaps in the timestamps are silence, overlaps are dropped. The child waits while nobody reads: memory stays bounded.
    """

    def __init__(
        self,
        path: Path,
        track: AudioTrack,
        *,
        rate_hz: int,
        channels: int,
        settings: MediaSettings,
        report: DecodeReport | None = None,
        part: tuple[int, int] | None = None,
    ) -> None:
        """
        rate_hz, channels (1 or 2): what to deliver; surround is mixed down without exceeding full scale.
        part: deliver nothing but what lies between these positions; the chunks keep theirs, the report ends there.
        report: is filled in at the end.
        """
        if channels not in (1, 2):
            raise ValueError("sound is delivered in one or two channels")
        task = wire.DecodeRequest(
            index=track.index,
            start_s=track.start_s,
            track_rate_hz=track.rate_hz,
            rate_hz=rate_hz,
            channels=channels,
            part=part,
        )
        self._jail = Jail(task, settings, source=path)
        self._rate_hz = rate_hz
        self._channels = channels
        self._offset = part[0] if part else 0
        self.report = report if report is not None else DecodeReport()
        """How it went."""

    @property
    def pid(self) -> int:
        """Process id of the jailed child."""
        return self._jail.pid

    async def __aenter__(self) -> Self:
        await self._jail.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._jail.__aexit__(kind, error, traceback)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AudioChunk:
        """The next block of about a second: float32, shape (n,) for one channel, (n, channels) for more.

        Raises MediaRejected (nothing decodes), MediaTooLarge (longer than `max_duration_s`, whatever the header
        claimed), EngineUnavailable (the child was killed; a retry helps).
        """
        if self.report.complete:
            raise StopAsyncIteration
        kind, payload = await self._jail.frame()
        if kind is wire.FrameKind.RESULT:
            self._complete(msgspec.json.decode(payload, type=wire.Decoded))
            raise StopAsyncIteration
        if len(payload) % (4 * self._channels):
            raise MediaRejected("The file made its decoder answer nonsense.")
        samples = np.frombuffer(payload, dtype="<f4")
        if self._channels > 1:
            samples = samples.reshape(-1, self._channels)
        chunk = AudioChunk(samples, self._rate_hz, self._offset)
        self._offset = chunk.end
        return chunk

    def _complete(self, decoded: wire.Decoded) -> None:
        for name in decoded.__struct_fields__:
            setattr(self.report, name, getattr(decoded, name))
        self.report.complete = True


async def decode_audio(
    path: Path,
    track: AudioTrack,
    *,
    rate_hz: int,
    channels: int,
    settings: MediaSettings,
    report: DecodeReport | None = None,
) -> AsyncGenerator[AudioChunk, None]:
    """All chunks of a track, as `Demuxer` gives them. Close it (`contextlib.aclosing`) when stopping early."""
    demuxer = Demuxer(path, track, rate_hz=rate_hz, channels=channels, settings=settings, report=report)
    async with demuxer as chunks:
        async for chunk in chunks:
            yield chunk
