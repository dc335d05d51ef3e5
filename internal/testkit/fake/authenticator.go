// Package fake stands for what is outside of the product: the authenticators of browsers, and
// the DNS. It uses nothing of the product, so that tests of a part need not link all of it.
package fake

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"math/big"
	"testing"

	"github.com/fxamacker/cbor/v2"
)

// The algorithms of Passkeys (COSE).
const (
	ES256 = -7
	EdDSA = -8
	RS256 = -257
)

// The flags of authenticator data (WebAuthn Level 3, 6.1).
const (
	UserPresent    = 1 << 0
	UserVerified   = 1 << 2
	BackupEligible = 1 << 3
	BackedUp       = 1 << 4
	attested       = 1 << 6
)

// Passkey is one as an authenticator in software keeps it, which is honest unless it
// is told otherwise.
type Passkey struct {
	ID     []byte
	Handle []byte // of the user
	RPID   string
	Origin string // of the page on which it is used
	Flags  byte
	// Count is the signature counter. It grows with each use, unless it is 0.
	Count  uint32
	AAGUID [16]byte

	alg  int
	key  crypto.Signer
	cose []byte
}

// Ceremony is what browser and authenticator sign and send, to be changed before
// they do.
type Ceremony struct {
	// ClientData is what the browser tells.
	ClientData map[string]any
	RPID       string
	Flags      byte
	Count      uint32
	ID         []byte
	Handle     []byte
	// COSE is the public key, of a new passkey.
	COSE []byte
	// Format is the attestation statement's: none, or packed for one by the passkey
	// itself.
	Format string
	// Extra is put behind the authenticator data.
	Extra []byte
	// Send changes the JSON that is sent.
	Send func(credential, response map[string]any)
}

// NewPasskey makes a passkey with a new key, for a page's origin. It is not
// registered anywhere.
func NewPasskey(t testing.TB, origin string, alg int) *Passkey {
	t.Helper()
	p := &Passkey{ID: random(32), Origin: origin, Flags: UserPresent | UserVerified, alg: alg, AAGUID: [16]byte(random(16))}
	var public map[int]any
	switch alg {
	case ES256:
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		must(t, err)
		point, err := key.PublicKey.Bytes()
		must(t, err)
		p.key, public = key, map[int]any{1: 2, 3: ES256, -1: 1, -2: point[1:33], -3: point[33:]}
	case EdDSA:
		point, key, err := ed25519.GenerateKey(rand.Reader)
		must(t, err)
		p.key, public = key, map[int]any{1: 1, 3: EdDSA, -1: 6, -2: []byte(point)}
	case RS256:
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		must(t, err)
		p.key, public = key, map[int]any{1: 3, 3: RS256, -1: key.N.Bytes(), -2: big.NewInt(int64(key.E)).Bytes()}
	default:
		t.Fatalf("there is no algorithm %d", alg)
	}
	p.cose = CBOR(t, public)
	return p
}

// PublicKey returns its COSE key.
func (p *Passkey) PublicKey() []byte { return p.cose }

// CBOR encodes as authenticators do.
func CBOR(t testing.TB, v any) []byte {
	t.Helper()
	mode, err := cbor.CTAP2EncOptions().EncMode()
	must(t, err)
	b, err := mode.Marshal(v)
	must(t, err)
	return b
}

// Create answers PublicKeyCredentialCreationOptionsJSON, and returns
// RegistrationResponseJSON.
func (p *Passkey) Create(t testing.TB, options string, changes ...func(*Ceremony)) string {
	t.Helper()
	var o struct {
		Challenge string
		RP        struct{ ID string }
		User      struct{ ID string }
	}
	must(t, json.Unmarshal([]byte(options), &o))
	p.RPID, p.Handle = o.RP.ID, unbase64(t, o.User.ID)
	c := p.ceremony("webauthn.create", o.Challenge, changes)
	data := authenticatorData(c, attested)
	data = append(data, p.AAGUID[:]...)
	data = binary.BigEndian.AppendUint16(data, uint16(len(c.ID)))
	data = append(append(append(data, c.ID...), c.COSE...), c.Extra...)
	clientData, err := json.Marshal(c.ClientData)
	must(t, err)
	statement := map[string]any{}
	if c.Format == "packed" {
		statement = map[string]any{"alg": p.alg, "sig": p.sign(t, data, clientData)}
	}
	return send(t, c, map[string]any{
		"clientDataJSON":    base64url(clientData),
		"attestationObject": base64url(CBOR(t, map[string]any{"fmt": c.Format, "attStmt": statement, "authData": data})),
		"transports":        []string{"internal", "hybrid"},
	})
}

// Get answers PublicKeyCredentialRequestOptionsJSON, and returns
// AuthenticationResponseJSON.
func (p *Passkey) Get(t testing.TB, options string, changes ...func(*Ceremony)) string {
	t.Helper()
	var o struct{ Challenge string }
	must(t, json.Unmarshal([]byte(options), &o))
	if p.Count > 0 {
		p.Count++
	}
	c := p.ceremony("webauthn.get", o.Challenge, changes)
	data := append(authenticatorData(c, 0), c.Extra...)
	clientData, err := json.Marshal(c.ClientData)
	must(t, err)
	response := map[string]any{
		"clientDataJSON":    base64url(clientData),
		"authenticatorData": base64url(data),
		"signature":         base64url(p.sign(t, data, clientData)),
	}
	if c.Handle != nil {
		response["userHandle"] = base64url(c.Handle)
	}
	return send(t, c, response)
}

func (p *Passkey) ceremony(kind, challenge string, changes []func(*Ceremony)) *Ceremony {
	c := &Ceremony{
		ClientData: map[string]any{"type": kind, "challenge": challenge, "origin": p.Origin, "crossOrigin": false},
		RPID:       p.RPID, Flags: p.Flags, Count: p.Count, ID: p.ID, Handle: p.Handle, COSE: p.cose, Format: "none",
	}
	for _, change := range changes {
		change(c)
	}
	return c
}

func authenticatorData(c *Ceremony, flags byte) []byte {
	party := sha256.Sum256([]byte(c.RPID))
	return binary.BigEndian.AppendUint32(append(party[:], c.Flags|flags), c.Count)
}

func (p *Passkey) sign(t testing.TB, data, clientData []byte) []byte {
	t.Helper()
	hash := sha256.Sum256(clientData)
	message := append(append([]byte(nil), data...), hash[:]...)
	options, digest := crypto.SignerOpts(crypto.SHA256), sha256.Sum256(message)
	signed := digest[:]
	if p.alg == EdDSA {
		options, signed = crypto.Hash(0), message
	}
	signature, err := p.key.Sign(rand.Reader, signed, options)
	must(t, err)
	return signature
}

func send(t testing.TB, c *Ceremony, response map[string]any) string {
	t.Helper()
	credential := map[string]any{
		"id": base64url(c.ID), "rawId": base64url(c.ID), "type": "public-key", "response": response,
		"clientExtensionResults": map[string]any{}, "authenticatorAttachment": "platform",
	}
	if c.Send != nil {
		c.Send(credential, response)
	}
	text, err := json.Marshal(credential)
	must(t, err)
	return string(text)
}

func base64url(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

func unbase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	must(t, err)
	return b
}

func random(size int) []byte {
	b := make([]byte, size)
	_, _ = rand.Read(b)
	return b
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
