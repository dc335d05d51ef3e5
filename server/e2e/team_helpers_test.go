package e2e

import (
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
)

// newTeam starts a server that sends no mail, and registers the owner of a
// workspace.
func newTeam(t *testing.T, o testkit.Options) (*stage, *testkit.Person) {
	t.Helper()
	o.WithoutJobs = true
	s := &stage{testkit.New(t, o)}
	return s, s.person(t)
}

// member registers somebody who belongs to another one's workspace, and acts there.
func (s *stage) member(t *testing.T, owner *testkit.Person, role string) *testkit.Person {
	t.Helper()
	p := s.person(t)
	s.admit(t, p, owner, role)
	return p
}

// admit makes somebody a member of another one's workspace, who acts there from
// then on.
func (s *stage) admit(t *testing.T, p, owner *testkit.Person, role string) {
	t.Helper()
	id := s.Join(t, p, owner.Workspace.Id, authz.Role(role))
	p.Workspace, p.Membership = owner.Workspace, memberOf(t, owner, id.String())
}

func memberOf(t testing.TB, p *testkit.Person, id string) *teamv1.Membership {
	t.Helper()
	res, err := p.Memberships.GetMembership(t.Context(), &teamv1.GetMembershipRequest{WorkspaceId: p.Workspace.Id, MembershipId: id})
	if err != nil {
		t.Fatalf("GetMembership: %v", err)
	}
	return res.Membership
}

// role makes a custom role of a workspace, and returns its id.
func roleOf(t testing.TB, p *testkit.Person, name string, permissions ...string) string {
	t.Helper()
	res, err := p.Roles.CreateRole(t.Context(), &teamv1.CreateRoleRequest{WorkspaceId: p.Workspace.Id, Name: name, Permissions: permissions})
	if err != nil {
		t.Fatalf("CreateRole: %v", err)
	}
	return res.Role.Id
}

// invited is an invitation with what was mailed.
type invited struct {
	*teamv1.Invitation
	token, code string
}

// invite invites an address.
func (s *stage) invite(t testing.TB, by *testkit.Person, email, role string) invited {
	t.Helper()
	res, err := by.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: by.Workspace.Id, Email: email, Role: role})
	if err != nil {
		t.Fatalf("CreateInvitation: %v", err)
	}
	return s.mailed(t, res.Invitation)
}

// mailed returns an invitation with what was mailed last to its address.
func (s *stage) mailed(t testing.TB, i *teamv1.Invitation) invited {
	t.Helper()
	list := s.queue(t, i.Email)
	if len(list) == 0 || list[0].Template != mail.Invitation {
		t.Fatalf("mailed to %s: %v, want an invitation", i.Email, list)
	}
	return invited{i, list[0].Data["token"], list[0].Data["code"]}
}

