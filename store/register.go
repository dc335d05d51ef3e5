package store

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/identity"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

const (
	// registrationLifetime is how long a registration can be verified, by one
	// code after the other, and safely repeated.
	registrationLifetime = 24 * time.Hour
	// maxCodes is how many codes are mailed for one registration.
	maxCodes = 6
	// codeInterval is the least time between two of them.
	codeInterval = time.Minute
)

// Registration is a wish for an account.
type Registration struct {
	Email         email.Address
	DisplayName   string
	WorkspaceName string
	PasswordHash  string
	// RequestID makes the wish safe to repeat, if it is set.
	RequestID uuid.NullUUID
	// AtOnce creates the account before its address is proven.
	AtOnce    bool
	Transport authz.Transport
	Client    authz.Client
}

// digest is what must be the same when the request id is. The password is
// compared by its hash.
func (r Registration) digest() []byte {
	data, _ := json.Marshal([]string{r.Email.Key, r.DisplayName, r.WorkspaceName})
	sum := sha256.Sum256(data)
	return sum[:]
}

// Repeats reports whether r is the wish that was stored as reg, apart from the
// password.
func (r Registration) Repeats(reg *auth.Registration) bool {
	return subtle.ConstantTimeCompare(r.digest(), reg.RequestDigest) == 1
}

// Account is what a completed registration created.
type Account struct {
	User       *identity.User
	Workspace  *tenant.Workspace // nil once the workspace is purged
	Membership *team.Membership  // nil once the user has left it
	Session    *auth.Session
	Token      string // the session's
}

// Register stores the wish and mails a code to the address. With AtOnce it
// creates the account too, unless the address has one.
//
// What it does, and how long it takes, does not depend on whether the address
// has an account, except with AtOnce. The mail's content does.
//
// Errors: fault REQUEST_ID_REUSED when another registration has the request id;
// then see auth.Repository.RegistrationOf.
func (s *Store) Register(ctx context.Context, r Registration) (*auth.Registration, *Account, error) {
	reg, account, err := s.register(ctx, r)
	if r.AtOnce && fault.Has(err, fault.EmailTaken) { // by another call, just now
		return s.register(ctx, r)
	}
	return reg, account, err
}

func (s *Store) register(ctx context.Context, r Registration) (reg *auth.Registration, account *Account, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		account = nil
		code := newMailed(prefixRegistration)
		reg = &auth.Registration{
			ID:             ids.New[ids.Registration](),
			Address:        r.Email.Display,
			AddressKey:     r.Email.Key,
			DisplayName:    r.DisplayName,
			WorkspaceName:  r.WorkspaceName,
			PasswordHash:   r.PasswordHash,
			RequestID:      r.RequestID,
			RequestDigest:  r.digest(),
			CodeCreateTime: t.now,
			CodeExpireTime: t.now.Add(CodeLifetime),
			CodeCount:      1,
			CreateTime:     t.now,
			ExpireTime:     t.now.Add(registrationLifetime),
		}
		reg.CodeHash, reg.TokenHash = code.hashes(forRegistration)
		inserted, err := t.auth.InsertRegistration(ctx, reg)
		if err != nil {
			return err
		}
		if !inserted {
			return ErrRequestIDReused()
		}
		if r.AtOnce {
			taken, err := t.identity.LockAddress(ctx, reg.AddressKey)
			if err != nil {
				return err
			}
			if taken == nil {
				if account, err = t.createAccount(ctx, reg, time.Time{}, r.Transport, r.Client, way{}); err != nil {
					return err
				}
				if err := t.auth.UpdateRegistration(ctx, reg); err != nil {
					return err
				}
			}
		}
		return t.mail(ctx, registrationMail(reg, code))
	})
	if err != nil {
		return nil, nil, err
	}
	return reg, account, nil
}

// ErrRequestIDReused is the fault of a request id that came with another content.
func ErrRequestIDReused() error {
	return fault.New(fault.FailedPrecondition, fault.RequestIDReused,
		"request_id: was used before with another content").WithField("request_id")
}

