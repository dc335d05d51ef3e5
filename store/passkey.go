package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/identity"
)

// ChallengeLifetime is how long a passkey's challenge can be answered.
const ChallengeLifetime = 5 * time.Minute

// MaxPasskeys is how many passkeys an account has at most.
const MaxPasskeys = 20

// StartChallenge stores what a passkey is asked, for a session, or with nil to sign
// in. The data is what the answer is judged by.
//
// Errors: fault SESSION_REQUIRED when the session has ended.
func (s *Store) StartChallenge(ctx context.Context, purpose auth.ChallengePurpose, caller *authz.Session, data []byte) (c *auth.Challenge, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		c = &auth.Challenge{
			ID: ids.New[ids.Challenge](), Purpose: purpose, Data: data, CreateTime: t.now, ExpireTime: t.now.Add(ChallengeLifetime),
		}
		if caller != nil {
			c.SessionID = caller.ID
		}
		return t.auth.InsertChallenge(ctx, c)
	})
	return c, err
}

// TakeChallenge returns the data of a challenge for a purpose and a session, nil for
// none. From then on it is gone, whatever becomes of the answer: no second answer is
// judged by it (WebAuthn Level 3, 13.4.3).
//
// Errors: fault CHALLENGE_INVALID.
func (s *Store) TakeChallenge(ctx context.Context, id ids.Challenge, purpose auth.ChallengePurpose, caller *authz.Session) (data []byte, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		data = nil
		var session ids.Session
		if caller != nil {
			session = caller.ID
		}
		c, err := t.auth.TakeChallenge(ctx, id, purpose, session)
		if err != nil {
			return err
		}
		if c != nil && t.now.Before(c.ExpireTime) {
			data = c.Data
		}
		return nil // and commit
	})
	if err == nil && data == nil {
		err = fault.New(fault.FailedPrecondition, fault.ChallengeInvalid, "the challenge is unknown, expired, answered before, or for something else; start again")
	}
	return data, err
}

// MayAddPasskey returns the caller and their passkeys, if they may register another
// one.
//
// Errors: fault EMAIL_UNVERIFIED, TOO_MANY.
func (s *Store) MayAddPasskey(ctx context.Context, caller *authz.Session) (user *identity.User, known []auth.Passkey, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		if user, err = t.identity.User(ctx, caller.User); fault.Has(err, fault.Missing) {
			return errGone()
		} else if err != nil {
			return err
		}
		known, err = t.mayAddPasskey(ctx, user)
		return err
	})
	return user, known, err
}

func (t *tx) mayAddPasskey(ctx context.Context, user *identity.User) ([]auth.Passkey, error) {
	if user.Email == nil || !user.Email.Verified() {
		return nil, errUnverified()
	}
	known, err := t.auth.Passkeys(ctx, user.ID)
	if err == nil && len(known) >= MaxPasskeys {
		err = fault.New(fault.FailedPrecondition, fault.TooMany, "the account has as many passkeys as it can have; remove one first")
	}
	return known, err
}

// RegisterPasskey stores a passkey of the caller, of which the name, the credential
// and what goes with it are given. With the first second factor of the account it
// returns recovery codes, and ends the caller's other sessions.
//
// Errors: fault PASSKEY_TAKEN, also when it is the caller's own already;
// EMAIL_UNVERIFIED, TOO_MANY; SESSION_REQUIRED when the session has ended.
func (s *Store) RegisterPasskey(ctx context.Context, caller *authz.Session, p *auth.Passkey) (codes []string, err error) {
	p.ID, p.UserID = ids.New[ids.Passkey](), caller.User
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.LockUsers(ctx, []ids.User{caller.User}); err != nil {
			return err
		}
		user, err := t.lockCaller(ctx, caller.User)
		if err != nil {
			return err
		}
		if err := t.holdSession(ctx, caller); err != nil {
			return err
		}
		if _, err := t.mayAddPasskey(ctx, user); err != nil {
			return err
		}
		before, err := t.auth.SecondFactors(ctx, caller.User)
		if err != nil {
			return err
		}
		p.CreateTime = t.now
		if inserted, err := t.auth.InsertPasskey(ctx, p); err != nil {
			return err
		} else if !inserted {
			return fault.New(fault.FailedPrecondition, fault.PasskeyTaken, "the passkey is registered already")
		}
		if codes, err = t.factorAdded(ctx, caller.User, before, caller.ID); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{
			UserID: caller.User, Action: "passkey.created", TargetID: p.ID.String(), Details: map[string]any{"backed_up": p.BackedUp},
		}); err != nil {
			return err
		}
		return t.mailSecurity(ctx, caller.User, mail.PasskeyAdded, "")
	})
	return codes, err
}

