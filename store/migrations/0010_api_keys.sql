-- Who programs are in a workspace, and the keys by which they and users' programs
-- call.
CREATE TABLE auth.service_accounts (
    id           uuid        PRIMARY KEY,
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    display_name text        NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 100),
    name_key     text        NOT NULL,
    description  text        NOT NULL DEFAULT '',
    creator_id   uuid        REFERENCES identity.users,
    create_time  timestamptz NOT NULL,
    update_time  timestamptz NOT NULL,
    CONSTRAINT service_accounts_name_unique UNIQUE (workspace_id, name_key)
);
CREATE INDEX service_accounts_creator_id ON auth.service_accounts (creator_id) WHERE creator_id IS NOT NULL;

-- Keys that were revoked are not here any more.
CREATE TABLE auth.api_keys (
    id                   uuid        PRIMARY KEY,
    workspace_id         uuid        NOT NULL REFERENCES tenant.workspaces,
    -- Whose it is: one of the two.
    user_id              uuid        REFERENCES identity.users,
    service_account_id   uuid        REFERENCES auth.service_accounts,
    creator_id           uuid        REFERENCES identity.users,
    display_name         text        NOT NULL CHECK (char_length(display_name) BETWEEN 1 AND 100),
    permissions          text[]      NOT NULL,
    token_hash           bytea       NOT NULL CONSTRAINT api_keys_token_unique UNIQUE,
    hint                 text        NOT NULL,
    -- The secret before the last rotation, while it works.
    previous_hash        bytea       CONSTRAINT api_keys_previous_unique UNIQUE,
    previous_expire_time timestamptz,
    request_id           uuid,
    request_digest       bytea,
    -- Of the last rotation.
    rotate_request_id    uuid,
    create_time          timestamptz NOT NULL,
    expire_time          timestamptz NOT NULL,
    last_use_time        timestamptz,
    CONSTRAINT api_keys_one_owner CHECK ((user_id IS NULL) <> (service_account_id IS NULL)),
    CONSTRAINT api_keys_previous_ends CHECK ((previous_hash IS NULL) = (previous_expire_time IS NULL)),
    CONSTRAINT api_keys_request_unique UNIQUE (workspace_id, request_id)
);
CREATE INDEX api_keys_by_workspace ON auth.api_keys (workspace_id, id);
CREATE INDEX api_keys_by_user ON auth.api_keys (user_id, workspace_id, id) WHERE user_id IS NOT NULL;
CREATE INDEX api_keys_by_service_account ON auth.api_keys (service_account_id, id) WHERE service_account_id IS NOT NULL;
CREATE INDEX api_keys_creator_id ON auth.api_keys (creator_id) WHERE creator_id IS NOT NULL;
CREATE INDEX api_keys_expire_time ON auth.api_keys (expire_time);

-- What other modules may read: what service accounts are called.
CREATE VIEW auth.programs AS
SELECT id AS service_account_id, display_name FROM auth.service_accounts;

-- Service accounts invite, too: one of the two, or neither once a user is gone.
ALTER TABLE team.invitations
    ADD inviter_service_account_id uuid,
    ADD CONSTRAINT invitations_one_inviter CHECK (inviter_id IS NULL OR inviter_service_account_id IS NULL);
ALTER TABLE team.invitation_links
    ADD creator_service_account_id uuid,
    ADD CONSTRAINT invitation_links_one_creator CHECK (creator_id IS NULL OR creator_service_account_id IS NULL);
CREATE INDEX invitations_by_inviter_service_account ON team.invitations (inviter_service_account_id) WHERE inviter_service_account_id IS NOT NULL;
CREATE INDEX invitation_links_by_creator_service_account ON team.invitation_links (creator_service_account_id)
    WHERE creator_service_account_id IS NOT NULL;

-- What other modules may read: what the active members of live workspaces are, with
-- the permissions of a custom role.
CREATE VIEW team.authority AS
SELECT m.user_id, m.workspace_id, m.role, coalesce(r.permissions, '{}') AS permissions
FROM team.memberships m
JOIN tenant.directory d ON d.workspace_id = m.workspace_id
LEFT JOIN team.roles r ON r.workspace_id = m.workspace_id AND r.id = m.custom_role
WHERE m.deactivate_time IS NULL AND d.delete_time IS NULL;
