"""Every statement about jobs. Times are the database's clock; every worker's write names its epoch."""

_JOB = """
    id, owner_id, kind, status, upload_id, options, created_at, submitted_at, started_at, finished_at, epoch,
    cancel_requested, phase, percent, stages, error_code, error_message, warnings, report, artifacts, last_seq,
    created_by, version
"""

# The foreign key says so too; this form tells "not yours" without an error.
CREATE = f"""
insert into job (id, owner_id, kind, upload_id, options, created_by, created_request_id)
select $1, upload.owner_id, $3, upload.id, $5, (select id from account where id = $6 for key share), $7
from upload where upload.id = $4 and upload.owner_id = $2
for key share
on conflict (id) do nothing
returning {_JOB}
"""  # noqa: S608  (constants of this file)

GET = f"select {_JOB} from job where id = $1 and owner_id = $2"  # noqa: S608

LOCK_OWNED = f"""
select {_JOB}, (lease_until is not null and lease_until >= now()) as held
from job where id = $1 and owner_id = $2 for update
"""  # noqa: S608

LIST = f"""
select {_JOB} from job
where owner_id = $1 and ($3::uuid is null or id < $3)
    and ($4::text is null or kind = $4)
    and ($5::text is null or status = $5)
    and ($6::text is null or options ->> 'target_language' = $6 or options -> 'target_languages' ? $6)
    and ($7::timestamptz is null or created_at >= $7)
    and ($8::timestamptz is null or created_at < $8)
    and ($9::text is null or exists (
        select from upload where upload.id = job.upload_id and position(lower($9) in lower(upload.filename)) > 0
    ))
    and ($10::text is null or options -> 'tags' ? $10)
order by id desc limit $2
"""  # noqa: S608

SUBMIT = f"""
update job set submitted_at = now(), request_id = $2, traceparent = $3 where id = $1 returning {_JOB}
"""  # noqa: S608

# What was finished stays: the next worker goes on from there. The epoch rises, so each run has its own.
RETRY = f"""
update job set status = 'pending', submitted_at = now(), finished_at = null, cancel_requested = false, attempts = 0,
    epoch = epoch + 1, runs = runs + 1, error_code = null, error_message = null, phase = null,
    request_id = $2, traceparent = $3
where id = $1 returning {_JOB}
"""  # noqa: S608

# What was made before stays until the new version is there.
EDIT = f"""
update job set status = 'pending', submitted_at = now(), started_at = null, finished_at = null,
    cancel_requested = false, attempts = 0, epoch = epoch + 1, runs = runs + 1, error_code = null, error_message = null,
    phase = null, percent = case when status = 'completed' then 0 else percent end, stages = '{{}}', warnings = '[]',
    request_id = $2, traceparent = $3
where id = $1 returning {_JOB}
"""  # noqa: S608

_VERSION = "job_id, number, base, edits, spans, created_at, finished_at, manuscript, artifacts, report"

# An edit that failed or was cancelled, and that another takes the place of.
FORGET_VERSION = "delete from job_version where job_id = $1 and finished_at is null"

ADD_VERSION = """
insert into job_version (job_id, number, base, edits, spans) values ($1, $2 + 1, $2, $3, $4)
"""

VERSION_UNDER_WAY = f"select {_VERSION} from job_version where job_id = $1 and finished_at is null"  # noqa: S608

VERSION = f"select {_VERSION} from job_version where job_id = $1 and number = $2"  # noqa: S608

VERSIONS = f"select {_VERSION} from job_version where job_id = $1 order by number desc limit $2"  # noqa: S608

FINISH_FIRST_VERSION = """
insert into job_version (job_id, number, finished_at, manuscript, artifacts, report) values ($1, $2, now(), $3, $4, $5)
"""

FINISH_VERSION = """
update job_version set finished_at = now(), manuscript = $3, artifacts = $4, report = $5
where job_id = $1 and number = $2 and finished_at is null
"""

