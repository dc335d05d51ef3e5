package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// TestATokenOpensWhatItIsForAndNothingElse tries tokens that were forged, cut,
// spelled otherwise or made for something else, wherever one can be given.
func TestATokenOpensWhatItIsForAndNothingElse(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	p := s.person(t)
	inv := s.invite(t, owner, p.Email, "")
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{})
	if _, err := s.Client("").Registration.Register(t.Context(), newRegistration("pending@example.com")); err != nil {
		t.Fatal(err)
	}
	registration := s.queue(t, "pending@example.com")[0].Data["token"]
	if !strings.HasPrefix(inv.token, "lsmi_") || !strings.HasPrefix(link.Token, "lsml_") {
		t.Fatalf("the tokens are %s and %s", inv.token, link.Token)
	}
	swap := func(token, prefix string) string { return prefix + token[5:] }
	flip := func(token string) string {
		last := byte('A')
		if token[len(token)-1] == last {
			last = 'B'
		}
		return token[:len(token)-1] + string(last)
	}
	for what, token := range map[string]string{
		"forged":                      "lsmi_" + strings.Repeat("A", len(inv.token)-5),
		"with another last character": flip(inv.token),
		"truncated":                   inv.token[:len(inv.token)-1],
		"with something after it":     inv.token + "A",
		"in capital letters":          strings.ToUpper(inv.token),
		"without its prefix":          inv.token[5:],
		"as one of a link":            swap(inv.token, "lsml_"),
		"a link's, as one of another": swap(link.Token, "lsmi_"),
		"a link's, truncated":         link.Token[:len(link.Token)-1],
		"a link's, forged":            flip(link.Token),
		"the code":                    inv.code,
		"the id":                      inv.Id,
		"of a registration":           registration,
		"of a registration, as ours":  swap(registration, "lsmi_"),
		"of a session":                p.Token,
		"of a session, as ours":       swap(p.Token, "lsmi_"),
	} {
		s.refuses(t, what+": AcceptInvitation", "CODE_INVALID", func() error { _, err := accept(t, p, token); return err })
		s.refuses(t, what+": RegisterWithInvitation", "CODE_INVALID", func() error {
			_, err := s.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{
				Token: token, Email: p.Email, Password: testkit.Password,
			})
			return err
		})
		if !strings.HasPrefix(token, "lsml_") { // which is not for that
			s.refuses(t, what+": DeclineInvitation", "CODE_INVALID", func() error {
				_, err := s.Client("").Invitations.DeclineInvitation(t.Context(), &teamv1.DeclineInvitationRequest{Token: token})
				return err
			})
		}
		s.refuses(t, what+": RequestInvitationRenewal", "CODE_INVALID", func() error {
			_, err := s.Client("").Invitations.RequestInvitationRenewal(t.Context(), &teamv1.RequestInvitationRenewalRequest{Token: token})
			return err
		})
		s.refuses(t, what+": GetInvitationByToken", "CODE_INVALID", func() error {
			_, err := s.Client("").Invitations.GetInvitationByToken(t.Context(), &teamv1.GetInvitationByTokenRequest{Token: token})
			return err
		})
	}
	for what, token := range map[string]string{"of an invitation": inv.token, "of a link": link.Token} {
		s.refuses(t, "a token "+what+": VerifyRegistration", "CODE_INVALID", func() error {
			_, err := s.Client("").Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{Token: token, Password: testkit.Password})
			return err
		})
		s.refuses(t, "a token "+what+": as a session", "SESSION_REQUIRED", func() error {
			_, err := s.Client("").As(token).Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})
			return err
		})
	}
	mustAccept(t, p, inv.token)
	checkLog(t, s.Server, inv.token, link.Token, inv.code)
}

