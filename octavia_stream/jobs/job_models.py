"""Which models a job works with."""

from octavia_stream.cache.code_version import engine_code
from octavia_stream.config import Settings
from octavia_stream.dubbing.checkpoints import Stage
from octavia_stream.dubbing.lines import SpokenBy
from octavia_stream.languages import Language
from octavia_stream.models.registry import Registry
from octavia_stream.mt.routes import Route, plan_route
from octavia_stream.tts.voice import Voice
from octavia_stream.vad.silero import SileroDetector

VAD_MODEL = "silero-v6"


class JobModels:
    """The installed models, as jobs ask for them; one serves all jobs of a worker."""

    def __init__(self, settings: Settings, registry: Registry) -> None:
        self._settings = settings.models
        self._engines = settings.serve.engines
        self._registry = registry
        self._vad: SileroDetector | None = None

    def detector(self) -> SileroDetector:
        """A detector for one file; all share one loaded model."""
        directory = self._registry.resolve(VAD_MODEL).path
        detector = SileroDetector(directory, self._vad.session if self._vad else None)
        self._vad = self._vad or detector
        return detector

    def voice(self, language: Language, voice_id: str | None) -> Voice:
        """The voice asked for, or the language's default. Raises UnsupportedLanguage."""
        return self._registry.choose_voice(language, voice_id)

    def route(self, source: Language, target: Language, *, text: bool = False) -> Route:
        """text: the source is written, so that the ASR model cannot translate it. Raises UnsupportedLanguage."""
        return plan_route(source, target, self._registry.mt_pairs(), asr_translates=not text)

    def fingerprints(self, voice: Voice | None = None) -> dict[Stage, str]:
        """What does each stage's work, for the digests of checkpoints."""
        models = self._settings
        found: dict[Stage, str] = {
            "transcribe": f"{models.asr} {models.compute_type}",
            "translate": models.compute_type,
        }
        if voice is not None:
            found["synthesize"] = f"{voice.model} {voice.speaker}"
        return found

    def spoken_by(self, language: Language, voice_id: str) -> SpokenBy:
        """As edits choose voices. Raises UnsupportedLanguage."""
        voice = self.voice(language, voice_id)
        return SpokenBy(voice, self.fingerprints(voice)["synthesize"])

    def identity(self, *models: str) -> str:
        """All that decides what these models make of the same input: their files, the settings, and our code."""
        settings = self._settings
        chosen = (self._engines, engine_code(self._engines), settings.device, settings.compute_type)
        return " ".join((*chosen, *map(self._registry.identity, models)))

    @property
    def asr(self) -> str:
        """The model that listens."""
        return self._settings.asr
