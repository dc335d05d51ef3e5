package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
)

const (
	forRefreshLine  = "refresh token line"
	forRefreshToken = "refresh token"

	prefixRefreshToken = "lsmf_"
)

const (
	// MaxRefreshTokens is how many lines of refresh tokens a session has at most.
	MaxRefreshTokens = 20
	// refreshGrace is how long a used refresh token gives the same successor again, for
	// an answer that was lost.
	refreshGrace = 30 * time.Second
)

// Grant is for whom an access token is issued: a session's user, and what they are
// in a workspace at this moment.
type Grant struct {
	User         ids.User
	Session      ids.Session
	AuthTime     time.Time
	Methods      []authz.Method
	Impersonator ids.User  // zero for none
	ExpireTime   time.Time // when the session ends at the latest
	Audience     string

	// In a workspace; zero for none.
	Workspace   ids.Workspace
	Role        authz.Role
	Permissions []string // sorted
}

// GrantOf returns for whom the caller gets an access token.
//
// Errors: fault NOT_FOUND when the caller is no active member of the workspace, or
// it is deleted; SECOND_FACTOR_REQUIRED_BY_WORKSPACE.
func (s *Store) GrantOf(ctx context.Context, caller *authz.Session, audience string, workspace ids.Workspace) (*Grant, error) {
	g := &Grant{
		User: caller.User, Session: caller.ID, AuthTime: caller.AuthTime, Methods: caller.Methods, Impersonator: caller.Impersonator,
		ExpireTime: caller.ExpireTime, Audience: audience,
	}
	if workspace.IsZero() {
		return g, nil
	}
	m, err := s.Membership(ctx, workspace, caller.User)
	if err != nil {
		return nil, err
	}
	if m.Deleted {
		return nil, fault.NotFoundFault()
	}
	if m.ClosedTo(caller) {
		return nil, fault.SecondFactorMissing()
	}
	g.Workspace, g.Role, g.Permissions = workspace, m.Role, s.permissionsOf(m)
	return g, nil
}

func grantOf(session *auth.Session, audience string) *Grant {
	return &Grant{
		User: session.UserID, Session: session.ID, AuthTime: session.AuthTime, Methods: session.Methods, Impersonator: session.ImpersonatorID,
		ExpireTime: session.ExpireTime, Audience: audience,
	}
}

// permissionsOf returns the names of the permissions that a member holds, sorted.
func (s *Store) permissionsOf(m authz.Membership) []string {
	held := s.options.Permissions.HeldBy(m.Role, m.Custom)
	names := make([]string, len(held))
	for i, p := range held {
		names[i] = p.Name
	}
	return names
}

// access is what a user is in a live workspace.
//
// Errors: fault NOT_FOUND when they are no active member of it, or it is deleted.
func (t *tx) access(ctx context.Context, workspace ids.Workspace, user ids.User) (m authz.Membership, err error) {
	w, err := t.tenant.Workspace(ctx, workspace)
	if err != nil {
		return m, err
	}
	found, err := t.team.MembershipOf(ctx, workspace, user)
	if err != nil {
		return m, err
	}
	if w.Deleted() || !found.Active() {
		return m, fault.NotFoundFault()
	}
	m.Role, m.SecondFactorRequired = found.Role, w.SecondFactorRequired
	m.Custom, err = t.team.Permissions(ctx, workspace, found.Role)
	return m, err
}

// newRefreshToken returns a new secret behind what names a line.
func newRefreshToken(line string) string { return line + secret.NewToken("") }

// lineLength is how long the part of a refresh token is that names its line.
var (
	lineLength    = len(secret.NewToken(prefixRefreshToken))
	refreshLength = len(newRefreshToken(secret.NewToken(prefixRefreshToken)))
)

// lineOf returns the hash of the line of a token, and whether it can be a refresh
// token at all.
func lineOf(token string) (secret.Hash, bool) {
	if len(token) != refreshLength || !strings.HasPrefix(token, prefixRefreshToken) {
		return secret.Hash{}, false // and the database is not asked
	}
	return secret.HashOf(forRefreshLine, token[:lineLength]), true
}

