-- From when on the provider charges what it does not charge yet, since it is tried or was
-- paid otherwise; as it was seen last.
ALTER TABLE billing.provider_subscriptions ADD COLUMN charge_time timestamptz;

-- What workspaces had paid to this server, and did not use, when they went over to the
-- provider: it credits their customers with it, each once.
CREATE TABLE billing.provider_credits (
    id                   uuid        PRIMARY KEY,
    workspace_id         uuid        NOT NULL CONSTRAINT provider_credits_workspace_id_fkey REFERENCES tenant.workspaces,
    provider_customer_id text        NOT NULL,
    currency             text        NOT NULL CONSTRAINT provider_credits_currency CHECK (currency ~ '^[A-Z]{3}$'),
    amount               bigint      NOT NULL CONSTRAINT provider_credits_amount CHECK (amount > 0),
    -- Failures in a row, and those among them that the provider answered with.
    attempts             integer     NOT NULL,
    refusals             integer     NOT NULL,
    next_try_time        timestamptz NOT NULL,
    last_error           text,
    create_time          timestamptz NOT NULL,
    -- When the provider was known to have it.
    credit_time          timestamptz
);
CREATE INDEX provider_credits_waiting ON billing.provider_credits (next_try_time) WHERE credit_time IS NULL;
CREATE INDEX provider_credits_by_workspace ON billing.provider_credits (workspace_id);
