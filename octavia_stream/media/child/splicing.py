"""A dubbed track that was written before, with a part of it encoded anew: all other packets stay as they are.

A packet of AAC holds 2,048 samples of the encoder's input, and its first half sounds together with the second half of
the packet before (ISO/IEC 14496-3, 4.6.11.3.1: windows overlap and add up). So a cut is clean where the packet before
it has the same shape of window in both, and nothing in it is other sound.
"""

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import av
import numpy as np
from numpy.typing import NDArray

from octavia_stream.errors import MediaRejected
from octavia_stream.media import wire
from octavia_stream.media.child.encoding import AAC_FRAME, SoundCodec, SoundEncoder, bare_encoder, codec_for
from octavia_stream.media.child.opening import open_media
from octavia_stream.media.child.pipes import ReadSamples

if TYPE_CHECKING:
    from av.container import OutputContainer

_WARM_UP = 8
"""Packets after which an encoder has heard enough to do as one that was there from the start."""
_RAW = {"ignore_editlist": "1"}
"""All packets, at the times of their track: the first at 0."""
_UNFIT = "The sound made earlier does not fit to be spliced."


class SplicedTrack:
    """The new sound: packets of the earlier file, and between two of them new ones. Raises MediaRejected."""

    def __init__(
        self,
        output: "OutputContainer",
        task: wire.MuxRequest,
        splice: wire.Splice,
        earlier: str,
        read: ReadSamples,
    ) -> None:
        """read: gives what `splice` says was sent."""
        codec = codec_for(task.container, task.rate_hz)
        if codec.encoder != "aac" or codec.rate_hz != task.rate_hz or not task.length:
            raise MediaRejected(_UNFIT)
        self.encoder = SoundEncoder(output, codec, task.channels, task.start_s, task.length)
        self.padded = self.cut = 0
        self._time_base = codec.time_base
        self._output = output
        self._length = task.length
        self._written = 0
        padding = self.encoder.front_padding
        self._total = (padding + task.length) // AAC_FRAME + 1
        part = _Part(splice, padding, task.length, codec, task.channels)
        fresh, configuration = part.encoded(read)
        track = _EarlierTrack(earlier, codec, task.channels, self._total, configuration)
        self._fresh = part.spliced(fresh, track)
        self._earlier = iter(track)

    def advance(self, until_s: float) -> None:
        """Write up to this time on the file's timeline, or to the end."""
        while self._written < self._total and self.encoder.time_s < until_s:
            content = next(self._earlier)
            self._write(self._fresh.get(self._written, content))

    def finish(self) -> None:
        """Write what is left."""
        self.advance(float("inf"))

    def _write(self, content: bytes) -> None:
        packet = av.Packet(content)
        packet.stream = self.encoder.stream
        packet.time_base = self._time_base
        packet.pts = packet.dts = self.encoder.first_pts + (self._written - 1) * AAC_FRAME
        packet.duration = AAC_FRAME
        packet.is_keyframe = True
        self._output.mux(packet)
        self._written += 1
        done = self._written * AAC_FRAME - self.encoder.front_padding
        self.encoder.length = min(max(done, 0), self._length)


class _EarlierTrack:
    """Packets of the dubbed track of a file of ours: its first sound."""

    def __init__(self, path: str, codec: SoundCodec, channels: int, total: int, configuration: bytes) -> None:
        self._path = path
        self._total = total
        with open_media(path, _RAW) as container:
            stream = next(iter(container.streams.audio), None)
            context = stream.codec_context if stream is not None else None
            if stream is None or context is None or stream.frames != total:
                raise MediaRejected(_UNFIT)
            found = (context.name, context.sample_rate, context.channels, context.extradata, stream.time_base)
            if found != (codec.name, codec.rate_hz, channels, configuration, codec.time_base):
                raise MediaRejected(_UNFIT)

    def __iter__(self) -> Iterator[bytes]:
        return self.between(0, self._total)

    def between(self, first: int, end: int) -> Iterator[bytes]:
        """Raises MediaRejected where one is missing."""
        with open_media(self._path, _RAW) as container:
            stream = container.streams.audio[0]
            if first:
                container.seek(first * AAC_FRAME, stream=stream)
            wanted = first
            for packet in container.demux(stream):
                if wanted == end:
                    return
                if packet.pts is None or packet.pts < wanted * AAC_FRAME:
                    continue
                if packet.pts != wanted * AAC_FRAME:
                    break
                yield bytes(packet)
                wanted += 1
        if wanted != end:
            raise MediaRejected(_UNFIT)


