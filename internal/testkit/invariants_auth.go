package testkit

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/internal/ids"
)

// authInvariants are those of how people and programs prove who they are.
var authInvariants = []invariant{
	{"who has an address has a way to sign in, unless the account was voided", `
		SELECT e.user_id::text FROM identity.emails e
		WHERE e.verified_time IS NULL
		  AND NOT EXISTS (SELECT 1 FROM auth.credentials c WHERE c.user_id = e.user_id)
		  AND NOT EXISTS (SELECT 1 FROM auth.passkeys p WHERE p.user_id = e.user_id)
		  AND NOT EXISTS (SELECT 1 FROM auth.external_identities x WHERE x.user_id = e.user_id)
		  AND NOT EXISTS (SELECT 1 FROM audit.events v WHERE v.user_id = e.user_id AND v.action IN ('user.voided', 'user.imported'))`},

	{"who has a factor, a passkey, an identity or an API key has a proven address", `
		SELECT f.user_id || ' ' || f.what FROM (
			SELECT user_id, 'authenticator app' AS what FROM auth.totp_factors
			UNION ALL SELECT user_id, 'passkey' FROM auth.passkeys
			UNION ALL SELECT user_id, 'identity' FROM auth.external_identities
			UNION ALL SELECT user_id, 'recovery code' FROM auth.recovery_codes
			UNION ALL SELECT user_id, 'API key' FROM auth.api_keys WHERE user_id IS NOT NULL) f
		LEFT JOIN identity.emails e ON e.user_id = f.user_id AND e.verified_time IS NOT NULL
		WHERE e.user_id IS NULL`},

	{"recovery codes are of who has a second factor", `
		SELECT DISTINCT r.user_id::text FROM auth.recovery_codes r
		WHERE NOT EXISTS (SELECT 1 FROM auth.passkeys p WHERE p.user_id = r.user_id)
		  AND NOT EXISTS (SELECT 1 FROM auth.totp_factors f WHERE f.user_id = r.user_id AND f.confirm_time IS NOT NULL)`},

	{"nobody has more than ten recovery codes", `
		SELECT user_id::text FROM auth.recovery_codes GROUP BY user_id HAVING count(*) > 10`},

	{"a session that owes its second factor ends within ten minutes", `
		SELECT id::text FROM auth.sessions
		WHERE second_factor_pending AND expire_time > create_time + interval '10 minutes'`},

	// Who enrols the first factor keeps the session that they do it in: it has
	// authenticated no later than the factor is old.
	{"a full session that began after its account had a second factor proved one", `
		SELECT s.id::text FROM auth.sessions s
		WHERE NOT s.second_factor_pending AND s.impersonator_id IS NULL
		  AND NOT s.methods && '{totp,recovery_code,passkey}'
		  AND (EXISTS (SELECT 1 FROM auth.passkeys p WHERE p.user_id = s.user_id AND p.create_time < s.create_time)
		    OR EXISTS (SELECT 1 FROM auth.totp_factors f WHERE f.user_id = s.user_id AND f.confirm_time < s.create_time))`},

	{"a session tells of a second factor only if it was proven there, and its account has one", `
		SELECT s.id::text FROM auth.sessions s
		WHERE s.second_factor_proven AND (NOT s.methods && '{totp,recovery_code,passkey}' OR s.second_factor_pending
		   OR NOT EXISTS (SELECT 1 FROM auth.passkeys p WHERE p.user_id = coalesce(s.impersonator_id, s.user_id))
		  AND NOT EXISTS (SELECT 1 FROM auth.totp_factors f WHERE f.user_id = coalesce(s.impersonator_id, s.user_id) AND f.confirm_time IS NOT NULL))`},

	{"a workspace requires a second factor if, and only if, its log says so last", `
		SELECT w.id::text FROM tenant.workspaces w
		LEFT JOIN LATERAL (
			SELECT (e.details -> 'second_factor_required' ->> 'after')::boolean AS required FROM audit.events e
			WHERE e.workspace_id = w.id AND e.action = 'workspace.security_policy_updated' ORDER BY e.tx DESC, e.id DESC LIMIT 1) last ON true
		WHERE w.second_factor_required <> coalesce(last.required, false)`},

	{"a disabled account has no session", `
		SELECT s.id::text FROM auth.sessions s JOIN auth.disablements d USING (user_id)`},

	{"an impersonation is by an operator, has a reason, and ends within 30 minutes", `
		SELECT s.id::text FROM auth.sessions s
		WHERE s.impersonator_id IS NOT NULL
		  AND (s.impersonation_reason = '' OR s.expire_time > s.create_time + interval '30 minutes' OR s.impersonator_id = s.user_id
		    OR NOT EXISTS (SELECT 1 FROM auth.operators o WHERE o.user_id = s.impersonator_id))`},

	{"a refresh token for a workspace is of an active member", `
		SELECT r.id::text FROM auth.refresh_tokens r JOIN auth.sessions s ON s.id = r.session_id
		LEFT JOIN team.memberships m ON m.workspace_id = r.workspace_id AND m.user_id = s.user_id AND m.deactivate_time IS NULL
		WHERE r.workspace_id IS NOT NULL AND m.id IS NULL`},

	{"a line of refresh tokens ends with its session at the latest", `
		SELECT r.id::text FROM auth.refresh_tokens r JOIN auth.sessions s ON s.id = r.session_id WHERE r.expire_time > s.expire_time`},

	{"of a line of refresh tokens it is known which came before, if and only if one was used", `
		SELECT id::text FROM auth.refresh_tokens
		WHERE (generation = 1) <> (previous_hash IS NULL) OR (generation = 1) <> (rotate_time IS NULL)
		   OR successor IS NOT NULL AND rotate_time IS NULL OR previous_hash = token_hash`},

	{"a signing key is published before it is used, and after it was used unless it was revoked", `
		SELECT id::text FROM auth.signing_keys
		WHERE create_time > activate_time OR expire_time < retire_time OR expire_time > retire_time AND retire_time < activate_time`},

	{"an operator has a proven address, and was made one last by the log", `
		SELECT o.user_id::text FROM auth.operators o
		WHERE NOT EXISTS (SELECT 1 FROM identity.emails e WHERE e.user_id = o.user_id AND e.verified_time IS NOT NULL)
		   OR (SELECT count(*) FILTER (WHERE e.action = 'operator.added') - count(*) FILTER (WHERE e.action = 'operator.removed')
		       FROM audit.events e WHERE e.user_id = o.user_id) <> 1`},

	{"a challenge by mail is of a session, or bound to who asked, and is over after ten minutes or five tries", `
		SELECT id::text FROM auth.email_challenges
		WHERE (session_id IS NULL) <> (binding_hash IS NOT NULL) OR expire_time > create_time + interval '10 minutes' OR attempts NOT BETWEEN 0 AND 5`},

	{"a challenge for passkeys is of a session unless it is to sign in, and is over after five minutes", `
		SELECT id::text FROM auth.challenges
		WHERE (session_id IS NULL) <> (purpose = 'sign_in') OR expire_time > create_time + interval '5 minutes'`},

	{"a sign-in at a provider is of a session unless it is to sign in, is over after ten minutes, and has a result only once it came back", `
		SELECT id::text FROM auth.external_sign_ins
		WHERE (session_id IS NULL) <> (purpose = 'sign_in') OR expire_time > create_time + interval '10 minutes'
		   OR (result IS NULL) <> (result_hash IS NULL) OR result IS NOT NULL AND return_time IS NULL`},

	{"nobody is known on more than twenty devices", `
		SELECT user_id::text FROM auth.devices GROUP BY user_id HAVING count(*) > 20`},

	{"failures count for as long as their key has to wait, and none is below zero", `
		SELECT encode(key, 'hex') FROM auth.failures WHERE count < 0 OR free_time > expire_time`},

	{"at most one signing key is the current one", `
		SELECT count(*)::text FROM auth.signing_keys WHERE retire_time IS NULL AND activate_time <= now() HAVING count(*) > 1`},
}

