package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
)

// The purposes of the codes, links and bindings of challenges by mail, and the
// prefixes of the tokens.
const (
	forEmailSignIn           = "email sign-in"
	forEmailBinding          = "email sign-in binding"
	forEmailReauthentication = "email reauthentication"

	prefixEmailSignIn  = "lsmc_"
	prefixEmailBinding = "lsmb_"
)

// StartEmailSignIn stores a challenge and mails its code and link to the address, if
// that is the proven one of an account that can sign in. Neither what it does nor how
// long it takes depends on that. It returns what binds the challenge to whoever
// asked: without it neither code nor link is worth anything.
func (s *Store) StartEmailSignIn(ctx context.Context, address email.Address, transport authz.Transport) (c *auth.EmailChallenge, binding string, err error) {
	binding = secret.NewToken(prefixEmailBinding)
	bound := secret.HashOf(forEmailBinding, binding)
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		code := newMailed(prefixEmailSignIn)
		c = &auth.EmailChallenge{
			ID: ids.New[ids.EmailChallenge](), AddressKey: address.Key, BindingHash: bound[:], Transport: transport,
			CreateTime: t.now, ExpireTime: t.now.Add(CodeLifetime),
		}
		c.CodeHash, c.TokenHash = code.hashes(forEmailSignIn)
		if err := t.auth.InsertEmailChallenge(ctx, c); err != nil {
			return err
		}
		return t.mail(ctx, challengeMail(ctx, mail.EmailSignInCode, address, code, c.ExpireTime))
	})
	return c, binding, err
}

// challengeMail is mailed if the address is the proven one of an account that can
// sign in.
func challengeMail(ctx context.Context, template mail.Template, to email.Address, code mailed, expires time.Time) letter {
	address, agent := "", ""
	if client := authz.ClientFrom(ctx); client.Address.IsValid() {
		address, agent = client.Address.String(), client.UserAgent
	}
	data := map[string]string{
		"code":        code.code,
		"expire_time": expires.Format(time.RFC3339),
		"address":     address,
		"agent":       agent,
	}
	if template == mail.EmailSignInCode {
		data["token"] = code.token
	}
	return letter{
		Message:    mail.Message{Template: template, To: to.Display, Data: data},
		If:         verifiedAccount,
		AddressKey: to.Key,
	}
}

// TryEmailSignIn counts a try of a challenge, given by its id or by its link's token,
// and returns it. The count stays, whatever becomes of the try.
//
// Errors: fault CODE_INVALID when there is none, or it is over, used, replaced or
// tried too often.
func (s *Store) TryEmailSignIn(ctx context.Context, id ids.EmailChallenge, proof Proof) (*auth.EmailChallenge, error) {
	return s.tryEmailChallenge(ctx, id, proof.tokenHash(forEmailSignIn), ids.Session{})
}

// TryEmailReauthentication counts a try of the challenge of the caller's session.
//
// Errors: as TryEmailSignIn.
func (s *Store) TryEmailReauthentication(ctx context.Context, caller *authz.Session, id ids.EmailChallenge) (*auth.EmailChallenge, error) {
	return s.tryEmailChallenge(ctx, id, secret.Hash{}, caller.ID)
}

func (s *Store) tryEmailChallenge(ctx context.Context, id ids.EmailChallenge, token secret.Hash, session ids.Session) (*auth.EmailChallenge, error) {
	c, err := s.Auth.TryEmailChallenge(ctx, id, token, session, s.options.Clock.Now())
	if err == nil && c == nil {
		err = errCode()
	}
	return c, s.constraints.Fault(err)
}

// EmailSignIn is what completes a sign-in by mail.
type EmailSignIn struct {
	// Challenge is what TryEmailSignIn returned.
	Challenge *auth.EmailChallenge
	Proof     Proof
	// Binding is what StartEmailSignIn returned, as it came by the transport of the
	// challenge.
	Binding string
	Client  authz.Client
}

// CompleteEmailSignIn starts a session of the user who has proven their address, and
// enrols them as SignIn does. The challenge is used up, and the others of the address
// are void.
//
// Errors: fault CODE_INVALID when proof or binding is wrong, or the address does not
// lead to an account any more; ACCOUNT_DISABLED, which uses the challenge up, too.
func (s *Store) CompleteEmailSignIn(ctx context.Context, in EmailSignIn) (session *auth.Session, token string, err error) {
	c := in.Challenge
	// Both are looked at in any case, and one answer is given: a wrong binding tells
	// nothing about the code.
	proven := in.Proof.proves(forEmailSignIn, c.CodeHash, c.TokenHash)
	if bound := secret.HashOf(forEmailBinding, in.Binding).Equal(c.BindingHash); !bound || !proven {
		return nil, "", errCode()
	}
	var refusal error
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		refusal = nil
		seen, err := t.identity.Address(ctx, c.AddressKey)
		if err != nil || seen == nil {
			return orCode(err)
		}
		enrollment, err := t.lockEnrollmentOf(ctx, seen.UserID)
		if fault.Has(err, fault.Missing) { // deleted just now
			return errCode()
		}
		if err != nil {
			return err
		}
		if err := t.identity.HoldUser(ctx, seen.UserID); err != nil {
			return err
		}
		if there, err := t.auth.ConsumeEmailChallenge(ctx, c); err != nil || !there {
			return orCode(err)
		}
		// Whoever changes the address, or the password by it, removes the challenge: so
		// the address is what it was.
		address, err := t.identity.Address(ctx, c.AddressKey)
		if err != nil || address == nil || address.UserID != seen.UserID || !address.Verified() {
			return orCode(err)
		}
		session, token, err = t.signIn(ctx, address.UserID, authz.ByEmail, c.Transport, in.Client, enrollment)
		if fault.Has(err, fault.AccountDisabled) {
			refusal = err
			return nil // and commit: the code is void
		}
		return err
	})
	if err == nil {
		err = refusal
	}
	if err != nil {
		return nil, "", err
	}
	return session, token, nil
}

