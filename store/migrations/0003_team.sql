-- Who belongs to a workspace.
CREATE SCHEMA team;

CREATE TABLE team.memberships (
    id           uuid        PRIMARY KEY,
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    user_id      uuid        NOT NULL REFERENCES identity.users,
    role         text        NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    create_time  timestamptz NOT NULL,
    update_time  timestamptz NOT NULL,
    CONSTRAINT memberships_once UNIQUE (workspace_id, user_id)
);
CREATE INDEX memberships_by_age ON team.memberships (workspace_id, id);
CREATE INDEX memberships_by_user ON team.memberships (user_id, id);
CREATE INDEX memberships_owners ON team.memberships (workspace_id) WHERE role = 'owner';

-- What other modules may read: who belongs where.
CREATE VIEW team.roster AS
SELECT m.user_id, m.workspace_id, m.role, d.delete_time IS NULL AS live
FROM team.memberships m
JOIN tenant.directory d ON d.workspace_id = m.workspace_id;

-- A workspace that is not deleted has an owner: checked when a transaction
-- commits. Only one transaction at a time takes an owner away, and the second one
-- sees what the first one did. The row is updated, not just locked: so a second
-- one that still sees the database as it was before fails instead.
CREATE FUNCTION team.require_owner() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS
$$
DECLARE
    workspace uuid := CASE WHEN TG_TABLE_SCHEMA = 'tenant' THEN to_jsonb(NEW) ->> 'id' ELSE to_jsonb(OLD) ->> 'workspace_id' END;
BEGIN
    IF TG_TABLE_SCHEMA = 'team' THEN
        UPDATE tenant.workspaces SET version = version WHERE id = workspace;
    END IF;
    IF EXISTS (SELECT 1 FROM tenant.workspaces WHERE id = workspace AND delete_time IS NULL)
       AND NOT EXISTS (SELECT 1 FROM team.memberships WHERE workspace_id = workspace AND role = 'owner') THEN
        RAISE EXCEPTION 'workspace % would have no owner', workspace
            USING ERRCODE = 'check_violation', CONSTRAINT = 'workspace_has_owner', SCHEMA = 'tenant', TABLE = 'workspaces';
    END IF;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER workspace_has_owner
    AFTER INSERT OR UPDATE OF delete_time ON tenant.workspaces
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.delete_time IS NULL)
EXECUTE FUNCTION team.require_owner();

CREATE CONSTRAINT TRIGGER owner_deleted
    AFTER DELETE ON team.memberships
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.role = 'owner')
EXECUTE FUNCTION team.require_owner();

CREATE CONSTRAINT TRIGGER owner_changed
    AFTER UPDATE ON team.memberships
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.role = 'owner' AND (NEW.role <> 'owner' OR NEW.workspace_id <> OLD.workspace_id))
EXECUTE FUNCTION team.require_owner();
