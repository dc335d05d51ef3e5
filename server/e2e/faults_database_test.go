package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/store/postgres"
)

// TestDatabaseKeepsAnOwner takes the last owner of a live workspace away, in every
// way in which SQL can. The statement is carried out; the commit is not.
func TestDatabaseKeepsAnOwner(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	p, other := s.person(t), s.person(t)
	deleted := s.person(t)
	s.Join(t, other, p.Workspace.Id, authz.Member)
	s.delete(t, deleted, deleted.Workspace.Id)
	w := uuidOf(t, p.Workspace.Id)
	before := s.contents(t)
	for what, sql := range map[string]string{
		"delete the owner":         "DELETE FROM team.memberships WHERE workspace_id = $1 AND role = 'owner'",
		"delete all members":       "DELETE FROM team.memberships WHERE workspace_id = $1",
		"demote the owner":         "UPDATE team.memberships SET role = 'admin' WHERE workspace_id = $1 AND role = 'owner'",
		"deactivate the owner":     "UPDATE team.memberships SET deactivate_time = now() WHERE workspace_id = $1 AND role = 'owner'",
		"move the owner elsewhere": "UPDATE team.memberships SET workspace_id = '" + uuidOf(t, deleted.Workspace.Id).String() + "' WHERE workspace_id = $1 AND role = 'owner'",
		"exchange the owner for a member": `
			WITH gone AS (DELETE FROM team.memberships WHERE workspace_id = $1 AND role = 'owner' RETURNING *)
			INSERT INTO team.memberships (id, workspace_id, user_id, role, create_time, update_time)
			SELECT gen_random_uuid(), workspace_id, '` + uuidOf(t, deleted.User.Id).String() + `', 'admin', create_time, update_time FROM gone`,
		"create one without an owner": `
			INSERT INTO tenant.workspaces (id, name, slug, create_time, update_time)
			SELECT gen_random_uuid(), name, 'ownerless', create_time, update_time FROM tenant.workspaces WHERE id = $1`,
		"undelete one without an owner": `
			WITH gone AS (DELETE FROM team.memberships WHERE workspace_id = '` + uuidOf(t, deleted.Workspace.Id).String() + `' AND $1::uuid IS NOT NULL RETURNING workspace_id)
			UPDATE tenant.workspaces SET delete_time = NULL, purge_time = NULL, delete_etag = NULL WHERE id IN (SELECT workspace_id FROM gone)`,
	} {
		t.Run(what, func(t *testing.T) {
			tx, err := s.SQL.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if tag, err := tx.Exec(t.Context(), sql, w); err != nil || tag.RowsAffected() == 0 {
				t.Fatalf("the statement: %v, %v", tag, err)
			}
			if err := tx.Commit(t.Context()); postgres.Constraint(err) != "workspace_has_owner" {
				t.Errorf("the commit: %v, want a violation of workspace_has_owner", err)
			}
			s.requireContents(t, before)
		})
	}
	t.Run("transfer", func(t *testing.T) {
		// In one transaction, and in the order that has none for a while.
		if err := pgx.BeginFunc(t.Context(), s.SQL, func(tx pgx.Tx) error {
			for _, sql := range []string{
				"UPDATE team.memberships SET role = 'member' WHERE workspace_id = $1 AND role = 'owner'",
				"UPDATE team.memberships SET role = 'owner' WHERE workspace_id = $1 AND user_id = '" + uuidOf(t, other.User.Id).String() + "'",
			} {
				if _, err := tx.Exec(t.Context(), sql, w); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			t.Errorf("transfer to another: %v", err)
		}
		s.CheckInvariants(t)
	})
}

// TestTwoOwnersCannotBothLeave takes each of the two owners of a workspace away, in
// two transactions that do not see each other. One of them cannot commit, at any
// level of isolation, whether they commit one after the other or at once.
func TestTwoOwnersCannotBothLeave(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		for _, atOnce := range []bool{false, true} {
			p, other := s.person(t), s.person(t)
			joined := s.Join(t, other, p.Workspace.Id, authz.Owner)
			var open []pgx.Tx
			for _, membership := range []string{p.Membership.Id, joined.String()} {
				tx, err := s.SQL.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := tx.Exec(t.Context(), `
					WITH gone AS (DELETE FROM team.memberships WHERE id = $1 RETURNING workspace_id)
					INSERT INTO audit.events (id, workspace_id, actor_kind, action, target_id, create_time)
					SELECT gen_random_uuid(), workspace_id, 'system', 'membership.deleted', $2, now() FROM gone`,
					uuidOf(t, membership), membership); err != nil {
					t.Fatal(err)
				}
				open = append(open, tx)
			}
			onlyOneCommits(t, fmt.Sprintf("%s, at once is %v", level, atOnce), open, atOnce)
		}
	}
	s.CountSeats(t)
	s.CheckInvariants(t)
}

// onlyOneCommits commits two transactions, at once or one after the other, each of which
// takes one of the two owners of a workspace away: one of them is refused.
func onlyOneCommits(t testing.TB, what string, open []pgx.Tx, atOnce bool) {
	t.Helper()
	errs := make([]error, len(open))
	var all sync.WaitGroup
	for i, tx := range open {
		all.Go(func() { errs[i] = tx.Commit(t.Context()) })
		if !atOnce {
			all.Wait()
		}
	}
	all.Wait()
	refused := 0
	for _, err := range errs {
		switch {
		case postgres.Constraint(err) == "workspace_has_owner", err != nil && postgres.Retryable(err):
			refused++
		case err != nil:
			t.Error(err)
		}
	}
	if refused != 1 {
		t.Errorf("%s: %d of the two were refused, want 1: %v", what, refused, errs)
	}
}

// TestTracesOfWhatWasPurgedAreFound plants traces of a purged workspace and its
// owner in columns of every kind, and proves that the check sees them.
func TestTracesOfWhatWasPurgedAreFound(t *testing.T) {
	t.Parallel()
	s := newStage(t, purgeAtOnce)
	p, stays := s.person(t), s.person(t)
	check := func(t testing.TB) { s.CheckPurged(t, p.Workspace.Id, p.User.Id) }
	found := findings(t, check)
	for _, table := range []string{
		"say that", "audit.events", "auth.credentials", "auth.registrations", "auth.sessions", "identity.emails", "identity.users",
		"team.memberships", "tenant.workspaces",
	} {
		if !strings.Contains(found, table) {
			t.Errorf("before the purge nothing is found in %s", table)
		}
	}
	s.delete(t, p, p.Workspace.Id)
	if found := findings(t, check); found != "" {
		t.Fatalf("after the purge: %s", found)
	}
	w, u := uuidOf(t, p.Workspace.Id), uuidOf(t, p.User.Id)
	if _, err := s.SQL.Exec(t.Context(), "CREATE SCHEMA later; CREATE TABLE later.notes (u uuid, list uuid[], t varchar(99), j jsonb, b bytea)"); err != nil {
		t.Fatal(err)
	}
	for column, value := range map[string]any{
		"u": w, "list": []any{w, u}, "t": "about " + p.Workspace.Id, "j": map[string]any{"deep": []string{p.User.Id}}, "b": u[:],
	} {
		if _, err := s.SQL.Exec(t.Context(), "INSERT INTO later.notes ("+column+") VALUES ($1)", value); err != nil {
			t.Fatal(err)
		}
		if found := findings(t, check); !strings.Contains(found, "later.notes") {
			t.Errorf("a trace in the column %s is not found", column)
		}
		if _, err := s.SQL.Exec(t.Context(), "TRUNCATE later.notes"); err != nil {
			t.Fatal(err)
		}
	}
	// The log of another workspace may name the user, and not the workspace.
	event := "UPDATE audit.events SET details = jsonb_build_object('about', $1::text), actor_user_id = $2 WHERE action = 'workspace.created' AND workspace_id = $3"
	for about, want := range map[string]bool{p.User.Id: false, p.Workspace.Id: true} {
		if _, err := s.SQL.Exec(t.Context(), event, about, u, uuidOf(t, stays.Workspace.Id)); err != nil {
			t.Fatal(err)
		}
		if found := findings(t, check); (found != "") != want {
			t.Errorf("another workspace's log with %s: found %q", about, found)
		}
	}
}

// findings returns what a check reports.
func findings(t testing.TB, check func(testing.TB)) string {
	r := &reporter{TB: t}
	check(r)
	return strings.Join(r.errors, "\n")
}

// reporter keeps what a check reports instead of failing the test.
type reporter struct {
	testing.TB
	errors []string
}

func (r *reporter) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}
