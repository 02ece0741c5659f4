"""`python -m benchmarks.live`: a talk is spoken into a running server by WHIP, and its dub taken by WHEP, in real time.

    python -m benchmarks.live                                  # all parts
    python -m benchmarks.live --only lag --seconds 1800        # half an hour
    python -m benchmarks.live FILE --source pt --target en     # another talk

`lag` uses the models, `overhead` and `sessions` engines that cost nothing. `--log DIR` keeps what was heard and an
`instances.log` as SimulEval writes it.
"""

import argparse
import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from benchmarks.figure import Section
from benchmarks.live_sections import LiveServer, measure_lag, measure_overhead, measure_sessions
from benchmarks.machine import this_machine
from benchmarks.run import FAILURES
from benchmarks.sound import read_track
from benchmarks.table import Report, show, to_json
from benchmarks.talk import DATA
from octavia_stream import testing
from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.cli.client import Client, local_credentials
from octavia_stream.config import Settings
from octavia_stream.languages import Language
from octavia_stream.launcher.stack import Stack
from octavia_stream.live.frame import OUTPUT_RATE_HZ

PARTS = ("lag", "overhead", "sessions")
TALK = DATA / "speech" / "en" / "lj_printing_4min.flac"
USUAL_S = 300.0


@asynccontextmanager
async def serving_live(settings: Settings) -> AsyncIterator[LiveServer]:
    """A whole stack on `settings.home`, taken down at the end."""
    stack = Stack(settings)
    try:
        url = await stack.start()
        async with Client(url) as client:
            await client.log_in(local_credentials(settings.home), sign_up=True)
            yield LiveServer(client, stack.services_settings)
    finally:
        await stack.stop()


async def measure(wanted: argparse.Namespace, directory: Path, console: Console) -> Report:
    """What was asked for, in servers of its own below `directory`."""
    settings = _settings(directory)
    talk = (await read_track(wanted.file, OUTPUT_RATE_HZ)).sound
    text = wanted.file.with_suffix(".txt")
    words = text.read_text(encoding="utf-8") if text.exists() else None
    sections: list[Section] = []

    async def part(name: str, served: Settings, work: Callable[[LiveServer], Awaitable[Section]]) -> None:
        console.print(f"Measuring {name}", highlight=False)
        try:
            async with serving_live(served) as server:
                sections.append(await work(server))
        except FAILURES as error:
            sections.append(Section(name, [], failure=str(error) or type(error).__name__))

    if "lag" in wanted.only:
        await part(
            "lag",
            settings,
            lambda server: measure_lag(
                server, talk, words, wanted.source, wanted.target, wanted.seconds, wanted.latency, wanted.log
            ),
        )
    serve = settings.serve.model_copy(update={"engines": testing.__name__})
    costless = settings.model_copy(update={"serve": serve})
    if "overhead" in wanted.only:
        await part("overhead", costless, lambda server: measure_overhead(server, wanted.target))
    if "sessions" in wanted.only:
        await part("sessions", costless, lambda server: measure_sessions(server, _minute(talk), wanted.target))
    return Report(this_machine(), f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC", wanted.seconds < USUAL_S, sections)


def _settings(directory: Path) -> Settings:
    settings = Settings()
    api = settings.api.model_copy(update={"port": 0})
    # One account opens many sessions here, and all of it stays on this machine.
    standard = settings.limits.standard.model_copy(update={"live_sessions": 0})
    limits = settings.limits.model_copy(update={"standard": standard})
    live = settings.live.model_copy(update={"media_host": "127.0.0.1"})
    settings = settings.model_copy(
        update={"home": directory / "home", "api": api, "limits": limits, "live": live},
    )
    os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(settings.models.threads)))
    return settings


def _minute(talk: AudioChunk) -> AudioChunk:
    return talk.cut(0, 60 * talk.rate_hz)


def main() -> int:
    """Exit code 1 when a part could not be measured; a missed goal is a result, not a failure."""
    wanted = _arguments()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    console = Console()
    with tempfile.TemporaryDirectory(prefix="octavia-bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        # Postgres runs as another user when this one is root, and has to get there.
        directory.chmod(0o755)
        report = asyncio.run(measure(wanted, directory, console))
    show(report, console)
    if wanted.json is not None:
        wanted.json.write_bytes(to_json(report))
    return int(any(section.failure for section in report.sections))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.live", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", type=Path, nargs="?", default=TALK)
    parser.add_argument("--source", type=Language, default=Language("en"))
    parser.add_argument("--target", type=Language, default=Language("pt"))
    parser.add_argument("--seconds", type=float, default=USUAL_S, help="of the talk, which is repeated if shorter")
    parser.add_argument("--latency", default="balanced", choices=("low", "balanced", "quality"))
    parser.add_argument("--only", type=_parts, default=PARTS, metavar=",".join(PARTS), help="measure these parts alone")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures here")
    parser.add_argument("--log", type=Path, metavar="DIR", help="keep what was heard, for SimulEval's scorers")
    return parser.parse_args()


def _parts(text: str) -> Sequence[str]:
    chosen = text.split(",")
    if unknown := set(chosen) - set(PARTS):
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    return chosen


if __name__ == "__main__":
    sys.exit(main())
