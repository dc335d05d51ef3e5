package auth

import (
	"bytes"
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/auth/passkey"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/auth"
)

// party returns the relying party of passkeys.
//
// Errors: fault ORIGIN_FORBIDDEN where the server's pages can have none.
func (m *Module) party() (*passkey.Party, error) {
	if m.options.Passkeys == nil {
		return nil, fault.New(fault.FailedPrecondition, fault.OriginForbidden,
			"this server is not reached by https and a host name, which passkeys need: see the settings public-url and passkey-rp-id")
	}
	return m.options.Passkeys, nil
}

// StartPasskeyRegistration implements PasskeyService.
func (m *Module) StartPasskeyRegistration(ctx context.Context, _ *authv1.StartPasskeyRegistrationRequest) (*authv1.StartPasskeyRegistrationResponse, error) {
	caller := authz.SessionFrom(ctx)
	party, err := m.party()
	if err != nil {
		return nil, err
	}
	user, known, err := m.options.Store.MayAddPasskey(ctx, caller)
	if err != nil {
		return nil, err
	}
	options, state, err := party.Creation(
		passkey.User{Handle: handleOf(user.ID), Name: user.Email.Address, DisplayName: user.DisplayName}, credentials(known))
	if err != nil {
		return nil, err
	}
	challenge, err := m.options.Store.StartChallenge(ctx, auth.ToRegister, caller, state)
	if err != nil {
		return nil, err
	}
	return &authv1.StartPasskeyRegistrationResponse{
		ChallengeId: challenge.ID.String(), OptionsJson: options, ExpireTime: convert.Time(challenge.ExpireTime),
	}, nil
}

// RegisterPasskey implements PasskeyService.
func (m *Module) RegisterPasskey(ctx context.Context, req *authv1.RegisterPasskeyRequest) (*authv1.RegisterPasskeyResponse, error) {
	caller := authz.SessionFrom(ctx)
	party, err := m.party()
	if err != nil {
		return nil, err
	}
	state, err := m.takeChallenge(ctx, req.ChallengeId, auth.ToRegister, caller)
	if err != nil {
		return nil, err
	}
	made, err := party.Register(passkey.User{Handle: handleOf(caller.User)}, state, req.CredentialJson)
	if err != nil {
		return nil, orRefused(err, store.ErrSecondPasskeyRefused())
	}
	p := &auth.Passkey{
		DisplayName: strings.TrimSpace(req.DisplayName), CredentialID: made.ID, PublicKey: made.PublicKey, SignCount: int64(made.SignCount),
		Transports: made.Transports, AAGUID: uuid.NullUUID{UUID: made.AAGUID, Valid: made.AAGUID != uuid.Nil},
		BackupEligible: made.BackupEligible, BackedUp: made.BackedUp,
	}
	if p.DisplayName == "" {
		p.DisplayName = "Passkey"
	}
	codes, err := m.options.Store.RegisterPasskey(ctx, caller, p)
	if err != nil {
		return nil, err
	}
	return &authv1.RegisterPasskeyResponse{Passkey: passkeyMessage(p), RecoveryCodes: codes}, nil
}

// StartPasskeyAssertion implements PasskeyService.
func (m *Module) StartPasskeyAssertion(ctx context.Context, _ *authv1.StartPasskeyAssertionRequest) (*authv1.StartPasskeyAssertionResponse, error) {
	party, err := m.party()
	if err != nil {
		return nil, err
	}
	caller, purpose, allowed := authz.SessionFrom(ctx), auth.ToSignIn, []auth.Passkey(nil)
	if caller != nil {
		purpose = auth.ToProve
		if allowed, err = m.options.Store.Auth.Passkeys(ctx, caller.User); err != nil {
			return nil, err
		}
		if len(allowed) == 0 {
			return nil, errNoPasskey()
		}
	}
	options, state, err := party.Request(credentials(allowed))
	if err != nil {
		return nil, err
	}
	challenge, err := m.options.Store.StartChallenge(ctx, purpose, caller, state)
	if err != nil {
		return nil, err
	}
	return &authv1.StartPasskeyAssertionResponse{
		ChallengeId: challenge.ID.String(), OptionsJson: options, ExpireTime: convert.Time(challenge.ExpireTime),
	}, nil
}