func TestWhoIsNotInvitedUsesNothingUp(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	p, other := s.person(t), s.person(t)
	inv := s.invite(t, owner, p.Email, "")
	s.refuses(t, "accepted by another account", "EMAIL_MISMATCH", func() error { _, err := accept(t, other, inv.token); return err })
	s.refuses(t, "accepted by its inviter", "EMAIL_MISMATCH", func() error { _, err := accept(t, owner, inv.token); return err })
	s.refuses(t, "accepted without a session", "SESSION_REQUIRED", func() error {
		_, err := s.Client("").Invitations.AcceptInvitation(t.Context(), &teamv1.AcceptInvitationRequest{Token: inv.token})
		return err
	})
	s.refuses(t, "registered with another address", "EMAIL_MISMATCH", func() error {
		_, err := s.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{
			Token: inv.token, Email: "mallory@example.com", Password: testkit.Password,
		})
		return err
	})
	s.refuses(t, "registered with a password that nobody should have", "PASSWORD_LENGTH", func() error {
		_, err := s.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{Token: inv.token, Password: "short"})
		return err
	})
	m := mustAccept(t, p, inv.token)
	s.refuses(t, "used, accepted by another account", "EMAIL_MISMATCH", func() error { _, err := accept(t, other, inv.token); return err })
	if err := removeMember(t, owner, m.Id); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "used, accepted again by who was removed", "INVITATION_USED", func() error { _, err := accept(t, p, inv.token); return err })
	s.CheckInvariants(t)
}

func TestMembersAreNotInvited(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	owner := s.person(t)
	member := s.Server.Person("", s.registered(t, "Ann.Bücher@bücher.example"))
	member.Email = "Ann.Bücher@bücher.example"
	s.admit(t, member, owner, "member")
	invite := func(email string) error {
		_, err := owner.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: owner.Workspace.Id, Email: email})
		return err
	}
	spellings := []string{"ann.bücher@bücher.example", "ANN.BÜCHER@BÜCHER.EXAMPLE", "ann.bücher@xn--bcher-kva.example"}
	for _, email := range append(spellings, owner.Email, strings.ToUpper(owner.Email)) {
		s.refuses(t, "a member, as "+email, "ALREADY_MEMBER", func() error { return invite(email) })
	}
	if err := deactivate(t, owner, member.Membership.Id); err != nil {
		t.Fatal(err)
	}
	for _, email := range spellings {
		s.refuses(t, "a deactivated member, as "+email, "ALREADY_MEMBER", func() error { return invite(email) })
	}
	if err := removeMember(t, owner, member.Membership.Id); err != nil {
		t.Fatal(err)
	}
	// Each spelling is the same invitation, and whoever has the address can accept.
	var last invited
	for _, email := range spellings {
		last = s.invite(t, owner, email, "")
	}
	if n := count(t, s.Server, "SELECT count(*) FROM team.invitations WHERE state = 'pending'"); n != 1 {
		t.Errorf("%d invitations are pending, want 1", n)
	}
	mustAccept(t, member, last.token)

	// Who came by another way meanwhile, with the role of the invitation, which is done.
	p := s.person(t)
	inv := s.invite(t, owner, p.Email, "admin")
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{Role: "viewer"})
	m := mustAccept(t, p, link.Token)
	if again := mustAccept(t, p, inv.token); m.Role != "admin" || again.Id != m.Id || again.Role != "admin" { // the link is for anybody, the invitation for them
		t.Errorf("the invitation of who is a member: %v, want %v", again, m)
	}
	if state := s.stateOf(t, inv.Invitation); state != "accepted" {
		t.Errorf("it is %s", state)
	}
	_, err := owner.Invitations.ResendInvitation(t.Context(), &teamv1.ResendInvitationRequest{WorkspaceId: owner.Workspace.Id, InvitationId: inv.Id})
	because(t, "mailed again", err, "INVITATION_USED")
	if err := deactivate(t, owner, m.Id); err != nil {
		t.Fatal(err)
	}
	for what, token := range map[string]string{"invitation": inv.token, "link": link.Token} {
		s.refuses(t, "a deactivated member accepts the "+what, "MEMBERSHIP_DEACTIVATED", func() error { _, err := accept(t, p, token); return err })
	}
	s.CheckInvariants(t)
}

// registered registers an address.
func (s *stage) registered(t testing.TB, email string) *authv1.Account {
	t.Helper()
	if _, err := s.Client("").Registration.Register(t.Context(), newRegistration(email)); err != nil {
		t.Fatal(err)
	}
	res, err := s.Client("").Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
		Token: s.queue(t, email)[0].Data["token"], Password: testkit.Password,
	})
	if err != nil {
		t.Fatal(err)
	}
	return res.Account
}

