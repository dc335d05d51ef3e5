package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/logicspike/manager/client"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

const (
	stepRegister = teamv1.InvitationStep_INVITATION_STEP_REGISTER
	stepSignIn   = teamv1.InvitationStep_INVITATION_STEP_SIGN_IN
	stepAccept   = teamv1.InvitationStep_INVITATION_STEP_ACCEPT
	stepSwitch   = teamv1.InvitationStep_INVITATION_STEP_SWITCH_ACCOUNT
	stepRenewal  = teamv1.InvitationStep_INVITATION_STEP_REQUEST_RENEWAL
	stepNone     = teamv1.InvitationStep_INVITATION_STEP_NONE
)

// requireStep checks what a token says is to be done next.
func requireStep(t testing.TB, what string, c *client.Client, token string, want teamv1.InvitationStep) *teamv1.GetInvitationByTokenResponse {
	t.Helper()
	res, err := c.Invitations.GetInvitationByToken(t.Context(), &teamv1.GetInvitationByTokenRequest{Token: token})
	if err != nil || res.NextStep != want {
		t.Errorf("%s: GetInvitationByToken = %v, %v, want %v", what, res, err, want)
	}
	return res
}

func TestAnInvitationMakesAnAccountAndNothingElse(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	email := testkit.NewEmail()
	inv := s.invite(t, owner, email, "viewer")
	if inv.State != teamv1.InvitationState_INVITATION_STATE_PENDING || inv.InviterId != owner.User.Id || inv.Email != email || inv.Role != "viewer" {
		t.Errorf("the invitation: %v", inv)
	}
	if got := inv.ExpireTime.AsTime().Sub(inv.CreateTime.AsTime()); got != 7*24*time.Hour {
		t.Errorf("it can be used for %v by default, want 7 days", got)
	}

	// Whoever opens the link, and be it a scanner of mails, uses nothing up.
	before := s.contents(t)
	for range 20 {
		res := requireStep(t, "before", s.Client(""), inv.token, stepRegister)
		if i := res.GetInvitation(); i.GetWorkspaceName() != owner.Workspace.Name || i.GetInviterName() != owner.User.DisplayName ||
			i.GetRole() != "viewer" || i.GetRoleName() != "viewer" || i.GetId() != inv.Id || res.GetMaskedEmail() != email[:1]+"***@example.com" {
			t.Fatalf("what the token shows: %v", res)
		}
	}
	s.requireContents(t, before)

	res, err := s.enter(t, inv.token)
	if err != nil || res.RegistrationId != "" || res.Membership.GetRole() != "viewer" || res.Membership.GetWorkspaceId() != owner.Workspace.Id {
		t.Fatalf("RegisterWithInvitation = %v, %v", res, err)
	}
	after := s.contents(t)
	grown := map[string]int{}
	for table := range after {
		if n := after[table].Rows - before[table].Rows; n != 0 {
			grown[table] = n
		}
	}
	// No mail, no workspace, no second event of the workspace.
	if diff := cmp.Diff(map[string]int{
		"identity.users": 1, "identity.emails": 1, "auth.credentials": 1, "auth.sessions": 1, "auth.registrations": 1, "auth.devices": 1,
		"team.memberships": 1, "audit.events": 2,
	}, grown); diff != "" {
		t.Errorf("what was made (-want +got):\n%s", diff)
	}
	me := s.Client("", client.WithSession(res.SessionToken))
	user, err := me.Users.GetMe(t.Context(), &identityv1.GetMeRequest{})
	if err != nil || !user.User.EmailVerified || user.User.Email != email || user.User.Id != res.UserId || user.User.DisplayName != strings.TrimSuffix(email, "@example.com") {
		t.Errorf("GetMe = %v, %v", user, err)
	}
	workspaces, err := me.Workspaces.ListWorkspaces(t.Context(), &tenantv1.ListWorkspacesRequest{})
	if err != nil || len(workspaces.Workspaces) != 1 || workspaces.Workspaces[0].Workspace.Id != owner.Workspace.Id {
		t.Errorf("ListWorkspaces = %v, %v", workspaces, err)
	}
	signIn(t, s.Server, email, testkit.Password)
	requireStep(t, "after", s.Client(""), inv.token, stepNone)
	s.refuses(t, "used twice", "INVITATION_USED", func() error { _, err := s.enter(t, inv.token); return err })
	s.CheckInvariants(t)
	checkLog(t, s.Server, inv.token, res.SessionToken, testkit.Password)
}