// SignInWithPasskey implements PasskeyService.
//
// The challenge is not bound to a browser: who answers it is who gets the session, and
// a page of another site can neither call this method nor have a passkey answer. A
// session that there was before is left alone, and its token never given to another.
func (m *Module) SignInWithPasskey(ctx context.Context, req *authv1.SignInWithPasskeyRequest) (*authv1.SignInWithPasskeyResponse, error) {
	use, err := m.answered(ctx, req.Passkey, auth.ToSignIn, nil)
	var session *auth.Session
	var token string
	if err == nil {
		session, token, err = m.options.Store.SignInWithPasskey(ctx, *use, transport(req.SessionTransport), client(ctx))
	}
	if err != nil {
		err = orRefused(err, store.ErrPasskeyRefused())
		if use == nil {
			return nil, err // of nobody's passkey
		}
		return nil, m.refused(ctx, store.Refusal{User: use.Passkey.UserID, Action: signInRefused, Method: authz.ByPasskey}, err)
	}
	// What the account needs is what its new session is found with.
	found, err := m.options.Store.Authenticate(ctx, token, session.Transport)
	if fault.Has(err, fault.SessionRequired) { // it ended just now
		return nil, store.ErrPasskeyRefused()
	}
	if err != nil {
		return nil, err
	}
	return &authv1.SignInWithPasskeyResponse{
		Session: convert.Session(session, true), SessionToken: issue(ctx, session, token), Requirements: requirements(found),
	}, nil
}

// verifyPasskey gives the caller's session, which owes its second factor, a passkey's
// answer for it.
//
// Errors: fault CHALLENGE_INVALID, SECOND_FACTOR_INVALID, RATE_LIMITED.
func (m *Module) verifyPasskey(ctx context.Context, caller *authz.Session, a *authv1.PasskeyAssertion) (*auth.Session, string, error) {
	return m.provePasskey(ctx, caller, a, m.options.Store.VerifyPasskey)
}

// reauthenticateByPasskey gives the caller's session a new token for a passkey's
// answer.
//
// Errors: as verifyPasskey; fault FACTOR_MISSING.
func (m *Module) reauthenticateByPasskey(ctx context.Context, caller *authz.Session, a *authv1.PasskeyAssertion) (*auth.Session, string, error) {
	factors, err := m.options.Store.Auth.SecondFactors(ctx, caller.User)
	if err != nil {
		return nil, "", err
	}
	if factors.Passkeys == 0 {
		return nil, "", errNoPasskey()
	}
	session, token, err := m.provePasskey(ctx, caller, a, m.options.Store.ReauthenticateByPasskey)
	return session, token, m.refusedAgain(ctx, caller.User, authz.ByPasskey, err)
}

// provePasskey goes on with the caller's session once one of their passkeys has
// answered a challenge of that session. Wrong answers are followed by the delays of
// other second factors, and counted by themselves; what was not judged is not.
func (m *Module) provePasskey(
	ctx context.Context, caller *authz.Session, a *authv1.PasskeyAssertion,
	goOn func(context.Context, *authz.Session, store.PasskeyUse) (*auth.Session, string, error),
) (*auth.Session, string, error) {
	return m.guess(ctx, passkeysOf(caller), func(try store.Try) (*auth.Session, string, error) {
		var session *auth.Session
		var token string
		use, err := m.answered(ctx, a, auth.ToProve, caller)
		if err == nil {
			session, token, err = goOn(ctx, caller, *use)
		}
		err = orRefused(err, store.ErrSecondPasskeyRefused())
		if err != nil && !fault.Has(err, fault.SecondFactorInvalid) {
			err = errors.Join(err, m.options.Store.Failures.Return(context.WithoutCancel(ctx), try))
		}
		return session, token, err
	})
}

func errNoPasskey() error {
	return fault.New(fault.FailedPrecondition, fault.FactorMissing, "the account has no passkey")
}

