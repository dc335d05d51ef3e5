package external

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/logicspike/manager/internal/clock"
)

// appleSecretLifetime is how long a client's secret for Apple is valid. Apple allows six
// months; it is used at once.
const appleSecretLifetime = 5 * time.Minute

// newAppleSecret returns what makes the client's secret for Apple: a token that the
// developer's key signs.
func newAppleSecret(c Config, clock clock.Clock) (func() (string, error), error) {
	key, err := ParseAppleKey(c.PrivateKey)
	if err != nil {
		return nil, err
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", c.KeyID))
	if err != nil {
		return nil, err
	}
	return func() (string, error) {
		now := clock.Now()
		return jwt.Signed(signer).Claims(jwt.Claims{
			Issuer: c.TeamID, Subject: c.ClientID, Audience: jwt.Audience{c.Issuer},
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(now.Add(appleSecretLifetime)),
		}).Serialize()
	}, nil
}

// ParseAppleKey reads a private key as Apple hands it out: PKCS #8 in PEM, of the curve
// P-256.
func ParseAppleKey(text string) (*ecdsa.PrivateKey, error) {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return nil, errors.New("the private key is not in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, ok := parsed.(*ecdsa.PrivateKey)
	if err != nil || !ok || key.Curve != elliptic.P256() {
		return nil, errors.New("the private key is not one of P-256 in PKCS #8")
	}
	return key, nil
}

// appleName returns the name in the form that Apple has the browser send when somebody
// signs in for the first time. The browser can change it: it is a suggestion.
func appleName(user string) string {
	var u struct {
		Name struct {
			First string `json:"firstName"`
			Last  string `json:"lastName"`
		} `json:"name"`
	}
	if len(user) > 4<<10 || json.Unmarshal([]byte(user), &u) != nil {
		return ""
	}
	return u.Name.First + " " + u.Name.Last
}
