package e2e

import (
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// linkOf returns a link as the list has it.
func linkOf(t testing.TB, p *testkit.Person, id string) *teamv1.InvitationLink {
	t.Helper()
	res, err := p.Invitations.ListInvitationLinks(t.Context(), &teamv1.ListInvitationLinksRequest{WorkspaceId: p.Workspace.Id, PageSize: 200})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range res.Links {
		if l.Id == id {
			return l
		}
	}
	t.Fatalf("no link %s among %v", id, res.Links)
	return nil
}

func revokeLink(t testing.TB, p *testkit.Person, id string) error {
	t.Helper()
	_, err := p.Invitations.RevokeInvitationLink(t.Context(), &teamv1.RevokeInvitationLinkRequest{WorkspaceId: p.Workspace.Id, LinkId: id})
	return err
}

func TestALinkIsUsedAsOftenAsItMayBe(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{MaxUses: 2, Role: "viewer"})
	p, second, third := s.person(t), s.person(t), s.person(t)
	requireStep(t, "without a session", s.Client(""), link.Token, stepSignIn)
	requireStep(t, "with a session", p.Client, link.Token, stepAccept)
	m := mustAccept(t, p, link.Token)
	if m.Role != "viewer" || m.UserId != p.User.Id {
		t.Errorf("the membership: %v", m)
	}
	// Who is a member already does not use it up.
	for range 3 {
		if again := mustAccept(t, p, link.Token); again.Id != m.Id {
			t.Errorf("accepted again: %v", again)
		}
		if again := mustAccept(t, owner, link.Token); again.Role != "owner" {
			t.Errorf("accepted by the owner: %v", again)
		}
	}
	if l := linkOf(t, owner, link.Link.Id); l.UseCount != 1 || l.State != teamv1.InvitationState_INVITATION_STATE_PENDING {
		t.Errorf("after one use: %v", l)
	}
	mustAccept(t, second, link.Token)
	if l := linkOf(t, owner, link.Link.Id); l.UseCount != 2 || l.State != teamv1.InvitationState_INVITATION_STATE_ACCEPTED {
		t.Errorf("after two uses: %v", l)
	}
	requireStep(t, "used up", third.Client, link.Token, stepNone)
	s.refuses(t, "a third one", "INVITATION_USED", func() error { _, err := accept(t, third, link.Token); return err })
	if again := mustAccept(t, p, link.Token); again.Id != m.Id {
		t.Errorf("used up, accepted again by a member: %v", again)
	}

	link = linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{MaxUses: 7})
	var people []*testkit.Person
	for range 20 {
		people = append(people, s.person(t))
	}
	got := atOnce(len(people), func(i int) error { _, err := accept(t, people[i], link.Token); return err })
	if diff := cmp.Diff(map[string]int{"": 7, "INVITATION_USED": 13}, got); diff != "" {
		t.Errorf("seven uses, 20 people at once (-want +got):\n%s", diff)
	}
	if l := linkOf(t, owner, link.Link.Id); l.UseCount != 7 {
		t.Errorf("after 20 people at once: %v", l)
	}
	s.CheckInvariants(t)
	checkLog(t, s.Server, link.Token)
}

func TestALinkEndsByItsTimeAndByRevocation(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	p := s.person(t)
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{})
	if got := link.Link.ExpireTime.AsTime().Sub(link.Link.CreateTime.AsTime()); got != 7*24*time.Hour || link.Link.Role != "member" {
		t.Errorf("by default: %v", link.Link)
	}
	if err := revokeLink(t, owner, link.Link.Id); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "revoked twice", "", func() error { return revokeLink(t, owner, link.Link.Id) })
	s.refuses(t, "revoked", "INVITATION_REVOKED", func() error { _, err := accept(t, p, link.Token); return err })
	requireStep(t, "revoked", p.Client, link.Token, stepNone)

	link = linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{Lifetime: durationpb.New(time.Hour)})
	s.Clock.Advance(time.Hour)
	s.refuses(t, "expired", "INVITATION_EXPIRED", func() error { _, err := accept(t, p, link.Token); return err })
	requireStep(t, "expired", p.Client, link.Token, stepNone)
	if l := linkOf(t, owner, link.Link.Id); l.State != teamv1.InvitationState_INVITATION_STATE_EXPIRED {
		t.Errorf("expired: %v", l)
	}
	for _, role := range []string{"owner", "rol_01m84xh61aee3v97y61598j6kb"} {
		s.refuses(t, "a link with the role "+role, "FIELD_INVALID", func() error {
			_, err := owner.Invitations.CreateInvitationLink(t.Context(), &teamv1.CreateInvitationLinkRequest{WorkspaceId: owner.Workspace.Id, Role: role})
			return err
		})
	}
	notFound(t, "the link of another workspace", revokeLink(t, p, link.Link.Id))
	s.CheckInvariants(t)
}

