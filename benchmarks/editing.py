"""Editing: one line of a finished dub of ten minutes, against copying its picture. Engines cost nothing."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.detector import load_detector
from benchmarks.figure import Figure, Section, at_most
from benchmarks.processes import Observer
from benchmarks.remux import remux_seconds, repeat_packets
from benchmarks.talk import VIDEO
from octavia_stream.config import Settings
from octavia_stream.dubbing.batch import DubRequest, DubTarget, dub_file
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.edits import Edit, TranslationEdit, revise
from octavia_stream.dubbing.engines import local
from octavia_stream.dubbing.lines import SpokenBy
from octavia_stream.dubbing.redubbing import redub_file
from octavia_stream.languages import Language
from octavia_stream.media.muxer import container_for
from octavia_stream.media.probe import probe, require_audio
from octavia_stream.models.registry import Registry
from octavia_stream.mt.routes import plan_route
from octavia_stream.testing import Journal, ScriptedSynthesizer, ScriptedTranscriber, ScriptedTranslator

LENGTH_S = 600.0
QUICK_LENGTH_S = 60.0
PORTUGUESE = Language("pt")
FINGERPRINTS: dict[Stage, str] = {"transcribe": "", "translate": "", "synthesize": ""}
SAID = "Bom dia a todos."


@dataclass(slots=True)
class RememberedCheckpoints:
    """Keeps everything in memory."""

    saved: dict[tuple[Stage, int, str], bytes] = field(default_factory=dict)

    async def load(self, stage: Stage, index: int, digest: str) -> bytes | None:
        return self.saved.get((stage, index, digest))

    async def begin(self, stage: Stage, index: int, digest: str) -> None:
        return None

    async def save(self, stage: Stage, index: int, digest: str, payload: bytes) -> None:
        self.saved[stage, index, digest] = payload


async def measure_editing(settings: Settings, directory: Path, *, quick: bool) -> Section:
    """Dub a long video, edit one line in its middle, and copy the same video with nothing added."""
    source = directory / "ten-minutes.mp4"
    length_s = (await probe(VIDEO, settings.media)).duration_s
    repeat_packets(VIDEO, source, round(VIDEO.stat().st_size * (QUICK_LENGTH_S if quick else LENGTH_S) / length_s))
    registry, journal = Registry(settings.models, settings.home), Journal(directory / "edit-journal")
    engines = local(ScriptedTranscriber(), ScriptedTranslator(), ScriptedSynthesizer(journal=journal.path))
    request, checkpoints = await _request(source, settings, directory, registry), RememberedCheckpoints()
    with Observer() as observer:
        started_at = time.perf_counter()
        dub = await dub_file(request, engines, load_detector(settings), checkpoints, lambda _: None)
        dubbed_s = time.perf_counter() - started_at
        asked = len(journal.read())
        segments = dub.manuscript.hearings[0].segments
        edits: list[Edit] = [TranslationEdit(id=segments[len(segments) // 2].id, text=SAID)]
        started_at = time.perf_counter()
        [first] = request.targets
        again = replace(request, targets=(replace(first, output=directory / "edited.mp4", earlier=first.output),))
        by = _voices(registry)
        await redub_file(again, revise(dub.manuscript, edits), by, engines, checkpoints, lambda _: None)
        edited_s = time.perf_counter() - started_at
        copied_s = remux_seconds(source, directory / "bare.mp4")
    calls = len(journal.read()) - asked
    figures = [
        Figure("length of the video", request.info.duration_s, "s"),
        Figure("lines", len(segments)),
        Figure("the whole dub", dubbed_s, "s"),
        Figure("calls of synthesis for an edited line", calls, "", at_most(1)),
        Figure("picture copy", copied_s, "s"),
        Figure("edit of one line", edited_s, "s"),
        Figure("edit, less the picture copy", edited_s - copied_s, "s", at_most(5.0)),
    ]
    return Section("Editing one line of a finished dub", figures, {"all": observer.usage.other_cores})


def _voices(registry: Registry) -> Callable[[Language, str], SpokenBy]:
    return lambda language, voice: SpokenBy(registry.choose_voice(language, voice), FINGERPRINTS["synthesize"])


async def _request(source: Path, settings: Settings, directory: Path, registry: Registry) -> DubRequest:
    info = await probe(source, settings.media)
    container = container_for(info)
    target = DubTarget(registry.default_voice(PORTUGUESE), directory / f"first.{container}", FINGERPRINTS)
    return DubRequest(
        source=source,
        info=info,
        track=info.default_audio or require_audio(info)[0],
        targets=(target,),
        container=container,
        scratch=directory,
        source_language=Language("en"),
        route=lambda spoken, wanted: plan_route(spoken, wanted, registry.mt_pairs()),
        media=settings.media,
    )
