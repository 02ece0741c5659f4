-- What was made of an upload goes with it, also when it goes with its owner.
-- depends: 0015_events_of_all_jobs

-- migrate: apply

create function upload_goes() returns trigger language plpgsql as $$
begin
    insert into object_removal (key, is_prefix) values ('previews/' || old.id, true) on conflict do nothing;
    return null;
end
$$;

create trigger upload_goes after delete on upload for each row execute function upload_goes();

-- migrate: rollback

drop trigger upload_goes on upload;

drop function upload_goes();
