-- The event log: every change, who made it, in order.
CREATE SCHEMA audit;

CREATE TABLE audit.events (
    id            uuid        PRIMARY KEY,
    -- The transaction that wrote it. Readers see an event once every older
    -- transaction has ended, in the order of (tx, id); so a cursor skips none.
    tx            xid8        NOT NULL DEFAULT pg_current_xact_id(),
    -- The workspace, or else the user's account, whose log it belongs to; neither
    -- for what is left of a purged workspace or a deleted user.
    workspace_id  uuid        REFERENCES tenant.workspaces,
    user_id       uuid        REFERENCES identity.users,
    actor_kind    text        NOT NULL CHECK (actor_kind IN ('user', 'system')),
    actor_user_id uuid,
    action        text        NOT NULL,
    target_id     text        NOT NULL,
    details       jsonb       NOT NULL DEFAULT '{}',
    create_time   timestamptz NOT NULL,
    CONSTRAINT events_one_log CHECK (workspace_id IS NULL OR user_id IS NULL)
);
CREATE INDEX events_by_workspace ON audit.events (workspace_id, tx, id) WHERE workspace_id IS NOT NULL;
CREATE INDEX events_by_user ON audit.events (user_id, tx, id) WHERE user_id IS NOT NULL;