// recordedOnce is the promise that checkRecorded checks.
const recordedOnce = "each factor, passkey and identity was recorded once, when it came to be"

// recorded are what is recorded when it comes to be, and by what action.
var recorded = []struct{ rows, action string }{
	{"SELECT id FROM auth.totp_factors WHERE confirm_time IS NOT NULL", "totp_factor.created"},
	{"SELECT id FROM auth.passkeys", "passkey.created"},
	{"SELECT id FROM auth.external_identities", "external_identity.linked"},
}

// checkRecorded compares what there is with the events of its creation, whose targets
// are ids in the form of the API.
func checkRecorded(t testing.TB, tx pgx.Tx) error {
	t.Helper()
	wire := map[string]func(uuid.UUID) string{
		"totp_factor.created":      func(u uuid.UUID) string { return ids.FromUUID[ids.Factor](u).String() },
		"passkey.created":          func(u uuid.UUID) string { return ids.FromUUID[ids.Passkey](u).String() },
		"external_identity.linked": func(u uuid.UUID) string { return ids.FromUUID[ids.ExternalIdentity](u).String() },
	}
	var offenders []string
	for _, kind := range recorded {
		targets, err := column(t.Context(), tx, "SELECT target_id FROM audit.events WHERE action = $1", kind.action)
		if err != nil {
			return err
		}
		events := map[string]int{}
		for _, target := range targets {
			events[target]++
		}
		rows, err := tx.Query(t.Context(), kind.rows)
		if err != nil {
			return err
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[uuid.UUID])
		if err != nil {
			return err
		}
		for _, id := range found {
			if n := events[wire[kind.action](id)]; n != 1 {
				offenders = append(offenders, fmt.Sprintf("%s: %d events %s", wire[kind.action](id), n, kind.action))
			}
		}
	}
	report(t, recordedOnce, offenders)
	return nil
}
