-- Operators: who may administer, what they did and why, what was cleaned, and which request made a job.
-- depends: 0007_idempotency

-- migrate: apply

alter table account
    add column role text not null default 'user' check (role in ('user', 'admin')),
    add column disabled_at timestamptz;

create index account_admins on account (id) where role = 'admin';

-- The ids under which logs and traces know a job; they prove nothing.
alter table job
    add column created_request_id text check (length(created_request_id) <= 64),
    add column request_id text check (length(request_id) <= 64),
    add column traceparent text check (length(traceparent) <= 64);

-- Nothing here refers to other tables: acts are kept when accounts and jobs are deleted.
create table admin_act (
    id uuid primary key,
    at timestamptz not null default clock_timestamp(),
    actor_id uuid,
    actor text not null check (length(actor) between 1 and 254),
    act text not null check (length(act) between 1 and 50),
    subject text check (length(subject) <= 254),
    reason text not null check (length(reason) between 1 and 500),
    details jsonb not null default '{}',
    request_id text check (length(request_id) <= 64),
    -- A request that is sent again finds here that it was done.
    key text unique check (length(key) between 1 and 400)
);

create index admin_act_of_subject on admin_act (subject, id desc);

create function admin_act_refuses() returns trigger language plpgsql as $$
begin
    raise exception 'acts of administrators are only added to' using errcode = 'restrict_violation';
end
$$;

create trigger admin_act_is_for_ever before update or delete on admin_act
    for each row execute function admin_act_refuses();

create trigger admin_act_is_not_emptied before truncate on admin_act
    for each statement execute function admin_act_refuses();

create table cleaning (
    id uuid primary key,
    at timestamptz not null default clock_timestamp(),
    jobs bigint not null check (jobs >= 0),
    uploads bigint not null check (uploads >= 0),
    objects bigint not null check (objects >= 0),
    bytes bigint not null check (bytes >= 0)
);

-- migrate: rollback

drop table cleaning;

drop table admin_act;

drop function admin_act_refuses();

alter table job drop column traceparent, drop column request_id, drop column created_request_id;

drop index account_admins;

alter table account drop column disabled_at, drop column role;
