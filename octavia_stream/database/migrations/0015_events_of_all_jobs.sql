-- Events of all jobs of an owner in one row: each has a number of its own in it, in the order in which they were committed.
-- depends: 0009_teams

-- migrate: apply

alter table tenant add column last_event bigint not null default 0;

-- Null for events from before; those are found with their job alone.
alter table job_event add column owner_id uuid;

alter table job_event add column owner_seq bigint;

create unique index job_event_of_owner on job_event (owner_id, owner_seq) where owner_seq is not null;

-- migrate: rollback

drop index job_event_of_owner;
alter table job_event drop column owner_seq;
alter table job_event drop column owner_id;
alter table tenant drop column last_event;
