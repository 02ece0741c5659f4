-- Live sessions: speech that is dubbed while it is spoken.
-- depends: 0017_cached_results

-- migrate: apply

create table live_session (
    id uuid primary key,
    owner_id uuid not null references tenant on delete cascade,
    -- By what it was asked for. When that is withdrawn, the session ends.
    created_by uuid references account on delete set null,
    log_in_id uuid,
    key_id uuid,
    options jsonb not null,
    -- What another node needs to go on with it.
    state jsonb,
    status text not null default 'created' check (status in ('created', 'live', 'waiting', 'ended')),
    -- Who has it, and until when if nothing more is heard of them. Every taking has an epoch of its own.
    node_id text,
    epoch integer not null default 0,
    lease_until timestamptz,
    -- Why it is to end, when somebody has asked for that.
    ending text,
    token_hash bytea not null unique check (length(token_hash) = 32),
    heard_s double precision not null default 0 check (heard_s >= 0),
    -- Fixed when it is asked for. 0: it is free.
    credits_per_minute integer not null default 0 check (credits_per_minute >= 0),
    -- For how many seconds of sound credits are held; null: it is free.
    paid_s double precision check (paid_s >= 0),
    hold_id uuid references credit_hold,
    charged bigint not null default 0 check (charged >= 0),
    created_at timestamptz not null default now(),
    started_at timestamptz,
    ended_at timestamptz,
    end_reason text,
    constraint live_session_ends_with_a_time_and_a_reason
        check ((status = 'ended') = (ended_at is not null) and (status = 'ended') = (end_reason is not null)),
    constraint live_session_holds_nothing_when_it_is_free
        check ((paid_s is null) = (credits_per_minute = 0))
);

create index live_session_of_owner on live_session (owner_id, id desc);

create index live_session_of_creator on live_session (created_by);

create index live_session_of_hold on live_session (hold_id) where hold_id is not null;

create index live_session_open on live_session (owner_id) where status <> 'ended';

-- Links with which somebody may listen and nothing else. One that was taken back is a row that is gone.
create table live_listener (
    id uuid primary key,
    session_id uuid not null references live_session on delete cascade,
    token_hash bytea not null unique check (length(token_hash) = 32),
    name text not null check (length(name) between 1 and 100),
    created_at timestamptz not null default now()
);

create index live_listener_of_session on live_listener (session_id, id);

-- WebRTC connections of a session, as they were made: which node made them and for whom.
create table live_peer (
    id text not null,
    session_id uuid not null references live_session on delete cascade,
    listener_id uuid,
    made_at timestamptz not null default now(),
    primary key (session_id, id)
);

create index live_peer_of_listener on live_peer (listener_id) where listener_id is not null;

-- migrate: rollback

drop table live_peer;

drop table live_listener;

drop table live_session;
