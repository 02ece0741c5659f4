-- Log-ins and their refresh tokens, password resets, API keys, and files of accounts that are gone.
-- depends: 0004_job_kinds

-- migrate: apply

-- Of every secret there is only its SHA-256: they are random, so nothing slower is needed.

-- A log-in that has ended is a row that is gone.
create table log_in (
    id uuid primary key,
    account_id uuid not null references account on delete cascade,
    client text not null check (length(client) <= 200),
    address text not null check (length(address) <= 100),
    created_at timestamptz not null default now(),
    used_at timestamptz not null default now(),
    expires_at timestamptz not null
);

create index log_in_of_account on log_in (account_id, used_at desc);

-- Spent ones are kept until they expire: whoever shows one of those has it from somewhere else.
create table refresh_token (
    hash bytea primary key check (length(hash) = 32),
    log_in_id uuid not null references log_in on delete cascade,
    expires_at timestamptz not null,
    spent_at timestamptz
);

create index refresh_token_of_log_in on refresh_token (log_in_id);

create unique index refresh_token_one_unspent on refresh_token (log_in_id) where spent_at is null;

create table password_reset (
    hash bytea primary key check (length(hash) = 32),
    account_id uuid not null unique references account on delete cascade,
    expires_at timestamptz not null
);

create table api_key (
    id uuid primary key,
    account_id uuid not null references account on delete cascade,
    name text not null check (length(name) between 1 and 100),
    hint text not null check (length(hint) <= 20),
    hash bytea not null unique check (length(hash) = 32),
    scopes text[] not null
        check (cardinality(scopes) > 0
            and scopes <@ array['jobs:read', 'jobs:write', 'uploads:write', 'billing:read']),
    created_at timestamptz not null default now(),
    last_used_at timestamptz
);

create index api_key_of_account on api_key (account_id, id desc);

-- Written with the removal of an account, and kept until storage has let go.
create table object_removal (
    key text primary key,
    is_prefix boolean not null,
    asked_at timestamptz not null default now()
);

-- migrate: rollback

drop table object_removal;

drop table api_key;

drop table password_reset;

drop table refresh_token;

drop table log_in;
