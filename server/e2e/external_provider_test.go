package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/testkit"
)

// provider is an OpenID Connect provider that checks what it is asked as a real one
// does, and whose every answer a test can forge.
type provider struct {
	t testing.TB
	*httptest.Server
	srv  *testkit.Server
	path string // of the issuer, beneath the server's URL
	id   string // the client's
	// secret is the client's; "" where checkSecret decides.
	secret      string
	checkSecret func(string) error
	kid         string

	mu       sync.Mutex
	metadata map[string]any // laid over what it says of itself
	person   map[string]any // who signs in
	userinfo map[string]any // nil: there is no such endpoint
	forge    func(claims map[string]any)
	sign     func(claims []byte) string // nil: with the provider's key
	iss      []string                   // the parameter of its answers
	refuses  string                     // the error of its answers
	status   int                        // of the token endpoint, if not 0
	keys     func() any                 // nil: the provider's key
	asked    map[string]url.Values      // by code
	last     url.Values                 // what was asked last
}

var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return newRSAKey() })
	otherKey = sync.OnceValue(func() *rsa.PrivateKey { return newRSAKey() })
	curveKey = sync.OnceValue(newECKey)
)

func newRSAKey() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
}

func newECKey() *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return key
}

func newProvider(t testing.TB) *provider {
	t.Helper()
	p := &provider{t: t, id: "manager", secret: "client+secret%&=~", kid: "key", asked: map[string]url.Values{}}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	return p
}

// issuer is what the provider is called.
func (p *provider) issuer() string { return p.URL + p.path }

// setting is the provider in the form of the setting identity-providers.
func (p *provider) setting(name, more string) string {
	return name + "?client-id=" + p.id + "&client-secret=" + url.QueryEscape(p.secret) + "&issuer=" + url.QueryEscape(p.issuer()) + more + " "
}

// now says who signs in next.
func (p *provider) now(claims map[string]any) {
	p.change(func() { p.person = claims })
}

// change changes the provider.
func (p *provider) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
}

// ServeHTTP is the provider.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch strings.TrimPrefix(r.URL.Path, p.path) {
	case "/.well-known/openid-configuration":
		said := map[string]any{
			"issuer": p.issuer(), "authorization_endpoint": p.issuer() + "/authorize", "token_endpoint": p.issuer() + "/token",
			"jwks_uri": p.issuer() + "/keys", "id_token_signing_alg_values_supported": []string{"RS256", "ES256", "HS256", "none"},
		}
		if p.userinfo != nil {
			said["userinfo_endpoint"] = p.issuer() + "/userinfo"
		}
		maps.Copy(said, p.metadata)
		p.answer(w, said)
	case "/authorize":
		p.authorize(w, r)
	case "/token":
		p.token(w, r)
	case "/keys":
		if p.keys != nil {
			p.answer(w, p.keys())
			return
		}
		p.answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{
			{Key: rsaKey().Public(), KeyID: p.kid, Algorithm: "RS256", Use: "sig"}, {Key: curveKey().Public(), KeyID: "curve", Algorithm: "ES256", Use: "sig"},
		}})
	case "/userinfo":
		if !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer access-") {
			http.Error(w, "no token", http.StatusUnauthorized)
			return
		}
		p.answer(w, p.userinfo)
	default:
		http.NotFound(w, r)
	}
}

func (p *provider) answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// authorize signs in who signs in next, without asking.
func (p *provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	p.last = q
	if q.Get("client_id") != p.id || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 ||
		len(q.Get("state")) < 43 || len(q.Get("nonce")) < 43 || !strings.Contains(" "+q.Get("scope")+" ", " openid ") {
		http.Error(w, "a wrong request: "+r.URL.RawQuery, http.StatusBadRequest)
		return
	}
	result := url.Values{"state": {q.Get("state")}}
	if p.iss != nil {
		result["iss"] = p.iss
	}
	if p.refuses != "" {
		result.Set("error", p.refuses)
	} else {
		code := "code-" + uuid.NewString()
		p.asked[code] = q
		result.Set("code", code)
	}
	if q.Get("response_mode") == "form_post" {
		_, _ = io.WriteString(w, result.Encode())
		return
	}
	w.Header().Set("Location", q.Get("redirect_uri")+"?"+result.Encode())
	w.WriteHeader(http.StatusFound)
}

// token exchanges a code, once.
func (p *provider) token(w http.ResponseWriter, r *http.Request) {
	fail := func(reason string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error":"`+reason+`"}`)
	}
	if p.status != 0 {
		http.Error(w, "out of order", p.status)
		return
	}
	if err := r.ParseForm(); err != nil {
		fail("invalid_request")
		return
	}
	id, secret, basic := r.BasicAuth()
	if basic {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	if p.checkSecret != nil {
		if err := p.checkSecret(secret); err != nil {
			p.t.Errorf("the client's secret: %v", err)
			fail("invalid_client")
			return
		}
	} else if secret != p.secret {
		fail("invalid_client")
		return
	}
	asked := p.asked[r.PostFormValue("code")]
	delete(p.asked, r.PostFormValue("code"))
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if asked == nil || id != p.id || r.PostFormValue("grant_type") != "authorization_code" || r.PostFormValue("redirect_uri") != asked.Get("redirect_uri") ||
		base64.RawURLEncoding.EncodeToString(sum[:]) != asked.Get("code_challenge") {
		fail("invalid_grant")
		return
	}
	now := p.srv.Clock.Now()
	claims := map[string]any{
		"iss": p.issuer(), "aud": p.id, "nonce": asked.Get("nonce"), "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
	}
	if asked.Get("max_age") == "0" {
		claims["auth_time"] = now.Unix()
	}
	maps.Copy(claims, p.person)
	if p.forge != nil {
		p.forge(claims)
	}
	payload, _ := json.Marshal(claims)
	signed := ""
	if p.sign != nil {
		signed = p.sign(payload)
	} else {
		signed = sign(jose.RS256, rsaKey(), p.kid, payload)
	}
	p.answer(w, map[string]any{"access_token": "access-" + uuid.NewString(), "token_type": "Bearer", "expires_in": 300, "id_token": signed})
}

// sign makes a token.
func sign(algorithm jose.SignatureAlgorithm, key any, kid string, payload []byte) string {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: algorithm, Key: key}, (&jose.SignerOptions{}).WithHeader("kid", kid).WithType("JWT"))
	if err != nil {
		panic(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		panic(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		panic(err)
	}
	return text
}

// unsigned makes a token that says that it is not signed, or is signed otherwise than it
// says.
func unsigned(header string, payload []byte, signature []byte) string {
	encode := base64.RawURLEncoding.EncodeToString
	return fmt.Sprintf("%s.%s.%s", encode([]byte(header)), encode(payload), encode(signature))
}
