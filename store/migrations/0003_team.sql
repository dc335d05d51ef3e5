-- Who belongs to a workspace, as what, and how one comes to.
CREATE SCHEMA team;

-- Custom roles. A role of a membership, an invitation or a link is a built-in one,
-- or the id of one of these (rol_…), in the form of the API.
CREATE TABLE team.roles (
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    id           text        NOT NULL CHECK (id LIKE 'rol\_%'),
    name         text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 50),
    name_key     text        NOT NULL,
    description  text        NOT NULL,
    permissions  text[]      NOT NULL,
    version      bigint      NOT NULL DEFAULT 1,
    create_time  timestamptz NOT NULL,
    update_time  timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, id),
    CONSTRAINT roles_name_unique UNIQUE (workspace_id, name_key)
);

CREATE TABLE team.memberships (
    id              uuid        PRIMARY KEY,
    workspace_id    uuid        NOT NULL REFERENCES tenant.workspaces,
    user_id         uuid        NOT NULL REFERENCES identity.users,
    role            text        NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer') OR role LIKE 'rol\_%'),
    custom_role     text        GENERATED ALWAYS AS (CASE WHEN role LIKE 'rol\_%' THEN role END) STORED,
    version         bigint      NOT NULL DEFAULT 1,
    create_time     timestamptz NOT NULL,
    update_time     timestamptz NOT NULL,
    -- A deactivated member has no access.
    deactivate_time timestamptz,
    -- By what members are sorted and found: copies of what identity has, in the form
    -- in which they are compared.
    name_key        text        COLLATE "C" NOT NULL DEFAULT '',
    address_key     text        COLLATE "C" NOT NULL DEFAULT '',
    terms           tsvector    NOT NULL DEFAULT '',
    CONSTRAINT memberships_once UNIQUE (workspace_id, user_id),
    CONSTRAINT memberships_role_fkey FOREIGN KEY (workspace_id, custom_role) REFERENCES team.roles (workspace_id, id)
);
CREATE INDEX memberships_by_age ON team.memberships (workspace_id, id);
CREATE INDEX memberships_by_name ON team.memberships (workspace_id, name_key, id);
CREATE INDEX memberships_by_address ON team.memberships (workspace_id, address_key, id);
CREATE INDEX memberships_by_role ON team.memberships (workspace_id, role, id);
CREATE INDEX memberships_by_role_and_name ON team.memberships (workspace_id, role, name_key, id);
CREATE INDEX memberships_by_role_and_address ON team.memberships (workspace_id, role, address_key, id);
CREATE INDEX memberships_deactivated ON team.memberships (workspace_id, id) WHERE deactivate_time IS NOT NULL;
CREATE INDEX memberships_deactivated_by_name ON team.memberships (workspace_id, name_key, id) WHERE deactivate_time IS NOT NULL;
CREATE INDEX memberships_deactivated_by_address ON team.memberships (workspace_id, address_key, id) WHERE deactivate_time IS NOT NULL;
CREATE INDEX memberships_by_term ON team.memberships USING gin (terms) WITH (fastupdate = off);
CREATE INDEX memberships_by_user ON team.memberships (user_id, id);
CREATE INDEX memberships_owners ON team.memberships (workspace_id) WHERE role = 'owner' AND deactivate_time IS NULL;

