"""Picture copy: the jailed muxer against the barest loop that PyAV allows, on the same file."""

import statistics
import time
from pathlib import Path

import numpy as np

from benchmarks.figure import Figure, Section, at_least, ratio
from benchmarks.processes import MIB, Observer
from benchmarks.remux import remux_seconds, repeat_packets
from benchmarks.talk import VIDEO
from octavia_stream.config import MediaSettings
from octavia_stream.languages import Language
from octavia_stream.media.info import AudioTrack, MediaInfo
from octavia_stream.media.muxer import Muxer, MuxPlan
from octavia_stream.media.probe import probe, require_audio

SIZE = 400 * MIB
QUICK_SIZE = 40 * MIB
TIMES = 3
"""Taken in turns; the median counts, for these take seconds and a machine hiccups."""


async def measure_copying(directory: Path, *, quick: bool) -> Section:
    """Copy a long video with next to no dubbed sound, and with a dubbed track as long as the picture."""
    source = directory / "long.mp4"
    repeat_packets(VIDEO, source, QUICK_SIZE if quick else SIZE)
    settings = MediaSettings()
    info = await probe(source, settings)
    track = require_audio(info)[0]
    bare: list[float] = []
    copied: list[float] = []
    with Observer() as observer:
        for _ in range(TIMES):
            bare.append(remux_seconds(source, directory / "bare.mp4"))
            copied.append(await _muxer_seconds(source, directory / "copied.mp4", track, 1.0))
        start_s = await _muxer_seconds(VIDEO, directory / "short.mp4", track, 1.0)
        dubbed_s = await _muxer_seconds(source, directory / "dubbed.mp4", track, info.duration_s)
    return Section("Picture copy", _figures(info, bare, copied, start_s, dubbed_s), {"all": observer.usage.other_cores})


def _figures(info: MediaInfo, bare: list[float], copied: list[float], start_s: float, dubbed_s: float) -> list[Figure]:
    size = info.size / MIB
    bare_s, copied_s = statistics.median(bare), statistics.median(copied)
    return [
        Figure("video copied", size, "MiB"),
        Figure("its length", info.duration_s, "s"),
        Figure("bare remux", ratio(size, bare_s), "MiB/s"),
        Figure("muxer", ratio(size, copied_s), "MiB/s"),
        Figure("muxer / bare remux", ratio(bare_s, copied_s), "×", at_least(0.8)),
        Figure("muxer on ten seconds of video", start_s, "s"),
        Figure("muxer with a whole dubbed track encoded", ratio(size, dubbed_s), "MiB/s"),
    ]


async def _muxer_seconds(source: Path, output: Path, track: AudioTrack, sound_s: float) -> float:
    plan = MuxPlan(
        container="mp4",
        rate_hz=track.rate_hz,
        channels=min(track.channels, 2),
        language=Language("pt"),
        title="Portuguese (dubbed)",
        source_track=track,
    )
    block = np.random.default_rng(0).uniform(-0.1, 0.1, (track.rate_hz, plan.channels)).astype(np.float32)
    started_at = time.perf_counter()
    async with Muxer(source, output, plan, MediaSettings()) as muxer:
        for _ in range(round(sound_s)):
            await muxer.write(block)
        await muxer.close()
    return time.perf_counter() - started_at
