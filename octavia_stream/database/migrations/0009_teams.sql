-- Teams: several people with one purse, one shelf of uploads and one history of jobs.
-- depends: 0003_polar 0006_log_ins 0008_operators

-- migrate: apply

-- Whoever may own something: an account or a team. Uploads, jobs and the books of credits name one as their owner.
create table tenant (
    id uuid primary key
);

insert into tenant select id from account;

create function tenant_comes() returns trigger language plpgsql as $$
begin
    insert into tenant (id) values (new.id);
    return null;
end
$$;

-- What it owned goes with it.
create function tenant_goes() returns trigger language plpgsql as $$
begin
    delete from tenant where id = old.id;
    return null;
end
$$;

create trigger account_tenant_comes after insert on account for each row execute function tenant_comes();

create trigger account_tenant_goes after delete on account for each row execute function tenant_goes();

alter table account add constraint account_is_a_tenant foreign key (id) references tenant
    deferrable initially deferred;

alter table upload drop constraint upload_owner_id_fkey;

alter table upload add constraint upload_owner_id_fkey foreign key (owner_id) references tenant on delete cascade;

alter table job drop constraint job_owner_id_fkey;

alter table job add constraint job_owner_id_fkey foreign key (owner_id) references tenant on delete cascade;

-- Who brought or asked for it; null when that account is gone and the team has kept it.
alter table upload add column created_by uuid references account on delete set null;

update upload set created_by = owner_id;

create index upload_of_creator on upload (created_by);

alter table job add column created_by uuid references account on delete set null;

update job set created_by = owner_id;

create index job_of_creator on job (created_by);

create table team (
    id uuid primary key,
    name text not null check (length(name) between 1 and 100),
    created_at timestamptz not null default now(),
    constraint team_is_a_tenant foreign key (id) references tenant deferrable initially deferred
);

create trigger team_tenant_comes after insert on team for each row execute function tenant_comes();

create trigger team_tenant_goes after delete on team for each row execute function tenant_goes();

create table team_member (
    team_id uuid not null references team on delete cascade,
    account_id uuid not null references account on delete cascade,
    role text not null check (role in ('owner', 'admin', 'member', 'viewer')),
    joined_at timestamptz not null default now(),
    primary key (team_id, account_id)
);

create index team_member_of_account on team_member (account_id);

create unique index team_member_one_owner on team_member (team_id) where role = 'owner';

-- Looked at when the transaction ends, so that a team may change hands within it.
create function team_has_an_owner() returns trigger language plpgsql as $$
declare
    its_id uuid;
begin
    if tg_table_name = 'team' then
        its_id := new.id;
    else
        its_id := old.team_id;
    end if;
    if exists (select from team where id = its_id)
        and not exists (select from team_member where team_id = its_id and role = 'owner')
    then
        raise exception 'a team has an owner' using errcode = 'check_violation';
    end if;
    return null;
end
$$;

create constraint trigger team_has_an_owner after insert on team deferrable initially deferred
    for each row execute function team_has_an_owner();

create constraint trigger team_keeps_an_owner after update or delete on team_member deferrable initially deferred
    for each row execute function team_has_an_owner();

-- Of the secret in the letter there is only its SHA-256. One that was used is a row that is gone.
create table team_invitation (
    id uuid primary key,
    team_id uuid not null references team on delete cascade,
    email text not null check (email = lower(email)),
    role text not null check (role in ('admin', 'member', 'viewer')),
    hash bytea not null unique check (length(hash) = 32),
    invited_by uuid references account on delete set null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    unique (team_id, email)
);

create index team_invitation_of_inviter on team_invitation (invited_by);

-- migrate: rollback

drop table team_invitation;

drop table team_member;

drop trigger team_has_an_owner on team;

drop function team_has_an_owner();

delete from team;

-- What is deferred stands in the way of changing tables.
set constraints all immediate;

drop table team;

drop index job_of_creator;

alter table job drop column created_by;

drop index upload_of_creator;

alter table upload drop column created_by;

alter table job drop constraint job_owner_id_fkey;

alter table job add constraint job_owner_id_fkey foreign key (owner_id) references account on delete cascade;

alter table upload drop constraint upload_owner_id_fkey;

alter table upload add constraint upload_owner_id_fkey foreign key (owner_id) references account on delete cascade;

alter table account drop constraint account_is_a_tenant;

drop trigger account_tenant_goes on account;

drop trigger account_tenant_comes on account;

drop function tenant_goes();

drop function tenant_comes();

drop table tenant;
