package e2e

import (
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	"github.com/logicspike/manager/internal/testkit"
)

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
