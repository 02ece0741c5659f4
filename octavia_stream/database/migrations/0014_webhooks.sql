-- Webhooks: where to tell what, and the outbox of what is to be told.
-- depends: 0009_teams

-- migrate: apply

create table webhook_endpoint (
    id uuid primary key,
    account_id uuid not null references account on delete cascade,
    url text not null check (length(url) between 1 and 2048),
    description text not null default '' check (length(description) <= 200),
    events text[] not null check (cardinality(events) > 0),
    secret text not null,
    -- The secret before the last change signs beside the new one until then.
    old_secret text,
    old_secret_until timestamptz,
    enabled boolean not null default true,
    -- Why the server stopped telling; null when its owner did, or nobody.
    disabled_reason text,
    failing_since timestamptz,
    created_at timestamptz not null default now()
);

create index webhook_endpoint_of_account on webhook_endpoint (account_id, id desc);

create table webhook_message (
    id uuid primary key,
    type text not null,
    payload jsonb not null,
    created_at timestamptz not null default now()
);

create index webhook_message_of_age on webhook_message (created_at);

create table webhook_delivery (
    id uuid primary key default gen_random_uuid(),
    message_id uuid not null references webhook_message on delete cascade,
    endpoint_id uuid not null references webhook_endpoint on delete cascade,
    state text not null default 'waiting' check (state in ('waiting', 'delivered', 'failed')),
    attempts integer not null default 0,
    -- Of this round: asking for it again begins another.
    tries integer not null default 0,
    next_at timestamptz not null default now(),
    last_at timestamptz,
    last_status integer,
    last_error text,
    delivered_at timestamptz,
    unique (endpoint_id, message_id)
);

create index webhook_delivery_of_message on webhook_delivery (message_id);

create index webhook_delivery_due on webhook_delivery (next_at) where state = 'waiting';

-- migrate: rollback

drop table webhook_delivery;
drop table webhook_message;
drop table webhook_endpoint;
