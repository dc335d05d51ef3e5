package store

import (
	"context"
	"strings"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/identity"
)

// ImpersonationLifetime is how long an operator's session in a user's name lasts.
const ImpersonationLifetime = 30 * time.Minute

// Operation is what an operator does to an account, and why. It comes from the
// caller's session, or from the command line.
type Operation struct {
	User        ids.User
	Reason      string
	CommandLine bool
}

// OperatedUser is an account as operators see it.
type OperatedUser struct {
	*identity.User
	auth.AccountState
}

// FindUsers returns a page of the accounts whose address or name has the query in it,
// or whose id it is, the newest first, and the next page's token.
//
// Errors: fault FIELD_INVALID for a query that is too short; PAGE_TOKEN_INVALID.
func (s *Store) FindUsers(ctx context.Context, query string, page Page) ([]OperatedUser, string, error) {
	query = strings.TrimSpace(query)
	scope := "users " + strings.ToLower(query)
	var at struct{ ID string }
	var before ids.User
	if found, err := s.pager.Position(page, scope, &at); err != nil {
		return nil, "", err
	} else if found {
		if before, err = ids.Parse[ids.User](at.ID); err != nil {
			return nil, "", err
		}
	}
	var users []identity.User
	var err error
	if id, notID := ids.Parse[ids.User](query); notID == nil {
		var one *identity.User
		if one, err = s.Identity.User(ctx, id); err == nil {
			users = []identity.User{*one}
		} else if fault.Has(err, fault.Missing) {
			err = nil
		}
	} else {
		if n := len([]rune(query)); n > 0 && n < 3 {
			return nil, "", fault.Invalid("query", "must have at least 3 characters")
		}
		users, err = s.Identity.Find(ctx, query, before, page.Limit()+1)
	}
	if err != nil {
		return nil, "", err
	}
	next := ""
	if len(users) > page.Limit() {
		users = users[:page.Limit()]
		at.ID = users[len(users)-1].ID.String()
		next = s.pager.Token(scope, at)
	}
	all := make([]ids.User, len(users))
	for i := range users {
		all[i] = users[i].ID
	}
	states, err := s.Auth.AccountStates(ctx, all, s.options.Clock.Now())
	if err != nil {
		return nil, "", err
	}
	out := make([]OperatedUser, len(users))
	for i := range users {
		out[i] = OperatedUser{&users[i], states[users[i].ID]}
	}
	return out, next, nil
}

// DisableUser ends all sessions of an account, voids what was mailed to sign in,
// forgets its devices, and refuses new sessions until EnableUser. What is disabled
// already stays as it is.
//
// Errors: fault NOT_FOUND; OPERATOR_REQUIRED.
func (s *Store) DisableUser(ctx context.Context, o Operation) (*OperatedUser, error) {
	return s.operate(ctx, o, func(ctx context.Context, t *tx) error {
		changed, err := t.auth.Disable(ctx, o.User, authz.CallerFrom(ctx).User, o.Reason, t.now)
		if err != nil || !changed {
			return err
		}
		if err := t.voidEmailChallenges(ctx, o.User); err != nil {
			return err
		}
		revoked, err := t.endSessions(ctx, o.User)
		if err != nil {
			return err
		}
		if err := t.auth.DeleteDevices(ctx, o.User, secret.Hash{}); err != nil {
			return err
		}
		return t.recordOperation(ctx, o, "user.disabled", mail.AccountDisabled, map[string]any{"revoked_sessions": revoked})
	})
}

// EnableUser ends what DisableUser did. What is not disabled stays as it is.
//
// Errors: as DisableUser.
func (s *Store) EnableUser(ctx context.Context, o Operation) (*OperatedUser, error) {
	return s.operate(ctx, o, func(ctx context.Context, t *tx) error {
		changed, err := t.auth.Enable(ctx, o.User)
		if err != nil || !changed {
			return err
		}
		return t.recordOperation(ctx, o, "user.enabled", mail.AccountEnabled, nil)
	})
}

// SignOutUser ends all sessions of an account, and voids what was mailed to sign in.
//
// Errors: as DisableUser.
func (s *Store) SignOutUser(ctx context.Context, o Operation) (*OperatedUser, error) {
	return s.operate(ctx, o, func(ctx context.Context, t *tx) error {
		if err := t.voidEmailChallenges(ctx, o.User); err != nil {
			return err
		}
		revoked, err := t.endSessions(ctx, o.User)
		if err != nil {
			return err
		}
		return t.recordOperation(ctx, o, "user.signed_out", mail.SignedOutByOperator, map[string]any{"revoked_sessions": revoked})
	})
}

