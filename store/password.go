package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/identity"
)

// ChangePassword replaces the caller's password, ends their other sessions, of
// which it returns the count, forgets their other devices, gives the present
// session a new token, and ends its refresh tokens: whoever had the old one may have
// made them.
//
// Errors: fault CREDENTIALS_INVALID when the password was changed meanwhile.
func (s *Store) ChangePassword(ctx context.Context, caller *authz.Session, old, hash string) (session *auth.Session, token string, revoked int, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		user, err := t.lockCaller(ctx, caller.User)
		if err != nil {
			return err
		}
		if replaced, err := t.auth.ReplacePassword(ctx, caller.User, old, hash, t.now); err != nil || !replaced {
			return orCredentials(err)
		}
		if session, token, err = t.renew(ctx, caller.ID, authz.ByPassword); err != nil {
			return err
		}
		if err := t.auth.DeleteRefreshTokensOfSession(ctx, caller.ID); err != nil {
			return err
		}
		if err := t.voidEmailChallenges(ctx, caller.User); err != nil {
			return err
		}
		if err := t.voidEmailChanges(ctx, caller.User); err != nil {
			return err
		}
		if revoked, err = t.auth.DeleteSessions(ctx, caller.User, caller.ID); err != nil {
			return err
		}
		if err := t.forgetDevices(ctx, caller.User); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{
			UserID: user.ID, Action: "user.password_changed", TargetID: user.ID.String(), Details: map[string]any{"revoked_sessions": revoked},
		}); err != nil {
			return err
		}
		return t.mailPasswordChanged(ctx, user)
	})
	return session, token, revoked, err
}

// RequestPasswordReset stores a wish for a new password and mails a code to the
// address, if that has an account. Neither what it does nor how long it takes
// depends on that.
func (s *Store) RequestPasswordReset(ctx context.Context, address email.Address) (reset *auth.PasswordReset, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		code := newMailed(prefixPasswordReset)
		reset = &auth.PasswordReset{
			ID: ids.New[ids.PasswordReset](), AddressKey: address.Key, CreateTime: t.now, ExpireTime: t.now.Add(CodeLifetime),
		}
		reset.CodeHash, reset.TokenHash = code.hashes(forPasswordReset)
		if err := t.auth.InsertPasswordReset(ctx, reset); err != nil {
			return err
		}
		return t.mail(ctx, letter{
			Message: mail.Message{Template: mail.PasswordResetCode, To: address.Display, Data: map[string]string{
				"code":        code.code,
				"token":       code.token,
				"expire_time": reset.ExpireTime.Format(time.RFC3339),
			}},
			If:         hasAccount,
			AddressKey: address.Key,
		})
	})
	return reset, err
}

// ResetPassword gives the user whose address is proven a new password, and ends
// all their sessions. Of their devices only the present one stays known. It returns the key of the address.
//
// Errors: fault CODE_INVALID. A wrong code is counted, whatever else happens.
func (s *Store) ResetPassword(ctx context.Context, id ids.PasswordReset, proof Proof, hash string) (addressKey string, err error) {
	var refusal error
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		refusal = nil
		reset, err := t.auth.LockPasswordReset(ctx, id, proof.tokenHash(forPasswordReset))
		if err != nil {
			return err
		}
		if reset == nil || !t.now.Before(reset.ExpireTime) || reset.Attempts >= auth.MaxAttempts {
			return errCode()
		}
		if !proof.proves(forPasswordReset, reset.CodeHash, reset.TokenHash) {
			refusal = errCode()
			return t.auth.CountPasswordResetAttempt(ctx, reset.ID) // and commit
		}
		address, err := t.lockAddress(ctx, reset.AddressKey)
		if err != nil {
			return err
		}
		if address == nil {
			return errCode()
		}
		addressKey = address.AddressKey
		return t.resetPassword(ctx, address, hash)
	})
	if err != nil {
		return "", err
	}
	return addressKey, refusal
}

func (t *tx) resetPassword(ctx context.Context, address *identity.Email, hash string) error {
	user, err := t.identity.LockUser(ctx, address.UserID)
	if err != nil {
		return err
	}
	if !address.Verified() {
		if err := t.identity.MarkVerified(ctx, user, t.now); err != nil {
			return err
		}
	}
	if err := t.auth.SetPassword(ctx, user.ID, hash, t.now); err != nil {
		return err
	}
	// Before the sessions: see voidEmailChallenges.
	if err := t.auth.DeleteEmailChallenges(ctx, address.AddressKey); err != nil {
		return err
	}
	if err := t.voidEmailChanges(ctx, user.ID); err != nil {
		return err
	}
	revoked, err := t.auth.DeleteSessions(ctx, user.ID, ids.Session{})
	if err != nil {
		return err
	}
	if err := t.forgetDevices(ctx, user.ID); err != nil {
		return err
	}
	if err := t.auth.DeletePasswordResets(ctx, address.AddressKey); err != nil {
		return err
	}
	if err := t.record(ctx, audit.Event{
		UserID: user.ID, ActorUserID: user.ID, Action: "user.password_reset", TargetID: user.ID.String(),
		Details: map[string]any{"revoked_sessions": revoked},
	}); err != nil {
		return err
	}
	return t.mailPasswordChanged(ctx, user)
}

// voidEmailChanges voids the changes of the address that a locked user has asked for:
// perhaps it was somebody else, by a session that ends now, who would have the user
// open the link.
func (t *tx) voidEmailChanges(ctx context.Context, user ids.User) error {
	return t.identity.DeleteEmailChanges(ctx, user)
}

func (t *tx) mailPasswordChanged(ctx context.Context, user *identity.User) error {
	if user.Email == nil {
		return nil
	}
	return t.mail(ctx, letter{Message: mail.Message{Template: mail.PasswordChanged, To: user.Email.Address, Data: map[string]string{
		"name":        user.DisplayName,
		"change_time": t.now.Format(time.RFC3339),
	}}})
}
