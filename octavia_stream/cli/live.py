"""`octavia live`: a file, spoken into a live session as if somebody said it now, and the dub that comes back."""

import asyncio
import time
import wave
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
import msgspec
import numpy as np
from aiortc import RTCIceServer
from av import AudioFrame
from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from octavia_stream.audio.chunk import AudioChunk
from octavia_stream.captions.cues import SpokenText, make_cues, write_vtt
from octavia_stream.cli.account import account_from
from octavia_stream.cli.client import Client, Credentials, local_credentials
from octavia_stream.cli.order import check_path, reached_server
from octavia_stream.config import Settings
from octavia_stream.errors import EngineUnavailable, InvalidRequest
from octavia_stream.jobs.sources import choose_track
from octavia_stream.languages import Language, language_name, parse_language
from octavia_stream.live.events import Caption, LiveRecord, PhrasesDropped, PhraseSpoken, SessionEnded, Troubled
from octavia_stream.live.frame import OUTPUT_RATE_HZ
from octavia_stream.live.options import Latency, LiveOptions, LiveTarget, OriginalSound
from octavia_stream.media.demuxer import Demuxer
from octavia_stream.media.probe import probe
from octavia_stream.webrtc.client import SpokenTrack, listening, mono, speaking

QUIET_S = 5.0
"""When nothing was told for so long after the end, everything has been said."""
TAIL_DEADLINE_S = 60.0
RECONNECT_S = 0.5


@dataclass(frozen=True, slots=True)
class LiveOrder:
    """What the command line asked for."""

    file: Path
    to: tuple[str, ...]
    source: str | None
    output: Path
    latency: Latency = "balanced"
    original: OriginalSound = "silent"
    record: bool = False
    max_lag_s: float = 8.0

    def options(self) -> LiveOptions:
        """Raises UnsupportedLanguage for a tag that names no language."""
        return LiveOptions(
            targets=tuple(LiveTarget(parse_language(tag)) for tag in self.to),
            source=None if self.source is None else parse_language(self.source),
            latency=self.latency,
            original=self.original,
            record=self.record,
            max_lag_s=self.max_lag_s,
        )


@dataclass(slots=True)
class Told:
    """What a session told so far."""

    captions: dict[tuple[bool, Language, int], Caption] = field(default_factory=dict)
    """The newest of each segment, by whether it is the source, language and number."""
    records: list[LiveRecord] = field(default_factory=list)
    phrases: list[PhraseSpoken] = field(default_factory=list)
    dropped: int = 0
    troubles: list[str] = field(default_factory=list)
    ended: bool = False
    quiet_from: float = 0.0
    """By `time.monotonic`: when the last thing told is over."""

    def take(self, record: LiveRecord) -> None:
        """Add what happened."""
        now = time.monotonic()
        self.records.append(record)
        self.quiet_from = max(self.quiet_from, now)
        match record.event:
            case Caption() as caption:
                self.captions[caption.source, caption.language, caption.segment] = caption
            case PhraseSpoken() as phrase:
                self.phrases.append(phrase)
                self.quiet_from = max(self.quiet_from, now + phrase.duration_s)
            case PhrasesDropped(count=count):
                self.dropped += count
            case Troubled(message=message):
                self.troubles.append(message)
            case SessionEnded():
                self.ended = True
            case _:
                pass

    @property
    def spans_s(self) -> list[float]:
        """Ear-voice spans, in order."""
        return [phrase.ear_voice_span_s for phrase in self.phrases]


