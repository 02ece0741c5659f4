"""Child's side of `media/demuxer.py`."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from octavia_stream.audio.resampling import Resampler
from octavia_stream.errors import MediaRejected, MediaTooLarge
from octavia_stream.media import wire
from octavia_stream.media.child.opening import MEDIA_ERRORS, open_media
from octavia_stream.media.child.timeline import Timeline

if TYPE_CHECKING:
    from av.container import InputContainer

Block = NDArray[np.float32]
_LAYOUTS = {1: "mono", 2: "stereo"}


def decode(path: str, task: wire.DecodeRequest, limits: wire.Limits, deliver: Callable[[Block], None]) -> wire.Decoded:
    """Decode one track and deliver blocks of about a second, interleaved, shape (n, channels)."""
    with open_media(path) as container:
        track = SoundTrack(container, task)
        timeline = Timeline(task.track_rate_hz, task.channels)
        longest = limits.max_duration_s * task.track_rate_hz
        resampler = Resampler(task.track_rate_hz, task.rate_hz, task.channels)
        blocks = Blocks(task.rate_hz, deliver, task.part)
        for position, samples in track:
            for laid in timeline.place(position, samples):
                if timeline.position > longest:
                    raise MediaTooLarge("The sound goes on for longer than this server takes.")
                blocks.add(resampler.push(laid))
            if blocks.ended:
                break
        if not track.frames:
            raise MediaRejected("Nothing in the sound track can be decoded.")
        blocks.add(resampler.finish())
        blocks.flush()
    return wire.Decoded(
        length=blocks.delivered,
        source_length=timeline.position,
        source_rate_hz=task.track_rate_hz,
        errors=track.errors,
        filled=timeline.filled,
        dropped=timeline.dropped,
        truncated=track.truncated,
    )


class SoundTrack:
    """Decoded sound of one stream in one layout and rate; iterates (position on the timeline, samples)."""

    def __init__(self, container: "InputContainer", task: wire.DecodeRequest) -> None:
        streams = [stream for stream in container.streams.audio if stream.index == task.index]
        if not streams or streams[0].codec_context is None:
            raise MediaRejected(f"The file has no sound track {task.index}.")
        self._container = container
        self._stream = streams[0]
        self._stream.codec_context.thread_count = 1
        self._task = task
        self._converter = Converter(task.track_rate_hz, _LAYOUTS[task.channels])
        self.frames = 0
        self.errors = 0
        """Packets skipped."""
        self.truncated = False

    def __iter__(self) -> Iterator[tuple[int | None, Block]]:
        for frame in self._decoded():
            self.frames += 1
            yield self._position(frame), self._converter.convert(frame)
        yield None, self._converter.flush()

    def _decoded(self) -> Iterator["av.AudioFrame"]:
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except MEDIA_ERRORS:
                # The container breaks off: what the decoder still holds is sound too.
                self.truncated = True
                yield from self._drained()
                return
            try:
                yield from packet.decode()
            except MEDIA_ERRORS:
                self.errors += 1

    def _drained(self) -> Iterator["av.AudioFrame"]:
        try:
            yield from self._stream.decode(None)
        except MEDIA_ERRORS:
            self.errors += 1

    def _position(self, frame: "av.AudioFrame") -> int | None:
        if frame.time is None:
            return None
        return round((frame.time - self._task.start_s) * self._task.track_rate_hz)


class Converter:
    """Frames of any format → interleaved float32 in one layout and rate.

    A stream may change its format on the way (broadcasts do), so the converter is made anew when it does.
    """

    def __init__(self, rate_hz: int, layout: str) -> None:
        self._rate_hz = rate_hz
        self._layout = layout
        self._channels = len(av.AudioLayout(layout).channels)
        self._resampler: av.AudioResampler | None = None
        self._shape: tuple[str, str, int] | None = None

    def convert(self, frame: "av.AudioFrame") -> Block:
        """Samples of this frame (and what the last format still held), shape (n, channels)."""
        blocks = []
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape:
            blocks.append(self.flush())
            self._shape = shape
            # Without a limit, swresample mixes float channels down to beyond full scale.
            self._resampler = av.AudioResampler(
                format="flt", layout=self._layout, rate=self._rate_hz, options={"rematrix_maxval": "1"}
            )
        blocks.append(self._run(frame))
        return blocks[0] if len(blocks) == 1 else np.concatenate(blocks)

    def flush(self) -> Block:
        """What the converter still holds."""
        return self._run(None)

    def _run(self, frame: "av.AudioFrame | None") -> Block:
        if self._resampler is None:
            return np.zeros((0, self._channels), np.float32)
        frames = [out for out in self._resampler.resample(frame) if out is not None]
        blocks = [out.to_ndarray().reshape(-1, self._channels) for out in frames]
        return np.concatenate(blocks) if blocks else np.zeros((0, self._channels), np.float32)


class Blocks:
    """Gathers small pieces into blocks of a second, so that pipes and tasks switch seldom."""

    def __init__(self, size: int, deliver: Callable[[Block], None], part: tuple[int, int] | None = None) -> None:
        """part: the positions between which pieces count."""
        self._size = size
        self._part = part
        self._position = 0
        self._deliver = deliver
        self._pieces: list[Block] = []
        self._count = 0
        self.delivered = 0

    def add(self, piece: Block) -> None:
        """Deliver when a block is full."""
        at, self._position = self._position, self._position + len(piece)
        if self._part is not None:
            start, end = self._part
            piece = piece[max(start - at, 0) : max(end - at, 0)]
        if not len(piece):
            return
        self._pieces.append(piece)
        self._count += len(piece)
        if self._count >= self._size:
            self.flush()

    @property
    def ended(self) -> bool:
        """Whether the part is over."""
        return self._part is not None and self._position >= self._part[1]

    def flush(self) -> None:
        """Deliver what there is."""
        if self._count:
            self._deliver(np.concatenate(self._pieces))
            self.delivered += self._count
        self._pieces, self._count = [], 0
