"""For those who run the server: everybody's jobs, the queue, accounts, credits, processes and retention.

Whoever is no administrator is told that there is nothing here, API keys of administrators included. What is done
is written down with its reason, for ever.
"""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from litestar import Router, get, post
from litestar.di import NamedDependency, Provide
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from api.auth import PROTECTED
from api.errors import problems
from api.identity import ANY_KEY, SCOPE_OPT, Identity
from api.services import AnyConnection, JobId, Services, TheServices, services_of
from octavia_stream.admin.acts import Act, Actor, Deed
from octavia_stream.admin.jobs import JobFilter, OperatedJob
from octavia_stream.admin.live import OperatedSession
from octavia_stream.admin.users import Role, User
from octavia_stream.billing.ledger import MAX_AMOUNT
from octavia_stream.errors import InvalidRequest, NotFound
from octavia_stream.jobs.job import JobKind, JobStatus
from octavia_stream.jobs.retention import Cleaning, Freed
from octavia_stream.sessions.session import SessionStatus
from octavia_stream.telemetry.process_card import ProcessCard, present
from octavia_stream.telemetry.state import Queue

MAX_PAGE = 100
FIRST_IN_LINE = 20
LAST_CLEANINGS = 20

Reason = Annotated[str, msgspec.Meta(min_length=1, max_length=500, pattern=r"^[^\x00-\x1f]*\S[^\x00-\x1f]*$")]
UserId = FromPath[UUID]
"""The `user_id` of a path."""
TenantId = FromPath[UUID]
"""The `tenant_id` of a path: an account or a team."""
Before = Annotated[UUID | None, QueryParameter(description="`next_before` of the page before.")]
PageSize = Annotated[int, QueryParameter(ge=1, le=MAX_PAGE)]
Word = Annotated[str | None, QueryParameter(min_length=1, max_length=100, pattern=r"^[^\x00]+$")]
DeedKey = Annotated[
    str,
    HeaderParameter(
        name="Idempotency-Key",
        min_length=1,
        max_length=100,
        pattern=r"^[\x21-\x7e]+$",
        description="Another for each correction; the same one again changes nothing, for ever.",
    ),
]


