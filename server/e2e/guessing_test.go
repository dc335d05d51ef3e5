package e2e

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// guarded is a server with its limits, whose networks are the test's, and whose clock
// stands still: what is waited for does not end because the machine is slow.
func guarded(t *testing.T, settings ...func(*config.Settings)) *testkit.Server {
	t.Helper()
	srv := testkit.New(t, testkit.Options{Limited: true, WithoutJobs: true, Settings: func(s *config.Settings) {
		s.EmailVerification = config.VerifyAfter
		s.PasswordFailures = 10
		for _, set := range settings {
			set(s)
		}
	}})
	srv.Clock.Stop()
	return srv
}

// network is the address of one of many networks.
func network(i int) string { return fmt.Sprintf("198.18.%d.%d", i/250, 1+i%250) }

// TestAStrangerLocksNobodyOut guesses from many networks: what is counted for the
// account as a whole delays strangers, and not a device that the account is known on.
func TestAStrangerLocksNobodyOut(t *testing.T) {
	t.Parallel()
	srv := guarded(t)
	p := newPerson(t, srv)
	home := newGadget(srv, "192.0.2.1")
	home.in(t, p)
	work := newGadget(srv, network(3)) // where the stranger is, too
	work.in(t, p)
	guess := func(i int) error {
		_, err := newGadget(srv, network(i)).signIn(t, p.Email, "a wrong password")
		return err
	}

	// 200 at once are no more than are free: from everywhere 30.
	if got := atOnce(200, guess); got["CREDENTIALS_INVALID"] != 30 || got["RATE_LIMITED"] != 170 {
		t.Errorf("200 guesses at once: %v", got)
	}
	// Then come delays, which double up to an hour.
	var waited []time.Duration
	for i := 200; len(waited) < 14; i++ {
		err := guess(i)
		if reasonOf(err) != "RATE_LIMITED" {
			t.Fatalf("guess %d: %v", i, err)
		}
		wait := client.RetryAfter(err)
		waited = append(waited, wait)
		srv.Clock.Advance(wait)
		if err := guess(i); reasonOf(err) != "CREDENTIALS_INVALID" {
			t.Fatalf("a guess after %v: %v", wait, err)
		}
	}
	if waited[0] > time.Second || waited[5] > 32*time.Second || waited[5] < 20*time.Second || waited[13] > time.Hour || waited[13] < 50*time.Minute {
		t.Errorf("the delays: %v", waited)
	}

	// A stranger waits, even with the right password; those who are known do not.
	stranger := newGadget(srv, "192.0.2.99")
	if _, err := stranger.signIn(t, p.Email, testkit.Password); reasonOf(err) != "RATE_LIMITED" {
		t.Errorf("the right password of a stranger: %v", err)
	}
	home.in(t, p)
	work.in(t, p)
	home.address = "192.0.2.77" // nor anywhere else
	home.in(t, p)
	if _, err := stranger.signIn(t, p.Email, testkit.Password); reasonOf(err) != "RATE_LIMITED" {
		t.Error("the sign-in of a known device ends the delays of strangers")
	}
	// A device that is known for another account is a stranger.
	other := newPerson(t, srv)
	foreign := newGadget(srv, "192.0.2.100")
	foreign.in(t, other)
	if _, err := foreign.signIn(t, p.Email, testkit.Password); reasonOf(err) != "RATE_LIMITED" {
		t.Errorf("the right password from another account's device: %v", err)
	}

	// A delay ends by itself, and with it the failures in a row.
	srv.Clock.Advance(time.Hour)
	stranger.in(t, p)
	for i := range 30 {
		if err := guess(1000 + i); reasonOf(err) != "CREDENTIALS_INVALID" {
			t.Errorf("guess %d after a success: %v", i, err)
		}
	}
}

