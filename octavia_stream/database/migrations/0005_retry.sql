-- A job that failed or was cancelled can be run again: each run ends once.
-- depends: 0004_job_kinds

-- migrate: apply

alter table job add column runs integer not null default 1 check (runs >= 1);

alter table job_event add column run integer not null default 1;

drop index job_event_one_end;

create unique index job_event_one_end_a_run on job_event (job_id, run) where type in ('completed', 'failed', 'cancelled');

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

-- migrate: rollback

create or replace function job_transition() returns trigger language plpgsql as $$
begin
    if (old.status, new.status) not in (
        ('pending', 'processing'),
        ('pending', 'cancelled'),
        ('processing', 'completed'),
        ('processing', 'failed'),
        ('processing', 'cancelled')
    ) then
        raise exception 'a % job cannot become %', old.status, new.status using errcode = 'check_violation';
    end if;
    return new;
end
$$;

delete from job_event older where type in ('completed', 'failed', 'cancelled')
    and exists (select from job_event newer where newer.job_id = older.job_id and newer.run > older.run);

drop index job_event_one_end_a_run;

create unique index job_event_one_end on job_event (job_id) where type in ('completed', 'failed', 'cancelled');

alter table job_event drop column run;

alter table job drop column runs;
