// Package passkey is the relying party of WebAuthn Level 3: it makes what the
// browser's navigator.credentials is asked with, and judges what it answers. It
// keeps nothing: whoever calls it stores the state of a ceremony between its two
// halves, once, and for a short time.
//
// Passkeys are discoverable and verify their user; no attestation is asked for. A
// page in a frame of another origin cannot use them.
package passkey

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-webauthn/webauthn/protocol"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"
	"github.com/go-webauthn/webauthn/webauthn"
	"github.com/google/uuid"
)

// Options are what a Party is made from.
type Options struct {
	// ID is the relying party's id: the domain of which passkeys are.
	ID string
	// Name is what people know the product by.
	Name string
	// Origins are those whose pages may use the passkeys: of the domain or of a
	// domain below it.
	Origins []string
	// Timeout is what browsers are told of how long an answer may take.
	Timeout time.Duration
}

// Party is a relying party. It is safe for concurrent use.
type Party struct{ web *webauthn.WebAuthn }

// ErrAnswer is the cause of every refusal of an answer.
var ErrAnswer = errors.New("the passkey's answer is wrong")

// New returns a relying party.
//
// Errors: when the id is no domain, or an origin is not of it.
func New(o Options) (*Party, error) {
	for _, origin := range o.Origins {
		u, err := url.Parse(origin)
		if err != nil {
			return nil, err
		}
		if host := u.Hostname(); host != o.ID && !strings.HasSuffix(host, "."+o.ID) {
			return nil, fmt.Errorf("the origin %s is not of %s, of which passkeys are", origin, o.ID)
		}
	}
	timeout := webauthn.TimeoutConfig{Timeout: o.Timeout, TimeoutUVD: o.Timeout} // enforced by whoever keeps the state
	web, err := webauthn.New(&webauthn.Config{
		RPID:                  o.ID,
		RPDisplayName:         o.Name,
		RPOrigins:             slices.Clone(o.Origins),
		AttestationPreference: protocol.PreferNoAttestation,
		AuthenticatorSelection: protocol.AuthenticatorSelection{
			ResidentKey:        protocol.ResidentKeyRequirementRequired,
			RequireResidentKey: protocol.ResidentKeyRequired(),
			UserVerification:   protocol.VerificationRequired,
		},
		Timeouts: webauthn.TimeoutsConfig{Login: timeout, Registration: timeout},
		// Browser extensions that keep passkeys tell more than they were asked; none of
		// it is looked at (WebAuthn Level 3, 7.1 and 7.2).
		ExtensionsUnsolicitedOutputPolicy: protocol.UnsolicitedOutputPolicyIgnore,
	})
	if err != nil {
		return nil, err
	}
	return &Party{web}, nil
}

// User is whose passkeys they are.
type User struct {
	// Handle is the user handle: opaque, at most 64 bytes.
	Handle []byte
	// Name and DisplayName are shown by the browser, and by what keeps the passkey.
	Name, DisplayName string
}

// Credential is what is kept of a passkey (WebAuthn Level 3, 4: credential record).
type Credential struct {
	ID             []byte
	PublicKey      []byte // a COSE key
	SignCount      uint32
	Transports     []string
	AAGUID         uuid.UUID // zero when the authenticator does not tell
	BackupEligible bool
	BackedUp       bool
}

// algorithms are those of the keys, the first one preferred: what Level 3 recommends
// to offer.
var algorithms = []webauthncose.COSEAlgorithmIdentifier{webauthncose.AlgEdDSA, webauthncose.AlgES256, webauthncose.AlgRS256}

// Creation returns the options of navigator.credentials.create as JSON
// (PublicKeyCredentialCreationOptionsJSON), and the state. What has one of the
// known passkeys is not to make another one.
func (p *Party) Creation(u User, known []Credential) (options string, state []byte, err error) {
	offered := make([]protocol.CredentialParameter, len(algorithms))
	for i, a := range algorithms {
		offered[i] = protocol.CredentialParameter{Type: protocol.PublicKeyCredentialType, Algorithm: a}
	}
	creation, session, err := p.web.BeginRegistration(account{User: u},
		webauthn.WithCredentialParameters(offered), webauthn.WithExclusions(descriptors(known)))
	if err != nil {
		return "", nil, err
	}
	return encode(creation.Response, session)
}

