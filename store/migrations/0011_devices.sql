-- The browsers and clients that somebody has signed in from before, known by a
-- cookie or token that they keep.
CREATE TABLE auth.devices (
    id            uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL REFERENCES identity.users,
    token_hash    bytea       NOT NULL,
    user_agent    text        NOT NULL,
    create_time   timestamptz NOT NULL,
    last_use_time timestamptz NOT NULL,
    -- One browser may be known for several accounts.
    CONSTRAINT devices_token_unique UNIQUE (token_hash, user_id)
);
CREATE INDEX devices_by_user ON auth.devices (user_id, last_use_time);
CREATE INDEX devices_last_use_time ON auth.devices (last_use_time);

-- Failures in a row: the next try may be made from free_time on.
CREATE TABLE auth.failures (
    key         bytea       PRIMARY KEY,
    count       integer     NOT NULL,
    free_time   timestamptz NOT NULL,
    expire_time timestamptz NOT NULL
) WITH (fillfactor = 50);
CREATE INDEX failures_expire_time ON auth.failures (expire_time);
