"""Every statement about webhooks. Times are the database's clock."""

_ENDPOINT = "id, account_id, url, description, events, enabled, disabled_reason, failing_since, created_at"

LOCK_ACCOUNT = "select from account where id = $1 for update"

COUNT = "select count(*) from webhook_endpoint where account_id = $1"

CREATE = f"""
insert into webhook_endpoint (id, account_id, url, description, events, secret) values ($1, $2, $3, $4, $5, $6)
returning {_ENDPOINT}
"""  # noqa: S608  (constants of this file)

LIST = f"select {_ENDPOINT} from webhook_endpoint where account_id = $1 order by id desc"  # noqa: S608

GET = f"select {_ENDPOINT} from webhook_endpoint where id = $1 and account_id = $2"  # noqa: S608

# Whoever switches it on again starts with a clean slate.
UPDATE = f"""
update webhook_endpoint set url = coalesce($3, url), description = coalesce($4, description),
    events = coalesce($5, events), enabled = coalesce($6, enabled),
    disabled_reason = case when $6 is null then disabled_reason end,
    failing_since = case when $6 then null else failing_since end
where id = $1 and account_id = $2 returning {_ENDPOINT}
"""  # noqa: S608

DELETE = "delete from webhook_endpoint where id = $1 and account_id = $2 returning id"

ROTATE = """
update webhook_endpoint set old_secret = secret, old_secret_until = now() + make_interval(secs => $4), secret = $3
where id = $1 and account_id = $2 returning id
"""

# The event is known to those who want it: the owner's own account, and whoever asked for the job.
ADD_JOB_MESSAGE = """
with wanting as (
    select endpoint.id from webhook_endpoint endpoint join job on endpoint.account_id in (job.owner_id, job.created_by)
    where job.id = $1 and endpoint.enabled and $3 = any(endpoint.events)
), message as (
    insert into webhook_message (id, type, payload, created_at)
    select $2, $3, jsonb_build_object('type', $3::text, 'timestamp', $4::timestamptz, 'data', jsonb_build_object(
            'job_id', job.id, 'kind', job.kind, 'status', job.status, 'seq', $5::bigint,
            'created_at', job.created_at, 'finished_at', job.finished_at,
            'error', case when job.error_code is not null
                then jsonb_build_object('code', job.error_code, 'message', job.error_message) end,
            'artifacts', (
                select coalesce(jsonb_agg(made - 'key'), '[]'::jsonb) from jsonb_array_elements(job.artifacts) made
            )
        )), $4
    from job where job.id = $1 and exists (select from wanting)
    returning id
)
insert into webhook_delivery (message_id, endpoint_id) select message.id, wanting.id from message, wanting
"""

ADD_PING = """
with message as (
    insert into webhook_message (id, type, payload)
    select $2, 'ping', jsonb_build_object('type', 'ping', 'timestamp', now(), 'data',
        jsonb_build_object('endpoint_id', endpoint.id))
    from webhook_endpoint endpoint where endpoint.id = $1 returning id
)
insert into webhook_delivery (message_id, endpoint_id) select message.id, $1 from message returning id
"""

_DELIVERY = """
    delivery.id, delivery.message_id, message.type, delivery.state, delivery.attempts, message.created_at,
    case when delivery.state = 'waiting' then delivery.next_at end as next_at, delivery.last_at, delivery.last_status,
    delivery.last_error, delivery.delivered_at
"""

DELIVERIES = f"""
select {_DELIVERY} from webhook_delivery delivery join webhook_message message on message.id = delivery.message_id
where delivery.endpoint_id = $1 and ($3::uuid is null or delivery.message_id < $3)
    and ($4::text is null or delivery.state = $4)
order by delivery.message_id desc limit $2
"""  # noqa: S608

DELIVERY = f"""
select {_DELIVERY} from webhook_delivery delivery join webhook_message message on message.id = delivery.message_id
where delivery.id = $1
"""  # noqa: S608

REDELIVER = """
update webhook_delivery delivery set state = 'waiting', tries = 0, next_at = now()
from webhook_endpoint endpoint
where delivery.id = $1 and endpoint.id = delivery.endpoint_id and endpoint.account_id = $2
returning delivery.id
"""

# Taken for as long as an attempt may last: who is killed within it leaves it due again. A few for each endpoint, so
# that one that does not answer leaves room for the others.
TAKE = """
with ranked as (
    select delivery.id, row_number() over (partition by delivery.endpoint_id order by delivery.next_at) as place
    from webhook_delivery delivery join webhook_endpoint endpoint on endpoint.id = delivery.endpoint_id
    where delivery.state = 'waiting' and delivery.next_at <= now() and endpoint.enabled
), due as (
    select id from webhook_delivery
    where id in (select id from ranked where place <= $3) and state = 'waiting' and next_at <= now()
    order by next_at limit $1 for update skip locked
)
update webhook_delivery delivery set attempts = attempts + 1, tries = tries + 1, last_at = now(),
    next_at = now() + make_interval(secs => $2)
from due, webhook_endpoint endpoint, webhook_message message
where delivery.id = due.id and endpoint.id = delivery.endpoint_id and message.id = delivery.message_id
returning delivery.id, delivery.endpoint_id, delivery.message_id, delivery.tries, endpoint.url, message.payload,
    array_remove(array[endpoint.secret,
        case when endpoint.old_secret_until > now() then endpoint.old_secret end], null) as secrets
"""

DELIVERED = """
with done as (
    update webhook_delivery set state = 'delivered', delivered_at = now(), last_status = $2, last_error = null
    where id = $1 returning endpoint_id
)
update webhook_endpoint set failing_since = null from done
where webhook_endpoint.id = done.endpoint_id and failing_since is not null
"""

# $4: seconds until the next attempt; null: that was the last one.
FAILED = """
with failed as (
    update webhook_delivery set last_status = $2, last_error = $3, state = case when $4::float8 is null then 'failed'
        else 'waiting' end, next_at = now() + make_interval(secs => coalesce($4::float8, 0))
    where id = $1 and state = 'waiting' returning endpoint_id
)
update webhook_endpoint set failing_since = coalesce(failing_since, now()) from failed
where webhook_endpoint.id = failed.endpoint_id
"""

DISABLE = """
update webhook_endpoint set enabled = false, disabled_reason = $2
where id = $1 and enabled and ($3::float8 is null or failing_since < now() - make_interval(secs => $3))
"""

FORGET = "delete from webhook_message where created_at < now() - make_interval(days => $1)"
