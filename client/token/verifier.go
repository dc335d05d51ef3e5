// Package token verifies the access tokens of a LogicSpike Manager server, for the
// services that are called with them. It asks the server for its public keys only,
// now and then:
//
//	verifier, err := token.New(token.Options{Issuer: "https://accounts.example.com", Audience: "https://api.example.com"})
//	http.ListenAndServe(":80", verifier.Middleware(api))
//
// and in a handler:
//
//	if err := token.Check(ctx, workspaceID, "invoice.read"); err != nil { … }
//
// It is strict (RFC 8725, RFC 9068, 4): a token is signed by EdDSA with a published
// key that its header names by `kid`, and has the type `at+jwt`; a header that holds
// more than that is refused, so that no key or URL in a token is ever followed.
package token

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"
	josejson "github.com/go-jose/go-jose/v4/json"
)

var (
	// ErrInvalid is what every token is refused with that is not one of the issuer's
	// for the audience, now. Its text may say more, for a log.
	ErrInvalid = errors.New("the access token is not valid")
	// ErrUnavailable is returned when the issuer's keys cannot be had.
	ErrUnavailable = errors.New("the keys of the issuer of access tokens cannot be read")
)

const (
	// maxTokenBytes is the length above which a token is refused unseen.
	maxTokenBytes = 8192
	// tokenType is the header `typ` of access tokens (RFC 9068, 2.1).
	tokenType = "at+jwt"
	// keysPath is where an issuer publishes its keys.
	keysPath = "/.well-known/jwks.json"
)

// Options configure a Verifier. Issuer and Audience are required.
type Options struct {
	// Issuer is the server's public URL, as in https://accounts.example.com. Other than
	// for this machine it must be https.
	Issuer string
	// Audience is what the service calls itself: one of the server's setting
	// `token-audiences`.
	Audience string
	// KeysURL is where the keys are. Default: /.well-known/jwks.json of the issuer.
	KeysURL string
	// HTTPClient asks for the keys. Redirects are not followed, whatever it says.
	// Default: one of its own.
	HTTPClient *http.Client
	// KeysMaxAge is how old the keys may be before they are asked for again, beside the
	// calls: a key that the server revokes is honoured that long. Default: 5 minutes.
	KeysMaxAge time.Duration
	// KeysMaxStale is how old the keys may become while the server does not answer.
	// Default: 1 hour.
	KeysMaxStale time.Duration
	// Leeway is how far the clocks may differ. Default: 30 seconds.
	Leeway time.Duration
	// CacheSize is how many tokens are remembered as verified, by their SHA-256, until
	// they expire; negative for none. Default: 10,000.
	CacheSize int
	// Now tells the time. Default: time.Now.
	Now func() time.Time
}

// Verifier verifies access tokens. It is safe for concurrent use.
type Verifier struct {
	options Options
	keys    *keys
	cache   *cache // nil for none
}

