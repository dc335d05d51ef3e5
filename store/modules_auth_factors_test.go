package store_test

import (
	"testing"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/auth"
)

// exerciseFactors calls what the module has of second factors and of sign-in by mail.
func exerciseFactors(t *testing.T, e *exercise, repository auth.Repository, user ids.User) {
	t.Helper()
	f := &auth.TOTPFactor{
		ID: ids.New[ids.Factor](), UserID: user, DisplayName: "App", Secret: []byte{1}, CreateTime: now, ExpireTime: now.Add(time.Minute),
	}
	none := (*auth.TOTPFactor)(nil)
	e.call("InsertTOTPFactor", f, 0)
	e.want(f, "TOTPFactor", user, f.ID)
	e.want(none, "TOTPFactor", ids.New[ids.User](), f.ID)
	e.want([]auth.TOTPFactor(nil), "TOTPFactors", user)
	e.want(none, "RenameTOTPFactor", user, f.ID, "Phone")
	e.want(false, "DeleteTOTPFactor", user, f.ID)
	e.want(false, "AcceptTOTPStep", user, f.ID, int64(1), now)
	e.want(none, "ConfirmTOTPFactor", user, f.ID, int64(7), now.Add(time.Minute)) // too late
	f.ConfirmTime, f.LastStep = now, 7
	e.want(f, "ConfirmTOTPFactor", user, f.ID, int64(7), now)
	e.want(none, "ConfirmTOTPFactor", user, f.ID, int64(8), now)
	e.want(none, "RenameTOTPFactor", ids.New[ids.User](), f.ID, "Phone")
	f.DisplayName = "Phone"
	e.want(f, "RenameTOTPFactor", user, f.ID, "Phone")
	e.want(false, "AcceptTOTPStep", user, f.ID, int64(7), now)
	e.want(false, "AcceptTOTPStep", user, ids.New[ids.Factor](), int64(9), now)
	e.want(true, "AcceptTOTPStep", user, f.ID, int64(8), now)
	f.LastStep, f.LastUseTime = 8, now
	e.want([]auth.TOTPFactor{*f}, "TOTPFactors", user)

	// Another factor of the user: neither accepts what the other one has.
	g := &auth.TOTPFactor{ID: ids.New[ids.Factor](), UserID: user, DisplayName: "Other", Secret: []byte{2}, CreateTime: now, ExpireTime: now.Add(time.Minute)}
	e.call("InsertTOTPFactor", g, 0)
	e.call("ConfirmTOTPFactor", user, g.ID, int64(3), now)
	e.want(false, "AcceptTOTPStep", user, g.ID, int64(8), now)
	e.want(true, "AcceptTOTPStep", user, g.ID, int64(9), now)
	e.want(false, "AcceptTOTPStep", user, f.ID, int64(9), now)
	e.want(auth.SecondFactors{TOTP: 2}, "SecondFactors", user)
	e.want(true, "DeleteTOTPFactor", user, g.ID)

	// Of those that are not confirmed some stay.
	var waiting []ids.Factor
	for range 4 {
		w := &auth.TOTPFactor{ID: ids.New[ids.Factor](), UserID: user, DisplayName: "App", Secret: []byte{3}, CreateTime: now, ExpireTime: now}
		e.call("InsertTOTPFactor", w, 1)
		waiting = append(waiting, w.ID)
	}
	e.want(none, "TOTPFactor", user, waiting[1])
	if e.call("TOTPFactor", user, waiting[2])[0].(*auth.TOTPFactor) == nil {
		t.Error("the newest but one is gone")
	}
	e.call("DeleteExpiredTOTPFactors", now.Add(time.Hour))
	e.want(none, "TOTPFactor", user, waiting[3])
	if e.call("TOTPFactor", user, f.ID)[0].(*auth.TOTPFactor) == nil {
		t.Error("a confirmed factor expired")
	}

	hash := secret.HashOf("test", "recovery")
	e.call("ReplaceRecoveryCodes", user, []secret.Hash{hash, secret.HashOf("test", "another")}, now)
	if got := e.call("RecoveryCodes", user); got[0] != 2 || !got[1].(time.Time).Equal(now) {
		t.Errorf("RecoveryCodes = %v", got)
	}
	e.want(true, "UseRecoveryCode", user, hash)
	e.want(false, "UseRecoveryCode", user, hash)
	o := auth.Overview{EmailVerified: true, SecondFactors: auth.SecondFactors{TOTP: 1, RecoveryCodes: 1}}
	e.want(o, "Overview", user)
	e.call("ReplaceRecoveryCodes", user, []secret.Hash(nil), now)

	exerciseEmailChallenges(t, e, user)

	failures := newExercise(t, auth.NewFailures(repository, clock.System{}))
	backoff := auth.Backoff{Free: 2, First: time.Hour, Max: time.Hour}
	failures.call("Begin", "key", backoff)
	try := failures.call("Begin", "key", backoff)[0]
	if _, err := auth.NewFailures(repository, clock.System{}).Begin(t.Context(), "key", backoff); !fault.Has(err, fault.RateLimited) {
		t.Errorf("Begin over the limit: %v", err)
	}
	failures.call("Return", try)
	failures.call("Begin", "key", backoff)
	failures.call("Succeed", "key")
	failures.call("Begin", "key", backoff)
	failures.finish()
	e.call("DeleteExpiredFailures", now.Add(48*time.Hour))
}

