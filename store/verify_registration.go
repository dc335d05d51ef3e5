package store

import (
	"cmp"
	"context"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/tenant"
)

// Verification proves the address of a registration.
type Verification struct {
	Registration ids.Registration // zero when the proof is a token
	Proof        Proof
	RequestID    uuid.NullUUID
	Transport    authz.Transport
	Client       authz.Client
}

// VerifyRegistration creates the account of a registration whose address is
// proven, or records the proof if the account is there already.
//
// Errors: fault CODE_INVALID, also for a registration that has ended, or whose
// address was proven by another one first. A wrong code is counted, whatever
// else happens.
func (s *Store) VerifyRegistration(ctx context.Context, v Verification) (*Account, error) {
	var account *Account
	var refusal error
	err := s.write(ctx, func(ctx context.Context, t *tx) error {
		account, refusal = nil, nil
		reg, err := t.auth.LockToVerify(ctx, v.Registration, v.Proof.tokenHash(forRegistration))
		if err != nil {
			return err
		}
		if reg == nil || !t.now.Before(reg.CodeExpireTime) || reg.CodeAttempts >= auth.MaxAttempts {
			return errCode()
		}
		if !v.Proof.proves(forRegistration, reg.CodeHash, reg.TokenHash) {
			reg.CodeAttempts++
			refusal = errCode()
			return t.auth.UpdateRegistration(ctx, reg) // and commit
		}
		if !reg.VerifyTime.IsZero() {
			if !v.RequestID.Valid || v.RequestID != reg.VerifyRequestID {
				return errCode()
			}
			if err := t.identity.HoldUser(ctx, reg.UserID); err != nil {
				return err
			}
			// Not once the password was changed, which ended all sessions.
			if held, err := t.auth.HoldPassword(ctx, reg.UserID, reg.PasswordHash); err != nil || !held {
				return cmp.Or(err, errCode())
			}
			account, err = t.accountOf(ctx, reg, v.Transport, v.Client)
			return err
		}
		account, err = t.verify(ctx, reg, v)
		return err
	})
	if fault.Has(err, fault.EmailTaken) { // by another registration, just now
		err = errCode()
	}
	if err != nil {
		return nil, err
	}
	return account, refusal
}

// verify completes a locked registration.
func (t *tx) verify(ctx context.Context, reg *auth.Registration, v Verification) (*Account, error) {
	if err := t.auth.EndRegistrations(ctx, reg.AddressKey, reg.ID); err != nil {
		return nil, err
	}
	reg.VerifyTime, reg.VerifyRequestID = t.now, v.RequestID
	taken, err := t.lockAddress(ctx, reg.AddressKey)
	if err != nil {
		return nil, err
	}
	var account *Account
	switch {
	case taken != nil && taken.Verified():
		return nil, errCode()
	case taken != nil && taken.UserID == reg.UserID: // created before the address was proven
		user, err := t.identity.LockUser(ctx, reg.UserID)
		if err != nil {
			return nil, err
		}
		if err := t.identity.MarkVerified(ctx, user, t.now); err != nil {
			return nil, err
		}
		if err := t.record(ctx, audit.Event{
			UserID: user.ID, ActorUserID: user.ID, Action: "user.email_verified", TargetID: user.ID.String(),
		}); err != nil {
			return nil, err
		}
		account, err = t.accountOf(ctx, reg, v.Transport, v.Client)
		if err != nil {
			return nil, err
		}
	case !reg.UserID.IsZero(): // created, but the address is no longer theirs
		return nil, errCode()
	default:
		var left []*tenant.Workspace
		if taken != nil {
			if left, err = t.voidAccount(ctx, taken.UserID); err != nil {
				return nil, err
			}
		}
		if account, err = t.createAccount(ctx, reg, t.now, v.Transport, v.Client); err != nil {
			return nil, err
		}
		if err := t.hand(ctx, left, account.User); err != nil {
			return nil, err
		}
	}
	return account, t.auth.UpdateRegistration(ctx, reg)
}
