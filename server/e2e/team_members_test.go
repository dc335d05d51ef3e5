package e2e

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// TestAChangeOfATeamHoldsOnEveryReplicaFromTheNextCallOn makes each change on one of
// two servers, and calls the other one, which has just answered otherwise.
func TestAChangeOfATeamHoldsOnEveryReplicaFromTheNextCallOn(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	two := replica(t, s.Server)
	role := roleOf(t, owner, "Custom", "workspace.get", "invitation.list")
	change := func(permissions ...string) func(*testkit.Person) error {
		return func(*testkit.Person) error {
			_, err := owner.Roles.UpdateRole(t.Context(), &teamv1.UpdateRoleRequest{WorkspaceId: owner.Workspace.Id, RoleId: role, Permissions: permissions})
			return err
		}
	}
	as := func(p *testkit.Person, role string) error { return setRole(t, owner, p.Membership.Id, role) }
	type step struct {
		do        func(p *testkit.Person) error
		see, list string // why they cannot see the workspace, and its invitations; "" when they can
	}
	for what, steps := range map[string][]step{
		"removal": {{func(p *testkit.Person) error { return removeMember(t, owner, p.Membership.Id) }, "NOT_FOUND", "NOT_FOUND"}},
		"leaving": {{func(p *testkit.Person) error { return leave(t, p, owner.Workspace.Id) }, "NOT_FOUND", "NOT_FOUND"}},
		"deactivation and reactivation": {
			{func(p *testkit.Person) error { return deactivate(t, owner, p.Membership.Id) }, "NOT_FOUND", "NOT_FOUND"},
			{func(p *testkit.Person) error { return reactivate(t, owner, p.Membership.Id) }, "", ""},
		},
		"another role": {
			{func(p *testkit.Person) error { return as(p, "viewer") }, "", "PERMISSION_MISSING"},
			{func(p *testkit.Person) error { return as(p, "admin") }, "", ""},
		},
		"other permissions of the role": {
			{func(p *testkit.Person) error { return as(p, role) }, "", ""},
			{change("workspace.get"), "", "PERMISSION_MISSING"},
			{change("invitation.list"), "PERMISSION_MISSING", ""},
			{change("workspace.get", "invitation.list"), "", ""},
			{func(*testkit.Person) error {
				_, err := owner.Roles.DeleteRole(t.Context(), &teamv1.DeleteRoleRequest{WorkspaceId: owner.Workspace.Id, RoleId: role, ReplacementRole: "viewer"})
				return err
			}, "", "PERMISSION_MISSING"},
		},
	} {
		p := s.member(t, owner, "admin")
		look := func(see, list string) {
			t.Helper()
			for where, srv := range map[string]*testkit.Server{"the replica": two, "the server itself": s.Server} {
				there := &testkit.Person{Client: srv.Client("", client.WithSession(p.Token)), Workspace: p.Workspace}
				if got := sees(t, there); got != see {
					t.Errorf("%s: on %s they see: %q, want %q", what, where, got, see)
				}
				_, err := there.Invitations.ListInvitations(t.Context(), &teamv1.ListInvitationsRequest{WorkspaceId: p.Workspace.Id})
				because(t, what+": the invitations, on "+where, err, list)
				allowed, err := there.Authorization.CheckPermission(t.Context(), &teamv1.CheckPermissionRequest{
					WorkspaceId: p.Workspace.Id, Permission: "invitation.list",
				})
				if err != nil || allowed.Allowed != (list == "") {
					t.Errorf("%s: CheckPermission, on %s = %v, %v", what, where, allowed, err)
				}
			}
		}
		look("", "")
		for _, step := range steps {
			if err := step.do(p); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			look(step.see, step.list)
		}
	}
	s.CheckInvariants(t)
}

