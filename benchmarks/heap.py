"""What the heap of a replica is told at its start, against the C library's own ways: `python -m benchmarks.heap`.

Two threads of one process recognise chunks, as in a replica; the processes take turns, so that both meet the same load.
"""

import asyncio
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.figure import ratio
from benchmarks.sound import read_track
from benchmarks.talk import DATA
from octavia_stream import installed
from octavia_stream.asr.transcriber import TranscribeRequest
from octavia_stream.audio.chunk import ASR_RATE_HZ
from octavia_stream.config import Settings
from octavia_stream.languages import Language
from octavia_stream.launcher.ray_node import HEAP

TURNS = 3
DEADLINE_S = 120.0
TALK = DATA / "speech" / "en" / "lj_printing_4min.flac"
CHUNK_S = 14
AS_REPLICA = "--as-replica"


class Run(msgspec.Struct, frozen=True):
    """All chunks once, after they were warmed up with."""

    wall_s: float
    user_s: float
    kernel_s: float
    faults: int
    """Pages that the kernel had to bring."""
    peak_mib: float


def recognise(settings: Settings) -> Run:
    """In this process, with the heap that it was started with."""
    sound = asyncio.run(read_track(TALK, ASR_RATE_HZ)).sound
    step = CHUNK_S * ASR_RATE_HZ
    requests = [
        TranscribeRequest(sound.cut(start, start + step), Language("en")) for start in range(0, sound.end - step, step)
    ]
    engine = installed.transcriber(settings)
    with ThreadPoolExecutor(settings.serve.asr.concurrent_calls) as threads:

        def once() -> None:
            list(threads.map(lambda request: engine.transcribe_batch([request]), requests))

        once()
        before, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        once()
        wall_s, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    return Run(
        wall_s,
        after.ru_utime - before.ru_utime,
        after.ru_stime - before.ru_stime,
        after.ru_minflt - before.ru_minflt,
        after.ru_maxrss / 1024,
    )


def in_process(heap: dict[str, str]) -> Run:
    """Raises CalledProcessError, TimeoutExpired."""
    plain = {name: value for name, value in os.environ.items() if name not in HEAP}
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.heap", AS_REPLICA]
    done = subprocess.run(command, env=plain | threads | heap, stdout=subprocess.PIPE, timeout=DEADLINE_S, check=True)
    return msgspec.json.decode(done.stdout, type=Run)


def show(told: Sequence[Run], own: Sequence[Run]) -> None:
    """Medians of both, and how they compare."""
    table = Table("median", "as in a replica", "the C library's own", "ratio")
    for field in Run.__struct_fields__:
        here, there = (statistics.median(getattr(run, field) for run in runs) for runs in (told, own))
        table.add_row(field, f"{here:,.2f}", f"{there:,.2f}", f"{ratio(here, there):.2f}")
    Console().print(table)


def main() -> int:
    """Takes about a minute."""
    if AS_REPLICA in sys.argv[1:]:
        sys.stdout.buffer.write(msgspec.json.encode(recognise(Settings())))
        return 0
    pairs = [(in_process(HEAP), in_process({})) for _ in range(TURNS)]
    show([told for told, _ in pairs], [own for _, own in pairs])
    return 0


if __name__ == "__main__":
    sys.exit(main())
