package store

import (
	"cmp"
	"context"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/identity"
)

// ExternalOutcome is what a completed external sign-in led to.
type ExternalOutcome struct {
	Session *auth.Session // new or renewed; nil after a link
	Token   string        // the session's
	// Account is the new account with its session, if there is one: Session is nil.
	Account *Account
	// Setup is what a new account needs first: then nothing was done yet, and the call
	// is to be repeated.
	Setup    *ExternalSetup
	Identity *auth.ExternalIdentity // nil with Setup
}

// ExternalSetup is a new account that waits for the name of its workspace.
type ExternalSetup struct {
	Email email.Address
	Name  string // of the user, as the provider tells; may be ""
}

// CompleteExternalSignIn finishes an external sign-in, which works once.
//
// To sign in: whoever the identity is linked to gets a session. An identity that is
// linked to nobody, and whose address the provider vouches for, is linked to the
// account that has proven the same address; if no account has it, a new one is made.
// An account that has not proven the address may be anybody's, who expects its owner
// to come by: it is neither opened nor linked.
//
// Errors: fault CHALLENGE_INVALID; EMAIL_UNVERIFIED, IDENTITY_NOT_LINKED,
// ACCOUNT_DISABLED to sign in; SESSION_REQUIRED, REAUTHENTICATION_REQUIRED,
// EMAIL_UNVERIFIED, IDENTITY_TAKEN, TOO_MANY to link; SESSION_REQUIRED,
// IDENTITY_NOT_LINKED to reauthenticate. None of them uses the sign-in up.
func (s *Store) CompleteExternalSignIn(ctx context.Context, c ExternalCompletion) (out *ExternalOutcome, err error) {
	out, err = s.completeExternal(ctx, c)
	if fault.Has(err, fault.EmailTaken) || fault.Has(err, fault.IdentityTaken) {
		// The same person came twice at once: by now the identity, or the address, is
		// known.
		out, err = s.completeExternal(ctx, c)
	}
	return out, err
}

