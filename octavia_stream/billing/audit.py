"""Whether the books are right: numbers that are all zero when they are."""

import msgspec

from octavia_stream.database.pool import Database

# Every account's balance as the transfers say, beside the one that is kept.
_DRIFT = """
with moved as (
    select id, sum(amount) as balance from (
        select credit_id as id, amount from credit_transfer
        union all select debit_id, -amount from credit_transfer
    ) entry group by id
)
select coalesce(sum(abs(account.balance - coalesce(moved.balance, 0))), 0)::bigint
from ledger_account account left join moved using (id) where account.owner_id is not null
"""

_HELD_DRIFT = """
with open_hold as (select owner_id, sum(amount) as amount from credit_hold where state = 'open' group by owner_id)
select coalesce(sum(abs(account.balance - coalesce(open_hold.amount, 0))), 0)::bigint
from ledger_account account left join open_hold using (owner_id) where account.kind = 'held'
"""

# Below zero is right only as far as money went back.
_NEGATIVE = """
with gone as (
    select debit_id as id, sum(amount) as amount from credit_transfer
    where kind in ('refund', 'chargeback') group by debit_id
)
select count(*) from ledger_account account left join gone using (id)
where account.owner_id is not null and account.balance < -coalesce(gone.amount, 0)
"""

_ORPHANS = """
select (
    select count(*) from credit_hold hold left join job on job.id = hold.job_id
    where hold.state = 'open' and hold.job_id is not null
        and (job.id is null or job.status in ('completed', 'failed', 'cancelled'))
) + (
    select count(*) from credit_hold hold
    join credit_transfer transfer on transfer.hold_id = hold.id and transfer.kind = 'reserve'
    left join live_session session on session.hold_id = hold.id
    where hold.state = 'open' and transfer.key like 'reserve/live/%'
        and (session.id is null or session.status = 'ended')
)
"""

# Every version of a job is charged once; of a job that is gone nobody knows how many it had.
_SPENT_TWICE = """
with charged as (
    select coalesce(job_id, hold_id) as id, count(*) as times, count(distinct hold_id) as holds
    from credit_transfer where kind = 'capture' group by coalesce(job_id, hold_id)
)
select (
    select count(*) from charged left join job using (id)
    where times > holds or times > greatest(job.version, 1) and job.id is not null
) + (select count(*) from (
    select 1 from credit_transfer where kind = 'purchase' group by order_id having count(*) > 1
) twice)
"""


class LedgerAudit(msgspec.Struct, frozen=True):
    """What is wrong with the ledger, counted."""

    drift: int
    """Credits by which kept balances differ from the transfers, and held ones from the open holds."""
    negative_balances: int
    """Accounts below zero by more than the money that went back."""
    orphan_holds: int
    """Open holds of jobs and live sessions that have ended or are gone."""
    doubles: int
    """Jobs charged twice and orders credited twice."""

    @property
    def clean(self) -> bool:
        return not any(msgspec.structs.astuple(self))


async def audit_ledger(database: Database) -> LedgerAudit:
    """Count, in one snapshot of the database."""
    async with database.connection() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        return LedgerAudit(
            drift=await connection.fetchval(_DRIFT) + await connection.fetchval(_HELD_DRIFT),
            negative_balances=await connection.fetchval(_NEGATIVE),
            orphan_holds=await connection.fetchval(_ORPHANS),
            doubles=await connection.fetchval(_SPENT_TWICE),
        )
