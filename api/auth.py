"""Who asks: sign up, log in, and the token or ticket that every later request shows."""

from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID

import msgspec
from litestar import Request, Router, get, post
from litestar.middleware.authentication import AbstractAuthenticationMiddleware, AuthenticationResult
from litestar.openapi.spec import SecurityRequirement
from litestar.params import JSONBody

from api.errors import problems
from api.identity import ANY_KEY, SCOPE_OPT, Identity, for_keys
from api.rate_limits import client_address
from api.services import AnyConnection, OwnerId, Services, TheServices, WhoAsks, services_of
from api.tickets import TICKET_S
from octavia_stream.accounts.account import Account
from octavia_stream.accounts.api_keys import PREFIX as API_KEY_PREFIX
from octavia_stream.accounts.api_keys import Scope
from octavia_stream.accounts.log_ins import OpenLogIn
from octavia_stream.accounts.standing import Grant
from octavia_stream.config import ApiSettings
from octavia_stream.errors import Forbidden, NotFound, Unauthorized

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
    refresh_token: str
    """Good for one use at `refresh`, which brings the next. Keep it as well as a password."""
    account: AccountView


class RefreshRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest refresh token."""

    refresh_token: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]


class Ticket(msgspec.Struct, frozen=True):
    """Works once: append it as `?ticket=` to the address of an event stream."""

    ticket: str
    expires_in: int
    """Seconds."""


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Demands a bearer token on HTTP, or a ticket where the route takes one. WebSockets ask for themselves."""

    async def authenticate_request(self, connection: AnyConnection) -> AuthenticationResult:
        opt = connection.route_handler.opt
        identity = await identify(connection, tickets_allowed=bool(opt.get(TICKET_SCHEME)))
        await services_of(connection).requests.account_asks(connection, identity.account_id, opt)
        identity.require(opt.get(SCOPE_OPT))
        return AuthenticationResult(user=identity.account_id, auth=identity)


async def identify_socket(connection: AnyConnection, scope: Scope) -> Identity:
    """Whose WebSocket it is, which no middleware asks. Raises Unauthorized, Forbidden, RateLimited, and as above."""
    requests = services_of(connection).requests
    await requests.address_asks(connection)
    identity = await identify(connection, tickets_allowed=True)
    await requests.account_asks(connection, identity.account_id, {})
    identity.require(scope)
    return identity


async def identify(connection: AnyConnection, *, tickets_allowed: bool) -> Identity:
    """Whose connection it is. Raises Unauthorized, DependencyUnavailable."""
    services = services_of(connection)
    scheme, _, token = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == BEARER_SCHEME:
        return await _bearer(token.strip(), services)
    ticket = connection.query_params.get("ticket")
    if tickets_allowed and ticket:
        return await _ticket_holder(ticket, services)
    raise Unauthorized("Log in first, and send the token as 'Authorization: Bearer …'.")


async def _bearer(token: str, services: Services) -> Identity:
    if token.startswith(API_KEY_PREFIX):
        key = await services.runtime.api_keys.identify(token)
        return Identity(key.account_id, scopes=frozenset(key.scopes), key_id=key.id)
    identity = services.tokens.verify(token)
    if identity.log_in_id is not None:
        await services.runtime.log_ins.require_live(identity.log_in_id, identity.account_id)
    return identity


async def _ticket_holder(ticket: str, services: Services) -> Identity:
    """Who got the ticket, if what they got it with still holds."""
    identity = await services.tickets.redeem(ticket)
    if not await services.standing.holds(grant_of(identity)):
        raise Unauthorized("The session of this ticket has ended; log in again.")
    return identity


def grant_of(identity: Identity, job_id: UUID | None = None) -> Grant:
    """What a stream stands on that this identity opens, about this job."""
    return Grant(identity.account_id, identity.log_in_id, identity.key_id, job_id)


def origin_allowed(connection: AnyConnection, settings: ApiSettings) -> bool:
    """Whether a browser's page may open a socket here: pages of this host, of the public address, and those let in.

    Browsers always send `Origin` with a WebSocket and no same-origin rule stops them; other clients send none.
    """
    origin = connection.headers.get("origin")
    if origin is None:
        return True
    allowed = {connection.headers.get("host", "").lower()}
    if settings.public_url is not None:
        allowed.add(urlsplit(settings.public_url).netloc.lower())
    if origin.lower() in settings.cors_origins:
        return True
    return urlsplit(origin).netloc.lower() in allowed - {""}


