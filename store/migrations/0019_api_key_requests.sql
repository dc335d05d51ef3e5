-- By which requests keys were made, also those of keys that have ended since: what
-- keeps a request that is repeated from making another key.
CREATE TABLE auth.api_key_requests (
    workspace_id uuid        NOT NULL REFERENCES tenant.workspaces,
    request_id   uuid        NOT NULL,
    create_time  timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, request_id)
);
CREATE INDEX api_key_requests_create_time ON auth.api_key_requests (create_time);

INSERT INTO auth.api_key_requests (workspace_id, request_id, create_time)
SELECT workspace_id, request_id, create_time FROM auth.api_keys WHERE request_id IS NOT NULL;
