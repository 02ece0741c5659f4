"""Child's side of `media/sound_writer.py`."""

from collections.abc import Callable

import av
import numpy as np

from octavia_stream.audio.resampling import Resampler
from octavia_stream.media import wire
from octavia_stream.media.child.encoding import SoundCodec, SoundEncoder
from octavia_stream.media.child.pipes import ReadSamples

_FORMATS: dict[wire.SoundFormat, tuple[str, str]] = {
    "mp3": ("mp3", "libmp3lame"),
    "opus": ("ogg", "libopus"),
    "aac": ("adts", "aac"),
    "flac": ("flac", "flac"),
}
_OPTIONS = {"mp3": {"write_xing": "0", "id3v2_version": "0"}, "ogg": {"page_duration": "200000"}}
"""Nothing that is written at the start may have to be corrected at the end: the listener has it by then."""
_OPUS_HZ = 48_000
_BLOCK_S = 0.25


class _Outlet:
    """A file that is only ever appended to: each piece goes to the parent as it is written."""

    name = ""

    def __init__(self, deliver: Callable[[bytes], None]) -> None:
        self._deliver = deliver

    def write(self, data: bytes) -> int:
        self._deliver(bytes(data))
        return len(data)


def record(task: wire.EncodeRequest, read: ReadSamples, deliver: Callable[[bytes], None]) -> wire.Encoded:
    """Encode mono samples as they come. Raises OSError."""
    container, encoder_name = _FORMATS[task.format]
    codec = SoundCodec(encoder_name, _OPUS_HZ if task.format == "opus" else task.rate_hz)
    options = {"flush_packets": "1", **_OPTIONS.get(container, {})}
    block = round(_BLOCK_S * task.rate_hz)
    resampler = Resampler(task.rate_hz, codec.rate_hz)
    with av.open(_Outlet(deliver), "w", format=container, container_options=options, buffer_size=4096) as output:
        encoder = SoundEncoder(output, codec, 1, 0.0)
        while len(samples := read(block)):
            encoder.encode(resampler.push(samples))
        encoder.encode(resampler.finish())
        if not encoder.length:
            # Silence of one sample is still a file that players open.
            encoder.encode(np.zeros((1, 1), np.float32))
        encoder.finish()
    return wire.Encoded(encoder.length)