func TestALinkIsForItsDomains(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{Domains: []string{"BÜCHER.example", "acme.example"}})
	if diff := cmp.Diff([]string{"xn--bcher-kva.example", "acme.example"}, link.Link.Domains); diff != "" {
		t.Errorf("its domains (-want +got):\n%s", diff)
	}
	at := func(email string) *testkit.Person { return s.Person(email, s.registered(t, email)) }
	for _, email := range []string{"ann@Bücher.example", "bob@ACME.example"} {
		mustAccept(t, at(email), link.Token)
	}
	for _, email := range []string{"carl@sub.acme.example", "dora@notacme.example", "acme.example@evil.example"} {
		p := at(email)
		requireStep(t, email, p.Client, link.Token, stepSwitch)
		s.refuses(t, email, "EMAIL_MISMATCH", func() error { _, err := accept(t, p, link.Token); return err })
	}
	s.refuses(t, "registered with another domain", "EMAIL_MISMATCH", func() error {
		_, err := s.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{
			Token: link.Token, Email: "eve@evil.example", Password: testkit.Password,
		})
		return err
	})
	if l := linkOf(t, owner, link.Link.Id); l.UseCount != 2 {
		t.Errorf("it was used %d times, want 2", l.UseCount)
	}
	s.refuses(t, "what is no domain", "FIELD_INVALID", func() error {
		_, err := owner.Invitations.CreateInvitationLink(t.Context(), &teamv1.CreateInvitationLinkRequest{WorkspaceId: owner.Workspace.Id, Domains: []string{"acme"}})
		return err
	})
	s.CheckInvariants(t)
}

// byLink begins a registration by a link, and returns the call that completes it.
func (s *stage) byLink(t testing.TB, token, email string) (req *authv1.VerifyRegistrationRequest) {
	t.Helper()
	res, err := s.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{
		Token: token, Email: email, Password: testkit.Password,
	})
	if err != nil || res.RegistrationId == "" || res.UserId != "" || res.SessionToken != "" || res.Membership != nil {
		t.Fatalf("RegisterWithInvitation = %v, %v", res, err)
	}
	return &authv1.VerifyRegistrationRequest{RegistrationId: res.RegistrationId, Code: s.queue(t, email)[0].Data["code"]}
}

func TestRegisteringByALinkNeedsTheMailedCode(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	verify := func(req *authv1.VerifyRegistrationRequest) (*authv1.Account, error) {
		res, err := s.Client("").Registration.VerifyRegistration(t.Context(), req)
		return res.GetAccount(), err
	}
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{MaxUses: 2, Role: "viewer"})
	workspaces := count(t, s.Server, "SELECT count(*) FROM tenant.workspaces")
	req := s.byLink(t, link.Token, testkit.NewEmail())
	if users := count(t, s.Server, "SELECT count(*) FROM identity.users"); users != 1 || linkOf(t, owner, link.Link.Id).UseCount != 0 {
		t.Errorf("before the code, there are %d users, and the link: %v", users, linkOf(t, owner, link.Link.Id))
	}
	_, err := verify(&authv1.VerifyRegistrationRequest{RegistrationId: req.RegistrationId, Code: wrong(req.Code)})
	codeInvalid(t, "a wrong code", err)
	a, err := verify(req)
	if err != nil || a.Workspace.GetId() != owner.Workspace.Id || a.Membership.GetRole() != "viewer" || !a.User.EmailVerified {
		t.Fatalf("VerifyRegistration = %v, %v", a, err)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM tenant.workspaces"); n != workspaces || linkOf(t, owner, link.Link.Id).UseCount != 1 {
		t.Errorf("%d workspaces, want %d; the link: %v", n, workspaces, linkOf(t, owner, link.Link.Id))
	}
	me := s.Client("", client.WithSession(a.SessionToken))
	if _, err := me.Workspaces.GetWorkspace(t.Context(), &tenantv1.GetWorkspaceRequest{WorkspaceId: owner.Workspace.Id}); err != nil {
		t.Errorf("the member's first call: %v", err)
	}
	if _, err := me.Users.GetMe(t.Context(), &identityv1.GetMeRequest{}); err != nil {
		t.Error(err)
	}

	// What becomes of the link between the two calls.
	for what, c := range map[string]struct {
		reason string
		spoil  func(l *teamv1.CreateInvitationLinkResponse)
	}{
		"revoked": {"INVITATION_REVOKED", func(l *teamv1.CreateInvitationLinkResponse) {
			if err := revokeLink(t, owner, l.Link.Id); err != nil {
				t.Fatal(err)
			}
		}},
		"used up": {"INVITATION_USED", func(l *teamv1.CreateInvitationLinkResponse) { mustAccept(t, s.person(t), l.Token) }},
		"expired": {"INVITATION_EXPIRED", func(l *teamv1.CreateInvitationLinkResponse) { s.Clock.Advance(2 * time.Minute) }},
		"gone": {"CODE_INVALID", func(l *teamv1.CreateInvitationLinkResponse) {
			if _, err := s.SQL.Exec(t.Context(), "DELETE FROM team.invitation_links WHERE id = $1", uuidOf(t, l.Link.Id)); err != nil {
				t.Fatal(err)
			}
		}},
	} {
		l := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{MaxUses: 1, Lifetime: durationpb.New(time.Minute)})
		req := s.byLink(t, l.Token, testkit.NewEmail())
		c.spoil(l)
		s.refuses(t, "a link "+what+" meanwhile", c.reason, func() error { _, err := verify(req); return err })
	}
	// Two who were both admitted, when there is one use left.
	one, two := s.byLink(t, link.Token, testkit.NewEmail()), s.byLink(t, link.Token, testkit.NewEmail())
	got := atOnce(2, func(i int) error { _, err := verify([]*authv1.VerifyRegistrationRequest{one, two}[i]); return err })
	if diff := cmp.Diff(map[string]int{"": 1, "INVITATION_USED": 1}, got); diff != "" {
		t.Errorf("two for the last use (-want +got):\n%s", diff)
	}
	s.CheckInvariants(t)
}

