"""What I want by default: languages, a voice, how long results are kept, and letters."""

from typing import Annotated

import msgspec
from litestar import Router, get, patch
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from api.auth import PROTECTED
from api.errors import problems
from api.job_kinds import LanguageTag, VoiceName
from api.services import OwnerId, Services, TheServices
from octavia_stream.accounts.account_settings import AccountSettings
from octavia_stream.errors import Conflict, InvalidRequest, UnsupportedLanguage
from octavia_stream.languages import parse_language
from octavia_stream.quotas.quotas import STANDARD

MAX_DAYS = 36_500


class SettingsChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is left out stays; null takes it away."""

    source_language: LanguageTag | UnsetType | None = UNSET
    target_language: LanguageTag | UnsetType | None = UNSET
    voice: VoiceName | UnsetType | None = UNSET
    """One of the installed voices; used where it speaks the target language."""
    retention_days: Annotated[int, msgspec.Meta(ge=1, le=MAX_DAYS)] | UnsetType | None = UNSET
    """How long results are kept; no longer than the server keeps them."""
    notify_completed: bool | UnsetType = UNSET
    """A letter for each job that is done."""
    notify_failed: bool | UnsetType = UNSET


@get("/settings", operation_id="getSettings", summary="My settings", responses=problems(401))
async def get_settings(owner_id: OwnerId, services: TheServices) -> AccountSettings:
    """What my jobs are made with where they do not say, and which letters I get."""
    return await services.account_settings.get(owner_id)


@patch("/settings", operation_id="changeSettings", summary="Change my settings", responses=problems(401, 409, 422))
async def change_settings(data: JSONBody[SettingsChange], owner_id: OwnerId, services: TheServices) -> AccountSettings:
    """What is left out stays. 422 for a language or a voice that there is not, 409 where no letters are sent."""
    changes = {name: value for name, value in msgspec.structs.asdict(data).items() if value is not UNSET}
    for name in ("source_language", "target_language"):
        if changes.get(name) is not None:
            changes[name] = parse_language(changes[name])
    await _check(changes, owner_id, services)
    return await services.account_settings.change(owner_id, changes)


async def _check(changes: dict[str, object], owner_id: OwnerId, services: Services) -> None:
    """Raises UnsupportedLanguage, InvalidRequest, Conflict."""
    voice, days = changes.get("voice"), changes.get("retention_days")
    if voice is not None and voice not in {one.id for one in services.registry.voices(None)}:
        raise UnsupportedLanguage("There is no such voice here; GET /api/v1/voices lists those that are installed.")
    if isinstance(days, int):
        longest = await _longest_kept(owner_id, services)
        if longest and days > longest:
            raise InvalidRequest(f"Results are kept for at most {longest} days here.")
    if services.mail is None and (changes.get("notify_completed") or changes.get("notify_failed")):
        raise Conflict("This server sends no letters; ask who runs it.")


async def _longest_kept(owner_id: OwnerId, services: Services) -> int:
    """Days for which results of the owner's tier are kept; 0: for ever."""
    runtime = services.runtime
    retention = runtime.settings.retention
    tier = await runtime.quotas.tier_of(runtime.pool, owner_id)
    return retention.results_days_by_tier.get(tier or STANDARD, retention.results_days)


settings_router = Router("/me", route_handlers=[get_settings, change_settings], security=PROTECTED, tags=["account"])
