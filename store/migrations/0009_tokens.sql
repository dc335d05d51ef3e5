-- The keys that sign access tokens: published from create_time on, used from
-- activate_time until retire_time, published until expire_time.
CREATE TABLE auth.signing_keys (
    id            uuid        PRIMARY KEY,
    public_key    bytea       NOT NULL,
    -- Sealed with the server's key.
    private_key   bytea       NOT NULL,
    create_time   timestamptz NOT NULL,
    activate_time timestamptz NOT NULL,
    retire_time   timestamptz,
    expire_time   timestamptz,
    CONSTRAINT signing_keys_expire_when_retired CHECK ((retire_time IS NULL) = (expire_time IS NULL))
);

-- Lines of refresh tokens: each use of one makes the next of its line. They end
-- with their session. A token is what names its line, the same in all of them, and
-- a secret of its own.
CREATE TABLE auth.refresh_tokens (
    id             uuid        PRIMARY KEY,
    session_id     uuid        NOT NULL REFERENCES auth.sessions ON DELETE CASCADE,
    audience       text        NOT NULL,
    workspace_id   uuid        REFERENCES tenant.workspaces,
    line_hash      bytea       NOT NULL CONSTRAINT refresh_tokens_line_unique UNIQUE,
    generation     integer     NOT NULL,
    token_hash     bytea       NOT NULL,
    -- The token before it, and the successor that it was given, sealed, for whoever
    -- did not get the answer.
    previous_hash  bytea,
    rotate_time    timestamptz,
    successor      bytea,
    create_time    timestamptz NOT NULL,
    expire_time    timestamptz NOT NULL
);
CREATE INDEX refresh_tokens_session_id ON auth.refresh_tokens (session_id);
CREATE INDEX refresh_tokens_workspace_id ON auth.refresh_tokens (workspace_id) WHERE workspace_id IS NOT NULL;
CREATE INDEX refresh_tokens_successor ON auth.refresh_tokens (rotate_time) WHERE successor IS NOT NULL;