func TestTheLastActiveOwnerStays(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	idle, admin := s.member(t, owner, "owner"), s.member(t, owner, "admin")
	own := owner.Membership.Id
	if err := deactivate(t, owner, idle.Membership.Id); err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func() error{
		"demoted": func() error { return setRole(t, owner, own, "admin") },
		"removed": func() error { return removeMember(t, owner, own) },
		"leaving": func() error { return leave(t, owner, owner.Workspace.Id) },
	} {
		s.refuses(t, "the last active owner "+what, "OWNER_REQUIRED", call)
	}
	s.refuses(t, "the last active owner, deactivated by themselves", "FIELD_INVALID", func() error { return deactivate(t, owner, own) })
	// A deactivated owner may be taken away, and may leave.
	if err := setRole(t, owner, idle.Membership.Id, "viewer"); err != nil {
		t.Errorf("demote a deactivated owner: %v", err)
	}
	if err := leave(t, idle, owner.Workspace.Id); err != nil {
		t.Errorf("a deactivated member leaves: %v", err)
	}
	if err := setRole(t, owner, admin.Membership.Id, "owner"); err != nil {
		t.Fatal(err)
	}
	if err := deactivate(t, admin, own); err != nil {
		t.Errorf("one of two owners, deactivated by the other: %v", err)
	}
	s.refuses(t, "now the last one, leaving", "OWNER_REQUIRED", func() error { return leave(t, admin, owner.Workspace.Id) })
	s.CheckInvariants(t)
}

func TestOwnershipIsTransferredAtOnce(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	second, heir, idle := s.member(t, owner, "owner"), s.member(t, owner, "viewer"), s.member(t, owner, "admin")
	if err := deactivate(t, owner, idle.Membership.Id); err != nil {
		t.Fatal(err)
	}
	transfer := func(p *testkit.Person, to, role string) (*teamv1.TransferOwnershipResponse, error) {
		return p.Memberships.TransferOwnership(t.Context(), &teamv1.TransferOwnershipRequest{WorkspaceId: p.Workspace.Id, MembershipId: to, OwnRole: role})
	}
	for what, c := range map[string]struct{ to, role, reason string }{
		"to themselves":            {owner.Membership.Id, "", "FIELD_INVALID"},
		"to who is deactivated":    {idle.Membership.Id, "", "MEMBERSHIP_DEACTIVATED"},
		"to remain an owner":       {heir.Membership.Id, "owner", "FIELD_INVALID"},
		"with a role of nowhere":   {heir.Membership.Id, "rol_01m84xh61aee3v97y61598j6kb", "FIELD_INVALID"},
		"to a member of nowhere":   {"mem_01m84xh61aee3v97y61598j6kb", "", "NOT_FOUND"},
		"to a member of elsewhere": {s.person(t).Membership.Id, "", "NOT_FOUND"},
	} {
		s.refuses(t, what, c.reason, func() error { _, err := transfer(owner, c.to, c.role); return err })
	}
	high, low := s.invite(t, owner, testkit.NewEmail(), "owner"), s.invite(t, owner, testkit.NewEmail(), "admin")
	s.Clock.Advance(s.Settings.ReauthenticationAge + time.Second)
	s.refuses(t, "long after signing in", "REAUTHENTICATION_REQUIRED", func() error { _, err := transfer(owner, heir.Membership.Id, ""); return err })
	res, err := owner.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: testkit.Password})
	if err != nil {
		t.Fatal(err)
	}
	owner.Token = res.SessionToken
	owner.Client = s.Client("", client.WithSession(owner.Token))
	got, err := transfer(owner, heir.Membership.Id, "")
	if err != nil || got.Owner.Role != "owner" || got.Owner.Id != heir.Membership.Id || got.Caller.Role != "admin" || got.Caller.Id != owner.Membership.Id {
		t.Fatalf("TransferOwnership = %v, %v", got, err)
	}
	if m := memberOf(t, heir, second.Membership.Id); m.Role != "owner" {
		t.Errorf("the other owner is: %v", m)
	}
	s.refuses(t, "by who was the owner", "PERMISSION_MISSING", func() error { _, err := transfer(owner, second.Membership.Id, ""); return err })
	s.refuses(t, "their invitation of an owner", "INVITATION_REVOKED", func() error { _, err := s.enter(t, high.token); return err })
	if _, err := s.enter(t, low.token); err != nil {
		t.Errorf("their invitation of an admin: %v", err)
	}
	s.CheckInvariants(t)
}

