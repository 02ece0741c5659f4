"""Every statement about live sessions. Times are the database's; whoever writes for a node names its epoch."""

_SESSION = """
    id, owner_id, created_by, options, state, status, node_id, epoch, lease_until, ending, heard_s, credits_per_minute,
    paid_s, hold_id, charged, created_at, started_at, ended_at, end_reason
"""

CREATE = f"""
insert into live_session
    (id, owner_id, created_by, log_in_id, key_id, options, token_hash, credits_per_minute, paid_s, hold_id)
values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
returning {_SESSION}
"""  # noqa: S608  (constants of this file)

GET = f"select {_SESSION} from live_session where id = $1"  # noqa: S608

LOCK = f"select {_SESSION} from live_session where id = $1 for update"  # noqa: S608

LOCK_OF_OWNERS = f"""
select {_SESSION} from live_session where owner_id = any($1::uuid[]) and status <> 'ended' order by id for update
"""  # noqa: S608

LIST = f"""
select {_SESSION} from live_session
where ($1::uuid is null or owner_id = $1) and ($2::text[] is null or status = any($2)) and ($3::uuid is null or id < $3)
order by id desc limit $4
"""  # noqa: S608

# One that another node holds is not to be had before its lease is over.
TAKE = """
update live_session set node_id = $2, epoch = epoch + 1, lease_until = now() + make_interval(secs => $3)
where id = $1 and status <> 'ended' and (node_id is not distinct from $2 or lease_until is null or lease_until <= now())
returning epoch
"""

LOCK_HELD = f"""
select {_SESSION} from live_session where id = $1 and epoch = $2 and status <> 'ended' for update
"""  # noqa: S608

BEAT = """
update live_session set
    state = $2, heard_s = greatest(heard_s, $3), status = $4, lease_until = now() + make_interval(secs => $5),
    started_at = case when $4 = 'live' then coalesce(started_at, now()) else started_at end,
    ending = coalesce(ending, $6)
where id = $1
returning ending
"""

PAY = "update live_session set hold_id = $2, paid_s = $3 where id = $1"

# Why a session has to end whose account, log-in, API key or membership is gone by which it was asked for.
WITHDRAWN = """
select 'withdrawn' from live_session session where id = $1 and (
    not exists (select from account where account.id = created_by and disabled_at is null)
    or (log_in_id is not null and not exists (
        select from log_in where log_in.id = log_in_id and expires_at > now()
    ))
    or (key_id is not null and not exists (select from api_key where api_key.id = key_id))
    or (owner_id <> created_by and not exists (
        select from team_member where team_id = owner_id and account_id = created_by
    ))
)
"""

ASK_TO_END = """
update live_session set ending = coalesce(ending, $2) where id = $1 and status <> 'ended'
"""

END = f"""
update live_session set
    status = 'ended', ended_at = now(), end_reason = $2, heard_s = greatest(heard_s, $3), charged = $4,
    lease_until = null, epoch = epoch + $5
where id = $1
returning {_SESSION}
"""  # noqa: S608

HOLD = """
select id, owner_id, amount, state, captured, created_at, job_id, expires_at from credit_hold where id = $1
"""

# What nobody will end: never used, given up by a node that died, or asked to end while nobody had it.
DUE = """
select id, case
        when ending is not null then ending
        when status = 'created' then 'nobody_came'
        else 'lost'
    end as reason
from live_session
where status <> 'ended' and ($3::uuid is null or id = $3) and (lease_until is null or lease_until < now()) and (
    ending is not null
    or (lease_until is null and created_at < now() - make_interval(secs => $1))
    or lease_until < now() - make_interval(secs => $2)
)
order by id limit 100
"""

GIVE_UP = f"""
update live_session set lease_until = case when lease_until > now() then now() else lease_until end
where id = $1 returning {_SESSION}
"""  # noqa: S608

SOMEBODY_SPEAKS = """
update live_session set status = 'live', started_at = coalesce(started_at, now())
where id = $1 and status in ('created', 'waiting')
"""

OPENED_BY = """
select id as session_id, null::uuid as listener_id from live_session where token_hash = $1
union all
select session_id, id from live_listener where token_hash = $1
"""

ADD_LISTENER = """
insert into live_listener (id, session_id, token_hash, name)
select $1, id, $3, $4 from live_session where id = $2 and status <> 'ended'
    and (select count(*) from live_listener where session_id = $2) < $5
returning id, session_id, name, created_at
"""

LISTENERS = "select id, session_id, name, created_at from live_listener where session_id = $1 order by id"

REMOVE_LISTENER = "delete from live_listener where id = $1 and session_id = $2 returning id"

LISTENER_STANDS = "select exists (select from live_listener where id = $1)"

ADD_PEER = """
insert into live_peer (id, session_id, listener_id) values ($1, $2, $3)
on conflict (session_id, id) do update set listener_id = excluded.listener_id, made_at = now()
"""

PEER = "select listener_id from live_peer where session_id = $1 and id = $2"

PEERS_OF_LISTENER = "select id from live_peer where listener_id = $1"

REMOVE_PEER = "delete from live_peer where session_id = $1 and id = $2"

FORGET_PEERS = "delete from live_peer where session_id = $1"
