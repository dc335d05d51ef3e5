-- Operators find users by any part, of three characters or more, of their name or
-- address: by the groups of three characters that are in it.
CREATE FUNCTION identity.grams(t text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1000 SET search_path = pg_catalog AS
$$
    SELECT coalesce(array_agg(DISTINCT substr(l, i, 3)), '{}')
    FROM lower(t) l, generate_series(1, char_length(l) - 2) i
$$;
CREATE INDEX users_grams ON identity.users USING gin (identity.grams(display_name));
CREATE INDEX emails_grams ON identity.emails USING gin (identity.grams(address));

-- A session in a user's name ends with the operator's own that began it.
ALTER TABLE auth.sessions
    ADD COLUMN impersonator_session_id uuid REFERENCES auth.sessions ON DELETE CASCADE;
CREATE INDEX sessions_impersonator_session_id ON auth.sessions (impersonator_session_id) WHERE impersonator_session_id IS NOT NULL;
