package e2e

import (
	"fmt"
	"testing"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// belongs returns the role with which somebody belongs to a workspace; "" for none.
func (s *stage) belongs(t testing.TB, email, workspace string) string {
	t.Helper()
	var role string
	if err := s.SQL.QueryRow(t.Context(), `
		SELECT coalesce((SELECT m.role FROM team.memberships m JOIN identity.emails e USING (user_id)
		                 WHERE e.address_key = $1 AND m.workspace_id = $2 AND m.deactivate_time IS NULL), '')`,
		email, uuidOf(t, workspace)).Scan(&role); err != nil {
		t.Fatal(err)
	}
	return role
}

func TestADomainEnrolsWhoProvesAnAddressAndWasNotRemoved(t *testing.T) {
	t.Parallel()
	s, owner, d := newEnrolment(t, testkit.Options{}, "acme.com", automatic)
	workspace := owner.Workspace.Id
	requires := func(what, email, want string) {
		t.Helper()
		if got := s.belongs(t, email, workspace); got != want {
			t.Errorf("%s: the role is %q, want %q", what, got, want)
		}
	}
	// By registering: with a workspace of one's own.
	p := s.at(t, "ann@acme.com")
	requires("registered", p.Email, "member")
	if p.Workspace.Id == workspace || p.Membership.Role != "owner" {
		t.Errorf("their own workspace: %v", p.Workspace)
	}
	// By signing in, once somebody's domain enrols.
	if _, err := enroll(t, owner, d, off, "viewer"); err != nil {
		t.Fatal(err)
	}
	q := s.at(t, "bob@acme.com")
	requires("registered when nobody is enrolled", q.Email, "")
	if _, err := enroll(t, owner, d, automatic, ""); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		s.SignIn(t, q)
		requires("signed in", q.Email, "viewer")
	}
	// Several at once.
	r := s.at(t, "carl@acme.com")
	if err := s.forget(t, r.Email, workspace); err != nil {
		t.Fatal(err)
	}
	if got := atOnce(10, func(int) error {
		_, err := s.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: r.Email, Password: testkit.Password})
		return err
	}); got[""] != 10 {
		t.Errorf("signed in ten times at once: %v", got)
	}
	requires("signed in ten times at once", r.Email, "viewer")
	// Not while the address is not proven.
	s.at(t, "dora@acme.com")
	if err := s.forget(t, "dora@acme.com", workspace); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SQL.Exec(t.Context(), "UPDATE identity.emails SET verified_time = NULL WHERE address_key = 'dora@acme.com'"); err != nil {
		t.Fatal(err)
	}
	signIn(t, s.Server, "dora@acme.com", testkit.Password)
	requires("signed in with an address that is not proven", "dora@acme.com", "")

	// Not who was removed, or has left, with whatever address; until they are invited.
	for what, end := range map[string]func(p *testkit.Person, membership string) error{
		"removed": func(_ *testkit.Person, membership string) error { return removeMember(t, owner, membership) },
		"left":    func(p *testkit.Person, _ string) error { return leave(t, p, workspace) },
	} {
		p := s.at(t, what+"@acme.com")
		var id string
		list, err := owner.Memberships.ListMemberships(t.Context(), &teamv1.ListMembershipsRequest{WorkspaceId: workspace, Search: p.Email})
		if err != nil || len(list.Memberships) != 1 {
			t.Fatalf("ListMemberships = %v, %v", list, err)
		}
		id = list.Memberships[0].Id
		if err := end(p, id); err != nil {
			t.Fatal(err)
		}
		s.SignIn(t, p)
		requires("signed in, but "+what, p.Email, "")
		alias := what + "+again@acme.com"
		change, err := p.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: alias})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Users.ConfirmEmailChange(t.Context(), &identityv1.ConfirmEmailChangeRequest{EmailChangeId: change.EmailChangeId, Code: s.code(t, alias)}); err != nil {
			t.Fatal(err)
		}
		p.Email = alias
		s.SignIn(t, p)
		requires("signed in with another address, but "+what, alias, "")
		mustAccept(t, p, s.invite(t, owner, alias, "admin").token)
		requires(what+", and invited", alias, "admin")
	}
	// Nor who deleted their account and registered anew.
	if err := deleteSelf(t, q); err != nil {
		t.Fatal(err)
	}
	q = s.at(t, q.Email)
	requires("deleted and registered anew", q.Email, "")
	s.CheckInvariants(t)
}

// forget takes somebody out of a workspace as if they had never been in it.
func (s *stage) forget(t testing.TB, email, workspace string) error {
	t.Helper()
	_, err := s.SQL.Exec(t.Context(), `
		WITH gone AS (DELETE FROM team.memberships m USING identity.emails e
		              WHERE e.user_id = m.user_id AND e.address_key = $1 AND m.workspace_id = $2 RETURNING m.user_id)
		DELETE FROM audit.events e USING gone WHERE e.action = 'membership.created' AND e.workspace_id = $2 AND e.details ->> 'user_id' = $3`,
		email, uuidOf(t, workspace), userOf(t, s, email))
	s.CountSeats(t)
	return err
}