func errToken() error {
	return fault.New(fault.Unauthenticated, fault.TokenInvalid, "the token is unknown, expired, revoked or was used before")
}

// CreateRefreshToken begins a line of refresh tokens of the caller's session, and
// returns the first with the time when the line ends at the latest.
//
// Errors: fault NOT_FOUND and SECOND_FACTOR_REQUIRED_BY_WORKSPACE as GrantOf; TOO_MANY; SESSION_REQUIRED when the session
// has ended.
func (s *Store) CreateRefreshToken(ctx context.Context, caller *authz.Session, audience string, workspace ids.Workspace) (token string, expires time.Time, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if !workspace.IsZero() {
			if _, err := t.tenant.HoldWorkspace(ctx, workspace); err != nil { // nobody leaves it meanwhile
				return err
			}
			m, err := t.access(ctx, workspace, caller.User)
			if err != nil {
				return err
			}
			if m.ClosedTo(caller) {
				return fault.SecondFactorMissing()
			}
		}
		if err := t.identity.HoldUser(ctx, caller.User); err != nil {
			return err
		}
		session, err := t.auth.LockLiveSession(ctx, caller.ID, t.now)
		if err != nil {
			return err
		}
		if session == nil || !session.AuthTime.Equal(caller.AuthTime) { // it has another token since the call began
			return errNoSession()
		}
		if n, err := t.auth.CountRefreshTokens(ctx, session.ID); err != nil {
			return err
		} else if n >= MaxRefreshTokens {
			return fault.New(fault.FailedPrecondition, fault.TooMany, "the session has as many refresh tokens as it can have; revoke one first")
		}
		line := secret.NewToken(prefixRefreshToken)
		token = newRefreshToken(line)
		lineHash, hash := secret.HashOf(forRefreshLine, line), secret.HashOf(forRefreshToken, token)
		l := &auth.RefreshToken{
			ID: ids.New[ids.RefreshToken](), SessionID: session.ID, Audience: audience, WorkspaceID: workspace,
			LineHash: lineHash[:], Generation: 1, TokenHash: hash[:], CreateTime: t.now, ExpireTime: session.ExpireTime,
		}
		expires = l.ExpireTime
		if err := t.auth.InsertRefreshToken(ctx, l); err != nil {
			return err
		}
		details := map[string]any{"session_id": session.ID.String(), "audience": audience}
		if !workspace.IsZero() {
			details["workspace_id"] = workspace.String()
		}
		return t.record(ctx, audit.Event{
			UserID: caller.User, Action: "refresh_token.created", TargetID: l.ID.String(), Details: details,
		})
	})
	return token, expires, err
}

// Refresh uses a refresh token: it returns for whom an access token is issued, and
// the next refresh token. The session counts as used. A refresh is no event, as no
// other use of a session is; the reuse of a token is one.
//
// A token that was used within the last 30 seconds gives the same successor again,
// until that is used. Any other token of a line that is still there was used before:
// either its holder or who used it has stolen it, so that the line ends (RFC 9700,
// 4.14.2), and its owner is mailed. Of a line that has ended nobody is mailed again.
//
// Errors: fault TOKEN_INVALID; SECOND_FACTOR_REQUIRED_BY_WORKSPACE.
func (s *Store) Refresh(ctx context.Context, token string, audiences []string) (g *Grant, next string, err error) {
	line, ok := lineOf(token)
	if !ok {
		return nil, "", errToken()
	}
	hash := secret.HashOf(forRefreshToken, token)
	var refusal error
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		g, next, refusal = nil, "", nil
		found, err := t.auth.RefreshTokenByLine(ctx, line)
		if err != nil {
			return err
		}
		if found == nil {
			return errToken()
		}
		// In the order in which whoever ends the session locks.
		if err := t.identity.HoldUser(ctx, found.UserID); err != nil {
			return err
		}
		session, err := t.auth.LockLiveSession(ctx, found.SessionID, t.now)
		if err != nil {
			return err
		}
		if session == nil {
			return errToken()
		}
		l, err := t.auth.LockRefreshToken(ctx, found.ID)
		if err != nil {
			return err
		}
		if l == nil || !t.now.Before(l.ExpireTime) || !slices.Contains(audiences, l.Audience) {
			return errToken()
		}
		fresh := hash.Equal(l.TokenHash)
		if !fresh && !givesAgain(l, hash, t.now) {
			refusal = errToken()
			if err := t.endRefreshToken(ctx, l, "refresh_token.reused", nil); err != nil {
				return err
			}
			return t.mailSecurity(ctx, l.UserID, mail.RefreshTokenReused, "") // and commit
		}
		g = grantOf(session, l.Audience)
		if !l.WorkspaceID.IsZero() {
			m, err := t.access(ctx, l.WorkspaceID, session.UserID)
			if fault.Has(err, fault.Missing) {
				refusal = errToken()
				return t.endRefreshToken(ctx, l, "refresh_token.revoked", map[string]any{"reason": "membership_ended"}) // and commit
			}
			if err != nil {
				return err
			}
			if m.SecondFactorRequired && !session.SecondFactorProven {
				return fault.SecondFactorMissing() // the line goes on once it is proven
			}
			g.Workspace, g.Role, g.Permissions = l.WorkspaceID, m.Role, s.permissionsOf(m)
		}
		if fresh {
			next, err = t.rotate(ctx, l, token)
		} else {
			next, err = t.store.openSuccessor(l)
		}
		if err != nil || t.now.Sub(session.LastUseTime) < touchInterval {
			return err
		}
		return t.auth.TouchSession(ctx, session.ID, authz.ClientFrom(ctx).Address.String(), t.now, t.idleExpireTime())
	})
	if err == nil {
		err = refusal
	}
	if err != nil {
		return nil, "", err
	}
	return g, next, nil
}

