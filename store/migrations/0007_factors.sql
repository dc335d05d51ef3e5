-- Sign-in by mail: a challenge is stored for every address that one was asked for,
-- known or not. One to reauthenticate is of a session.
CREATE TABLE auth.email_challenges (
    id           uuid        PRIMARY KEY,
    address_key  text        NOT NULL,
    session_id   uuid        REFERENCES auth.sessions ON DELETE CASCADE,
    code_hash    bytea       NOT NULL,
    token_hash   bytea       NOT NULL UNIQUE,
    -- What the browser or client that asked has; none where a session binds it.
    binding_hash bytea,
    transport    text        NOT NULL CHECK (transport IN ('bearer', 'cookie')),
    attempts     smallint    NOT NULL DEFAULT 0,
    create_time  timestamptz NOT NULL,
    expire_time  timestamptz NOT NULL
);
CREATE INDEX email_challenges_address_key ON auth.email_challenges (address_key);
CREATE INDEX email_challenges_session_id ON auth.email_challenges (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX email_challenges_expire_time ON auth.email_challenges (expire_time);

CREATE TABLE auth.totp_factors (
    id            uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL REFERENCES identity.users,
    display_name  text        NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 100),
    -- Sealed with the server's key.
    secret        bytea       NOT NULL,
    -- Null until a code has proven that the app has the secret.
    confirm_time  timestamptz,
    -- Until when it can be confirmed.
    expire_time   timestamptz NOT NULL,
    -- The time step of the last code that was accepted: no code is accepted twice.
    last_step     bigint      NOT NULL DEFAULT 0,
    create_time   timestamptz NOT NULL,
    last_use_time timestamptz
);
CREATE INDEX totp_factors_by_user ON auth.totp_factors (user_id, id);

CREATE TABLE auth.recovery_codes (
    user_id     uuid        NOT NULL REFERENCES identity.users,
    code_hash   bytea       NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (user_id, code_hash)
);

CREATE TABLE auth.passkeys (
    id              uuid        PRIMARY KEY,
    user_id         uuid        NOT NULL REFERENCES identity.users,
    display_name    text        NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 100),
    credential_id   bytea       NOT NULL CONSTRAINT passkeys_credential_unique UNIQUE,
    public_key      bytea       NOT NULL,
    sign_count      bigint      NOT NULL,
    transports      text[]      NOT NULL,
    aaguid          uuid,
    backup_eligible boolean     NOT NULL,
    backed_up       boolean     NOT NULL,
    create_time     timestamptz NOT NULL,
    last_use_time   timestamptz
);
CREATE INDEX passkeys_by_user ON auth.passkeys (user_id, id);

-- What passkeys answer, once.
CREATE TABLE auth.challenges (
    id          uuid        PRIMARY KEY,
    purpose     text        NOT NULL CHECK (purpose IN ('registration', 'sign_in', 'session')),
    -- The session that it is for; null to sign in.
    session_id  uuid        REFERENCES auth.sessions ON DELETE CASCADE,
    data        bytea       NOT NULL,
    create_time timestamptz NOT NULL,
    expire_time timestamptz NOT NULL
);
CREATE INDEX challenges_session_id ON auth.challenges (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX challenges_expire_time ON auth.challenges (expire_time);