// holdSession makes sure that the caller's session has not ended since the call
// began, nor got another token, which voids the one that they called with. Who ends the sessions of a user locks the user; with the user locked here,
// too, what a session adds to an account is there before its sessions end, or is not
// added.
//
// Errors: fault SESSION_REQUIRED.
func (t *tx) holdSession(ctx context.Context, caller *authz.Session) error {
	live, err := t.auth.HoldSession(ctx, caller.User, caller.ID, caller.AuthTime, t.now)
	if err == nil && !live {
		err = errNoSession()
	}
	return err
}

// RenamePasskey gives a passkey of the caller another name.
//
// Errors: fault NOT_FOUND.
func (s *Store) RenamePasskey(ctx context.Context, caller *authz.Session, id ids.Passkey, name string) (p *auth.Passkey, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.HoldUser(ctx, caller.User); err != nil {
			return err
		}
		if p, err = t.auth.RenamePasskey(ctx, caller.User, id, name); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{UserID: caller.User, Action: "passkey.updated", TargetID: id.String()})
	})
	return p, err
}

// DeletePasskey removes a passkey of the caller. With the last second factor the
// recovery codes go, too.
//
// Errors: fault NOT_FOUND; LAST_SIGN_IN_METHOD; SESSION_REQUIRED when the session has
// ended.
func (s *Store) DeletePasskey(ctx context.Context, caller *authz.Session, id ids.Passkey) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.LockUsers(ctx, []ids.User{caller.User}); err != nil {
			return err
		}
		if err := t.holdSession(ctx, caller); err != nil {
			return err
		}
		ways, err := t.waysToSignIn(ctx, caller.User)
		if err != nil {
			return err
		}
		if found, err := t.auth.DeletePasskey(ctx, caller.User, id); err != nil {
			return err
		} else if !found {
			return fault.NotFoundFault()
		}
		if ways.Count() < 2 {
			return errLastWay() // and roll back
		}
		if err := t.factorRemoved(ctx, caller.User); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{UserID: caller.User, Action: "passkey.deleted", TargetID: id.String()}); err != nil {
			return err
		}
		return t.mailSecurity(ctx, caller.User, mail.PasskeyRemoved, "")
	})
}

// PasskeyUse is an answer of a passkey that was found right, but for its count.
type PasskeyUse struct {
	Passkey *auth.Passkey
	// SignCount is the authenticator's counter, 0 where it has none.
	SignCount uint32
	// BackedUp is whether there is a copy of the passkey now.
	BackedUp bool
}

// usePasskey records a use of a passkey, whose user is held or locked. It returns
// false when it must be refused: the passkey is gone, or its count shows that there
// may be a copy of what holds it (WebAuthn Level 3, 6.1.1), of which the user is
// told. The refusal is to be committed.
func (t *tx) usePasskey(ctx context.Context, use PasskeyUse) (bool, error) {
	p := use.Passkey
	used, err := t.auth.UsePasskey(ctx, p.ID, p.UserID, int64(use.SignCount), use.BackedUp, t.now)
	if err != nil || used {
		return used, err
	}
	if still, err := t.auth.PasskeyOf(ctx, p.CredentialID); err != nil || still == nil || still.ID != p.ID {
		return false, err
	}
	if err := t.record(ctx, audit.Event{
		UserID: p.UserID, Action: "passkey.cloned_suspected", TargetID: p.ID.String(),
	}); err != nil {
		return false, err
	}
	return false, t.mailSecurity(ctx, p.UserID, mail.PasskeyClonedSuspected, "")
}

