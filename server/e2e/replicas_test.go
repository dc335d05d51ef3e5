package e2e

import (
	"slices"
	"sync/atomic"
	"testing"
	"time"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
)

// replica starts another server on the database of the first.
func replica(t *testing.T, first *testkit.Server) *testkit.Server {
	t.Helper()
	return testkit.New(t, testkit.Options{
		URL: first.Database, Key: first.Key, Clock: first.Clock, WithoutJobs: true,
		Settings: func(s *config.Settings) { *s = first.Settings },
	})
}

// TestWhatOneReplicaEndsHoldsOnTheOtherFromTheNextCallOn has a session used on
// one replica, so that whatever that may have kept in memory is there, and ended
// by the other.
func TestWhatOneReplicaEndsHoldsOnTheOtherFromTheNextCallOn(t *testing.T) {
	t.Parallel()
	one := quick(t)
	two := replica(t, one)
	get := func(srv *testkit.Server, token string) string {
		_, err := srv.Client("").As(token).Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})
		return reasonOf(err)
	}
	expect := func(what, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// person has two sessions, both in use on both replicas.
	person := func() (p *testkit.Person, other string) {
		p = newPerson(t, one)
		second := *p
		two.SignIn(t, &second)
		for _, token := range []string{p.Token, second.Token} {
			expect("a live session", get(one, token), "")
			expect("a live session", get(two, token), "")
		}
		return p, second.Token
	}

	p, other := person()
	_, err := p.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{})
	must(err)
	expect("a session that was signed out", get(two, p.Token), "SESSION_REQUIRED")
	expect("the other session", get(two, other), "")

	p, other = person()
	changed, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: testkit.Password + "!"})
	must(err)
	expect("the other session after the password changed", get(two, other), "SESSION_REQUIRED")
	expect("the old token after the password changed", get(two, p.Token), "SESSION_REQUIRED")
	expect("the new token", get(two, changed.SessionToken), "")

	p, other = person()
	_, err = p.Sessions.RevokeOtherSessions(t.Context(), &authv1.RevokeOtherSessionsRequest{})
	must(err)
	expect("a session that was revoked", get(two, other), "SESSION_REQUIRED")

	p, _ = person()
	reauthenticated, err := p.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: testkit.Password})
	must(err)
	expect("the old token after reauthentication", get(two, p.Token), "SESSION_REQUIRED")
	expect("the new token", get(two, reauthenticated.SessionToken), "")

	p, other = person()
	member := newPerson(t, two)
	one.Join(t, member, p.Workspace.Id, authz.Admin)
	workspaceOn := func(srv *testkit.Server, token string) string {
		_, err := srv.Client("").As(token).Workspaces.GetWorkspace(t.Context(), &tenantv1.GetWorkspaceRequest{WorkspaceId: p.Workspace.Id})
		return reasonOf(err)
	}
	expect("a workspace", workspaceOn(two, member.Token), "")
	_, err = one.SQL.Exec(t.Context(), "DELETE FROM team.memberships WHERE user_id = $1 AND workspace_id = $2", uuidOf(t, member.User.Id), uuidOf(t, p.Workspace.Id))
	must(err)
	one.CountSeats(t)
	expect("a workspace that one was removed from", workspaceOn(two, member.Token), "NOT_FOUND")
	one.Join(t, member, p.Workspace.Id, authz.Admin)
	expect("a workspace that one joined", workspaceOn(two, member.Token), "")

	preview, err := p.Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id})
	must(err)
	_, err = p.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: preview.Etag})
	must(err)
	expect("a deleted workspace, for a member", workspaceOn(two, member.Token), "NOT_FOUND")
	expect("a deleted workspace, for its owner", workspaceOn(two, p.Token), "")
	expect("the other session of who belongs to nothing else", get(two, other), "SESSION_REQUIRED")
	_, err = two.Client("").As(p.Token).Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id})
	must(err)
	expect("a workspace that is back, for a member", workspaceOn(one, member.Token), "")
	_, err = p.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: preview.Etag})
	must(err)
	_, err = p.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: preview.Etag})
	must(err)
	expect("the session of who was purged", get(two, p.Token), "SESSION_REQUIRED")
	expect("the session of who was not", get(two, member.Token), "")

	p, other = person()
	must(deleteSelf(t, p))
	expect("a session of who deleted themselves", get(two, other), "SESSION_REQUIRED")
	one.CheckInvariants(t)
	checkLog(t, one, testkit.Password)
	checkLog(t, two, testkit.Password)
}

