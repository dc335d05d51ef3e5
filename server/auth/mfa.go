package auth

import (
	"cmp"
	"context"
	"net/url"
	"strconv"
	"strings"
	"time"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/auth/qr"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/auth"
)

// secondFactorBackoff is how long one has to wait after wrong second factors of one
// account in a row: 5 are free, and after many there are 4 tries an hour, so that the
// 100 in a row which NIST SP 800-63B-4, 3.2.2 allows take a day, and a code is never
// guessed. It counts the account, not the session or the network: whoever comes so
// far has one of the account's factors already.
var secondFactorBackoff = auth.Backoff{Free: 5, First: time.Second, Max: 15 * time.Minute}

// VerifySecondFactor implements MfaService.
func (m *Module) VerifySecondFactor(ctx context.Context, req *authv1.VerifySecondFactorRequest) (*authv1.VerifySecondFactorResponse, error) {
	session, token, err := m.verifySecondFactor(ctx, req)
	if err != nil {
		return nil, m.refused(ctx, store.Refusal{User: authz.SessionFrom(ctx).User, Action: signInRefused, Method: methodOf(req)}, err)
	}
	// What the account needs is what its session is found with under its new token.
	found, err := m.options.Store.Authenticate(ctx, token, session.Transport)
	if err != nil {
		return nil, err
	}
	return &authv1.VerifySecondFactorResponse{
		Session: convert.Session(session, true), SessionToken: issue(ctx, session, token), Requirements: requirements(found),
	}, nil
}

// methodOf is by what a second factor is proven.
func methodOf(req *authv1.VerifySecondFactorRequest) authz.Method {
	switch req.Proof.(type) {
	case *authv1.VerifySecondFactorRequest_RecoveryCode:
		return authz.ByRecoveryCode
	case *authv1.VerifySecondFactorRequest_Passkey:
		return authz.ByPasskey
	}
	return authz.ByTOTP
}

func (m *Module) verifySecondFactor(ctx context.Context, req *authv1.VerifySecondFactorRequest) (*auth.Session, string, error) {
	caller := authz.SessionFrom(ctx)
	if !caller.SecondFactorPending {
		return nil, "", errOwesNothing()
	}
	// All factors may have been removed since, by another session or an operator: then
	// this one can never be completed.
	factors, err := m.options.Store.Auth.SecondFactors(ctx, caller.User)
	if err != nil {
		return nil, "", err
	}
	if !factors.Required() {
		return nil, "", errOwesNothing()
	}
	switch proof := req.Proof.(type) {
	case *authv1.VerifySecondFactorRequest_TotpCode:
		if factors.TOTP == 0 {
			return nil, "", errNoTOTP()
		}
		return m.guess(ctx, codesOf(caller), func(store.Try) (*auth.Session, string, error) {
			return m.options.Store.VerifyTOTP(ctx, caller, proof.TotpCode)
		})
	case *authv1.VerifySecondFactorRequest_RecoveryCode:
		return m.guess(ctx, codesOf(caller), func(store.Try) (*auth.Session, string, error) {
			return m.options.Store.VerifyRecoveryCode(ctx, caller, proof.RecoveryCode)
		})
	case *authv1.VerifySecondFactorRequest_Passkey:
		return m.verifyPasskey(ctx, caller, proof.Passkey)
	}
	return nil, "", fault.Invalid("proof", "is missing")
}

// codesOf names the counter of an account's wrong second factors that are codes, and
// passkeysOf that of its passkeys: who guesses codes does not have the owner wait who
// has a passkey.
func codesOf(caller *authz.Session) string    { return "second factor " + caller.User.String() }
func passkeysOf(caller *authz.Session) string { return "passkeys " + caller.User.String() }

// guess evaluates a second factor of the caller, under a counter. The try is counted
// before, and committed by itself: neither parallel tries, nor one whose transaction
// fails, nor another session are more than allowed.
//
// Errors: those of the evaluation; fault RATE_LIMITED.
func (m *Module) guess(ctx context.Context, counter string, evaluate func(store.Try) (*auth.Session, string, error)) (*auth.Session, string, error) {
	failures := m.options.Store.Failures
	try, err := failures.Begin(ctx, counter, secondFactorBackoff)
	if err != nil {
		return nil, "", err
	}
	session, token, err := evaluate(try)
	if err != nil {
		return nil, "", err
	}
	// The session has its new token, whatever becomes of this: an error here would
	// belie that.
	_ = failures.Succeed(ctx, counter)
	return session, token, nil
}

func errOwesNothing() error {
	return fault.New(fault.FailedPrecondition, fault.FactorMissing, "the session owes no second factor, or the account has none any more: then sign in again")
}

func errNoTOTP() error {
	return fault.New(fault.FailedPrecondition, fault.FactorMissing, "the account has no authenticator app")
}

// CreateTotpFactor implements MfaService.
func (m *Module) CreateTotpFactor(ctx context.Context, req *authv1.CreateTotpFactorRequest) (*authv1.CreateTotpFactorResponse, error) {
	name := cmp.Or(strings.TrimSpace(req.DisplayName), "Authenticator app")
	e, err := m.options.Store.CreateTOTPFactor(ctx, authz.SessionFrom(ctx), name)
	if err != nil {
		return nil, err
	}
	uri := otpauthURI(m.options.Product, e.Account, e.Secret)
	code, err := qr.Encode(uri)
	if err != nil {
		return nil, err
	}
	picture, err := code.PNG()
	if err != nil {
		return nil, err
	}
	return &authv1.CreateTotpFactorResponse{
		TotpFactorId: e.Factor.ID.String(),
		Secret:       e.Secret,
		OtpauthUri:   uri,
		QrPng:        picture,
		QrSvg:        code.SVG(),
		ExpireTime:   convert.Time(e.Factor.ExpireTime),
	}, nil
}

