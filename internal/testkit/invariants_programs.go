package testkit

import (
	"fmt"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
)

// programInvariants are those of API keys and service accounts that one query each can
// decide.
var programInvariants = []invariant{
	{"a user's API key is of an active member of its workspace", `
		SELECT k.id::text FROM auth.api_keys k
		WHERE k.user_id IS NOT NULL AND NOT EXISTS (
			SELECT 1 FROM team.memberships m
			WHERE m.workspace_id = k.workspace_id AND m.user_id = k.user_id AND m.deactivate_time IS NULL)`},

	{"a service account's API key is of its own workspace", `
		SELECT k.id::text FROM auth.api_keys k
		WHERE k.service_account_id IS NOT NULL AND NOT EXISTS (
			SELECT 1 FROM auth.service_accounts a WHERE a.id = k.service_account_id AND a.workspace_id = k.workspace_id)`},

	{"a voided account has no API key", `
		SELECT k.id::text FROM auth.api_keys k
		WHERE k.user_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM identity.emails e WHERE e.user_id = k.user_id)`},
}

// The invariants of programs that take more than a query.
const (
	keysHoldLess     = "no API key holds what owners alone hold"
	programsAreInLog = "an API key, and a service account, was made once in its workspace's log, and has not ended there"
)

// checkPrograms checks those.
func checkPrograms(t testing.TB, tx pgx.Tx) error {
	t.Helper()
	held, err := permissions()
	if err != nil {
		return err
	}
	rows, err := tx.Query(t.Context(), "SELECT id, permissions FROM auth.api_keys")
	if err != nil {
		return err
	}
	var id, workspace uuid.UUID
	var names, offenders []string
	if _, err := pgx.ForEachRow(rows, []any{&id, &names}, func() error {
		for _, name := range names {
			if p, ok := held.all.Permission(name); !ok || !authz.Admin.AtLeast(p.LeastRole) {
				offenders = append(offenders, id.String()+": "+name)
			}
		}
		return nil
	}); err != nil {
		return err
	}
	report(t, keysHoldLess, offenders)

	offenders = nil
	var is string
	there := map[string]uuid.UUID{} // the workspaces, by the ids of what is there
	if rows, err = tx.Query(t.Context(), `
		SELECT 'key', id, workspace_id FROM auth.api_keys UNION ALL SELECT 'account', id, workspace_id FROM auth.service_accounts`); err != nil {
		return err
	}
	if _, err := pgx.ForEachRow(rows, []any{&is, &id, &workspace}, func() error {
		if is == "key" {
			there[ids.FromUUID[ids.APIKey](id).String()] = workspace
		} else {
			there[ids.FromUUID[ids.ServiceAccount](id).String()] = workspace
		}
		return nil
	}); err != nil {
		return err
	}
	if rows, err = tx.Query(t.Context(), `
		SELECT target_id, workspace_id, count(*) FILTER (WHERE action LIKE '%.created'), count(*) FILTER (WHERE action ~ '\.(revoked|deleted)$')
		FROM audit.events WHERE target_id ~ '^(key|sva)_' GROUP BY 1, 2`); err != nil {
		return err
	}
	var target string
	var made, ended int
	if _, err := pgx.ForEachRow(rows, []any{&target, &workspace, &made, &ended}, func() error {
		of, is := there[target]
		delete(there, target)
		if made != 1 || is && (of != workspace || ended != 0) || ended > 1 {
			offenders = append(offenders, fmt.Sprintf("%s: made %d times and ended %d times in the log of %s", target, made, ended, workspace))
		}
		return nil
	}); err != nil {
		return err
	}
	for target := range there {
		offenders = append(offenders, target+": in no log")
	}
	report(t, programsAreInLog, offenders)
	return nil
}
