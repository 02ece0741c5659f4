"""API keys: made, listed and deleted by who logged in."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Router, delete, get, post
from litestar.params import FromPath, JSONBody

from api.auth import PROTECTED
from api.errors import problems
from api.services import OwnerId, TheServices
from octavia_stream.accounts.api_keys import SCOPES, ApiKey, Scope


class KeyRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")]
    """For its owner, to know it again."""
    scopes: Annotated[list[Scope], msgspec.Meta(min_length=1, max_length=len(SCOPES))]
    """What it opens, and nothing else."""


class KeyView(msgspec.Struct, frozen=True):
    """A key as its owner sees it later."""

    id: UUID
    name: str
    hint: str
    """How the key begins."""
    scopes: list[Scope]
    created_at: datetime
    last_used_at: datetime | None
    """To the minute."""


class NewKeyView(msgspec.Struct, frozen=True):
    """A key, shown this once."""

    api_key: str
    """Send it as `Authorization: Bearer …`."""
    key: KeyView


class KeyList(msgspec.Struct, frozen=True):
    """Keys, newest first."""

    keys: list[KeyView]


@post("/", operation_id="createKey", summary="Make an API key", responses=problems(401, 409))
async def create_key(data: JSONBody[KeyRequest], owner_id: OwnerId, services: TheServices) -> NewKeyView:
    """The key itself is in this answer and never again. 409 when there are fifty."""
    made = await services.runtime.api_keys.create(owner_id, data.name, data.scopes)
    return NewKeyView(made.secret, key_view(made.key))


@get("/", operation_id="listKeys", summary="My API keys", responses=problems(401))
async def list_keys(owner_id: OwnerId, services: TheServices) -> KeyList:
    """Without the keys themselves, which nobody knows."""
    return KeyList([key_view(key) for key in await services.runtime.api_keys.list_keys(owner_id)])


@delete("/{key_id:uuid}", operation_id="deleteKey", summary="Delete an API key", responses=problems(401, 404))
async def delete_key(key_id: FromPath[UUID], owner_id: OwnerId, services: TheServices) -> None:
    """It opens nothing from now on."""
    await services.runtime.api_keys.delete(key_id, owner_id)


def key_view(key: ApiKey) -> KeyView:
    """What the owner sees."""
    return KeyView(key.id, key.name, key.hint, key.scopes, key.created_at, key.last_used_at)


keys_router = Router("/keys", route_handlers=[create_key, list_keys, delete_key], security=PROTECTED, tags=["keys"])