SET_TAGS = f"""
update job set options = jsonb_set(options, '{{tags}}', to_jsonb($3::text[])) where id = $1 and owner_id = $2
returning {_JOB}
"""  # noqa: S608

# Chunks and events go with it.
DELETE = "delete from job where id = $1"

# How many days a job's results are kept: what goes for its owner's tier or, without that, for all ($1); an owner may
# choose less. Null: for ever.
_KEPT_DAYS = """
    least(nullif(coalesce(($2::jsonb ->> tenant.tier)::integer, $1::integer), 0), chosen.retention_days)
"""

EXPIRED = f"""
select job.id from job join tenant on tenant.id = job.owner_id
left join account_settings chosen on chosen.account_id = job.owner_id
where job.status in ('completed', 'failed', 'cancelled')
    and job.finished_at < now() - make_interval(days => {_KEPT_DAYS})
order by job.finished_at limit $3
"""  # noqa: S608

# All that `EXPIRED` would find.
DUE = f"""
select count(*) as jobs, coalesce(sum(jsonb_array_length(artifacts)), 0)::bigint as objects, coalesce(sum((
    select sum((artifact ->> 'size')::bigint) from jsonb_array_elements(artifacts) artifact
)), 0)::bigint as bytes
from job join tenant on tenant.id = job.owner_id
left join account_settings chosen on chosen.account_id = job.owner_id
where job.status in ('completed', 'failed', 'cancelled')
    and job.finished_at < now() - make_interval(days => {_KEPT_DAYS})
"""  # noqa: S608

# Asked again: it may have been given another run since it was found.
DELETE_EXPIRED = f"""
delete from job using tenant left join account_settings chosen on chosen.account_id = tenant.id
where tenant.id = job.owner_id and job.id = $3 and job.status in ('completed', 'failed', 'cancelled')
    and job.finished_at < now() - make_interval(days => {_KEPT_DAYS})
returning job.id
"""  # noqa: S608

KEPT_KEYS = """
select key from chunk where job_id = $1 and state = 'done'
union all
select kept ->> 'key' from job_version, jsonb_array_elements(artifacts || coalesce(manuscript, '[]')) kept
where job_id = $1
"""

REQUEST_CANCEL = f"""
update job set cancel_requested = true where id = $1 returning {_JOB}
"""  # noqa: S608

# A job that waits, or whose lease ended: of whoever has fewest running, so that nobody waits behind all of one
# owner's jobs. $1: only of those who have none. Others' locks are stepped over, so many workers never queue up here;
# what they take at the same moment is not counted yet, and the next claim makes up for it.
LOCK_CLAIMABLE = f"""
with busy as (
    select owner_id, count(*) as jobs from job
    where submitted_at is not null and status = 'processing' and lease_until >= now() group by owner_id
)
select {_JOB}, attempts from job left join busy using (owner_id)
where submitted_at is not null and status in ('pending', 'processing')
  and (lease_until is null or lease_until < now())
  and not ($1 and busy.jobs is not null)
order by coalesce(busy.jobs, 0), submitted_at, id limit 1
for update of job skip locked
"""  # noqa: S608

CLAIM = f"""
update job set status = 'processing', epoch = epoch + 1, attempts = attempts + 1, worker_id = $2,
    lease_until = now() + make_interval(secs => $3), started_at = coalesce(started_at, now())
where id = $1
returning {_JOB}, attempts, request_id, created_request_id, traceparent
"""  # noqa: S608

HEARTBEAT = """
update job set lease_until = now() + make_interval(secs => $3)
where id = $1 and epoch = $2 and status = 'processing'
returning cancel_requested
"""

# The epoch rises so that a write of the old owner, still under way, changes nothing. Draining is not a crash.
RELEASE = """
update job set worker_id = null, lease_until = null, epoch = epoch + 1, attempts = attempts - 1
where id = $1 and epoch = $2 and status = 'processing'
"""