func TestADeletedWorkspaceLetsNobodyInUntilItIsUndeleted(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	p := s.person(t)
	inv, fresh := s.invite(t, owner, p.Email, ""), s.invite(t, owner, testkit.NewEmail(), "")
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{})
	calls := func(reason, byID string) {
		t.Helper()
		for what, token := range map[string]string{"invitation": inv.token, "link": link.Token} {
			s.refuses(t, what+": AcceptInvitation", reason, func() error { _, err := accept(t, p, token); return err })
			s.refuses(t, what+": GetInvitationByToken", reason, func() error {
				_, err := s.Client("").Invitations.GetInvitationByToken(t.Context(), &teamv1.GetInvitationByTokenRequest{Token: token})
				return err
			})
		}
		s.refuses(t, "RegisterWithInvitation", reason, func() error { _, err := s.enter(t, fresh.token); return err })
		s.refuses(t, "RegisterWithInvitation by link", reason, func() error {
			_, err := s.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{
				Token: link.Token, Email: "late@example.com", Password: testkit.Password,
			})
			return err
		})
		s.refuses(t, "DeclineInvitation", reason, func() error {
			_, err := s.Client("").Invitations.DeclineInvitation(t.Context(), &teamv1.DeclineInvitationRequest{Token: fresh.token})
			return err
		})
		s.refuses(t, "AcceptInvitation by id", byID, func() error {
			_, err := p.Invitations.AcceptInvitation(t.Context(), &teamv1.AcceptInvitationRequest{InvitationId: inv.Id})
			return err
		})
		if list, err := p.Invitations.ListReceivedInvitations(t.Context(), &teamv1.ListReceivedInvitationsRequest{}); err != nil || len(list.Invitations) != 0 {
			t.Errorf("ListReceivedInvitations = %v, %v", list, err)
		}
	}
	s.delete(t, owner, owner.Workspace.Id)
	calls("CODE_INVALID", "NOT_FOUND")
	if _, err := owner.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: owner.Workspace.Id}); err != nil {
		t.Fatal(err)
	}
	requireStep(t, "undeleted", p.Client, inv.token, stepAccept)
	mustAccept(t, p, inv.token)
	mustAccept(t, s.person(t), link.Token)
	if _, err := s.enter(t, fresh.token); err != nil {
		t.Errorf("undeleted: %v", err)
	}
	p = s.person(t)
	inv, fresh = s.invite(t, owner, p.Email, ""), s.invite(t, owner, testkit.NewEmail(), "")
	s.delete(t, owner, owner.Workspace.Id)
	s.Clock.Advance(s.Settings.DeletionGrace + time.Minute)
	if _, err := s.Store.PurgeDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.SignIn(t, p)
	calls("CODE_INVALID", "NOT_FOUND")
	s.CheckPurged(t, owner.Workspace.Id, owner.User.Id)
	s.CheckInvariants(t)
}

