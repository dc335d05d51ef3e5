package e2e

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
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

// spelling returns the i-th of many spellings of one address.
func spelling(i int) string {
	local := []byte("ann.o")
	for at := range local {
		if i>>at&1 == 1 && local[at] != '.' {
			local[at] -= 'a' - 'A'
		}
	}
	return string(local) + "@" + []string{"bücher.example", "BÜCHER.Example", "xn--bcher-kva.example"}[i%3]
}

func TestFiftyRegistrationsOfOneAddressMakeOneUser(t *testing.T) {
	t.Parallel()
	const many = 50
	register := func(srv *testkit.Server, i int) (*authv1.RegisterResponse, error) {
		return srv.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{
			Email: spelling(i), Password: testkit.Password, WorkspaceName: "Acme",
		})
	}
	oneUser := func(t *testing.T, srv *testkit.Server) {
		t.Helper()
		for _, table := range []string{"identity.users", "identity.emails", "auth.credentials", "tenant.workspaces", "team.memberships", "auth.sessions"} {
			if n := count(t, srv, "SELECT count(*) FROM "+table); n != 1 {
				t.Errorf("%d rows in %s, want 1", n, table)
			}
		}
		srv.CheckInvariants(t)
		checkLog(t, srv, testkit.Password)
	}

	t.Run("when addresses are proven before", func(t *testing.T) {
		t.Parallel()
		srv := testkit.New(t, testkit.Options{WithoutJobs: true})
		registered := atOnce(many, func(i int) error {
			_, err := register(srv, i)
			return err
		})
		if registered[""] != many {
			t.Fatalf("registrations: %v", registered)
		}
		mails, err := readQueue(t.Context(), srv, "", many+1)
		if err != nil {
			t.Fatal(err)
		}
		if len(mails) != many {
			t.Fatalf("%d mails, want %d", len(mails), many)
		}
		began := time.Now()
		verified := atOnce(many, func(i int) error {
			_, err := srv.Client("").Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
				Token: mails[i].Data["token"], Password: testkit.Password,
			})
			return err
		})
		if verified[""] != 1 || verified["CODE_INVALID"] != many-1 {
			t.Errorf("verifications: %v, want one success, and CODE_INVALID for the others", verified)
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("the verifications took %v: they wait for each other in circles", took)
		}
		oneUser(t, srv)
	})

	t.Run("when addresses are proven after", func(t *testing.T) {
		t.Parallel()
		srv := quick(t)
		var mu sync.Mutex
		accounts := map[string]bool{}
		registered := atOnce(many, func(i int) error {
			res, err := register(srv, i)
			if err == nil && res.Account != nil {
				mu.Lock()
				accounts[res.Account.User.Id] = true
				mu.Unlock()
			}
			return err
		})
		if registered[""] != many || len(accounts) != 1 {
			t.Errorf("registrations: %v; %d accounts, want 1", registered, len(accounts))
		}
		oneUser(t, srv)
	})
}

func TestRegistrationsOfOneAddressDoNotDisturbEachOther(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true})
	email := testkit.NewEmail()
	c := srv.Client("")
	begin := func() *authv1.VerifyRegistrationRequest {
		res, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme"})
		if err != nil {
			t.Fatal(err)
		}
		return &authv1.VerifyRegistrationRequest{RegistrationId: res.Registration.Id, Code: queued(t, srv, email).Data["code"]}
	}
	verify := func(req *authv1.VerifyRegistrationRequest) error {
		_, err := c.Registration.VerifyRegistration(t.Context(), req)
		return err
	}
	mine, theirs, late := begin(), begin(), begin()
	for range 5 {
		wrong := &authv1.VerifyRegistrationRequest{RegistrationId: theirs.RegistrationId, Code: otherCode(theirs.Code)}
		if got := reasonOf(verify(wrong)); got != "CODE_INVALID" {
			t.Fatalf("a wrong code: %q", got)
		}
	}
	mixed := &authv1.VerifyRegistrationRequest{RegistrationId: late.RegistrationId, Code: mine.Code}
	if mine.Code != late.Code && reasonOf(verify(mixed)) != "CODE_INVALID" {
		t.Error("the code of one registration verified another")
	}
	if err := verify(mine); err != nil {
		t.Errorf("another registration's wrong codes void this one's: %v", err)
	}
	for what, req := range map[string]*authv1.VerifyRegistrationRequest{"the one again": mine, "the voided one": theirs, "the late one": late} {
		if got := reasonOf(verify(req)); got != "CODE_INVALID" {
			t.Errorf("%s: %q, want CODE_INVALID", what, got)
		}
	}
	srv.CheckInvariants(t)
}