// givesAgain reports whether a token was used so short a time ago that it gives the
// same successor again.
func givesAgain(l *auth.RefreshToken, hash secret.Hash, now time.Time) bool {
	return len(l.Successor) > 0 && hash.Equal(l.PreviousHash) && now.Before(l.RotateTime.Add(refreshGrace))
}

// rotate makes the next token of a locked line.
func (t *tx) rotate(ctx context.Context, l *auth.RefreshToken, token string) (string, error) {
	next := newRefreshToken(token[:lineLength])
	hash := secret.HashOf(forRefreshToken, next)
	l.Generation++
	l.PreviousHash, l.TokenHash, l.RotateTime = l.TokenHash, hash[:], t.now
	l.Successor = t.store.successors.Seal([]byte(next), successorContext(l))
	return next, t.auth.RotateRefreshToken(ctx, l)
}

func (s *Store) openSuccessor(l *auth.RefreshToken) (string, error) {
	next, err := s.successors.Open(l.Successor, successorContext(l))
	return string(next), err
}

// successorContext is what a sealed successor is bound to.
func successorContext(l *auth.RefreshToken) string {
	return l.ID.String() + " " + l.RotateTime.UTC().Format(time.RFC3339Nano)
}

// endRefreshToken ends a line, with an event.
func (t *tx) endRefreshToken(ctx context.Context, l *auth.RefreshToken, action string, details map[string]any) error {
	ended, err := t.auth.DeleteRefreshToken(ctx, l.ID)
	if err != nil || !ended {
		return err
	}
	e := audit.Event{UserID: l.UserID, Action: action, TargetID: l.ID.String(), Details: map[string]any{"session_id": l.SessionID.String()}}
	for name, value := range details {
		e.Details[name] = value
	}
	return t.record(ctx, e)
}

// RevokeToken ends what a token belongs to: the line of a refresh token, or an API
// key. Of any other token nothing is ended, and it is no error.
func (s *Store) RevokeToken(ctx context.Context, token string) error {
	if line, ok := lineOf(token); ok {
		return s.write(ctx, func(ctx context.Context, t *tx) error {
			l, err := t.auth.RefreshTokenByLine(ctx, line)
			if err != nil || l == nil {
				return err
			}
			if err := t.identity.HoldUser(ctx, l.UserID); err != nil {
				return err
			}
			return t.endRefreshToken(ctx, l, "refresh_token.revoked", map[string]any{"reason": "token"})
		})
	}
	if !secret.IsChecked(authz.KeyPrefix, token) {
		return nil
	}
	return s.revokeKeyByToken(ctx, token)
}