// ErrPasskeyRefused is the fault of a passkey whose answer is wrong, whatever is
// wrong with it, where it signs in.
func ErrPasskeyRefused() *fault.Fault {
	return fault.New(fault.Unauthenticated, fault.CredentialsInvalid, "the passkey's answer is wrong, or the passkey is not known")
}

// ErrSecondPasskeyRefused is ErrPasskeyRefused where the passkey proves who a
// session's user is.
func ErrSecondPasskeyRefused() *fault.Fault {
	return fault.New(fault.Unauthenticated, fault.SecondFactorInvalid, "the passkey's answer is wrong, or the passkey is not yours")
}

// SignInWithPasskey starts a session of the passkey's user, who owes no second
// factor, and enrols them where the domain of their address does that.
//
// Errors: fault CREDENTIALS_INVALID, ACCOUNT_DISABLED.
func (s *Store) SignInWithPasskey(ctx context.Context, use PasskeyUse, transport authz.Transport, client authz.Client) (session *auth.Session, token string, err error) {
	var refused bool
	user := use.Passkey.UserID
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		refused = false
		enrollment, err := t.lockEnrollmentOf(ctx, user)
		if fault.Has(err, fault.Missing) {
			return ErrPasskeyRefused() // the user was deleted just now
		}
		if err != nil {
			return err
		}
		if err := t.identity.HoldUser(ctx, user); err != nil {
			return err
		}
		used, err := t.usePasskey(ctx, use)
		if refused = !used; err != nil || refused {
			return err
		}
		session, token, err = t.signIn(ctx, user, authz.ByPasskey, transport, client, enrollment)
		return err
	})
	if err == nil && refused {
		err = ErrPasskeyRefused()
	}
	if err != nil {
		return nil, "", err
	}
	return session, token, nil
}

// ReauthenticateByPasskey gives the caller's session a new token, after a passkey of
// theirs has answered.
//
// Errors: fault SECOND_FACTOR_INVALID; SESSION_REQUIRED when the session has ended.
func (s *Store) ReauthenticateByPasskey(ctx context.Context, caller *authz.Session, use PasskeyUse) (*auth.Session, string, error) {
	return s.byPasskey(ctx, caller, use, func(ctx context.Context, t *tx) (*auth.Session, string, error) {
		return t.reauthenticated(ctx, caller, authz.ByPasskey)
	})
}

// VerifyPasskey gives the caller's session the second factor that it owes, after a
// passkey of theirs has answered, and a new token.
//
// Errors: fault SECOND_FACTOR_INVALID; SESSION_REQUIRED when the session has ended, or
// owes none any more.
func (s *Store) VerifyPasskey(ctx context.Context, caller *authz.Session, use PasskeyUse) (*auth.Session, string, error) {
	return s.byPasskey(ctx, caller, use, func(ctx context.Context, t *tx) (*auth.Session, string, error) {
		return t.completeSecondFactor(ctx, caller, authz.ByPasskey, map[string]any{"passkey_id": use.Passkey.ID.String()})
	})
}

// byPasskey goes on with the caller's session once the use of their passkey is
// recorded.
func (s *Store) byPasskey(
	ctx context.Context, caller *authz.Session, use PasskeyUse, goOn func(context.Context, *tx) (*auth.Session, string, error),
) (session *auth.Session, token string, err error) {
	if use.Passkey.UserID != caller.User {
		return nil, "", ErrSecondPasskeyRefused()
	}
	var refused bool
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.HoldUser(ctx, caller.User); err != nil {
			return err
		}
		used, err := t.usePasskey(ctx, use)
		if refused = !used; err != nil || refused {
			return err // nil commits the refusal
		}
		session, token, err = goOn(ctx, t)
		return err
	})
	if err == nil && refused {
		err = ErrSecondPasskeyRefused()
	}
	if err != nil {
		return nil, "", err
	}
	return session, token, nil
}