// TestNobodySignsInPastTheEndOfAPassword has somebody sign in, over and over,
// with a password that is replaced or taken away at that moment: no session that
// it opened is left.
func TestNobodySignsInPastTheEndOfAPassword(t *testing.T) {
	t.Parallel()
	const rounds, thieves = 4, 8
	srv := quick(t)
	const new = "another horse, another staple"
	for what, end := range map[string]func(p *testkit.Person) func() error{
		"by a change": func(p *testkit.Person) func() error {
			return func() error {
				_, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: new})
				return err
			}
		},
		"by a reset": func(p *testkit.Person) func() error {
			reset, err := p.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: p.Email})
			if err != nil {
				t.Fatal(err)
			}
			code := queued(t, srv, p.Email).Data["code"]
			return func() error {
				_, err := srv.Client("").Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{PasswordResetId: reset.PasswordResetId, Code: code, NewPassword: new})
				return err
			}
		},
		"by the address's owner, who never made this account": func(p *testkit.Person) func() error {
			owners, err := p.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: p.Email, Password: new, WorkspaceName: "Acme"})
			if err != nil {
				t.Fatal(err)
			}
			code := queued(t, srv, p.Email).Data["code"]
			return func() error {
				_, err := srv.Client("").Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{RegistrationId: owners.Registration.Id, Code: code})
				return err
			}
		},
	} {
		for range rounds {
			p := newPerson(t, srv)
			replace := end(p)
			var over atomic.Bool
			tokens := make([][]string, thieves)
			got := atOnce(thieves+1, func(i int) error {
				if i == thieves {
					defer over.Store(true)
					return replace()
				}
				for !over.Load() {
					res, err := p.Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: testkit.Password})
					if err != nil {
						return err
					}
					tokens[i] = append(tokens[i], res.SessionToken)
				}
				return nil
			})
			if got[""]+got["CREDENTIALS_INVALID"] != thieves+1 {
				t.Errorf("%s: %v", what, got)
			}
			for _, token := range slices.Concat(tokens...) {
				if _, err := p.As(token).Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{}); reasonOf(err) != "SESSION_REQUIRED" {
					t.Errorf("the password was replaced %s, and a session that it opened lives: %v", what, err)
				}
			}
			if _, err := p.Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: new}); err != nil {
				t.Errorf("the password was replaced %s: the new one: %v", what, err)
			}
		}
	}
	srv.CheckInvariants(t)
	checkLog(t, srv, testkit.Password, new)
}

func TestLimitsAreSharedByReplicasAndOutliveARestart(t *testing.T) {
	t.Parallel()
	one := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) {
		s.EmailVerification = config.VerifyAfter
		s.PasswordFailures, s.PublicBurst, s.PublicRate = 4, 10, 1
	}})
	two := replica(t, one)
	const address = "203.0.113.7" // one network for guesses, and others for calls
	p := newPerson(t, one)
	guess := func(srv *testkit.Server, from, password string) string {
		_, err := srv.Client(from).Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: password})
		return reasonOf(err)
	}
	call := func(srv *testkit.Server, from string) string {
		_, err := srv.Client(from).Registration.ResendRegistrationCode(t.Context(), &authv1.ResendRegistrationCodeRequest{RegistrationId: ids.New[ids.Registration]().String()})
		return reasonOf(err)
	}
	for i := range 4 {
		if got := guess([]*testkit.Server{one, two}[i%2], address, "a wrong password"); got != "CREDENTIALS_INVALID" {
			t.Fatalf("guess %d: %q", i, got)
		}
	}
	for i := range 10 {
		if got := call([]*testkit.Server{one, two}[i%2], "198.51.100.9"); got != "REGISTRATION_EXPIRED" {
			t.Fatalf("call %d: %q", i, got)
		}
	}
	one.Stop()
	for what, srv := range map[string]*testkit.Server{"the other replica": two, "a new replica": replica(t, two)} {
		if got := guess(srv, address, testkit.Password); got != "RATE_LIMITED" {
			t.Errorf("%s: a guess after too many: %q", what, got)
		}
		if got := call(srv, "198.51.100.9"); got != "RATE_LIMITED" {
			t.Errorf("%s: a call after too many: %q", what, got)
		}
		if got := call(srv, "198.51.100.10"); got != "REGISTRATION_EXPIRED" {
			t.Errorf("%s: a call from elsewhere: %q", what, got)
		}
	}
	two.Clock.Advance(15 * time.Minute)
	if got := guess(two, address, testkit.Password); got != "" {
		t.Errorf("a guess when its time has come: %q", got)
	}
}
