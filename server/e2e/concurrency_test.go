package e2e

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/testkit"
)

// reasonOf returns why a call failed: "" when it did not, and its code when it
// gave no reason.
func reasonOf(err error) string {
	if err == nil {
		return ""
	}
	if r := client.Reason(err); r != 0 {
		return strings.TrimPrefix(r.String(), "REASON_")
	}
	return connect.CodeOf(err).String()
}

// atOnce runs n functions that start together, and counts the reasons of their
// errors; "" counts those who succeeded.
func atOnce(n int, do func(i int) error) map[string]int {
	reasons := make([]string, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			reasons[i] = reasonOf(do(i))
		})
	}
	close(start)
	wg.Wait()
	counts := map[string]int{}
	for _, r := range reasons {
		counts[r]++
	}
	return counts
}

// count returns the one number that a query gives.
func count(t testing.TB, srv *testkit.Server, query string, args ...any) (n int) {
	t.Helper()
	if err := srv.SQL.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// waiting returns how many calls wait for a lock of the database.
func waiting(t testing.TB, srv *testkit.Server) int {
	t.Helper()
	return count(t, srv, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
}

// whileItWaits holds a row until a call waits for it, changes something of another one
// (or of the same), and returns what becomes of the call.
func whileItWaits(t testing.TB, srv *testkit.Server, table, row string, call func() error, change, of string) error {
	t.Helper()
	hold, err := srv.SQL.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := hold.Exec(t.Context(), "SELECT FROM "+table+" WHERE id = $1 FOR UPDATE", uuidOf(t, row)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- call() }()
	testkit.Eventually(t, "the call to wait for "+table, func() bool { return waiting(t, srv) > 0 })
	if _, err := hold.Exec(t.Context(), change, uuidOf(t, of)); err != nil {
		t.Fatal(err)
	}
	if err := hold.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return <-done
}

// TestDeletionAgainstThoseWhoComeAndGo deletes and purges a workspace while
// people join it, and while its members make workspaces of their own: whoever has
// another workspace when the purge commits stays, and nobody is half gone.
func TestDeletionAgainstThoseWhoComeAndGo(t *testing.T) {
	t.Parallel()
	const members = 4
	srv := quick(t)
	outcomes := map[string]int{}
	for range sized(40) {
		owner := newPerson(t, srv)
		var sole, coming []*testkit.Person
		for i := range 2 * members {
			p := newPerson(t, srv)
			if i%2 == 0 {
				coming = append(coming, p)
				continue
			}
			// A member of this workspace alone.
			if _, err := srv.SQL.Exec(t.Context(), "UPDATE team.memberships SET role = 'owner' WHERE id = $1", uuidOf(t, p.Membership.Id)); err != nil {
				t.Fatal(err)
			}
			makeSole(t, srv, p, owner.Workspace.Id)
			sole = append(sole, p)
		}
		preview, err := owner.Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: owner.Workspace.Id})
		if err != nil {
			t.Fatal(err)
		}
		created := make([]*tenantv1.Workspace, members)
		deleted := atOnce(3*members, func(i int) error {
			p := i / 3
			switch i % 3 {
			case 0:
				return joinNow(t.Context(), srv, coming[p], owner.Workspace.Id)
			case 1:
				res, err := sole[p].Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Mine"})
				if err == nil {
					created[p] = res.Workspace
				}
				return err
			default:
				_, err := owner.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: owner.Workspace.Id, Etag: preview.Etag})
				return err
			}
		})
		add(outcomes, "delete: ", deleted)

		// Whoever came first, the workspace goes now.
		if preview, err = owner.Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: owner.Workspace.Id}); err != nil {
			t.Fatal(err)
		}
		_, err = owner.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: owner.Workspace.Id, Etag: preview.Etag})
		if r := reasonOf(err); r != "" && r != "WORKSPACE_DELETED" {
			t.Fatalf("DeleteWorkspace: %v", err)
		}
		// The sessions of who belongs to nothing else have ended: they sign in.
		var left []*testkit.Person
		for i, p := range sole {
			if created[i] == nil {
				srv.SignIn(t, p)
				left = append(left, p)
			}
		}
		left = append(left, owner)
		late := make([]*tenantv1.Workspace, len(left))
		purged := atOnce(len(left)+members+1, func(i int) error {
			switch {
			case i < len(left):
				res, err := left[i].Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Late"})
				if err == nil {
					late[i] = res.Workspace
				}
				return err
			case i < len(left)+members:
				return joinNow(t.Context(), srv, coming[i-len(left)], owner.Workspace.Id)
			}
			for try := 0; ; try++ { // those who leave change the set
				preview, err := owner.Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: owner.Workspace.Id})
				if err == nil {
					_, err = owner.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: owner.Workspace.Id, Etag: preview.Etag})
				}
				if reasonOf(err) != "ETAG_MISMATCH" || try == 20 {
					return err
				}
			}
		})
		add(outcomes, "purge: ", purged)
		if n := count(t, srv, "SELECT count(*) FROM tenant.workspaces WHERE id = $1", uuidOf(t, owner.Workspace.Id)); n != 0 {
			t.Fatal("the workspace was not purged")
		}
		var gone []string
		for i, p := range left {
			n := count(t, srv, "SELECT count(*) FROM identity.users WHERE id = $1", uuidOf(t, p.User.Id))
			if want := late[i] != nil; (n == 1) != want {
				t.Errorf("who made a workspace (%v) at the time of the purge: %d users", want, n)
			}
			if n == 0 {
				gone = append(gone, p.User.Id)
			}
		}
		srv.CheckPurged(t, owner.Workspace.Id, gone...)
	}
	t.Log(outcomes)
	allowed(t, outcomes, "", "ETAG_MISMATCH", "WORKSPACE_DELETED", "SESSION_REQUIRED", "NOT_FOUND")
	srv.CheckInvariants(t)
	checkLog(t, srv, testkit.Password)
}

// makeSole makes a person, who owned a workspace, a member of another one alone.
func makeSole(t *testing.T, srv *testkit.Server, p *testkit.Person, workspace string) {
	t.Helper()
	preview, err := p.Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id})
	if err != nil {
		t.Fatal(err)
	}
	srv.Join(t, p, workspace, authz.Member)
	for _, call := range []func(etag string) error{
		func(string) (err error) {
			preview, err = p.Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id})
			return err
		},
		func(etag string) error {
			_, err := p.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: etag})
			return err
		},
		func(etag string) error {
			_, err := p.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: etag})
			return err
		},
	} {
		if err := call(preview.Etag); err != nil {
			t.Fatal(err)
		}
	}
}

// joinNow makes a person a member of a workspace, if both are still there.
func joinNow(ctx context.Context, srv *testkit.Server, p *testkit.Person, workspace string) error {
	_, err := srv.TryJoin(ctx, p.User.Id, workspace, authz.Member)
	return err
}

func add(total map[string]int, what string, counts map[string]int) {
	for reason, n := range counts {
		total[what+reason] += n
	}
}

// allowed checks that nothing but these reasons was met, after whatever colon.
func allowed(t testing.TB, outcomes map[string]int, reasons ...string) {
	t.Helper()
	for _, outcome := range slices.Sorted(maps.Keys(outcomes)) {
		_, reason, _ := strings.Cut(outcome, ": ")
		if !slices.Contains(reasons, reason) {
			t.Errorf("%d times %q", outcomes[outcome], outcome)
		}
	}
}
