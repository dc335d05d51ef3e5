package auth

import (
	"context"
	"net/http"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/auth"
)

// emailCookieName is the name of the cookie that binds a sign-in by mail to the
// browser which asked for it. As for the session's, its prefix keeps other hosts from
// setting it (RFC 6265bis, 4.1.3.2).
const emailCookieName = "__Host-manager_email"

// StartEmailSignIn implements EmailChallengeService. The binding is always a new one: a
// cookie that somebody planted in the browser before is worth nothing.
func (m *Module) StartEmailSignIn(ctx context.Context, req *authv1.StartEmailSignInRequest) (*authv1.StartEmailSignInResponse, error) {
	mail, err := address("email", req.Email)
	if err != nil {
		return nil, err
	}
	if err := m.options.LimitMail(ctx, mail); err != nil {
		return nil, err
	}
	challenge, binding, err := m.options.Store.StartEmailSignIn(ctx, mail, transport(req.SessionTransport))
	if err != nil {
		return nil, err
	}
	if challenge.Transport == authz.Cookie {
		setEmailCookie(ctx, binding, challenge.ExpireTime)
		binding = ""
	}
	return &authv1.StartEmailSignInResponse{
		EmailChallengeId: challenge.ID.String(), BindingToken: binding, ExpireTime: convert.Time(challenge.ExpireTime),
	}, nil
}

// CompleteEmailSignIn implements EmailChallengeService.
func (m *Module) CompleteEmailSignIn(ctx context.Context, req *authv1.CompleteEmailSignInRequest) (*authv1.CompleteEmailSignInResponse, error) {
	id, err := id("email_challenge_id", req.EmailChallengeId, ids.Parse[ids.EmailChallenge])
	if err != nil {
		return nil, err
	}
	proof := store.Proof{Code: req.Code, Token: req.Token}
	challenge, err := m.options.Store.TryEmailSignIn(ctx, id, proof)
	if err != nil {
		return nil, err
	}
	in := store.EmailSignIn{Challenge: challenge, Proof: proof, Binding: req.BindingToken, Client: client(ctx)}
	if challenge.Transport == authz.Cookie {
		in.Binding = emailCookie(ctx) // and by no other way, which scripts could use
	}
	session, token, err := m.tryCode(ctx, challenge, func() (*auth.Session, string, error) {
		return m.options.Store.CompleteEmailSignIn(ctx, in)
	})
	if err != nil {
		return nil, m.refused(ctx, store.Refusal{AddressKey: challenge.AddressKey, Action: signInRefused, Method: authz.ByEmail}, err)
	}
	if challenge.Transport == authz.Cookie {
		setEmailCookie(ctx, "", time.Time{})
	}
	// What the account needs is what its new session is found with.
	found, err := m.options.Store.Authenticate(ctx, token, session.Transport)
	if fault.Has(err, fault.SessionRequired) { // the account, or the session, ended just now
		return nil, errCode()
	}
	if err != nil {
		return nil, err
	}
	return &authv1.CompleteEmailSignInResponse{
		Session: convert.Session(session, true), SessionToken: issue(ctx, session, token), Requirements: requirements(found),
	}, nil
}

// tryCode evaluates a mailed code under the limit of wrong ones for the address: the
// tries of a single challenge are counted already, but anybody can ask for many.
//
// Errors: those of the try; fault RATE_LIMITED.
func (m *Module) tryCode(ctx context.Context, c *auth.EmailChallenge, try func() (*auth.Session, string, error)) (*auth.Session, string, error) {
	throttle, key := m.options.Store.Throttle, "email code "+c.AddressKey
	if err := throttle.Take(ctx, key, m.options.EmailCodeFailures); err != nil {
		return nil, "", err
	}
	session, token, err := try()
	if err != nil {
		return nil, "", err
	}
	// The session is there, whatever becomes of this.
	_ = throttle.Release(ctx, key)
	return session, token, nil
}

func errCode() error {
	return fault.New(fault.FailedPrecondition, fault.CodeInvalid,
		"the code or link is wrong, expired, used or replaced; ask for a new one")
}

// StartEmailReauthentication implements EmailChallengeService.
func (m *Module) StartEmailReauthentication(ctx context.Context, _ *authv1.StartEmailReauthenticationRequest) (*authv1.StartEmailReauthenticationResponse, error) {
	caller := authz.SessionFrom(ctx)
	if !caller.Impersonator.IsZero() {
		return nil, errImpersonation()
	}
	mail, err := m.options.Store.EmailReauthenticationAddress(ctx, caller.User)
	if err != nil {
		return nil, err
	}
	if err := m.options.LimitMail(ctx, mail); err != nil {
		return nil, err
	}
	challenge, err := m.options.Store.StartEmailReauthentication(ctx, caller)
	if err != nil {
		return nil, err
	}
	return &authv1.StartEmailReauthenticationResponse{
		EmailChallengeId: challenge.ID.String(), ExpireTime: convert.Time(challenge.ExpireTime),
	}, nil
}

// reauthenticateByEmail gives the caller's session a new token by a code that was
// mailed for it.
//
// Errors: fault CODE_INVALID, FACTOR_MISSING, RATE_LIMITED.
func (m *Module) reauthenticateByEmail(ctx context.Context, caller *authz.Session, code *authv1.EmailCode) (*auth.Session, string, error) {
	id, err := id("email_code.email_challenge_id", code.EmailChallengeId, ids.Parse[ids.EmailChallenge])
	if err != nil {
		return nil, "", err
	}
	if _, err := m.options.Store.EmailReauthenticationAddress(ctx, caller.User); err != nil {
		return nil, "", err
	}
	challenge, err := m.options.Store.TryEmailReauthentication(ctx, caller, id)
	if err != nil {
		return nil, "", err
	}
	session, token, err := m.tryCode(ctx, challenge, func() (*auth.Session, string, error) {
		return m.options.Store.ReauthenticateByEmail(ctx, caller, challenge, code.Code)
	})
	return session, token, m.refusedAgain(ctx, caller.User, authz.ByEmail, err)
}

// setEmailCookie sets the cookie that binds a sign-in by mail to the browser, and
// removes it if the token is "".
func setEmailCookie(ctx context.Context, token string, expires time.Time) {
	cookie := &http.Cookie{
		Name: emailCookieName, Value: token, Path: "/", Expires: expires, HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode,
	}
	if token == "" {
		cookie.MaxAge, cookie.Expires = -1, time.Time{}
	}
	if info, ok := connect.CallInfoForHandlerContext(ctx); ok {
		info.ResponseHeader().Add("Set-Cookie", cookie.String())
	}
}

// emailCookie returns what the cookie holds; "" without it.
func emailCookie(ctx context.Context) string {
	info, ok := connect.CallInfoForHandlerContext(ctx)
	if !ok {
		return ""
	}
	cookie, err := (&http.Request{Header: info.RequestHeader()}).Cookie(emailCookieName)
	if err != nil {
		return ""
	}
	return cookie.Value
}
