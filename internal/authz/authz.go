// Package authz is who is calling, and what they may do: the terms in which the
// RPC layer, the modules and the store speak of it.
package authz

import (
	"context"
	"net/netip"
	"time"

	"github.com/logicspike/manager/internal/ids"
)

// Transport is how a session's token travels.
type Transport string

// The transports.
const (
	Bearer Transport = "bearer" // in the Authorization header
	Cookie Transport = "cookie" // in an HttpOnly cookie
)

// CookieName is the name of the cookie that carries a session's token. Its
// prefix makes browsers accept it only over HTTPS (or from localhost), for this
// host alone and the whole of it (RFC 6265bis, 4.1.3.2).
const CookieName = "__Host-manager_session"

// Method is by what a user proved who they are.
type Method string

// The methods.
const (
	ByPassword     Method = "password"
	ByEmail        Method = "email"
	ByTOTP         Method = "totp"
	ByRecoveryCode Method = "recovery_code"
	ByPasskey      Method = "passkey"
	ByExternal     Method = "external"
)

// Session is a signed-in caller.
type Session struct {
	ID             ids.Session
	User           ids.User
	Transport      Transport
	CreateTime     time.Time
	AuthTime       time.Time // when the user last proved who they are
	Recent         bool      // whether that was a short time ago: see setting reauthentication-age
	LastUseTime    time.Time
	IdleExpireTime time.Time
	ExpireTime     time.Time
	ClientAddress  string
	UserAgent      string
	EmailVerified  bool // whether the user's address was proven
	HasWorkspace   bool // whether the user belongs to a live workspace
	Methods        []Method
	// SecondFactorPending tells that the session can do nothing yet but prove a
	// second factor.
	SecondFactorPending bool
	// SecondFactorProven tells that a second factor was proven in the session, and that
	// the account still has one.
	SecondFactorProven bool
	// Impersonator is the operator who acts in the user's name; zero for the user
	// themselves.
	Impersonator ids.User
}

// Key is an API key that calls. What it holds is its owner's at this moment.
type Key struct {
	ID        ids.APIKey
	Workspace ids.Workspace
	// User is whose key it is; zero for a service account's.
	User ids.User
	// ServiceAccount is whose key it is; zero for a user's.
	ServiceAccount ids.ServiceAccount
	// Permissions are those that the key can use now: of a user's key none that the
	// user does not hold.
	Permissions []string
	// EmailVerified is whether the user's address was proven; it is true for a
	// service account's key.
	EmailVerified bool
	// SecondFactorMissing is whether the workspace requires a second factor of its
	// members, and the user has none.
	SecondFactorMissing bool
	// Hash is that of the secret that the call came with: there are two while the one
	// before a rotation still works.
	Hash [32]byte
}

// KeyPrefix is what every API key begins with, and no token of a session does.
const KeyPrefix = "lsmk_"

// Membership is the key's place in its workspace: that of a member with a custom role
// of the key's permissions.
func (k *Key) Membership() Membership { return Membership{Role: KeyRole, Custom: k.Permissions} }

// Caller is who makes a call, in short. It is zero for who is not known.
type Caller struct {
	User           ids.User
	ServiceAccount ids.ServiceAccount
	Key            ids.APIKey
	Impersonator   ids.User
}

// CallerFrom returns who makes the call: the session's user, or the key's owner.
func CallerFrom(ctx context.Context) Caller {
	if s := SessionFrom(ctx); s != nil {
		return Caller{User: s.User, Impersonator: s.Impersonator}
	}
	if k := KeyFrom(ctx); k != nil {
		return Caller{User: k.User, ServiceAccount: k.ServiceAccount, Key: k.ID}
	}
	return Caller{}
}

// Membership is a caller's active place in one workspace.
type Membership struct {
	Role    Role
	Custom  []string // the permissions of the role, if it is a custom one
	Deleted bool     // whether the workspace is deleted, and not yet purged
	// SecondFactorRequired is whether the workspace is closed to sessions that have
	// proven no second factor.
	SecondFactorRequired bool

	// Permission is what the rule of the present call asks for. Where the call
	// changes a team, the store asks for it again, once it has locked it.
	Permission Permission
}

