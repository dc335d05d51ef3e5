-- Who programs are in a workspace, and the keys by which they and users' programs
-- call.
CREATE TABLE auth.service_accounts (
    id           uuid        PRIMARY KEY,
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    display_name text        NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 100),
    description  text        NOT NULL DEFAULT '',
    creator_id   uuid        REFERENCES identity.users,
    create_time  timestamptz NOT NULL,
    update_time  timestamptz NOT NULL
);
CREATE UNIQUE INDEX service_accounts_name_unique ON auth.service_accounts (workspace_id, lower(display_name));
CREATE INDEX service_accounts_creator_id ON auth.service_accounts (creator_id) WHERE creator_id IS NOT NULL;

CREATE TABLE auth.api_keys (
    id                   uuid        PRIMARY KEY,
    workspace_id         uuid        NOT NULL REFERENCES tenant.workspaces,
    -- Whose it is: one of the two.
    user_id              uuid        REFERENCES identity.users,
    service_account_id   uuid        REFERENCES auth.service_accounts,
    creator_id           uuid        REFERENCES identity.users,
    display_name         text        NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 100),
    permissions          text[]      NOT NULL,
    token_hash           bytea       NOT NULL CONSTRAINT api_keys_token_unique UNIQUE,
    hint                 text        NOT NULL,
    -- The secret before the last rotation, while it works.
    previous_hash        bytea       CONSTRAINT api_keys_previous_unique UNIQUE,
    previous_expire_time timestamptz,
    request_id           uuid,
    request_digest       bytea,
    create_time          timestamptz NOT NULL,
    expire_time          timestamptz,
    last_use_time        timestamptz,
    CONSTRAINT api_keys_one_owner CHECK ((user_id IS NULL) <> (service_account_id IS NULL)),
    CONSTRAINT api_keys_request_unique UNIQUE (workspace_id, request_id)
);
CREATE INDEX api_keys_by_workspace ON auth.api_keys (workspace_id, id);
CREATE INDEX api_keys_by_user ON auth.api_keys (user_id, workspace_id) WHERE user_id IS NOT NULL;
CREATE INDEX api_keys_by_service_account ON auth.api_keys (service_account_id) WHERE service_account_id IS NOT NULL;
CREATE INDEX api_keys_creator_id ON auth.api_keys (creator_id) WHERE creator_id IS NOT NULL;