class Why(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Why something is done; it is written down."""

    reason: Reason


class Correction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Credits by hand. The owner sees amount and reason in the list of transactions."""

    amount: Annotated[int, msgspec.Meta(ge=-MAX_AMOUNT, le=MAX_AMOUNT)]
    """Above zero gives, below zero takes."""
    reason: Reason


class Corrected(msgspec.Struct, frozen=True):
    """What the correction was, and what the owner has after it."""

    transfer_id: UUID
    amount: int
    balance: int
    reason: str


class OperatedJobPage(msgspec.Struct, frozen=True):
    """Jobs, newest first."""

    jobs: list[OperatedJob]
    next_before: UUID | None


class OperatedSessionPage(msgspec.Struct, frozen=True):
    """Live sessions, newest first."""

    sessions: list[OperatedSession]
    next_before: UUID | None


class QueueView(msgspec.Struct, frozen=True):
    """Jobs that wait or run."""

    waiting: int
    processing: int
    late: int
    """Whose worker gave no sign of life in time; another takes them."""
    age_s: float
    """How long the one that waits longest has waited."""
    first: list[OperatedJob]
    """Those that are taken next."""


class UserPage(msgspec.Struct, frozen=True):
    """Accounts, newest first."""

    users: list[User]
    next_before: UUID | None


class ActPage(msgspec.Struct, frozen=True):
    """Acts of administrators, newest first."""

    acts: list[Act]
    next_before: UUID | None


class ProcessView(msgspec.Struct, frozen=True):
    """One process that gave a sign of life in the last 20 s."""

    role: str
    host: str
    pid: int
    version: str
    started_at: str
    """RFC 3339, by the process's own clock."""
    cluster: dict[str, Any]
    """What a job worker knows of the cluster: nodes, and replicas of each deployment by their state."""


class NodesView(msgspec.Struct, frozen=True):
    """What is running."""

    processes: list[ProcessView]


class RetentionView(msgspec.Struct, frozen=True):
    """What is kept for how long, and what goes."""

    results_days: int
    """0: for ever."""
    uploads_days: int
    """0: for ever."""
    due: Freed
    """What would go now; of jobs only their results are counted, so it is rather more."""
    last: list[Cleaning]
    """When something went, newest first."""


async def admins_only(connection: AnyConnection, _handler: BaseRouteHandler) -> None:
    """A guard. Raises NotFound for everybody else."""
    await _admin(connection.auth, services_of(connection))


async def _admin(identity: Identity, services: Services) -> Actor:
    actor = None if identity.scopes is not None else await services.users.admin(identity.account_id)
    if actor is None:
        raise NotFound("There is nothing at this address.")
    return actor


async def provide_actor(identity: NamedDependency[Identity], services: TheServices) -> Actor:
    """Dependency `actor`: the administrator who asks."""
    return await _admin(identity, services)


TheActor = NamedDependency[Actor]
"""How a handler asks for `actor`."""


@get("/jobs", operation_id="adminListJobs", summary="Everybody's jobs", responses=problems(401, 404))
async def list_jobs(
    services: TheServices,
    limit: PageSize = 20,
    before: Before = None,
    owner: Annotated[UUID | None, QueryParameter(description="An account or a team.")] = None,
    kind: Annotated[JobKind | None, QueryParameter()] = None,
    status: Annotated[JobStatus | None, QueryParameter()] = None,
    error_code: Word = None,
    request_id: Word = None,
) -> OperatedJobPage:
    """How they fare; neither what they were asked for nor what they made. Newest first."""
    only = JobFilter(owner, kind, status, error_code, request_id)
    jobs = await services.operated_jobs.list_jobs(limit + 1, before, only)
    return OperatedJobPage(jobs[:limit], jobs[limit - 1].id if len(jobs) > limit else None)


@post(
    "/jobs/{job_id:uuid}/cancel",
    operation_id="adminCancelJob",
    summary="Cancel somebody's job",
    status_code=202,
    responses=problems(401, 404, 409),
)
async def cancel_job(job_id: JobId, data: JSONBody[Why], services: TheServices, actor: TheActor) -> OperatedJob:
    """As its owner would. 409 when it has ended."""
    return await services.operated_jobs.cancel(actor, job_id, data.reason)


@post(
    "/jobs/{job_id:uuid}/retry",
    operation_id="adminRetryJob",
    summary="Run somebody's job again",
    status_code=202,
    responses=problems(401, 402, 404, 409),
)
async def retry_job(job_id: JobId, data: JSONBody[Why], services: TheServices, actor: TheActor) -> OperatedJob:
    """As its owner would, and at the owner's cost. 409 unless it failed or was cancelled."""
    return await services.operated_jobs.retry(actor, job_id, data.reason)


@get("/live", operation_id="adminListLive", summary="Everybody's live sessions", responses=problems(401, 404))
async def list_live(
    services: TheServices,
    limit: PageSize = 20,
    before: Before = None,
    owner: Annotated[UUID | None, QueryParameter(description="An account or a team.")] = None,
    status: Annotated[SessionStatus | None, QueryParameter()] = None,
) -> OperatedSessionPage:
    """How they fare and where they are; nothing of what is said in them. Newest first."""
    statuses = None if status is None else [status]
    found = await services.operated_sessions.list_sessions(limit + 1, before, owner, statuses)
    return OperatedSessionPage(found[:limit], found[limit - 1].id if len(found) > limit else None)


@post(
    "/live/{live_id:uuid}/end",
    operation_id="adminEndLive",
    summary="End somebody's live session",
    status_code=200,
    responses=problems(401, 404, 409),
)
async def end_live(
    live_id: FromPath[UUID], data: JSONBody[Why], services: TheServices, actor: TheActor
) -> OperatedSession:
    """As its owner would. 409 when it has ended."""
    return await services.operated_sessions.end(actor, live_id, data.reason)


@get("/queue", operation_id="adminQueue", summary="The queue", responses=problems(401, 404))
async def show_queue(services: TheServices) -> QueueView:
    """How many jobs wait and run, and which come next."""
    queue: Queue = await services.state.queue()
    first = await services.operated_jobs.waiting(FIRST_IN_LINE)
    return QueueView(queue.waiting, queue.processing, queue.late, round(queue.age_s, 1), first)


@get("/users", operation_id="adminListUsers", summary="Accounts", responses=problems(401, 404))
async def list_users(
    services: TheServices,
    limit: PageSize = 20,
    before: Before = None,
    text: Word = None,
    role: Annotated[Role | None, QueryParameter()] = None,
    disabled: Annotated[bool | None, QueryParameter()] = None,
) -> UserPage:
    """Newest first; `text` is a part of the address."""
    users = await services.users.list_users(limit + 1, before=before, text=text, role=role, disabled=disabled)
    return UserPage(users[:limit], users[limit - 1].id if len(users) > limit else None)


@get("/users/{user_id:uuid}", operation_id="adminGetUser", summary="An account", responses=problems(401, 404))
async def get_user(user_id: UserId, services: TheServices) -> User:
    """With its credits, and when it was seen last."""
    return await services.users.get(user_id)


@post(
    "/users/{user_id:uuid}/disable",
    operation_id="adminDisableUser",
    summary="Keep an account out",
    status_code=200,
    responses=problems(401, 404, 409),
)
async def disable_user(user_id: UserId, data: JSONBody[Why], services: TheServices, actor: TheActor) -> User:
    """Its sessions are over at once, its API keys open nothing, and nobody logs in to it; its jobs go on.

    409 for administrators, and when it is disabled already.
    """
    return await services.users.disable(actor, user_id, data.reason)


@post(
    "/users/{user_id:uuid}/enable",
    operation_id="adminEnableUser",
    summary="Let an account in again",
    status_code=200,
    responses=problems(401, 404, 409),
)
async def enable_user(user_id: UserId, data: JSONBody[Why], services: TheServices, actor: TheActor) -> User:
    """It may log in, and its API keys work again. 409 when it is not disabled."""
    return await services.users.enable(actor, user_id, data.reason)


@post(
    "/credits/{tenant_id:uuid}",
    operation_id="adminCorrectCredits",
    summary="Give or take credits by hand",
    status_code=200,
    responses=problems(401, 402, 404, 409),
)
async def correct_credits(
    tenant_id: TenantId, data: JSONBody[Correction], services: TheServices, actor: TheActor, key: DeedKey
) -> Corrected:
    """To an account or a team, through the ledger. 402 when more is taken than there is.

    409 when the key was used for something else.
    """
    if data.amount == 0:
        raise InvalidRequest("Say how many credits are given or taken.")
    transfer = await services.users.adjust_credits(actor, tenant_id, data.amount, key=key, reason=data.reason)
    return Corrected(transfer.id, data.amount, transfer.balance_after, transfer.reason)


@get("/nodes", operation_id="adminNodes", summary="What is running", responses=problems(401, 404))
async def show_nodes(services: TheServices) -> NodesView:
    """Processes, and what the job workers know of the cluster; as of a few seconds ago."""
    return NodesView([_process(card) for card in await present(services.runtime.redis)])


def _process(card: ProcessCard) -> ProcessView:
    return ProcessView(card.role, card.host, card.pid, card.version, card.started_at.isoformat(), card.detail)


@get("/retention", operation_id="adminRetention", summary="What goes, and what went", responses=problems(401, 404))
async def show_retention(services: TheServices) -> RetentionView:
    """What retention would remove now, and what it removed."""
    return await _retention(services)


async def _retention(services: Services) -> RetentionView:
    kept, cleaner = services.runtime.settings.retention, services.cleaner
    last = await cleaner.cleanings(LAST_CLEANINGS)
    return RetentionView(kept.results_days, kept.uploads_days, await cleaner.due(), last)


@post(
    "/retention/run",
    operation_id="adminRunRetention",
    summary="Clean now",
    status_code=202,
    responses=problems(401, 404),
)
async def run_retention(data: JSONBody[Why], services: TheServices, actor: TheActor) -> RetentionView:
    """What is due begins to go now and not within the hour; `last` of `GET retention` then says what went."""
    await services.acts.write_down(actor, Deed("clean", None, data.reason))
    services.cleaner.hurry()
    return await _retention(services)


@get("/acts", operation_id="adminListActs", summary="What administrators did", responses=problems(401, 404))
async def list_acts(
    services: TheServices,
    limit: PageSize = 20,
    before: Before = None,
    subject: Annotated[UUID | None, QueryParameter(description="What it was done to.")] = None,
) -> ActPage:
    """Newest first."""
    acts = await services.acts.list_acts(limit + 1, before, None if subject is None else str(subject))
    return ActPage(acts[:limit], acts[limit - 1].id if len(acts) > limit else None)


admin_router = Router(
    "/admin",
    route_handlers=[
        *(list_jobs, cancel_job, retry_job, show_queue, list_live, end_live),
        *(list_users, get_user, disable_user, enable_user, correct_credits),
        *(show_nodes, show_retention, run_retention, list_acts),
    ],
    guards=[admins_only],
    dependencies={"actor": Provide(provide_actor)},
    # Keys get as far as the guard, which tells them what it tells everybody.
    opt={SCOPE_OPT: ANY_KEY},
    security=PROTECTED,
    tags=["admin"],
)
