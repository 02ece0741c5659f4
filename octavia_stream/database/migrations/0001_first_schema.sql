-- Accounts, uploads, jobs, their chunks and their events.
-- depends:

-- migrate: apply

create table account (
    id uuid primary key,
    email text not null unique check (email = lower(email) and email like '%_@_%'),
    password_hash text not null,
    created_at timestamptz not null default now()
);

create table upload (
    id uuid primary key,
    owner_id uuid not null references account on delete cascade,
    filename text not null check (length(filename) between 1 and 255),
    content_type text not null,
    size bigint not null check (size >= 0),
    sha256 text not null check (sha256 ~ '^[0-9a-f]{64}$'),
    key text not null unique,
    media_info jsonb,
    created_at timestamptz not null default now(),
    unique (id, owner_id)
);

create index upload_of_owner on upload (owner_id, id desc);

create table job (
    id uuid primary key,
    owner_id uuid not null references account on delete cascade,
    kind text not null check (kind in ('video-translate')),
    status text not null default 'pending'
        check (status in ('pending', 'processing', 'completed', 'failed', 'cancelled')),
    upload_id uuid not null,
    options jsonb not null,
    created_at timestamptz not null default now(),
    submitted_at timestamptz,
    started_at timestamptz,
    finished_at timestamptz,
    epoch integer not null default 0 check (epoch >= 0),
    attempts integer not null default 0 check (attempts >= 0),
    worker_id text,
    lease_until timestamptz,
    cancel_requested boolean not null default false,
    phase text check (phase in ('TRANSCRIBING', 'TRANSLATING', 'SYNTHESIZING', 'ASSEMBLING')),
    percent double precision not null default 0 check (percent between 0 and 100),
    stages jsonb not null default '{}',
    error_code text,
    error_message text,
    warnings jsonb not null default '[]',
    report jsonb not null default '{}',
    artifacts jsonb not null default '[]',
    last_seq bigint not null default 0 check (last_seq >= 0),
    foreign key (upload_id, owner_id) references upload (id, owner_id),
    constraint job_ends_with_a_time
        check ((status in ('completed', 'failed', 'cancelled')) = (finished_at is not null)),
    constraint job_runs_only_when_submitted
        check (status <> 'processing' or (submitted_at is not null and started_at is not null)),
    constraint job_failure_has_a_reason
        check ((status = 'failed') = (error_code is not null) and (error_code is null) = (error_message is null)),
    constraint job_lease_has_a_worker
        check ((worker_id is null) = (lease_until is null)),
    constraint job_lease_only_while_processing
        check (lease_until is null or status = 'processing')
);

create index job_of_owner on job (owner_id, id desc);

create index job_claimable on job (submitted_at, id)
    where submitted_at is not null and status in ('pending', 'processing');

create function job_transition() returns trigger language plpgsql as $$
begin
    if (old.status, new.status) not in (
        ('pending', 'processing'),
        ('pending', 'cancelled'),
        ('processing', 'completed'),
        ('processing', 'failed'),
        ('processing', 'cancelled')
    ) then
        raise exception 'a % job cannot become %', old.status, new.status using errcode = 'check_violation';
    end if;
    return new;
end
$$;

create trigger job_transition before update of status on job
    for each row when (old.status is distinct from new.status) execute function job_transition();

create function job_never_goes_back() returns trigger language plpgsql as $$
begin
    if new.epoch < old.epoch or new.last_seq < old.last_seq or new.percent < old.percent then
        raise exception 'epoch, last_seq and percent of a job never fall' using errcode = 'check_violation';
    end if;
    return new;
end
$$;

create trigger job_never_goes_back before update of epoch, last_seq, percent on job
    for each row execute function job_never_goes_back();

create table chunk (
    job_id uuid not null references job on delete cascade,
    stage text not null check (stage in ('transcribe', 'translate', 'synthesize', 'assemble')),
    idx integer not null check (idx >= 0),
    digest text not null check (digest <> ''),
    state text not null default 'running' check (state in ('running', 'done')),
    attempts integer not null default 1 check (attempts >= 1),
    epoch integer not null,
    key text,
    sha256 text check (sha256 ~ '^[0-9a-f]{64}$'),
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    primary key (job_id, stage, idx, digest),
    constraint chunk_done_has_a_result
        check ((state = 'done') = (key is not null and sha256 is not null and finished_at is not null))
);

create index chunk_running on chunk (job_id) where state = 'running';

create table job_event (
    job_id uuid not null references job on delete cascade,
    seq bigint not null check (seq >= 1),
    at timestamptz not null default now(),
    type text not null,
    data jsonb not null,
    primary key (job_id, seq)
);

create unique index job_event_one_end on job_event (job_id) where type in ('completed', 'failed', 'cancelled');

-- migrate: rollback

drop table job_event;

drop table chunk;

drop table job;

drop function job_never_goes_back();

drop function job_transition();

drop table upload;

drop table account;
