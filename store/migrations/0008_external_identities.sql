-- Who users are at identity providers.
CREATE TABLE auth.external_identities (
    id            uuid        PRIMARY KEY,
    user_id       uuid        NOT NULL REFERENCES identity.users,
    provider      text        NOT NULL,
    issuer        text        NOT NULL,
    subject       text        NOT NULL,
    email         text        NOT NULL DEFAULT '',
    create_time   timestamptz NOT NULL,
    last_use_time timestamptz,
    CONSTRAINT external_identities_subject_unique UNIQUE (issuer, subject)
);
CREATE INDEX external_identities_by_user ON auth.external_identities (user_id, id);

-- Sign-ins that are on their way to a provider and back.
CREATE TABLE auth.external_sign_ins (
    id           uuid        PRIMARY KEY,
    provider     text        NOT NULL,
    purpose      text        NOT NULL CHECK (purpose IN ('sign_in', 'link', 'reauthenticate')),
    -- The session that links or reauthenticates.
    session_id   uuid        REFERENCES auth.sessions ON DELETE CASCADE,
    transport    text        NOT NULL CHECK (transport IN ('bearer', 'cookie')),
    state_hash   bytea       NOT NULL CONSTRAINT external_sign_ins_state_unique UNIQUE,
    binding_hash bytea       NOT NULL,
    -- Nonce and code verifier, sealed with the server's key.
    sealed       bytea       NOT NULL,
    return_url   text        NOT NULL,
    -- When the provider sent the browser back: it does so once.
    return_time  timestamptz,
    -- Once the provider has answered: what completes it, and who it says it is,
    -- sealed.
    result_hash  bytea,
    result       bytea,
    create_time  timestamptz NOT NULL,
    expire_time  timestamptz NOT NULL
);
CREATE INDEX external_sign_ins_session_id ON auth.external_sign_ins (session_id) WHERE session_id IS NOT NULL;
CREATE INDEX external_sign_ins_expire_time ON auth.external_sign_ins (expire_time);
