// Package auth serves the module auth: registration, sign-in, sessions and
// passwords.
package auth

import (
	"context"
	"errors"
	"net/http"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
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
	// VerifyAfter creates accounts before their address is proven.
	VerifyAfter bool
	// PasswordFailures limits the wrong passwords for one account from one
	// network.
	PasswordFailures store.Limit
	// AccountFailures limits the wrong passwords for one account from everywhere.
	// One network must not be able to use it up.
	AccountFailures store.Limit
	// Passkeys is the relying party of passkeys; nil where there can be none.
	Passkeys *passkey.Party
	// EmailCodeFailures limits the wrong codes of sign-ins by mail for one address.
	EmailCodeFailures store.Limit
	// Product is what authenticator apps call the product.
	Product string
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
	if s.Transport != authz.Cookie {
		return token
	}
	setCookie(ctx, token, s.ExpireTime)
	return ""
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

// verify checks a password under the limits of wrong ones, which name whose it
// is meant to be. What is counted before the check is given back unless it finds
// the password wrong, so that parallel guesses are no more than the limits allow
// and an overloaded server counts against nobody.
//
// Errors: fault CREDENTIALS_INVALID, RATE_LIMITED, OVERLOADED.
func (m *Module) verify(ctx context.Context, whose, given, hash string) (stale bool, err error) {
	throttle, mine, all := m.options.Store.Throttle, "password "+whose+" "+client(ctx).Site(), accountKey(whose)
	if err := throttle.Take(ctx, mine, m.options.PasswordFailures); err != nil {
		return false, err
	}
	if err := throttle.Take(ctx, all, m.options.AccountFailures); err != nil {
		return false, errors.Join(err, throttle.Return(ctx, mine, m.options.PasswordFailures))
	}
	match, stale, err := m.options.Hasher.Verify(ctx, given, hash)
	if err != nil {
		ctx := context.WithoutCancel(ctx)
		return false, errors.Join(err,
			throttle.Return(ctx, mine, m.options.PasswordFailures), throttle.Return(ctx, all, m.options.AccountFailures))
	}
	if !match {
		return false, errCredentials()
	}
	return stale, throttle.Release(ctx, mine, all)
}

// JudgePassword judges a new password.
//
// Errors: fault PASSWORD_LENGTH, PASSWORD_COMMON, OVERLOADED.
func (m *Module) JudgePassword(ctx context.Context, field, given string, about ...string) error {
	return m.judge(ctx, field, given, about...)
}

// HashPassword returns the form in which a password is kept.
//
// Errors: fault OVERLOADED.
func (m *Module) HashPassword(ctx context.Context, given string) (string, error) {
	return m.options.Hasher.Hash(ctx, given)
}

// CheckPassword checks a password under the limits of wrong ones, which name whose
// it is meant to be.
//
// Errors: fault CREDENTIALS_INVALID, RATE_LIMITED, OVERLOADED.
func (m *Module) CheckPassword(ctx context.Context, whose, given, hash string) error {
	_, err := m.verify(ctx, whose, given, hash)
	return err
}

// IssueSession hands the token of a new account's session to the caller in the
// session's way: as a cookie, and then it returns "", or to be put into the answer.
func IssueSession(ctx context.Context, a *store.Account) string {
	return issue(ctx, a.Session, a.Token)
}

// accountKey names the counter of wrong passwords for one account from
// everywhere.
func accountKey(whose string) string { return "password " + whose }

// judge judges a new password, by turns with those who hash: it takes time too.
//
// Errors: fault PASSWORD_LENGTH, PASSWORD_COMMON, OVERLOADED.
func (m *Module) judge(ctx context.Context, field, given string, about ...string) error {
	if err := m.options.Policy.CheckLength(field, given); err != nil {
		return err
	}
	return m.options.Hasher.Admit(ctx, func() error { return m.options.Policy.CheckStrength(field, given, about...) })
}
