package token

import (
	"context"
	"errors"
	"slices"
	"time"

	"connectrpc.com/connect"
)

// Claims are what an access token says of who calls. They are as they were when the
// token was issued, at most 5 minutes ago; where that is too long ago ask the server
// itself (TokenService.IntrospectToken, AuthorizationService.CheckPermission).
type Claims struct {
	// UserID is who calls, as in `usr_…`.
	UserID string
	// SessionID is the session that the token was issued in, and TokenID the token's own.
	SessionID, TokenID string
	// Issuer and Audience are the server that issued it, and the services it is for.
	Issuer   string
	Audience []string
	// WorkspaceID is the workspace that the token is for; "" for none. Role and
	// Permissions are what the user was and held there.
	WorkspaceID string
	Role        string
	Permissions []string
	// IssueTime and ExpireTime bound the token's time, AuthTime is when the user last
	// proved who they are.
	IssueTime, ExpireTime, AuthTime time.Time
	// Methods are by what they did (RFC 8176), such as "pwd", "otp", "pop", and "mfa"
	// when it was by several factors.
	Methods []string
	// OperatorID is the operator who acts in the user's name; "" for the user
	// themselves.
	OperatorID string
}

// Holds reports whether the user held a permission in the workspace of the token. A
// token without a workspace holds none.
func (c *Claims) Holds(permission string) bool {
	return c != nil && c.WorkspaceID != "" && slices.Contains(c.Permissions, permission)
}

// clone returns a copy that its caller may change.
func (c *Claims) clone() *Claims {
	copied := *c
	copied.Audience, copied.Permissions, copied.Methods = slices.Clone(c.Audience), slices.Clone(c.Permissions), slices.Clone(c.Methods)
	return &copied
}

type claimsKey struct{}

// From returns the claims of who calls, which the middleware and the interceptor put
// into the context; nil when neither did.
func From(ctx context.Context) *Claims {
	c, _ := ctx.Value(claimsKey{}).(*Claims)
	return c
}

// With returns a context that carries claims, for tests of what uses From.
func With(ctx context.Context, c *Claims) context.Context {
	return context.WithValue(ctx, claimsKey{}, c)
}

// Check reports whether who calls may do something in a workspace: the token is for
// that workspace, and holds the permission. It returns an error of Connect:
// `unauthenticated` without a token, `not_found` for another workspace, which is not
// told from one that does not exist, and `permission_denied`.
func Check(ctx context.Context, workspaceID, permission string) error {
	c := From(ctx)
	switch {
	case c == nil:
		return errUnauthenticated()
	case workspaceID == "" || c.WorkspaceID != workspaceID:
		return connect.NewError(connect.CodeNotFound, errors.New("not found"))
	case !c.Holds(permission):
		return connect.NewError(connect.CodePermissionDenied, errors.New("the permission "+permission+" is missing"))
	}
	return nil
}
