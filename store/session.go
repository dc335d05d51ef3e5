package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/tenant"
)

// tokenLength is the length of every session's token.
var tokenLength = len(secret.NewToken(prefixSession))

// touchInterval is how exact the time of a session's last use is.
const touchInterval = time.Minute

// secondFactorTime is how long a session lives that owes its second factor.
const secondFactorTime = 10 * time.Minute

// startSession stores a session of a user, who has just proven who they are, and
// returns its token. If one factor is all that they have proven, and the account has
// a second one, the session owes it; else the device that it is on is noted. The user
// is held or locked.
//
// Errors: fault ACCOUNT_DISABLED.
func (t *tx) startSession(ctx context.Context, user ids.User, by authz.Method, transport authz.Transport, client authz.Client) (*auth.Session, string, error) {
	if disabled, err := t.auth.Disabled(ctx, user); err != nil {
		return nil, "", err
	} else if disabled {
		return nil, "", errDisabled()
	}
	session, token := t.newSession(user, transport, client)
	session.Methods, session.SecondFactorProven = []authz.Method{by}, by.ProvesSecondFactor()
	if by != authz.ByPasskey {
		factors, err := t.auth.SecondFactors(ctx, user)
		if err != nil {
			return nil, "", err
		}
		if factors.Required() {
			session.SecondFactorPending = true
			session.ExpireTime = t.now.Add(secondFactorTime)
			session.IdleExpireTime = earlier(session.IdleExpireTime, session.ExpireTime)
		}
	}
	if err := t.auth.InsertSession(ctx, session); err != nil || session.SecondFactorPending {
		return session, token, err
	}
	return session, token, t.noteDevice(ctx, session, client)
}

func errDisabled() error {
	return fault.New(fault.PermissionDenied, fault.AccountDisabled, "the account is disabled; ask the operator of the server")
}

// newSession makes a session, to be stored, and its token.
func (t *tx) newSession(user ids.User, transport authz.Transport, client authz.Client) (*auth.Session, string) {
	token := secret.NewToken(prefixSession)
	hash := secret.HashOf(forSession, token)
	s := &auth.Session{
		ID:            ids.New[ids.Session](),
		UserID:        user,
		TokenHash:     hash[:],
		Transport:     transport,
		CreateTime:    t.now,
		AuthTime:      t.now,
		LastUseTime:   t.now,
		ExpireTime:    t.now.Add(t.store.options.SessionLifetime),
		ClientAddress: client.Address.String(),
		UserAgent:     client.UserAgent,
	}
	s.IdleExpireTime = earlier(t.idleExpireTime(), s.ExpireTime)
	return s, token
}

func (t *tx) idleExpireTime() time.Time { return t.now.Add(t.store.options.SessionIdleTimeout) }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// Authenticate returns the live session of a token, and records its use, to the
// minute.
//
// Errors: fault SESSION_REQUIRED when there is none.
func (s *Store) Authenticate(ctx context.Context, token string, transport authz.Transport) (*authz.Session, error) {
	if len(token) != tokenLength || !strings.HasPrefix(token, prefixSession) {
		return nil, errNoSession() // and the database is not asked
	}
	now := s.options.Clock.Now()
	session, err := s.Sessions.Find(ctx, secret.HashOf(forSession, token), transport, now)
	if err != nil {
		return nil, s.constraints.Fault(err)
	}
	if session == nil {
		return nil, errNoSession()
	}
	if now.Sub(session.LastUseTime) >= touchInterval {
		session.LastUseTime = now
		session.IdleExpireTime = earlier(now.Add(s.options.SessionIdleTimeout), session.ExpireTime)
		session.ClientAddress = authz.ClientFrom(ctx).Address.String()
		if err := s.Sessions.Touch(ctx, session.ID, session.ClientAddress, now, session.IdleExpireTime); err != nil {
			return nil, s.constraints.Fault(err)
		}
	}
	return session, nil
}

func errNoSession() error {
	return fault.New(fault.Unauthenticated, fault.SessionRequired, "sign in first")
}

// SignIn is a sign-in whose password was found right.
type SignIn struct {
	User         ids.User
	PasswordHash string // what the password was compared with
	Rehash       string // the same password hashed anew, or ""
	Transport    authz.Transport
	Client       authz.Client
}

// SignIn starts a session, and enrols the user where the domain of their address
// does that.
//
// Errors: fault CREDENTIALS_INVALID when the password was changed meanwhile.
func (s *Store) SignIn(ctx context.Context, in SignIn) (session *auth.Session, token string, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		enrollment, err := t.lockEnrollmentOf(ctx, in.User)
		if err != nil {
			return err
		}
		if err := t.identity.HoldUser(ctx, in.User); err != nil {
			return err
		}
		var held bool
		if in.Rehash == "" {
			held, err = t.auth.HoldPassword(ctx, in.User, in.PasswordHash)
		} else {
			held, err = t.auth.ReplacePassword(ctx, in.User, in.PasswordHash, in.Rehash, t.now)
		}
		if err != nil || !held {
			return orCredentials(err)
		}
		session, token, err = t.signIn(ctx, in.User, authz.ByPassword, in.Transport, in.Client, enrollment)
		return err
	})
	return session, token, err
}