LOCK_HELD = """
select last_seq, percent, warnings, cancel_requested, version from job
where id = $1 and epoch = $2 and status = 'processing'
for update
"""

PROGRESS = "update job set phase = $2, percent = $3, stages = $4 where id = $1"

WARNINGS = "update job set warnings = $2 where id = $1"

# The worker's epoch dies with the job: one past the last claim's belongs to nobody.
END = f"""
update job set status = $2, finished_at = now(), epoch = epoch + 1, worker_id = null, lease_until = null,
    error_code = $3, error_message = $4, version = coalesce($7, version),
    artifacts = case when $2 = 'completed' then $5 else artifacts end,
    report = case when $2 = 'completed' then $6 else report end,
    percent = case when $2 = 'completed' then 100 else percent end
where id = $1
returning {_JOB}
"""  # noqa: S608

KEEP_QUALITY = """
insert into job_quality (job_id, report) values ($1, $2)
on conflict (job_id) do update set report = excluded.report, made_at = now()
"""

QUALITY = "select job_quality.report from job_quality join job on job.id = job_id where job_id = $1 and owner_id = $2"

# The job's row is locked by whoever calls these two, so numbers have no gaps.
ADVANCE_SEQ = "update job set last_seq = last_seq + $2 where id = $1 returning last_seq, kind, now() as at"

APPEND_EVENTS = """
with told as (
    update tenant set last_event = last_event + cardinality($3::bigint[])
    where id = (select owner_id from job where id = $1) returning id, last_event - cardinality($3::bigint[]) as before
)
insert into job_event (job_id, seq, at, type, data, run, owner_id, owner_seq)
select job.id, seq, $2, type, data, job.runs, told.id, told.before + place
from job, told, unnest($3::bigint[], $4::text[], $5::jsonb[]) with ordinality as fresh (seq, type, data, place)
where job.id = $1
"""

EVENTS_AFTER = "select seq, at, data from job_event where job_id = $1 and seq > $2 order by seq limit $3"

# Seconds of work for a second of sound: the middle one of the last twenty. What was decoded counts, where it is known.
PACE = """
select percentile_cont(0.5) within group (order by worked / sound) from (
    select extract(epoch from job.finished_at - job.started_at)::float8 as worked, coalesce(
        (job.report ->> 'samples')::float8 / nullif((job.report ->> 'rate_hz')::float8, 0),
        (upload.media_info ->> 'duration_s')::float8
    ) as sound
    from job join upload on upload.id = job.upload_id
    where job.kind = $1 and job.status = 'completed' and job.version < 2 order by job.id desc limit 20
) as lately where sound > 0
"""

HEADS = """
select id, last_seq, status in ('completed', 'failed', 'cancelled') as ended from job where id = any($1::uuid[])
"""

BEGIN_CHUNK = """
with held as (select id from job where id = $1 and epoch = $2 and status = 'processing' for share)
insert into chunk (job_id, stage, idx, digest, epoch) select id, $3, $4, $5, $2 from held
on conflict (job_id, stage, idx, digest) do update set state = 'running', attempts = chunk.attempts + 1,
    epoch = excluded.epoch, key = null, sha256 = null, started_at = now(), finished_at = null
returning attempts
"""

FINISH_CHUNK = """
with held as (select id from job where id = $1 and epoch = $2 and status = 'processing' for share)
insert into chunk (job_id, stage, idx, digest, epoch, state, key, sha256, finished_at)
select id, $3, $4, $5, $2, 'done', $6, $7, now() from held
on conflict (job_id, stage, idx, digest) do update set state = 'done', epoch = excluded.epoch,
    key = excluded.key, sha256 = excluded.sha256, finished_at = now()
returning idx
"""

CHUNK_RESULT = """
select key, sha256 from chunk where job_id = $1 and stage = $2 and idx = $3 and digest = $4 and state = 'done'
"""