// New returns a verifier. It makes no call.
//
// Errors: when an option is missing or wrong.
func New(o Options) (*Verifier, error) {
	if o.Audience == "" {
		return nil, errors.New("token: an audience is required")
	}
	if o.Issuer == "" {
		return nil, errors.New("token: an issuer is required")
	}
	if o.KeysURL == "" {
		o.KeysURL = strings.TrimSuffix(o.Issuer, "/") + keysPath
	}
	u, err := url.Parse(o.KeysURL)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && (u.Scheme != "http" || !loopback(u.Hostname())) {
		return nil, fmt.Errorf("token: the keys must be at an https URL, or on this machine, not at %q", o.KeysURL)
	}
	setDefault(&o.KeysMaxAge, 5*time.Minute)
	setDefault(&o.KeysMaxStale, time.Hour)
	setDefault(&o.Leeway, 30*time.Second)
	setDefault(&o.CacheSize, 10_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	v := &Verifier{options: o, keys: newKeys(o)}
	if o.CacheSize > 0 {
		v.cache = newCache(o.CacheSize)
	}
	return v, nil
}

func setDefault[T int | time.Duration](value *T, preset T) {
	if *value == 0 {
		*value = preset
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Verify returns what a token says.
//
// Errors: ErrInvalid, ErrUnavailable, and the context's.
func (v *Verifier) Verify(ctx context.Context, token string) (*Claims, error) {
	if len(token) > maxTokenBytes {
		return nil, refuse("it is too long")
	}
	now := v.options.Now()
	var sum hash
	if v.cache != nil {
		sum = hashOf(token)
		if e, ok := v.cache.get(sum, now.Add(-v.options.Leeway)); ok {
			// As long as its key is published, and known to be.
			if key, err := v.keys.get(ctx, e.kid); err != nil {
				return nil, err
			} else if key.Equal(e.key) {
				return e.claims.clone(), nil
			}
			v.cache.remove(sum)
			return nil, refuse("its key was revoked")
		}
	}
	if err := checkForm(token); err != nil {
		return nil, err
	}
	signed, kid, err := parse(token)
	if err != nil {
		return nil, err
	}
	key, err := v.keys.get(ctx, kid)
	if err != nil {
		return nil, err
	}
	payload, err := signed.Verify(key)
	if err != nil {
		return nil, refuse("its signature is wrong")
	}
	claims, err := v.judge(payload, now)
	if err != nil {
		return nil, err
	}
	if v.cache != nil {
		v.cache.put(sum, entry{claims: claims, kid: kid, key: key})
		claims = claims.clone()
	}
	return claims, nil
}

func refuse(why string) error { return fmt.Errorf("%w: %s", ErrInvalid, why) }

// signatureLength is that of a signature of 64 bytes in base64url.
var signatureLength = base64.RawURLEncoding.EncodedLen(ed25519.SignatureSize)

// checkForm refuses, at next to no cost, what cannot be a token: anything but three
// parts in base64url, the last of which is a signature of Ed25519 in the one spelling
// that it has.
func checkForm(token string) error {
	dots, last := 0, -1
	for i := range len(token) {
		switch b := token[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '-', b == '_':
		case b == '.':
			if dots++; dots > 2 {
				return refuse("it has more than three parts")
			}
			last = i
		default:
			return refuse("it has characters that no token has")
		}
	}
	if dots != 2 || len(token)-last-1 != signatureLength {
		return refuse("it is not a token in three parts with a signature by Ed25519")
	}
	// The last character holds bits that are not used: were they not looked at, a
	// token could be written in several ways.
	if _, err := base64.RawURLEncoding.Strict().DecodeString(token[last+1:]); err != nil {
		return refuse("its signature is not in base64url")
	}
	return nil
}

// header is all that a token's header may hold. Nothing in it is followed.
type header struct {
	Algorithm string `json:"alg"`
	Type      string `json:"typ"`
	KeyID     string `json:"kid"`
}

// parse reads the header of a token, and returns the name of its key.
func parse(token string) (*jose.JSONWebSignature, string, error) {
	first, _, _ := strings.Cut(token, ".")
	raw, err := base64.RawURLEncoding.Strict().DecodeString(first)
	if err != nil {
		return nil, "", refuse("its header is not in base64url")
	}
	decoder := josejson.NewDecoder(strings.NewReader(string(raw))) // which refuses names that come twice
	var members map[string]any
	if err := decoder.Decode(&members); err != nil {
		return nil, "", refuse("its header is not a JSON object")
	}
	var h header
	for name, value := range members {
		text, _ := value.(string)
		switch name {
		case "alg":
			h.Algorithm = text
		case "typ":
			h.Type = text
		case "kid":
			h.KeyID = text
		default:
			return nil, "", refuse("its header holds what no access token has")
		}
	}
	switch {
	case h.Algorithm != string(jose.EdDSA):
		return nil, "", refuse("it is not signed by EdDSA")
	case h.Type != tokenType:
		return nil, "", refuse("it is not an access token")
	case h.KeyID == "" || len(h.KeyID) > maxKeyID:
		return nil, "", refuse("it names no key")
	}
	signed, err := jose.ParseSignedCompact(token, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return nil, "", refuse("it cannot be read")
	}
	return signed, h.KeyID, nil
}

// payload is what a token holds (RFC 9068, 2.2).
type payload struct {
	Issuer      string   `json:"iss"`
	Subject     string   `json:"sub"`
	Audience    audience `json:"aud"`
	Expires     *int64   `json:"exp"`
	NotBefore   *int64   `json:"nbf"`
	IssuedAt    *int64   `json:"iat"`
	ID          string   `json:"jti"`
	Session     string   `json:"sid"`
	AuthTime    int64    `json:"auth_time"`
	Methods     []string `json:"amr"`
	Workspace   string   `json:"workspace_id"`
	Role        string   `json:"role"`
	Permissions []string `json:"permissions"`
	Actor       *struct {
		Subject string `json:"sub"`
	} `json:"act"`
}

// audience is one audience, or several.
type audience []string

// UnmarshalJSON reads a string or a list of strings (RFC 7519, 4.1.3).
func (a *audience) UnmarshalJSON(data []byte) error {
	var one string
	if err := josejson.Unmarshal(data, &one); err == nil {
		*a = audience{one}
		return nil
	}
	var list []string
	err := josejson.Unmarshal(data, &list)
	*a = list
	return err
}

// judge reads claims that were signed by the issuer's key.
func (v *Verifier) judge(data []byte, now time.Time) (*Claims, error) {
	var p payload
	if err := josejson.Unmarshal(data, &p); err != nil {
		return nil, refuse("its claims cannot be read")
	}
	switch {
	case p.Issuer != v.options.Issuer:
		return nil, refuse("it is of another issuer")
	case !slices.Contains(p.Audience, v.options.Audience):
		return nil, refuse("it is for another audience")
	case p.Expires == nil || p.IssuedAt == nil || p.Subject == "" || p.Session == "" || p.ID == "":
		return nil, refuse("a claim is missing")
	}
	expires, issued, leeway := time.Unix(*p.Expires, 0), time.Unix(*p.IssuedAt, 0), v.options.Leeway
	switch {
	case !now.Add(-leeway).Before(expires):
		return nil, refuse("it has expired")
	case now.Add(leeway).Before(issued), p.NotBefore != nil && now.Add(leeway).Before(time.Unix(*p.NotBefore, 0)):
		return nil, refuse("it is not valid yet")
	}
	c := &Claims{
		UserID: p.Subject, SessionID: p.Session, TokenID: p.ID, Issuer: p.Issuer, Audience: p.Audience,
		WorkspaceID: p.Workspace, Role: p.Role, Permissions: p.Permissions,
		IssueTime: issued.UTC(), ExpireTime: expires.UTC(), AuthTime: time.Unix(p.AuthTime, 0).UTC(), Methods: p.Methods,
	}
	if p.Actor != nil {
		c.OperatorID = p.Actor.Subject
	}
	return c, nil
}
