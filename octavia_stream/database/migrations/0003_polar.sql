-- What Polar told us, each message once, for ever: a replay after years is still a replay.
-- depends: 0002_credits

-- migrate: apply

create table polar_event (
    webhook_id text primary key check (length(webhook_id) between 1 and 200),
    type text not null,
    order_id text,
    received_at timestamptz not null default now(),
    attempts integer not null default 0,
    next_try_at timestamptz not null default now(),
    settled_at timestamptz,
    problem text
);

create index polar_event_pending on polar_event (next_try_at) where settled_at is null;

-- migrate: rollback

drop table polar_event;