// ResetSecondFactors removes the second factors of an account, with its recovery
// codes, and ends its sessions.
//
// Errors: as DisableUser; LAST_SIGN_IN_METHOD when a passkey is the only way to sign
// in.
func (s *Store) ResetSecondFactors(ctx context.Context, o Operation) (*OperatedUser, error) {
	return s.operate(ctx, o, func(ctx context.Context, t *tx) error {
		removed, err := t.auth.DeleteSecondFactors(ctx, o.User)
		if err != nil {
			return err
		}
		if removed.Passkeys > 0 {
			if other, err := t.auth.SignsInWithoutPasskey(ctx, o.User); err != nil {
				return err
			} else if !other {
				return fault.New(fault.FailedPrecondition, fault.LastSignInMethod, "a passkey is the only way by which the user signs in")
			}
		}
		revoked, err := t.endSessions(ctx, o.User)
		if err != nil {
			return err
		}
		return t.recordOperation(ctx, o, "user.second_factors_reset", mail.SecondFactorsReset, map[string]any{
			"totp_factors": removed.TOTP, "passkeys": removed.Passkeys, "recovery_codes": removed.RecoveryCodes, "revoked_sessions": revoked,
		})
	})
}

// endSessions ends all sessions of a locked user, and those that they have in the
// names of others.
func (t *tx) endSessions(ctx context.Context, user ids.User) (int, error) {
	revoked, err := t.auth.DeleteSessions(ctx, user, ids.Session{})
	if err != nil {
		return 0, err
	}
	return revoked, t.auth.DeleteImpersonations(ctx, user)
}

// operate runs an operator's change of a locked account, and returns the account as
// it then is.
func (s *Store) operate(ctx context.Context, o Operation, change func(context.Context, *tx) error) (account *OperatedUser, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.LockUsers(ctx, []ids.User{o.User}); err != nil {
			return err
		}
		if _, err := t.identity.User(ctx, o.User); err != nil {
			return err
		}
		if err := t.mayOperate(ctx, o.CommandLine); err != nil {
			return err
		}
		if err := change(ctx, t); err != nil {
			return err
		}
		account, err = t.operated(ctx, o.User)
		return err
	})
	return account, err
}

// mayOperate makes sure that the caller is still an operator, by a session that has not
// ended, and stays so until the transaction ends: an operator who is disabled at this
// moment does not undo that. Accounts that it is about are locked before.
//
// Errors: fault OPERATOR_REQUIRED, SESSION_REQUIRED.
func (t *tx) mayOperate(ctx context.Context, commandLine bool) error {
	if commandLine {
		return nil
	}
	caller := authz.SessionFrom(ctx)
	if caller != nil && caller.Impersonator.IsZero() {
		if is, err := t.auth.HoldOperator(ctx, caller.User); err != nil {
			return err
		} else if is {
			return t.holdSession(ctx, caller)
		}
	}
	return fault.New(fault.PermissionDenied, fault.OperatorRequired, "only operators of the server can do this")
}

func (t *tx) operated(ctx context.Context, user ids.User) (*OperatedUser, error) {
	u, err := t.identity.User(ctx, user)
	if err != nil {
		return nil, err
	}
	states, err := t.auth.AccountStates(ctx, []ids.User{user}, t.now)
	return &OperatedUser{u, states[user]}, err
}

// recordOperation records in the account's log what an operator did, and mails it to
// the owner. The owner learns who it was, and not from where.
func (t *tx) recordOperation(ctx context.Context, o Operation, action string, change mail.Change, details map[string]any) error {
	if err := t.recordBy(ctx, o, audit.Event{UserID: o.User, Action: action, TargetID: o.User.String(), Details: details}); err != nil {
		return err
	}
	return t.mailSecurity(ctx, o.User, change, o.Reason)
}

// recordBy records an event of an operator, with the reason.
func (t *tx) recordBy(ctx context.Context, o Operation, e audit.Event) error {
	if e.Details == nil {
		e.Details = map[string]any{}
	}
	if o.Reason != "" {
		e.Details["reason"] = o.Reason
	}
	if o.CommandLine {
		e.ActorKind = audit.Operator
	}
	return t.record(authz.WithClient(ctx, authz.Client{}), e)
}

// Impersonation is a session in a user's name that an operator asks for.
type Impersonation struct {
	Operation
	// Operator acts. With CommandLine it is named there, else it is the caller.
	Operator  ids.User
	Transport authz.Transport
	Client    authz.Client
}