func registrationMail(reg *auth.Registration, code mailed) letter {
	return letter{
		Message: mail.Message{Template: mail.RegistrationCode, To: reg.Address, Data: map[string]string{
			"workspace":   reg.WorkspaceName,
			"code":        code.code,
			"token":       code.token,
			"expire_time": reg.CodeExpireTime.Format(time.RFC3339),
		}},
		If:         noVerifiedAccount,
		Else:       &mail.Message{Template: mail.AccountExists, To: reg.Address},
		AddressKey: reg.AddressKey,
	}
}

// createAccount is what the whole service stands for: user, address, credential,
// workspace, owner membership, session and events, in one transaction. Who was
// invited joins a workspace in place of founding one. Who comes by an identity
// provider has no password. It notes in reg, for the caller to store, what it created.
func (t *tx) createAccount(ctx context.Context, reg *auth.Registration, verified time.Time, transport authz.Transport, client authz.Client, w way) (*Account, error) {
	user := &identity.User{
		ID: ids.New[ids.User](), DisplayName: reg.DisplayName, Version: 1, CreateTime: t.now, UpdateTime: t.now,
	}
	user.Email = &identity.Email{UserID: user.ID, Address: reg.Address, AddressKey: reg.AddressKey, VerifiedTime: verified}
	if err := t.identity.InsertUser(ctx, user); err != nil {
		return nil, err
	}
	if reg.PasswordHash != "" {
		if err := t.auth.SetPassword(ctx, user.ID, reg.PasswordHash, t.now); err != nil {
			return nil, err
		}
	}
	if err := t.record(ctx, audit.Event{UserID: user.ID, ActorUserID: user.ID, Action: "user.registered", TargetID: user.ID.String()}); err != nil {
		return nil, err
	}
	workspace, membership, err := t.firstWorkspace(ctx, reg, user, w)
	if err != nil {
		return nil, err
	}
	if err := t.enroll(ctx, w.enrollment, user); err != nil {
		return nil, err
	}
	session, token, err := t.startSession(ctx, user.ID, cmp.Or(w.by, authz.ByPassword), transport, client)
	if err != nil {
		return nil, err
	}
	reg.UserID, reg.WorkspaceID = user.ID, workspace.ID
	return &Account{User: user, Workspace: workspace, Membership: membership, Session: session, Token: token}, nil
}

// firstWorkspace gives a new user the workspace that they were invited to, or a new
// one.
func (t *tx) firstWorkspace(ctx context.Context, reg *auth.Registration, user *identity.User, w way) (*tenant.Workspace, *team.Membership, error) {
	switch {
	case w.invitation != nil:
		m, err := t.join(ctx, w.workspace.ID, user, w.invitation.Role, map[string]any{"invitation_id": w.invitation.ID.String()})
		return w.workspace, m, err
	case w.link != nil:
		m, err := t.joinByLink(ctx, w.link, user)
		return w.workspace, m, err
	}
	workspace := &tenant.Workspace{
		ID: ids.New[ids.Workspace](), Name: reg.WorkspaceName, Version: 1, CreateTime: t.now, UpdateTime: t.now, CreatorID: user.ID,
	}
	m, err := t.foundWorkspace(ctx, workspace, user)
	if err != nil {
		return nil, nil, err
	}
	return workspace, m, t.record(ctx, audit.Event{
		WorkspaceID: workspace.ID, ActorUserID: user.ID, Action: "workspace.created", TargetID: workspace.ID.String(),
	})
}

// foundWorkspace stores a workspace with its owner and its subscription.
func (t *tx) foundWorkspace(ctx context.Context, w *tenant.Workspace, owner *identity.User) (*team.Membership, error) {
	if err := t.tenant.Insert(ctx, w); err != nil {
		return nil, err
	}
	m := t.newMembership(w.ID, owner, authz.Owner)
	if err := t.team.Insert(ctx, m); err != nil {
		return nil, err
	}
	return m, t.openSubscription(ctx, w.ID)
}

