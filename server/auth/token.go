package auth

import (
	"context"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
)

// asked reads for what a token is asked: the audience, and the workspace, which may
// be none.
//
// Errors: fault AUDIENCE_NOT_ALLOWED, FIELD_INVALID.
func (m *Module) asked(audience, workspace string) (string, ids.Workspace, error) {
	to, err := m.options.Tokens.Audience(audience)
	if err != nil {
		return "", ids.Workspace{}, err
	}
	in, err := id("workspace_id", workspace, ids.Parse[ids.Workspace])
	return to, in, err
}

// tokenSession returns the caller's session: tokens stand for a session, which an API
// key has not.
//
// Errors: fault API_KEY_NOT_ALLOWED.
func tokenSession(ctx context.Context) (*authz.Session, error) {
	if s := authz.SessionFrom(ctx); s != nil {
		return s, nil
	}
	return nil, fault.New(fault.PermissionDenied, fault.APIKeyNotAllowed, "an API key cannot do this; sign in")
}

// CreateAccessToken implements TokenService.
func (m *Module) CreateAccessToken(ctx context.Context, req *authv1.CreateAccessTokenRequest) (*authv1.CreateAccessTokenResponse, error) {
	caller, err := tokenSession(ctx)
	if err != nil {
		return nil, err
	}
	audience, workspace, err := m.asked(req.Audience, req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	grant, err := m.options.Store.GrantOf(ctx, caller, audience, workspace)
	if err != nil {
		return nil, err
	}
	token, expires, err := m.options.Tokens.Issue(ctx, grant)
	if err != nil {
		return nil, err
	}
	return &authv1.CreateAccessTokenResponse{AccessToken: token, ExpireTime: convert.Time(expires)}, nil
}

// CreateRefreshToken implements TokenService.
func (m *Module) CreateRefreshToken(ctx context.Context, req *authv1.CreateRefreshTokenRequest) (*authv1.CreateRefreshTokenResponse, error) {
	caller, err := tokenSession(ctx)
	if err != nil {
		return nil, err
	}
	if !caller.Impersonator.IsZero() {
		return nil, errImpersonation()
	}
	audience, workspace, err := m.asked(req.Audience, req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	token, expires, err := m.options.Store.CreateRefreshToken(ctx, caller, audience, workspace)
	if err != nil {
		return nil, err
	}
	return &authv1.CreateRefreshTokenResponse{RefreshToken: token, ExpireTime: convert.Time(expires)}, nil
}

// RefreshAccessToken implements TokenService.
func (m *Module) RefreshAccessToken(ctx context.Context, req *authv1.RefreshAccessTokenRequest) (*authv1.RefreshAccessTokenResponse, error) {
	grant, next, err := m.options.Store.Refresh(ctx, req.RefreshToken, m.options.Tokens.Audiences())
	if err != nil {
		return nil, err
	}
	// If this fails the same refresh token gives the same successor again.
	token, expires, err := m.options.Tokens.Issue(ctx, grant)
	if err != nil {
		return nil, err
	}
	return &authv1.RefreshAccessTokenResponse{AccessToken: token, ExpireTime: convert.Time(expires), RefreshToken: next}, nil
}

// IntrospectToken implements TokenService.
func (m *Module) IntrospectToken(ctx context.Context, req *authv1.IntrospectTokenRequest) (*authv1.IntrospectTokenResponse, error) {
	workspace, err := id("workspace_id", req.WorkspaceId, ids.Parse[ids.Workspace])
	if err != nil {
		return nil, err
	}
	access, err := m.options.Tokens.Read(ctx, req.Token)
	if err != nil {
		return nil, err
	}
	if access != nil {
		if access.Workspace != workspace {
			return &authv1.IntrospectTokenResponse{}, nil
		}
		permissions, live, err := m.options.Store.IntrospectSession(ctx, workspace, access.Session, access.User)
		if err != nil || !live {
			return &authv1.IntrospectTokenResponse{}, err
		}
		return &authv1.IntrospectTokenResponse{
			Active: true, Kind: authv1.TokenKind_TOKEN_KIND_ACCESS, UserId: access.User.String(), Permissions: permissions,
			ExpireTime: convert.Time(access.ExpireTime), Audience: access.Audience,
		}, nil
	}
	found, err := m.options.Store.Introspect(ctx, workspace, req.Token)
	if err != nil || found == nil {
		return &authv1.IntrospectTokenResponse{}, err
	}
	kind := authv1.TokenKind_TOKEN_KIND_API_KEY
	if found.Refresh {
		kind = authv1.TokenKind_TOKEN_KIND_REFRESH
	}
	return &authv1.IntrospectTokenResponse{
		Active: true, Kind: kind, UserId: found.User.String(), ServiceAccountId: found.ServiceAccount.String(),
		Permissions: found.Permissions, ExpireTime: convert.Time(found.ExpireTime), Audience: found.Audience,
	}, nil
}

// RevokeToken implements TokenService.
func (m *Module) RevokeToken(ctx context.Context, req *authv1.RevokeTokenRequest) (*authv1.RevokeTokenResponse, error) {
	if err := m.options.Store.RevokeToken(ctx, req.Token); err != nil {
		return nil, err
	}
	return &authv1.RevokeTokenResponse{}, nil
}
