"""`octavia dub`: one file in, its dub beside you."""

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from octavia_stream.cli.client import Client, Credentials, local_credentials
from octavia_stream.config import Settings
from octavia_stream.errors import InvalidRequest, JobCancelled, OctaviaError
from octavia_stream.events import event as events
from octavia_stream.jobs.sources import choose_track
from octavia_stream.languages import language_name, parse_language
from octavia_stream.launcher.stack import Stack, running_server
from octavia_stream.media.probe import probe
from octavia_stream.models.registry import Registry
from octavia_stream.mt.routes import plan_route

STAGE_NAMES = {"transcribe": "transcribe", "translate": "translate", "synthesize": "speak", "assemble": "assemble"}


class DubFailed(OctaviaError):
    """The job failed."""

    code = "job_failed"


@dataclass(frozen=True, slots=True)
class DubOrder:
    """What the command line asked for."""

    file: Path
    to: str
    source: str | None
    voice: str | None
    output: Path
    original_gain_db: float
    keep_original_track: bool
    audio_track: int | None


async def dub(order: DubOrder, server: str | None, account: Credentials | None, settings: Settings) -> int:
    """Dub a file through the server named, the one that runs here, or one started for this. Returns the exit code."""
    console = Console(stderr=False)
    _check_paths(order)
    if server is None:
        await _check_media(order, settings)
        account = local_credentials(settings.home)
    async with _server(server, settings, console) as url, Client(url) as client:
        if account is None:
            raise InvalidRequest("Give --email and OCTAVIA_PASSWORD to use another machine's server.")
        await client.log_in(account, sign_up=server is None)
        return await _run(order, client, console)


def _check_paths(order: DubOrder) -> None:
    file = order.file
    if not file.exists():
        raise InvalidRequest(f"There is no file {file}.")
    if file.is_dir():
        raise InvalidRequest(f"{file} is a directory; name one audio or video file.")
    if file.stat().st_size == 0:
        raise InvalidRequest(f"{file} is empty.")


async def _check_media(order: DubOrder, settings: Settings) -> None:
    """Say no before anything is started, when it is already clear that the server would."""
    target = parse_language(order.to)
    registry = Registry(settings.models, settings.home)
    registry.choose_voice(target, order.voice)
    if order.source is not None:
        plan_route(parse_language(order.source), target, registry.mt_pairs())
    choose_track(await probe(order.file, settings.media), order.audio_track)


@asynccontextmanager
async def _server(server: str | None, settings: Settings, console: Console) -> AsyncIterator[str]:
    url = server or await running_server(settings)
    if url is not None:
        yield url
        return
    # Only this command talks to it: any port will do, and 8000 may be somebody else's.
    own = settings.model_copy(update={"api": settings.api.model_copy(update={"port": 0})})
    stack = Stack(own, console)
    try:
        yield await stack.start()
    finally:
        await stack.stop()


async def _run(order: DubOrder, client: Client, console: Console) -> int:
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    with _bars(console) as progress:
        job_id = await _submit(order, client, progress)
        following = asyncio.create_task(_follow(client, job_id, progress))
        waiting = asyncio.create_task(interrupted.wait())
        await asyncio.wait({following, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if interrupted.is_set() and not following.done():
            console.print("Cancelling the job …")
            await client.cancel(job_id)
        waiting.cancel()
        warnings = await following
    paths = await _fetch(order, client, job_id)
    for warning in warnings:
        console.print(f"[yellow]Warning:[/] {warning}", highlight=False)
    console.print("Dubbed into " + language_name(parse_language(order.to)) + ":")
    for path in paths:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    return 0


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
    )


async def _submit(order: DubOrder, client: Client, progress: Progress) -> str:
    bar = progress.add_task("upload", total=order.file.stat().st_size, note="")
    upload_id = await client.upload(order.file, lambda count: progress.advance(bar, count))
    options: dict[str, object] = {
        "upload_id": upload_id,
        "target_language": order.to,
        "original_gain_db": order.original_gain_db,
        "keep_original_track": order.keep_original_track,
    }
    optional = {"source_language": order.source, "voice": order.voice, "audio_track": order.audio_track}
    return await client.create_job(options | {name: value for name, value in optional.items() if value is not None})


class _Board:
    """One bar a stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {
            stage: progress.add_task(name, total=None, note="") for stage, name in STAGE_NAMES.items()
        }
        self._total = progress.add_task("all", total=100, note="waiting for a worker")

    def show(self, event: events.Progress) -> None:
        for stage, count in event.stages.items():
            # A total that may still grow is no total yet.
            total = count.total if count.final else None
            self._progress.update(self._bars[stage], completed=count.done, total=total, note=_count(count))
        left = f"about {round(event.remaining_s)} s left" if event.remaining_s is not None else ""
        self._progress.update(self._total, completed=event.percent, note=left)

    def finish(self) -> None:
        for bar in self._bars.values():
            self._progress.update(bar, completed=1, total=1)
        self._progress.update(self._total, completed=100, note="")


def _count(count: events.StageCount) -> str:
    return f"{count.done} of {count.total}{'' if count.final else '+'}" if count.total else ""


async def _follow(client: Client, job_id: str, progress: Progress) -> list[str]:
    """Show events until the job ends. Returns its warnings; raises DubFailed, JobCancelled."""
    board = _Board(progress)
    warnings: list[str] = []
    async for record in client.events(job_id):
        match record.event:
            case events.Progress() as told:
                board.show(told)
            case events.Warned(message=message):
                warnings.append(message)
            case events.Analysed() as found:
                spoken = language_name(parse_language(found.source_language))
                progress.console.print(f"Heard {spoken}, {found.duration_s:.0f} s; speaking with {found.voice}.")
            case events.Failed(message=message):
                raise DubFailed(message)
            case events.Cancelled():
                raise JobCancelled("The job was cancelled.")
            case events.Completed():
                board.finish()
            case _:
                pass
    return warnings


async def _fetch(order: DubOrder, client: Client, job_id: str) -> list[Path]:
    """Download the dub and its subtitles, named after the source."""
    job = await client.job(job_id)
    order.output.mkdir(parents=True, exist_ok=True)
    target = parse_language(order.to)
    stem = order.file.stem
    paths: list[Path] = []
    for artifact in job["artifacts"]:
        name = str(artifact["name"])
        own = f"{stem}.{target}{Path(name).suffix}" if name.startswith("dub.") else f"{stem}.{name}"
        path = order.output / own
        await client.download(job_id, name, path)
        paths.append(path)
    return paths


def account_from(email: str | None, password: str | None) -> Credentials | None:
    """Both or neither."""
    if email is None:
        return None
    if not password:
        raise InvalidRequest("Put the password for --email into OCTAVIA_PASSWORD.")
    return Credentials(email, password)
