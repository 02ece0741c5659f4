"""`python -m benchmarks.run`: measure, print one table, leave nothing behind."""

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
from rich.console import Console

from benchmarks import recording
from benchmarks.api_section import measure_api
from benchmarks.calls import Call, CallJournal, SynthesizeCall
from benchmarks.copying import measure_copying
from benchmarks.detector import load_detector
from benchmarks.editing import measure_editing
from benchmarks.fairness import measure_fairness
from benchmarks.figure import Section
from benchmarks.flat_out import load_engines
from benchmarks.hours_section import LONG_MINUTES, measure_first, measure_hours
from benchmarks.long_section import REGIMES, USUAL_MINUTES, Regime, measure_long
from benchmarks.machine import this_machine
from benchmarks.overhead import measure_overhead
from benchmarks.quality import measure_quality
from benchmarks.served import ServedDub, Server, serving
from benchmarks.speed import measure_memory, measure_speed
from benchmarks.table import Report, show, to_json
from benchmarks.talk import WARM_UP, Talk, excerpt, whole_talk
from octavia_stream.config import CacheSettings, Settings
from octavia_stream.errors import OctaviaError

PARTS = ("speed", "memory", "quality", "overhead", "copy", "edit", "api", "long", "hours", "fairness")
USUAL_PARTS = PARTS[:7]
"""The others take an hour together, and are measured when asked for."""
MOST_WARM_UPS = 4
FAILURES = (
    OctaviaError,
    OSError,
    httpx.HTTPError,
    TimeoutError,
    threading.BrokenBarrierError,
    subprocess.SubprocessError,
)


@dataclass(slots=True)
class Bench:
    """One call of the benchmarks."""

    settings: Settings
    directory: Path
    quick: bool
    console: Console
    talk: Talk
    minutes: float | None = None
    """How long the talks of `long` and `hours` are; None: as long as they are meant to be."""
    sections: list[Section] = field(default_factory=list)

    async def measure(self, parts: Sequence[str]) -> None:
        """Speed, memory and quality look at the same dub."""
        if {"speed", "memory", "quality"} & set(parts):
            await self._part("Dub", lambda: self._measure_dub(parts))
        if "overhead" in parts:
            await self._part("Overhead", self._measure_overhead)
        if "copy" in parts:
            await self._part("Picture copy", self._measure_copying)
        if "edit" in parts:
            await self._part("Editing", self._measure_editing)
        if "api" in parts:
            await self._part("API", self._measure_api)
        if "long" in parts:
            for regime in REGIMES:
                await self._part(f"Long talk: {regime.name}", partial(self._measure_long, regime))
        if "hours" in parts:
            await self._part("Ten minutes watched", self._measure_first)
            await self._part("Hours", self._measure_hours)
        if "fairness" in parts:
            await self._part("Fairness", self._measure_fairness)

    async def _part(self, name: str, measure: Callable[[], Awaitable[None]]) -> None:
        try:
            await measure()
        except FAILURES as error:
            self.sections.append(Section(name, [], failure=str(error) or type(error).__name__))

    async def _measure_dub(self, parts: Sequence[str]) -> None:
        serve = self.settings.serve.model_copy(update={"engines": recording.__name__})
        journal = CallJournal(recording.journal_directory(self.settings))
        self._say("Starting the server, and letting every replica load its models")
        async with serving(self.settings.model_copy(update={"serve": serve})) as server:
            await self._warm_up(server, journal)
            self._say("Dubbing through the server")
            served = await server.dub(self.talk.path, self.directory, server.role)
        calls = journal.read()
        if "speed" in parts:
            self._say("The same engine calls flat out, then the sequential script")
            # The server is down: nobody needs this loop, and nothing else should run.
            self.sections.append(measure_speed(self.talk, served, calls, self.settings, self.directory))
        if "memory" in parts:
            self.sections.append(measure_memory(served))
        if "quality" in parts:
            self._say("Listening to the result")
            self.sections.append(await self._measure_quality(served, calls))

    async def _warm_up(self, server: Server, journal: CallJournal) -> None:
        """Voices load their model at their first sentence; no replica should do that in the measured run."""
        for _ in range(MOST_WARM_UPS):
            await server.dub(WARM_UP, self.directory)
            speaking = {call.cost.pid for call in journal.read() if isinstance(call, SynthesizeCall)}
            if len(speaking) >= self.settings.serve.tts.min_replicas:
                break
        journal.clear()

    async def _measure_quality(self, served: ServedDub, calls: Sequence[Call]) -> Section:
        engines = load_engines(self.settings)
        detector = load_detector(self.settings)
        return await measure_quality(self.talk, served, calls, engines, detector, quick=self.quick)

    async def _measure_overhead(self) -> None:
        self._say("Dubbing with engines that cost nothing")
        section = await measure_overhead(self.talk, self.settings, self.directory, quick=self.quick)
        self.sections.append(section)

    async def _measure_editing(self) -> None:
        self.sections.append(await measure_editing(self.settings, self.directory, quick=self.quick))

    async def _measure_copying(self) -> None:
        self._say("Copying a picture")
        self.sections.append(await measure_copying(self.directory, quick=self.quick))

    async def _measure_api(self) -> None:
        self._say("Asking the api as fast as it answers")
        self.sections.append(await measure_api(self.settings, self.directory, quick=self.quick))

    async def _measure_long(self, regime: Regime) -> None:
        minutes = self.minutes or USUAL_MINUTES
        self._say(f"Dubbing {minutes:g} minutes ({regime.name}), then the same calls flat out, then the script")
        self.sections.append(await measure_long(regime, minutes, self.settings, self.directory))

    async def _measure_first(self) -> None:
        self._say("Watching ten minutes while they are dubbed")
        self.sections.append(await measure_first(self.settings, self.directory))

    async def _measure_hours(self) -> None:
        minutes = self.minutes or LONG_MINUTES
        self._say(f"Dubbing {minutes:g} minutes with the light voice, five and ten before")
        self.sections.append(await measure_hours(minutes, self.settings, self.directory))

    async def _measure_fairness(self) -> None:
        self._say("Dubbing for nine users, without and behind a long job of another")
        section = await measure_fairness(self.talk, self.settings, self.directory, quick=self.quick)
        self.sections.append(section)

    def _say(self, what: str) -> None:
        self.console.print(f"{what} …", highlight=False)


