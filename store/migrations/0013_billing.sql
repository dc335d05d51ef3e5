-- What workspaces are subscribed to.
CREATE SCHEMA billing;

CREATE TABLE billing.plans (
    plan        text        PRIMARY KEY CHECK (plan ~ '^[a-z][a-z0-9_-]{0,39}$'),
    -- The present version.
    version     integer     NOT NULL CHECK (version > 0),
    -- The order in which they are listed.
    position    integer     NOT NULL,
    offered     boolean     NOT NULL,
    -- Whether new workspaces begin with it.
    is_default  boolean     NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL
);
CREATE UNIQUE INDEX plans_one_default ON billing.plans (is_default) WHERE is_default;

-- What a version says never changes.
CREATE TABLE billing.plan_versions (
    plan        text        NOT NULL REFERENCES billing.plans,
    version     integer     NOT NULL,
    definition  jsonb       NOT NULL,
    create_time timestamptz NOT NULL,
    PRIMARY KEY (plan, version)
);
ALTER TABLE billing.plans ADD CONSTRAINT plans_version_fkey FOREIGN KEY (plan, version)
    REFERENCES billing.plan_versions DEFERRABLE INITIALLY DEFERRED;

-- Until others are applied: one that costs nothing and limits nothing.
INSERT INTO billing.plans VALUES ('free', 1, 0, true, true, now(), now());
INSERT INTO billing.plan_versions VALUES ('free', 1, '{"display_name": "Free"}', now());

CREATE TABLE billing.subscriptions (
    id             uuid        PRIMARY KEY,
    workspace_id   uuid        NOT NULL REFERENCES tenant.workspaces,
    plan           text        NOT NULL,
    plan_version   integer     NOT NULL,
    state          text        NOT NULL CHECK (state IN ('trialing', 'active', 'canceled')),
    -- The price of the plan; neither when it costs nothing.
    currency       text        CHECK (currency ~ '^[A-Z]{3}$'),
    due_interval   text        CHECK (due_interval IN ('month', 'year')),
    -- Active members: changed in the transaction that changes them.
    seats          integer     NOT NULL CHECK (seats >= 0),
    trial_end_time timestamptz,
    -- From which on periods are counted.
    anchor_time    timestamptz NOT NULL,
    create_time    timestamptz NOT NULL,
    update_time    timestamptz NOT NULL,
    cancel_time    timestamptz,
    cancel_reason  text        CHECK (cancel_reason IN ('workspace_deleted')),
    CONSTRAINT subscriptions_plan_fkey FOREIGN KEY (plan, plan_version) REFERENCES billing.plan_versions,
    CONSTRAINT subscriptions_price CHECK ((currency IS NULL) = (due_interval IS NULL)),
    CONSTRAINT subscriptions_trial CHECK (state <> 'trialing' OR trial_end_time IS NOT NULL),
    CONSTRAINT subscriptions_end CHECK ((state = 'canceled') = (cancel_time IS NOT NULL) AND (cancel_time IS NULL) = (cancel_reason IS NULL))
);
CREATE UNIQUE INDEX subscriptions_one_live ON billing.subscriptions (workspace_id) WHERE cancel_time IS NULL;
CREATE INDEX subscriptions_by_workspace ON billing.subscriptions (workspace_id, id);
CREATE INDEX subscriptions_by_plan ON billing.subscriptions (plan, plan_version);
CREATE INDEX subscriptions_trials ON billing.subscriptions (trial_end_time) WHERE state = 'trialing';

-- What operators give or take otherwise than a plan does.
CREATE TABLE billing.overrides (
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    feature      text        NOT NULL CHECK (feature ~ '^[a-z][a-z0-9_]{0,59}$'),
    value        jsonb       NOT NULL,
    reason       text        NOT NULL,
    create_time  timestamptz NOT NULL,
    expire_time  timestamptz,
    PRIMARY KEY (workspace_id, feature)
);
CREATE INDEX overrides_expire_time ON billing.overrides (expire_time) WHERE expire_time IS NOT NULL;

-- Workspaces that there are already begin with it, too.
INSERT INTO billing.subscriptions (id, workspace_id, plan, plan_version, state, seats, anchor_time, create_time, update_time, cancel_time, cancel_reason)
SELECT gen_random_uuid(), w.id, 'free', 1, CASE WHEN w.delete_time IS NULL THEN 'active' ELSE 'canceled' END,
       (SELECT count(*) FROM team.memberships m WHERE m.workspace_id = w.id AND m.deactivate_time IS NULL),
       now(), now(), now(), w.delete_time, CASE WHEN w.delete_time IS NOT NULL THEN 'workspace_deleted' END
FROM tenant.workspaces w;