// Register judges what navigator.credentials.create gave, as JSON
// (RegistrationResponseJSON), by WebAuthn Level 3, 7.1, and returns the passkey.
// Whether another account has it is not known here.
//
// Errors: ErrAnswer.
func (p *Party) Register(u User, state []byte, answer string) (*Credential, error) {
	session, err := decode(state)
	if err != nil {
		return nil, err
	}
	parsed, err := protocol.ParseCredentialCreationResponseBytes([]byte(answer))
	if err != nil {
		return nil, wrong(err)
	}
	data := parsed.Response.AttestationObject.AuthData.AttData
	if len(data.CredentialID) < minCredentialID {
		return nil, wrong(errors.New("the credential id is too short"))
	}
	if err := checkKey(data.CredentialPublicKey); err != nil { // before anything is computed with it
		return nil, wrong(err)
	}
	c, err := p.web.CreateCredential(account{User: u}, *session, parsed)
	if err != nil {
		return nil, wrong(err)
	}
	out := &Credential{
		ID: c.ID, PublicKey: c.PublicKey, SignCount: c.Authenticator.SignCount, Transports: transports(c.Transport),
		BackupEligible: c.Flags.BackupEligible, BackedUp: c.Flags.BackupState,
	}
	if out.AAGUID, err = uuid.FromBytes(c.Authenticator.AAGUID); err != nil {
		return nil, wrong(err)
	}
	return out, nil
}

// Request returns the options of navigator.credentials.get as JSON
// (PublicKeyCredentialRequestOptionsJSON), and the state. One of the allowed
// passkeys must answer; if there are none, any.
func (p *Party) Request(allowed []Credential) (options string, state []byte, err error) {
	assertion, session, err := p.web.BeginDiscoverableLogin(webauthn.WithAllowedCredentials(descriptors(allowed)))
	if err != nil {
		return "", nil, err
	}
	return encode(assertion.Response, session)
}

// Answer is what navigator.credentials.get gave, not judged yet.
type Answer struct {
	parsed *protocol.ParsedCredentialAssertionData
}

// Read reads what navigator.credentials.get gave, as JSON
// (AuthenticationResponseJSON).
//
// Errors: ErrAnswer.
func Read(answer string) (*Answer, error) {
	parsed, err := protocol.ParseCredentialRequestResponseBytes([]byte(answer))
	if err != nil {
		return nil, wrong(err)
	}
	return &Answer{parsed}, nil
}

// CredentialID is which passkey is said to answer.
func (a *Answer) CredentialID() []byte { return a.parsed.RawID }

// Use is what a passkey told when it answered.
type Use struct {
	// SignCount is the authenticator's counter, 0 where it has none. That it grows is
	// not judged: that belongs where it is stored.
	SignCount uint32
	// BackedUp is whether there is a copy elsewhere now.
	BackedUp bool
}

// Verify judges the answer of a passkey, whose owner has the handle given, by
// WebAuthn Level 3, 7.2. Where any passkey may answer the answer must name the
// owner.
//
// Errors: ErrAnswer.
func (p *Party) Verify(state, owner []byte, c Credential, a *Answer) (*Use, error) {
	session, err := decode(state)
	if err != nil {
		return nil, err
	}
	if allowed := session.AllowedCredentialIDs; len(allowed) > 0 {
		if !slices.ContainsFunc(allowed, func(id []byte) bool { return slices.Equal(id, c.ID) }) {
			return nil, wrong(errors.New("the passkey was not asked"))
		}
	} else if len(a.parsed.Response.UserHandle) == 0 {
		return nil, wrong(errors.New("the answer names no user"))
	}
	session.AllowedCredentialIDs = nil // judged; the library would ask for all of them
	session.UserID = owner
	flags := protocol.AuthenticatorFlags(0)
	if c.BackupEligible {
		flags |= protocol.FlagBackupEligible
	}
	if c.BackedUp {
		flags |= protocol.FlagBackupState
	}
	known := account{User{Handle: owner}, []webauthn.Credential{{
		ID: c.ID, PublicKey: c.PublicKey, Flags: webauthn.NewCredentialFlags(flags),
	}}}
	if _, err := p.web.ValidateLogin(known, *session, a.parsed); err != nil {
		return nil, wrong(err)
	}
	data := a.parsed.Response.AuthenticatorData
	return &Use{SignCount: data.Counter, BackedUp: data.Flags.HasBackupState()}, nil
}

