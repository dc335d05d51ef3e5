// Package auth serves the module auth: registration, sign-in, sessions and
// passwords.
package auth

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/auth/external"
	"github.com/logicspike/manager/server/auth/passkey"
	"github.com/logicspike/manager/server/auth/password"
	"github.com/logicspike/manager/server/auth/token"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/auth"
)

// Options are what the module needs.
type Options struct {
	Store  *store.Store
	Hasher *password.Hasher
	Policy password.Policy
	// Tokens issues access tokens.
	Tokens *token.Issuer
	// Leaks knows leaked passwords; nil for none.
	Leaks *password.Leaks
	// VerifyAfter creates accounts before their address is proven.
	VerifyAfter bool
	// PasswordFailures delays the passwords for one account from one network, or from
	// one device that the account is known on, after wrong ones from there.
	PasswordFailures store.Backoff
	// AccountFailures delays the passwords of strangers for one account after wrong
	// ones from everywhere. One network must not be able to bring that about.
	AccountFailures store.Backoff
	// NetworkFailures delays the passwords from one network after wrong ones for any
	// accounts.
	NetworkFailures store.Backoff
	// Passkeys is the relying party of passkeys; nil where there can be none.
	Passkeys *passkey.Party
	// EmailCodeFailures limits the wrong codes of sign-ins by mail for one address.
	EmailCodeFailures store.Limit
	// Product is what authenticator apps call the product.
	Product string
	// Refusals limits how many refused sign-ins are noted in the log of one account.
	Refusals store.Limit
	// LimitMail counts a mail to an address that anybody can cause. It returns a
	// fault RATE_LIMITED when there were too many.
	LimitMail func(context.Context, email.Address) error
	// External are the identity providers.
	External *external.Providers
	// ReturnURLs are where browsers may go after an external sign-in.
	ReturnURLs external.ReturnURLs
}

// Module implements the module's services.
type Module struct{ options Options }

// New returns the module.
func New(o Options) *Module { return &Module{o} }

// client is the caller's client.
func client(ctx context.Context) authz.Client { return authz.ClientFrom(ctx) }

func transport(t authv1.SessionTransport) authz.Transport {
	if t == authv1.SessionTransport_SESSION_TRANSPORT_COOKIE {
		return authz.Cookie
	}
	return authz.Bearer
}

// issue hands a session's token to the caller in the session's way: as a cookie,
// and then it returns "", or to be put into the answer.
func issue(ctx context.Context, s *auth.Session, token string) string {
	if s.Transport == authz.Cookie {
		setCookie(ctx, token, s.ExpireTime)
		token = ""
	}
	keepDevice(ctx, s)
	return token
}

// setCookie sets the session's cookie, and removes it if the token is "".
func setCookie(ctx context.Context, token string, expires time.Time) {
	cookie := &http.Cookie{
		Name: authz.CookieName, Value: token, Path: "/", Expires: expires, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode,
	}
	if token == "" {
		cookie.MaxAge, cookie.Expires = -1, time.Time{}
	}
	if info, ok := connect.CallInfoForHandlerContext(ctx); ok {
		info.ResponseHeader().Add("Set-Cookie", cookie.String())
	}
}

// ClearCookie removes the session's cookie from the browser that called.
func ClearCookie(ctx context.Context) { setCookie(ctx, "", time.Time{}) }

// account writes what a registration created, and hands out its session.
func account(ctx context.Context, a *store.Account) *authv1.Account {
	if a == nil {
		return nil
	}
	return &authv1.Account{
		User:         convert.User(a.User),
		Workspace:    convert.Workspace(a.Workspace),
		Membership:   convert.Membership(a.Membership),
		Session:      convert.Session(a.Session, true),
		SessionToken: issue(ctx, a.Session, a.Token),
	}
}

func registration(r *auth.Registration) *authv1.Registration {
	return &authv1.Registration{
		Id: r.ID.String(), CodeExpireTime: convert.Time(r.CodeExpireTime), ExpireTime: convert.Time(r.ExpireTime),
	}
}

// address reads the address of a request's field.
func address(field, s string) (email.Address, error) {
	a, err := email.Parse(s)
	if err != nil {
		return a, fault.Invalid(field, err.Error())
	}
	return a, nil
}

// id reads an id that may be absent.
func id[I interface {
	comparable
	String() string
}](field, s string, parse func(string) (I, error)) (I, error) {
	var none I
	if s == "" {
		return none, nil
	}
	parsed, err := parse(s)
	if err != nil {
		return none, fault.Invalid(field, err.Error())
	}
	return parsed, nil
}

func errCredentials() error {
	return fault.New(fault.Unauthenticated, fault.CredentialsInvalid, "the address or the password is wrong")
}

// JudgePassword judges a new password.
//
// Errors: fault PASSWORD_LENGTH, PASSWORD_COMMON, PASSWORD_LEAKED, OVERLOADED.
func (m *Module) JudgePassword(ctx context.Context, field, given string, about ...string) error {
	return m.judge(ctx, field, given, about...)
}

// HashPassword returns the form in which a password is kept.
//
// Errors: fault OVERLOADED.
func (m *Module) HashPassword(ctx context.Context, given string) (string, error) {
	return m.options.Hasher.Hash(ctx, given)
}

// CheckPassword checks a password of nobody's account yet under the limits of wrong
// ones, which name whose it is meant to be.
//
// Errors: fault CREDENTIALS_INVALID, RATE_LIMITED, OVERLOADED.
func (m *Module) CheckPassword(ctx context.Context, whose, given, hash string) error {
	_, err := m.verify(ctx, whose, ids.User{}, given, hash)
	return err
}

// IssueSession hands the token of a new account's session to the caller in the
// session's way: as a cookie, and then it returns "", or to be put into the answer.
func IssueSession(ctx context.Context, a *store.Account) string {
	return issue(ctx, a.Session, a.Token)
}

// judge judges a new password, by turns with those who hash: it takes time too.
// Outside of that, and only for a password that is good otherwise, leaked ones are
// looked at.
//
// Errors: fault PASSWORD_LENGTH, PASSWORD_COMMON, PASSWORD_LEAKED, OVERLOADED.
func (m *Module) judge(ctx context.Context, field, given string, about ...string) error {
	if err := m.options.Policy.CheckLength(field, given); err != nil {
		return err
	}
	if err := m.options.Hasher.Admit(ctx, func() error { return m.options.Policy.CheckStrength(field, given, about...) }); err != nil {
		return err
	}
	return m.options.Leaks.Check(ctx, field, given)
}
