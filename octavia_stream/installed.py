"""The engines of the model catalogue, as the settings choose them.

Each function imports its engine when called: whoever needs one engine, such as a replica that serves
only translation, does not load the libraries of the others.
"""

from octavia_stream.asr.transcriber import BatchTranscriber
from octavia_stream.config import Settings
from octavia_stream.dubbing.engines import PlainSynthesizer, PlainTranslator
from octavia_stream.models.registry import Registry


def transcriber(settings: Settings) -> BatchTranscriber:
    """Speech recognition with the model of `settings.models.asr`. Raises ModelMissing, ModelCorrupt."""
    from octavia_stream.asr.whisper import WhisperEngine  # noqa: PLC0415

    models = settings.models
    directory = Registry(models, settings.home).resolve(models.asr).path
    return WhisperEngine(directory, device=models.device, compute_type=models.compute_type, threads=models.threads)


def translator(settings: Settings) -> PlainTranslator:
    """Translation along the graph of all installed pairs."""
    from octavia_stream.mt.graph_translator import GraphTranslator  # noqa: PLC0415

    models = settings.models
    registry = Registry(models, settings.home)
    return GraphTranslator(registry, device=models.device, compute_type=models.compute_type, threads=models.threads)


def synthesizer(settings: Settings) -> PlainSynthesizer:
    """Speech with whichever engine a voice names."""
    from octavia_stream.tts.voice_engines import VoiceEngines  # noqa: PLC0415

    models = settings.models
    return VoiceEngines(Registry(models, settings.home), device=models.device, threads=models.threads)