func TestOneRegistrationVerifiedByManyAtOnceMakesOneUser(t *testing.T) {
	t.Parallel()
	const many = 20
	srv := testkit.New(t, testkit.Options{WithoutJobs: true})
	same := uuid.NewString()
	for _, c := range []struct {
		promise   string
		requestID func() string
		succeed   int
	}{
		{"with one request id all get the same account", func() string { return same }, many},
		{"with request ids of their own one wins", uuid.NewString, 1},
		{"without a request id one wins", func() string { return "" }, 1},
	} {
		email := testkit.NewEmail()
		reg, err := srv.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme"})
		if err != nil {
			t.Fatal(err)
		}
		code := queued(t, srv, email).Data["code"]
		var mu sync.Mutex
		accounts, sessions := map[string]int{}, map[string]int{}
		got := atOnce(many, func(int) error {
			res, err := srv.Client("").Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
				RegistrationId: reg.Registration.Id, Code: code, RequestId: c.requestID(),
			})
			if err == nil {
				mu.Lock()
				accounts[res.Account.User.Id+res.Account.Workspace.Id+res.Account.Membership.Id]++
				sessions[res.Account.SessionToken]++
				mu.Unlock()
			}
			return err
		})
		if got[""] != c.succeed || got["CODE_INVALID"] != many-c.succeed || len(accounts) != 1 || len(sessions) != c.succeed {
			t.Errorf("%s: %v; %d accounts, %d sessions", c.promise, got, len(accounts), len(sessions))
		}
	}
	srv.CheckInvariants(t)
}

// TestFiftyGuessesAtOnceAreFive guesses codes of every kind: no more than five
// are compared, and then not even the right one is taken.
func TestFiftyGuessesAtOnceAreFive(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	p := newPerson(t, srv)
	address := testkit.NewEmail()
	reg, err := p.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: testkit.NewEmail(), Password: testkit.Password, WorkspaceName: "Acme"})
	if err != nil {
		t.Fatal(err)
	}
	regCode := queued(t, srv, reg.Account.User.Email).Data["code"]
	reset, err := p.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: p.Email})
	if err != nil {
		t.Fatal(err)
	}
	resetCode := queued(t, srv, p.Email).Data["code"]
	change, err := p.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: address})
	if err != nil {
		t.Fatal(err)
	}
	changeCode := queued(t, srv, address).Data["code"]
	for _, c := range []struct {
		what     string
		guesses  int
		code     string
		guess    func(code string) error
		attempts string
	}{
		{"a registration's code", 50, regCode, func(code string) error {
			_, err := srv.Client("").Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{RegistrationId: reg.Registration.Id, Code: code})
			return err
		}, "SELECT code_attempts FROM auth.registrations WHERE id = '" + uuidOf(t, reg.Registration.Id).String() + "'"},
		{"a reset's code", 50, resetCode, func(code string) error {
			_, err := srv.Client("").Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{PasswordResetId: reset.PasswordResetId, Code: code, NewPassword: testkit.Password})
			return err
		}, "SELECT attempts FROM auth.password_resets"},
		// 29, since a user may try 30 times an hour.
		{"a change of address's code", 29, changeCode, func(code string) error {
			_, err := srv.Client("", client.WithSession(p.Token)).Users.ConfirmEmailChange(t.Context(), &identityv1.ConfirmEmailChangeRequest{EmailChangeId: change.EmailChangeId, Code: code})
			return err
		}, "SELECT attempts FROM identity.email_changes"},
	} {
		got := atOnce(c.guesses, func(int) error { return c.guess(otherCode(c.code)) })
		if got["CODE_INVALID"] != c.guesses {
			t.Errorf("%s: %v, want CODE_INVALID for all", c.what, got)
		}
		if n := count(t, srv, c.attempts); n != 5 {
			t.Errorf("%s: %d guesses were compared, want 5", c.what, n)
		}
		if got := reasonOf(c.guess(c.code)); got != "CODE_INVALID" {
			t.Errorf("%s: the right one after all: %q, want CODE_INVALID", c.what, got)
		}
	}
	checkLog(t, srv, regCode, resetCode, changeCode)
}

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
	mine, err := p.Users.PreviewDeleteMe(t.Context(), &identityv1.PreviewDeleteMeRequest{})
	must(err)
	_, err = p.Users.DeleteMe(t.Context(), &identityv1.DeleteMeRequest{Etag: mine.Etag, Resolutions: []*identityv1.WorkspaceResolution{
		{WorkspaceId: p.Workspace.Id, Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true}},
	}})
	must(err)
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

