package e2e

import (
	"net/netip"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

func TestAResetIsMailedToTheAddressOfTheAccountAlone(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.RegisterAs(t, "Strauss@example.com", "Waltz")
	c := srv.Client("")
	for _, lookalike := range []string{"strauß@example.com", "ſtrauss@example.com"} {
		_, _ = c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: lookalike})
	}
	if _, err := c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: "STRAUSS@EXAMPLE.COM"}); err != nil {
		t.Fatal(err)
	}
	srv.Mail(t, p.Email, 2)
	all, err := srv.Mailbox.List(100)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.To != p.Email {
			t.Errorf("a mail went to %s", m.To)
		}
	}
}

func TestARepeatedVerificationGivesNoSessionOnceThePasswordWasChanged(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	email := testkit.NewEmail()
	c := srv.Client("")
	began, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme"})
	if err != nil {
		t.Fatal(err)
	}
	verify := &authv1.VerifyRegistrationRequest{RegistrationId: began.Registration.Id, Code: srv.Code(t, email), RequestId: uuid.NewString()}
	res, err := c.Registration.VerifyRegistration(t.Context(), verify)
	if err != nil {
		t.Fatal(err)
	}
	p := srv.Person(email, res.Account)
	if _, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{
		CurrentPassword: testkit.Password, NewPassword: "a wholly different passphrase",
	}); err != nil {
		t.Fatal(err)
	}
	_, err = c.Registration.VerifyRegistration(t.Context(), verify)
	codeInvalid(t, "the verification again", err)
}

// signInFrom signs in from a network address.
func signInFrom(t *testing.T, srv *testkit.Server, address, email, password string) error {
	t.Helper()
	_, err := srv.Client(address).Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: email, Password: password})
	return err
}

func TestOneSiteOfManyIPv6NetworksDoesNotLockTheOwnerOut(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Limited: true, Settings: func(s *config.Settings) { s.PasswordFailures = 10 }})
	p := srv.Register(t)
	guess := netip.MustParseAddr("2001:db8:1::1").As16()
	refusals := 0
	for n := range 120 {
		guess[7] = byte(n) // another /64 each time
		switch err := signInFrom(t, srv, netip.AddrFrom16(guess).String(), p.Email, "a wrong password"); connect.CodeOf(err) {
		case connect.CodeUnauthenticated:
		case connect.CodeResourceExhausted:
			refusals++
		default:
			t.Fatal(err)
		}
	}
	if refusals < 100 {
		t.Errorf("%d guesses were answered", 120-refusals)
	}
	// On a device that is not known they wait a second, which the tenth guess costs.
	srv.Clock.Advance(time.Second)
	if err := signInFrom(t, srv, "192.0.2.1", p.Email, testkit.Password); err != nil {
		t.Errorf("the owner elsewhere: %v", err)
	}
}

func TestAnOverloadedServerCountsNoWrongPasswords(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Limited: true, Settings: func(s *config.Settings) {
		s.PasswordFailures, s.HashQueue, s.HashConcurrency = 3, 0, 1
		s.Argon2Memory, s.Argon2Iterations = 64<<10, 20 // slow enough to be in each other's way
	}})
	p := &testkit.Person{Email: testkit.NewEmail()}
	c := srv.Client("")
	began, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: p.Email, Password: testkit.Password, WorkspaceName: "Acme"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
		RegistrationId: began.Registration.Id, Code: srv.Code(t, p.Email),
	}); err != nil {
		t.Fatal(err)
	}
	const calls = 12
	results := make(chan error, calls)
	for range calls {
		go func() { results <- signInFrom(t, srv, "192.0.2.1", p.Email, testkit.Password) }()
	}
	overloaded := 0
	for range calls {
		if err := <-results; err != nil {
			overloaded++
		}
	}
	if overloaded < calls/2 {
		t.Fatalf("%d of %d calls were refused: the server was not overloaded", overloaded, calls)
	}
	if err := signInFrom(t, srv, "192.0.2.1", p.Email, testkit.Password); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestEveryWayToMailAnAddressCountsTowardsItsLimit(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Limited: true})
	p := srv.Register(t)
	victim := testkit.NewEmail()
	c := srv.Client("")
	limited := func(what string, err error) {
		t.Helper()
		refused(t, what, err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
	}
	register := func() (*authv1.RegisterResponse, error) {
		return c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: victim, Password: testkit.Password, WorkspaceName: "Acme"})
	}
	var last *authv1.RegisterResponse
	for range 6 {
		res, err := register()
		if err != nil {
			t.Fatal(err)
		}
		last = res
	}
	_, err := register()
	limited("registering", err)
	_, err = c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: victim})
	limited("a reset", err)
	_, err = p.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: victim})
	limited("a change of address", err)
	srv.Clock.Advance(2 * time.Minute)
	_, err = c.Registration.ResendRegistrationCode(t.Context(), &authv1.ResendRegistrationCodeRequest{RegistrationId: last.Registration.Id})
	limited("another code", err)
}

// TestALimitOutlivesAClockThatWasWrong has a counter that was written a year from
// now.
func TestALimitOutlivesAClockThatWasWrong(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Limited: true, Settings: func(s *config.Settings) { s.PasswordFailures = 3 }})
	p := srv.Register(t)
	if err := signInFrom(t, srv, "192.0.2.1", p.Email, "a wrong password"); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Fatal(err)
	}
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE auth.throttles SET free_time = free_time + interval '1 year'"); err != nil {
		t.Fatal(err)
	}
	if err := signInFrom(t, srv, "192.0.2.1", p.Email, testkit.Password); err != nil {
		t.Error(err)
	}
}

// TestTheLogGoesOnAfterAMoveToAnotherServer has a log whose transactions are those
// of a server that had seen far more of them.
func TestTheLogGoesOnAfterAMoveToAnotherServer(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	logged(t, p, p.Workspace.Id, "workspace.created")
	if _, err := srv.SQL.Exec(t.Context(), `
		UPDATE audit.events SET tx = '1000000000000';
		UPDATE manager.facts SET value = 'another' WHERE name = 'server'`); err != nil {
		t.Fatal(err)
	}
	// What a start does.
	if err := store.Migrate(t.Context(), srv.Database); err != nil {
		t.Fatal(err)
	}
	if err := remove(t, p, p.Workspace.Id, preview(t, p, p.Workspace.Id).Etag); err != nil {
		t.Fatal(err)
	}
	srv.Clock.Advance(time.Second)
	if _, err := p.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{}); err != nil {
		t.Fatal(err)
	}
	srv.SignIn(t, p)
	logged(t, p, "", "user.registered", "session.ended", "session.created")
}
