-- A workspace that is deleted again before all know that it was undeleted keeps who is still
-- to be told that, for when it is undeleted before they are told of the deletion.
ALTER TABLE tenant.deletion_notices
    DROP CONSTRAINT deletion_notices_end,
    ADD CONSTRAINT deletion_notices_end CHECK (NOT undeleted OR until_membership_id IS NOT NULL);