func TestAnAccountAcceptsByTokenAndByID(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	p, other := s.person(t), s.person(t)
	inv := s.invite(t, owner, p.Email, "")
	requireStep(t, "without a session", s.Client(""), inv.token, stepSignIn)
	requireStep(t, "with the session of another", other.Client, inv.token, stepSwitch)
	requireStep(t, "with their session", p.Client, inv.token, stepAccept)
	m := mustAccept(t, p, inv.token)
	if m.Role != "member" || m.UserId != p.User.Id || m.WorkspaceId != owner.Workspace.Id || m.Email != p.Email || m.DisplayName != p.User.DisplayName {
		t.Errorf("the membership: %v", m)
	}
	again := mustAccept(t, p, inv.token)
	if diff := cmp.Diff(m, again, protocmp.Transform()); diff != "" {
		t.Errorf("repeated it answers otherwise:\n%s", diff)
	}
	if _, err := get(t, p, owner.Workspace.Id); err != nil {
		t.Errorf("the member's first call: %v", err)
	}

	// A second workspace: by the id that the list has.
	second := s.person(t)
	inv = s.invite(t, second, strings.ToUpper(p.Email), "admin")
	list, err := p.Invitations.ListReceivedInvitations(t.Context(), &teamv1.ListReceivedInvitationsRequest{})
	if err != nil || len(list.Invitations) != 1 || list.Invitations[0].Id != inv.Id || list.Invitations[0].WorkspaceName != second.Workspace.Name {
		t.Fatalf("ListReceivedInvitations = %v, %v", list, err)
	}
	if list, err := other.Invitations.ListReceivedInvitations(t.Context(), &teamv1.ListReceivedInvitationsRequest{}); err != nil || len(list.Invitations) != 0 {
		t.Errorf("another one's list: %v, %v", list, err)
	}
	byID := &teamv1.AcceptInvitationRequest{InvitationId: inv.Id}
	s.refuses(t, "by id by another", "NOT_FOUND", func() error { _, err := other.Invitations.AcceptInvitation(t.Context(), byID); return err })
	for range 2 {
		res, err := p.Invitations.AcceptInvitation(t.Context(), byID)
		if err != nil || res.Membership.Role != "admin" || res.Membership.WorkspaceId != second.Workspace.Id {
			t.Errorf("by id: %v, %v", res, err)
		}
	}
	if list, err := p.Invitations.ListReceivedInvitations(t.Context(), &teamv1.ListReceivedInvitationsRequest{}); err != nil || len(list.Invitations) != 0 {
		t.Errorf("afterwards the list has: %v, %v", list, err)
	}
	s.CheckInvariants(t)
}

func TestFiveWrongCodesKillTheCodeAndNotTheLink(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	byCode := func(email, code string) error {
		_, err := s.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{
			Email: email, Code: code, Password: testkit.Password,
		})
		return err
	}
	inv := s.invite(t, owner, testkit.NewEmail(), "")
	for range 4 {
		because(t, "a wrong code", byCode(inv.Email, wrong(inv.code)), "CODE_INVALID")
	}
	because(t, "the right code of another address", byCode(testkit.NewEmail(), inv.code), "CODE_INVALID")
	because(t, "the right code after four wrong ones", byCode(strings.ToUpper(inv.Email), inv.code), "")

	inv = s.invite(t, owner, testkit.NewEmail(), "")
	for range 5 {
		because(t, "a wrong code", byCode(inv.Email, wrong(inv.code)), "CODE_INVALID")
	}
	s.refuses(t, "the right code after five wrong ones", "CODE_INVALID", func() error { return byCode(inv.Email, inv.code) })
	if _, err := s.enter(t, inv.token); err != nil {
		t.Errorf("the link after five wrong codes: %v", err)
	}

	// Mailed again, it has a code that is as good as new.
	inv = s.invite(t, owner, testkit.NewEmail(), "")
	got := atOnce(30, func(int) error { return byCode(inv.Email, wrong(inv.code)) })
	if got["CODE_INVALID"] != 30 {
		t.Errorf("wrong codes at once: %v", got)
	}
	if n := count(t, s.Server, "SELECT code_attempts FROM team.invitations WHERE id = $1", uuidOf(t, inv.Id)); n != 5 {
		t.Errorf("%d codes were compared, want 5", n)
	}
	if _, err := owner.Invitations.ResendInvitation(t.Context(), &teamv1.ResendInvitationRequest{WorkspaceId: owner.Workspace.Id, InvitationId: inv.Id}); err != nil {
		t.Fatal(err)
	}
	again := s.mailed(t, inv.Invitation)
	because(t, "the new code", byCode(inv.Email, again.code), "")
	s.CheckInvariants(t)
}

func TestAnInvitationIsDeclinedByTokenOrByID(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	p, other := s.person(t), s.person(t)
	decline := func(c *client.Client, req *teamv1.DeclineInvitationRequest) error {
		_, err := c.Invitations.DeclineInvitation(t.Context(), req)
		return err
	}
	for what, how := range map[string]func(invited) (*client.Client, *teamv1.DeclineInvitationRequest){
		"by token without a session": func(i invited) (*client.Client, *teamv1.DeclineInvitationRequest) {
			return s.Client(""), &teamv1.DeclineInvitationRequest{Token: i.token}
		},
		"by id with a session": func(i invited) (*client.Client, *teamv1.DeclineInvitationRequest) {
			return p.Client, &teamv1.DeclineInvitationRequest{InvitationId: i.Id}
		},
	} {
		inv := s.invite(t, owner, p.Email, "")
		byID := &teamv1.DeclineInvitationRequest{InvitationId: inv.Id}
		s.refuses(t, "by id without a session", "SESSION_REQUIRED", func() error { return decline(s.Client(""), byID) })
		s.refuses(t, "by id by another", "NOT_FOUND", func() error { return decline(other.Client, byID) })
		c, req := how(inv)
		if err := decline(c, req); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		s.refuses(t, what+", repeated", "", func() error { return decline(c, req) })
		if state := s.stateOf(t, inv.Invitation); state != "declined" {
			t.Errorf("%s: it is %s", what, state)
		}
		requireStep(t, what, p.Client, inv.token, stepNone)
		s.refuses(t, what+", then accepted", "INVITATION_USED", func() error { _, err := accept(t, p, inv.token); return err })
	}
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{})
	s.refuses(t, "a link", "FIELD_INVALID", func() error { return decline(p.Client, &teamv1.DeclineInvitationRequest{Token: link.Token}) })
	s.CheckInvariants(t)
}