// Holds reports whether the member holds a permission.
func (m Membership) Holds(p Permission) bool { return p.HeldBy(m.Role, m.Custom) }

// ClosedTo reports whether the workspace requires a second factor that was not proven in
// the member's session.
func (m Membership) ClosedTo(s *Session) bool { return m.SecondFactorRequired && !s.SecondFactorProven }

// ProvesSecondFactor reports whether a method is, or has in it, a second factor. A
// passkey is asked to verify its user, which makes it two factors in one.
func (m Method) ProvesSecondFactor() bool {
	return m == ByTOTP || m == ByRecoveryCode || m == ByPasskey
}

// Client is the program that a call came from.
type Client struct {
	// RequestID names the call in logs and errors.
	RequestID string
	// Address is the client's address, behind trusted proxies.
	Address netip.Addr
	// UserAgent is what the client calls itself, at most 256 characters and free
	// of control characters.
	UserAgent string
	// Device is the token by which the client says that it was used to sign in
	// before; "" for none. It may be anything that has the form of a token.
	Device DeviceToken
}

// Network returns the network that limits count together: an IPv4 address, or
// the /64 of an IPv6 one, since a single host has all of that.
func (c Client) Network() string { return c.network(64) }

// Site returns the network that limits count together where one account is to be
// protected: an IPv4 address, or the /48 of an IPv6 one, which is the most that
// one customer of a provider usually has.
func (c Client) Site() string { return c.network(48) }

func (c Client) network(bits int) string {
	a := c.Address.Unmap()
	if a.Is4() {
		return a.String()
	}
	if !a.IsValid() {
		return "unknown"
	}
	return netip.PrefixFrom(a.WithZone(""), bits).Masked().String()
}

type (
	sessionKey    struct{}
	membershipKey struct{}
	clientKey     struct{}
	apiKeyKey     struct{}
)

// EmailVerified reports whether the caller's address was proven. A service account
// has none, and who made it had proven theirs.
func EmailVerified(ctx context.Context) bool {
	if s := SessionFrom(ctx); s != nil {
		return s.EmailVerified
	}
	k := KeyFrom(ctx)
	return k != nil && k.EmailVerified
}

// WithKey returns a context that carries the API key that calls.
func WithKey(ctx context.Context, k *Key) context.Context {
	return context.WithValue(ctx, apiKeyKey{}, k)
}

// KeyFrom returns the API key that calls; nil for none.
func KeyFrom(ctx context.Context) *Key {
	k, _ := ctx.Value(apiKeyKey{}).(*Key)
	return k
}

// WithSession returns a context that carries the caller's session.
func WithSession(ctx context.Context, s *Session) context.Context {
	return context.WithValue(ctx, sessionKey{}, s)
}

// SessionFrom returns the caller's session. The rule of a method that is not
// public guarantees that there is one, or, where API keys may call, the key that
// KeyFrom returns; in a public method it is nil.
func SessionFrom(ctx context.Context) *Session {
	s, _ := ctx.Value(sessionKey{}).(*Session)
	return s
}

// WithMembership returns a context that carries the caller's membership of the
// workspace that the call names.
func WithMembership(ctx context.Context, m Membership) context.Context {
	return context.WithValue(ctx, membershipKey{}, m)
}

// MembershipFrom returns the caller's membership of the workspace that the call
// names. The rule of a workspace's method guarantees that there is one, unless
// the method's workspace is optional and the request names none.
func MembershipFrom(ctx context.Context) (Membership, bool) {
	m, ok := ctx.Value(membershipKey{}).(Membership)
	return m, ok
}

// WithClient returns a context that carries the client.
func WithClient(ctx context.Context, c Client) context.Context {
	return context.WithValue(ctx, clientKey{}, c)
}

// ClientFrom returns the client that the call came from.
func ClientFrom(ctx context.Context) Client {
	c, _ := ctx.Value(clientKey{}).(Client)
	return c
}