async def measure(
    parts: Sequence[str], directory: Path, console: Console, *, quick: bool, minutes: float | None = None
) -> Report:
    """Everything that was asked for, in a server of its own below `directory`."""
    settings = Settings()
    api = settings.api.model_copy(update={"port": 0})
    # Measured is work, not the remembering of an earlier run's.
    cache = CacheSettings(limit_bytes=0)
    settings = settings.model_copy(update={"home": directory / "home", "api": api, "cache": cache})
    # Whoever starts a process here starts it as the server starts its replicas.
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(settings.models.threads)))
    talk = await excerpt(directory) if quick else await whole_talk()
    bench = Bench(settings, directory, quick, console, talk, minutes)
    await bench.measure(parts)
    return Report(this_machine(), f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", quick, bench.sections)


def main() -> int:
    """Exit code 1 when a part could not be measured; a missed goal is a result, not a failure."""
    arguments = _arguments()
    # Told to end, it takes its server down and its files away as after Ctrl-C.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    console = Console()
    with tempfile.TemporaryDirectory(prefix="octavia-bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        # Postgres runs as another user when this one is root, and has to get there.
        directory.chmod(0o755)
        report = asyncio.run(
            measure(arguments.only, directory, console, quick=arguments.quick, minutes=arguments.minutes)
        )
    show(report, console)
    if arguments.json is not None:
        arguments.json.write_bytes(to_json(report))
    return int(any(section.failure for section in report.sections))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument(
        "--only", type=_parts, default=USUAL_PARTS, metavar=",".join(PARTS), help="measure these parts alone"
    )
    parser.add_argument("--quick", action="store_true", help="a short excerpt: for finding mistakes, not for quoting")
    parser.add_argument("--minutes", type=float, help="of the talks in long and hours; for finding mistakes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    return parser.parse_args()


def _parts(text: str) -> list[str]:
    chosen = text.split(",")
    unknown = set(chosen) - set(PARTS)
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
