"""A job that a command asks for: sent to a server, watched until it ends, its results fetched."""

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from octavia_stream.cli.client import Client, Credentials, local_credentials
from octavia_stream.config import Settings
from octavia_stream.dubbing.glossary import Glossary
from octavia_stream.errors import InvalidRequest, JobCancelled, OctaviaError
from octavia_stream.events import event as events
from octavia_stream.jobs.job import JobKind
from octavia_stream.languages import Language, language_name, parse_language
from octavia_stream.launcher.stack import Stack, running_server

STAGE_NAMES = {
    "transcribe": "transcribe",
    "translate": "translate",
    "synthesize": "speak",
    "assemble": "assemble",
    "draw": "draw",
}
STAGES: dict[JobKind, tuple[str, ...]] = {
    "video-translate": ("transcribe", "translate", "synthesize", "assemble"),
    "audio-translate": ("transcribe", "translate", "synthesize", "assemble"),
    "subtitle-generate": ("transcribe", "translate"),
    "subtitle-translate": ("translate",),
    "subtitle-to-audio": ("translate", "synthesize", "assemble"),
}

FileType = Literal["video", "audio", "subtitle"]
Wish = Mapping[str, object]


class JobFailed(OctaviaError):
    """The job failed."""

    code = "job_failed"


@dataclass(frozen=True, slots=True)
class Order:
    """What the command line asked for."""

    kind: JobKind
    file: Path
    file_type: FileType
    wish: Wish
    """Fields of the job's request; those that are None are left out."""
    output: Path
    """The folder that results go to."""
    done: str
    """What to say above the results."""
    language: Language | None = None
    """Of the main result, for its name; None when results are named after their languages."""
    others: Mapping[str, tuple[Path, FileType]] = field(default_factory=dict)
    """More files to upload: field of the request → the file."""


async def carry_out(
    order: Order,
    server: str | None,
    account: Credentials | None,
    settings: Settings,
    check: Callable[[], Awaitable[None]],
) -> int:
    """Do it through the server named, the one that runs here, or one started for this. Returns the exit code.

    check: says no, before anything is started, when it is already clear that the server of this machine would.
    """
    console = Console(stderr=False)
    for path in (order.file, *(path for path, _ in order.others.values())):
        check_path(path)
    if server is None:
        await check()
        account = local_credentials(settings.home)
    async with reached_server(server, settings, console) as url, Client(url) as client:
        if account is None:
            raise InvalidRequest("Give --email and OCTAVIA_PASSWORD to use another machine's server.")
        await client.log_in(account, sign_up=server is None)
        return await _run(order, client, console)


def check_path(file: Path) -> None:
    """Say no to what cannot be a file of use. Raises InvalidRequest."""
    if not file.exists():
        raise InvalidRequest(f"There is no file {file}.")
    if file.is_dir():
        raise InvalidRequest(f"{file} is a directory; name one file in it.")
    if file.stat().st_size == 0:
        raise InvalidRequest(f"{file} is empty.")


@asynccontextmanager
async def reached_server(server: str | None, settings: Settings, console: Console) -> AsyncIterator[str]:
    """The URL of the server named, of the one that runs here, or of one started for this and stopped after it."""
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


async def _run(order: Order, client: Client, console: Console) -> int:
    interrupted = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupted.set)
    with _bars(console) as progress:
        job_id = await _submit(order, client, progress)
        following = asyncio.create_task(_follow(client, job_id, progress, STAGES[order.kind]))
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
    await _say_how_good(client, job_id, console)
    console.print(f"{order.done}:")
    for path in paths:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
    return 0


async def _say_how_good(client: Client, job_id: str, console: Console) -> None:
    """A line for each dub, from the job's report."""
    report = (await client.job(job_id))["report"].get("quality")
    for language, figures in (report["dubs"] if report else {}).items():
        console.print(quality_line(language, figures, several=len(report["dubs"]) > 1), highlight=False, soft_wrap=True)


def quality_line(language: str, figures: Mapping[str, Any], *, several: bool) -> str:
    """What `jobs.judging.summary` says of one dub, in words."""
    said = [
        f"{figures['coverage']:.0%} of the sentences said",
        f"{figures['inside_share']:.0%} in their time",
        f"{figures['stretched_share']:.0%} stretched",
        f"worst overrun {figures['worst_overrun_s']:.1f} s",
        f"{figures['dub_lufs']:.1f} LUFS",
    ]
    if figures["heard_language"] is not None:
        heard = language_name(parse_language(figures["heard_language"]))
        said.append(f"heard as {heard}, {figures['word_error_rate']:.0%} of the words otherwise")
    if not figures["passed"]:
        said.append(f"not as it should be: {', '.join(figures['failed'])}")
    name = f"Quality ({language_name(parse_language(language))})" if several else "Quality"
    return f"{name}: {', '.join(said)}."


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
        console=console,
    )


