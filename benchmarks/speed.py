"""Speed: the whole server against the same engines flat out, and against the script that a user would write."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.calls import Call, SynthesizeCall, cpu_s
from benchmarks.figure import Figure, Section, at_least, at_most, ratio
from benchmarks.flat_out import FlatOut, run_flat_out
from benchmarks.machine import cores
from benchmarks.processes import Observer, Usage
from benchmarks.sequential import Timing
from benchmarks.served import TARGET, ServedDub
from benchmarks.talk import Talk
from octavia_stream.config import Settings
from octavia_stream.dubbing.batch import SPEECH_STAGES
from octavia_stream.languages import Language
from octavia_stream.launcher.environment import environment_of

SEQUENTIAL_DEADLINE_S = 1200.0
SEQUENTIAL_DEADLINE_PER_S = 2.0
"""Seconds that the script may take for each of a longer talk."""
SPOKEN = Language("en")
ROOT = Path(__file__).parents[1]


def measure_speed(talk: Talk, served: ServedDub, calls: Sequence[Call], settings: Settings, directory: Path) -> Section:
    """served, calls: the server's run and the calls of its engines in it."""
    flat_out = run_flat_out(calls, settings)
    timing, sequential = run_sequential(talk.path, talk.duration_s, (SPOKEN, Language(TARGET)), settings, directory)
    figures = [
        *_server_figures(talk, served, calls),
        *_bound_figures(served, flat_out),
        *_script_figures(served, calls, flat_out, timing),
    ]
    others = {
        "server": served.usage.other_cores,
        "lower bound": flat_out.usage.other_cores,
        "sequential script": sequential.other_cores,
    }
    return Section("Speed", figures, others)


def run_sequential(
    source: Path, duration_s: float, languages: tuple[Language, Language], settings: Settings, directory: Path
) -> tuple[Timing, Usage]:
    """The script, in a process of its own. Raises CalledProcessError, TimeoutExpired.

    languages: what is spoken in the source, and what it is dubbed into.
    """
    command = [sys.executable, "-m", "benchmarks.sequential", str(source), str(directory / "sequential.flac")]
    threads = {"OMP_NUM_THREADS": str(cores()), "OPENBLAS_NUM_THREADS": str(cores())}
    with Observer() as observer:
        done = subprocess.run(
            [*command, *languages],
            cwd=ROOT,
            env=environment_of(settings, os.environ) | threads,
            stdout=subprocess.PIPE,
            timeout=max(SEQUENTIAL_DEADLINE_S, SEQUENTIAL_DEADLINE_PER_S * duration_s),
            check=True,
        )
    return msgspec.json.decode(done.stdout, type=Timing), observer.usage


def _server_figures(talk: Talk, served: ServedDub, calls: Sequence[Call]) -> list[Figure]:
    model_s = cpu_s(call.cost for call in calls)
    stages = [
        Figure(f"server: {stage}, CPU", cpu_s(call.cost for call in calls if call.stage == stage), "s")
        for stage in SPEECH_STAGES
    ]
    return [
        Figure("speech dubbed", talk.duration_s, "s"),
        Figure("server: wall", served.wall_s, "s"),
        Figure("server: real-time factor", ratio(served.wall_s, talk.duration_s)),
        Figure("server: first dubbed second after", served.first_segment_s, "s"),
        *stages,
        Figure("server: pipeline efficiency", ratio(model_s, cores() * served.wall_s), "", at_least(0.80)),
        Figure("server: all other CPU per model CPU", 100 * ratio(served.usage.cpu_s - model_s, model_s), "%"),
    ]


def _bound_figures(served: ServedDub, flat_out: FlatOut) -> list[Figure]:
    stages = [Figure(f"flat out: {stage}, busy", seconds, "s") for stage, seconds in flat_out.busy_s.items()]
    return [
        *stages,
        Figure("flat out: CPU in all calls", flat_out.cpu_s, "s"),
        Figure("flat out: lower bound of wall", flat_out.bound_s, "s"),
        Figure("server / lower bound", ratio(served.wall_s, flat_out.bound_s), "×", at_most(1.25)),
        Figure("server / lower bound in CPU seconds", ratio(served.wall_s, flat_out.cpu_bound_s), "×", at_most(1.25)),
    ]


def _script_figures(served: ServedDub, calls: Sequence[Call], flat_out: FlatOut, timing: Timing) -> list[Figure]:
    spoken_s = sum(len(c.speech) / 2 / c.rate_hz for c in calls if isinstance(c, SynthesizeCall))
    return [
        Figure("sequential script: transcribe", timing.transcribe_s, "s"),
        Figure("sequential script: translate", timing.translate_s, "s"),
        Figure("sequential script: synthesize", timing.synthesize_s, "s"),
        Figure("sequential script: wall", timing.wall_s, "s"),
        Figure("sequential script / server", ratio(timing.wall_s, served.wall_s), "×", at_least(1.25)),
        Figure("sequential script / lower bound", ratio(timing.wall_s, flat_out.bound_s), "×"),
        Figure("speech made by the server", spoken_s, "s"),
        Figure("speech made by the script", timing.speech_s, "s"),
    ]


def measure_memory(served: ServedDub) -> Section:
    """What the processes held while the talk was dubbed."""
    usage = served.usage
    figures = [Figure(f"largest {role}", mib, "MiB") for role, mib in sorted(usage.peak_mib.items()) if role != "other"]
    return Section("Memory", [*figures, Figure("all processes together", usage.peak_sum_mib, "MiB")])