// StartEmailReauthentication mails the caller a code by which their session can be
// reauthenticated. The one before is void.
//
// Errors: fault FACTOR_MISSING when their address is not proven, or they have a
// second factor; SESSION_REQUIRED.
func (s *Store) StartEmailReauthentication(ctx context.Context, caller *authz.Session) (c *auth.EmailChallenge, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.HoldUser(ctx, caller.User); err != nil {
			return err
		}
		address, err := t.reauthenticationAddress(ctx, caller.User)
		if err != nil {
			return err
		}
		code := newMailed(prefixEmailSignIn) // the token is mailed to nobody: it binds the code's hash
		c = &auth.EmailChallenge{
			ID: ids.New[ids.EmailChallenge](), AddressKey: address.Key, SessionID: caller.ID, Transport: caller.Transport,
			CreateTime: t.now, ExpireTime: t.now.Add(CodeLifetime),
		}
		c.CodeHash, c.TokenHash = code.hashes(forEmailReauthentication)
		if err := t.auth.InsertEmailChallenge(ctx, c); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{
			UserID: caller.User, Action: "email_challenge.created", TargetID: c.ID.String(),
		}); err != nil {
			return err
		}
		return t.mail(ctx, challengeMail(ctx, mail.ConfirmationCode, address, code, c.ExpireTime))
	})
	return c, err
}

// EmailReauthenticationAddress returns the address to which a code for the user's
// reauthentication would be mailed.
//
// Errors: as StartEmailReauthentication.
func (s *Store) EmailReauthenticationAddress(ctx context.Context, user ids.User) (a email.Address, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		a, err = t.reauthenticationAddress(ctx, user)
		return err
	})
	return a, err
}

// reauthenticationAddress returns the proven address of a held user who has no second
// factor: who has one is to use that.
//
// Errors: fault FACTOR_MISSING, SESSION_REQUIRED.
func (t *tx) reauthenticationAddress(ctx context.Context, user ids.User) (email.Address, error) {
	u, err := t.identity.User(ctx, user)
	if fault.Has(err, fault.Missing) {
		return email.Address{}, errGone()
	}
	if err != nil {
		return email.Address{}, err
	}
	if u.Email == nil || !u.Email.Verified() {
		return email.Address{}, errNoFactor("your address is not proven: nothing that is mailed to it says who you are")
	}
	factors, err := t.auth.SecondFactors(ctx, user)
	if err != nil {
		return email.Address{}, err
	}
	if factors.Required() {
		return email.Address{}, errNoFactor("the account has a second factor: use that, or the password")
	}
	return email.Address{Display: u.Email.Address, Key: u.Email.AddressKey}, nil
}

// ReauthenticateByEmail gives the caller's session a new token, by a code that was
// mailed for it. The challenge is what TryEmailReauthentication returned.
//
// Errors: fault CODE_INVALID, FACTOR_MISSING, SESSION_REQUIRED.
func (s *Store) ReauthenticateByEmail(ctx context.Context, caller *authz.Session, c *auth.EmailChallenge, code string) (session *auth.Session, token string, err error) {
	if !(Proof{Code: code}).proves(forEmailReauthentication, c.CodeHash, c.TokenHash) {
		return nil, "", errCode()
	}
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.identity.HoldUser(ctx, caller.User); err != nil {
			return err
		}
		if there, err := t.auth.ConsumeEmailChallenge(ctx, c); err != nil || !there {
			return orCode(err)
		}
		address, err := t.reauthenticationAddress(ctx, caller.User)
		if err != nil {
			return err
		}
		if address.Key != c.AddressKey {
			return errCode()
		}
		session, token, err = t.reauthenticated(ctx, caller, authz.ByEmail)
		return err
	})
	return session, token, err
}

// voidEmailChallenges voids what was mailed to a user to sign in or reauthenticate.
// It is called before their sessions end: whoever completes a challenge at this
// moment is waited for, so that their session is seen.
func (t *tx) voidEmailChallenges(ctx context.Context, user ids.User) error {
	u, err := t.identity.User(ctx, user)
	if err != nil || u.Email == nil {
		return err
	}
	return t.auth.DeleteEmailChallenges(ctx, u.Email.AddressKey)
}
