-- A request that is sent twice is done once: what its first sending was answered.
-- depends: 0005_retry

-- migrate: apply

create table idempotency_key (
    owner_id uuid not null references account on delete cascade,
    key text not null check (length(key) between 1 and 255),
    fingerprint text not null,
    resource_id uuid not null,
    response bytea,
    created_at timestamptz not null default now(),
    taken_at timestamptz not null default now(),
    primary key (owner_id, key)
);

create index idempotency_key_of_age on idempotency_key (created_at);

-- migrate: rollback

drop table idempotency_key;
