-- Subscriptions that are changed, canceled, paused and renewed.
ALTER TABLE billing.subscriptions
    DROP CONSTRAINT subscriptions_state_check,
    DROP CONSTRAINT subscriptions_cancel_reason_check,
    ADD CONSTRAINT subscriptions_state_check CHECK (state IN ('trialing', 'active', 'past_due', 'paused', 'canceled')),
    ADD CONSTRAINT subscriptions_cancel_reason_check CHECK (cancel_reason IN ('workspace_deleted', 'requested', 'unpaid')),
    ADD COLUMN version integer NOT NULL DEFAULT 1,
    -- Seats that were bought; 0 for as many as there are members.
    ADD COLUMN seat_count integer NOT NULL DEFAULT 0 CHECK (seat_count >= 0),
    -- Seats that the lines of the present period are for.
    ADD COLUMN charged_seats integer NOT NULL DEFAULT 0 CHECK (charged_seats >= 0),
    -- The present period of what has a price or is tried. Otherwise it is computed.
    ADD COLUMN period_start_time timestamptz,
    ADD COLUMN period_end_time timestamptz,
    ADD COLUMN cancel_at_period_end boolean NOT NULL DEFAULT false,
    ADD COLUMN trial_reminder_time timestamptz,
    ADD COLUMN past_due_time timestamptz,
    -- How many reminders were sent, and when the next one, or the pause, is due.
    ADD COLUMN dunning_step integer NOT NULL DEFAULT 0,
    ADD COLUMN dunning_time timestamptz,
    ADD COLUMN pause_reason text CHECK (pause_reason IN ('unpaid', 'canceled')),
    -- What becomes of it when the deleted workspace is undeleted.
    ADD COLUMN former_state text CHECK (former_state IN ('trialing', 'active', 'past_due', 'paused')),
    ADD COLUMN provider text NOT NULL DEFAULT 'manual' CHECK (provider IN ('manual', 'stripe'));

UPDATE billing.subscriptions SET
    charged_seats = seats,
    former_state = CASE WHEN cancel_reason = 'workspace_deleted' THEN CASE WHEN trial_end_time > cancel_time THEN 'trialing' ELSE 'active' END END;

-- Nobody was charged for the period that runs now: the next one is the first.
UPDATE billing.subscriptions SET period_start_time = create_time, period_end_time = trial_end_time
WHERE state = 'trialing' OR former_state = 'trialing';
UPDATE billing.subscriptions s SET
    period_start_time = (s.anchor_time AT TIME ZONE 'UTC' + p.n * p.step) AT TIME ZONE 'UTC',
    period_end_time = (s.anchor_time AT TIME ZONE 'UTC' + (p.n + 1) * p.step) AT TIME ZONE 'UTC'
FROM (
    SELECT i.id, i.step, max(n) AS n
    FROM (SELECT id, anchor_time, coalesce(cancel_time, now()) AS at, CASE due_interval WHEN 'year' THEN interval '12 months' ELSE interval '1 month' END AS step
          FROM billing.subscriptions WHERE currency IS NOT NULL AND period_start_time IS NULL) i, generate_series(0, 1200) n
    WHERE n = 0 OR (i.anchor_time AT TIME ZONE 'UTC' + n * i.step) AT TIME ZONE 'UTC' <= i.at
    GROUP BY i.id, i.step) p
WHERE s.id = p.id;

ALTER TABLE billing.subscriptions
    ADD CONSTRAINT subscriptions_period CHECK (
        (period_start_time IS NULL) = (period_end_time IS NULL) AND period_start_time < period_end_time IS NOT FALSE
        AND (state = 'canceled' OR (period_start_time IS NOT NULL) = (currency IS NOT NULL OR state = 'trialing'))),
    ADD CONSTRAINT subscriptions_past_due CHECK ((state = 'past_due') <= (past_due_time IS NOT NULL)),
    ADD CONSTRAINT subscriptions_pause CHECK ((state = 'paused' OR former_state = 'paused') = (pause_reason IS NOT NULL)),
    ADD CONSTRAINT subscriptions_former CHECK ((former_state IS NOT NULL) = (cancel_reason IS NOT DISTINCT FROM 'workspace_deleted'));

DROP INDEX billing.subscriptions_trials;
CREATE INDEX subscriptions_periods ON billing.subscriptions (period_end_time) WHERE state IN ('trialing', 'active', 'past_due');
CREATE INDEX subscriptions_trials ON billing.subscriptions (trial_end_time) WHERE state = 'trialing' AND trial_reminder_time IS NULL;
CREATE INDEX subscriptions_dunning ON billing.subscriptions (dunning_time) WHERE state = 'past_due';

-- Periods that have ended, of what had a price, or counts its periods otherwise since.
CREATE TABLE billing.periods (
    workspace_id    uuid        NOT NULL REFERENCES tenant.workspaces,
    subscription_id uuid        NOT NULL REFERENCES billing.subscriptions,
    start_time      timestamptz NOT NULL,
    end_time        timestamptz NOT NULL,
    plan            text        NOT NULL,
    plan_version    integer     NOT NULL,
    currency        text,
    due_interval    text,
    CONSTRAINT periods_once PRIMARY KEY (subscription_id, start_time),
    CONSTRAINT periods_plan_fkey FOREIGN KEY (plan, plan_version) REFERENCES billing.plan_versions,
    CONSTRAINT periods_price CHECK ((currency IS NULL) = (due_interval IS NULL)),
    CONSTRAINT periods_time CHECK (start_time < end_time)
);
CREATE INDEX periods_by_workspace ON billing.periods (workspace_id, end_time);

-- What workspaces have tried: each plan once.
CREATE TABLE billing.trials (
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    plan         text        NOT NULL REFERENCES billing.plans,
    start_time   timestamptz NOT NULL,
    CONSTRAINT trials_once PRIMARY KEY (workspace_id, plan)
);
INSERT INTO billing.trials SELECT workspace_id, plan, min(create_time) FROM billing.subscriptions WHERE trial_end_time IS NOT NULL GROUP BY workspace_id, plan;