// signIn starts a session of a held user, who has just proven who they are, writes the
// event, and enrols them by what lockEnrollmentOf returned before.
//
// Errors: fault ACCOUNT_DISABLED.
func (t *tx) signIn(ctx context.Context, user ids.User, by authz.Method, transport authz.Transport, client authz.Client, enrollment *tenant.Enrollment) (*auth.Session, string, error) {
	session, token, err := t.startSession(ctx, user, by, transport, client)
	if err != nil {
		return nil, "", err
	}
	if err := t.record(ctx, audit.Event{
		UserID: user, ActorUserID: user, Action: "session.created", TargetID: session.ID.String(),
	}); err != nil || enrollment == nil {
		return session, token, err
	}
	u, err := t.identity.LockUser(ctx, user) // what they are called must not change meanwhile
	if err != nil {
		return nil, "", err
	}
	return session, token, t.enroll(ctx, enrollment, u)
}

// ErrPasswordChanged is the cause of a refusal because the password, or its hash,
// is no longer the one that was compared.
var ErrPasswordChanged = errors.New("the password was changed meanwhile")

func orCredentials(err error) error {
	if err != nil {
		return err
	}
	return fault.New(fault.Unauthenticated, fault.CredentialsInvalid, "the address or the password is wrong").WithCause(ErrPasswordChanged)
}

// Reauthenticate gives the caller's session a new token, after their password was
// found right.
//
// Errors: fault CREDENTIALS_INVALID when the password was changed meanwhile;
// SESSION_REQUIRED when the session has ended.
func (s *Store) Reauthenticate(ctx context.Context, caller *authz.Session, passwordHash string) (session *auth.Session, token string, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.HoldUser(ctx, caller.User); err != nil {
			return err
		}
		if held, err := t.auth.HoldPassword(ctx, caller.User, passwordHash); err != nil || !held {
			return orCredentials(err)
		}
		session, token, err = t.renew(ctx, caller.ID, authz.ByPassword)
		if err != nil {
			return err
		}
		return t.record(ctx, audit.Event{UserID: caller.User, Action: "session.reauthenticated", TargetID: caller.ID.String()})
	})
	return session, token, err
}

// renew gives a session a new token, after its user has proven again who they are. A
// second factor that it owes it owes still.
//
// Errors: fault SESSION_REQUIRED when it has ended.
func (t *tx) renew(ctx context.Context, id ids.Session, by authz.Method) (*auth.Session, string, error) {
	token := secret.NewToken(prefixSession)
	session, err := t.auth.Renew(ctx, id, auth.Renewal{
		Token: secret.HashOf(forSession, token), Method: by, IdleExpire: t.idleExpireTime(),
	}, t.now)
	return session, token, err
}

// complete gives a session that owes its second factor a new token and its full
// time, after that was proven.
//
// Errors: fault SESSION_REQUIRED when it has ended.
func (t *tx) complete(ctx context.Context, id ids.Session, by authz.Method) (*auth.Session, string, error) {
	token := secret.NewToken(prefixSession)
	session, err := t.auth.Renew(ctx, id, auth.Renewal{
		Token: secret.HashOf(forSession, token), Method: by, IdleExpire: t.idleExpireTime(),
		Completed: t.now.Add(t.store.options.SessionLifetime),
	}, t.now)
	if err != nil {
		return nil, "", err
	}
	return session, token, t.noteDevice(ctx, session, authz.ClientFrom(ctx))
}

// SignOut ends the caller's session.
func (s *Store) SignOut(ctx context.Context, caller *authz.Session) error {
	err := s.endSession(ctx, caller.User, caller.ID, "session.ended")
	if fault.Has(err, fault.Missing) {
		return nil // ended by another call: what was asked for
	}
	return err
}

// RevokeSession ends a session of a user.
//
// Errors: fault NOT_FOUND when the user has no such session.
func (s *Store) RevokeSession(ctx context.Context, user ids.User, id ids.Session) error {
	return s.endSession(ctx, user, id, "session.revoked")
}

func (s *Store) endSession(ctx context.Context, user ids.User, id ids.Session, action string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.HoldUser(ctx, user); err != nil {
			return err
		}
		found, err := t.auth.DeleteSession(ctx, user, id, t.now)
		if err != nil {
			return err
		}
		if !found {
			return fault.NotFoundFault()
		}
		return t.record(ctx, audit.Event{UserID: user, Action: action, TargetID: id.String()})
	})
}

// RevokeOtherSessions ends all sessions of the caller but the one that they call
// with, and returns how many.
func (s *Store) RevokeOtherSessions(ctx context.Context, caller *authz.Session) (count int, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.lockCaller(ctx, caller.User); err != nil {
			return err
		}
		if count, err = t.auth.DeleteSessions(ctx, caller.User, caller.ID); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{
			UserID: caller.User, Action: "session.others_revoked", TargetID: caller.User.String(),
			Details: map[string]any{"count": count},
		})
	})
	return count, err
}

// ListSessions returns a page of a user's live sessions, the newest first, and
// the next page's token.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (s *Store) ListSessions(ctx context.Context, user ids.User, page Page) ([]auth.Session, string, error) {
	return s.Auth.ListSessions(ctx, user, s.options.Clock.Now(), page)
}
