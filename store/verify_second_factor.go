package store

import (
	"context"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
)

// How a session that owes its second factor gets it. Wrong answers are counted by the
// caller of these functions, before the call.

// VerifyTOTP gives the caller's session its second factor by a code of an
// authenticator app, and a new token.
//
// Errors: fault SECOND_FACTOR_INVALID, also when the code was used before;
// FACTOR_MISSING when the account has no such factor; SESSION_REQUIRED when the
// session has ended, or owes none any more.
func (s *Store) VerifyTOTP(ctx context.Context, caller *authz.Session, code string) (session *auth.Session, token string, err error) {
	proofs, err := s.proveTOTP(ctx, caller.User, code)
	if err != nil {
		return nil, "", err
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.HoldUser(ctx, caller.User); err != nil {
			return err
		}
		factor, err := t.acceptTOTP(ctx, caller.User, proofs)
		if err != nil {
			return err
		}
		session, token, err = t.completeSecondFactor(ctx, caller, authz.ByTOTP, map[string]any{"totp_factor_id": factor.String()})
		return err
	})
	return session, token, err
}

// VerifyRecoveryCode gives the caller's session its second factor by a recovery code,
// which is used up, and a new token.
//
// Errors: fault SECOND_FACTOR_INVALID, also when the code was used before;
// SESSION_REQUIRED when the session has ended, or owes none any more.
func (s *Store) VerifyRecoveryCode(ctx context.Context, caller *authz.Session, code string) (session *auth.Session, token string, err error) {
	hash := hashOfRecovery(caller.User, code)
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.HoldUser(ctx, caller.User); err != nil {
			return err
		}
		if used, err := t.auth.UseRecoveryCode(ctx, caller.User, hash); err != nil {
			return err
		} else if !used {
			return errSecondFactor()
		}
		remaining, _, err := t.auth.RecoveryCodes(ctx, caller.User)
		if err != nil {
			return err
		}
		if session, token, err = t.completeSecondFactor(ctx, caller, authz.ByRecoveryCode, map[string]any{"remaining": remaining}); err != nil {
			return err
		}
		return t.mailSecurity(ctx, caller.User, mail.RecoveryCodeUsed, "")
	})
	return session, token, err
}

// completeSecondFactor completes the caller's session, whose second factor was found
// right, and writes the event. The user is held.
//
// Errors: fault SESSION_REQUIRED when it has ended, or owes none any more.
func (t *tx) completeSecondFactor(ctx context.Context, caller *authz.Session, by authz.Method, details map[string]any) (*auth.Session, string, error) {
	session, token, err := t.complete(ctx, caller.ID, by)
	if err != nil {
		return nil, "", err
	}
	if details == nil {
		details = map[string]any{}
	}
	details["method"] = by
	return session, token, t.record(ctx, audit.Event{
		UserID: caller.User, Action: "session.second_factor_verified", TargetID: caller.ID.String(), Details: details,
	})
}

// ReauthenticateByTOTP gives the caller's session a new token, by a code of an
// authenticator app.
//
// Errors: as VerifyTOTP.
func (s *Store) ReauthenticateByTOTP(ctx context.Context, caller *authz.Session, code string) (session *auth.Session, token string, err error) {
	proofs, err := s.proveTOTP(ctx, caller.User, code)
	if err != nil {
		return nil, "", err
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.HoldUser(ctx, caller.User); err != nil {
			return err
		}
		if _, err := t.acceptTOTP(ctx, caller.User, proofs); err != nil {
			return err
		}
		session, token, err = t.reauthenticated(ctx, caller, authz.ByTOTP)
		return err
	})
	return session, token, err
}

// reauthenticated gives the caller's session a new token, and writes the event.
//
// Errors: fault SESSION_REQUIRED when the session has ended.
func (t *tx) reauthenticated(ctx context.Context, caller *authz.Session, by authz.Method) (*auth.Session, string, error) {
	session, token, err := t.renew(ctx, caller.ID, by)
	if err != nil {
		return nil, "", err
	}
	return session, token, t.record(ctx, audit.Event{
		UserID: caller.User, Action: "session.reauthenticated", TargetID: caller.ID.String(), Details: map[string]any{"method": by},
	})
}
