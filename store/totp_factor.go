package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
)

const (
	// maxTOTPFactors is how many authenticator apps a user may have.
	maxTOTPFactors = 5
	// maxUnconfirmed is how many more may wait to be confirmed. The oldest ones give
	// way.
	maxUnconfirmed = 5
	// confirmTime is how long an authenticator app can be confirmed.
	confirmTime = 10 * time.Minute
)

// TOTPEnrollment is an authenticator app that is to be confirmed.
type TOTPEnrollment struct {
	Factor *auth.TOTPFactor
	// Secret is what the app is given, in base32.
	Secret string
	// Account is what the app shows whose it is: the user's address.
	Account string
}

// CreateTOTPFactor begins to enrol an authenticator app of the caller.
//
// Errors: fault EMAIL_UNVERIFIED, TOO_MANY, SESSION_REQUIRED.
func (s *Store) CreateTOTPFactor(ctx context.Context, caller *authz.Session, displayName string) (e *TOTPEnrollment, err error) {
	id, secret := ids.New[ids.Factor](), newTOTPSecret()
	sealed := s.sealTOTP(id, secret)
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		user, err := t.lockCaller(ctx, caller.User)
		if err != nil {
			return err
		}
		if err := t.holdSession(ctx, caller); err != nil {
			return err
		}
		if user.Email == nil || !user.Email.Verified() {
			return errUnverified()
		}
		if err := t.roomForTOTP(ctx, user.ID); err != nil {
			return err
		}
		e = &TOTPEnrollment{
			Factor: &auth.TOTPFactor{
				ID: id, UserID: user.ID, DisplayName: displayName, Secret: sealed, CreateTime: t.now, ExpireTime: t.now.Add(confirmTime),
			},
			Secret:  base32Secret.EncodeToString(secret),
			Account: user.Email.Address,
		}
		if err := t.auth.InsertTOTPFactor(ctx, e.Factor, maxUnconfirmed-1); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{UserID: user.ID, Action: "totp_factor.requested", TargetID: id.String()})
	})
	return e, err
}

// roomForTOTP reports whether a locked user may have one more authenticator app.
//
// Errors: fault TOO_MANY.
func (t *tx) roomForTOTP(ctx context.Context, user ids.User) error {
	factors, err := t.auth.SecondFactors(ctx, user)
	if err == nil && factors.TOTP >= maxTOTPFactors {
		err = fault.New(fault.FailedPrecondition, fault.TooMany, "an account has at most 5 authenticator apps; delete one first")
	}
	return err
}

// ConfirmTOTPFactor makes an authenticator app of the caller count, whose code is
// given. With the first second factor of the account it returns the recovery codes,
// and ends the caller's other sessions.
//
// Errors: fault NOT_FOUND, also when its time is over; SECOND_FACTOR_INVALID;
// EMAIL_UNVERIFIED, TOO_MANY, SESSION_REQUIRED.
func (s *Store) ConfirmTOTPFactor(ctx context.Context, caller *authz.Session, id ids.Factor, code string) (f *auth.TOTPFactor, recovery []string, err error) {
	now := s.options.Clock.Now()
	waiting, err := s.Auth.TOTPFactor(ctx, caller.User, id)
	if err != nil {
		return nil, nil, s.constraints.Fault(err)
	}
	if waiting == nil || waiting.Confirmed() || !now.Before(waiting.ExpireTime) {
		return nil, nil, fault.NotFoundFault()
	}
	step, right, err := s.matchTOTP(waiting, code, now)
	if err != nil {
		return nil, nil, err
	}
	if !right {
		return nil, nil, errSecondFactor()
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		// A sign-in that runs meanwhile is waited for, and its session then seen.
		if err := t.identity.LockUsers(ctx, []ids.User{caller.User}); err != nil {
			return err
		}
		user, err := t.lockCaller(ctx, caller.User)
		if err != nil {
			return err
		}
		if err := t.holdSession(ctx, caller); err != nil {
			return err
		}
		if user.Email == nil || !user.Email.Verified() {
			return errUnverified()
		}
		if err := t.roomForTOTP(ctx, user.ID); err != nil {
			return err
		}
		before, err := t.auth.SecondFactors(ctx, user.ID)
		if err != nil {
			return err
		}
		if f, err = t.auth.ConfirmTOTPFactor(ctx, user.ID, id, step, t.now); err != nil || f == nil {
			return orMissing(err)
		}
		if recovery, err = t.factorAdded(ctx, user.ID, before, caller.ID); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{
			UserID: user.ID, Action: "totp_factor.created", TargetID: id.String(),
			Details: map[string]any{"display_name": f.DisplayName, "first": !before.Required()},
		}); err != nil {
			return err
		}
		return t.mailSecurity(ctx, user.ID, mail.TOTPFactorAdded, "")
	})
	if err != nil {
		return nil, nil, err
	}
	return f, recovery, nil
}

// UpdateTOTPFactor gives an authenticator app of the caller another name.
//
// Errors: fault NOT_FOUND.
func (s *Store) UpdateTOTPFactor(ctx context.Context, user ids.User, id ids.Factor, displayName string) (f *auth.TOTPFactor, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.HoldUser(ctx, user); err != nil {
			return err
		}
		if f, err = t.auth.RenameTOTPFactor(ctx, user, id, displayName); err != nil || f == nil {
			return orMissing(err)
		}
		return t.record(ctx, audit.Event{
			UserID: user, Action: "totp_factor.updated", TargetID: id.String(), Details: map[string]any{"fields": []string{"display_name"}},
		})
	})
	return f, err
}

// DeleteTOTPFactor removes an authenticator app of the caller.
//
// Errors: fault NOT_FOUND; SESSION_REQUIRED when the session has ended.
func (s *Store) DeleteTOTPFactor(ctx context.Context, caller *authz.Session, id ids.Factor) error {
	user := caller.User
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.LockUsers(ctx, []ids.User{user}); err != nil {
			return err
		}
		if err := t.holdSession(ctx, caller); err != nil {
			return err
		}
		if found, err := t.auth.DeleteTOTPFactor(ctx, user, id); err != nil || !found {
			return orMissing(err)
		}
		if err := t.factorRemoved(ctx, user); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{UserID: user, Action: "totp_factor.deleted", TargetID: id.String()}); err != nil {
			return err
		}
		return t.mailSecurity(ctx, user, mail.TOTPFactorRemoved, "")
	})
}

// RegenerateRecoveryCodes gives the caller new recovery codes in place of those they
// have, and returns them.
//
// Errors: fault FACTOR_MISSING without a second factor; SESSION_REQUIRED when the
// session has ended.
func (s *Store) RegenerateRecoveryCodes(ctx context.Context, caller *authz.Session) (codes []string, err error) {
	user := caller.User
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.LockUsers(ctx, []ids.User{user}); err != nil {
			return err
		}
		if err := t.holdSession(ctx, caller); err != nil {
			return err
		}
		factors, err := t.auth.SecondFactors(ctx, user)
		if err != nil {
			return err
		}
		if !factors.Required() {
			return errNoFactor("the account has no second factor that recovery codes could stand in for")
		}
		if codes, err = t.newRecoveryCodes(ctx, user); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{
			UserID: user, Action: "recovery_codes.regenerated", TargetID: user.String(), Details: map[string]any{"count": len(codes)},
		}); err != nil {
			return err
		}
		return t.mailSecurity(ctx, user, mail.RecoveryCodesRegenerated, "")
	})
	return codes, err
}
