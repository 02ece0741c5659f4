"""What the database saw: every start of a piece of work, and whether it had been finished before."""

from dataclasses import dataclass
from uuid import UUID

from octavia_stream.database.pool import Database, Row

# Beside the product's tables, and told by triggers: nothing that happens between two looks is missed.
SPY = """
create schema if not exists chaos;
create table if not exists chaos.begun (
    n bigserial, job_id uuid, stage text, idx int, digest text, key text, finished boolean
);
create or replace function chaos.note() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        insert into chaos.begun (job_id, stage, idx, digest, finished)
        values (new.job_id, new.stage, new.idx, new.digest, false);
    elsif new.state = 'running' then
        insert into chaos.begun (job_id, stage, idx, digest, key, finished)
        values (new.job_id, new.stage, new.idx, new.digest, old.key, old.state = 'done');
    end if;
    return new;
end $$;
create or replace trigger chaos_notes after insert or update on chunk for each row execute function chaos.note();
"""
BEGUN = "select stage, idx, digest, key, finished from chaos.begun where job_id = $1 order by n"
FINISHED = "select stage, idx, digest from chunk where job_id = $1 and state = 'done'"
KEYS = "select key from chunk where job_id = any($1) and state = 'done'"
RUNNING = """
select key from chunk join job on job.id = chunk.job_id
where job.status = 'processing' and chunk.state = 'done' order by random() limit 1
"""
ENDINGS = """
select runs, (select count(*) from job_event where job_id = job.id and type in ('completed', 'failed', 'cancelled'))
from job where id = $1
"""

Piece = tuple[str, int, str]
"""Stage, place and digest of a piece of work."""


@dataclass(frozen=True, slots=True)
class Beginning:
    """A piece of work that was started."""

    piece: Piece
    finished_key: str | None
    """The object that held its result already, if it had been finished."""


class Books:
    """A look into the database of the server, from beside."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def watch(self) -> None:
        """Set the triggers. The server's own tables stay as they are."""
        async with Database(self._url) as database, database.connection() as connection:
            await connection.execute(SPY)

    async def beginnings(self, job_id: UUID) -> list[Beginning]:
        rows = await self._fetch(BEGUN, job_id)
        return [Beginning(_piece(row), row["key"] if row["finished"] else None) for row in rows]

    async def finished(self, job_id: UUID) -> set[Piece]:
        return {_piece(row) for row in await self._fetch(FINISHED, job_id)}

    async def keys(self, jobs: list[UUID]) -> set[str]:
        """Objects of finished pieces."""
        return {row["key"] for row in await self._fetch(KEYS, jobs)}

    async def checkpoint_of_a_running_job(self) -> str | None:
        rows = await self._fetch(RUNNING)
        return rows[0]["key"] if rows else None

    async def endings(self, job_id: UUID) -> tuple[int, int]:
        """How often a job was started by its owner, and how often it told its end."""
        [row] = await self._fetch(ENDINGS, job_id)
        return row[0], row[1]

    async def _fetch(self, query: str, *arguments: object) -> list[Row]:
        async with Database(self._url, max_size=1) as database:
            return await database.fetch(query, *arguments)


def _piece(row: Row) -> Piece:
    return row["stage"], row["idx"], row["digest"]
