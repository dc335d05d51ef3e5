-- What every call asks of other modules, by as few tables as it takes.

-- What other modules may read: what active members are in workspaces, live or deleted,
-- with the permissions of a custom role.
CREATE OR REPLACE VIEW team.authority AS
SELECT m.user_id, m.workspace_id, m.role, coalesce(r.permissions, '{}') AS permissions
FROM team.memberships m
LEFT JOIN team.roles r ON r.workspace_id = m.workspace_id AND r.id = m.custom_role
WHERE m.deactivate_time IS NULL;

-- What other modules may read: whether a user has proven their address.
CREATE VIEW identity.proofs AS
SELECT user_id, verified_time IS NOT NULL AS email_verified FROM identity.emails;
