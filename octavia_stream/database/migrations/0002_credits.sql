-- Credits: a double-entry ledger. Balances move by transfers alone, and a transfer is for ever.
-- depends: 0001_first_schema

-- migrate: apply

-- Nothing here refers to tables of people or jobs: the books are kept when those are deleted.
create table ledger_account (
    id uuid primary key,
    kind text not null
        check (kind in ('available', 'held', 'revenue', 'grants', 'sales', 'refunds', 'adjustments')),
    owner_id uuid,
    balance bigint not null default 0,
    debt bigint not null default 0,
    created_at timestamptz not null default now(),
    unique nulls not distinct (kind, owner_id),
    constraint ledger_account_has_an_owner_or_is_the_house_s
        check ((kind in ('available', 'held')) = (owner_id is not null)),
    -- The house's balances are sums over the transfers: a kept one would make everybody wait for its row.
    constraint ledger_account_of_the_house_keeps_no_balance
        check (owner_id is not null or balance = 0),
    -- Only the trigger below raises a debt, and only for money that went back: whatever else
    -- takes more than there is breaks this.
    constraint ledger_account_covers_what_leaves
        check (owner_id is null or debt = greatest(0, -balance)),
    constraint ledger_account_held_owes_nothing
        check (kind = 'available' or debt = 0)
);

insert into ledger_account (id, kind) values
    ('00000000-0000-7000-8000-000000000001', 'revenue'),
    ('00000000-0000-7000-8000-000000000002', 'grants'),
    ('00000000-0000-7000-8000-000000000003', 'sales'),
    ('00000000-0000-7000-8000-000000000004', 'refunds'),
    ('00000000-0000-7000-8000-000000000005', 'adjustments');

create table credit_hold (
    id uuid primary key,
    owner_id uuid not null,
    job_id uuid,
    amount bigint not null check (amount > 0),
    state text not null default 'open' check (state in ('open', 'captured', 'released', 'expired')),
    captured bigint not null default 0,
    expires_at timestamptz,
    created_at timestamptz not null default clock_timestamp(),
    closed_at timestamptz,
    constraint credit_hold_captures_no_more_than_it_holds
        check (captured between 0 and amount and (state = 'captured') = (captured > 0)),
    constraint credit_hold_closes_with_a_time
        check ((state = 'open') = (closed_at is null))
);

create unique index credit_hold_one_open_for_a_job on credit_hold (job_id) where state = 'open';

create index credit_hold_open_of_owner on credit_hold (owner_id, id) where state = 'open';

create index credit_hold_due on credit_hold (expires_at) where state = 'open' and expires_at is not null;

create table credit_transfer (
    id uuid primary key,
    seq bigint generated always as identity unique,
    key text not null unique check (length(key) between 1 and 200),
    kind text not null,
    owner_id uuid not null,
    debit_id uuid not null references ledger_account,
    credit_id uuid not null references ledger_account,
    amount bigint not null check (amount > 0),
    reason text not null check (length(reason) between 1 and 500),
    job_id uuid,
    hold_id uuid references credit_hold,
    order_id text check (length(order_id) between 1 and 200),
    balance_after bigint not null,
    created_at timestamptz not null default clock_timestamp(),
    check (debit_id <> credit_id),
    constraint credit_transfer_of_a_hold_names_it
        check ((kind in ('reserve', 'capture', 'release', 'expire')) = (hold_id is not null)),
    constraint credit_transfer_of_an_order_names_it
        check ((kind in ('purchase', 'refund', 'chargeback')) = (order_id is not null))
);

create index credit_transfer_of_owner on credit_transfer (owner_id, seq desc);

create index credit_transfer_of_job on credit_transfer (job_id) where job_id is not null;

create unique index credit_transfer_one_purchase_an_order on credit_transfer (order_id) where kind = 'purchase';

create index credit_transfer_of_order on credit_transfer (order_id) where order_id is not null;

