"""Every statement about credits. Whoever changes an owner's books locks them first, so nobody else is between."""

_HOLD = "id, owner_id, amount, state, captured, created_at, job_id, expires_at"
_TRANSFER = """
    id, key, kind, owner_id, debit_id, credit_id, amount, reason, balance_after, created_at, job_id, hold_id, order_id
"""

# In the order of `kind`, always, so that two who lock the same books never wait for each other.
LOCK_BOOKS = "select kind, id, balance from ledger_account where owner_id = $1 order by kind for update"

OPEN_BOOKS = """
insert into ledger_account (id, kind, owner_id) values ($1, 'available', $3), ($2, 'held', $3) on conflict do nothing
"""

BALANCE = """
select coalesce(sum(balance), 0)::bigint as balance,
    coalesce(sum(balance) filter (where kind = 'held'), 0)::bigint as held
from ledger_account where owner_id = $1
"""

BY_KEY = f"select {_TRANSFER} from credit_transfer where key = $1"  # noqa: S608  (constants of this file)

# The trigger refuses a balance that is not what comes out.
POST = f"""
insert into credit_transfer
    (id, key, kind, owner_id, debit_id, credit_id, amount, reason, job_id, hold_id, order_id, balance_after)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
on conflict do nothing
returning {_TRANSFER}
"""  # noqa: S608

ADD_HOLD = f"""
insert into credit_hold (id, owner_id, job_id, amount, expires_at)
values ($1, $2, $3, $4, clock_timestamp() + make_interval(secs => $5))
on conflict do nothing
returning {_HOLD}
"""  # noqa: S608

HOLD = f"select {_HOLD} from credit_hold where id = $1"  # noqa: S608

HOLD_OF_JOB = f"select {_HOLD} from credit_hold where job_id = $1 and state = 'open'"  # noqa: S608

CLOSE_HOLD = f"""
update credit_hold set state = $2, captured = $3, closed_at = clock_timestamp() where id = $1 returning {_HOLD}
"""  # noqa: S608

DUE_HOLDS = f"""
select {_HOLD} from credit_hold where state = 'open' and expires_at <= clock_timestamp() order by expires_at limit $1
"""  # noqa: S608

OPEN_HOLDS = f"select {_HOLD} from credit_hold where owner_id = $1 and state = 'open' order by id"  # noqa: S608

PURCHASE = f"select {_TRANSFER} from credit_transfer where order_id = $1 and kind = 'purchase'"  # noqa: S608

TAKEN_BACK = """
select coalesce(sum(amount), 0)::bigint as in_all,
    coalesce(sum(amount) filter (where kind = $2), 0)::bigint as this_way
from credit_transfer where order_id = $1 and kind in ('refund', 'chargeback')
"""

# All versions of it.
CHARGED_FOR_JOB = """
select owner_id, sum(amount)::bigint as amount from credit_transfer where job_id = $1 and kind = 'capture'
group by owner_id
"""

COMPENSATED = """
select coalesce(sum(amount), 0)::bigint from credit_transfer where job_id = $1 and kind = 'compensation'
"""

# Numbers rise in the order in which an owner's transfers happened, whatever the clocks of the machines say.
STATEMENT = """
select transfer.id, transfer.kind as type, transfer.reason, transfer.balance_after, transfer.created_at,
    transfer.job_id, case when target.owner_id is null then -transfer.amount else transfer.amount end as amount
from credit_transfer transfer join ledger_account target on target.id = transfer.credit_id
where transfer.owner_id = $1 and transfer.kind = any($2::text[])
    and ($3::uuid is null or transfer.job_id = $3)
    and ($4::timestamptz is null or transfer.created_at >= $4)
    and ($5::timestamptz is null or transfer.created_at < $5)
    and ($6::uuid is null or transfer.seq < (select seq from credit_transfer where id = $6 and owner_id = $1))
order by transfer.seq desc limit $7
"""
