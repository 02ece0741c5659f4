-- How good the dubs of a job are, sentence by sentence; the figures alone stand in its report.
-- depends: 0019_live_sessions

-- migrate: apply

create table job_quality (
    job_id uuid primary key references job on delete cascade,
    report jsonb not null,
    made_at timestamptz not null default now()
);

-- migrate: rollback

drop table job_quality;
