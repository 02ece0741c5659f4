"""The voice activity detector of the server, for what happens outside it."""

from octavia_stream.config import Settings
from octavia_stream.models.registry import Registry
from octavia_stream.vad.silero import SileroDetector


def load_detector(settings: Settings) -> SileroDetector:
    """Raises ModelMissing, ModelCorrupt."""
    return SileroDetector(Registry(settings.models, settings.home).resolve("silero-v6").path)