-- Invitations of one address each. One of them is pending at a time, though its
-- time may be over. Whoever is named by inviter_id and user_id is there: what
-- deletes users sees to it.
CREATE TABLE team.invitations (
    id            uuid        PRIMARY KEY,
    workspace_id  uuid        NOT NULL REFERENCES tenant.workspaces,
    address       text        NOT NULL,
    address_key   text        NOT NULL,
    role          text        NOT NULL CHECK (role IN ('owner', 'admin', 'member', 'viewer') OR role LIKE 'rol\_%'),
    custom_role   text        GENERATED ALWAYS AS (CASE WHEN role LIKE 'rol\_%' THEN role END) STORED,
    inviter_id    uuid,
    state         text        NOT NULL CHECK (state IN ('pending', 'accepted', 'declined', 'revoked')),
    token_hash    bytea       NOT NULL CONSTRAINT invitations_token_unique UNIQUE,
    code_hash     bytea       NOT NULL,
    code_attempts smallint    NOT NULL DEFAULT 0,
    user_id       uuid,                                 -- who accepted it
    create_time   timestamptz NOT NULL,
    send_time     timestamptz NOT NULL,
    expire_time   timestamptz NOT NULL,
    end_time      timestamptz,
    renewal_time  timestamptz,                          -- when a new one was asked for
    CONSTRAINT invitations_role_fkey FOREIGN KEY (workspace_id, custom_role) REFERENCES team.roles (workspace_id, id),
    CONSTRAINT invitations_end_once CHECK ((state = 'pending') = (end_time IS NULL))
);
CREATE UNIQUE INDEX invitations_pending_once ON team.invitations (workspace_id, address_key) WHERE state = 'pending';
CREATE INDEX invitations_by_workspace ON team.invitations (workspace_id, id);
CREATE INDEX invitations_by_address ON team.invitations (address_key, id) WHERE state = 'pending';
CREATE INDEX invitations_by_inviter ON team.invitations (inviter_id) WHERE inviter_id IS NOT NULL;
CREATE INDEX invitations_by_user ON team.invitations (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX invitations_expire_time ON team.invitations (expire_time);

-- Links that several people can join by.
CREATE TABLE team.invitation_links (
    id           uuid        PRIMARY KEY,
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    role         text        NOT NULL CHECK (role IN ('admin', 'member', 'viewer') OR role LIKE 'rol\_%'),
    custom_role  text        GENERATED ALWAYS AS (CASE WHEN role LIKE 'rol\_%' THEN role END) STORED,
    creator_id   uuid,
    token_hash   bytea       NOT NULL CONSTRAINT invitation_links_token_unique UNIQUE,
    domains      text[]      NOT NULL,
    max_uses     integer     NOT NULL,                  -- 0: any number
    use_count    integer     NOT NULL DEFAULT 0,
    create_time  timestamptz NOT NULL,
    expire_time  timestamptz NOT NULL,
    revoke_time  timestamptz,
    CONSTRAINT invitation_links_role_fkey FOREIGN KEY (workspace_id, custom_role) REFERENCES team.roles (workspace_id, id),
    CONSTRAINT invitation_links_not_overused CHECK (max_uses = 0 OR use_count <= max_uses)
);
CREATE INDEX invitation_links_by_workspace ON team.invitation_links (workspace_id, id);
CREATE INDEX invitation_links_by_creator ON team.invitation_links (creator_id) WHERE creator_id IS NOT NULL;
CREATE INDEX invitation_links_expire_time ON team.invitation_links (expire_time);

-- Requests to join, of people whom a domain of the workspace entitles.
CREATE TABLE team.join_requests (
    id           uuid        PRIMARY KEY,
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    user_id      uuid        NOT NULL REFERENCES identity.users,
    message      text        NOT NULL,
    state        text        NOT NULL CHECK (state IN ('pending', 'approved', 'rejected')),
    create_time  timestamptz NOT NULL,
    decide_time  timestamptz,
    CONSTRAINT join_requests_decided_once CHECK ((state = 'pending') = (decide_time IS NULL))
);
CREATE UNIQUE INDEX join_requests_pending_once ON team.join_requests (workspace_id, user_id) WHERE state = 'pending';
CREATE INDEX join_requests_by_workspace ON team.join_requests (workspace_id, id);
CREATE INDEX join_requests_by_user ON team.join_requests (user_id);
CREATE INDEX join_requests_decide_time ON team.join_requests (decide_time) WHERE decide_time IS NOT NULL;

-- Who was removed or left, by a hash of the address and one of the user's id: no
-- domain's enrolment brings them back, and no link those who were removed.
CREATE TABLE team.departures (
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    address_hash bytea       NOT NULL,
    removed      boolean     NOT NULL,
    create_time  timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, address_hash)
);

-- What other modules may read: who belongs where, and whether that is of use now.
CREATE VIEW team.roster AS
SELECT m.user_id, m.workspace_id, m.role, d.delete_time IS NULL AND m.deactivate_time IS NULL AS live
FROM team.memberships m
JOIN tenant.directory d ON d.workspace_id = m.workspace_id;

-- A workspace that is not deleted has an active owner: checked when a transaction
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
       AND NOT EXISTS (SELECT 1 FROM team.memberships WHERE workspace_id = workspace AND role = 'owner' AND deactivate_time IS NULL) THEN
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
    WHEN (OLD.role = 'owner' AND OLD.deactivate_time IS NULL)
EXECUTE FUNCTION team.require_owner();

CREATE CONSTRAINT TRIGGER owner_changed
    AFTER UPDATE ON team.memberships
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (OLD.role = 'owner' AND OLD.deactivate_time IS NULL
          AND (NEW.role <> 'owner' OR NEW.deactivate_time IS NOT NULL OR NEW.workspace_id <> OLD.workspace_id))
EXECUTE FUNCTION team.require_owner();