// TestDeletionAgainstThoseWhoComeAndGo deletes and purges a workspace while
// people join it, and while its members make workspaces of their own: whoever has
// another workspace when the purge commits stays, and nobody is half gone.
func TestDeletionAgainstThoseWhoComeAndGo(t *testing.T) {
	t.Parallel()
	const rounds, members = 12, 4
	srv := quick(t)
	outcomes := map[string]int{}
	for range rounds {
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

// TestSixteenPeopleDoingEverythingAtOnceLeaveEverythingWhole runs all mutating
// calls, at random, on shared accounts and workspaces.
func TestSixteenPeopleDoingEverythingAtOnceLeaveEverythingWhole(t *testing.T) {
	t.Parallel()
	const workers, duration = 16, 3 * time.Second
	srv := quick(t)
	c := &crowd{t: t, srv: srv, client: srv.Client("", client.WithHTTPClient(&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}))}
	for range 12 {
		c.people = append(c.people, newPerson(t, srv))
	}
	for i, p := range c.people {
		for n, role := range []authz.Role{authz.Owner, authz.Admin, authz.Member} {
			srv.Join(t, p, c.people[(i+n+1)%len(c.people)].Workspace.Id, role)
		}
		c.workspaces = append(c.workspaces, p.Workspace.Id)
	}
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE identity.emails SET verified_time = now()"); err != nil { // so that they can accept
		t.Fatal(err)
	}
	outcomes := make([]map[string]int, workers)
	end := time.Now().Add(duration)
	var wg sync.WaitGroup
	for i := range workers {
		outcomes[i] = map[string]int{}
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for time.Now().Before(end) {
				name, err := c.act(random)
				outcomes[i][name+": "+reasonOf(err)]++
			}
		})
	}
	wg.Wait()
	total := map[string]int{}
	for _, o := range outcomes {
		add(total, "", o)
	}
	for _, outcome := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%5d %s", total[outcome], outcome)
	}
	allowed(t, total, "", "SESSION_REQUIRED", "CREDENTIALS_INVALID", "REAUTHENTICATION_REQUIRED", "PERMISSION_MISSING", "NOT_FOUND",
		"CODE_INVALID", "REGISTRATION_EXPIRED", "RATE_LIMITED", "SLUG_TAKEN", "ETAG_MISMATCH", "REQUEST_ID_REUSED",
		"WORKSPACE_DELETED", "WORKSPACE_NOT_DELETED", "OWNER_REQUIRED", "FIELD_INVALID",
		"EMAIL_UNVERIFIED", "EMAIL_TAKEN", "ALREADY_MEMBER", "ROLE_NOT_GRANTABLE", "ROLE_NAME_TAKEN", "ROLE_IN_USE",
		"INVITATION_USED", "INVITATION_REVOKED", "MEMBERSHIP_DEACTIVATED", "MEMBER_REMOVED")
	succeeded := 0
	for _, call := range teamwork {
		succeeded += min(total[call.name+": "], 1)
	}
	if succeeded < len(teamwork)/2 {
		t.Errorf("only %d of %d calls about teams ever succeeded", succeeded, len(teamwork))
	}
	srv.CheckInvariants(t)
	srv.Clock.Advance(15 * 24 * time.Hour)
	if _, err := srv.Store.PurgeDue(t.Context()); err != nil {
		t.Errorf("PurgeDue: %v", err)
	}
	srv.CheckInvariants(t)
	checkLog(t, srv, testkit.Password)
}

