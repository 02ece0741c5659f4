"""Overhead: what is left of the server when its engines cost nothing."""

import time
from pathlib import Path

from benchmarks.detector import load_detector
from benchmarks.figure import Figure, Section, at_least, at_most, ratio
from benchmarks.served import TARGET, ServedDub, serving
from benchmarks.sound import write_wav
from benchmarks.talk import Talk
from octavia_stream import testing
from octavia_stream.config import Settings
from octavia_stream.dubbing.batch import DubRequest, DubTarget, dub_file
from octavia_stream.dubbing.checkpoints import NoCheckpoints, Stage
from octavia_stream.dubbing.engines import local
from octavia_stream.languages import Language
from octavia_stream.media.muxer import container_for
from octavia_stream.media.probe import probe, require_audio
from octavia_stream.models.registry import Registry
from octavia_stream.mt.routes import plan_route
from octavia_stream.testing import Journal, ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator

STAGES = 3
REPEATS = 4


async def measure_overhead(talk: Talk, settings: Settings, directory: Path, *, quick: bool) -> Section:
    """Dub a longer talk with scripted engines, through the server and in this process, and compare."""
    source = directory / "long.wav"
    write_wav(source, talk.track.sound, 1 if quick else REPEATS)
    scripted = settings.model_copy(
        update={"serve": settings.serve.model_copy(update={"engines": testing.__name__})},
    )
    journal = Journal(settings.home / testing.JOURNAL_NAME)
    async with serving(scripted) as server:
        await server.dub(talk.path, directory)
        journal.path.unlink() if journal.path else None
        served = await server.dub(source, directory)
    calls = journal.read()
    chunks = sum(len(call.items) for call in calls if call.stage == "transcribe")
    plain_s = await _dub_here(source, settings, directory)
    return Section(
        "Overhead, engines that cost nothing",
        _figures(served, chunks, len(calls), plain_s),
        {"server": served.usage.other_cores},
    )


def _figures(served: ServedDub, chunks: int, calls: int, plain_s: float) -> list[Figure]:
    added_ms = 1000 * (served.worked_s - plain_s)
    return [
        Figure("chunks", chunks),
        Figure("calls of engines", calls),
        Figure("server: work on the job", served.worked_s, "s"),
        Figure("server: chunks per second, door to door", ratio(chunks, served.worked_s), "/s"),
        Figure("server: from upload to result", served.wall_s, "s"),
        Figure("the same corridor in one plain process", plain_s, "s"),
        Figure("added per call", ratio(added_ms, calls), "ms"),
        Figure("added per chunk and stage", ratio(added_ms, chunks * STAGES), "ms", at_most(40)),
        Figure("chunks per second through what was added", ratio(1000 * chunks, added_ms), "/s", at_least(25)),
    ]


async def _dub_here(source: Path, settings: Settings, directory: Path) -> float:
    """The corridor alone: no Ray, no database, no checkpoints, no events."""
    registry = Registry(settings.models, settings.home)
    target = Language(TARGET)
    engines = local(ScriptedTranscriber(), ScriptedTranslator(), ScriptedSynthesizer())
    detector = load_detector(settings)
    started_at = time.monotonic()
    info = await probe(source, settings.media)
    container = container_for(info)
    fingerprints: dict[Stage, str] = {"transcribe": "", "translate": "", "synthesize": ""}
    request = DubRequest(
        source=source,
        info=info,
        track=info.default_audio or require_audio(info)[0],
        targets=(DubTarget(registry.default_voice(target), directory / f"plain.{container}", fingerprints),),
        container=container,
        scratch=directory,
        source_language=None,
        route=lambda spoken, wanted: plan_route(spoken, wanted, registry.mt_pairs()),
        media=settings.media,
        window_chunks=settings.worker.window_chunks,
    )
    await dub_file(request, engines, detector, NoCheckpoints(), lambda _: None)
    return time.monotonic() - started_at
