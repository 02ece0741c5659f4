"""The models that OpenAI's clients can name here, and the voices."""

from datetime import UTC, datetime
from typing import Literal

import msgspec
from litestar import get

from api.auth import PROTECTED
from api.identity import for_keys
from api.openai_errors import ModelUnknown, openai_problems
from api.services import Services, TheServices
from octavia_stream.errors import UnsupportedLanguage
from octavia_stream.languages import Language, parse_language
from octavia_stream.mt.routes import ENGLISH
from octavia_stream.tts.voice import Voice

HEARING = ("whisper-1",)
"""Names of OpenAI's that stand for the speech recognition of this server."""
SPEAKING = ("tts-1", "tts-1-hd")
"""Names of OpenAI's that stand for any voice of this server."""
OPENAI_VOICES = (
    *("alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx", "sage", "shimmer", "verse"),
)
"""Names of OpenAI's voices: each stands for one of this server's, always the same."""
OWNER = "octavia-stream"


class ModelView(msgspec.Struct, frozen=True):
    """A model that can be named."""

    id: str
    created: int
    """Seconds since 1970; of no meaning here, and always the same."""
    object: Literal["model"] = "model"
    owned_by: str = OWNER


class ModelList(msgspec.Struct, frozen=True):
    """All of them."""

    data: list[ModelView]
    object: Literal["list"] = "list"


_CREATED = int(datetime(2026, 1, 1, tzinfo=UTC).timestamp())


@get(
    "/models",
    operation_id="openaiListModels",
    summary="Models (OpenAI)",
    opt=for_keys("audio:write"),
    security=PROTECTED,
    responses=openai_problems(),
)
async def list_models(services: TheServices) -> ModelList:
    """What `model` may be below `/v1/audio`: the installed models, and OpenAI's names for them."""
    return ModelList([ModelView(name, _CREATED) for name in [*hearing(services), *speaking(services)]])


def hearing(services: Services) -> list[str]:
    """What `model` of a transcription may be."""
    return [*HEARING, services.runtime.settings.models.asr]


def speaking(services: Services) -> list[str]:
    """What `model` of speech may be."""
    return [*SPEAKING, *dict.fromkeys(voice.model for voice in services.registry.voices())]


def require_hearing(services: Services, model: str) -> None:
    """Raises ModelUnknown."""
    _require(model, hearing(services))


def choose_voice(services: Services, model: str, name: str, language: str | None) -> Voice:
    """The voice that a name means: one of ours, or that which stands for one of OpenAI's.

    language: of the text, for OpenAI's names, which speak all; None: English. Raises ModelUnknown, UnsupportedLanguage.
    """
    _require(model, speaking(services))
    voices = [voice for voice in services.registry.voices() if model in SPEAKING or voice.model == model]
    for voice in voices:
        if voice.id == name:
            return voice
    if name not in OPENAI_VOICES:
        known = ", ".join([*(voice.id for voice in voices), *OPENAI_VOICES])
        raise UnsupportedLanguage(f"There is no voice {name[:60]!r}; choose one of {known}.")
    wanted: Language = parse_language(language) if language else ENGLISH
    fitting = [voice for voice in voices if voice.language == wanted]
    if not fitting:
        raise UnsupportedLanguage(f"No installed voice of {model} speaks {wanted!r}.")
    return fitting[OPENAI_VOICES.index(name) % len(fitting)]


def _require(model: str, known: list[str]) -> None:
    if model not in known:
        raise ModelUnknown(f"There is no model {model[:60]!r} for this here; choose one of {', '.join(known)}.")