func TestAnInvitationThatEndedSaysHow(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	owned := func(i invited) (string, string) { return owner.Workspace.Id, i.Id }
	revoke := func(i invited) error {
		workspace, id := owned(i)
		_, err := owner.Invitations.RevokeInvitation(t.Context(), &teamv1.RevokeInvitationRequest{WorkspaceId: workspace, InvitationId: id})
		return err
	}
	resend := func(i invited) (*teamv1.Invitation, error) {
		workspace, id := owned(i)
		res, err := owner.Invitations.ResendInvitation(t.Context(), &teamv1.ResendInvitationRequest{WorkspaceId: workspace, InvitationId: id})
		return res.GetInvitation(), err
	}
	p := s.person(t)
	ended := func(what string, i invited, reason string, next teamv1.InvitationStep) {
		t.Helper()
		for call, err := range map[string]func() error{
			"AcceptInvitation":       func() error { _, err := accept(t, p, i.token); return err },
			"RegisterWithInvitation": func() error { _, err := s.enter(t, i.token); return err },
			"DeclineInvitation": func() error {
				_, err := s.Client("").Invitations.DeclineInvitation(t.Context(), &teamv1.DeclineInvitationRequest{Token: i.token})
				return err
			},
		} {
			s.refuses(t, what+": "+call, reason, err)
		}
		if next == 0 {
			_, err := s.Client("").Invitations.GetInvitationByToken(t.Context(), &teamv1.GetInvitationByTokenRequest{Token: i.token})
			because(t, what, err, reason)
			return
		}
		requireStep(t, what, s.Client(""), i.token, next)
	}
	inv := s.invite(t, owner, p.Email, "")
	if err := revoke(inv); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "revoked twice", "", func() error { return revoke(inv) })
	ended("revoked", inv, "INVITATION_REVOKED", stepRenewal)
	s.refuses(t, "revoked, then mailed again", "INVITATION_REVOKED", func() error { _, err := resend(inv); return err })

	inv = s.invite(t, owner, p.Email, "")
	next := s.invite(t, owner, inv.Email, "admin")
	ended("replaced by a new one", inv, "INVITATION_REVOKED", stepRenewal)
	if s.stateOf(t, next.Invitation) != "pending" {
		t.Error("the new one is not pending")
	}

	res, err := resend(next)
	if err != nil {
		t.Fatal(err)
	}
	again := s.mailed(t, res)
	ended("mailed again", next, "CODE_INVALID", 0)
	if again.Id != next.Id || again.token == next.token || again.code == "" || res.Role != "admin" {
		t.Errorf("mailed again: %v after %v", res, next)
	}

	s.Clock.Advance(7 * 24 * time.Hour)
	ended("expired", again, "INVITATION_EXPIRED", stepRenewal)
	list, err := owner.Invitations.ListInvitations(t.Context(), &teamv1.ListInvitationsRequest{
		WorkspaceId: owner.Workspace.Id, State: teamv1.InvitationState_INVITATION_STATE_EXPIRED,
	})
	if err != nil || len(list.Invitations) != 1 || list.Invitations[0].Id != again.Id {
		t.Errorf("the expired ones: %v, %v", list, err)
	}
	if res, err = resend(again); err != nil || res.ExpireTime.AsTime().Sub(res.SendTime.AsTime()) != 7*24*time.Hour {
		t.Fatalf("expired, then mailed again: %v, %v", res, err)
	}
	again = s.mailed(t, res)
	mustAccept(t, p, again.token)
	s.refuses(t, "used, then revoked", "INVITATION_USED", func() error { return revoke(again) })
	s.refuses(t, "used, then mailed again", "INVITATION_USED", func() error { _, err := resend(again); return err })
	requireStep(t, "used", s.Client(""), again.token, stepNone)

	short, err := owner.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{
		WorkspaceId: owner.Workspace.Id, Email: testkit.NewEmail(), Lifetime: durationpb.New(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	brief := s.mailed(t, short.Invitation)
	s.Clock.Advance(time.Hour - time.Minute)
	requireStep(t, "a minute before its time", s.Client(""), brief.token, stepRegister)
	s.Clock.Advance(time.Minute)
	requireStep(t, "at its time", s.Client(""), brief.token, stepRenewal)
	s.CheckInvariants(t)
}
