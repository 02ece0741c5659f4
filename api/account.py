"""One's own account: where it is logged in, its password, its data, and its end."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol, TypeVar
from uuid import UUID

import msgspec
import structlog
from litestar import Request, Response, Router, delete, get, post
from litestar.background_tasks import BackgroundTask
from litestar.params import FromPath, JSONBody

from api.auth import PROTECTED, PUBLIC, AccountView, Email, Password, account_of, account_view
from api.errors import problems
from api.identity import Identity
from api.jobs import JobView
from api.jobs import view as job_view
from api.keys import KeyView, key_view
from api.live import LiveView, live_view
from api.services import OwnerId, Services, TheServices, WhoAsks
from octavia_stream.accounts.password_resets import PasswordResets
from octavia_stream.accounts.team import Team
from octavia_stream.billing.transfer import StatementLine
from octavia_stream.errors import NotFound, OctaviaError
from octavia_stream.mail.smtp import SmtpMail

EXPORT_PAGE = 500

log = structlog.stdlib.get_logger(__name__)


class SessionView(msgspec.Struct, frozen=True):
    """A place where the account is logged in."""

    id: UUID
    current: bool
    """Whether it is the one that asks."""
    client: str
    """What the client called itself."""
    address: str
    """Where it came from last."""
    created_at: datetime
    used_at: datetime
    """When it was last carried on by a refresh token."""
    expires_at: datetime


class SessionList(msgspec.Struct, frozen=True):
    """Sessions, last used first."""

    sessions: list[SessionView]


class PasswordChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Both passwords."""

    password: Annotated[str, msgspec.Meta(max_length=256)]
    """The one that is good now."""
    new_password: Password


class ResetRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose password is forgotten."""

    email: Email


class ResetConfirmation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the letter said, and the new password."""

    token: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    new_password: Password


