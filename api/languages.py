"""What can be dubbed into what, and by whom: read from the models that are installed."""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from litestar import Router, get
from litestar.params import QueryParameter

from api.errors import problems
from api.services import TheServices
from octavia_stream.config import ModelSettings
from octavia_stream.errors import UnsupportedLanguage
from octavia_stream.languages import Language, language_name, parse_language
from octavia_stream.models.registry import Registry
from octavia_stream.mt.routes import ENGLISH, Pairs, plan_route
from octavia_stream.tts.voice import Voice


class LanguageView(msgspec.Struct, frozen=True):
    """A language that can be dubbed into."""

    language: str
    name: str
    sources: list[str]
    """Languages that may be spoken in the file."""
    default_voice: str


class LanguagesView(msgspec.Struct, frozen=True):
    """All that this server can do now."""

    targets: list[LanguageView]


class VoiceView(msgspec.Struct, frozen=True):
    """A voice that can speak now."""

    id: str
    language: str
    gender: Literal["female", "male", "neutral"]
    model: str


class VoicesView(msgspec.Struct, frozen=True):
    """Voices, the default of each language first."""

    voices: list[VoiceView]


@dataclass(frozen=True, slots=True)
class Reach:
    """Which translations the installed models can do, speech recognition's own included."""

    heard: frozenset[Language]
    pairs: Pairs
    asr_translates: bool

    def check(self, target: Language, source: Language | None) -> None:
        """Raises UnsupportedLanguage when there is no way from `source` (None: from anything else) to `target`."""
        if source is None:
            if not self.sources(target) - {target}:
                plan_route(ENGLISH, target, self.pairs, asr_translates=self.asr_translates)
        elif source not in self.heard:
            raise UnsupportedLanguage(f"The installed speech model does not understand {language_name(source)}.")
        else:
            plan_route(source, target, self.pairs, asr_translates=self.asr_translates)

    def sources(self, target: Language) -> frozenset[Language]:
        """Languages that may be spoken when `target` is wanted."""
        return frozenset(source for source in self.heard if self._reaches(source, target))

    def _reaches(self, source: Language, target: Language) -> bool:
        try:
            plan_route(source, target, self.pairs, asr_translates=self.asr_translates)
        except UnsupportedLanguage:
            return False
        return True


def reach_of(registry: Registry, settings: ModelSettings) -> Reach:
    """Read it from the models that are installed now."""
    asr = registry.catalogue.model(settings.asr)
    heard = frozenset(Language(tag) for tag in asr.languages)
    return Reach(heard, registry.mt_pairs(), asr_translates=asr.translates and len(heard) > 1)


@get("/languages", operation_id="listLanguages", summary="What can be dubbed into what", responses=problems())
async def list_languages(services: TheServices) -> LanguagesView:
    """Languages that have both a translation and a voice, by tag."""
    reach = reach_of(services.registry, services.runtime.settings.models)
    defaults: dict[Language, Voice] = {}
    for voice in services.registry.voices():
        defaults.setdefault(voice.language, voice)
    reachable = [(target, reach.sources(target)) for target in sorted(defaults)]
    return LanguagesView(
        [
            LanguageView(target, language_name(target), sorted(sources), defaults[target].id)
            for target, sources in reachable
            if sources - {target}
        ]
    )


@get("/voices", operation_id="listVoices", summary="Who can speak", responses=problems(422))
async def list_voices(
    services: TheServices,
    language: Annotated[str | None, QueryParameter(max_length=35, description="Only voices of this language.")] = None,
) -> VoicesView:
    """Voices whose model is installed."""
    wanted = parse_language(language) if language is not None else None
    return VoicesView(
        [VoiceView(voice.id, voice.language, voice.gender, voice.model) for voice in services.registry.voices(wanted)]
    )


languages_router = Router("", route_handlers=[list_languages, list_voices], tags=["languages"], opt={"public": True})
