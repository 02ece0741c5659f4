"""Hours: what a file of two hours takes that one of minutes does not, and whether it stays in sync to its end."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from benchmarks.calls import CallJournal, SynthesizeCall
from benchmarks.figure import Figure, Section, at_least, at_most, ratio
from benchmarks.long_section import HIBARI, KOKORO, recorded
from benchmarks.long_talk import RATE_HZ, LongTalk, long_talk
from benchmarks.quality import MATCHED_S, placed_speech, start_error_s
from benchmarks.served import ServedDub, Server
from benchmarks.sound import Track, read_track
from octavia_stream.audio.chunk import ASR_RATE_HZ, Samples
from octavia_stream.config import Settings
from octavia_stream.events.event import SegmentDubbed

SHORT_MINUTES, MIDDLE_MINUTES, LONG_MINUTES = 5.0, 10.0, 120.0
GROWING = ("JobWorker replica", "jailed media child")
"""Processes through which all of the sound goes."""
AROUND_S = 1.0
"""Of the dub, so much is looked at before and after where a sentence should begin."""


async def measure_hours(minutes: float, settings: Settings, directory: Path) -> Section:
    """Five minutes, ten, and `minutes`, with the light voice and watched while they are made."""
    async with recorded(settings, HIBARI) as (server, journal):
        short = await _dub(server, await long_talk(directory, HIBARI.spoken, SHORT_MINUTES), directory)
        middle = await _dub(server, await long_talk(directory, HIBARI.spoken, MIDDLE_MINUTES), directory)
        journal.clear()
        talk = await long_talk(directory, HIBARI.spoken, minutes)
        long = await _dub(server, talk, directory)
    figures = [
        Figure("speech dubbed", talk.duration_s, "s"),
        Figure("wall", long.wall_s, "s"),
        *_memory_figures(short, long),
        *_first_figures(middle, long),
        *await _sync_figures(talk, long, journal),
    ]
    others = {"ten minutes": middle.usage.other_cores, "the longest": long.usage.other_cores}
    return Section(f"Hours: {minutes:g} minutes, {HIBARI.name}", figures, others)


async def measure_first(settings: Settings, directory: Path) -> Section:
    """When ten minutes can first be heard with the voice that takes longest."""
    talk = await long_talk(directory, KOKORO.spoken, MIDDLE_MINUTES)
    async with recorded(settings, KOKORO) as (server, _):
        served = await _dub(server, talk, directory, KOKORO.target)
    share = ratio(served.playable_s, served.wall_s - served.uploaded_s)
    figures = [
        Figure("wall", served.wall_s, "s"),
        Figure("first dubbed second can be played after", served.playable_s, "s"),
        Figure("that is, of the whole", 100 * share, "%", at_most(10)),
    ]
    return Section(f"Ten minutes watched: {KOKORO.name}", figures, {"server": served.usage.other_cores})


async def _dub(server: Server, talk: LongTalk, directory: Path, target: str = HIBARI.target) -> ServedDub:
    return await server.dub(talk.path, directory, server.role, target=target, stream=True, duration_s=talk.duration_s)


def _memory_figures(short: ServedDub, long: ServedDub) -> list[Figure]:
    figures = []
    for role in GROWING:
        few, many = short.usage.peak_mib.get(role, 0.0), long.usage.peak_mib.get(role, 0.0)
        figures += [
            Figure(f"largest {role}, {SHORT_MINUTES:g} minutes", few, "MiB"),
            Figure(f"largest {role}, the longest", many, "MiB"),
            Figure(f"{role}: longest / shortest", ratio(many, few), "×", at_most(1.15)),
        ]
    return figures


def _first_figures(middle: ServedDub, long: ServedDub) -> list[Figure]:
    whole_s = middle.wall_s - middle.uploaded_s
    return [
        Figure(f"{MIDDLE_MINUTES:g} minutes: wall", middle.wall_s, "s"),
        Figure(f"{MIDDLE_MINUTES:g} minutes: first dubbed second can be played after", middle.playable_s, "s"),
        Figure("that is, of the whole", 100 * ratio(middle.playable_s, whole_s), "%", at_most(10)),
        Figure("the longest: first dubbed second can be played after", long.playable_s, "s"),
        Figure(
            f"that is, of the whole of {MIDDLE_MINUTES:g} minutes",
            100 * ratio(long.playable_s, whole_s),
            "%",
            at_most(10),
        ),
    ]


async def _sync_figures(talk: LongTalk, served: ServedDub, journal: CallJournal) -> list[Figure]:
    dub = await read_track(served.dub, ASR_RATE_HZ)
    length = round(dub.length * RATE_HZ / dub.rate_hz) if dub.rate_hz != RATE_HZ else dub.length
    errors = _start_errors(served.segments, journal, dub)
    found_ms = [1000 * abs(error) for error in errors if error is not None] or [float("nan")]
    return [
        Figure("dub longer than the talk by", length - talk.length, "samples", at_most(0)),
        Figure("sentences", len(served.segments)),
        Figure("sentences inside their slot", 100 * served.inside_share, "%", at_least(95)),
        Figure("sentences that start before the one before has ended", overlaps(served.segments), "", at_most(0)),
        Figure("sentences found in the dub by their sound", 100 * ratio(len(found_ms), len(errors)), "%"),
        Figure("start against plan, worst", max(found_ms), "ms", at_most(40)),
        Figure("start against plan, last that was found", found_ms[-1], "ms", at_most(40)),
    ]


def overlaps(segments: Sequence[SegmentDubbed]) -> int:
    """How many sentences sound while the one before still does."""
    return sum(after.start_s < before.end_s for before, after in itertools.pairwise(segments))


def _start_errors(segments: Sequence[SegmentDubbed], journal: CallJournal, dub: Track) -> list[float | None]:
    """For each sentence whose speech was kept."""
    waiting: dict[str, list[SegmentDubbed]] = {}
    for segment in segments:
        waiting.setdefault(segment.text, []).append(segment)
    errors: dict[int, float | None] = {}
    for call in journal:
        # The same words are said at the same speed again, or the second of them is looked for in vain.
        if isinstance(call, SynthesizeCall) and call.text in waiting:
            for segment in waiting[call.text]:
                error = _start_error_s(call, segment, dub.sound.samples)
                if errors.get(segment.index) is None:
                    errors[segment.index] = error
    return [errors[index] for index in sorted(errors)]


def _start_error_s(call: SynthesizeCall, segment: SegmentDubbed, track: Samples) -> float | None:
    """As `start_error_s`, which looks through all of a track that it is given."""
    first = max(round((segment.start_s - AROUND_S) * ASR_RATE_HZ), 0)
    part = track[first : first + round((2 * AROUND_S + MATCHED_S) * ASR_RATE_HZ)]
    return start_error_s(placed_speech(call, segment), segment.start_s - first / ASR_RATE_HZ, part)
