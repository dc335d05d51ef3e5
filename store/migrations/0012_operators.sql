-- Operators find users by any part, of three characters or more, of their name or
-- address: by the groups of three characters that are in it. The key of a name is
-- without its case and accents.
ALTER TABLE identity.users ADD COLUMN name_key text NOT NULL DEFAULT '';
UPDATE identity.users
SET name_key = lower(normalize(regexp_replace(normalize(display_name, NFKD), U&'[\0300-\036F]', '', 'g'), NFC));
CREATE FUNCTION identity.grams(t text) RETURNS text[]
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 1000 SET search_path = pg_catalog AS
$$
    SELECT coalesce(array_agg(DISTINCT substr(t, i, 3)), '{}') FROM generate_series(1, char_length(t) - 2) i
$$;
CREATE INDEX users_grams ON identity.users USING gin (identity.grams(name_key));
CREATE INDEX emails_grams ON identity.emails USING gin (identity.grams(address_key));

-- A session in a user's name ends with the operator's own that began it.
ALTER TABLE auth.sessions
    ADD COLUMN impersonator_session_id uuid REFERENCES auth.sessions ON DELETE CASCADE;
CREATE INDEX sessions_impersonator_session_id ON auth.sessions (impersonator_session_id) WHERE impersonator_session_id IS NOT NULL;