func userOf(t testing.TB, s *stage, email string) string {
	t.Helper()
	a, err := s.Store.Identity.Address(t.Context(), email)
	if err != nil || a == nil {
		t.Fatalf("%s: %v", email, err)
	}
	return a.UserID.String()
}

func TestEnrolmentAndApprovalRespectTheSeats(t *testing.T) {
	t.Parallel()
	s, owner, d := newEnrolment(t, testkit.Options{}, "acme.com", automatic)
	s.seats(t, 2, owner)
	workspace := owner.Workspace.Id
	s.at(t, "ann@acme.com")
	p := s.at(t, "bob@acme.com") // who registers all the same
	for email, want := range map[string]string{"ann@acme.com": "member", "bob@acme.com": ""} {
		if got := s.belongs(t, email, workspace); got != want {
			t.Errorf("%s: the role is %q, want %q", email, got, want)
		}
	}
	s.SignIn(t, p)
	if got := s.belongs(t, p.Email, workspace); got != "" {
		t.Errorf("signed in without a free seat: %q", got)
	}
	if _, err := enroll(t, owner, d, request, ""); err != nil {
		t.Fatal(err)
	}
	j, err := ask(t, p, workspace)
	if err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "approved without a free seat", "SEATS_EXHAUSTED", func() error { _, err := approve(t, owner, j, ""); return err })
	s.seats(t, 3, owner)
	inv := s.invite(t, owner, testkit.NewEmail(), "")
	s.refuses(t, "approved when the free seat is reserved", "SEATS_EXHAUSTED", func() error { _, err := approve(t, owner, j, ""); return err })
	if _, err := owner.Invitations.RevokeInvitation(t.Context(), &teamv1.RevokeInvitationRequest{WorkspaceId: workspace, InvitationId: inv.Id}); err != nil {
		t.Fatal(err)
	}
	if _, err := approve(t, owner, j, ""); err != nil {
		t.Errorf("approved with a free seat: %v", err)
	}
	// Many at once for one seat.
	s.seats(t, 4, owner)
	if _, err := enroll(t, owner, d, automatic, ""); err != nil {
		t.Fatal(err)
	}
	var pending []*authv1.VerifyRegistrationRequest
	for i := range 10 {
		email := fmt.Sprintf("crowd%d@acme.com", i)
		res, err := s.Client("").Registration.Register(t.Context(), newRegistration(email))
		if err != nil {
			t.Fatal(err)
		}
		pending = append(pending, &authv1.VerifyRegistrationRequest{RegistrationId: res.Registration.Id, Code: s.code(t, email)})
	}
	if got := atOnce(len(pending), func(i int) error {
		_, err := s.Client("").Registration.VerifyRegistration(t.Context(), pending[i])
		return err
	}); got[""] != 10 {
		t.Errorf("ten register at once: %v", got)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM team.memberships WHERE workspace_id = $1", uuidOf(t, workspace)); n != 4 {
		t.Errorf("%d members, want 4", n)
	}
	s.CheckInvariants(t)
}

// TestWhoNeverProvedAnAddressOfTheirOwnDomainCanRegisterAnew has the account that
// verified the domain be one whose address was never proven.
func TestWhoNeverProvedAnAddressOfTheirOwnDomainCanRegisterAnew(t *testing.T) {
	t.Parallel()
	s, owner, d := newEnrolment(t, testkit.Options{}, "acme.com", automatic)
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{Role: "admin"})
	if _, err := s.SQL.Exec(t.Context(), "UPDATE identity.emails SET address = 'ann@acme.com', address_key = 'ann@acme.com', verified_time = NULL"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.SQL.Exec(t.Context(), "UPDATE team.memberships SET address_key = 'ann@acme.com'"); err != nil {
		t.Fatal(err)
	}
	p := s.at(t, "ann@acme.com")
	if p.User.Id == owner.User.Id {
		t.Fatal("the account is the old one")
	}
	if got := s.belongs(t, p.Email, d.WorkspaceId); got != "owner" {
		t.Errorf("of the workspace that had verified the domain they are: %q, want owner", got)
	}
	if _, err := p.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: d.WorkspaceId}); err != nil {
		t.Errorf("UndeleteWorkspace: %v", err)
	}
	// Whoever had the account before does not come back by a link that they made.
	other := s.person(t)
	s.refuses(t, "the link of who had the account", "INVITATION_REVOKED", func() error { _, err := accept(t, other, link.Token); return err })
	s.CheckInvariants(t)
}
