-- Who people are: users and their mail addresses.
CREATE SCHEMA identity;

CREATE TABLE identity.users (
    id           uuid        PRIMARY KEY,
    display_name text        NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 100),
    version      bigint      NOT NULL DEFAULT 1,
    create_time  timestamptz NOT NULL,
    update_time  timestamptz NOT NULL
);

-- A user has one address, or none once somebody else has proven it theirs.
CREATE TABLE identity.emails (
    user_id       uuid        PRIMARY KEY REFERENCES identity.users,
    address       text        NOT NULL,
    address_key   text        NOT NULL CONSTRAINT emails_address_key_unique UNIQUE,
    verified_time timestamptz
);

CREATE TABLE identity.email_changes (
    id          uuid        PRIMARY KEY,
    user_id     uuid        NOT NULL REFERENCES identity.users,
    address     text        NOT NULL,
    address_key text        NOT NULL,
    code_hash   bytea       NOT NULL,
    token_hash  bytea       NOT NULL UNIQUE,
    attempts    smallint    NOT NULL DEFAULT 0,
    create_time timestamptz NOT NULL,
    expire_time timestamptz NOT NULL
);
CREATE INDEX email_changes_user_id ON identity.email_changes (user_id);
CREATE INDEX email_changes_expire_time ON identity.email_changes (expire_time);

-- What other modules may read of a user.
CREATE VIEW identity.profiles AS
SELECT u.id                        AS user_id,
       u.display_name,
       e.address,
       e.address_key,
       e.verified_time IS NOT NULL AS email_verified
FROM identity.users u
LEFT JOIN identity.emails e ON e.user_id = u.id;