func TestRegisteringByALinkDoesNotTellWhoHasAnAccount(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	p := s.person(t)
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{})
	res, err := s.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{
		Token: link.Token, Email: p.Email, Password: testkit.Password,
	})
	if err != nil || res.RegistrationId == "" {
		t.Errorf("of an address that has an account: %v, %v", res, err)
	}
	if m := s.queue(t, p.Email)[0]; m.Template != "account_exists" || m.Data["code"] != "" {
		t.Errorf("they are mailed: %v", m)
	}
	s.CheckInvariants(t)
}

// TestWhoHasNotProvenTheirAddressInvitesNobody: the workspace will be whose the
// address is, and nobody else is to be in it by then.
func TestWhoHasNotProvenTheirAddressInvitesNobody(t *testing.T) {
	t.Parallel()
	s := newStage(t, provenLater)
	email := testkit.NewEmail()
	res, err := s.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme"})
	if err != nil {
		t.Fatal(err)
	}
	p := s.Person(email, res.Account)
	for what, call := range map[string]func() error{
		"CreateInvitation": func() error {
			_, err := p.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: p.Workspace.Id, Email: testkit.NewEmail()})
			return err
		},
		"BatchCreateInvitations": func() error {
			_, err := p.Invitations.BatchCreateInvitations(t.Context(), &teamv1.BatchCreateInvitationsRequest{
				WorkspaceId: p.Workspace.Id, Emails: []string{testkit.NewEmail()},
			})
			return err
		},
		"CreateInvitationLink": func() error {
			_, err := p.Invitations.CreateInvitationLink(t.Context(), &teamv1.CreateInvitationLinkRequest{WorkspaceId: p.Workspace.Id})
			return err
		},
	} {
		refused(t, what, call(), connect.CodeFailedPrecondition, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
	}
	if _, err := s.Client("").Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
		RegistrationId: res.Registration.Id, Code: s.queue(t, email)[0].Data["code"],
	}); err != nil {
		t.Fatal(err)
	}
	s.invite(t, p, testkit.NewEmail(), "admin")
	s.CheckInvariants(t)
}

func TestNobodyWhoWasRemovedComesBackByALink(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{})
	p, gone := s.person(t), s.person(t)
	if err := leave(t, p, mustAccept(t, p, link.Token).WorkspaceId); err != nil {
		t.Fatal(err)
	}
	m := mustAccept(t, p, link.Token) // who left by themselves may come back
	if err := removeMember(t, owner, m.Id); err != nil {
		t.Fatal(err)
	}
	if err := removeMember(t, owner, mustAccept(t, gone, link.Token).Id); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "removed", "MEMBER_REMOVED", func() error { _, err := accept(t, p, link.Token); return err })
	alias := testkit.NewEmail()
	change, err := p.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: alias})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Users.ConfirmEmailChange(t.Context(), &identityv1.ConfirmEmailChangeRequest{EmailChangeId: change.EmailChangeId, Code: s.code(t, alias)}); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "removed, with another address since", "MEMBER_REMOVED", func() error { _, err := accept(t, p, link.Token); return err })
	if err := deleteSelf(t, gone); err != nil {
		t.Fatal(err)
	}
	req := s.byLink(t, link.Token, gone.Email)
	s.refuses(t, "removed, with another account since", "MEMBER_REMOVED", func() error {
		_, err := s.Client("").Registration.VerifyRegistration(t.Context(), req)
		return err
	})
	mustAccept(t, p, s.invite(t, owner, alias, "").token)
	if err := leave(t, p, owner.Workspace.Id); err != nil {
		t.Fatal(err)
	}
	mustAccept(t, p, link.Token)
	s.CheckInvariants(t)
}