// RepeatRegistration answers a wish that is repeated: with a new session of the
// account, if the registration created it at once.
func (s *Store) RepeatRegistration(ctx context.Context, reg *auth.Registration, transport authz.Transport, client authz.Client) (account *Account, err error) {
	if reg.UserID.IsZero() {
		return nil, nil
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		account = nil
		if err := t.identity.HoldUser(ctx, reg.UserID); err != nil {
			return err
		}
		user, err := t.identity.User(ctx, reg.UserID)
		if fault.Has(err, fault.Missing) {
			return orCredentials(nil) // deleted just now
		}
		if err != nil {
			return err
		}
		if !user.CreateTime.Equal(reg.CreateTime) {
			return nil // created later, when the address was proven
		}
		if err := t.identity.HoldUser(ctx, reg.UserID); err != nil { // and with it their second factors
			return err
		}
		if held, err := t.auth.HoldPassword(ctx, reg.UserID, reg.PasswordHash); err != nil || !held {
			return orCredentials(err) // the account goes by another password now
		}
		account, err = t.accountOf(ctx, reg, transport, client)
		return err
	})
	return account, err
}

// accountOf returns what a registration created, with a new session.
func (t *tx) accountOf(ctx context.Context, reg *auth.Registration, transport authz.Transport, client authz.Client) (*Account, error) {
	user, err := t.identity.User(ctx, reg.UserID)
	if err != nil {
		return nil, err
	}
	a := &Account{User: user}
	if a.Workspace, err = t.tenant.Workspace(ctx, reg.WorkspaceID); err != nil && !fault.Has(err, fault.Missing) {
		return nil, err
	}
	if a.Membership, err = t.team.MembershipOf(ctx, reg.WorkspaceID, user.ID); err != nil && !fault.Has(err, fault.Missing) {
		return nil, err
	}
	t.repeats = true
	if a.Session, a.Token, err = t.startSession(ctx, user.ID, authz.ByPassword, transport, client); err != nil {
		return nil, err
	}
	return a, t.record(ctx, audit.Event{
		UserID: user.ID, ActorUserID: user.ID, Action: "session.created", TargetID: a.Session.ID.String(),
	})
}

// RegistrationByToken returns the registration whose link has the token.
//
// Errors: fault CODE_INVALID when there is none.
func (s *Store) RegistrationByToken(ctx context.Context, token string) (*auth.Registration, error) {
	reg, err := s.Auth.RegistrationByToken(ctx, Proof{Token: token}.tokenHash(forRegistration))
	if err == nil && reg == nil {
		err = errCode()
	}
	return reg, err
}

// ResendCode mails a new code for a registration; the one before is void.
//
// Errors: fault REGISTRATION_EXPIRED when it is unknown, over or verified;
// RATE_LIMITED.
func (s *Store) ResendCode(ctx context.Context, id ids.Registration) (reg *auth.Registration, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if reg, err = t.auth.LockRegistration(ctx, id); err != nil {
			return err
		}
		if reg == nil || !t.now.Before(reg.ExpireTime) || !reg.VerifyTime.IsZero() {
			return fault.New(fault.FailedPrecondition, fault.RegistrationExpired, "the registration has ended; register again")
		}
		limited := fault.New(fault.ResourceExhausted, fault.RateLimited, "too many codes; use the last one, or try again later")
		if reg.CodeCount >= maxCodes {
			return limited.WithRetryAfter(reg.ExpireTime.Sub(t.now))
		}
		if wait := reg.CodeCreateTime.Add(codeInterval).Sub(t.now); wait > 0 {
			return limited.WithRetryAfter(wait)
		}
		code := newMailed(prefixRegistration)
		reg.CodeHash, reg.TokenHash = code.hashes(forRegistration)
		reg.CodeAttempts = 0
		reg.CodeCount++
		reg.CodeCreateTime = t.now
		reg.CodeExpireTime = earlier(t.now.Add(CodeLifetime), reg.ExpireTime)
		if err := t.auth.UpdateRegistration(ctx, reg); err != nil {
			return err
		}
		return t.mail(ctx, registrationMail(reg, code))
	})
	return reg, err
}