// TestAStolenDeviceGuessesNoMoreThanOthers: it has a counter of its own.
func TestAStolenDeviceGuessesNoMoreThanOthers(t *testing.T) {
	t.Parallel()
	srv := guarded(t)
	p := newPerson(t, srv)
	stolen, home := newGadget(srv, "192.0.2.1"), newGadget(srv, "192.0.2.2")
	stolen.in(t, p)
	home.in(t, p)
	var next atomic.Int64
	got := atOnce(100, func(int) error {
		copied := newGadget(srv, network(int(next.Add(1))))
		copied.cookies["__Host-manager_device"] = stolen.device()
		_, err := copied.signIn(t, p.Email, "a wrong password")
		return err
	})
	if got["CREDENTIALS_INVALID"] != 10 || got["RATE_LIMITED"] != 90 {
		t.Errorf("100 guesses of one device at once: %v", got)
	}
	if _, err := stolen.signIn(t, p.Email, testkit.Password); reasonOf(err) != "RATE_LIMITED" {
		t.Errorf("the device itself: %v", err)
	}
	home.in(t, p)
	newGadget(srv, "192.0.2.3").in(t, p) // nor do strangers wait for it

	// Once the password is changed, it is a stranger.
	if _, err := home.client().Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{
		CurrentPassword: testkit.Password, NewPassword: "another horse, another staple",
	}); err != nil {
		t.Fatal(err)
	}
	for i := range 31 {
		_, _ = newGadget(srv, network(500+i)).signIn(t, p.Email, "a wrong password")
	}
	if _, err := stolen.signIn(t, p.Email, "another horse, another staple"); reasonOf(err) != "RATE_LIMITED" {
		t.Errorf("a forgotten device: %v", err)
	}
	if _, err := home.signIn(t, p.Email, "another horse, another staple"); err != nil {
		t.Errorf("the device that changed it: %v", err)
	}
}

// TestOneNetworkTriesFewPasswordsOnManyAccounts counts wrong ones of a network over all
// accounts.
func TestOneNetworkTriesFewPasswordsOnManyAccounts(t *testing.T) {
	t.Parallel()
	srv := guarded(t)
	p := newPerson(t, srv)
	const from = "203.0.113.7"
	home := newGadget(srv, from) // in the same network
	home.in(t, p)
	spray := func(int) error {
		_, err := newGadget(srv, from).signIn(t, testkit.NewEmail(), "Spring2026!Spring")
		return err
	}
	if got := atOnce(150, spray); got["CREDENTIALS_INVALID"] != 50 || got["RATE_LIMITED"] != 100 {
		t.Errorf("150 accounts at once: %v", got)
	}
	// In IPv6 one network is a /48.
	six := func(i int) error {
		_, err := newGadget(srv, fmt.Sprintf("2001:db8:1:%x::1", i)).signIn(t, testkit.NewEmail(), "Spring2026!Spring")
		return err
	}
	if got := atOnce(80, six); got["CREDENTIALS_INVALID"] != 50 || got["RATE_LIMITED"] != 30 {
		t.Errorf("80 accounts at once by IPv6: %v", got)
	}
	// Other networks, and known devices of this one, go on.
	newGadget(srv, "203.0.113.8").in(t, p)
	home.in(t, p)
	newcomer := newGadget(srv, from)
	_, err := newcomer.signIn(t, p.Email, testkit.Password)
	if wait := client.RetryAfter(err); reasonOf(err) != "RATE_LIMITED" || wait > time.Second {
		t.Fatalf("a newcomer: %v, retry after %v", err, wait)
	}
	// An account of one's own does not help: its sign-ins end no failures in a row.
	for range 6 {
		for {
			err := spray(0)
			if reasonOf(err) == "CREDENTIALS_INVALID" {
				break
			}
			srv.Clock.Advance(client.RetryAfter(err))
		}
		for {
			_, err := newGadget(srv, from).signIn(t, p.Email, testkit.Password)
			if err == nil {
				break
			}
			srv.Clock.Advance(client.RetryAfter(err))
		}
	}
	_ = spray(0)
	if err := spray(0); reasonOf(err) != "RATE_LIMITED" || client.RetryAfter(err) < 30*time.Second {
		t.Errorf("between one's own sign-ins: %v, retry after %v", err, client.RetryAfter(err))
	}
	// An hour of quiet ends it.
	srv.Clock.Advance(61 * time.Minute)
	for i := range 50 {
		if err := spray(0); reasonOf(err) != "CREDENTIALS_INVALID" {
			t.Fatalf("guess %d after an hour: %v", i, err)
		}
	}
}

