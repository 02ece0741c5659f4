"""Who may do what at a live session: its owner with a token of the account's or an API key, whoever has the session's
own token, and listeners with theirs, who can only listen.
"""

from dataclasses import dataclass
from uuid import UUID

from api.auth import BEARER_SCHEME, identify
from api.services import AnyConnection, Services, services_of
from octavia_stream.accounts.api_keys import Scope
from octavia_stream.accounts.standing import Grant
from octavia_stream.accounts.team_roles import Action
from octavia_stream.errors import Forbidden, NotFound, Unauthorized
from octavia_stream.sessions.session import LiveSession, Pass
from octavia_stream.sessions.store import LISTENER_PREFIX, SPEAKER_PREFIX

TOKEN = "token"  # noqa: S105  (a name in a query)
_GONE = "There is no such live session, or it is not yours."


@dataclass(frozen=True, slots=True)
class Admitted:
    """Somebody at a session that goes on."""

    session: LiveSession
    opened: Pass
    grant: Grant
    """What the session itself stands on, or the account that asks."""

    def require_speaker(self) -> None:
        """Raises Forbidden for a listener."""
        if self.opened.listener_id is not None:
            raise Forbidden("This token is for listening alone.")


async def admit(connection: AnyConnection, live_id: UUID, scope: Scope) -> Admitted:
    """Who is at the door. scope: what an API key must be for.

    Raises Unauthorized, Forbidden, RateLimited, and NotFound for a session that has ended too.
    """
    services = services_of(connection)
    token = _token(connection)
    if token.startswith((SPEAKER_PREFIX, LISTENER_PREFIX)):
        admitted = await _by_token(token, live_id, services)
        await services.requests.account_asks(connection, admitted.grant.account_id, connection.route_handler.opt)
    else:
        admitted = await _by_account(connection, live_id, scope, services)
    if admitted.session.status == "ended":
        raise NotFound("This live session has ended.")
    return admitted


async def _by_token(token: str, live_id: UUID, services: Services) -> Admitted:
    opened = await services.runtime.live.open_by(token)
    if opened.session_id != live_id:
        raise NotFound(_GONE)
    session = await services.runtime.live.get(live_id)
    if session.created_by is None:
        # It is about to end.
        raise NotFound(_GONE)
    return Admitted(session, opened, Grant(session.created_by))


async def _by_account(connection: AnyConnection, live_id: UUID, scope: Scope, services: Services) -> Admitted:
    identity = await identify(connection, tickets_allowed=False)
    await services.requests.account_asks(connection, identity.account_id, connection.route_handler.opt)
    identity.require(scope)
    action: Action = "live:read" if scope == "live:read" else "live:change"
    owner_id = await services.access.owner_of_session(live_id, identity.account_id, action)
    session = await services.runtime.live.get(live_id)
    if session.owner_id != owner_id:
        raise NotFound(_GONE)
    grant = Grant(identity.account_id, identity.log_in_id, identity.key_id)
    return Admitted(session, Pass(live_id, None), grant)


def _token(connection: AnyConnection) -> str:
    """A bearer token, or one in the address, for clients that can send no header. Raises Unauthorized."""
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == BEARER_SCHEME and token.strip():
        return token.strip()
    in_address: str | None = connection.query_params.get(TOKEN)
    if in_address and in_address.startswith((SPEAKER_PREFIX, LISTENER_PREFIX)):
        return in_address
    raise Unauthorized("Send a token of the session as 'Authorization: Bearer …' or as 'token' in the address.")
