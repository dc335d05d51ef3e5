-- Workspaces and their domains.
CREATE SCHEMA tenant;

CREATE TABLE tenant.workspaces (
    id                    uuid        PRIMARY KEY,
    name                  text        NOT NULL CHECK (char_length(name) BETWEEN 1 AND 100),
    slug                  text        NOT NULL CONSTRAINT workspaces_slug_unique UNIQUE,
    version               bigint      NOT NULL DEFAULT 1,
    create_time           timestamptz NOT NULL,
    update_time           timestamptz NOT NULL,
    -- Who created it, by which request: what makes creation safe to repeat.
    creator_id            uuid,
    create_request_id     uuid,
    create_request_digest bytea,
    -- A deleted workspace is kept until it is purged. The etag is that of the
    -- deletion: what makes it safe to repeat.
    delete_time           timestamptz,
    purge_time            timestamptz,
    delete_etag           text,
    CONSTRAINT workspaces_create_request_unique UNIQUE (creator_id, create_request_id),
    CONSTRAINT workspaces_deletion_is_whole CHECK (
        (delete_time IS NULL) = (purge_time IS NULL) AND (delete_time IS NULL) = (delete_etag IS NULL))
);
CREATE INDEX workspaces_purge_time ON tenant.workspaces (purge_time) WHERE purge_time IS NOT NULL;

-- What other modules may read of a workspace.
CREATE VIEW tenant.directory AS
SELECT id AS workspace_id, name, slug, delete_time, purge_time
FROM tenant.workspaces;

-- DNS domains of workspaces. What is not verified proves nothing, and anybody may
-- have it.
CREATE TABLE tenant.domains (
    id           uuid        PRIMARY KEY,
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    domain       text        NOT NULL,
    record_value text        NOT NULL,
    verify_time  timestamptz,
    enrollment   text        NOT NULL DEFAULT 'off' CHECK (enrollment IN ('off', 'request', 'automatic')),
    role         text        NOT NULL DEFAULT 'member' CHECK (role IN ('member', 'viewer')),
    create_time  timestamptz NOT NULL,
    CONSTRAINT domains_once UNIQUE (workspace_id, domain),
    CONSTRAINT domains_enrollment_is_proven CHECK (enrollment = 'off' OR verify_time IS NOT NULL)
);
CREATE UNIQUE INDEX domains_verified_once ON tenant.domains (domain) WHERE verify_time IS NOT NULL;

-- What other modules may read of domains: whom they let join.
CREATE VIEW tenant.enrollments AS
SELECT d.domain, d.workspace_id, w.name AS workspace_name, d.enrollment, d.role
FROM tenant.domains d
JOIN tenant.workspaces w ON w.id = d.workspace_id
WHERE d.verify_time IS NOT NULL AND d.enrollment <> 'off' AND w.delete_time IS NULL;
