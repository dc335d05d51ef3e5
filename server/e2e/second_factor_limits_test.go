package e2e

import (
	"fmt"
	"math"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// TestWrongSecondFactorsAreCountedForTheAccount guesses at once, by many sessions, by
// both methods, over a restart and after sign-ins.
func TestWrongSecondFactorsAreCountedForTheAccount(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) { s.EmailVerification = config.VerifyAfter }})
	p := newPerson(t, srv)
	(&world{t: t, srv: srv}).prove(p)
	a, codes := enrol(t, srv, p)
	full := completed(t, srv, p, a)
	a.tick()
	tokens := make([]string, 10)
	for i := range tokens {
		tokens[i] = begin(t, srv, p.Email)
	}
	wrongCode := a.other(t)
	guess := func(i int) error {
		switch i % 4 {
		case 0:
			_, err := verifyRecovery(t, srv, tokens[i%len(tokens)], "00000-00000-00000-00000-000000")
			return err
		case 1:
			_, err := reauthenticateTOTP(t, srv, full, wrongCode)
			return err
		}
		_, err := verifyTOTP(t, srv, tokens[i%len(tokens)], wrongCode)
		return err
	}
	began := srv.Clock.Now()
	got := atOnce(200, guess)
	// 5 are free; then one after 1, 2, 4, … seconds.
	allowed := 5 + int(math.Log2(srv.Clock.Now().Sub(began).Seconds()+1))
	if evaluated := got["SECOND_FACTOR_INVALID"]; evaluated < 5 || evaluated > allowed || evaluated+got["RATE_LIMITED"] != 200 {
		t.Errorf("of 200 guesses at once: %v, and %d are allowed", got, allowed)
	}

	// The right one has to wait, too, and is told for how long.
	limited := func(what, token string) time.Duration {
		t.Helper()
		_, err := verifyTOTP(t, srv, token, a.code(t, 0))
		refused(t, what, err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
		return client.RetryAfter(err)
	}
	srv.Clock.Stop()                                       // no wait passes by itself
	if got := atOnce(2, guess); got["RATE_LIMITED"] == 0 { // but one may have, before
		t.Errorf("two more guesses: %v", got)
	}
	wait := time.Duration(0)
	for i := range 15 {
		// Next to none is left of the wait: a try of any kind counts.
		now := limited(fmt.Sprint("after failure ", i), tokens[0])
		if now > 15*time.Minute || now < wait-2*time.Second {
			t.Errorf("after failure %d: a wait of %v, and before of %v", i, now, wait)
		}
		wait = now
		srv.Clock.Advance(now)
		tokens[0] = begin(t, srv, p.Email) // the sessions end meanwhile; a sign-in changes nothing
		_, err := verifyTOTP(t, srv, tokens[0], a.other(t))
		factorInvalid(t, "a guess when its time has come", err)
	}
	if wait < 14*time.Minute {
		t.Errorf("the longest wait is %v", wait)
	}

	// On another server, after a restart.
	next := testkit.New(t, testkit.Options{URL: srv.Database, Key: srv.Key, Clock: srv.Clock, WithoutJobs: true})
	a.srv = next
	_, err := verifyTOTP(t, next, tokens[0], a.code(t, 0))
	refused(t, "after a restart", err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
	_, err = verifyRecovery(t, next, tokens[0], codes[0])
	refused(t, "a recovery code", err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)

	// Nobody else is concerned, and the one who waits gets in.
	q := newPerson(t, srv)
	(&world{t: t, srv: srv}).prove(q)
	b, _ := enrol(t, srv, q)
	if _, err := verifyTOTP(t, srv, owing(t, srv, q.Email), b.code(t, 0)); err != nil {
		t.Errorf("somebody else: %v", err)
	}
	srv.Clock.Advance(15 * time.Minute)
	token := begin(t, srv, p.Email)
	if _, err := verifyTOTP(t, srv, token, a.code(t, 0)); err != nil {
		t.Errorf("the right code when its time has come: %v", err)
	}
	// Which ends the count.
	a.tick()
	token = begin(t, srv, p.Email)
	for range 4 {
		_, err := verifyTOTP(t, srv, token, a.other(t))
		factorInvalid(t, "a guess after a success", err)
	}
	if _, err := verifyTOTP(t, srv, token, a.code(t, 0)); err != nil {
		t.Errorf("the right code after four wrong ones: %v", err)
	}
}

// TestWrongSecondFactorsStayCountedWhenTheirTransactionFails breaks the database under
// right and wrong guesses.
func TestWrongSecondFactorsStayCountedWhenTheirTransactionFails(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	a, codes := enrol(t, srv, p)
	token := owing(t, srv, p.Email)
	if _, err := srv.SQL.Exec(t.Context(), "ALTER TABLE auth.sessions ADD CONSTRAINT broken CHECK (second_factor_pending) NOT VALID"); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if _, err := verifyRecovery(t, srv, token, codes[0]); reasonOf(err) != "INTERNAL" {
			t.Errorf("a broken database: %v", err)
		}
	}
	_, err := verifyTOTP(t, srv, token, a.code(t, 0))
	refused(t, "after five that failed", err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
	if _, err := srv.SQL.Exec(t.Context(), "ALTER TABLE auth.sessions DROP CONSTRAINT broken"); err != nil {
		t.Fatal(err)
	}
	srv.Clock.Advance(time.Second)
	if _, err := verifyRecovery(t, srv, token, codes[0]); err != nil {
		t.Errorf("the code whose use was never committed: %v", err)
	}
}
