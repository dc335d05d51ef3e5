-- What workspaces use. Events are what was told; hours and totals are what they add up
-- to, written by the transaction that writes the events.
CREATE TABLE billing.usage_events (
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    event_id     text        NOT NULL CHECK (event_id ~ '^[!-~]{1,64}$'),
    meter        text        NOT NULL CHECK (meter ~ '^[a-z][a-z0-9_]{0,59}$'),
    quantity     bigint      NOT NULL CHECK (quantity > 0),
    event_time   timestamptz NOT NULL,
    record_time  timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, event_id)
);
CREATE INDEX usage_events_by_time ON billing.usage_events (workspace_id, meter, event_time) INCLUDE (quantity);
-- Old ones are removed by their time; they stand roughly in its order.
CREATE INDEX usage_events_event_time ON billing.usage_events USING brin (event_time) WITH (autosummarize = on);

-- By the hour in UTC, for as long as the workspace is. Room is left in the pages, so
-- that counting up touches no index.
CREATE TABLE billing.usage_hours (
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    meter        text        NOT NULL,
    hour         timestamptz NOT NULL CHECK (extract(epoch FROM hour)::bigint % 3600 = 0),
    quantity     bigint      NOT NULL CHECK (quantity > 0),
    PRIMARY KEY (workspace_id, meter, hour)
) WITH (fillfactor = 80);

-- By the period of the subscription. Limits are kept by the row of the present period,
-- and invoices charge for it when it has ended.
CREATE TABLE billing.usage_totals (
    workspace_id      uuid        NOT NULL REFERENCES tenant.workspaces,
    meter             text        NOT NULL,
    period_start_time timestamptz NOT NULL,
    quantity          bigint      NOT NULL CHECK (quantity >= 0),
    -- Once the period has ended and was charged: its end, the price, and what was
    -- charged by it until now. A period that was never charged costs nothing.
    period_end_time   timestamptz,
    currency          text        CHECK (currency ~ '^[A-Z]{3}$'),
    price             jsonb,
    charged_quantity  bigint      NOT NULL DEFAULT 0 CHECK (charged_quantity BETWEEN 0 AND quantity),
    charged_amount    bigint      NOT NULL DEFAULT 0,
    PRIMARY KEY (workspace_id, meter, period_start_time),
    CONSTRAINT usage_totals_charged CHECK (num_nonnulls(period_end_time, currency, price) IN (0, 3)
        AND (price IS NOT NULL OR charged_quantity = 0 AND charged_amount = 0))
) WITH (fillfactor = 80);
-- What is due of periods that were charged before.
CREATE INDEX usage_totals_late ON billing.usage_totals (workspace_id) WHERE price IS NOT NULL AND quantity <> charged_quantity;
