"""What Postgres alone can say: every statement counts breaches, so 0 is what is right."""

# Nobody has touched them for `$1` seconds, and nobody holds them.
STUCK = """
select count(*) from job
where submitted_at is not null and status in ('pending', 'processing')
    and greatest(submitted_at, lease_until) < now() - make_interval(secs => $1)
"""

# Nobody has tried to tell them for `$1` seconds.
MESSAGES_LEFT = """
select count(*) from webhook_delivery delivery join webhook_endpoint endpoint on endpoint.id = delivery.endpoint_id
where delivery.state = 'waiting' and endpoint.enabled and delivery.next_at < now() - make_interval(secs => $1)
"""

LETTERS_LEFT = "select count(*) from letter where next_try_at < now() - make_interval(secs => $1)"

# Their time was over `$1` seconds ago.
HOLDS_LEFT = """
select count(*) from credit_hold where state = 'open' and expires_at < now() - make_interval(secs => $1)
"""

# Taken `$1` seconds ago or earlier, for jobs that have ended and calls that nobody answers any more.
SOUND_LEFT = """
select count(*) from sound_use sound left join job on job.id = sound.job_id
where sound.settled_at is null and sound.taken_at < now() - make_interval(secs => $1)
    and (job.id is null or job.status in ('completed', 'failed', 'cancelled'))
"""

# An upload in pieces and the room for it end in one transaction.
ROOM_LEFT = """
select count(*) from open_upload room where not exists (select from resumable_upload where id = room.id)
"""

# A submission and its event are one transaction.
UNTOLD = """
select count(*) from job where submitted_at is not null
    and not exists (select from job_event where job_id = job.id and type = 'submitted')
"""

# The primary key forbids it; an audit does not take the schema's word.
DOUBLE_CHUNKS = """
select count(*) from (
    select 1 from chunk where state = 'done' group by job_id, stage, idx, digest having count(*) > 1
) twice
"""

DOUBLE_ARTIFACTS = """
select count(*) from (
    select 1 from job, jsonb_array_elements(artifacts) artifact group by job.id, artifact ->> 'name' having count(*) > 1
) twice
"""

FUTURE_EPOCHS = "select count(*) from chunk join job on job.id = chunk.job_id where chunk.epoch > job.epoch"

# Times are those at which transactions began, and two may wait for each other.
LATE_WRITES = """
select count(*) from chunk join job on job.id = chunk.job_id
where greatest(chunk.started_at, chunk.finished_at) > job.finished_at + interval '5 seconds'
"""

GAPS = """
select count(*) from job left join lateral (
    select count(*) as stored, max(seq) as newest from job_event where job_id = job.id
) event on true
where event.stored <> job.last_seq or coalesce(event.newest, 0) <> job.last_seq
"""

REGRESSIONS = """
select count(*) from (
    select (data ->> 'percent')::float8 as percent,
        lag((data ->> 'percent')::float8) over (partition by job_id, run order by seq) as earlier
    from job_event where type = 'progress'
) told where percent < earlier
"""

# Each run of a job ends once, and a job that has ended said so last.
WRONG_ENDINGS = """
select count(*) from job left join lateral (
    select count(*) filter (where type in ('completed', 'failed', 'cancelled')) as endings,
        (array_agg(type order by seq desc))[1] as newest
    from job_event where job_id = job.id
) event on true
where case when job.status in ('completed', 'failed', 'cancelled')
    then event.endings <> job.runs or event.newest is distinct from job.status
    else event.endings <> job.runs - 1 end
"""

# The database sees to it; an audit does not take its word.
OWNERLESS_TEAMS = """
select count(*) from team
where (select count(*) from team_member where team_id = team.id and role = 'owner') <> 1
"""

# A team's job is paid from the team's purse, a person's from the person's.
WRONG_PURSES = """
select count(*) from credit_hold hold join job on job.id = hold.job_id where hold.owner_id <> job.owner_id
"""

# For a second more than was heard, or more than was held, nobody pays.
LIVE_OVERCHARGED = """
select count(*) from live_session session left join credit_hold hold on hold.id = session.hold_id
where session.charged > ceil((session.heard_s + 1) * session.credits_per_minute / 60.0)
    or session.charged <> coalesce(hold.captured, 0)
"""

# Nobody has given a sign of it for `$1` seconds, and nobody has ended it.
LIVE_LEFT = """
select count(*) from live_session
where status <> 'ended' and coalesce(lease_until, created_at) < now() - make_interval(secs => $1)
"""

# Whoever asked for a job of a team's may have left; whoever asked for somebody else's own was let in by a mistake.
STRANGERS = """
select count(*) from job join account on account.id = job.owner_id where job.created_by is distinct from job.owner_id
"""

# What must lie in the object store, in pages by key. Half-made work has no key yet. What is kept for later jobs need
# not be there: whoever finds it damaged makes it again.
KEPT_OBJECTS = """
select distinct key, size, sha256 from (
    select key, size, sha256 from upload
    union all
    select artifact ->> 'key', (artifact ->> 'size')::bigint, artifact ->> 'sha256'
    from job, jsonb_array_elements(job.artifacts) artifact
    union all
    select kept ->> 'key', (kept ->> 'size')::bigint, kept ->> 'sha256'
    from job_version, jsonb_array_elements(artifacts || coalesce(manuscript, '[]')) kept
    union all
    select key, null, sha256 from chunk where state = 'done'
) kept where key > $1 order by key limit $2
"""

# Which of these objects belong to nothing. What a job keeps beside its chunks and results goes with the job alone.
ORPHANS = """
select seen.key from unnest($1::text[], $2::uuid[]) as seen (key, job_id) left join job on job.id = seen.job_id
where seen.job_id is not null and (
    job.id is null
    or job.status in ('completed', 'failed', 'cancelled')
        and seen.key ~ '^jobs/[^/]+/(chunks|results)/'
        and not exists (select from chunk where chunk.job_id = job.id and chunk.key = seen.key)
        and not exists (
            select from jsonb_array_elements(job.artifacts) artifact where artifact ->> 'key' = seen.key
        )
        and not exists (
            select from job_version, jsonb_array_elements(artifacts || coalesce(manuscript, '[]')) kept
            where job_version.job_id = job.id and kept ->> 'key' = seen.key
        )
)
union all
select seen.key from unnest($1::text[], $2::uuid[]) as seen (key, job_id)
where seen.job_id is null and not exists (select from upload where upload.key = seen.key)
    and not exists (select from resumable_part part where part.key = seen.key)
    and not exists (select from upload where 'previews/' || upload.id = left(seen.key, 45))
    and not exists (select from cached_result where cached_result.key = seen.key)
    and not (seen.key like 'cache/%' and exists (select from object_removal gone where gone.key = seen.key))
    and not exists (
        select from live_session session where 'live/' || session.id = left(seen.key, 41)
            and (session.options ->> 'record')::boolean
            and not exists (select from live_recording where session_id = session.id)
    )
"""
