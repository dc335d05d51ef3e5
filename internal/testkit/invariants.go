package testkit

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/internal/ids"
)

// invariant is something that holds in every committed state of the database.
type invariant struct {
	promise string
	// offenders is a query for what breaks the promise: rows of one text column.
	offenders string
}

// invariants are those that one query each can decide.
var invariants = []invariant{
	{"a user registered, or was imported, exactly once", `
		SELECT u.id || ': ' || count(e.id) || ' events'
		FROM identity.users u LEFT JOIN audit.events e ON e.user_id = u.id AND e.action IN ('user.registered', 'user.imported')
		GROUP BY u.id HAVING count(e.id) <> 1`},

	// Of a purged workspace no more is left than that there was one. So a user
	// whose first workspace is not to be found needs a purge of their own among
	// those after the registration.
	{"every user was given a workspace, or a membership, by the transaction that registered them", `
		WITH orphans AS (
			SELECT e.user_id, e.tx FROM audit.events e
			WHERE e.action IN ('user.registered', 'user.imported') AND NOT EXISTS (
				SELECT 1 FROM audit.events w
				WHERE w.tx = e.tx AND w.workspace_id IS NOT NULL
				  AND (w.action = 'workspace.created' AND w.actor_user_id = e.user_id
				    OR w.action = 'membership.created' AND w.details ->> 'user_id' = e.target_id)))
		SELECT o.user_id::text FROM orphans o
		WHERE (SELECT count(*) FROM audit.events p WHERE p.action = 'workspace.purged' AND p.tx > o.tx)
		    < (SELECT count(*) FROM orphans later WHERE later.tx >= o.tx)`},

	{"a workspace was created exactly once", `
		SELECT w.id || ': ' || count(e.id) || ' events'
		FROM tenant.workspaces w LEFT JOIN audit.events e ON e.workspace_id = w.id AND e.action = 'workspace.created'
		GROUP BY w.id HAVING count(e.id) <> 1`},

	{"a workspace is deleted if, and only if, its log has one deletion more than undeletions", `
		SELECT w.id || ': ' || count(*) FILTER (WHERE e.action = 'workspace.deleted') || ' deletions, '
		                    || count(*) FILTER (WHERE e.action = 'workspace.undeleted') || ' undeletions'
		FROM tenant.workspaces w LEFT JOIN audit.events e ON e.workspace_id = w.id
		GROUP BY w.id
		HAVING count(*) FILTER (WHERE e.action = 'workspace.deleted') - count(*) FILTER (WHERE e.action = 'workspace.undeleted')
		    <> (w.delete_time IS NOT NULL)::int`},

	{"members are told of a deletion while there is one, and else of a restoration until all know", `
		SELECT w.id::text FROM tenant.deletion_notices n JOIN tenant.workspaces w ON w.id = n.workspace_id
		WHERE n.undeleted <> (w.delete_time IS NULL) OR n.undeleted AND NOT n.pending`},

	{"members are told that a second factor is required only where it is", `
		SELECT w.id::text FROM tenant.policy_notices n JOIN tenant.workspaces w ON w.id = n.workspace_id WHERE NOT w.second_factor_required`},

	{"a workspace is purged once, and then gone from the log", `
		SELECT p.target_id FROM audit.events p WHERE p.action = 'workspace.purged'
		GROUP BY p.target_id
		HAVING count(*) > 1 OR EXISTS (SELECT 1 FROM audit.events e WHERE e.target_id = p.target_id AND e.action <> 'workspace.purged')`},

	{"what is left of a purged workspace or a deleted user names nobody", `
		SELECT id || ' ' || action FROM audit.events
		WHERE action IN ('workspace.purged', 'user.deleted') AND num_nonnulls(workspace_id, user_id, actor_user_id) > 0`},

	{"an event is in the log of a workspace or of an account", `
		SELECT id || ' ' || action FROM audit.events
		WHERE num_nonnulls(workspace_id, user_id) <> 1 AND action NOT IN ('workspace.purged', 'user.deleted') AND action NOT LIKE 'signing_key.%'`},

	{"an address belongs to one user", `
		SELECT address_key FROM identity.emails GROUP BY address_key HAVING count(DISTINCT user_id) > 1`},

	{"who has no address is a voided account: without a password, without sessions", `
		SELECT u.id::text FROM identity.users u
		WHERE NOT EXISTS (SELECT 1 FROM identity.emails e WHERE e.user_id = u.id)
		  AND (EXISTS (SELECT 1 FROM auth.credentials c WHERE c.user_id = u.id)
		    OR EXISTS (SELECT 1 FROM auth.sessions s WHERE s.user_id = u.id)
		    OR NOT EXISTS (SELECT 1 FROM audit.events v WHERE v.user_id = u.id AND v.action = 'user.voided'))`},

	{"a verified registration names the user it created; the workspace may be purged since", `
		SELECT id::text FROM auth.registrations WHERE verify_time IS NOT NULL AND user_id IS NULL`},

	{"one account comes of one registration", `
		SELECT user_id::text FROM auth.registrations WHERE user_id IS NOT NULL GROUP BY user_id HAVING count(*) > 1`},

	// Those that began while the other was being verified may not have been seen
	// by it, and cannot be verified either: hence the minute.
	{"of several registrations of one address, those that are older than the verified one have ended", `
		SELECT pending.id::text FROM auth.registrations pending
		JOIN auth.registrations won ON won.address_key = pending.address_key
		WHERE pending.user_id IS NULL AND pending.verify_time IS NULL
		  AND pending.create_time < won.verify_time - interval '1 minute'`},
}

