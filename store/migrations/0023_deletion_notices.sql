-- What the members of a workspace are told of its deletion, or then of its restoration, and
-- how far that has come. A deleted workspace has it until it is purged.
CREATE TABLE tenant.deletion_notices (
    workspace_id        uuid    PRIMARY KEY CONSTRAINT deletion_notices_workspace_id_fkey REFERENCES tenant.workspaces,
    -- Whether the workspace was undeleted: then those are told that were told before.
    undeleted           boolean NOT NULL,
    -- Members are told in the order of their memberships' ids: the last one that was, and of
    -- those that are told of a restoration the last one that will be. NULL: nobody was yet.
    last_membership_id  uuid,
    until_membership_id uuid,
    -- Whether somebody is still to be told.
    pending             boolean NOT NULL,
    CONSTRAINT deletion_notices_end CHECK (undeleted = (until_membership_id IS NOT NULL))
);
CREATE INDEX deletion_notices_pending ON tenant.deletion_notices (workspace_id) WHERE pending;
