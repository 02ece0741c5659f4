"""Child's side of `media/muxer.py`."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import av
import numpy as np
from numpy.typing import NDArray

from octavia_stream.audio.resampling import Resampler, resampled_length
from octavia_stream.errors import MediaRejected
from octavia_stream.media import wire
from octavia_stream.media.child.copying import ORIGINAL, CopiedTrack, ReencodedTrack, can_hold, first_picture
from octavia_stream.media.child.edit_list import Edit, write_edit
from octavia_stream.media.child.encoding import AAC_PRIMING, MP4_FAMILY, SoundEncoder, codec_for
from octavia_stream.media.child.opening import MEDIA_ERRORS, open_media
from octavia_stream.media.child.pipes import ReadSamples
from octavia_stream.media.child.splicing import SplicedTrack
from octavia_stream.media.child.subtitling import SubtitleWriter

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.stream import Stream

_FORMATS = {"mkv": "matroska", "m4a": "ipod"}
_BLOCK_S = 0.25
_FOREIGN_METADATA = {"encoder", "major_brand", "minor_version", "compatible_brands", "creation_time", "duration"}
"""Says something about the old file that is not true of the new one."""
_INTERLEAVE_S = 2
"""How long FFmpeg holds packets back for a track that has none, a subtitle for instance."""


def mux(path: str, directory: str, task: wire.MuxRequest, read: ReadSamples, earlier: str = "") -> wire.MuxResult:
    """Write the file. earlier: path of the one that a splice is about. Raises MediaRejected, OSError."""
    target = Path(directory) / task.output_name
    codec = codec_for(task.container, task.rate_hz)
    with (
        open_media(path) as source,
        av.open(
            f"file:{target}",
            "w",
            format=_FORMATS.get(task.container, task.container),
            container_options=_options(task, codec.rate_hz),
        ) as output,
    ):
        job = _Muxing(source, output, task, read, earlier)
        job.run()
    if task.container in MP4_FAMILY and job.dub.encoder.start > 0:
        _correct_start(target, job)
    return wire.MuxResult(
        size=target.stat().st_size,
        length=job.dub.encoder.length,
        codec=codec.name,
        codec_rate_hz=codec.rate_hz,
        padded=job.dub.padded,
        cut=job.dub.cut,
        original_copied=job.original_copied,
        warnings=tuple(job.warnings),
    )


def _options(task: wire.MuxRequest, rate_hz: int) -> dict[str, str]:
    options = {"max_interleave_delta": str(_INTERLEAVE_S * 1_000_000)}
    if task.container in MP4_FAMILY:
        # The index in front lets a browser play before all is loaded; the time scale makes edits exact to the sample.
        return options | {"movflags": "faststart", "movie_timescale": str(rate_hz)}
    if task.container in {"mkv", "webm"}:
        # Subtitles are offered, not switched on.
        return options | {"default_mode": "infer_no_subs"}
    return options


def _correct_start(target: Path, job: "_Muxing") -> None:
    encoder = job.dub.encoder
    edit = Edit(start=encoder.start, duration=encoder.length, media_time=AAC_PRIMING + encoder.front_padding)
    if not write_edit(target, encoder.stream.index, edit):
        job.warnings.append("The dubbed sound starts some milliseconds early.")


class _Muxing:
    """One file being written."""

    def __init__(
        self,
        source: "InputContainer",
        output: "OutputContainer",
        task: wire.MuxRequest,
        read: ReadSamples,
        earlier: str,
    ) -> None:
        self._source = source
        self._output = output
        self._task = task
        self.warnings: list[str] = []
        self.original_copied = False
        self._tracks: dict[int, Track] = {}
        for name, value in source.metadata.items():
            if name not in _FOREIGN_METADATA:
                output.metadata[name] = value
        if task.picture:
            self._add_picture()
        self.dub: DubbedTrack | SplicedTrack
        if task.splice is None:
            self.dub = DubbedTrack(output, task, read)
        else:
            self.dub = SplicedTrack(output, task, task.splice, earlier, read)
        self._name(self.dub.encoder.stream)
        if task.original_index is not None:
            self._add_original(task.original_index)
        self._subtitles = self._add_subtitles()

    def _add_picture(self) -> None:
        stream = first_picture(self._source)
        if stream is None:
            return
        kind = self._task.container
        if not can_hold(self._output, stream, kind):
            name = stream.codec_context.codec.canonical_name.upper()
            raise MediaRejected(f"{kind.upper()} cannot hold a picture in {name}; choose MKV.")
        self._tracks[stream.index] = CopiedTrack(self._output, stream, kind)
        self._output.set_chapters(self._source.chapters())

    def _name(self, dubbed: "Stream") -> None:
        dubbed.metadata["language"] = self._task.language
        dubbed.metadata["title"] = dubbed.metadata["handler_name"] = self._task.title
        dubbed.disposition = av.stream.Disposition.default | av.stream.Disposition.dub

    def _add_original(self, index: int) -> None:
        stream = next((s for s in self._source.streams.audio if s.index == index), None)
        if stream is None or stream.codec_context is None:
            raise MediaRejected(f"The file has no sound track {index}.")
        kind = self._task.container
        self.original_copied = can_hold(self._output, stream, kind)
        track: Track
        if self.original_copied:
            track = CopiedTrack(self._output, stream, kind)
            track.stream.disposition = ORIGINAL
        else:
            track = ReencodedTrack(self._output, stream, kind)
            self.warnings.append("The original sound was encoded anew, for this kind of file cannot hold it as it was.")
        if self._task.original_title:
            track.stream.metadata["title"] = track.stream.metadata["handler_name"] = self._task.original_title
        self._tracks[index] = track

    def _add_subtitles(self) -> list[SubtitleWriter]:
        kind = self._task.container
        if kind not in {"mp4", "mov", "mkv", "webm"}:
            return []
        writers = [SubtitleWriter(self._output, kind, track) for track in self._task.subtitles]
        for stream in self._source.streams.subtitles:
            if can_hold(self._output, stream, kind):
                self._tracks[stream.index] = CopiedTrack(self._output, stream, kind)
            else:
                self.warnings.append(f"A subtitle track was left out: {kind.upper()} cannot hold it as it is.")
        return writers

    def run(self) -> None:
        """Copy, with sound and subtitles written as the picture advances."""
        for packet in self._packets():
            if packet.dts is not None and packet.time_base is not None:
                self._advance(float(packet.dts * packet.time_base))
            self._tracks[packet.stream_index].take(packet)
        self._advance(float("inf"))
        self.dub.finish()
        for track in self._tracks.values():
            track.finish()

    def _advance(self, until_s: float) -> None:
        self.dub.advance(until_s)
        for writer in self._subtitles:
            writer.advance(until_s)

    def _packets(self) -> Iterator["av.Packet[Stream]"]:
        """Packets of the tracks that are kept, in the file's order."""
        if not self._tracks:
            return
        packets = self._source.demux([self._source.streams[index] for index in self._tracks])
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except MEDIA_ERRORS:
                self.warnings.append("The file breaks off before its end; what comes after is left out.")
                return
            if packet.size:
                yield packet