// CheckInvariants reports every invariant of the product that the database
// breaks, with what breaks it. It looks at one moment, so that it may be called
// while the server works.
func (s *Server) CheckInvariants(t testing.TB) {
	t.Helper()
	err := pgx.BeginTxFunc(t.Context(), s.SQL, atOneMoment, func(tx pgx.Tx) error { return checkInvariants(t, tx) })
	if err != nil {
		t.Errorf("invariants: %v", err)
	}
}

func checkInvariants(t testing.TB, tx pgx.Tx) error {
	t.Helper()
	children, err := parents(t.Context(), tx)
	if err != nil {
		return err
	}
	for _, check := range slices.Concat(invariants, teamInvariants, authInvariants, programInvariants, billingInvariants, children) {
		found, err := column(t.Context(), tx, check.offenders)
		if err != nil {
			return fmt.Errorf("%s: %w", check.promise, err)
		}
		report(t, check.promise, found)
	}
	if err := checkTargets(t, tx); err != nil {
		return err
	}
	if err := checkRecorded(t, tx); err != nil {
		return err
	}
	if err := checkPrograms(t, tx); err != nil {
		return err
	}
	return checkTeam(t, tx)
}

var atOneMoment = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

func column(ctx context.Context, tx pgx.Tx, sql string, args ...any) ([]string, error) {
	rows, err := tx.Query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// report fails the test if there are offenders.
func report(t testing.TB, promise string, offenders []string) {
	t.Helper()
	if len(offenders) == 0 {
		return
	}
	more := ""
	if n := len(offenders); n > 10 {
		more = fmt.Sprintf(" and %d more", n-10)
		offenders = offenders[:10]
	}
	t.Errorf("broken invariant: %s: %s%s", promise, strings.Join(offenders, ", "), more)
}

// parents are the invariants that each row which names a user or a workspace in a
// column has it, foreign key or not. The log may name an actor who is gone.
func parents(ctx context.Context, tx pgx.Tx) ([]invariant, error) {
	rows, err := tx.Query(ctx, `
		SELECT n.nspname::text, c.relname::text, a.attname::text
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND a.atttypid = 'uuid'::regtype AND NOT a.attisdropped
		  AND a.attname ~ '(^|_)(user|creator|inviter|workspace)_id$' AND a.attname <> 'actor_user_id'
		ORDER BY 1, 2, 3`)
	if err != nil {
		return nil, err
	}
	var list []invariant
	var schema, table, name string
	_, err = pgx.ForEachRow(rows, []any{&schema, &table, &name}, func() error {
		parent := "identity.users"
		if strings.HasSuffix(name, "workspace_id") {
			parent = "tenant.workspaces"
		}
		list = append(list, invariant{
			fmt.Sprintf("%s.%s has nothing without its %s", schema, table, name),
			fmt.Sprintf("SELECT DISTINCT c.%[2]s::text FROM %[1]s c LEFT JOIN %[3]s p ON p.id = c.%[2]s WHERE c.%[2]s IS NOT NULL AND p.id IS NULL",
				pgx.Identifier{schema, table}.Sanitize(), pgx.Identifier{name}.Sanitize(), parent),
		})
		return nil
	})
	if err == nil && len(list) < 20 {
		err = fmt.Errorf("only %d columns with parents were found", len(list))
	}
	return list, err
}

const eventsAreInTheirLog = "an event about a workspace or an account is in its own log"

// checkTargets checks that events about a workspace or an account are in its own
// log: what the database has as a UUID, and the log as an id of the API.
func checkTargets(t testing.TB, tx pgx.Tx) error {
	t.Helper()
	rows, err := tx.Query(t.Context(), `
		SELECT id::text, action, target_id, workspace_id, user_id FROM audit.events
		WHERE workspace_id IS NOT NULL AND target_id LIKE 'wsp\_%' OR user_id IS NOT NULL AND target_id LIKE 'usr\_%'`)
	if err != nil {
		return err
	}
	var id, action, target string
	var workspace, user uuid.NullUUID
	var offenders []string
	_, err = pgx.ForEachRow(rows, []any{&id, &action, &target, &workspace, &user}, func() error {
		own := ids.FromUUID[ids.User](user.UUID).String()
		if workspace.Valid {
			own = ids.FromUUID[ids.Workspace](workspace.UUID).String()
		}
		if target != own {
			offenders = append(offenders, fmt.Sprintf("%s %s of %s in the log of %s", id, action, target, own))
		}
		return nil
	})
	report(t, eventsAreInTheirLog, offenders)
	return err
}

// CheckPurged checks that no row in any table of any schema names a purged
// workspace or a deleted user, given by their ids in the API's form, whatever
// the column and whatever the form. It needs a tombstone of the workspace, and
// allows but that of a user. The logs of other workspaces may name users, who
// are opaque ids there, and the logs of other accounts may as who did something: an
// operator answers for it for good. A workspace "" checks the users alone.
func (s *Server) CheckPurged(t testing.TB, workspaceID string, userIDs ...string) {
	t.Helper()
	gone := traces{}
	if workspaceID != "" {
		id, err := ids.Parse[ids.Workspace](workspaceID)
		if err != nil {
			t.Fatal(err)
		}
		gone.add(workspaceID, id.UUID())
	}
	for _, user := range userIDs {
		id, err := ids.Parse[ids.User](user)
		if err != nil {
			t.Fatal(err)
		}
		gone.add(user, id.UUID())
	}
	err := pgx.BeginTxFunc(t.Context(), s.SQL, atOneMoment, func(tx pgx.Tx) error {
		if workspaceID != "" {
			var tombstones int
			if err := tx.QueryRow(t.Context(), "SELECT count(*) FROM audit.events WHERE action = 'workspace.purged' AND target_id = $1",
				workspaceID).Scan(&tombstones); err != nil {
				return err
			}
			if tombstones != 1 {
				t.Errorf("%d events say that %s was purged, want 1", tombstones, workspaceID)
			}
		}
		tables, err := tablesOf(t.Context(), tx)
		if err != nil {
			return err
		}
		for _, table := range tables {
			found, err := gone.in(t.Context(), tx, table)
			if err != nil {
				return fmt.Errorf("%s: %w", table, err)
			}
			report(t, "what was purged leaves no row: "+table, found)
		}
		return nil
	})
	if err != nil {
		t.Errorf("purged: %v", err)
	}
}

// tablesOf returns the tables of every schema but PostgreSQL's own.
func tablesOf(ctx context.Context, tx pgx.Tx) ([]string, error) {
	tables, err := column(ctx, tx, `
		SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
		WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`)
	if err == nil && len(tables) < 10 {
		err = fmt.Errorf("only the tables %v were found", tables)
	}
	return tables, err
}

// traces are what would tell of something that is gone: for each id, all forms in
// which a column of any type can hold it.
type traces map[string][]string

func (g traces) add(id string, u uuid.UUID) {
	g[id] = []string{
		id, u.String(),
		hex.EncodeToString(u[:]), hex.EncodeToString([]byte(id)), hex.EncodeToString([]byte(u.String())), // as bytea
	}
}

// in returns the rows of a table that tell of what is gone, as JSON.
func (g traces) in(ctx context.Context, tx pgx.Tx, table string) ([]string, error) {
	var all []string
	for _, forms := range g {
		all = append(all, forms...)
	}
	rows, err := column(ctx, tx, "SELECT to_jsonb(a_row)::text FROM "+table+" a_row WHERE to_jsonb(a_row)::text ~* $1", strings.Join(all, "|"))
	if err != nil || table != "audit.events" {
		return rows, err
	}
	var offenders []string
	for _, row := range rows {
		bad, err := g.told(row)
		if err != nil {
			return nil, err
		}
		if bad {
			offenders = append(offenders, row)
		}
	}
	return offenders, nil
}

// told reports whether an event tells more than it may of what is gone.
func (g traces) told(row string) (bool, error) {
	var event map[string]any
	if err := json.Unmarshal([]byte(row), &event); err != nil {
		return false, err
	}
	target := fmt.Sprint(event["target_id"])
	switch {
	case event["action"] == "workspace.purged" && strings.HasPrefix(target, "wsp_"),
		event["action"] == "user.deleted" && strings.HasPrefix(target, "usr_"):
		delete(event, "target_id") // a tombstone
	}
	if event["user_id"] != nil {
		delete(event, "actor_user_id")
		delete(event, "impersonator_id")
		if details, ok := event["details"].(map[string]any); ok {
			delete(details, "operator_user_id")
		}
	}
	rest, err := json.Marshal(event)
	if err != nil {
		return false, err
	}
	for id, forms := range g {
		if strings.HasPrefix(id, "usr_") && event["workspace_id"] != nil {
			continue
		}
		if slices.ContainsFunc(forms, func(form string) bool { return strings.Contains(strings.ToLower(string(rest)), form) }) {
			return true, nil
		}
	}
	return false, nil
}
