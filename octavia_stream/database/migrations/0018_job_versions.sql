-- A finished dub can be edited: each edit makes another version of its results, and all are kept.
-- depends: 0017_cached_results

-- migrate: apply

-- The newest version that is finished; 0 while there is none with segments.
alter table job add column version integer not null default 0 check (version >= 0);

create table job_version (
    job_id uuid not null references job on delete cascade,
    number integer not null check (number >= 1),
    base integer check (base < number),
    edits jsonb not null default '[]',
    -- By language, what was edited: start and end in seconds. This is what an edit costs.
    spans jsonb not null default '{}',
    created_at timestamptz not null default now(),
    finished_at timestamptz,
    manuscript jsonb,
    artifacts jsonb not null default '[]',
    report jsonb not null default '{}',
    stored_bytes bigint generated always as (artifact_bytes(artifacts)) stored,
    primary key (job_id, number),
    foreign key (job_id, base) references job_version,
    constraint job_version_of_another_was_edited check ((number = 1) = (base is null)),
    constraint job_version_finished_has_a_manuscript check ((finished_at is null) = (manuscript is null))
);

create unique index job_version_one_under_way on job_version (job_id) where finished_at is null;

-- Every version is paid for, and none twice.
drop index credit_transfer_one_capture_a_job;

create unique index credit_transfer_one_capture_a_hold on credit_transfer (hold_id) where kind = 'capture';

create or replace function job_transition() returns trigger language plpgsql as $$
begin
    if (old.status, new.status) not in (
        ('pending', 'processing'),
        ('pending', 'cancelled'),
        ('processing', 'completed'),
        ('processing', 'failed'),
        ('processing', 'cancelled')
    ) and not (
        old.status in ('failed', 'cancelled', 'completed') and new.status = 'pending' and new.runs = old.runs + 1
    ) then
        raise exception 'a % job cannot become %', old.status, new.status using errcode = 'check_violation';
    end if;
    return new;
end
$$;

-- Each version is made from nothing to all of it.
create or replace function job_never_goes_back() returns trigger language plpgsql as $$
begin
    if new.epoch < old.epoch or new.last_seq < old.last_seq
        or (new.percent < old.percent and (new.runs = old.runs or old.status <> 'completed')) then
        raise exception 'epoch, last_seq and percent of a job never fall' using errcode = 'check_violation';
    end if;
    return new;
end
$$;

-- migrate: rollback

create or replace function job_never_goes_back() returns trigger language plpgsql as $$
begin
    if new.epoch < old.epoch or new.last_seq < old.last_seq or new.percent < old.percent then
        raise exception 'epoch, last_seq and percent of a job never fall' using errcode = 'check_violation';
    end if;
    return new;
end
$$;

create or replace function job_transition() returns trigger language plpgsql as $$
begin
    if (old.status, new.status) not in (
        ('pending', 'processing'),
        ('pending', 'cancelled'),
        ('processing', 'completed'),
        ('processing', 'failed'),
        ('processing', 'cancelled')
    ) and not (old.status in ('failed', 'cancelled') and new.status = 'pending' and new.runs = old.runs + 1) then
        raise exception 'a % job cannot become %', old.status, new.status using errcode = 'check_violation';
    end if;
    return new;
end
$$;

drop index credit_transfer_one_capture_a_hold;

create unique index credit_transfer_one_capture_a_job on credit_transfer (job_id)
    where kind = 'capture';

drop table job_version;

alter table job drop column version;
