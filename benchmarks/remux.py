"""Bare PyAV: packets from one file to another, and a long file made of a short one."""

import time
from pathlib import Path

import av


def remux_seconds(source: Path, output: Path) -> float:
    """Copy every packet of picture and sound, with nothing added; returns how long that took."""
    started_at = time.perf_counter()
    with av.open(str(source)) as reader, av.open(str(output), "w") as writer:
        kept = [*reader.streams.video, *reader.streams.audio]
        copies = {stream.index: writer.add_stream_from_template(stream) for stream in kept}
        for packet in reader.demux(kept):
            if packet.dts is None:
                continue
            packet.stream = copies[packet.stream_index]
            writer.mux(packet)
    return time.perf_counter() - started_at


def repeat_packets(source: Path, output: Path, size: int) -> None:
    """Write the packets of a short file again and again, until about `size` bytes are there."""
    times = -(-size // source.stat().st_size)
    with av.open(str(output), "w") as writer:
        copies: dict[int, av.stream.Stream] = {}
        for turn in range(times):
            with av.open(str(source)) as reader:
                kept = [*reader.streams.video, *reader.streams.audio]
                for stream in kept if turn == 0 else ():
                    copies[stream.index] = writer.add_stream_from_template(stream)
                shift_s = turn * _length_s(reader)
                for packet in reader.demux(kept):
                    if packet.dts is None or packet.pts is None or packet.time_base is None:
                        continue
                    shift = round(shift_s / packet.time_base)
                    packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                    packet.stream = copies[packet.stream_index]
                    writer.mux(packet)


def _length_s(container: "av.container.InputContainer") -> float:
    return (container.duration or 0) / av.time_base + 0.1