class Farewell(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The password once more."""

    password: Annotated[str, msgspec.Meta(max_length=256)]


class Asked(msgspec.Struct, frozen=True):
    """The same answer for every address."""

    detail: str


class UploadRecord(msgspec.Struct, frozen=True):
    """A file that was brought."""

    id: UUID
    filename: str
    content_type: str
    size: int
    sha256: str
    created_at: datetime
    media_info: dict[str, Any] | None


class TeamExport(msgspec.Struct, frozen=True):
    """A team that the account is in, and the jobs that it asked for there."""

    team: Team
    jobs: list[JobView]


class AccountExport(msgspec.Struct, frozen=True):
    """Everything this server knows of an account, but for the files: those are downloads."""

    exported_at: datetime
    account: AccountView
    sessions: list[SessionView]
    keys: list[KeyView]
    uploads: list[UploadRecord]
    jobs: list[JobView]
    live_sessions: list[LiveView]
    transactions: list[StatementLine]
    teams: list[TeamExport]


@get(
    "/sessions",
    operation_id="listSessions",
    summary="Where I am logged in",
    security=PROTECTED,
    responses=problems(401),
)
async def list_sessions(identity: WhoAsks, services: TheServices) -> SessionList:
    """Those that go on, last used first."""
    return SessionList(await _sessions(identity, services))


@delete(
    "/sessions/{session_id:uuid}",
    operation_id="endSession",
    summary="Log out elsewhere",
    security=PROTECTED,
    responses=problems(401, 404),
)
async def end_session(session_id: FromPath[UUID], owner_id: OwnerId, services: TheServices) -> None:
    """None of its tokens opens anything from now on."""
    await services.runtime.log_ins.end(session_id, owner_id)


@post(
    "/password",
    operation_id="changePassword",
    summary="Change the password",
    status_code=204,
    security=PROTECTED,
    responses=problems(401, 409, 429),
)
async def change_password(
    data: JSONBody[PasswordChange], request: Request[UUID, Identity, Any], identity: WhoAsks, services: TheServices
) -> None:
    """All other sessions end. 403 when the old password is wrong."""
    who = str(identity.account_id)
    await services.limits.password_tried(request, who)
    await services.runtime.accounts.change_password(identity.account_id, data.password, data.new_password)
    await services.limits.password_right(request, who)
    await services.runtime.log_ins.end_others(identity.account_id, identity.log_in_id)


@post(
    "/password-reset",
    operation_id="requestPasswordReset",
    summary="Forgot the password",
    status_code=202,
    opt=PUBLIC,
    responses=problems(404, 429),
)
async def request_password_reset(
    data: JSONBody[ResetRequest], request: Request[None, None, Any], services: TheServices
) -> Response[Asked]:
    """A letter goes to the address if it has an account; the answer does not tell. 404 where no letters are sent."""
    mail = _mail(services)
    await services.limits.reset_asked(request, data.email)
    # Afterwards, so that how long it takes does not tell either.
    task = BackgroundTask(_send_reset, data.email, mail, services)
    return Response(Asked("If there is an account with this address, a letter is on its way."), background=task)


@post(
    "/password-reset/confirm",
    operation_id="confirmPasswordReset",
    summary="Set a new password with what the letter said",
    status_code=204,
    opt=PUBLIC,
    responses=problems(429),
)
async def confirm_password_reset(
    data: JSONBody[ResetConfirmation], request: Request[None, None, Any], services: TheServices
) -> None:
    """All sessions end; API keys stay. What the letter said works once, for half an hour."""
    await services.limits.reset_tried(request)
    await _resets(services).confirm(data.token, data.new_password)


@get("/me/export", operation_id="exportMe", summary="All my data", security=PROTECTED, responses=problems(401))
async def export_me(identity: WhoAsks, services: TheServices) -> Response[AccountExport]:
    """As one JSON document."""
    runtime, owner_id = services.runtime, identity.account_id
    export = AccountExport(
        exported_at=datetime.now(UTC),
        account=account_view(await account_of(owner_id, services)),
        sessions=await _sessions(identity, services),
        keys=[key_view(key) for key in await runtime.api_keys.list_keys(owner_id)],
        uploads=[
            UploadRecord(one.id, one.filename, one.content_type, one.size, one.sha256, one.created_at, one.media_info)
            for one in await _all(lambda before: runtime.uploads.list_uploads(owner_id, EXPORT_PAGE, before))
        ],
        jobs=[
            job_view(job) for job in await _all(lambda before: runtime.jobs.list_jobs(owner_id, EXPORT_PAGE, before))
        ],
        live_sessions=[
            live_view(one)
            for one in await _all(lambda before: runtime.live.list_sessions(owner_id, EXPORT_PAGE, before))
        ],
        transactions=await _all(lambda before: runtime.credits.statement(owner_id, EXPORT_PAGE, before=before)),
        teams=await _teams(owner_id, services),
    )
    return Response(export, headers={"Content-Disposition": 'attachment; filename="octavia-export.json"'})


@delete(
    "/me",
    operation_id="deleteMe",
    summary="Delete the account",
    security=PROTECTED,
    responses=problems(401, 409, 429),
)
async def delete_me(
    data: JSONBody[Farewell], request: Request[UUID, Identity, Any], owner_id: OwnerId, services: TheServices
) -> None:
    """With everything in it, files too, for ever. 403 when the password is wrong; 409 while jobs are being stopped.

    What remains are the books of credits, under a number that is nobody's any more.
    """
    await services.limits.password_tried(request, str(owner_id))
    await services.runtime.accounts.require_password(owner_id, data.password)
    await services.limits.password_right(request, str(owner_id))
    await services.removal.remove_account(owner_id)


async def _sessions(identity: Identity, services: Services) -> list[SessionView]:
    return [
        SessionView(
            one.id,
            one.id == identity.log_in_id,
            one.client,
            one.address,
            one.created_at,
            one.used_at,
            one.expires_at,
        )
        for one in await services.runtime.log_ins.list_log_ins(identity.account_id)
    ]


async def _teams(account_id: UUID, services: Services) -> list[TeamExport]:
    return [
        TeamExport(team, await _asked_for(account_id, team.id, services))
        for team in await services.teams.list_teams(account_id)
    ]


async def _asked_for(account_id: UUID, team_id: UUID, services: Services) -> list[JobView]:
    """The jobs of a team that one of its people asked for."""
    jobs = await _all(lambda before: services.runtime.jobs.list_jobs(team_id, EXPORT_PAGE, before))
    return [job_view(job) for job in jobs if job.created_by == account_id]


async def _send_reset(email: str, mail: SmtpMail, services: Services) -> None:
    """Runs when the answer is out: nobody waits for it, so it says in the log what went wrong."""
    settings = services.runtime.settings.mail
    try:
        token = await _resets(services).issue(email)
        if token is not None:
            link = f"Open {settings.reset_page}#token={token}" if settings.reset_page else f"Use this code: {token}"
            await mail.send(
                email,
                "A new password",
                "Somebody, probably you, asked for a new password for this address.\n\n"
                f"{link}\n\n"
                "It works once, within half an hour. If it was not you, do nothing: your password stays as it is.\n",
            )
    except OctaviaError as error:
        log.warning("password_reset_not_sent", code=error.code)


def _mail(services: Services) -> SmtpMail:
    if services.mail is None:
        raise NotFound("This server sends no letters; ask who runs it.")
    return services.mail


def _resets(services: Services) -> PasswordResets:
    return PasswordResets(services.runtime.pool, services.runtime.accounts)


class _Identified(Protocol):
    @property
    def id(self) -> UUID: ...


Record = TypeVar("Record", bound=_Identified)


async def _all(page_before: Callable[[UUID | None], Awaitable[Sequence[Record]]]) -> list[Record]:
    """Every page, newest first."""
    found: list[Record] = []
    before: UUID | None = None
    while page := await page_before(before):
        found += page
        before = page[-1].id
    return found


account_router = Router(
    "/auth",
    route_handlers=[
        list_sessions,
        end_session,
        change_password,
        request_password_reset,
        confirm_password_reset,
        export_me,
        delete_me,
    ],
    tags=["auth"],
)
