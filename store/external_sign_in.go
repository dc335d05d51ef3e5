package store

import (
	"context"
	"encoding/json"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/auth"
)

// A sign-in by an identity provider has four steps: it is started; the provider
// sends the browser back with the state; who the provider says it is is stored; who
// started it completes it. Between the second and the third the provider is asked,
// outside of any transaction.
//
// What completes it are two secrets that went two ways: the result's token, which
// only the browser has that came back, and the binding, which only the browser or
// client has that started it. So nobody signs in by an answer that was meant for
// somebody else, nor is made to (RFC 9700, 4.5 and 4.7).

// ExternalSignInLifetime is how long an external sign-in can be completed.
const ExternalSignInLifetime = 10 * time.Minute

// The purposes of its secrets, and their prefixes.
const (
	forExternalState   = "external sign-in state"
	forExternalBinding = "external sign-in binding"
	forExternalResult  = "external sign-in result"

	prefixExternalState   = "lsmxs_"
	prefixExternalBinding = "lsmxb_"
	prefixExternalResult  = "lsmxr_"
)

// NewExternalState returns the state of a new external sign-in, which comes back
// from the provider.
func NewExternalState() string { return secret.NewToken(prefixExternalState) }

// NewExternalBinding returns what binds a new external sign-in to who started it.
func NewExternalBinding() string { return secret.NewToken(prefixExternalBinding) }

// IsExternalBinding reports whether a text has the form of a binding.
func IsExternalBinding(s string) bool {
	return len(s) == externalBindingLength && s[:len(prefixExternalBinding)] == prefixExternalBinding
}

var externalBindingLength = len(NewExternalBinding())

// ExternalSecrets are what the provider must prove that it saw, and what must be
// proven to it.
type ExternalSecrets struct {
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // RFC 7636
}

// ExternalStart is an external sign-in that begins.
type ExternalStart struct {
	Provider  string
	Purpose   auth.ExternalPurpose
	Session   ids.Session // that links or reauthenticates; zero to sign in
	Transport authz.Transport
	State     string
	Binding   string
	Secrets   ExternalSecrets
	ReturnURL string
}

// StartExternalSignIn stores an external sign-in.
//
// Errors: fault SESSION_REQUIRED when the session has ended.
func (s *Store) StartExternalSignIn(ctx context.Context, in ExternalStart) (row *auth.ExternalSignIn, err error) {
	secrets, err := json.Marshal(in.Secrets)
	if err != nil {
		return nil, err
	}
	state, binding := secret.HashOf(forExternalState, in.State), secret.HashOf(forExternalBinding, in.Binding)
	id := ids.New[ids.ExternalSignIn]()
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		row = &auth.ExternalSignIn{
			ID: id, Provider: in.Provider, Purpose: in.Purpose, SessionID: in.Session, Transport: in.Transport,
			StateHash: state[:], BindingHash: binding[:], Sealed: s.externals.Seal(secrets, "secrets "+id.String()),
			ReturnURL: in.ReturnURL, CreateTime: t.now, ExpireTime: t.now.Add(ExternalSignInLifetime),
		}
		return t.auth.InsertExternalSignIn(ctx, row)
	})
	return row, err
}

// ExternalReturn is an external sign-in whose browser came back from the provider.
type ExternalReturn struct {
	*auth.ExternalSignIn
	Secrets ExternalSecrets
}

// ReturnExternalSignIn takes the state with which a provider sent the browser back,
// which works once.
//
// Errors: fault CHALLENGE_INVALID when no sign-in by the provider has it, or its time
// is over.
func (s *Store) ReturnExternalSignIn(ctx context.Context, provider, state string) (back ExternalReturn, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		back.ExternalSignIn, err = t.auth.ReturnExternalSignIn(ctx, secret.HashOf(forExternalState, state), provider, t.now)
		if err == nil && back.ExternalSignIn == nil {
			err = errExternal()
		}
		return err
	})
	if err != nil {
		return back, err
	}
	data, err := s.externals.Open(back.Sealed, "secrets "+back.ID.String())
	if err != nil {
		return back, err
	}
	return back, json.Unmarshal(data, &back.Secrets)
}

// ExternalClaims are who a provider says that somebody is.
type ExternalClaims struct {
	Issuer  string `json:"issuer"`
	Subject string `json:"subject"`
	Email   string `json:"email,omitempty"`
	// EmailVerified tells that the provider vouches for the address.
	EmailVerified bool `json:"email_verified,omitempty"`
	// Name is what the provider calls them: at most 100 characters, or "".
	Name string `json:"name,omitempty"`
}

// SetExternalResult stores what the provider said, and returns the token by which
// that can be used, once.
func (s *Store) SetExternalResult(ctx context.Context, id ids.ExternalSignIn, claims ExternalClaims) (token string, err error) {
	data, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	token = secret.NewToken(prefixExternalResult)
	return token, s.write(ctx, func(ctx context.Context, t *tx) error {
		return t.auth.SetExternalResult(ctx, id, secret.HashOf(forExternalResult, token), s.externals.Seal(data, "result "+id.String()))
	})
}

func errExternal() error {
	return fault.New(fault.FailedPrecondition, fault.ChallengeInvalid, "the sign-in is unknown, expired, used, or of another browser or client; start it again")
}

// ExternalCompletion completes an external sign-in.
type ExternalCompletion struct {
	ID          ids.ExternalSignIn
	ResultToken string
	// Token is the binding that a client gives back; Cookies are those that a browser
	// has. Only what fits the sign-in's transport counts.
	Token   string
	Cookies []string
	// WorkspaceName and DisplayName are for a new account; both may be "".
	WorkspaceName string
	DisplayName   string
	Client        authz.Client
}

// openExternal returns the sign-in that a completion is of, and what the provider
// said.
//
// Errors: fault CHALLENGE_INVALID.
func (t *tx) openExternal(ctx context.Context, c ExternalCompletion) (*auth.ExternalSignIn, ExternalClaims, error) {
	var claims ExternalClaims
	row, err := t.auth.ExternalSignIn(ctx, c.ID, t.now)
	if err != nil {
		return nil, claims, err
	}
	if row == nil || row.ResultHash == nil || !secret.HashOf(forExternalResult, c.ResultToken).Equal(row.ResultHash) || !c.bound(row) {
		return nil, claims, errExternal()
	}
	data, err := t.store.externals.Open(row.Result, "result "+row.ID.String())
	if err != nil {
		return nil, claims, err
	}
	return row, claims, json.Unmarshal(data, &claims)
}

// bound reports whether who completes the sign-in is who started it.
func (c ExternalCompletion) bound(row *auth.ExternalSignIn) bool {
	bindings := []string{c.Token}
	if row.Transport == authz.Cookie {
		bindings = c.Cookies
	}
	for _, b := range bindings {
		if IsExternalBinding(b) && secret.HashOf(forExternalBinding, b).Equal(row.BindingHash) {
			return true
		}
	}
	return false
}

// useExternal uses a sign-in up: of several completions at once one goes on.
//
// Errors: fault CHALLENGE_INVALID.
func (t *tx) useExternal(ctx context.Context, row *auth.ExternalSignIn) error {
	there, err := t.auth.DeleteExternalSignIn(ctx, row.ID)
	if err == nil && !there {
		err = errExternal()
	}
	return err
}