// TestFailuresCountWhateverFails breaks the database behind the counters: what was
// guessed stays counted.
func TestFailuresCountWhateverFails(t *testing.T) {
	t.Parallel()
	srv := guarded(t)
	p := newPerson(t, srv)
	if _, err := srv.SQL.Exec(t.Context(), `
		ALTER TABLE river.river_job ADD CONSTRAINT broken CHECK (kind = 'none') NOT VALID;
		ALTER TABLE auth.sessions ADD CONSTRAINT broken CHECK (user_agent = 'none') NOT VALID`); err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		want := "INTERNAL"
		if i >= 10 { // so many are noted in the log
			want = "CREDENTIALS_INVALID"
		}
		if _, err := newGadget(srv, network(i)).signIn(t, p.Email, "a wrong password"); reasonOf(err) != want {
			t.Fatalf("guess %d: %v", i, err)
		}
	}
	if _, err := newGadget(srv, "192.0.2.1").signIn(t, p.Email, "a wrong password"); reasonOf(err) != "RATE_LIMITED" {
		t.Errorf("after failing transactions: %v", err)
	}
}

// TestOverloadCountsAgainstNobody floods a server that has no queue.
func TestOverloadCountsAgainstNobody(t *testing.T) {
	t.Parallel()
	srv := guarded(t, func(s *config.Settings) {
		s.Argon2Memory, s.Argon2Iterations, s.HashConcurrency, s.HashQueue = 19456, 2, 1, 0
		s.PasswordFailures = 1000
	})
	p := newPerson(t, srv)
	home := newGadget(srv, "192.0.2.1")
	home.in(t, p)
	got := atOnce(80, func(i int) error {
		g := newGadget(srv, network(i))
		if i%2 == 0 {
			g.cookies["__Host-manager_device"] = home.device()
		}
		_, err := g.signIn(t, p.Email, testkit.Password)
		return err
	})
	if got["OVERLOADED"] == 0 || got["CREDENTIALS_INVALID"] != 0 {
		t.Errorf("80 at once: %v", got)
	}
	if n := count(t, srv, "SELECT coalesce(sum(count), 0)::int FROM auth.failures"); n != 0 {
		t.Errorf("%d failures are counted", n)
	}
	if n := count(t, srv, "SELECT count(*) FROM auth.failures WHERE free_time > $1", srv.Clock.Now()); n != 0 {
		t.Errorf("%d delays are left", n)
	}
	home.in(t, p)
}

// TestAResetEndsTheDelaysOfStrangers, since who has the address need not wait.
func TestAResetEndsTheDelaysOfStrangers(t *testing.T) {
	t.Parallel()
	srv := guarded(t)
	p := newPerson(t, srv)
	for i := range 33 {
		_, _ = newGadget(srv, network(i)).signIn(t, p.Email, "a wrong password")
	}
	g := newGadget(srv, "192.0.2.1")
	if _, err := g.signIn(t, p.Email, testkit.Password); reasonOf(err) != "RATE_LIMITED" {
		t.Fatalf("before the reset: %v", err)
	}
	if _, err := g.client().Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: p.Email}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.client().Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{
		Token: queued(t, srv, p.Email).Data["token"], NewPassword: "another horse, another staple",
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := g.signIn(t, p.Email, "another horse, another staple"); err != nil {
		t.Errorf("after the reset: %v", err)
	}
}
