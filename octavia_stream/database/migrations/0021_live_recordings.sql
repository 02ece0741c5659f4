-- Recordings of live sessions that are no longer parts: an upload by now, or gone after their time.
-- depends: 0020_job_quality

-- migrate: apply

create table live_recording (
    session_id uuid primary key references live_session on delete cascade,
    -- Null: it is gone, or its upload is.
    upload_id uuid references upload on delete set null,
    made_at timestamptz not null default now()
);

-- migrate: rollback

drop table live_recording;