class _Part:
    """What is encoded anew. Packet n holds samples from (n - 1) x 1,024 to (n + 1) x 1,024 of the encoder's input."""

    def __init__(self, splice: wire.Splice, padding: int, length: int, codec: SoundCodec, channels: int) -> None:
        """padding: samples of silence before the sound."""
        start, end = splice.sent
        self._codec = codec
        self._channels = channels
        self._count = end - start
        self._at_start = start == 0
        self._at_end = end == length
        self._before = padding if self._at_start else 0
        self._dropped = 0 if self._at_start else -(start + padding) % AAC_FRAME
        self._first = 0 if self._at_start else (start + padding + self._dropped) // AAC_FRAME
        self._last_same_before = (splice.changed[0] + padding) // AAC_FRAME - 2
        self._first_same_after = -(-(splice.changed[1] + padding) // AAC_FRAME) + 1

    def encoded(self, read: ReadSamples) -> tuple[list[bytes], bytes]:
        """New packets, and how a decoder is told what they are. Raises MediaRejected when too few samples come."""
        encoder = bare_encoder(self._codec, self._channels)
        packets = [bytes(packet) for block in self._blocks(read) for packet in encoder.encode(block)]
        if self._at_end:
            packets += [bytes(packet) for packet in encoder.encode(None)]
        return packets, encoder.extradata or b""

    def _blocks(self, read: ReadSamples) -> Iterator[av.AudioFrame]:
        skip = self._dropped
        left = self._count
        blocks: Iterable[NDArray[np.float32]] = [np.zeros((self._before, self._channels), np.float32)]
        position = 0
        while True:
            for block in blocks:
                kept = block[skip:]
                skip = max(skip - len(block), 0)
                if len(kept):
                    yield self._codec.frame(kept, position)
                    position += len(kept)
            if not left:
                return
            samples = read(min(left, self._codec.rate_hz))
            if not len(samples):
                raise MediaRejected(_UNFIT)
            left -= len(samples)
            blocks = [samples]

    def spliced(self, fresh: list[bytes], track: _EarlierTrack) -> dict[int, bytes]:
        """Those of the new packets that are used, by their number. Raises MediaRejected where no cut is clean."""
        old = list(track.between(self._first, self._first + len(fresh)))
        same = [
            self._first + index + 1
            for index, (one, other) in enumerate(zip(old, fresh, strict=True))
            if (shape := window_shape(one)) is not None and shape == window_shape(other)
        ]
        """Before which packets a cut would be clean."""
        begins = [0] if self._at_start else [n for n in same if self._warm <= n <= self._last_same_before + 1]
        ends = [self._first + len(fresh)] if self._at_end else [n for n in same if n > self._first_same_after]
        if not begins or not ends:
            raise MediaRejected(_UNFIT)
        return {n: fresh[n - self._first] for n in range(begins[-1], ends[0])}

    @property
    def _warm(self) -> int:
        return self._first + _WARM_UP


def window_shape(packet: bytes) -> int | None:
    """Sequence and shape of the window of one packet, where both channels have the same; None: it is not known.

    Of single_channel_element and channel_pair_element, ISO/IEC 14496-3, 4.4.2.1, the beginning.
    """
    bits = int.from_bytes(packet[:4], "big")
    element = bits >> 29
    if element == 0:
        # Element 3 bits, tag 4, global gain 8, reserved 1.
        return (bits >> 13) & 0b111
    if element == 1 and (bits >> 24) & 1:
        # Element 3 bits, tag 4, common window 1, reserved 1.
        return (bits >> 20) & 0b111
    return None
