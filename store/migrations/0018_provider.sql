-- What this server is called at the provider, where several may share an account.
CREATE TABLE billing.installation (
    id                   uuid NOT NULL,
    -- What customers may do on the provider's pages; made when it is first needed.
    portal_configuration text
);
CREATE UNIQUE INDEX installation_is_one ON billing.installation ((true));
INSERT INTO billing.installation VALUES (gen_random_uuid());

CREATE TABLE billing.customers (
    workspace_id         uuid        PRIMARY KEY REFERENCES tenant.workspaces,
    provider_customer_id text        NOT NULL UNIQUE,
    create_time          timestamptz NOT NULL
);

-- What a subscription at the provider is to be, and whether it is so: the state that
-- is desired, and the outbox of it, in one.
CREATE TABLE billing.provider_subscriptions (
    provider_subscription_id text        PRIMARY KEY,
    provider_customer_id     text        NOT NULL,
    -- None once it is purged, and of what no workspace has: it is canceled then.
    workspace_id             uuid        REFERENCES tenant.workspaces,
    -- The subscription that it is; none until it is paid.
    subscription_id          uuid        UNIQUE REFERENCES billing.subscriptions,
    desired                  text        NOT NULL CHECK (desired IN ('live', 'ending', 'canceled')),
    -- What it is to consist of while it lives, by price.
    items                    jsonb       NOT NULL,
    cancel_at_period_end     boolean     NOT NULL,
    -- Why it is not to live.
    reason                   text,
    -- Counts what is desired, and what of it the provider has.
    version                  bigint      NOT NULL,
    synced_version           bigint      NOT NULL,
    -- Counts looks at the provider's side, and the last one that was believed.
    ticket                   bigint      NOT NULL,
    applied_ticket           bigint      NOT NULL,
    -- Failures in a row, and those among them that the provider answered with.
    attempts                 integer     NOT NULL,
    refusals                 integer     NOT NULL,
    next_try_time            timestamptz NOT NULL,
    -- Until when somebody works on it.
    lease_time               timestamptz,
    last_error               text,
    -- Since when the provider does not have what is desired.
    change_time              timestamptz NOT NULL,
    create_time              timestamptz NOT NULL,
    CONSTRAINT provider_subscriptions_version CHECK (synced_version <= version AND applied_ticket <= ticket),
    CONSTRAINT provider_subscriptions_orphan CHECK (workspace_id IS NOT NULL OR desired = 'canceled' AND subscription_id IS NULL)
);
CREATE INDEX provider_subscriptions_by_workspace ON billing.provider_subscriptions (workspace_id);
CREATE INDEX provider_subscriptions_waiting ON billing.provider_subscriptions (next_try_time) WHERE version > synced_version;

-- What the provider told, each once.
CREATE TABLE billing.webhook_events (
    event_id      text        PRIMARY KEY,
    type          text        NOT NULL,
    -- What it is about; neither when it is nothing of ours.
    subscription  text,
    invoice       text,
    attempts      integer     NOT NULL,
    next_try_time timestamptz NOT NULL,
    receive_time  timestamptz NOT NULL,
    process_time  timestamptz
);
CREATE INDEX webhook_events_waiting ON billing.webhook_events (next_try_time) WHERE process_time IS NULL;
CREATE INDEX webhook_events_receive_time ON billing.webhook_events (receive_time);