// answered judges the answer to a challenge for a purpose: by any passkey if there is
// no caller, else by one of theirs.
//
// Errors: fault CHALLENGE_INVALID; passkey.ErrAnswer, and then the use tells whose
// passkey was named, if that is known.
func (m *Module) answered(ctx context.Context, a *authv1.PasskeyAssertion, purpose auth.ChallengePurpose, caller *authz.Session) (*store.PasskeyUse, error) {
	party, err := m.party()
	if err != nil {
		return nil, err
	}
	state, err := m.takeChallenge(ctx, a.GetChallengeId(), purpose, caller)
	if err != nil {
		return nil, err
	}
	answer, err := passkey.Read(a.GetCredentialJson())
	if err != nil {
		return nil, err
	}
	known, err := m.options.Store.Auth.PasskeyOf(ctx, answer.CredentialID())
	if err != nil {
		return nil, err
	}
	if known == nil || caller != nil && known.UserID != caller.User {
		return nil, passkey.ErrAnswer
	}
	use, err := party.Verify(state, handleOf(known.UserID), credential(*known), answer)
	if err != nil {
		return &store.PasskeyUse{Passkey: known}, err
	}
	return &store.PasskeyUse{Passkey: known, SignCount: use.SignCount, BackedUp: use.BackedUp}, nil
}

func (m *Module) takeChallenge(ctx context.Context, s string, purpose auth.ChallengePurpose, caller *authz.Session) ([]byte, error) {
	challenge, err := id("challenge_id", s, ids.Parse[ids.Challenge])
	if err != nil {
		return nil, err
	}
	return m.options.Store.TakeChallenge(ctx, challenge, purpose, caller)
}

// orRefused returns the fault in place of a wrong answer, of which only the log is
// told what was wrong.
func orRefused(err error, refused *fault.Fault) error {
	if errors.Is(err, passkey.ErrAnswer) {
		return refused.WithCause(err)
	}
	return err
}

// ListPasskeys implements PasskeyService.
func (m *Module) ListPasskeys(ctx context.Context, _ *authv1.ListPasskeysRequest) (*authv1.ListPasskeysResponse, error) {
	rows, err := m.options.Store.Auth.Passkeys(ctx, authz.SessionFrom(ctx).User)
	if err != nil {
		return nil, err
	}
	res := new(authv1.ListPasskeysResponse)
	for i := range rows {
		res.Passkeys = append(res.Passkeys, passkeyMessage(&rows[i]))
	}
	return res, nil
}

// UpdatePasskey implements PasskeyService.
func (m *Module) UpdatePasskey(ctx context.Context, req *authv1.UpdatePasskeyRequest) (*authv1.UpdatePasskeyResponse, error) {
	which, err := id("passkey_id", req.PasskeyId, ids.Parse[ids.Passkey])
	if err != nil {
		return nil, err
	}
	name := strings.TrimSpace(req.DisplayName)
	if name == "" {
		return nil, fault.Invalid("display_name", "is blank")
	}
	p, err := m.options.Store.RenamePasskey(ctx, authz.SessionFrom(ctx), which, name)
	if err != nil {
		return nil, err
	}
	return &authv1.UpdatePasskeyResponse{Passkey: passkeyMessage(p)}, nil
}

// DeletePasskey implements PasskeyService.
func (m *Module) DeletePasskey(ctx context.Context, req *authv1.DeletePasskeyRequest) (*authv1.DeletePasskeyResponse, error) {
	which, err := id("passkey_id", req.PasskeyId, ids.Parse[ids.Passkey])
	if err != nil {
		return nil, err
	}
	if err := m.options.Store.DeletePasskey(ctx, authz.SessionFrom(ctx), which); err != nil {
		return nil, err
	}
	return &authv1.DeletePasskeyResponse{}, nil
}

// handleOf returns the user handle of a user: their id, which tells nothing about
// them (WebAuthn Level 3, 14.6.1).
func handleOf(user ids.User) []byte {
	u := user.UUID()
	return bytes.Clone(u[:])
}

func credential(p auth.Passkey) passkey.Credential {
	return passkey.Credential{
		ID: p.CredentialID, PublicKey: p.PublicKey, SignCount: uint32(p.SignCount), Transports: p.Transports, AAGUID: p.AAGUID.UUID,
		BackupEligible: p.BackupEligible, BackedUp: p.BackedUp,
	}
}

func credentials(list []auth.Passkey) []passkey.Credential {
	out := make([]passkey.Credential, len(list))
	for i, p := range list {
		out[i] = credential(p)
	}
	return out
}

func passkeyMessage(p *auth.Passkey) *authv1.Passkey {
	m := &authv1.Passkey{
		Id: p.ID.String(), DisplayName: p.DisplayName, CreateTime: convert.Time(p.CreateTime), LastUseTime: convert.Time(p.LastUseTime),
		BackedUp: p.BackedUp,
	}
	if p.AAGUID.Valid {
		m.Aaguid = p.AAGUID.UUID.String()
	}
	return m
}