async def _submit(order: Order, client: Client, progress: Progress) -> str:
    upload_id = await _upload(order.file, order.file_type, client, progress)
    others = {name: await _upload(path, kind, client, progress) for name, (path, kind) in order.others.items()}
    wish = {name: value for name, value in order.wish.items() if value is not None}
    return await client.create_job({"upload_id": upload_id, **others, **wish}, order.kind)


async def _upload(path: Path, file_type: FileType, client: Client, progress: Progress) -> str:
    size = (await asyncio.to_thread(path.stat)).st_size
    bar = progress.add_task("upload", total=size, note="")
    return await client.upload(path, lambda count: progress.advance(bar, count), file_type)


class _Board:
    """One bar a stage."""

    def __init__(self, progress: Progress, stages: tuple[str, ...]) -> None:
        self._progress = progress
        self._bars: dict[str, TaskID] = {
            stage: progress.add_task(STAGE_NAMES[stage], total=None, note="") for stage in stages
        }
        self._total = progress.add_task("all", total=100, note="waiting for a worker")

    def show(self, event: events.Progress) -> None:
        for stage, count in event.stages.items():
            # A total that may still grow is no total yet.
            total = count.total if count.final else None
            if stage not in self._bars:
                # Only some jobs have it.
                self._bars[stage] = self._progress.add_task(STAGE_NAMES[stage], total=None, note="")
            self._progress.update(self._bars[stage], completed=count.done, total=total, note=_count(count))
        left = f"about {round(event.remaining_s)} s left" if event.remaining_s is not None else ""
        self._progress.update(self._total, completed=event.percent, note=left)

    def finish(self) -> None:
        for bar in self._bars.values():
            self._progress.update(bar, completed=1, total=1)
        self._progress.update(self._total, completed=100, note="")


def _count(count: events.StageCount) -> str:
    return f"{count.done} of {count.total}{'' if count.final else '+'}" if count.total else ""


async def _follow(client: Client, job_id: str, progress: Progress, stages: tuple[str, ...]) -> list[str]:
    """Show events until the job ends. Returns its warnings; raises JobFailed, JobCancelled."""
    board = _Board(progress, stages)
    warnings: list[str] = []
    async for record in client.events(job_id):
        match record.event:
            case events.Progress() as told:
                board.show(told)
            case events.Warned(message=message):
                warnings.append(message)
            case events.Analysed() as found:
                spoken = language_name(parse_language(found.source_language))
                speaking = f"; speaking with {found.voice}" if found.voice else ""
                heard = "Heard " if "transcribe" in stages else ""
                progress.console.print(f"{heard}{spoken}, {found.duration_s:.0f} s{speaking}.")
            case events.StreamReady(picture=picture):
                kind = "Watch" if picture else "Listen to"
                url = client.stream_url(job_id)
                progress.console.print(f"{kind} what is dubbed: {url}", highlight=False, soft_wrap=True)
            case events.Failed(message=message):
                raise JobFailed(message)
            case events.Cancelled():
                raise JobCancelled("The job was cancelled.")
            case events.Completed():
                board.finish()
            case _:
                pass
    return warnings


async def _fetch(order: Order, client: Client, job_id: str) -> list[Path]:
    """Download the results, named after the source."""
    job = await client.job(job_id)
    order.output.mkdir(parents=True, exist_ok=True)
    stem = order.file.stem
    source = job["options"].get("source_language")
    if source is not None and stem.lower().endswith(f".{source}"):
        stem = stem[: -len(source) - 1]
    paths: list[Path] = []
    for artifact in job["artifacts"]:
        name = str(artifact["name"])
        path = order.output / f"{stem}.{_beside(name, order.language)}"
        await client.download(job_id, name, path)
        paths.append(path)
    return paths


def read_glossary(path: Path | None) -> dict[str, object] | None:
    """A JSON file with what a job may say of words, as it is sent. Raises InvalidRequest."""
    if path is None:
        return None
    try:
        content = path.read_bytes()
        msgspec.json.decode(content, type=Glossary)
        sent: dict[str, object] = msgspec.json.decode(content)
    except OSError as error:
        raise InvalidRequest(f"The glossary {path} cannot be read.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"The glossary {path} cannot be used: {error}.") from error
    return sent


def _beside(artifact: str, language: Language | None) -> str:
    """What follows the source's name: the language in place of `dub`."""
    main = artifact.startswith("dub.")
    if main and language is not None:
        return f"{language}{artifact.removeprefix('dub')}"
    return artifact.removeprefix("dub.") if main else artifact
