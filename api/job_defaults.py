"""What a request for a job leaves out, as the settings of who asks say."""

from typing import Any
from uuid import UUID

import msgspec
from msgspec import UNSET

from api.job_kinds import Asked, AudioTranslation, SubtitleGeneration, SubtitleSpeech, SubtitleTranslation
from api.job_kinds import VideoTranslation as Video
from api.services import Services
from octavia_stream.accounts.account_settings import AccountSettings
from octavia_stream.languages import parse_language
from octavia_stream.uploads.subtitle_info import SubtitleInfo, is_subtitle_file


async def with_defaults(data: Asked, account_id: UUID, owner_id: UUID, services: Services) -> Asked:
    """The same request with what it leaves out. Raises UnsupportedLanguage for a target that is no language.

    account_id: who asks. owner_id: whose the upload is.
    """
    settings = await services.account_settings.get(account_id)
    if settings == AccountSettings():
        return data
    asked: Any = data
    filled: Any = _with_target(asked, settings)
    return _with_voice(await _with_source(filled, owner_id, settings, services), settings, services)  # type: ignore[no-any-return]


def _with_target(asked: Any, settings: AccountSettings) -> Any:
    if settings.target_language is None:
        return asked
    if isinstance(asked, SubtitleTranslation) and asked.target_languages is None:
        return msgspec.structs.replace(asked, target_languages=[settings.target_language])
    if isinstance(asked, SubtitleSpeech) and asked.target_language is None:
        return msgspec.structs.replace(asked, target_language=settings.target_language)
    if (
        isinstance(asked, (Video, AudioTranslation))
        and asked.target_language is None
        and asked.target_languages is None
    ):
        return msgspec.structs.replace(asked, target_language=settings.target_language)
    return asked


async def _with_source(asked: Any, owner_id: UUID, settings: AccountSettings, services: Services) -> Any:
    """A target that is asked for is not what is spoken, whatever the settings say."""
    source = settings.source_language
    if source is None or source in _targets(asked):
        return asked
    if isinstance(asked, (Video, AudioTranslation, SubtitleGeneration)) and asked.source_language is UNSET:
        return msgspec.structs.replace(asked, source_language=source)
    if isinstance(asked, SubtitleTranslation) and asked.source_language is None and asked.upload_id is not None:
        upload = await services.runtime.uploads.get(asked.upload_id, owner_id)
        stated = is_subtitle_file(upload) and msgspec.convert(upload.media_info, SubtitleInfo).language
        return asked if stated else msgspec.structs.replace(asked, source_language=source)
    return asked


def _with_voice(asked: Any, settings: AccountSettings, services: Services) -> Any:
    if settings.voice is None or not isinstance(asked, (Video, AudioTranslation, SubtitleSpeech)):
        return asked
    if asked.voice is not None or asked.target_language is None:
        return asked
    speaking = {voice.id for voice in services.registry.voices(parse_language(asked.target_language))}
    return msgspec.structs.replace(asked, voice=settings.voice) if settings.voice in speaking else asked


def _targets(asked: Any) -> set[str]:
    """Raises UnsupportedLanguage."""
    single, several = getattr(asked, "target_language", None), getattr(asked, "target_languages", None)
    return {parse_language(tag) for tag in (single, *(several or ())) if tag is not None}