create unique index credit_transfer_one_capture_a_job on credit_transfer (job_id) where kind = 'capture';

create unique index credit_transfer_one_reserve_a_hold on credit_transfer (hold_id) where kind = 'reserve';

create function credit_transfer_applies() returns trigger language plpgsql as $$
declare
    source ledger_account;
    target ledger_account;
    total bigint;
begin
    select * into source from ledger_account where id = new.debit_id;
    select * into target from ledger_account where id = new.credit_id;
    if (new.kind, source.kind, target.kind) not in (
        ('grant', 'grants', 'available'),
        ('purchase', 'sales', 'available'),
        ('reserve', 'available', 'held'),
        ('capture', 'held', 'revenue'),
        ('release', 'held', 'available'),
        ('expire', 'held', 'available'),
        ('refund', 'available', 'refunds'),
        ('chargeback', 'available', 'refunds'),
        ('compensation', 'revenue', 'available'),
        ('adjustment', 'adjustments', 'available'),
        ('adjustment', 'available', 'adjustments')
    ) then
        raise exception 'a % does not go from % to %', new.kind, source.kind, target.kind
            using errcode = 'check_violation';
    end if;
    if coalesce(source.owner_id, new.owner_id) <> new.owner_id or coalesce(target.owner_id, new.owner_id) <> new.owner_id
    then
        raise exception 'a transfer stays with its owner' using errcode = 'check_violation';
    end if;
    update ledger_account set
        balance = balance - new.amount,
        debt = case when new.kind in ('refund', 'chargeback') then greatest(0, new.amount - balance) else debt end
    where id = new.debit_id and owner_id is not null;
    update ledger_account set
        balance = balance + new.amount,
        debt = greatest(0, -(balance + new.amount))
    where id = new.credit_id and owner_id is not null;
    select sum(balance) into total from ledger_account where owner_id = new.owner_id;
    if total <> new.balance_after then
        raise exception 'the balance after is %, not %', total, new.balance_after using errcode = 'check_violation';
    end if;
    return null;
end
$$;

create trigger credit_transfer_applies after insert on credit_transfer
    for each row execute function credit_transfer_applies();

create function ledger_refuses() returns trigger language plpgsql as $$
begin
    raise exception 'the ledger is only added to' using errcode = 'restrict_violation';
end
$$;

create trigger credit_transfer_is_for_ever before update or delete on credit_transfer
    for each row execute function ledger_refuses();

create trigger credit_transfer_is_not_emptied before truncate on credit_transfer
    for each statement execute function ledger_refuses();

-- At depth 1 somebody's own statement asks; deeper, a transfer does.
create trigger ledger_account_moves_by_transfers before update on ledger_account
    for each row when (pg_trigger_depth() < 1) execute function ledger_refuses();

create trigger ledger_account_stays before delete on ledger_account
    for each row execute function ledger_refuses();

create trigger ledger_account_is_not_emptied before truncate on ledger_account
    for each statement execute function ledger_refuses();

create function credit_hold_closes_once() returns trigger language plpgsql as $$
begin
    if old.state <> 'open' or (new.id, new.owner_id, new.job_id, new.amount, new.created_at, new.expires_at)
        is distinct from (old.id, old.owner_id, old.job_id, old.amount, old.created_at, old.expires_at)
    then
        raise exception 'a hold closes once and changes in nothing else' using errcode = 'restrict_violation';
    end if;
    return new;
end
$$;

create trigger credit_hold_closes_once before update on credit_hold
    for each row execute function credit_hold_closes_once();

create trigger credit_hold_stays before delete on credit_hold
    for each row execute function ledger_refuses();

create trigger credit_hold_is_not_emptied before truncate on credit_hold
    for each statement execute function ledger_refuses();

-- migrate: rollback

drop table credit_transfer;

drop table credit_hold;

drop table ledger_account;

drop function credit_transfer_applies();

drop function credit_hold_closes_once();

drop function ledger_refuses();
