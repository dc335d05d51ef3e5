package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/auth"
)

// Introspection is what a live token of a workspace stands for.
type Introspection struct {
	Refresh        bool // whether it is a refresh token, not an API key
	User           ids.User
	ServiceAccount ids.ServiceAccount
	Permissions    []string // in the workspace, at this moment, sorted
	ExpireTime     time.Time
	Audience       string // "" for an API key
}

// Introspect tells what a refresh token or an API key stands for, if it is live and
// of the workspace; else it returns nil.
func (s *Store) Introspect(ctx context.Context, workspace ids.Workspace, token string) (*Introspection, error) {
	if line, ok := lineOf(token); ok {
		return s.introspectRefreshToken(ctx, workspace, line, token)
	}
	return s.introspectAPIKey(ctx, workspace, token)
}

// IntrospectSession returns the permissions that the user of a session holds in a
// workspace at this moment, and whether the session is live, its user an active member, and
// the workspace not closed to the session.
func (s *Store) IntrospectSession(ctx context.Context, workspace ids.Workspace, session ids.Session, user ids.User) ([]string, bool, error) {
	found, err := s.Auth.LiveSession(ctx, session, s.options.Clock.Now())
	if err != nil || found == nil || found.UserID != user {
		return nil, false, s.constraints.Fault(err)
	}
	m, err := s.Membership(ctx, workspace, user)
	if fault.Has(err, fault.Missing) || err == nil && (m.Deleted || m.SecondFactorRequired && !found.SecondFactorProven) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	return s.permissionsOf(m), true, nil
}

func (s *Store) introspectRefreshToken(ctx context.Context, workspace ids.Workspace, line secret.Hash, token string) (*Introspection, error) {
	now := s.options.Clock.Now()
	l, err := s.Auth.RefreshTokenByLine(ctx, line)
	if err != nil {
		return nil, s.constraints.Fault(err)
	}
	if l == nil || l.WorkspaceID != workspace || !now.Before(l.ExpireTime) || !usable(l, secret.HashOf(forRefreshToken, token), now) {
		return nil, nil
	}
	permissions, live, err := s.IntrospectSession(ctx, workspace, l.SessionID, l.UserID)
	if err != nil || !live {
		return nil, err
	}
	return &Introspection{
		Refresh: true, User: l.UserID, Permissions: permissions, ExpireTime: l.ExpireTime, Audience: l.Audience,
	}, nil
}

// usable reports whether a token of a line gives a successor.
func usable(l *auth.RefreshToken, hash secret.Hash, now time.Time) bool {
	return hash.Equal(l.TokenHash) || givesAgain(l, hash, now)
}

// introspectAPIKey tells of a key what it can do now.
func (s *Store) introspectAPIKey(ctx context.Context, workspace ids.Workspace, token string) (*Introspection, error) {
	k, err := s.findKey(ctx, token)
	if err != nil || k == nil || k.Workspace != workspace || k.SecondFactorMissing {
		return nil, err
	}
	found := &Introspection{User: k.User, ServiceAccount: k.ServiceAccount, ExpireTime: k.ExpireTime, Permissions: []string{}}
	for _, p := range s.options.Permissions.All() {
		if k.Membership().Holds(p) {
			found.Permissions = append(found.Permissions, p.Name)
		}
	}
	return found, nil
}
