package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
	"github.com/logicspike/manager/store/team"
)

// teamWorld is what the parts of the test of the schema team share: two users, each
// with a workspace of their own, the second one of whom is a member of the first
// one's, too.
type teamWorld struct {
	*exercise
	module
	repository team.Repository
	tx         bun.Tx
	owner      ids.User
	w          ids.Workspace // the owner's
	user       ids.User
	own        ids.Workspace    // the user's
	member     *team.Membership // the user's of w
}

func TestTeamNeedsItsOwnSchemaOnly(t *testing.T) {
	t.Parallel()
	w := &teamWorld{module: asModule(t, "team")}
	w.owner, w.w = w.seed(t, "owner@example.com")
	w.user, w.own = w.seed(t, "user@example.com")
	tx, err := w.Bun.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	w.tx, w.repository = tx, team.New(tx, postgres.NewPager(secret.NewKey()))
	w.exercise = newExercise(t, w.repository)

	w.members()
	w.lists()
	w.deletions()
	w.roles()
	w.invitations()
	w.links()
	w.grants()
	w.programs()
	w.joinRequests()
	w.departures()
	w.ends()
	w.finish()
	// What the database promises of all modules holds for the role, too.
	if err := tx.Commit(); postgres.Constraint(err) != "workspace_has_owner" {
		t.Errorf("two workspaces without an owner are committed: %v", err)
	}
}

// inTurn checks a list of ids or states against what is wanted.
func inTurn[T any](t *testing.T, what string, got []T, want ...T) {
	t.Helper()
	if diff := cmp.Diff(want, got, everything); diff != "" && len(want)+len(got) > 0 {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// same compares what a method returned.
func (w *teamWorld) same(what string, want, got any) {
	w.t.Helper()
	if diff := cmp.Diff(want, got, everything); diff != "" {
		w.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// refused checks that statements break a rule of the database, and undoes them.
func (w *teamWorld) refused(what, constraint string, do func() error) {
	w.t.Helper()
	w.run("SAVEPOINT here")
	if err := do(); postgres.Constraint(err) != constraint {
		w.t.Errorf("%s: %v, want %s", what, err, constraint)
	}
	w.run("ROLLBACK TO here")
}

func (w *teamWorld) run(sql string, args ...any) {
	w.t.Helper()
	if _, err := w.tx.ExecContext(w.t.Context(), sql, args...); err != nil {
		w.t.Fatalf("%s: %v", sql, err)
	}
}

// badToken checks that a page's token is of no use for another list.
func (w *teamWorld) badToken(what string, list func(context.Context, postgres.Page) error, token string) {
	w.t.Helper()
	if err := list(w.t.Context(), postgres.Page{Token: token}); !fault.Has(err, fault.PageTokenInvalid) {
		w.t.Errorf("%s: %v, want %s", what, err, fault.PageTokenInvalid)
	}
}

func tokenOf(name string) secret.Hash { return secret.HashOf("test", name) }

// ends deletes what the other parts have left, and what is added to it.
func (w *teamWorld) ends() {
	for _, table := range []string{"invitations", "invitation_links", "join_requests"} {
		w.run("DELETE FROM team." + table)
	}
	roles := len(w.call("Roles", w.w)[0].([]team.Role))
	w.want(team.Ends{Roles: roles}, "Ends", w.w, now)
	pending := w.invite(w.w, "one@example.com", authz.Viewer, w.user)
	mine := w.invite(w.own, "user@example.com", authz.Viewer, w.owner)
	mine.State, mine.EndTime, mine.UserID = team.Accepted, now, w.user
	w.call("UpdateInvitation", mine)
	l, used := w.link(w.w, authz.Viewer, w.user), w.link(w.w, authz.Viewer, w.owner)
	used.UseCount = 2
	w.call("UpdateLink", used)
	unlimited := w.link(w.w, authz.Viewer, w.owner)
	w.run("UPDATE team.invitation_links SET max_uses = 0, use_count = 9 WHERE id = ?", unlimited.ID.UUID())
	for _, u := range []ids.User{w.user, w.owner} {
		w.call("InsertJoinRequest", &team.JoinRequest{ID: ids.New[ids.JoinRequest](), WorkspaceID: w.w, UserID: u, State: team.JoinPending, CreateTime: now})
	}
	w.want(team.Ends{Invitations: 1, Links: 2, Roles: roles, JoinRequests: 2}, "Ends", w.w, now)
	w.want(team.Ends{Roles: roles, JoinRequests: 2}, "Ends", w.w, now.Add(time.Hour))

	w.call("DeleteOfUsers", []ids.User{w.user})
	inTurn(w.t, "who is left", users(w.call("List", w.w, team.Filter{}, postgres.Page{})[0]), w.owner)
	pending.InviterID, l.CreatorID = ids.User{}, ids.User{}
	w.want(pending, "Invitation", pending.ID)
	w.want(l, "Link", l.ID)
	w.want((*team.Invitation)(nil), "Invitation", mine.ID)
	if left := w.call("ListJoinRequests", w.w, "", postgres.Page{})[0].([]team.JoinRequest); len(left) != 1 || left[0].UserID != w.owner {
		w.t.Errorf("requests that are left: %v", left)
	}
	w.want(1, "DeleteOfWorkspace", w.w)
	for _, table := range []string{"memberships", "roles", "invitations", "invitation_links", "join_requests", "departures"} {
		var count int
		if err := w.tx.NewRaw("SELECT count(*) FROM team."+table+" WHERE workspace_id = ?", w.w).Scan(w.t.Context(), &count); err != nil {
			w.t.Fatal(err)
		}
		if count != 0 {
			w.t.Errorf("team.%s keeps %d rows of a deleted workspace", table, count)
		}
	}
}