// otpauthURI is what authenticator apps read to enrol (Google's "Key Uri Format"). The
// account is named behind the issuer, of which a colon would be the end.
func otpauthURI(issuer, account, secret string) string {
	escape := func(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
	issuer = strings.TrimSpace(strings.ReplaceAll(issuer, ":", " "))
	return "otpauth://totp/" + escape(issuer) + ":" + escape(account) +
		"?secret=" + secret + "&issuer=" + escape(issuer) +
		"&algorithm=SHA1&digits=" + strconv.Itoa(store.TOTPDigits) + "&period=" + strconv.Itoa(int(store.TOTPPeriod/time.Second))
}

// ConfirmTotpFactor implements MfaService.
func (m *Module) ConfirmTotpFactor(ctx context.Context, req *authv1.ConfirmTotpFactorRequest) (*authv1.ConfirmTotpFactorResponse, error) {
	factor, err := id("totp_factor_id", req.TotpFactorId, ids.Parse[ids.Factor])
	if err != nil {
		return nil, err
	}
	caller := authz.SessionFrom(ctx)
	// A counter of its own: who can confirm a factor must not thereby forget the wrong
	// ones of a sign-in.
	failures, key := m.options.Store.Failures, "totp confirmation "+caller.User.String()
	if _, err := failures.Begin(ctx, key, secondFactorBackoff); err != nil {
		return nil, err
	}
	f, codes, err := m.options.Store.ConfirmTOTPFactor(ctx, caller, factor, req.Code)
	if err != nil {
		return nil, err
	}
	_ = failures.Succeed(ctx, key)
	return &authv1.ConfirmTotpFactorResponse{TotpFactor: totpFactor(f), RecoveryCodes: codes}, nil
}

func totpFactor(f *auth.TOTPFactor) *authv1.TotpFactor {
	return &authv1.TotpFactor{
		Id: f.ID.String(), DisplayName: f.DisplayName, CreateTime: convert.Time(f.ConfirmTime), LastUseTime: convert.Time(f.LastUseTime),
	}
}

// ListTotpFactors implements MfaService.
func (m *Module) ListTotpFactors(ctx context.Context, _ *authv1.ListTotpFactorsRequest) (*authv1.ListTotpFactorsResponse, error) {
	rows, err := m.options.Store.Auth.TOTPFactors(ctx, authz.SessionFrom(ctx).User)
	if err != nil {
		return nil, err
	}
	res := &authv1.ListTotpFactorsResponse{}
	for i := range rows {
		res.TotpFactors = append(res.TotpFactors, totpFactor(&rows[i]))
	}
	return res, nil
}

// UpdateTotpFactor implements MfaService.
func (m *Module) UpdateTotpFactor(ctx context.Context, req *authv1.UpdateTotpFactorRequest) (*authv1.UpdateTotpFactorResponse, error) {
	caller := authz.SessionFrom(ctx)
	if !caller.Impersonator.IsZero() {
		return nil, errImpersonation()
	}
	factor, err := id("totp_factor_id", req.TotpFactorId, ids.Parse[ids.Factor])
	if err != nil {
		return nil, err
	}
	name := strings.TrimSpace(req.DisplayName)
	if name == "" {
		return nil, fault.Invalid("display_name", "is empty")
	}
	f, err := m.options.Store.UpdateTOTPFactor(ctx, caller.User, factor, name)
	if err != nil {
		return nil, err
	}
	return &authv1.UpdateTotpFactorResponse{TotpFactor: totpFactor(f)}, nil
}

// DeleteTotpFactor implements MfaService.
func (m *Module) DeleteTotpFactor(ctx context.Context, req *authv1.DeleteTotpFactorRequest) (*authv1.DeleteTotpFactorResponse, error) {
	factor, err := id("totp_factor_id", req.TotpFactorId, ids.Parse[ids.Factor])
	if err != nil {
		return nil, err
	}
	if err := m.options.Store.DeleteTOTPFactor(ctx, authz.SessionFrom(ctx), factor); err != nil {
		return nil, err
	}
	return &authv1.DeleteTotpFactorResponse{}, nil
}

// GetRecoveryCodes implements MfaService.
func (m *Module) GetRecoveryCodes(ctx context.Context, _ *authv1.GetRecoveryCodesRequest) (*authv1.GetRecoveryCodesResponse, error) {
	count, created, err := m.options.Store.Auth.RecoveryCodes(ctx, authz.SessionFrom(ctx).User)
	if err != nil {
		return nil, err
	}
	return &authv1.GetRecoveryCodesResponse{RemainingCount: int32(count), CreateTime: convert.Time(created)}, nil
}

// RegenerateRecoveryCodes implements MfaService.
func (m *Module) RegenerateRecoveryCodes(ctx context.Context, _ *authv1.RegenerateRecoveryCodesRequest) (*authv1.RegenerateRecoveryCodesResponse, error) {
	codes, err := m.options.Store.RegenerateRecoveryCodes(ctx, authz.SessionFrom(ctx))
	if err != nil {
		return nil, err
	}
	return &authv1.RegenerateRecoveryCodesResponse{RecoveryCodes: codes}, nil
}
