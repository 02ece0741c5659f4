"""The engines of the model catalogue, as the settings choose them.

Each function imports its engine when called: whoever needs one engine, such as a replica that serves
only translation, does not load the libraries of the others.
"""

from collections.abc import Callable
from functools import partial

import structlog

from octavia_stream.asr.transcriber import BatchTranscriber
from octavia_stream.config import Settings
from octavia_stream.dubbing.engines import PlainSynthesizer, PlainTranslator
from octavia_stream.errors import OctaviaError
from octavia_stream.languages import Language
from octavia_stream.models.registry import Registry

log = structlog.get_logger(__name__)


def transcriber(settings: Settings) -> BatchTranscriber:
    """Speech recognition with the model of `settings.models.asr`. Raises ModelMissing, ModelCorrupt."""
    from octavia_stream.asr.whisper import WhisperEngine  # noqa: PLC0415

    models = settings.models
    directory = Registry(models, settings.home).resolve(models.asr).path
    return WhisperEngine(
        directory,
        device=models.device,
        compute_type=models.compute_type,
        threads=models.threads,
        workers=settings.serve.asr.concurrent_calls,
    )


def translator(settings: Settings) -> PlainTranslator:
    """Translation along the graph of all installed pairs; those between prepared languages are loaded at once."""
    from octavia_stream.mt.graph_translator import GraphTranslator  # noqa: PLC0415

    models = settings.models
    registry = Registry(models, settings.home)
    engine = GraphTranslator(registry, device=models.device, compute_type=models.compute_type, threads=models.threads)
    for source, target in registry.mt_pairs():
        if source in models.prepared and target in models.prepared:
            _prepare(partial(engine.translate, ["1, 2."], source, target))
    return engine


def synthesizer(settings: Settings) -> PlainSynthesizer:
    """Speech with whichever engine a voice names; the default voices of prepared languages are loaded at once."""
    from octavia_stream.tts.voice_engines import VoiceEngines  # noqa: PLC0415

    models = settings.models
    registry = Registry(models, settings.home)
    engines = VoiceEngines(registry, device=models.device, threads=models.threads)
    for language in models.prepared:
        for voice in registry.voices(Language(language))[:1]:
            _prepare(partial(engines.prepare, voice))
    return engines


def _prepare(load: Callable[[], object]) -> None:
    """What cannot be loaded must not keep the replica from what can: the job that needs it is told the reason."""
    try:
        load()
    except OctaviaError as error:
        log.warning("a model was not prepared", reason=str(error))