class Track(Protocol):
    """A track that is fed with the source's packets."""

    @property
    def stream(self) -> "Stream": ...
    def take(self, packet: "av.Packet[Stream]") -> None: ...
    def finish(self) -> None: ...


class DubbedTrack:
    """The new sound, read from the parent, made as long as the plan says."""

    def __init__(self, output: "OutputContainer", task: wire.MuxRequest, read: ReadSamples) -> None:
        codec = codec_for(task.container, task.rate_hz)
        wanted = task.length
        length = None if wanted is None else resampled_length(wanted, task.rate_hz, codec.rate_hz)
        self.encoder = SoundEncoder(output, codec, task.channels, task.start_s, length)
        self._resampler = Resampler(task.rate_hz, codec.rate_hz, task.channels)
        self._read = read
        self._block = round(_BLOCK_S * task.rate_hz)
        self._channels = task.channels
        self._wanted = wanted
        self._taken = 0
        self._ended = False
        self.padded = 0
        self.cut = 0

    def advance(self, until_s: float) -> None:
        """Read and encode up to this time on the file's timeline, or to the end of what comes."""
        while not self._ended and self.encoder.time_s < until_s:
            samples = self._read(self._block)
            self._ended = len(samples) < self._block
            if self._wanted is not None:
                kept = samples[: max(0, self._wanted - self._taken)]
                self.cut += len(samples) - len(kept)
                samples = kept
            self._take(samples)

    def finish(self) -> None:
        """Pad to the plan's length and end the track."""
        while self._wanted is not None and self._taken < self._wanted:
            missing = min(self._block, self._wanted - self._taken)
            self.padded += missing
            self._take(np.zeros((missing, self._channels), np.float32))
        self.encoder.encode(self._resampler.finish())
        self.encoder.finish()

    def _take(self, samples: NDArray[np.float32]) -> None:
        self._taken += len(samples)
        self.encoder.encode(self._resampler.push(samples))
