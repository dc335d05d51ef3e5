package rpc

import (
	"context"
	"net/http"
	"strings"

	"google.golang.org/protobuf/proto"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
)

// keyOf returns the API key that a request came with, if it came with one: only the
// Authorization header carries them. It may be malformed.
func keyOf(header http.Header) (string, bool) {
	token, transport := tokenOf(header)
	return token, transport == authz.Bearer && strings.HasPrefix(token, authz.KeyPrefix)
}

// authenticateKey returns the API key that a token is. What was wrong with one that
// is none is told nobody.
func (s *Stack) authenticateKey(ctx context.Context, token string) (*authz.Key, error) {
	if s.options.Keys == nil || len(token) > maxTokenBytes {
		return nil, errSessionRequired
	}
	key, err := s.options.Keys.AuthenticateKey(ctx, token)
	if f := fault.As(err); f != nil && f.Kind == fault.Unauthenticated {
		return nil, errSessionRequired
	}
	if err == nil && key == nil {
		return nil, errSessionRequired
	}
	return key, err
}

// authorizeKey decides by the method's rule whether an API key may make the call, and
// returns a context that carries the key and what it may do. A key calls the methods
// of its own workspace alone, and none that is for users only or asks for a recent
// sign-in, which no key ever has.
func (s *Stack) authorizeKey(ctx context.Context, m *method, key *authz.Key, request proto.Message) (context.Context, error) {
	ctx = authz.WithKey(ctx, key)
	if m.caller != member || m.usersOnly || m.recent {
		return ctx, errKeyNotAllowed()
	}
	workspace, named, err := m.workspaceOf(request)
	switch {
	case err != nil:
		return ctx, err
	case !named: // the call concerns the caller's own account
		return ctx, errKeyNotAllowed()
	case workspace != key.Workspace:
		return ctx, fault.NotFoundFault()
	}
	if key.SecondFactorMissing {
		return ctx, fault.SecondFactorMissing()
	}
	membership := key.Membership()
	if !membership.Holds(*m.permission) {
		return ctx, fault.New(fault.PermissionDenied, fault.PermissionMissing,
			"the API key, or the user whose it is, lacks the permission "+m.permission.Name).
			WithMetadata("permission", m.permission.Name)
	}
	membership.Permission = *m.permission
	return authz.WithMembership(ctx, membership), nil
}

func errKeyNotAllowed() error {
	return fault.New(fault.PermissionDenied, fault.APIKeyNotAllowed, "no API key can call this; sign in")
}