func TestABatchInvitesEachAddressOnItsOwn(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	member := s.member(t, owner, "viewer")
	batch := func(emails ...string) (*teamv1.BatchCreateInvitationsResponse, error) {
		return owner.Invitations.BatchCreateInvitations(t.Context(), &teamv1.BatchCreateInvitationsRequest{
			WorkspaceId: owner.Workspace.Id, Emails: emails, Role: "viewer",
		})
	}
	outcome := func(res *teamv1.BatchCreateInvitationsResponse, emails []string) []string {
		var list []string
		for i, r := range res.GetResults() {
			if r.Email != emails[i] {
				t.Errorf("result %d is of %q, want %q", i, r.Email, emails[i])
			}
			if r.GetInvitation() != nil {
				list = append(list, "")
				if r.GetInvitation().Role != "viewer" {
					t.Errorf("result %d: %v", i, r)
				}
			} else {
				list = append(list, r.GetFailure().GetReason())
			}
		}
		return list
	}
	pending := s.invite(t, owner, "pending@example.com", "admin")
	emails := []string{
		"ann@bücher.example", "not an address", "", member.Email, "ANN@xn--bcher-kva.example", strings.ToUpper(member.Email),
		"bob@example.com", "bob@example.com", "Pending@Example.com", "a\u0000b@example.com", "carl@localhost", "<script>@example.com",
	}
	if _, err := batch(emails...); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("with a NUL: %v", err)
	}
	emails = slices.DeleteFunc(emails, func(s string) bool { return strings.Contains(s, "\u0000") })
	res, err := batch(emails...)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{
		"", "FIELD_INVALID", "FIELD_INVALID", "ALREADY_MEMBER", "DUPLICATE", "DUPLICATE",
		"", "DUPLICATE", "", "FIELD_INVALID", "FIELD_INVALID",
	}, outcome(res, emails)); diff != "" {
		t.Errorf("the results (-want +got):\n%s", diff)
	}
	if s.stateOf(t, pending.Invitation) != "revoked" {
		t.Error("the earlier invitation of an address was not replaced")
	}
	for _, email := range []string{"ann@bücher.example", "bob@example.com", "Pending@Example.com"} {
		want := 1
		if strings.EqualFold(email, "pending@example.com") {
			want = 2
		}
		if n := len(s.queue(t, email)); n != want {
			t.Errorf("%d mails to %s, want %d", n, email, want)
		}
	}

	many := make([]string, 200)
	for i := range many {
		many[i] = fmt.Sprintf("guest%d@example.com", i)
	}
	if res, err = batch(many...); err != nil || !slices.Equal(outcome(res, many), make([]string, 200)) {
		t.Errorf("200: %v, %v", res, err)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM team.invitations WHERE state = 'pending'"); n != 203 {
		t.Errorf("%d invitations are pending, want 203", n)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM audit.events WHERE action = 'invitation.created'"); n != 204 {
		t.Errorf("%d events, want 204", n)
	}
	s.refuses(t, "201", "FIELD_INVALID", func() error { _, err := batch(append(many, "one@more.example")...); return err })
	s.refuses(t, "none", "FIELD_INVALID", func() error { _, err := batch(); return err })
	if res, err := batch("nobody", member.Email); err != nil || !slices.Equal(outcome(res, []string{"nobody", member.Email}), []string{"FIELD_INVALID", "ALREADY_MEMBER"}) {
		t.Errorf("nobody to invite: %v, %v", res, err)
	}
	if res, err := batch("nobody"); err != nil || !slices.Equal(outcome(res, []string{"nobody"}), []string{"FIELD_INVALID"}) {
		t.Errorf("nobody at all to invite: %v, %v", res, err)
	}
	s.CheckInvariants(t)
	checkLog(t, s.Server, pending.token)
}

// TestOneAddressThatTheDatabaseRefusesDoesNotConcernTheOthers has a trigger raise for
// one address of a batch.
func TestOneAddressThatTheDatabaseRefusesDoesNotConcernTheOthers(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	if _, err := s.SQL.Exec(t.Context(), `
		CREATE FUNCTION team.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '`+secretCause+`' USING ERRCODE = '23514'; END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON team.invitations FOR EACH ROW WHEN (NEW.address_key = 'bad@example.com') EXECUTE FUNCTION team.refuse()`); err != nil {
		t.Fatal(err)
	}
	emails := []string{"one@example.com", "two@example.com", "bad@example.com", "three@example.com"}
	res, err := owner.Invitations.BatchCreateInvitations(t.Context(), &teamv1.BatchCreateInvitationsRequest{WorkspaceId: owner.Workspace.Id, Emails: emails})
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range res.Results {
		if emails[i] == "bad@example.com" {
			if f := r.GetFailure(); f.GetReason() != "INTERNAL" || strings.Contains(f.GetMessage(), "secret") {
				t.Errorf("the refused address: %v", r)
			}
			if n := len(s.queue(t, emails[i])); n != 0 {
				t.Errorf("%d mails to it", n)
			}
			continue
		}
		if r.GetInvitation() == nil || len(s.queue(t, emails[i])) != 1 {
			t.Errorf("%s: %v", emails[i], r)
		}
	}
	if n := strings.Count(s.Log.String(), secretCause); n != 1 {
		t.Errorf("the log tells the cause %d times, want once", n)
	}
	_, err = owner.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: owner.Workspace.Id, Email: "bad@example.com"})
	refused(t, "the refused address alone", err, connect.CodeInternal, faultv1.Reason_REASON_INTERNAL)
	for table, want := range map[string]int{"team.invitations": 3, "river.river_job WHERE kind = 'mail'": 4} {
		if n := count(t, s.Server, "SELECT count(*) FROM "+table); n != want {
			t.Errorf("%d rows in %s, want %d", n, table, want)
		}
	}
	s.CheckInvariants(t)
}
