-- Uploads that come in pieces: how much of each has come, and where the pieces lie.
-- depends: 0010_quotas

-- migrate: apply

create table resumable_upload (
    id uuid primary key,
    owner_id uuid not null references tenant on delete cascade,
    created_by uuid references account on delete set null,
    filename text not null check (length(filename) between 1 and 255),
    file_type text not null check (file_type in ('video', 'audio', 'subtitle')),
    metadata text not null default '',
    size bigint not null check (size > 0),
    received bigint not null default 0 check (received between 0 and size),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    finishing_until timestamptz,
    refusal text
);

create index resumable_upload_of_owner on resumable_upload (owner_id);

create index resumable_upload_of_creator on resumable_upload (created_by);

create index resumable_upload_of_age on resumable_upload (expires_at);

create table resumable_part (
    upload_id uuid not null references resumable_upload on delete cascade,
    start bigint not null check (start >= 0),
    size bigint not null check (size > 0),
    key text not null unique,
    primary key (upload_id, start)
);

-- Its pieces go with it, also when it goes with its owner.
create function resumable_upload_goes() returns trigger language plpgsql as $$
begin
    insert into object_removal (key, is_prefix) values ('tus/' || old.id, true) on conflict do nothing;
    return null;
end
$$;

create trigger resumable_upload_goes after delete on resumable_upload
    for each row execute function resumable_upload_goes();

-- migrate: rollback

drop table resumable_part;

drop table resumable_upload;

drop function resumable_upload_goes();
