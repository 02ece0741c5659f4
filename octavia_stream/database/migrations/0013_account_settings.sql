-- What an account wants by default, and letters that have to go out.
-- depends: 0012_audio_scope

-- migrate: apply

-- An account without a row wants nothing in particular.
create table account_settings (
    account_id uuid primary key references account on delete cascade,
    source_language text check (length(source_language) between 2 and 35),
    target_language text check (length(target_language) between 2 and 35),
    voice text check (length(voice) between 1 and 100),
    retention_days integer check (retention_days between 1 and 36500),
    notify_completed boolean not null default false,
    notify_failed boolean not null default false
);

-- Written in the transaction that gives cause for it, gone when a mail server has taken it.
create table letter (
    id uuid primary key,
    key text not null unique check (length(key) between 1 and 200),
    account_id uuid not null references account on delete cascade,
    subject text not null check (length(subject) between 1 and 500),
    body text not null,
    created_at timestamptz not null default now(),
    attempts integer not null default 0 check (attempts >= 0),
    next_try_at timestamptz not null default now()
);

create index letter_due on letter (next_try_at);

create index letter_of_account on letter (account_id);

-- migrate: rollback

drop table letter;

drop table account_settings;