// crowd is the people and workspaces that random calls are about.
type crowd struct {
	t      *testing.T
	srv    *testkit.Server
	client *client.Client

	mu         sync.Mutex
	people     []*testkit.Person // the tokens of whom change
	workspaces []string
	links      []string // tokens of invitation links
}

// act makes one random call, and returns its name.
func (c *crowd) act(random *rand.Rand) (string, error) {
	ctx := c.t.Context()
	c.mu.Lock()
	who := random.IntN(len(c.people))
	p, other := *c.people[who], *c.people[random.IntN(len(c.people))]
	workspace := c.workspaces[random.IntN(len(c.workspaces))]
	c.mu.Unlock()
	if random.IntN(2) == 0 {
		workspace = p.Workspace.Id
	}
	signedIn := func(token string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.people[who].User.Id == p.User.Id {
			again := p
			again.Token = token
			c.people[who] = &again
		}
	}
	me := c.client.As(p.Token)
	if random.IntN(2) == 0 {
		call := teamwork[random.IntN(len(teamwork))]
		return call.name, call.call(ctx, &teamCall{crowd: c, random: random, me: me, other: other, workspace: workspace})
	}
	switch action := random.IntN(40); action {
	case 0, 1, 2:
		res, err := c.client.Registration.Register(ctx, &authv1.RegisterRequest{Email: testkit.NewEmail(), Password: testkit.Password, WorkspaceName: "Acme"})
		if err == nil {
			c.mu.Lock()
			c.people[who] = c.srv.Person(res.Account.User.Email, res.Account)
			c.workspaces[random.IntN(len(c.workspaces))] = res.Account.Workspace.Id
			c.mu.Unlock()
		}
		return "Register", err
	case 3:
		_, err := c.client.Registration.Register(ctx, &authv1.RegisterRequest{Email: other.Email, Password: testkit.Password, WorkspaceName: "Acme"})
		return "Register a known address", err
	case 4, 5, 6, 7, 8:
		res, err := c.client.Authentication.SignInWithPassword(ctx, &authv1.SignInWithPasswordRequest{Email: p.Email, Password: testkit.Password})
		if err == nil {
			signedIn(res.SessionToken)
		}
		return "SignInWithPassword", err
	case 9:
		_, err := me.Authentication.SignOut(ctx, &authv1.SignOutRequest{})
		return "SignOut", err
	case 10, 11:
		res, err := me.Authentication.Reauthenticate(ctx, &authv1.ReauthenticateRequest{Password: testkit.Password})
		if err == nil {
			signedIn(res.SessionToken)
		}
		return "Reauthenticate", err
	case 12:
		_, err := me.Sessions.RevokeOtherSessions(ctx, &authv1.RevokeOtherSessionsRequest{})
		return "RevokeOtherSessions", err
	case 13:
		_, err := me.Sessions.RevokeSession(ctx, &authv1.RevokeSessionRequest{SessionId: p.Session.Id})
		return "RevokeSession", err
	case 14, 15:
		res, err := me.Passwords.ChangePassword(ctx, &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: testkit.Password})
		if err == nil {
			signedIn(res.SessionToken)
		}
		return "ChangePassword", err
	case 16:
		res, err := c.client.Passwords.RequestPasswordReset(ctx, &authv1.RequestPasswordResetRequest{Email: p.Email})
		if err != nil {
			return "RequestPasswordReset", err
		}
		_, err = c.client.Passwords.ResetPassword(ctx, &authv1.ResetPasswordRequest{
			PasswordResetId: res.PasswordResetId, Code: c.code(p.Email), NewPassword: testkit.Password,
		})
		return "ResetPassword", err
	case 17:
		_, err := me.Users.UpdateMe(ctx, &identityv1.UpdateMeRequest{DisplayName: fmt.Sprint("Ann ", random.IntN(100))})
		return "UpdateMe", err
	case 18, 19:
		to := testkit.NewEmail()
		res, err := me.Users.RequestEmailChange(ctx, &identityv1.RequestEmailChangeRequest{NewEmail: to})
		if err != nil {
			return "RequestEmailChange", err
		}
		changed, err := me.Users.ConfirmEmailChange(ctx, &identityv1.ConfirmEmailChangeRequest{EmailChangeId: res.EmailChangeId, Code: c.code(to)})
		if err == nil {
			c.mu.Lock()
			again := *c.people[who]
			if again.User.Id == p.User.Id {
				again.Email = changed.User.Email
				c.people[who] = &again
			}
			c.mu.Unlock()
		}
		return "ConfirmEmailChange", err
	case 20, 21:
		req := &identityv1.DeleteMeRequest{}
		preview, err := me.Users.PreviewDeleteMe(ctx, &identityv1.PreviewDeleteMeRequest{})
		if err != nil {
			return "PreviewDeleteMe", err
		}
		req.Etag = preview.Etag
		for _, w := range preview.SoleOwnedWorkspaces {
			req.Resolutions = append(req.Resolutions, &identityv1.WorkspaceResolution{
				WorkspaceId: w.WorkspaceId, Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true},
			})
		}
		_, err = me.Users.DeleteMe(ctx, req)
		return "DeleteMe", err
	case 22, 23, 24:
		slug := ""
		if random.IntN(2) == 0 {
			slug = fmt.Sprint("slug-", random.IntN(20))
		}
		res, err := me.Workspaces.CreateWorkspace(ctx, &tenantv1.CreateWorkspaceRequest{
			Name: "Acme", Slug: slug, RequestId: uuid.NewSHA1(uuid.NameSpaceOID, []byte(slug)).String(),
		})
		if err == nil {
			c.mu.Lock()
			c.workspaces[random.IntN(len(c.workspaces))] = res.Workspace.Id
			c.mu.Unlock()
		}
		return "CreateWorkspace", err
	case 25, 26:
		_, err := me.Workspaces.UpdateWorkspace(ctx, &tenantv1.UpdateWorkspaceRequest{WorkspaceId: workspace, Slug: fmt.Sprint("slug-", random.IntN(20))})
		return "UpdateWorkspace", err
	case 27, 28, 29, 30, 31:
		preview, err := me.Workspaces.PreviewDeleteWorkspace(ctx, &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: workspace})
		if err != nil {
			return "PreviewDeleteWorkspace", err
		}
		if action < 30 {
			_, err = me.Workspaces.DeleteWorkspace(ctx, &tenantv1.DeleteWorkspaceRequest{WorkspaceId: workspace, Etag: preview.Etag})
			return "DeleteWorkspace", err
		}
		_, err = me.Workspaces.PurgeWorkspace(ctx, &tenantv1.PurgeWorkspaceRequest{WorkspaceId: workspace, Etag: preview.Etag})
		return "PurgeWorkspace", err
	case 32, 33, 34:
		_, err := me.Workspaces.UndeleteWorkspace(ctx, &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: workspace})
		return "UndeleteWorkspace", err
	default:
		return "(join)", joinNow(ctx, c.srv, &other, workspace)
	}
}

// code returns the code that was mailed to an address last, or another one.
func (c *crowd) code(address string) string {
	if m, err := readQueue(c.t.Context(), c.srv, address, 50); err == nil && len(m) > 0 && m[0].Data["code"] != "" {
		return m[0].Data["code"]
	}
	return "000000"
}
