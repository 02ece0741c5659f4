"""Who asks: sign up, log in, and the token or ticket that every later request shows."""

from datetime import datetime
from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from litestar import Router, get, post
from litestar.middleware.authentication import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.openapi.spec import SecurityRequirement
from litestar.params import JSONBody

from api.errors import problems
from api.services import AnyConnection, OwnerId, Services, TheServices, services_of
from api.tickets import TICKET_S
from octavia_stream.accounts.account import Account
from octavia_stream.errors import NotFound, Unauthorized

PUBLIC = {"public": True}
"""Handlers with this `opt` answer anyone."""
BEARER_SCHEME = "bearer"
TICKET_SCHEME = "ticket"
PROTECTED: list[SecurityRequirement] = [{BEARER_SCHEME: []}]

Email = Annotated[str, msgspec.Meta(min_length=3, max_length=254, pattern=r"^[^@\s\x00-\x1f]+@[^@\s\x00-\x1f]+$")]
Password = Annotated[str, msgspec.Meta(min_length=10, max_length=256)]


class Credentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person signs up and logs in with."""

    email: Email
    password: Password


class AccountView(msgspec.Struct, frozen=True):
    """An account as its owner sees it."""

    id: UUID
    email: str
    created_at: datetime


class Access(msgspec.Struct, frozen=True):
    """A token: send it as `Authorization: Bearer …`."""

    access_token: str
    token_type: str
    expires_in: int
    """Seconds."""
    account: AccountView


class Ticket(msgspec.Struct, frozen=True):
    """Works once: append it as `?ticket=` to the address of an event stream."""

    ticket: str
    expires_in: int
    """Seconds."""


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Demands a bearer token on HTTP, or a ticket where the route takes one. WebSockets ask for themselves."""

    async def authenticate_request(self, connection: AnyConnection) -> AuthenticationResult:
        tickets_allowed = bool(connection.route_handler.opt.get(TICKET_SCHEME))
        return AuthenticationResult(user=await identify(connection, tickets_allowed=tickets_allowed), auth=None)


async def identify(connection: AnyConnection, *, tickets_allowed: bool) -> UUID:
    """Whose connection it is. Raises Unauthorized, DependencyUnavailable."""
    services = services_of(connection)
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == BEARER_SCHEME:
        return services.tokens.verify(token.strip())
    ticket = connection.query_params.get("ticket")
    if tickets_allowed and ticket:
        return await services.tickets.redeem(ticket)
    raise Unauthorized("Log in first, and send the token as 'Authorization: Bearer …'.")


def origin_allowed(connection: AnyConnection, public_url: str | None) -> bool:
    """Whether a browser's page may open a socket here: pages of this host, or of the public address.

    Browsers always send `Origin` with a WebSocket and no same-origin rule stops them; other clients send none.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return True
    allowed = {connection.headers.get("host", "").lower()}
    if public_url is not None:
        allowed.add(urlsplit(public_url).netloc.lower())
    return urlsplit(origin).netloc.lower() in allowed - {""}


@post(
    "/sign-up",
    operation_id="signUp",
    summary="Create an account",
    opt=PUBLIC,
    responses=problems(409),
)
async def sign_up(data: JSONBody[Credentials], services: TheServices) -> Access:
    """Create an account and log in to it. 409 when the address has one."""
    return _access(await services.runtime.accounts.sign_up(data.email, data.password), services)


@post(
    "/log-in",
    operation_id="logIn",
    summary="Log in",
    status_code=200,
    opt=PUBLIC,
    responses=problems(401),
)
async def log_in(data: JSONBody[Credentials], services: TheServices) -> Access:
    """Trade address and password for a token. 401 does not say which of them was wrong."""
    return _access(await services.runtime.accounts.authenticate(data.email, data.password), services)


@get("/me", operation_id="me", summary="Who am I", security=PROTECTED, responses=problems(401))
async def me(owner_id: OwnerId, services: TheServices) -> AccountView:
    """The account the token belongs to."""
    return _view(await _account(owner_id, services))


@post(
    "/ticket",
    operation_id="createTicket",
    summary="A ticket for one event stream",
    security=PROTECTED,
    responses=problems(401),
)
async def create_ticket(owner_id: OwnerId, services: TheServices) -> Ticket:
    """For browsers, which cannot send a header with a WebSocket or an EventSource."""
    return Ticket(await services.tickets.issue(owner_id), TICKET_S)


async def _account(owner_id: UUID, services: Services) -> Account:
    try:
        return await services.runtime.accounts.get(owner_id)
    except NotFound as error:
        raise Unauthorized("This account is gone.") from error


def _access(account: Account, services: Services) -> Access:
    lifetime = services.tokens.lifetime
    return Access(services.tokens.issue(account.id), "Bearer", int(lifetime.total_seconds()), _view(account))


def _view(account: Account) -> AccountView:
    return AccountView(account.id, account.email, account.created_at)


auth_router = Router("/auth", route_handlers=[sign_up, log_in, me, create_ticket], tags=["auth"])
