package e2e

import (
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

func TestARegistrationByInvitationIsRepeatedOnce(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	enter := func(req *teamv1.RegisterWithInvitationRequest) (*teamv1.RegisterWithInvitationResponse, error) {
		return s.Client("").Invitations.RegisterWithInvitation(t.Context(), req)
	}
	once := func(what string, inv invited) {
		t.Helper()
		if n := count(t, s.Server, "SELECT count(*) FROM identity.emails WHERE address_key = $1", inv.Email); n != 1 {
			t.Errorf("%s: %d users", what, n)
		}
		if n := count(t, s.Server, "SELECT count(*) FROM auth.registrations WHERE address_key = $1", inv.Email); n != 1 {
			t.Errorf("%s: %d registrations", what, n)
		}
	}
	for _, way := range []string{"token", "code"} {
		inv := s.invite(t, owner, testkit.NewEmail(), "")
		req := &teamv1.RegisterWithInvitationRequest{Token: inv.token, Password: testkit.Password, RequestId: uuid.NewString()}
		if way == "code" {
			req.Token, req.Code, req.Email = "", inv.code, inv.Email
		}
		first, err := enter(req)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			again, err := enter(req)
			if err != nil || again.SessionToken == "" || again.SessionToken == first.SessionToken {
				t.Fatalf("by %s, repeated: %v, %v", way, again, err)
			}
			if diff := cmp.Diff(first, again, protocmp.Transform(),
				protocmp.IgnoreFields(&teamv1.RegisterWithInvitationResponse{}, "session_id", "session_token")); diff != "" {
				t.Errorf("by %s, repeated it answers otherwise:\n%s", way, diff)
			}
		}
		for what, change := range map[string]func(*teamv1.RegisterWithInvitationRequest){
			"password":     func(r *teamv1.RegisterWithInvitationRequest) { r.Password = "another horse, another staple" },
			"display name": func(r *teamv1.RegisterWithInvitationRequest) { r.DisplayName = "Somebody" },
			"proof":        func(r *teamv1.RegisterWithInvitationRequest) { r.Token, r.Code, r.Email = inv.token+"x", "", "" },
		} {
			other := proto.CloneOf(req)
			change(other)
			s.refuses(t, "another "+what, "REQUEST_ID_REUSED", func() error { _, err := enter(other); return err })
		}
		once("by "+way, inv)
	}

	for _, way := range []string{"token", "code"} {
		inv := s.invite(t, owner, testkit.NewEmail(), "")
		req := &teamv1.RegisterWithInvitationRequest{Token: inv.token, Password: testkit.Password, RequestId: uuid.NewString()}
		if way == "code" {
			req.Token, req.Code, req.Email = "", inv.code, inv.Email
		}
		users := make([]string, 20)
		if got := atOnce(len(users), func(i int) error {
			res, err := enter(req)
			users[i] = res.GetUserId()
			return err
		}); got[""] != len(users) {
			t.Errorf("20 at once by %s: %v", way, got)
		}
		for _, u := range users {
			if u != users[0] {
				t.Errorf("20 at once by %s made %v", way, users)
			}
		}
		once("20 at once by "+way, inv)
	}

	// Without an id one of many wins.
	inv := s.invite(t, owner, testkit.NewEmail(), "")
	got := atOnce(20, func(int) error { _, err := s.enter(t, inv.token); return err })
	if got[""] != 1 || got["EMAIL_TAKEN"]+got["INVITATION_USED"] != 19 {
		t.Errorf("20 at once without an id: %v", got)
	}
	once("20 at once without an id", inv)
	s.CheckInvariants(t)
}

func TestARegistrationByInvitationIsForAnAddressThatNobodyHasProven(t *testing.T) {
	t.Parallel()
	s := newStage(t, provenLater)
	owner := s.signedUp(t)
	inv := s.invite(t, owner, owner.Email[:3]+"@elsewhere.example", "admin")
	squatter, err := s.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{
		Email: strings.ToUpper(inv.Email), Password: squattersPassword, WorkspaceName: "Squat",
	})
	if err != nil || squatter.Account == nil {
		t.Fatalf("Register = %v, %v", squatter, err)
	}
	requireStep(t, "of an address that somebody has not proven", s.Client(""), inv.token, stepRegister)
	squat := s.Person(inv.Email, squatter.Account)
	requireStep(t, "with the session of who has not proven it", squat.Client, inv.token, stepSwitch)
	s.refuses(t, "who has not proven it accepts", "EMAIL_UNVERIFIED", func() error { _, err := accept(t, squat, inv.token); return err })
	if list, err := squat.Invitations.ListReceivedInvitations(t.Context(), &teamv1.ListReceivedInvitationsRequest{}); err != nil || len(list.Invitations) != 0 {
		t.Errorf("the list of who has not proven it: %v, %v", list, err)
	}

	res, err := s.enter(t, inv.token)
	if err != nil || res.Membership.Role != "admin" || res.UserId == squat.User.Id {
		t.Fatalf("RegisterWithInvitation = %v, %v", res, err)
	}
	ended(t, "the session of who had not proven it", squat.Client)
	_, err = s.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: inv.Email, Password: squattersPassword})
	refused(t, "their password", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
	me := &testkit.Person{Client: s.Client("", client.WithSession(res.SessionToken)), Workspace: squat.Workspace}
	if w, err := get(t, me, squat.Workspace.Id); err != nil || w.State != tenantv1.WorkspaceState_WORKSPACE_STATE_DELETED {
		t.Errorf("their workspace: %v, %v", w, err)
	}
	s.CheckInvariants(t)

	// Proven: nothing is used up, and they may sign in and accept.
	p := s.signedUp(t)
	taken := s.invite(t, owner, p.Email, "")
	s.refuses(t, "an address with a proven account", "EMAIL_TAKEN", func() error { _, err := s.enter(t, taken.token); return err })
	s.refuses(t, "by code", "EMAIL_TAKEN", func() error {
		_, err := s.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{
			Email: p.Email, Code: taken.code, Password: testkit.Password,
		})
		return err
	})
	mustAccept(t, p, taken.token)
	s.CheckInvariants(t)
}

// signedUp registers somebody on a server where addresses are proven later, and
// proves theirs.
func (s *stage) signedUp(t *testing.T) *testkit.Person {
	t.Helper()
	p := s.person(t)
	if _, err := s.Client("").Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
		Token: s.queue(t, p.Email)[0].Data["token"], Password: testkit.Password,
	}); err != nil {
		t.Fatal(err)
	}
	return p
}

func TestTheSessionOfWhoWasInvitedMayBeACookie(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	browser := s.Client("", client.WithHTTPClient(testkit.Cookies()))
	res, err := browser.Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{
		Token: s.invite(t, owner, testkit.NewEmail(), "").token, Password: testkit.Password, SessionCookie: true,
	})
	if err != nil || res.SessionToken != "" || res.SessionId == "" {
		t.Fatalf("RegisterWithInvitation = %v, %v", res, err)
	}
	if me, err := browser.Users.GetMe(t.Context(), &identityv1.GetMeRequest{}); err != nil || me.User.Id != res.UserId {
		t.Errorf("GetMe with the cookie = %v, %v", me, err)
	}
}
