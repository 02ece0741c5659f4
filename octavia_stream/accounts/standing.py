"""Standing: whether what opened a stream still does, asked again and again for as long as the stream is open.

A request is judged when it comes; a stream may outlive the session, the API key, the account or the membership that
opened it. One question to Postgres every `RECHECK_S` covers all streams of a process, so that is how long one of them
goes on at most.
"""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import structlog

from octavia_stream.database.pool import Database
from octavia_stream.errors import DependencyUnavailable

RECHECK_S = 2.0

# A job that is gone ends its stream by itself.
_LOST = """
select place from unnest($1::int[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[])
    as held (place, account_id, log_in_id, key_id, job_id)
where not exists (select from account where id = held.account_id and disabled_at is null)
    or (log_in_id is not null and not exists (select from log_in where id = held.log_in_id and expires_at > now()))
    or (key_id is not null and not exists (select from api_key where id = held.key_id))
    or exists (
        select from job where job.id = held.job_id and job.owner_id <> held.account_id and not exists (
            select from team_member where team_id = job.owner_id and team_member.account_id = held.account_id
        )
    )
"""

log = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Grant:
    """By what a stream was opened, and which job it is about."""

    account_id: UUID
    log_in_id: UUID | None = None
    key_id: UUID | None = None
    job_id: UUID | None = None


class Standing:
    """The open streams of one process. Its task runs while there are any."""

    def __init__(self, database: Database, *, recheck_s: float = RECHECK_S) -> None:
        self._database = database
        self._recheck_s = recheck_s
        self._open: dict[asyncio.Future[None], Grant] = {}
        self._task: asyncio.Task[None] | None = None

    async def holds(self, grant: Grant) -> bool:
        """Whether it opens anything now. Raises DependencyUnavailable."""
        return not await self._lost([grant])

    def lost(self, grant: Grant) -> asyncio.Future[None]:
        """Done soon after the grant is withdrawn; cancel it when the stream ends for another reason."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._open[future] = grant
        future.add_done_callback(lambda ended: self._open.pop(ended, None))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._recheck(), name="standing")
        return future

    async def close(self) -> None:
        """Ask no more. May be called twice."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _recheck(self) -> None:
        while self._open:
            await asyncio.sleep(self._recheck_s)
            watched = list(self._open.items())
            try:
                lost = await self._lost([grant for _, grant in watched])
            except DependencyUnavailable:
                # Nobody can withdraw anything either.
                continue
            for place in lost:
                future, grant = watched[place]
                if not future.done():
                    future.set_result(None)
                    log.info("stream_withdrawn", account_id=str(grant.account_id))

    async def _lost(self, grants: list[Grant]) -> list[int]:
        rows = await self._database.fetch(
            _LOST,
            list(range(len(grants))),
            [grant.account_id for grant in grants],
            [grant.log_in_id for grant in grants],
            [grant.key_id for grant in grants],
            [grant.job_id for grant in grants],
        )
        return [row["place"] for row in rows]
