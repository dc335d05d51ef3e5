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
		w, err := t.lockWayOf(ctx, v)
		if err != nil {
			return err
		}
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
		account, err = t.verify(ctx, reg, v, w)
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

// lockWayOf locks the workspaces that the account of a registration is to join.
//
// Errors: fault CODE_INVALID when the link that it came by is gone.
func (t *tx) lockWayOf(ctx context.Context, v Verification) (way, error) {
	var seen *auth.Registration
	var err error
	if v.Proof.Token != "" {
		seen, err = t.auth.RegistrationByToken(ctx, v.Proof.tokenHash(forRegistration))
	} else {
		seen, err = t.auth.Registration(ctx, v.Registration)
	}
	if err != nil || seen == nil || !seen.UserID.IsZero() {
		return way{}, err // there is no account to be made
	}
	if seen.InvitationLinkID.IsZero() {
		return t.lockWay(ctx, ids.Workspace{}, seen.AddressKey)
	}
	link, err := t.team.Link(ctx, seen.InvitationLinkID)
	if err != nil || link == nil {
		return way{}, orCode(err)
	}
	w, err := t.lockWay(ctx, link.WorkspaceID, seen.AddressKey)
	if err != nil {
		return w, err
	}
	if w.link, w.workspace = link, w.locked[link.WorkspaceID]; w.workspace == nil {
		return w, errCode()
	}
	return w, nil
}

// verify completes a locked registration.
func (t *tx) verify(ctx context.Context, reg *auth.Registration, v Verification, w way) (*Account, error) {
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
		if account, err = t.createAccount(ctx, reg, t.now, v.Transport, v.Client, w); err != nil {
			return nil, err
		}
		if err := t.hand(ctx, left, account.User); err != nil {
			return nil, err
		}
	}
	return account, t.auth.UpdateRegistration(ctx, reg)
}
