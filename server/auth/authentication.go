package auth

import (
	"context"
	"errors"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/auth"
)

// SignInWithPassword implements AuthenticationService.
func (m *Module) SignInWithPassword(ctx context.Context, req *authv1.SignInWithPasswordRequest) (*authv1.SignInWithPasswordResponse, error) {
	mail, err := address("email", req.Email)
	if err != nil {
		return nil, err
	}
	session, token, err := m.signIn(ctx, mail, req)
	if errors.Is(err, store.ErrPasswordChanged) { // perhaps only hashed anew, by another sign-in
		session, token, err = m.signIn(ctx, mail, req)
	}
	if err != nil {
		return nil, m.refused(ctx, store.Refusal{AddressKey: mail.Key, Action: signInRefused, Method: authz.ByPassword}, err)
	}
	// What the account needs is what its new session is found with.
	found, err := m.options.Store.Authenticate(ctx, token, session.Transport)
	if fault.Has(err, fault.SessionRequired) { // the password, or the account, ended just now
		return nil, errCredentials()
	}
	if err != nil {
		return nil, err
	}
	return &authv1.SignInWithPasswordResponse{
		Session: convert.Session(session, true), SessionToken: issue(ctx, session, token), Requirements: requirements(found),
	}, nil
}

func (m *Module) signIn(ctx context.Context, mail email.Address, req *authv1.SignInWithPasswordRequest) (*auth.Session, string, error) {
	user, hash, err := m.options.Store.Auth.PasswordHashAt(ctx, mail.Key)
	if err != nil {
		return nil, "", err
	}
	stale, err := m.verify(ctx, mail.Key, user, req.Password, hash)
	if err != nil {
		return nil, "", err
	}
	in := store.SignIn{User: user, PasswordHash: hash, Transport: transport(req.SessionTransport), Client: client(ctx)}
	if stale {
		if in.Rehash, err = m.options.Hasher.Hash(ctx, req.Password); err != nil {
			return nil, "", err
		}
	}
	return m.options.Store.SignIn(ctx, in)
}

// requirements are what an account still needs.
func requirements(s *authz.Session) []authv1.AccountRequirement {
	var list []authv1.AccountRequirement
	if s.SecondFactorPending {
		list = append(list, authv1.AccountRequirement_ACCOUNT_REQUIREMENT_SECOND_FACTOR_REQUIRED)
	}
	if !s.EmailVerified {
		list = append(list, authv1.AccountRequirement_ACCOUNT_REQUIREMENT_EMAIL_VERIFICATION_REQUIRED)
	}
	if !s.HasWorkspace {
		list = append(list, authv1.AccountRequirement_ACCOUNT_REQUIREMENT_WORKSPACE_REQUIRED)
	}
	return list
}

// verifyCaller checks the caller's own password, and returns its hash.
//
// Errors: as verify.
func (m *Module) verifyCaller(ctx context.Context, caller *authz.Session, given string) (string, error) {
	hash, err := m.options.Store.Auth.PasswordHash(ctx, caller.User)
	if err != nil {
		return "", err
	}
	if _, err = m.verify(ctx, caller.User.String(), caller.User, given, hash); err != nil {
		return "", m.refusedAgain(ctx, caller.User, authz.ByPassword, err)
	}
	return hash, nil
}

// Reauthenticate implements AuthenticationService.
func (m *Module) Reauthenticate(ctx context.Context, req *authv1.ReauthenticateRequest) (*authv1.ReauthenticateResponse, error) {
	session, token, err := m.reauthenticate(ctx, req)
	if errors.Is(err, store.ErrPasswordChanged) { // perhaps only hashed anew, by a sign-in
		session, token, err = m.reauthenticate(ctx, req)
	}
	if err != nil {
		return nil, err
	}
	return &authv1.ReauthenticateResponse{Session: convert.Session(session, true), SessionToken: issue(ctx, session, token)}, nil
}

func (m *Module) reauthenticate(ctx context.Context, req *authv1.ReauthenticateRequest) (*auth.Session, string, error) {
	caller := authz.SessionFrom(ctx)
	if !caller.Impersonator.IsZero() {
		return nil, "", errImpersonation()
	}
	switch {
	case req.TotpCode != "":
		return m.reauthenticateByTOTP(ctx, caller, req.TotpCode)
	case req.Passkey != nil:
		return m.reauthenticateByPasskey(ctx, caller, req.Passkey)
	case req.EmailCode != nil:
		return m.reauthenticateByEmail(ctx, caller, req.EmailCode)
	}
	hash, err := m.verifyCaller(ctx, caller, req.Password)
	if err != nil {
		return nil, "", err
	}
	return m.options.Store.Reauthenticate(ctx, caller, hash)
}

// reauthenticateByTOTP gives the caller's session a new token by a code of an
// authenticator app, under the limit of wrong ones.
//
// Errors: fault SECOND_FACTOR_INVALID, FACTOR_MISSING, RATE_LIMITED.
func (m *Module) reauthenticateByTOTP(ctx context.Context, caller *authz.Session, code string) (*auth.Session, string, error) {
	factors, err := m.options.Store.Auth.SecondFactors(ctx, caller.User)
	if err != nil {
		return nil, "", err
	}
	if factors.TOTP == 0 {
		return nil, "", errNoTOTP()
	}
	session, token, err := m.guess(ctx, codesOf(caller), func(store.Try) (*auth.Session, string, error) {
		return m.options.Store.ReauthenticateByTOTP(ctx, caller, code)
	})
	return session, token, m.refusedAgain(ctx, caller.User, authz.ByTOTP, err)
}

func errImpersonation() error {
	return fault.New(fault.PermissionDenied, fault.ImpersonationNotAllowed, "who acts in the name of a user cannot do this")
}

// SignOut implements AuthenticationService.
func (m *Module) SignOut(ctx context.Context, _ *authv1.SignOutRequest) (*authv1.SignOutResponse, error) {
	caller := authz.SessionFrom(ctx)
	if err := m.options.Store.SignOut(ctx, caller); err != nil {
		return nil, err
	}
	if caller.Transport == authz.Cookie {
		ClearCookie(ctx)
	}
	return &authv1.SignOutResponse{}, nil
}
