"""What handlers work with: one value, made when the application starts."""

import asyncio
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID

from litestar import Request
from litestar.connection import ASGIConnection
from litestar.datastructures import State
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter

from api.identity import Identity, team_action
from api.link_tokens import Links
from api.rate_limits import RateLimits
from api.throttling import RequestLimits
from api.tickets import Tickets
from api.tokens import AccessTokens
from octavia_stream.accounts.access import Access
from octavia_stream.accounts.account_settings import AccountSettingsStore
from octavia_stream.accounts.invitations import InvitationStore
from octavia_stream.accounts.removal import Removal
from octavia_stream.accounts.standing import Standing
from octavia_stream.accounts.teams import TeamStore
from octavia_stream.admin.acts import ActStore
from octavia_stream.admin.jobs import JobDirectory
from octavia_stream.admin.live import SessionDirectory
from octavia_stream.admin.users import UserDirectory
from octavia_stream.billing.orders import Orders
from octavia_stream.jobs.retention import Cleaner
from octavia_stream.mail.smtp import SmtpMail
from octavia_stream.models.registry import Registry
from octavia_stream.runtime import Runtime
from octavia_stream.sessions.placement import LiveNodes
from octavia_stream.telemetry.state import ServerState
from octavia_stream.uploads.pieces import Pieces
from octavia_stream.uploads.previews import Previews

AnyConnection = ASGIConnection[Any, Any, Any, State]


@dataclass(frozen=True, slots=True)
class Services:
    """The runtime, and what this door adds to it."""

    runtime: Runtime
    registry: Registry
    tokens: AccessTokens
    tickets: Tickets
    limits: RateLimits
    requests: RequestLimits
    removal: Removal
    pieces: Pieces
    previews: Previews
    links: Links
    state: ServerState
    cleaner: Cleaner
    acts: ActStore
    users: UserDirectory
    operated_jobs: JobDirectory
    operated_sessions: SessionDirectory
    access: Access
    account_settings: AccountSettingsStore
    standing: Standing
    teams: TeamStore
    invitations: InvitationStore
    live: LiveNodes
    mail: SmtpMail | None = None
    """None: this server sends no letters."""
    orders: Orders | None = None
    """None: this server sells no credits."""
    closing: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the server is about to stop: streams without an end of their own end now."""


def services_of(connection: AnyConnection) -> Services:
    """The services of the application that serves this connection."""
    services: Services = connection.app.state.services
    return services


async def provide_services(state: State) -> Services:
    """Dependency `services`."""
    services: Services = state.services
    return services


async def provide_owner_id(request: Request[UUID, Identity, State]) -> UUID:
    """Dependency `owner_id`: whose the job or the upload of the path is as far as who asks may know; else who asks.

    That is their own account, or a team they are in. Raises Forbidden when their role in it does not reach so far.
    """
    action, access = team_action(request.route_handler.opt), services_of(request).access
    if action is None:
        return request.user
    if "job_id" in request.path_params:
        return await access.owner_of_job(request.path_params["job_id"], request.user, action)
    if "upload_id" in request.path_params:
        return await access.owner_of_upload(request.path_params["upload_id"], request.user, action)
    if "live_id" in request.path_params:
        return await access.owner_of_session(request.path_params["live_id"], request.user, action)
    return request.user


async def provide_identity(request: Request[UUID, Identity, State]) -> Identity:
    """Dependency `identity`: who asks, and how they proved it."""
    return request.auth


TheServices = NamedDependency[Services]
"""How a handler asks for `services`."""
OwnerId = NamedDependency[UUID]
"""How a handler asks for `owner_id`: what the stores know the job or upload of the path under, or who asks."""
WhoAsks = NamedDependency[Identity]
"""How a handler asks for `identity`."""
JobId = FromPath[UUID]
"""The `job_id` of a path."""
UploadId = FromPath[UUID]
"""The `upload_id` of a path."""
TeamOfQuery = Annotated[UUID | None, QueryParameter(description="Of this team, which you are in, instead of your own.")]
"""The `team_id` of a query."""
