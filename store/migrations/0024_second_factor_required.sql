-- Workspaces can require of their members that they have proven a second factor.
ALTER TABLE tenant.workspaces ADD COLUMN second_factor_required boolean NOT NULL DEFAULT false;

CREATE OR REPLACE VIEW tenant.directory AS
SELECT id AS workspace_id, name, slug, delete_time, purge_time, second_factor_required
FROM tenant.workspaces;

-- Members who are to be told that a second factor is required, workspace by workspace: the
-- last one, in the order of the memberships' ids, that was. NULL: nobody yet.
CREATE TABLE tenant.policy_notices (
    workspace_id       uuid PRIMARY KEY CONSTRAINT policy_notices_workspace_id_fkey REFERENCES tenant.workspaces,
    last_membership_id uuid
);

-- Whether a second factor was proven in the session. It is forgotten with the last second
-- factor of the account.
ALTER TABLE auth.sessions ADD COLUMN second_factor_proven boolean NOT NULL DEFAULT false;
UPDATE auth.sessions s SET second_factor_proven = true
WHERE s.impersonator_id IS NULL AND s.methods && '{totp,recovery_code,passkey}'
  AND (EXISTS (SELECT FROM auth.totp_factors f WHERE f.user_id = s.user_id AND f.confirm_time IS NOT NULL)
    OR EXISTS (SELECT FROM auth.passkeys p WHERE p.user_id = s.user_id));
