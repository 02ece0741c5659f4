"""Fairness: what nine short jobs of nine users lose to a long one that came before them."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec

from benchmarks.figure import Figure, Section, at_most, ratio
from benchmarks.processes import Observer, Usage
from benchmarks.served import TARGET
from benchmarks.sound import read_track, write_wav
from benchmarks.talk import Talk
from octavia_stream import testing
from octavia_stream.audio.chunk import ASR_RATE_HZ, AudioChunk
from octavia_stream.cli.client import Client, Credentials
from octavia_stream.config import CacheSettings, Settings
from octavia_stream.errors import EngineUnavailable
from octavia_stream.launcher.stack import Stack
from octavia_stream.testing import SCRIPT_NAME, Script

USERS = 9
CLIP_S, FILM_S = 60.0, 7200.0
COSTS = Script(transcribe_s=2.0, translate_s=0.3, synthesize_s=1.0)
"""Seconds of a core that the embedded models take for a chunk of 25 s, a batch of sentences, a sentence of 4.5 s:
together what the speed part's lower bound comes to."""
QUICK = 4
"""How much less everything is of for finding mistakes."""
UNDER_WAY = 5
"""Sentences of the long job that are spoken before the others come."""
DEADLINE_S = 900.0
POLL_S = 0.25


async def measure_fairness(talk: Talk, settings: Settings, directory: Path, *, quick: bool) -> Section:
    """The short jobs by themselves, and then behind the long one, in the same server."""
    less = QUICK if quick else 1
    film, clip = await _sources(talk, directory, FILM_S / less)
    forgetful = CacheSettings(limit_bytes=0)
    serve = settings.serve.model_copy(update={"engines": testing.__name__})
    scripted = settings.model_copy(update={"serve": serve, "cache": forgetful})
    settings.home.mkdir(parents=True, exist_ok=True)
    costs = Script(COSTS.transcribe_s / less, COSTS.translate_s / less, COSTS.synthesize_s / less)
    script = settings.home / SCRIPT_NAME
    script.write_bytes(msgspec.json.encode(costs))
    try:
        async with _customers(scripted) as (owner, users):
            await _all_done(users[:1], clip)
            alone = await _measured(users, clip)
            job = await _started(owner, film)
            await _under_way(owner, job)
            behind = await _measured(users, clip)
            ended = (await owner.job(job))["status"] != "processing"
            await owner.cancel(job)
    finally:
        script.unlink()
    if ended:
        raise EngineUnavailable("The long job was over before the short ones were.")
    others = {"alone": alone[1].other_cores, "behind": behind[1].other_cores}
    return Section("Fairness, engines that cost what models do", _figures(alone[0], behind[0], FILM_S / less), others)


def _figures(alone: Sequence[float], behind: Sequence[float], film_s: float) -> list[Figure]:
    by_itself = sum(alone) / len(alone)
    return [
        Figure("the long job", film_s, "s"),
        Figure(f"{USERS} jobs of {CLIP_S:g} s alone: the last done after", max(alone), "s"),
        Figure("behind the long job: the last done after", max(behind), "s"),
        Figure("that is, of what they take alone", ratio(max(behind), max(alone)), "×", at_most(2)),
        Figure("mean of them, of what it is alone", ratio(sum(behind) / len(behind), by_itself), "×", at_most(2)),
    ]


async def _sources(talk: Talk, directory: Path, film_s: float) -> tuple[Path, Path]:
    """A film made of one talk again and again, and its first minute."""
    sound = (await read_track(talk.path, ASR_RATE_HZ)).sound
    film, clip = directory / "film.wav", directory / "clip.wav"
    times = -int(-film_s // sound.duration_s)
    await asyncio.to_thread(write_wav, film, sound, times)
    write_wav(clip, AudioChunk(sound.samples[: round(CLIP_S * ASR_RATE_HZ)], ASR_RATE_HZ))
    return film, clip


@asynccontextmanager
async def _customers(settings: Settings) -> AsyncIterator[tuple[Client, list[Client]]]:
    """A server, whoever has the long job, and those who have the short ones."""
    stack = Stack(settings)
    try:
        url = await stack.start()
        async with AsyncExitStack() as clients:
            known = []
            for _ in range(USERS + 1):
                client = await clients.enter_async_context(Client(url))
                password = secrets.token_urlsafe(24)
                await client.log_in(Credentials(f"{secrets.token_hex(8)}@example.org", password), sign_up=True)
                known.append(client)
            yield known[0], known[1:]
    finally:
        await stack.stop()


async def _measured(users: Sequence[Client], clip: Path) -> tuple[list[float], Usage]:
    with Observer() as observer:
        took = await _all_done(users, clip)
    return took, observer.usage


async def _all_done(users: Sequence[Client], clip: Path) -> list[float]:
    """Everybody's job at once; how long each took from its upload on, in seconds."""
    async with asyncio.timeout(DEADLINE_S):
        return list(await asyncio.gather(*[_done(user, clip) for user in users]))


async def _done(user: Client, clip: Path) -> float:
    started_at = time.monotonic()
    job = await _started(user, clip)
    while (status := (await user.job(job))["status"]) in {"pending", "processing"}:  # noqa: ASYNC110
        await asyncio.sleep(POLL_S)
    if status != "completed":
        raise EngineUnavailable(f"A short job of the benchmark is {status}.")
    return time.monotonic() - started_at


async def _started(user: Client, source: Path) -> str:
    upload = await user.upload(source, lambda _: None)
    wanted = {"upload_id": upload, "source_language": "en", "target_language": TARGET}
    return await user.create_job(wanted, "audio-translate")


async def _under_way(owner: Client, job: str) -> None:
    """Return when some of it is spoken."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            stages = (await owner.job(job))["stages"]
            if stages.get("synthesize", {}).get("done", 0) >= UNDER_WAY:
                return
            await asyncio.sleep(POLL_S)