def live_command(
    file: Path,
    *,
    to: Annotated[list[str], Parameter(negative="")],
    source: Annotated[str | None, Parameter(name=["--from"])] = None,
    output: Path = Path(),
    latency: Latency = "balanced",
    original: OriginalSound = "silent",
    max_lag: float = 8.0,
    record: Annotated[bool, Parameter(negative="")] = False,
    server: str | None = None,
    email: str | None = None,
) -> int:
    """Speak a file into a live session, as long as it lasts, and keep what is heard in other languages.

    For trying and measuring: people speak on the page `/live` of the server, or with any program that knows WHIP.

    Parameters
    ----------
    file
        The video or audio file.
    to
        The language to be heard in, such as `pt`; several when given several times.
    source
        The language that is spoken; found out when left out.
    output
        The folder for what was heard (WAV) and the captions (WebVTT).
    latency
        Whether words come soon or read well.
    original
        What is under the dub: nothing, the original made quiet, or the original where nothing is dubbed.
    max_lag
        How far the dub may fall behind, in seconds, before it hurries and at last leaves phrases out.
    record
        Have the server keep what was spoken, to be dubbed as a file.
    server
        Address of another machine's server, such as `https://dub.example.org`.
    email
        Your account there; its password is read from OCTAVIA_PASSWORD.
    """
    order = LiveOrder(file, tuple(to), source, output, latency, original, record, max_lag)
    return asyncio.run(live(order, server, account_from(email), Settings()))


async def live(order: LiveOrder, server: str | None, account: Credentials | None, settings: Settings) -> int:
    """Speak a file through the server named, the one that runs here, or one started for this. Returns the exit code."""
    console = Console(stderr=False)
    check_path(order.file)
    options = order.options()
    track = choose_track(await probe(order.file, settings.media), None)
    if server is None:
        account = local_credentials(settings.home)
    if account is None:
        raise InvalidRequest("Give --email and OCTAVIA_PASSWORD to use another machine's server.")
    order.output.mkdir(parents=True, exist_ok=True)
    async with reached_server(server, settings, console) as url, Client(url) as client:
        await client.log_in(account, sign_up=server is None)
        session = await client.open_live(msgspec.to_builtins(options))
        try:
            async with Demuxer(order.file, track, rate_hz=OUTPUT_RATE_HZ, channels=1, settings=settings.media) as sound:
                told = await _converse(order, session, _flat(sound), track.duration_s or None, console)
        finally:
            await client.close_live(str(session["id"]))
        upload = await client.recording(str(session["id"])) if order.record else None
    _show(_written(order, told), told, console)
    if upload is not None:
        console.print(f"Recorded as upload {upload['id']}, to be dubbed as a file.", highlight=False)
    return 0


async def _flat(sound: AsyncIterator[AudioChunk]) -> AsyncGenerator[AudioChunk]:
    """One channel as shape (n,)."""
    async for chunk in sound:
        yield AudioChunk(np.ascontiguousarray(chunk.samples).reshape(-1), chunk.rate_hz, chunk.offset)


async def _converse(
    order: LiveOrder, session: dict[str, Any], sound: AsyncIterator[AudioChunk], seconds: float | None, console: Console
) -> Told:
    track, told = SpokenTrack(sound), Told()
    with ExitStack() as files:
        heard = {
            language: files.enter_context(Recording(order.output / f"{order.file.stem}.{language}.live.wav")).take
            for language in session["whep_urls"]
        }
        async with visiting(session, track, heard, told) as following:
            await _shown(track, told, seconds, following, console)
    return told


@asynccontextmanager
async def visiting(
    session: Mapping[str, Any],
    track: SpokenTrack,
    heard: Mapping[Language, Callable[[AudioFrame], None]],
    told: Told,
) -> AsyncIterator["asyncio.Task[None]"]:
    """Speak into a session that the api made, listen to languages of it, and be told what happens.

    heard: what takes the frames of a language. Gives the task that follows the events: it fails when they cannot be
    followed. Raises DependencyUnavailable when a connection cannot be made.
    """
    servers = [RTCIceServer(**server) for server in session["ice_servers"]]
    token = str(session["token"])
    following = asyncio.create_task(_follow(str(session["events_url"]), token, told), name="live events")
    try:
        async with AsyncExitStack() as stack:
            http = await stack.enter_async_context(httpx.AsyncClient(timeout=30.0))
            await stack.enter_async_context(speaking(http, str(session["whip_url"]), token, track, servers))
            for language, take in heard.items():
                url = str(session["whep_urls"][language])
                await stack.enter_async_context(listening(http, url, token, take, lambda _: None, servers))
            track.go.set()
            yield following
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