// minCredentialID is how long the id of a passkey is at least, in bytes (WebAuthn
// Level 3, 4: credential id).
const minCredentialID = 16

// checkKey refuses keys of another form than those that were asked for (WebAuthn
// Level 3, 5.8.5), and RSA keys that are weak, or slow to verify with.
func checkKey(cose []byte) error {
	key, err := webauthncose.ParsePublicKey(cose)
	if err != nil {
		return err
	}
	switch k := key.(type) {
	case webauthncose.EC2PublicKeyData:
		if k.Algorithm == int64(webauthncose.AlgES256) && k.Curve == int64(webauthncose.P256) && len(k.XCoord) == 32 && len(k.YCoord) == 32 {
			return nil
		}
	case webauthncose.OKPPublicKeyData:
		if k.Algorithm == int64(webauthncose.AlgEdDSA) && k.Curve == int64(webauthncose.Ed25519) && len(k.XCoord) == 32 {
			return nil
		}
	case webauthncose.RSAPublicKeyData:
		if k.Algorithm == int64(webauthncose.AlgRS256) && len(k.Modulus) >= 256 && len(k.Modulus) <= 512 && slices.Equal(k.Exponent, []byte{1, 0, 1}) {
			return nil
		}
	}
	return errors.New("the key is not of a form that was asked for")
}

// account is a user as the library sees them.
type account struct {
	User
	credentials []webauthn.Credential
}

func (a account) WebAuthnID() []byte                         { return a.Handle }
func (a account) WebAuthnName() string                       { return a.Name }
func (a account) WebAuthnDisplayName() string                { return a.DisplayName }
func (a account) WebAuthnCredentials() []webauthn.Credential { return a.credentials }

func descriptors(list []Credential) []protocol.CredentialDescriptor {
	var out []protocol.CredentialDescriptor
	for _, c := range list {
		d := protocol.CredentialDescriptor{Type: protocol.PublicKeyCredentialType, CredentialID: c.ID}
		for _, t := range c.Transports {
			d.Transport = append(d.Transport, protocol.AuthenticatorTransport(t))
		}
		out = append(out, d)
	}
	return out
}

// transports keeps the transports that Level 3 names; they are told back to
// browsers, and serve nothing else.
func transports(list []protocol.AuthenticatorTransport) []string {
	out := []string{}
	for _, t := range []protocol.AuthenticatorTransport{
		protocol.USB, protocol.NFC, protocol.BLE, protocol.SmartCard, protocol.Hybrid, protocol.Internal,
	} {
		if slices.Contains(list, t) {
			out = append(out, string(t))
		}
	}
	return out
}

func encode(options any, session *webauthn.SessionData) (string, []byte, error) {
	text, err := json.Marshal(options)
	if err != nil {
		return "", nil, err
	}
	state, err := json.Marshal(session)
	return string(text), state, err
}

func decode(state []byte) (*webauthn.SessionData, error) {
	session := new(webauthn.SessionData)
	return session, json.Unmarshal(state, session)
}

// wrong is ErrAnswer with its cause, which may quote the answer.
func wrong(cause error) error {
	var e *protocol.Error
	if errors.As(cause, &e) && e.DevInfo != "" {
		cause = fmt.Errorf("%w: %s", cause, e.DevInfo)
	}
	return fmt.Errorf("%w: %w", ErrAnswer, cause)
}
