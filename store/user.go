package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/identity"
)

// errETag is the fault of an etag that is no longer the present one.
func errETag() error {
	return fault.New(fault.Aborted, fault.ETagMismatch, "etag: was changed meanwhile; read it again").WithField("etag")
}

// errGone is the fault of a caller whose account was deleted while they called.
func errGone() *fault.Fault {
	return fault.New(fault.Unauthenticated, fault.SessionRequired, "the account no longer exists")
}

// lockCaller returns the user who calls, and keeps others from changing them until
// the transaction ends.
//
// Errors: fault SESSION_REQUIRED.
func (t *tx) lockCaller(ctx context.Context, id ids.User) (*identity.User, error) {
	u, err := t.identity.LockUser(ctx, id)
	if fault.Has(err, fault.Missing) {
		return nil, errGone()
	}
	return u, err
}

// lockAddress returns the address with the key, locked until the transaction ends,
// and its user before it, or nil when nobody has it.
func (t *tx) lockAddress(ctx context.Context, key string) (*identity.Email, error) {
	for {
		seen, err := t.identity.Address(ctx, key)
		if err != nil || seen == nil {
			return nil, err
		}
		if _, err := t.identity.LockUser(ctx, seen.UserID); err != nil && !fault.Has(err, fault.Missing) {
			return nil, err
		}
		locked, err := t.identity.LockAddress(ctx, key)
		if err != nil || locked != nil && locked.UserID == seen.UserID {
			return locked, err
		}
	}
}

// describe tells the teams of a user what the user is called and where their mail
// goes, after either was changed.
func (t *tx) describe(ctx context.Context, u *identity.User) error {
	key := ""
	if u.Email != nil {
		key = u.Email.AddressKey
	}
	return t.team.Describe(ctx, u.ID, u.DisplayName, key)
}

// UpdateUser gives a user another display name. A version other than 0 must be
// the present one.
//
// Errors: fault ETAG_MISMATCH, SESSION_REQUIRED.
func (s *Store) UpdateUser(ctx context.Context, id ids.User, displayName string, version int64) (user *identity.User, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if user, err = t.lockCaller(ctx, id); err != nil {
			return err
		}
		if version != 0 && version != user.Version {
			return errETag()
		}
		if err := t.identity.Rename(ctx, user, displayName, t.now); err != nil {
			return err
		}
		if err := t.describe(ctx, user); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{
			UserID: id, Action: "user.updated", TargetID: id.String(), Details: map[string]any{"fields": []string{"display_name"}},
		})
	})
	return user, err
}

// RequestEmailChange stores a user's wish for another address and mails a code to
// it, or, if it belongs to somebody else, tells them. What it does, and how long
// it takes, does not depend on that.
//
// Errors: fault FIELD_INVALID when the address is the user's own and proven.
func (s *Store) RequestEmailChange(ctx context.Context, user ids.User, address email.Address) (change *identity.EmailChange, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		u, err := t.lockCaller(ctx, user)
		if err != nil {
			return err
		}
		if u.Email != nil && u.Email.Address == address.Display && u.Email.Verified() {
			return fault.Invalid("new_email", "is your address already")
		}
		code := newMailed(prefixEmailChange)
		change = &identity.EmailChange{
			ID: ids.New[ids.EmailChange](), UserID: user, Address: address.Display, AddressKey: address.Key,
			CreateTime: t.now, ExpireTime: t.now.Add(CodeLifetime),
		}
		change.CodeHash, change.TokenHash = code.hashes(forEmailChange)
		if err := t.identity.InsertEmailChange(ctx, change); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{UserID: user, Action: "user.email_change_requested", TargetID: user.String()}); err != nil {
			return err
		}
		l := letter{Message: mail.Message{Template: mail.EmailChangeCode, To: address.Display, Data: map[string]string{
			"name":        u.DisplayName,
			"code":        code.code,
			"token":       code.token,
			"expire_time": change.ExpireTime.Format(time.RFC3339),
		}}}
		if u.Email == nil || u.Email.AddressKey != address.Key {
			l.If, l.AddressKey = noVerifiedAccount, address.Key
			l.Else = &mail.Message{Template: mail.EmailChangeTaken, To: address.Display}
		}
		return t.mail(ctx, l)
	})
	return change, err
}

// ConfirmEmailChange gives a user the address that they have proven, and tells
// the old one.
//
// Errors: fault CODE_INVALID, also when the address has come to belong to
// somebody else; SESSION_REQUIRED when the session has ended. A wrong code is counted,
// whatever else happens.
func (s *Store) ConfirmEmailChange(ctx context.Context, caller *authz.Session, id ids.EmailChange, proof Proof) (u *identity.User, err error) {
	var refusal error
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		refusal = nil
		if u, err = t.lockCaller(ctx, caller.User); err != nil {
			return err
		}
		if err := t.holdSession(ctx, caller); err != nil {
			return err
		}
		change, err := t.identity.LockEmailChange(ctx, caller.User, id, proof.tokenHash(forEmailChange))
		if err != nil {
			return err
		}
		if change == nil || !t.now.Before(change.ExpireTime) || change.Attempts >= identity.MaxAttempts {
			return errCode()
		}
		if !proof.proves(forEmailChange, change.CodeHash, change.TokenHash) {
			refusal = errCode()
			return t.identity.CountEmailChangeAttempt(ctx, change.ID) // and commit
		}
		return t.changeEmail(ctx, u, change)
	})
	if fault.Has(err, fault.EmailTaken) {
		err = errCode()
	}
	if err == nil {
		err = refusal
	}
	return u, err
}

// changeEmail completes a change. u is the locked user, and is changed with the
// rows.
func (t *tx) changeEmail(ctx context.Context, u *identity.User, change *identity.EmailChange) error {
	taken, err := t.lockAddress(ctx, change.AddressKey)
	if err != nil {
		return err
	}
	if taken != nil && taken.UserID != u.ID {
		if taken.Verified() {
			return errCode()
		}
		left, err := t.voidAccount(ctx, taken.UserID)
		if err != nil {
			return err
		}
		if err := t.hand(ctx, left, u); err != nil {
			return err
		}
	}
	old := u.Email
	if err := t.identity.SetAddress(ctx, u, change.Email(), t.now, t.now); err != nil {
		return err
	}
	if err := t.describe(ctx, u); err != nil {
		return err
	}
	if err := t.identity.DeleteEmailChanges(ctx, u.ID); err != nil {
		return err
	}
	// What was mailed to the old address must not open the account.
	if old != nil {
		if err := t.auth.DeleteEmailChallenges(ctx, old.AddressKey); err != nil {
			return err
		}
		if err := t.auth.DeletePasswordResets(ctx, old.AddressKey); err != nil {
			return err
		}
	}
	if err := t.record(ctx, audit.Event{UserID: u.ID, Action: "user.email_changed", TargetID: u.ID.String()}); err != nil {
		return err
	}
	if old == nil || old.AddressKey == change.AddressKey {
		return nil
	}
	return t.mail(ctx, letter{Message: mail.Message{Template: mail.EmailChanged, To: old.Address, Data: map[string]string{
		"name":  u.DisplayName,
		"email": change.Address,
	}}})
}