func exerciseEmailChallenges(t *testing.T, e *exercise, user ids.User) {
	t.Helper()
	const address = "ann@example.com"
	challenge := func(session ids.Session) *auth.EmailChallenge {
		id := ids.New[ids.EmailChallenge]()
		token := secret.HashOf("test", id.String())
		c := &auth.EmailChallenge{
			ID: id, AddressKey: address, SessionID: session, CodeHash: []byte{1}, TokenHash: token[:], BindingHash: []byte{2},
			Transport: authz.Bearer, CreateTime: now, ExpireTime: now.Add(time.Minute),
		}
		e.call("InsertEmailChallenge", c)
		return c
	}
	none, any := (*auth.EmailChallenge)(nil), ids.Session{}
	old, c := challenge(any), challenge(any)
	token := secret.HashOf("test", c.ID.String())
	e.want(none, "TryEmailChallenge", old.ID, secret.Hash{}, any, now)                                        // replaced
	e.want(none, "TryEmailChallenge", c.ID, secret.Hash{}, any, c.ExpireTime)                                 // over
	e.want(none, "TryEmailChallenge", c.ID, secret.Hash{}, ids.New[ids.Session](), now)                       // of no session
	e.want(none, "TryEmailChallenge", ids.EmailChallenge{}, secret.HashOf("test", "another token"), any, now) // of nobody
	c.Attempts = 1
	e.want(c, "TryEmailChallenge", c.ID, secret.Hash{}, any, now)
	c.Attempts = 2
	e.want(c, "TryEmailChallenge", ids.EmailChallenge{}, token, any, now)
	for c.Attempts < auth.MaxAttempts {
		c.Attempts++
		e.want(c, "TryEmailChallenge", c.ID, secret.Hash{}, any, now)
	}
	e.want(none, "TryEmailChallenge", c.ID, secret.Hash{}, any, now)
	e.want(none, "TryEmailChallenge", ids.EmailChallenge{}, token, any, now)
	e.want(true, "ConsumeEmailChallenge", c)
	e.want(false, "ConsumeEmailChallenge", c)
	e.want(none, "TryEmailChallenge", old.ID, secret.Hash{}, any, now)

	s := &auth.Session{
		ID: ids.New[ids.Session](), UserID: user, TokenHash: []byte{9}, Transport: authz.Bearer, CreateTime: now, AuthTime: now,
		LastUseTime: now, IdleExpireTime: now.Add(time.Hour), ExpireTime: now.Add(time.Hour), Methods: []authz.Method{authz.ByPassword},
	}
	e.call("InsertSession", s)
	bound, free := challenge(s.ID), challenge(any)
	e.want(none, "TryEmailChallenge", bound.ID, secret.Hash{}, any, now)
	bound.Attempts = 1
	e.want(bound, "TryEmailChallenge", bound.ID, secret.Hash{}, s.ID, now) // not replaced by one to sign in
	e.want(true, "ConsumeEmailChallenge", bound)
	e.call("DeleteEmailChallenges", address)
	e.want(none, "TryEmailChallenge", free.ID, secret.Hash{}, any, now)
	bound = challenge(s.ID)
	e.call("HaveSecondFactor", []ids.User{user, ids.New[ids.User]()})
	e.call("DeleteSessions", user, ids.Session{})
	e.want(none, "TryEmailChallenge", bound.ID, secret.Hash{}, s.ID, now) // gone with its session
	c = challenge(any)
	e.call("DeleteExpiredEmailChallenges", now.Add(time.Hour))
	e.want(none, "TryEmailChallenge", c.ID, secret.Hash{}, any, now)
}
