package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/postgres"
)

// exercisePasskeys calls what the module has of passkeys and their challenges, and how
// it counts the ways to sign in. The session is a live one of the user, who has a
// proven address and no password.
func exercisePasskeys(t *testing.T, e *exercise, repository auth.Repository, user ids.User, session ids.Session) {
	t.Helper()
	p := &auth.Passkey{
		ID: ids.New[ids.Passkey](), UserID: user, DisplayName: "Phone", CredentialID: []byte{0xff, 0, '\\', '\''}, PublicKey: []byte{1}, SignCount: 4_000_000_000,
		Transports: []string{"hybrid", "internal"}, AAGUID: uuid.NullUUID{UUID: uuid.New(), Valid: true}, BackupEligible: true, BackedUp: true, CreateTime: now,
	}
	q := &auth.Passkey{
		ID: ids.New[ids.Passkey](), UserID: user, DisplayName: "Key", CredentialID: []byte{2}, PublicKey: []byte{3}, Transports: []string{}, CreateTime: now,
	}
	nobody, other := (*auth.Passkey)(nil), ids.New[ids.User]()
	before := e.call("SecondFactors", user)[0].(auth.SecondFactors)
	e.want(true, "InsertPasskey", p)
	e.want(false, "InsertPasskey", &auth.Passkey{ID: ids.New[ids.Passkey](), UserID: user, DisplayName: "x", CredentialID: p.CredentialID, PublicKey: []byte{1}, Transports: []string{}, CreateTime: now})
	e.want(true, "InsertPasskey", q)
	e.want([]auth.Passkey{*p, *q}, "Passkeys", user)
	e.want([]auth.Passkey(nil), "Passkeys", other)
	e.want(p, "PasskeyOf", p.CredentialID)
	e.want(nobody, "PasskeyOf", []byte{9})
	before.Passkeys += 2
	e.want(before, "SecondFactors", user)
	e.want(auth.SignInWays{Email: true, Passkeys: 2}, "SignInWays", user)

	for _, use := range []struct {
		id    ids.Passkey
		user  ids.User
		count int64
		want  bool
	}{
		{p.ID, user, 4_000_000_000, false},
		{p.ID, user, 1, false},
		{p.ID, user, 0, false},
		{p.ID, other, 4_000_000_001, false},
		{ids.New[ids.Passkey](), user, 1, false},
		{p.ID, user, 4_000_000_001, true},
		{q.ID, user, 0, true},
		{q.ID, user, 0, true},
		{q.ID, user, 1, true},
		{q.ID, user, 0, false}, // it counts by now
	} {
		e.want(use.want, "UsePasskey", use.id, use.user, use.count, use.id == q.ID, now)
	}
	p.SignCount, p.BackedUp, p.LastUseTime = 4_000_000_001, false, now
	q.SignCount, q.BackedUp, q.LastUseTime = 1, true, now
	p.DisplayName = "Laptop"
	e.want(p, "RenamePasskey", user, p.ID, "Laptop")
	if _, err := repository.RenamePasskey(t.Context(), other, p.ID, "Mine"); !fault.Has(err, fault.Missing) {
		t.Errorf("another user's passkey is renamed: %v", err)
	}
	e.want([]auth.Passkey{*p, *q}, "Passkeys", user)
	e.want(false, "DeletePasskey", other, p.ID)
	e.want(true, "DeletePasskey", user, p.ID)
	e.want(false, "DeletePasskey", user, p.ID)

	none, elsewhere := (*auth.Challenge)(nil), ids.New[ids.Session]()
	challenge := func(purpose auth.ChallengePurpose, of ids.Session) *auth.Challenge {
		c := &auth.Challenge{ID: ids.New[ids.Challenge](), Purpose: purpose, SessionID: of, Data: []byte{1, 2}, CreateTime: now, ExpireTime: now.Add(time.Minute)}
		e.call("InsertChallenge", c)
		return c
	}
	signIn, prove := challenge(auth.ToSignIn, ids.Session{}), challenge(auth.ToProve, session)
	for _, wrong := range []struct {
		c       *auth.Challenge
		purpose auth.ChallengePurpose
		session ids.Session
	}{
		{signIn, auth.ToProve, ids.Session{}}, {signIn, auth.ToSignIn, session}, {signIn, auth.ToRegister, session},
		{prove, auth.ToRegister, session}, {prove, auth.ToProve, ids.Session{}}, {prove, auth.ToProve, elsewhere}, {prove, auth.ToSignIn, ids.Session{}},
	} {
		e.want(none, "TakeChallenge", wrong.c.ID, wrong.purpose, wrong.session)
	}
	e.want(signIn, "TakeChallenge", signIn.ID, auth.ToSignIn, ids.Session{})
	e.want(none, "TakeChallenge", signIn.ID, auth.ToSignIn, ids.Session{})
	e.want(prove, "TakeChallenge", prove.ID, auth.ToProve, session)
	var many []*auth.Challenge
	for range 9 {
		many = append(many, challenge(auth.ToProve, session))
	}
	register := challenge(auth.ToRegister, session)
	e.want(none, "TakeChallenge", many[0].ID, auth.ToProve, session) // made room
	e.want(many[1], "TakeChallenge", many[1].ID, auth.ToProve, session)
	e.want(register, "TakeChallenge", register.ID, auth.ToRegister, session)
	e.call("DeleteExpiredChallenges", now.Add(time.Minute))
	e.want(many[2], "TakeChallenge", many[2].ID, auth.ToProve, session)
	e.call("DeleteExpiredChallenges", now.Add(time.Minute+time.Second))
	e.want(none, "TakeChallenge", many[3].ID, auth.ToProve, session)
	err := repository.InsertChallenge(t.Context(), &auth.Challenge{
		ID: ids.New[ids.Challenge](), Purpose: auth.ToProve, SessionID: elsewhere, Data: []byte{1}, CreateTime: now, ExpireTime: now,
	})
	if name := postgres.Constraint(err); name != "challenges_session_id_fkey" { // which the store knows
		t.Errorf("a session that has ended is asked: %v", err)
	}

	e.want(true, "HoldSession", user, session, now, now)
	e.want(false, "HoldSession", other, session, now, now)
	e.want(false, "HoldSession", user, elsewhere, now, now)
	e.want(false, "HoldSession", user, session, now.Add(-time.Second), now)
	e.want(false, "HoldSession", user, session, now, now.Add(24*time.Hour))
}