// queue returns the mails to an address that wait to be sent, the newest first.
func (s *stage) queue(t testing.TB, email string) []mail.Message {
	t.Helper()
	list, err := readQueue(t.Context(), s.Server, email, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// link makes a link, and returns it with its token.
func linkTo(t testing.TB, by *testkit.Person, req *teamv1.CreateInvitationLinkRequest) *teamv1.CreateInvitationLinkResponse {
	t.Helper()
	req.WorkspaceId = by.Workspace.Id
	res, err := by.Invitations.CreateInvitationLink(t.Context(), req)
	if err != nil {
		t.Fatalf("CreateInvitationLink: %v", err)
	}
	return res
}

func accept(t testing.TB, p *testkit.Person, token string) (*teamv1.Membership, error) {
	t.Helper()
	res, err := p.Invitations.AcceptInvitation(t.Context(), &teamv1.AcceptInvitationRequest{Token: token})
	return res.GetMembership(), err
}

func mustAccept(t testing.TB, p *testkit.Person, token string) *teamv1.Membership {
	t.Helper()
	m, err := accept(t, p, token)
	if err != nil {
		t.Fatalf("AcceptInvitation: %v", err)
	}
	return m
}

// enter registers with an invitation's token.
func (s *stage) enter(t testing.TB, token string) (*teamv1.RegisterWithInvitationResponse, error) {
	t.Helper()
	return s.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{Token: token, Password: testkit.Password})
}

func removeMember(t testing.TB, by *testkit.Person, membership string) error {
	t.Helper()
	_, err := by.Memberships.RemoveMembership(t.Context(), &teamv1.RemoveMembershipRequest{WorkspaceId: by.Workspace.Id, MembershipId: membership})
	return err
}

func setRole(t testing.TB, by *testkit.Person, membership, role string) error {
	t.Helper()
	_, err := by.Memberships.UpdateMembership(t.Context(), &teamv1.UpdateMembershipRequest{WorkspaceId: by.Workspace.Id, MembershipId: membership, Role: role})
	return err
}

func deactivate(t testing.TB, by *testkit.Person, membership string) error {
	t.Helper()
	_, err := by.Memberships.DeactivateMembership(t.Context(), &teamv1.DeactivateMembershipRequest{WorkspaceId: by.Workspace.Id, MembershipId: membership})
	return err
}

func reactivate(t testing.TB, by *testkit.Person, membership string) error {
	t.Helper()
	_, err := by.Memberships.ReactivateMembership(t.Context(), &teamv1.ReactivateMembershipRequest{WorkspaceId: by.Workspace.Id, MembershipId: membership})
	return err
}

func leave(t testing.TB, p *testkit.Person, workspace string) error {
	t.Helper()
	_, err := p.Memberships.LeaveWorkspace(t.Context(), &teamv1.LeaveWorkspaceRequest{WorkspaceId: workspace})
	return err
}

// sees returns why somebody cannot see their workspace; "" when they can.
func sees(t testing.TB, p *testkit.Person) string {
	t.Helper()
	_, err := get(t, p, p.Workspace.Id)
	return reasonOf(err)
}

// codes are those that go with the reasons of the team's methods.
var codes = map[string]connect.Code{
	"EMAIL_TAKEN": connect.CodeAlreadyExists, "ALREADY_MEMBER": connect.CodeAlreadyExists, "ROLE_NAME_TAKEN": connect.CodeAlreadyExists,
	"ROLE_NOT_GRANTABLE": connect.CodePermissionDenied, "PERMISSION_MISSING": connect.CodePermissionDenied,
	"PERMISSION_NOT_GRANTABLE": connect.CodePermissionDenied, "API_KEY_NOT_ALLOWED": connect.CodePermissionDenied,
	"SERVICE_ACCOUNT_NAME_TAKEN": connect.CodeAlreadyExists,
	"SEATS_EXHAUSTED":            connect.CodeResourceExhausted, "RATE_LIMITED": connect.CodeResourceExhausted,
	"NOT_FOUND": connect.CodeNotFound, "FIELD_INVALID": connect.CodeInvalidArgument, "PASSWORD_LENGTH": connect.CodeInvalidArgument, "SESSION_REQUIRED": connect.CodeUnauthenticated,
	"ETAG_MISMATCH": connect.CodeAborted, "INTERNAL": connect.CodeInternal,
}

// because checks that a call was refused for a reason: by default with the code
// failed_precondition. The reason "" is that it was not.
func because(t testing.TB, what string, err error, reason string) {
	t.Helper()
	code, special := codes[reason]
	if !special {
		code = connect.CodeFailedPrecondition
	}
	if got := reasonOf(err); got != reason || reason != "" && connect.CodeOf(err) != code {
		t.Errorf("%s: %q (%v), want %q (%v)", what, got, err, reason, code)
	}
}

// refuses checks that a call is refused for a reason, and uses nothing up: nothing
// in the database changes, but the times at which sessions were used.
func (s *stage) refuses(t *testing.T, what, reason string, call func() error) {
	t.Helper()
	look := func() map[string]content {
		all := s.contents(t)
		all["auth.sessions"] = content{Rows: all["auth.sessions"].Rows}
		return all
	}
	before := look()
	because(t, what, call(), reason)
	if diff := cmp.Diff(before, look()); diff != "" {
		t.Errorf("%s: the call was refused, and left something (-before +after):\n%s", what, diff)
	}
}

// stateOf returns the state of an invitation.
func (s *stage) stateOf(t testing.TB, i *teamv1.Invitation) (state string) {
	t.Helper()
	if err := s.SQL.QueryRow(t.Context(), "SELECT state FROM team.invitations WHERE id = $1", uuidOf(t, i.Id)).Scan(&state); err != nil {
		t.Fatal(err)
	}
	return state
}

// eventAfter returns the one event that a call leaves in the log of a workspace,
// since no other transaction is at work.
func (s *stage) eventAfter(t testing.TB, owner *testkit.Person, call func() error) *auditv1.Event {
	t.Helper()
	events := func() []*auditv1.Event {
		res, err := owner.Events.ListEvents(t.Context(), &auditv1.ListEventsRequest{WorkspaceId: owner.Workspace.Id, PageSize: 200})
		if err != nil {
			t.Fatal(err)
		}
		return res.Events
	}
	stored := func() int {
		return count(t, s.Server, "SELECT count(*) FROM audit.events WHERE workspace_id = $1", uuidOf(t, owner.Workspace.Id))
	}
	before := stored()
	if err := call(); err != nil {
		t.Fatal(err)
	}
	if n := stored() - before; n != 1 {
		t.Fatalf("the call left %d events, want 1", n)
	}
	var newest *auditv1.Event
	testkit.Eventually(t, "the event", func() bool {
		list := events()
		if len(list) != before+1 {
			return false
		}
		newest = list[0]
		return true
	})
	return newest
}

// seats limits the seats of people's workspaces, as an operator does.
func (s *stage) seats(t *testing.T, limit int, owners ...*testkit.Person) {
	t.Helper()
	for _, owner := range owners {
		if _, err := s.SQL.Exec(t.Context(), `
			INSERT INTO billing.overrides (workspace_id, feature, value, reason, create_time)
			VALUES ($1, 'seats', jsonb_build_object('limit', jsonb_build_object('value', $2::bigint)), 'test', now())
			ON CONFLICT (workspace_id, feature) DO UPDATE SET value = EXCLUDED.value`, uuidOf(t, owner.Workspace.Id), limit); err != nil {
			t.Fatal(err)
		}
	}
}