// TestOfTwoOwnersAtOnceOneStays has the two owners of a workspace take each other or
// themselves away at the same time, again and again. One of them succeeds, and one of
// them is left.
func TestOfTwoOwnersAtOnceOneStays(t *testing.T) {
	t.Parallel()
	teams, rounds := 4, sized(250)
	s := newStage(t, nil)
	type pair [2]*testkit.Person
	ways := map[string]func(p pair, i int) error{
		"demote each other":     func(p pair, i int) error { return setRole(t, p[i], p[1-i].Membership.Id, "admin") },
		"demote themselves":     func(p pair, i int) error { return setRole(t, p[i], p[i].Membership.Id, "viewer") },
		"deactivate each other": func(p pair, i int) error { return deactivate(t, p[i], p[1-i].Membership.Id) },
		"remove each other":     func(p pair, i int) error { return removeMember(t, p[i], p[1-i].Membership.Id) },
		"remove themselves":     func(p pair, i int) error { return removeMember(t, p[i], p[i].Membership.Id) },
		"leave":                 func(p pair, i int) error { return leave(t, p[i], p[i].Workspace.Id) },
		"one leaves, the other is demoted by themselves": func(p pair, i int) error {
			if i == 0 {
				return leave(t, p[0], p[0].Workspace.Id)
			}
			return setRole(t, p[1], p[1].Membership.Id, "member")
		},
		"one leaves, and deactivates the other": func(p pair, i int) error {
			if i == 0 {
				return leave(t, p[0], p[0].Workspace.Id)
			}
			return deactivate(t, p[0], p[1].Membership.Id)
		},
	}
	var names []string
	for name := range ways {
		names = append(names, name)
	}
	var all []pair
	for range teams {
		first := s.person(t)
		all = append(all, pair{first, s.member(t, first, "owner")})
	}
	const columns = "id, workspace_id, user_id, role, version, create_time, update_time, name_key, address_key, terms"
	if _, err := s.SQL.Exec(t.Context(), "CREATE TABLE owners_before AS SELECT "+columns+" FROM team.memberships"); err != nil {
		t.Fatal(err)
	}
	outcomes := make([]map[string]int, teams)
	var workers sync.WaitGroup
	for n, p := range all {
		outcomes[n] = map[string]int{}
		workers.Go(func() {
			workspace := uuidOf(t, p[0].Workspace.Id)
			for round := range rounds {
				name := names[(round+n)%len(names)]
				got := atOnce(2, func(i int) error { return ways[name](p, i) })
				add(outcomes[n], name+": ", got)
				left := count(t, s.Server, "SELECT count(*) FROM team.memberships WHERE workspace_id = $1 AND role = 'owner' AND deactivate_time IS NULL", workspace)
				if left != 1 || got[""] != 1 {
					t.Errorf("%s: %v, and %d owners are left", name, got, left)
					return
				}
				if _, err := s.SQL.Exec(t.Context(), `
					INSERT INTO team.memberships (`+columns+`) SELECT `+columns+` FROM owners_before WHERE workspace_id = $1
					ON CONFLICT (id) DO UPDATE SET role = EXCLUDED.role, deactivate_time = NULL`, workspace); err != nil {
					t.Error(err)
					return
				}
				if _, err := s.SQL.Exec(t.Context(), "UPDATE billing.subscriptions SET seats = 2 WHERE workspace_id = $1", workspace); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	total := map[string]int{}
	for _, o := range outcomes {
		add(total, "", o)
	}
	t.Log(total)
	allowed(t, total, "", "OWNER_REQUIRED", "NOT_FOUND", "ROLE_NOT_GRANTABLE", "PERMISSION_MISSING")
	checkLog(t, s.Server, testkit.Password)
}

// TestTheDatabaseKeepsAnActiveOwner takes each of two owners away in a transaction of
// its own, in SQL: one of the two cannot commit, at any level of isolation.
func TestTheDatabaseKeepsAnActiveOwner(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	ways := map[string]string{
		"deactivate": "UPDATE team.memberships SET deactivate_time = now() WHERE id = $1",
		"demote":     "UPDATE team.memberships SET role = 'admin' WHERE id = $1",
		"delete":     "DELETE FROM team.memberships WHERE id = $1",
	}
	for _, level := range []pgx.TxIsoLevel{pgx.ReadCommitted, pgx.RepeatableRead, pgx.Serializable} {
		for first, one := range ways {
			for second, two := range ways {
				if second < first || first == "delete" && second == "delete" {
					continue // the same the other way round, or in TestTwoOwnersCannotBothLeave
				}
				p := s.person(t)
				other := s.member(t, p, "owner")
				idle := s.member(t, p, "owner")
				if _, err := s.SQL.Exec(t.Context(), ways["deactivate"], uuidOf(t, idle.Membership.Id)); err != nil {
					t.Fatal(err)
				}
				statements := []string{one, two}
				targets := []string{p.Membership.Id, other.Membership.Id}
				var open []pgx.Tx
				for i := range targets {
					tx, err := s.SQL.BeginTx(t.Context(), pgx.TxOptions{IsoLevel: level})
					if err != nil {
						t.Fatal(err)
					}
					if _, err := tx.Exec(t.Context(), statements[i], uuidOf(t, targets[i])); err != nil {
						t.Fatal(err)
					}
					open = append(open, tx)
				}
				onlyOneCommits(t, fmt.Sprintf("%s, %s and %s", level, first, second), open, true)
				if n := count(t, s.Server, "SELECT count(*) FROM team.memberships WHERE workspace_id = $1 AND role = 'owner' AND deactivate_time IS NULL",
					uuidOf(t, p.Workspace.Id)); n != 1 {
					t.Errorf("%s, %s and %s: %d active owners are left", level, first, second, n)
				}
			}
		}
	}
}

// TestMembersAreFoundByTheirUsers: names for the ids in events, for example. Who is no
// member is not found, whoever they are.
func TestMembersAreFoundByTheirUsers(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	ann, bob, stranger := s.member(t, owner, "admin"), s.member(t, owner, "viewer"), s.person(t)
	s.member(t, owner, "member")
	list := func(req *teamv1.ListMembershipsRequest) (users []string) {
		t.Helper()
		req.WorkspaceId, req.PageSize = owner.Workspace.Id, 1
		for {
			res, err := owner.Memberships.ListMemberships(t.Context(), req)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range res.Memberships {
				users = append(users, m.UserId)
			}
			if req.PageToken = res.NextPageToken; req.PageToken == "" {
				return users
			}
		}
	}
	asked := []string{bob.User.Id, stranger.User.Id, ann.User.Id, bob.User.Id}
	if diff := cmp.Diff([]string{ann.User.Id, bob.User.Id}, list(&teamv1.ListMembershipsRequest{UserIds: asked})); diff != "" {
		t.Errorf("by their users (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{bob.User.Id}, list(&teamv1.ListMembershipsRequest{UserIds: asked, Role: "viewer"})); diff != "" {
		t.Errorf("viewers by their users (-want +got):\n%s", diff)
	}
	if found := list(&teamv1.ListMembershipsRequest{UserIds: []string{stranger.User.Id}}); len(found) > 0 {
		t.Errorf("found %v by the user of another workspace", found)
	}
	first, err := owner.Memberships.ListMemberships(t.Context(), &teamv1.ListMembershipsRequest{WorkspaceId: owner.Workspace.Id, PageSize: 1, UserIds: asked})
	if err != nil {
		t.Fatal(err)
	}
	for field, req := range map[string]*teamv1.ListMembershipsRequest{
		"page_token": {PageToken: first.NextPageToken, UserIds: asked[:1]},
		"user_ids":   {UserIds: []string{"usr_"}},
	} {
		req.WorkspaceId = owner.Workspace.Id
		if _, err := owner.Memberships.ListMemberships(t.Context(), req); connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("wrong %s: %v, want invalid_argument", field, err)
		}
	}
}
