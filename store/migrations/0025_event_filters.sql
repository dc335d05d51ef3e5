-- The events of a workspace by who caused them, and by when.
CREATE INDEX events_by_actor ON audit.events (workspace_id, coalesce(actor_user_id, actor_service_account_id), tx, id) WHERE workspace_id IS NOT NULL;
CREATE INDEX events_by_time ON audit.events (workspace_id, create_time) WHERE workspace_id IS NOT NULL;