// ImpersonateUser starts a session in a user's name. It ends after
// ImpersonationLifetime, with the operator's own session, and when the operator is
// none any more or disabled.
//
// Errors: fault NOT_FOUND; OPERATOR_REQUIRED; IMPERSONATION_NOT_ALLOWED for oneself,
// for an operator's account or one that is disabled.
func (s *Store) ImpersonateUser(ctx context.Context, in Impersonation) (session *auth.Session, token string, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.identity.LockUser(ctx, in.User); err != nil { // neither disabled nor made an operator meanwhile
			return err
		}
		caller := authz.SessionFrom(ctx)
		if in.CommandLine {
			caller = nil
			if err := t.identity.HoldUser(ctx, in.Operator); err != nil {
				return err
			}
			is, err := t.auth.HoldOperator(ctx, in.Operator)
			if err == nil && is {
				is, err = t.notDisabled(ctx, in.Operator)
			}
			if err != nil {
				return err
			}
			if !is {
				return fault.New(fault.PermissionDenied, fault.OperatorRequired, "who acts must be an operator whose account is not disabled")
			}
		} else if err := t.mayOperate(ctx, false); err != nil {
			return err
		} else {
			in.Operator = caller.User
			if err := t.identity.HoldUser(ctx, in.Operator); err != nil { // who removes no second factor meanwhile
				return err
			}
		}
		if err := t.mayBeImpersonated(ctx, in.User, in.Operator); err != nil {
			return err
		}
		session, token = t.newSession(in.User, in.Transport, in.Client)
		session.ImpersonatorID, session.ImpersonationReason = in.Operator, in.Reason
		session.Methods = []authz.Method{}
		if !in.Client.Address.IsValid() {
			session.ClientAddress = ""
		}
		session.ExpireTime = t.now.Add(ImpersonationLifetime)
		if caller != nil {
			own, err := t.auth.LiveSession(ctx, caller.ID, t.now) // as it is now: the call may have waited
			if err != nil {
				return err
			}
			if own == nil {
				return errNoSession()
			}
			session.ImpersonatorSessionID, session.Methods = own.ID, own.Methods
			session.SecondFactorProven = own.SecondFactorProven
			session.ExpireTime = earlier(session.ExpireTime, own.ExpireTime)
		}
		session.IdleExpireTime = earlier(session.IdleExpireTime, session.ExpireTime)
		if err := t.auth.InsertSession(ctx, session); err != nil {
			return err
		}
		o := in.Operation
		if err := t.recordBy(ctx, o, audit.Event{
			UserID: in.User, Action: "user.impersonated", TargetID: session.ID.String(),
			Details: map[string]any{"operator_user_id": in.Operator.String()},
		}); err != nil {
			return err
		}
		return t.mailSecurity(ctx, in.User, mail.Impersonated, in.Reason)
	})
	return session, token, err
}

func (t *tx) notDisabled(ctx context.Context, user ids.User) (bool, error) {
	disabled, err := t.auth.Disabled(ctx, user)
	return !disabled, err
}

// mayBeImpersonated reports whether an operator may act in the name of a locked user.
//
// Errors: fault IMPERSONATION_NOT_ALLOWED.
func (t *tx) mayBeImpersonated(ctx context.Context, user, operator ids.User) error {
	refused := func(why string) error {
		return fault.New(fault.PermissionDenied, fault.ImpersonationNotAllowed, why)
	}
	if user == operator {
		return refused("you cannot act in your own name")
	}
	if is, err := t.auth.Operator(ctx, user); err != nil {
		return err
	} else if is {
		return refused("nobody acts in the name of an operator")
	}
	if disabled, err := t.auth.Disabled(ctx, user); err != nil {
		return err
	} else if disabled {
		return refused("the account is disabled")
	}
	return nil
}

// AddOperator makes a user an operator of the server, and ends the sessions that
// others have in their name. It is for the command line, and reports whether they were
// none until now.
//
// Errors: fault NOT_FOUND; EMAIL_UNVERIFIED.
func (s *Store) AddOperator(ctx context.Context, user ids.User) (added bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		u, err := t.identity.LockUser(ctx, user)
		if err != nil {
			return err
		}
		if u.Email == nil || !u.Email.Verified() {
			return fault.New(fault.FailedPrecondition, fault.EmailUnverified, "their address is not proven yet")
		}
		if added, err = t.auth.InsertOperator(ctx, user, t.now); err != nil || !added {
			return err
		}
		if err := t.auth.DeleteImpersonationsOf(ctx, user); err != nil {
			return err
		}
		return t.recordBy(ctx, Operation{CommandLine: true}, audit.Event{UserID: user, Action: "operator.added", TargetID: user.String()})
	})
	return added, err
}

// RemoveOperator ends that a user is an operator of the server, and their sessions in
// the names of others. It is for the command line, and reports whether they were one.
//
// Errors: fault NOT_FOUND.
func (s *Store) RemoveOperator(ctx context.Context, user ids.User) (removed bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.identity.LockUser(ctx, user); err != nil {
			return err
		}
		if removed, err = t.auth.DeleteOperator(ctx, user); err != nil || !removed {
			return err
		}
		if err := t.auth.DeleteImpersonations(ctx, user); err != nil {
			return err
		}
		return t.recordBy(ctx, Operation{CommandLine: true}, audit.Event{UserID: user, Action: "operator.removed", TargetID: user.String()})
	})
	return removed, err
}
