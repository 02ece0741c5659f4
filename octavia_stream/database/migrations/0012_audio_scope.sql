-- API keys for the OpenAI-compatible routes. Which scopes there are, the code says: one list, not two.
-- depends: 0010_quotas

-- migrate: apply

alter table api_key drop constraint api_key_scopes_check;
alter table api_key add constraint api_key_scopes_check check (cardinality(scopes) > 0);

-- migrate: rollback

delete from api_key where not scopes <@ array['jobs:read', 'jobs:write', 'uploads:write', 'billing:read'];
alter table api_key drop constraint api_key_scopes_check;
alter table api_key add constraint api_key_scopes_check check (
    cardinality(scopes) > 0
    and scopes <@ array['jobs:read', 'jobs:write', 'uploads:write', 'billing:read']
);
