-- What engines made once need not be made again, in another job neither.
-- depends: 0016_previews

-- migrate: apply

-- Small results lie here, others in storage. Those of an owner go with the owner; those without one are everybody's.
create table cached_result (
    digest text primary key check (digest ~ '^[0-9a-f]{64}$'),
    owner_id uuid references tenant on delete cascade,
    stage text not null,
    payload bytea,
    key text unique,
    sha256 text not null,
    size integer not null check (size >= 0),
    made_at timestamptz not null default now(),
    used_at timestamptz not null default now(),
    check ((payload is null) <> (key is null))
);

create index cached_result_of_owner on cached_result (owner_id) where owner_id is not null;

create index cached_result_by_use on cached_result (used_at, digest);

create function cached_results_go() returns trigger language plpgsql as $$
begin
    insert into object_removal (key, is_prefix) select key, false from gone where key is not null
        on conflict do nothing;
    return null;
end
$$;

create trigger cached_results_go after delete on cached_result
    referencing old table as gone for each statement execute function cached_results_go();

-- migrate: rollback

drop table cached_result;

drop function cached_results_go();
