-- What a tenant may use, and what is counted for it.
-- depends: 0009_teams

-- migrate: apply

-- What a tier allows is a setting; a name that the settings do not know means the standard.
alter table tenant add column tier text not null default 'standard' check (tier ~ '^[a-z0-9_-]{1,40}$');

create function artifact_bytes(artifacts jsonb) returns bigint language sql immutable parallel safe as $$
    select coalesce(sum((artifact ->> 'size')::bigint), 0)::bigint from jsonb_array_elements(artifacts) as artifact
$$;

alter table job add column stored_bytes bigint generated always as (artifact_bytes(artifacts)) stored;

create index job_stored_of_owner on job (owner_id) include (stored_bytes) where stored_bytes > 0;

create index job_active_of_owner on job (owner_id)
    where submitted_at is not null and status in ('pending', 'processing');

-- Sound that jobs were started on. It refers to no job: what was used stays used when the job is deleted.
create table sound_use (
    id bigint generated always as identity primary key,
    job_id uuid not null,
    owner_id uuid not null references tenant on delete cascade,
    seconds double precision not null check (seconds >= 0),
    taken_at timestamptz not null default now(),
    settled_at timestamptz
);

create index sound_use_of_owner on sound_use (owner_id, taken_at) include (seconds);

create unique index sound_use_one_open_for_a_job on sound_use (job_id) where settled_at is null;

-- Uploads that come in pieces, while they do.
create table open_upload (
    id uuid primary key,
    owner_id uuid not null references tenant on delete cascade,
    size bigint not null check (size >= 0),
    opened_at timestamptz not null default now(),
    expires_at timestamptz not null
);

create index open_upload_of_owner on open_upload (owner_id);

-- migrate: rollback

drop table open_upload;

drop table sound_use;

drop index job_active_of_owner;

drop index job_stored_of_owner;

alter table job drop column stored_bytes;

drop function artifact_bytes(jsonb);

alter table tenant drop column tier;