def finished(told: Told, over_at: float) -> bool:
    """Whether all that was said has been heard in the other languages. over_at: when the sound was over."""
    now = time.monotonic()
    return now - max(told.quiet_from, over_at) > QUIET_S or now - over_at > TAIL_DEADLINE_S


async def _shown(
    track: SpokenTrack, told: Told, seconds: float | None, following: "asyncio.Task[None]", console: Console
) -> None:
    """A bar while the file is spoken, until all of it was heard in the other language."""
    over_at = 0.0
    columns = (
        TextColumn("{task.description:<12}"),
        BarColumn(),
        TextColumn("{task.fields[note]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("spoken", total=seconds, note="")
        while not told.ended:
            lag = f"lag {told.spans_s[-1]:.1f} s" if told.phrases else ""
            progress.update(bar, completed=min(track.position_s, seconds or track.position_s), note=lag)
            if following.done():
                following.result()
            if track.over.is_set():
                over_at = over_at or time.monotonic()
                if finished(told, over_at):
                    return
            await asyncio.sleep(0.2)


async def _follow(url: str, token: str, told: Told) -> None:
    """Take every record, each once, through lost connections. Raises EngineUnavailable when the session is refused."""
    seen = 0
    while not told.ended:
        try:
            async with connect(
                f"{url.replace('http', 'ws', 1)}?after={seen}", additional_headers={"Authorization": f"Bearer {token}"}
            ) as socket:
                async for message in socket:
                    record = msgspec.json.decode(message, type=LiveRecord)
                    seen = record.seq
                    told.take(record)
        except InvalidStatus as error:
            raise EngineUnavailable("The server does not let this session be followed.") from error
        except (ConnectionClosed, OSError, TimeoutError):
            pass
        await asyncio.sleep(RECONNECT_S)


class Recording:
    """What was heard of one language, as a WAV that grows. A context manager."""

    def __init__(self, path: Path) -> None:
        self._file = wave.open(str(path), "wb")  # noqa: SIM115  (closed by the context)
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(OUTPUT_RATE_HZ)

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def take(self, frame: AudioFrame) -> None:
        """Add 20 ms."""
        self._file.writeframes(mono(frame).astype("<i2").tobytes())


def _written(order: LiveOrder, told: Told) -> list[Path]:
    """Subtitles of what was said and of every translation; the paths of everything."""
    paths = sorted(order.output.glob(f"{order.file.stem}.*.live.wav"))
    for source, language in sorted({(source, language) for source, language, _ in told.captions}):
        texts = [
            SpokenText(caption.start_s, caption.end_s, caption.text)
            for (of_source, of_language, _), caption in sorted(told.captions.items(), key=_by_start)
            if (of_source, of_language) == (source, language) and caption.text
        ]
        path = order.output / f"{order.file.stem}.{language}{'.source' if source else ''}.live.vtt"
        path.write_text(write_vtt(make_cues(texts, max((text.end_s for text in texts), default=0.0) + QUIET_S)))
        paths.append(path)
    return paths


def _by_start(item: tuple[tuple[bool, Language, int], Caption]) -> float:
    return item[1].start_s


def _show(paths: list[Path], told: Told, console: Console) -> None:
    for message in dict.fromkeys(told.troubles):
        console.print(f"[yellow]Warning:[/] {message}", highlight=False)
    if told.phrases:
        median, late = np.percentile(told.spans_s, [50, 95])
        languages = ", ".join(sorted({language_name(phrase.language) for phrase in told.phrases}))
        console.print(
            f"Heard in {languages}: {len(told.phrases)} phrases, {median:.1f} s after they were said"
            f" (95 of 100 within {late:.1f} s), {told.dropped} left out:",
            highlight=False,
        )
    else:
        console.print("Nothing was said that could be dubbed:")
    for path in paths:
        console.print(f"  {path}", highlight=False, soft_wrap=True)
