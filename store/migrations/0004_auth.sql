-- How people prove who they are. Codes and tokens are stored as SHA-256 only.
CREATE SCHEMA auth;

CREATE TABLE auth.credentials (
    user_id       uuid        PRIMARY KEY REFERENCES identity.users,
    password_hash text        NOT NULL,
    create_time   timestamptz NOT NULL,
    update_time   timestamptz NOT NULL
);

CREATE TABLE auth.sessions (
    id               uuid        PRIMARY KEY,
    user_id          uuid        NOT NULL REFERENCES identity.users,
    token_hash       bytea       NOT NULL CONSTRAINT sessions_token_unique UNIQUE,
    transport        text        NOT NULL CHECK (transport IN ('bearer', 'cookie')),
    create_time      timestamptz NOT NULL,
    auth_time        timestamptz NOT NULL,
    last_use_time    timestamptz NOT NULL,
    idle_expire_time timestamptz NOT NULL,
    expire_time      timestamptz NOT NULL,
    client_address   text        NOT NULL,
    user_agent       text        NOT NULL
);
CREATE INDEX sessions_by_user ON auth.sessions (user_id, id);
CREATE INDEX sessions_idle_expire_time ON auth.sessions (idle_expire_time);

CREATE TABLE auth.registrations (
    id                uuid        PRIMARY KEY,
    address           text        NOT NULL,
    address_key       text        NOT NULL,
    display_name      text        NOT NULL,
    workspace_name    text        NOT NULL,
    password_hash     text        NOT NULL,
    -- What makes the registration safe to repeat.
    request_id        uuid        CONSTRAINT registrations_request_unique UNIQUE,
    request_digest    bytea       NOT NULL,
    -- The code that was mailed last, and its link's token.
    code_hash         bytea       NOT NULL,
    token_hash        bytea       NOT NULL UNIQUE,
    code_attempts     smallint    NOT NULL DEFAULT 0,
    code_create_time  timestamptz NOT NULL,
    code_expire_time  timestamptz NOT NULL,
    code_count        smallint    NOT NULL DEFAULT 1,
    -- The link by which they join a workspace, in place of founding one.
    invitation_link_id uuid,
    -- What it created, and the request that proved the address.
    user_id           uuid        REFERENCES identity.users,
    workspace_id      uuid        REFERENCES tenant.workspaces,
    verify_time       timestamptz,
    verify_request_id uuid,
    create_time       timestamptz NOT NULL,
    expire_time       timestamptz NOT NULL
);
CREATE INDEX registrations_address_key ON auth.registrations (address_key);
CREATE INDEX registrations_user_id ON auth.registrations (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX registrations_workspace_id ON auth.registrations (workspace_id) WHERE workspace_id IS NOT NULL;
CREATE INDEX registrations_expire_time ON auth.registrations (expire_time);

-- A reset is stored for every address that one was asked for, known or not.
CREATE TABLE auth.password_resets (
    id          uuid        PRIMARY KEY,
    address_key text        NOT NULL,
    code_hash   bytea       NOT NULL,
    token_hash  bytea       NOT NULL UNIQUE,
    attempts    smallint    NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL,
    expire_time timestamptz NOT NULL
);
CREATE INDEX password_resets_address_key ON auth.password_resets (address_key);
CREATE INDEX password_resets_expire_time ON auth.password_resets (expire_time);

-- Counters of the generic cell rate algorithm: one time for each key, from which
-- the whole burst is free again.
CREATE TABLE auth.throttles (
    key       bytea       PRIMARY KEY,
    free_time timestamptz NOT NULL
) WITH (fillfactor = 50);