@post(
    "/sign-up",
    operation_id="signUp",
    summary="Create an account",
    opt=PUBLIC,
    responses=problems(409, 429),
)
async def sign_up(data: JSONBody[Credentials], request: Request[None, None, Any], services: TheServices) -> Access:
    """Create an account and log in to it. 409 when the address has one."""
    await services.limits.sign_up_tried(request)
    account = await services.runtime.accounts.sign_up(data.email, data.password)
    return await _log_in(account, request, services)


@post(
    "/log-in",
    operation_id="logIn",
    summary="Log in",
    status_code=200,
    opt=PUBLIC,
    responses=problems(401, 429),
)
async def log_in(data: JSONBody[Credentials], request: Request[None, None, Any], services: TheServices) -> Access:
    """Trade address and password for tokens. 401 does not say which of them was wrong."""
    await services.limits.password_tried(request, data.email)
    account = await services.runtime.accounts.authenticate(data.email, data.password)
    await services.limits.password_right(request, data.email)
    return await _log_in(account, request, services)


@post(
    "/refresh",
    operation_id="refreshAccess",
    summary="The next tokens",
    status_code=200,
    opt=PUBLIC,
    responses=problems(401),
)
async def refresh(data: JSONBody[RefreshRequest], request: Request[None, None, Any], services: TheServices) -> Access:
    """Trade a refresh token for an access token and the next refresh token.

    Each works once: one that is shown again ends its session, for somebody else may have it.
    """
    opened = await services.runtime.log_ins.refresh(data.refresh_token, client_address(request))
    return _access(await account_of(opened.log_in.account_id, services), opened, services)


@post(
    "/log-out", operation_id="logOut", summary="Log out", status_code=204, security=PROTECTED, responses=problems(401)
)
async def log_out(identity: WhoAsks, services: TheServices) -> None:
    """End the session of this token: neither it nor its refresh token open anything any more."""
    if identity.log_in_id is None:
        raise Forbidden("Only a session can be logged out.")
    try:
        await services.runtime.log_ins.end(identity.log_in_id, identity.account_id)
    except NotFound:
        return  # somebody else ended it this very moment


@get(
    "/me",
    operation_id="me",
    summary="Who am I",
    opt={SCOPE_OPT: ANY_KEY},
    security=PROTECTED,
    responses=problems(401),
)
async def me(owner_id: OwnerId, services: TheServices) -> AccountView:
    """The account the token belongs to."""
    return account_view(await account_of(owner_id, services))


@post(
    "/ticket",
    operation_id="createTicket",
    summary="A ticket for one event stream",
    opt=for_keys("jobs:read"),
    security=PROTECTED,
    responses=problems(401),
)
async def create_ticket(identity: WhoAsks, services: TheServices) -> Ticket:
    """For browsers, which cannot send a header with a WebSocket or an EventSource."""
    return Ticket(await services.tickets.issue(identity), TICKET_S)


async def account_of(owner_id: UUID, services: Services) -> Account:
    """Raises Unauthorized when the account is gone."""
    try:
        return await services.runtime.accounts.get(owner_id)
    except NotFound as error:
        raise Unauthorized("This account is gone.") from error


async def _log_in(account: Account, request: Request[None, None, Any], services: Services) -> Access:
    client = request.headers.get("user-agent", "")
    opened = await services.runtime.log_ins.open(account.id, client, client_address(request))
    return _access(account, opened, services)


def _access(account: Account, opened: OpenLogIn, services: Services) -> Access:
    token, seconds = services.tokens.issue(account.id, opened.log_in.id), int(services.tokens.lifetime.total_seconds())
    return Access(token, "Bearer", seconds, opened.refresh_token, account_view(account))


def account_view(account: Account) -> AccountView:
    """What the owner sees."""
    return AccountView(account.id, account.email, account.created_at)


auth_router = Router("/auth", route_handlers=[sign_up, log_in, refresh, log_out, me, create_ticket], tags=["auth"])
