-- By what somebody signed in, who owes a second factor, and who acts for whom.
ALTER TABLE auth.sessions
    ADD COLUMN methods               text[]  NOT NULL DEFAULT '{password}',
    ADD COLUMN second_factor_pending boolean NOT NULL DEFAULT false,
    -- The operator who acts in the user's name, and why.
    ADD COLUMN impersonator_id       uuid    REFERENCES identity.users,
    ADD COLUMN impersonation_reason  text    NOT NULL DEFAULT '';
ALTER TABLE auth.sessions ALTER COLUMN methods DROP DEFAULT;
CREATE INDEX sessions_impersonator_id ON auth.sessions (impersonator_id) WHERE impersonator_id IS NOT NULL;

-- Accounts that cannot sign in, and what they have cannot be used, until an
-- operator enables them.
CREATE TABLE auth.disablements (
    user_id     uuid        PRIMARY KEY REFERENCES identity.users,
    operator_id uuid,
    reason      text        NOT NULL,
    create_time timestamptz NOT NULL
);

CREATE TABLE auth.operators (
    user_id     uuid        PRIMARY KEY REFERENCES identity.users,
    create_time timestamptz NOT NULL
);

ALTER TABLE audit.events
    ADD COLUMN actor_service_account_id uuid,
    ADD COLUMN actor_api_key_id         uuid,
    ADD COLUMN impersonator_id          uuid,
    -- From where an event of an account was caused.
    ADD COLUMN client_address           text NOT NULL DEFAULT '',
    ADD COLUMN user_agent               text NOT NULL DEFAULT '',
    DROP CONSTRAINT events_actor_kind_check,
    ADD CONSTRAINT events_actor_kind_check CHECK (actor_kind IN ('user', 'system', 'service_account', 'operator'));