func (s *Store) completeExternal(ctx context.Context, c ExternalCompletion) (out *ExternalOutcome, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		row, claims, err := t.openExternal(ctx, c)
		if err != nil {
			return err
		}
		switch row.Purpose {
		case auth.ExternalToLink:
			out, err = t.linkExternal(ctx, row, claims)
		case auth.ExternalToReauthenticate:
			out, err = t.reauthenticateExternal(ctx, row, claims)
		default:
			// Whose session the call came with is of no account: perhaps somebody else's.
			out, err = t.signInExternal(authz.WithSession(ctx, nil), row, claims, c)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (t *tx) signInExternal(ctx context.Context, row *auth.ExternalSignIn, claims ExternalClaims, c ExternalCompletion) (*ExternalOutcome, error) {
	known, err := t.auth.ExternalIdentityOf(ctx, claims.Issuer, claims.Subject)
	if err != nil {
		return nil, err
	}
	if known != nil {
		return t.signInByIdentity(ctx, row, claims, known, c.Client)
	}
	address, err := claims.address()
	if err != nil {
		return nil, err
	}
	w, err := t.lockWay(ctx, ids.Workspace{}, address.Key)
	if err != nil {
		return nil, err
	}
	taken, err := t.lockAddress(ctx, address.Key)
	if err != nil {
		return nil, err
	}
	switch {
	case taken != nil && !taken.Verified():
		return nil, errNotLinked()
	case taken != nil:
		return t.signInByAddress(ctx, row, claims, taken, w, c.Client)
	case c.WorkspaceName == "":
		return &ExternalOutcome{Setup: &ExternalSetup{Email: address, Name: claims.Name}}, nil
	}
	return t.signUpExternal(ctx, row, claims, address, w, c)
}

// address is the address that a provider vouches for.
//
// Errors: fault EMAIL_UNVERIFIED.
func (c ExternalClaims) address() (email.Address, error) {
	address, err := email.Parse(c.Email)
	if err != nil || !c.EmailVerified {
		return email.Address{}, fault.New(fault.FailedPrecondition, fault.EmailUnverified,
			"the identity provider does not vouch for an address of yours; verify it there, or sign in another way and link the identity")
	}
	return address, nil
}

func errNotLinked() error {
	return fault.New(fault.FailedPrecondition, fault.IdentityNotLinked,
		"an account has the address of the identity, which is not linked to it; sign in to the account, verify its address, and link the identity")
}

// signInByIdentity starts a session of whom an identity is linked to.
func (t *tx) signInByIdentity(ctx context.Context, row *auth.ExternalSignIn, claims ExternalClaims, known *auth.ExternalIdentity, client authz.Client) (*ExternalOutcome, error) {
	enrollment, err := t.lockEnrollmentOf(ctx, known.UserID)
	if err != nil {
		return nil, err
	}
	if err := t.identity.HoldUser(ctx, known.UserID); err != nil {
		return nil, err
	}
	if err := t.useExternal(ctx, row); err != nil {
		return nil, err
	}
	if linked, err := t.useIdentity(ctx, row, claims, known); err != nil {
		return nil, err
	} else if !linked {
		return nil, errExternal() // unlinked just now
	}
	out := &ExternalOutcome{Identity: known}
	if out.Session, out.Token, err = t.startExternalSession(ctx, row, known.UserID, client); err != nil || enrollment == nil {
		return out, err
	}
	user, err := t.identity.LockUser(ctx, known.UserID)
	if err != nil {
		return nil, err
	}
	return out, t.enroll(ctx, enrollment, user)
}

// useIdentity records the use of an identity, and reports whether it is still its
// user's.
func (t *tx) useIdentity(ctx context.Context, row *auth.ExternalSignIn, claims ExternalClaims, x *auth.ExternalIdentity) (bool, error) {
	x.Provider, x.Email, x.LastUseTime = row.Provider, claims.Email, t.now
	return t.auth.UseExternalIdentity(ctx, x)
}

func (t *tx) startExternalSession(ctx context.Context, row *auth.ExternalSignIn, user ids.User, client authz.Client) (*auth.Session, string, error) {
	session, token, err := t.startSession(ctx, user, authz.ByExternal, row.Transport, client)
	if err != nil {
		return nil, "", err
	}
	return session, token, t.record(ctx, audit.Event{
		UserID: user, ActorUserID: user, Action: "session.created", TargetID: session.ID.String(), Details: map[string]any{"provider": row.Provider},
	})
}

// signInByAddress links an identity to the account that has proven its address, and
// starts a session. The address and its user are locked, and the way's workspaces.
func (t *tx) signInByAddress(ctx context.Context, row *auth.ExternalSignIn, claims ExternalClaims, address *identity.Email, w way, client authz.Client) (*ExternalOutcome, error) {
	if err := t.useExternal(ctx, row); err != nil {
		return nil, err
	}
	x, err := t.link(ctx, row, claims, address.UserID, true)
	if err != nil {
		return nil, err
	}
	out := &ExternalOutcome{Identity: x}
	if out.Session, out.Token, err = t.startExternalSession(ctx, row, address.UserID, client); err != nil {
		return nil, err
	}
	user, err := t.identity.User(ctx, address.UserID)
	if err != nil {
		return nil, err
	}
	if err := t.enroll(ctx, w.enrollment, user); err != nil {
		return nil, err
	}
	return out, t.mailSecurity(ctx, user.ID, mail.ExternalIdentityLinked, "")
}

// link stores an identity of a user, who is locked, and its event.
//
// Errors: fault TOO_MANY, IDENTITY_TAKEN.
func (t *tx) link(ctx context.Context, row *auth.ExternalSignIn, claims ExternalClaims, user ids.User, used bool) (*auth.ExternalIdentity, error) {
	linked, err := t.auth.ExternalIdentities(ctx, user)
	if err != nil {
		return nil, err
	}
	if len(linked) >= auth.MaxExternalIdentities {
		return nil, fault.New(fault.FailedPrecondition, fault.TooMany, "the account has as many identities as it can have; unlink one first")
	}
	x := &auth.ExternalIdentity{
		ID: ids.New[ids.ExternalIdentity](), UserID: user, Provider: row.Provider, Issuer: claims.Issuer, Subject: claims.Subject,
		Email: claims.Email, CreateTime: t.now,
	}
	if used {
		x.LastUseTime = t.now
	}
	if err := t.auth.InsertExternalIdentity(ctx, x); err != nil {
		return nil, err
	}
	return x, t.record(ctx, audit.Event{
		UserID: user, ActorUserID: user, Action: "external_identity.linked", TargetID: x.ID.String(), Details: map[string]any{"provider": row.Provider},
	})
}

// signUpExternal makes a new account, as a registration does, but without a password.
// Nobody has the address; the way's workspaces are locked.
func (t *tx) signUpExternal(ctx context.Context, row *auth.ExternalSignIn, claims ExternalClaims, address email.Address, w way, c ExternalCompletion) (*ExternalOutcome, error) {
	if err := t.useExternal(ctx, row); err != nil {
		return nil, err
	}
	reg := &auth.Registration{ // of this moment only: it is not stored
		ID: ids.New[ids.Registration](), Address: address.Display, AddressKey: address.Key,
		DisplayName: cmp.Or(c.DisplayName, claims.Name, address.LocalPart()), WorkspaceName: c.WorkspaceName,
	}
	if err := t.auth.EndRegistrations(ctx, address.Key, reg.ID); err != nil {
		return nil, err
	}
	w.by = authz.ByExternal
	account, err := t.createAccount(ctx, reg, t.now, row.Transport, c.Client, w)
	if err != nil {
		return nil, err
	}
	x, err := t.link(ctx, row, claims, account.User.ID, true)
	if err != nil {
		return nil, err
	}
	return &ExternalOutcome{Account: account, Identity: x}, nil
}

// startedBy returns the session that calls, if it is the one that started a sign-in.
//
// Errors: fault SESSION_REQUIRED, CHALLENGE_INVALID.
func (t *tx) startedBy(ctx context.Context, row *auth.ExternalSignIn) (*authz.Session, error) {
	caller := authz.SessionFrom(ctx)
	if caller == nil {
		return nil, errNoSession()
	}
	if caller.ID != row.SessionID {
		return nil, errExternal()
	}
	return caller, nil
}

// linkExternal links an identity to the caller's account.
func (t *tx) linkExternal(ctx context.Context, row *auth.ExternalSignIn, claims ExternalClaims) (*ExternalOutcome, error) {
	caller, err := t.startedBy(ctx, row)
	if err != nil {
		return nil, err
	}
	if !caller.Recent {
		return nil, fault.New(fault.FailedPrecondition, fault.ReauthenticationRequired, "sign in again or call Reauthenticate, then repeat the call")
	}
	if err := t.identity.LockUsers(ctx, []ids.User{caller.User}); err != nil {
		return nil, err
	}
	if err := t.holdSession(ctx, caller); err != nil {
		return nil, err
	}
	user, err := t.lockCaller(ctx, caller.User)
	if err != nil {
		return nil, err
	}
	if user.Email == nil || !user.Email.Verified() {
		return nil, errUnverified()
	}
	if err := t.useExternal(ctx, row); err != nil {
		return nil, err
	}
	known, err := t.auth.ExternalIdentityOf(ctx, claims.Issuer, claims.Subject)
	switch {
	case err != nil:
		return nil, err
	case known != nil && known.UserID == user.ID: // already
		_, err := t.useIdentity(ctx, row, claims, known)
		return &ExternalOutcome{Identity: known}, err
	case known != nil:
		return nil, auth.ErrIdentityTaken
	}
	x, err := t.link(ctx, row, claims, user.ID, false)
	if err != nil {
		return nil, err
	}
	return &ExternalOutcome{Identity: x}, t.mailSecurity(ctx, user.ID, mail.ExternalIdentityLinked, "")
}

// reauthenticateExternal gives the caller's session a new token, by an identity of
// theirs.
func (t *tx) reauthenticateExternal(ctx context.Context, row *auth.ExternalSignIn, claims ExternalClaims) (*ExternalOutcome, error) {
	caller, err := t.startedBy(ctx, row)
	if err != nil {
		return nil, err
	}
	if err := t.identity.HoldUser(ctx, caller.User); err != nil {
		return nil, err
	}
	known, err := t.auth.ExternalIdentityOf(ctx, claims.Issuer, claims.Subject)
	if err != nil {
		return nil, err
	}
	if known == nil || known.UserID != caller.User {
		return nil, fault.New(fault.FailedPrecondition, fault.IdentityNotLinked, "the identity is not linked to your account")
	}
	if err := t.useExternal(ctx, row); err != nil {
		return nil, err
	}
	if linked, err := t.useIdentity(ctx, row, claims, known); err != nil {
		return nil, err
	} else if !linked {
		return nil, errExternal()
	}
	out := &ExternalOutcome{Identity: known}
	if out.Session, out.Token, err = t.renew(ctx, caller.ID, authz.ByExternal); err != nil {
		return nil, err
	}
	return out, t.record(ctx, audit.Event{
		UserID: caller.User, Action: "session.reauthenticated", TargetID: caller.ID.String(), Details: map[string]any{"provider": row.Provider},
	})
}

// DeleteExternalIdentity unlinks an identity from the caller's account.
//
// Errors: fault NOT_FOUND, LAST_SIGN_IN_METHOD, SESSION_REQUIRED.
func (s *Store) DeleteExternalIdentity(ctx context.Context, caller *authz.Session, id ids.ExternalIdentity) error {
	user := caller.User
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.LockUsers(ctx, []ids.User{user}); err != nil {
			return err
		}
		if err := t.holdSession(ctx, caller); err != nil {
			return err
		}
		found, err := t.auth.ExternalIdentity(ctx, user, id)
		if err != nil || found == nil {
			return orMissing(err)
		}
		if err := t.keepWayToSignIn(ctx, user); err != nil {
			return err
		}
		if err := t.auth.DeleteExternalIdentity(ctx, user, id); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{
			UserID: user, Action: "external_identity.unlinked", TargetID: id.String(), Details: map[string]any{"provider": found.Provider},
		}); err != nil {
			return err
		}
		return t.mailSecurity(ctx, user, mail.ExternalIdentityUnlinked, "")
	})
}
