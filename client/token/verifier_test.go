package token_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/logicspike/manager/client/token"
)

const aud = "https://api.example.com"

// expiry is the claim in a token's text.
var expiry = regexp.MustCompile(`"exp":\d+`)

// issuer publishes keys, as the server does.
type issuer struct {
	*httptest.Server
	asked atomic.Int64

	mu    sync.Mutex
	keys  jose.JSONWebKeySet
	broke func(http.ResponseWriter, *http.Request) // in place of the keys; nil for none
	ahead time.Duration
}

func newIssuer(t *testing.T) *issuer {
	t.Helper()
	i := &issuer{}
	i.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i.asked.Add(1)
		i.mu.Lock()
		defer i.mu.Unlock()
		if i.broke != nil {
			i.broke(w, r)
			return
		}
		if r.URL.Path != "/.well-known/jwks.json" {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(i.keys)
	}))
	t.Cleanup(i.Close)
	return i
}

func (i *issuer) locked(fn func()) {
	i.mu.Lock()
	defer i.mu.Unlock()
	fn()
}

// key makes a key, and publishes it.
func (i *issuer) key(kid string) ed25519.PrivateKey {
	public, private, _ := ed25519.GenerateKey(rand.Reader)
	i.locked(func() {
		i.keys.Keys = append(i.keys.Keys, jose.JSONWebKey{Key: public, KeyID: kid, Algorithm: "EdDSA", Use: "sig"})
	})
	return private
}

// now is the time of the verifiers.
func (i *issuer) now() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return time.Now().Add(i.ahead)
}

func (i *issuer) advance(d time.Duration) { i.locked(func() { i.ahead += d }) }

func (i *issuer) verifier(t *testing.T, change func(*token.Options)) *token.Verifier {
	t.Helper()
	o := token.Options{Issuer: i.URL, Audience: aud, Now: i.now}
	if change != nil {
		change(&o)
	}
	v, err := token.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

type object = map[string]any

func head(kid string) object { return object{"alg": "EdDSA", "typ": "at+jwt", "kid": kid} }

func (i *issuer) body(change object) object {
	now := i.now().Unix()
	b := object{
		"iss": i.URL, "aud": aud, "sub": "usr_1", "sid": "ses_1", "jti": "1", "iat": now, "exp": now + 300, "auth_time": now - 10,
		"amr": []string{"pwd"}, "client_id": "manager", "workspace_id": "wsp_1", "role": "admin", "permissions": []string{"a.read", "b.write"},
	}
	maps.Copy(b, change)
	for name, value := range change {
		if value == nil {
			delete(b, name)
		}
	}
	return b
}

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

func encode(v any) string {
	if text, ok := v.(string); ok {
		return b64([]byte(text))
	}
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return b64(data)
}

// sign makes a token of any header and claims, which may be JSON as text.
func sign(key ed25519.PrivateKey, header, claims any) string {
	input := encode(header) + "." + encode(claims)
	return input + "." + b64(ed25519.Sign(key, []byte(input)))
}

func TestAGoodTokenTellsWhoCalls(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := i.key("one")
	v := i.verifier(t, nil)
	for range 2 { // verified, and remembered
		c, err := v.Verify(t.Context(), sign(key, head("one"), i.body(object{"act": object{"sub": "usr_2"}, "aud": []string{"x", aud}})))
		if err != nil {
			t.Fatal(err)
		}
		if c.UserID != "usr_1" || c.SessionID != "ses_1" || c.TokenID != "1" || c.WorkspaceID != "wsp_1" || c.Role != "admin" || c.OperatorID != "usr_2" ||
			!c.Holds("b.write") || c.Holds("c") || c.ExpireTime.Sub(c.IssueTime) != 5*time.Minute || len(c.Methods) != 1 {
			t.Errorf("claims %+v", c)
		}
		c.Permissions[0] = "c" // is the caller's own
	}
	if n := i.asked.Load(); n != 1 {
		t.Errorf("the keys were asked for %d times", n)
	}
}

// TestForgedTokensAreRefused presents what attackers make of a token (RFC 8725, 2):
// once to a verifier that has seen the good token, and remembers it, and once to one
// that has not.
func TestForgedTokensAreRefused(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := i.key("one")
	public := key.Public().(ed25519.PublicKey)
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	good := sign(key, head("one"), i.body(nil))
	parts := strings.Split(good, ".")
	with := func(change object) object {
		h := head("one")
		maps.Copy(h, change)
		for name, value := range change {
			if value == nil {
				delete(h, name)
			}
		}
		return h
	}
	now := i.now().Unix()
	mac := func(secret []byte, header any) string {
		input := encode(header) + "." + parts[1]
		m := hmac.New(sha256.New, secret)
		m.Write([]byte(input))
		return input + "." + b64(m.Sum(nil))
	}
	spki, _ := x509.MarshalPKIXPublicKey(public)
	rsaKey, _ := rsa.GenerateKey(rand.Reader, 2048)
	byRSA := func() string {
		input := encode(with(object{"alg": "RS256"})) + "." + parts[1]
		sum := sha256.Sum256([]byte(input))
		s, _ := rsa.SignPKCS1v15(rand.Reader, rsaKey, crypto.SHA256, sum[:])
		return input + "." + b64(s)
	}
	ecKey, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	byEC := func() string {
		input := encode(with(object{"alg": "ES256"})) + "." + parts[1]
		sum := sha256.Sum256([]byte(input))
		r, s, _ := ecdsa.Sign(rand.Reader, ecKey, sum[:])
		return input + "." + b64(append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...))
	}
	ownJWK := object{"kty": "OKP", "crv": "Ed25519", "x": b64(stranger.Public().(ed25519.PublicKey))}
	lastChar := func(c byte) string { return good[:len(good)-1] + string(c) }
	otherBits := lastChar("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"[strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", good[len(good)-1])+1])
	claims, _ := json.Marshal(i.body(nil))

	forged := map[string]string{
		"empty":                        "",
		"none":                         encode(with(object{"alg": "none"})) + "." + parts[1] + ".",
		"None":                         encode(with(object{"alg": "None"})) + "." + parts[1] + "." + parts[2],
		"no alg":                       sign(key, with(object{"alg": nil}), i.body(nil)),
		"alg in another case":          sign(key, with(object{"alg": "eddsa"}), i.body(nil)),
		"alg is a list":                sign(key, with(object{"alg": []string{"EdDSA"}}), i.body(nil)),
		"HS256 with the public key":    mac(public, with(object{"alg": "HS256"})),
		"HS256 with its base64":        mac([]byte(b64(public)), with(object{"alg": "HS256"})),
		"HS256 with its SPKI":          mac(spki, with(object{"alg": "HS256"})),
		"HS512 of 64 bytes":            mac(public, with(object{"alg": "HS512"})) + strings.Repeat("A", 43),
		"RS256":                        byRSA(),
		"ES256":                        byEC(),
		"a stranger's key":             sign(stranger, head("one"), i.body(nil)),
		"an unknown kid":               sign(stranger, head("two"), i.body(nil)),
		"the key's own, unknown kid":   sign(key, head("two"), i.body(nil)),
		"no kid":                       sign(key, with(object{"kid": nil}), i.body(nil)),
		"a kid that is a number":       sign(key, with(object{"kid": 1}), i.body(nil)),
		"a kid that is a path":         sign(stranger, head("../../dev/null"), i.body(nil)),
		"a huge kid":                   sign(key, head(strings.Repeat("x", 1000)), i.body(nil)),
		"jwk":                          sign(stranger, with(object{"jwk": ownJWK}), i.body(nil)),
		"jwk and the kid":              sign(key, with(object{"jwk": ownJWK}), i.body(nil)),
		"jwk without kid":              sign(stranger, with(object{"jwk": ownJWK, "kid": nil}), i.body(nil)),
		"jku":                          sign(stranger, with(object{"jku": i.URL + "/evil"}), i.body(nil)),
		"x5u":                          sign(stranger, with(object{"x5u": i.URL + "/evil"}), i.body(nil)),
		"x5c":                          sign(stranger, with(object{"x5c": []string{base64.StdEncoding.EncodeToString(spki)}}), i.body(nil)),
		"x5t":                          sign(key, with(object{"x5t": "x"}), i.body(nil)),
		"crit":                         sign(key, with(object{"crit": []string{"exp"}, "exp": now + 300}), i.body(nil)),
		"crit b64":                     sign(key, with(object{"crit": []string{"b64"}, "b64": false}), i.body(nil)),
		"empty crit":                   sign(key, with(object{"crit": []string{}}), i.body(nil)),
		"zip":                          sign(key, with(object{"zip": "DEF"}), i.body(nil)),
		"cty":                          sign(key, with(object{"cty": "JWT"}), i.body(nil)),
		"typ JWT":                      sign(key, with(object{"typ": "JWT"}), i.body(nil)),
		"no typ":                       sign(key, with(object{"typ": nil}), i.body(nil)),
		"typ in full":                  sign(key, with(object{"typ": "application/at+jwt"}), i.body(nil)),
		"typ of a logout token":        sign(key, with(object{"typ": "logout+jwt"}), i.body(nil)),
		"alg twice":                    sign(key, `{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"one"}`, i.body(nil)),
		"kid twice":                    sign(key, `{"alg":"EdDSA","typ":"at+jwt","kid":"two","kid":"one"}`, i.body(nil)),
		"header is a list":             sign(key, `["EdDSA"]`, i.body(nil)),
		"header is null":               sign(key, `null`, i.body(nil)),
		"header with more behind":      sign(key, `{"alg":"EdDSA","typ":"at+jwt","kid":"one"}{}`, "x"),
		"aud of another":               sign(key, head("one"), i.body(object{"aud": "https://other.example"})),
		"aud that begins like it":      sign(key, head("one"), i.body(object{"aud": aud + ".evil.example"})),
		"aud is missing":               sign(key, head("one"), i.body(object{"aud": nil})),
		"aud is empty":                 sign(key, head("one"), i.body(object{"aud": []string{}})),
		"aud is an object":             sign(key, head("one"), i.body(object{"aud": object{aud: 1}})),
		"iss of another":               sign(key, head("one"), i.body(object{"iss": "https://evil.example"})),
		"iss with a slash":             sign(key, head("one"), i.body(object{"iss": i.URL + "/"})),
		"iss is missing":               sign(key, head("one"), i.body(object{"iss": nil})),
		"expired":                      sign(key, head("one"), i.body(object{"iat": now - 400, "exp": now - 31})),
		"no exp":                       sign(key, head("one"), i.body(object{"exp": nil})),
		"exp is a string":              sign(key, head("one"), i.body(object{"exp": "9999999999"})),
		"exp beyond all":               sign(key, head("one"), expiry.ReplaceAllString(string(claims), `"exp":1e400`)),
		"not yet valid":                sign(key, head("one"), i.body(object{"nbf": now + 60})),
		"issued in the future":         sign(key, head("one"), i.body(object{"iat": now + 60})),
		"no iat":                       sign(key, head("one"), i.body(object{"iat": nil})),
		"no sub":                       sign(key, head("one"), i.body(object{"sub": nil})),
		"no sid":                       sign(key, head("one"), i.body(object{"sid": nil})),
		"no jti":                       sign(key, head("one"), i.body(object{"jti": nil})),
		"a claim twice":                sign(key, head("one"), strings.Replace(string(claims), "{", `{"sub":"usr_9",`, 1)),
		"a claim twice, deeper":        sign(key, head("one"), strings.Replace(string(claims), "{", `{"act":{"sub":"a","sub":"b"},`, 1)),
		"a claim in another case":      sign(key, head("one"), strings.Replace(string(claims), `"sub"`, `"SUB"`, 1)),
		"claims are a list":            sign(key, head("one"), `[]`),
		"claims are null":              sign(key, head("one"), `null`),
		"claims with more behind":      sign(key, head("one"), string(claims)+`{}`),
		"claims altered":               parts[0] + "." + encode(i.body(object{"role": "owner"})) + "." + parts[2],
		"header altered":               encode(with(object{"x": 1})) + "." + parts[1] + "." + parts[2],
		"signature altered":            parts[0] + "." + parts[1] + "." + string("AB"[strings.Count(parts[2][:1], "A")]) + parts[2][1:],
		"signature in other bits":      otherBits,
		"signature of another":         parts[0] + "." + parts[1] + "." + strings.Split(sign(key, head("one"), i.body(object{"jti": "2"})), ".")[2],
		"no signature":                 parts[0] + "." + parts[1] + ".",
		"two parts":                    parts[0] + "." + parts[1],
		"four parts":                   good + ".",
		"five parts, as if encrypted":  strings.Join([]string{parts[0], parts[1], parts[2], parts[1], parts[2]}, "."),
		"truncated":                    good[:len(good)-2],
		"half":                         good[:len(good)/2],
		"padded":                       good + "==",
		"with a line break":            parts[0] + "." + parts[1] + "\n." + parts[2],
		"with a space":                 " " + good,
		"with a NUL":                   good + "\x00",
		"a million dots":               strings.Repeat(".", 1_000_000),
		"8,000 dots":                   strings.Repeat(".", 8_000),
		"huge":                         sign(key, head("one"), i.body(object{"x": strings.Repeat("x", 1_000_000)})),
		"a little too long":            sign(key, head("one"), i.body(object{"x": strings.Repeat("x", 8192)})),
		"deep JSON":                    sign(key, head("one"), strings.Repeat("[", 5000)),
		"JWS in JSON":                  `{"payload":"` + parts[1] + `","protected":"` + parts[0] + `","signature":"` + parts[2] + `"}`,
		"a session's token":            "lsms_XqkuBpsnLWoQ1_E2Ld9vLbqabIoGgxa21SkhBsaQ1AY",
		"an API key":                   "lsmk_XqkuBpsnLWoQ1_E2Ld9vLbqabIoGgxa21SkhBsaQ1AY",
		"a refresh token":              "lsmf_XqkuBpsnLWoQ1_E2Ld9vLbqabIoGgxa21SkhBsaQ1AYXqkuBpsnLWoQ1_E2Ld9vLbqabIoGgxa21SkhBsaQ1AY",
		"a mailed code":                "123456",
		"twice the good one":           good + good,
		"the good one, and another":    good + " " + good,
		"header of the good one alone": parts[0] + ".." + parts[2],
	}
	fresh, used := i.verifier(t, nil), i.verifier(t, nil)
	if _, err := used.Verify(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	if _, err := fresh.Verify(t.Context(), sign(key, head("one"), i.body(object{"nbf": now + 10, "jti": "3"}))); err != nil {
		t.Errorf("within the leeway: %v", err)
	}
	for name, forgery := range forged {
		for _, v := range []*token.Verifier{fresh, used} {
			began := time.Now()
			if c, err := v.Verify(t.Context(), forgery); !errors.Is(err, token.ErrInvalid) || c != nil {
				t.Errorf("%s: %+v, %v", name, c, err)
			}
			if took := time.Since(began); took > 2*time.Second {
				t.Errorf("%s: it took %v", name, took)
			}
		}
	}
	if _, err := used.Verify(t.Context(), good); err != nil {
		t.Error(err)
	}
	// Neither jku nor x5u was followed, and unknown names of keys are asked for once.
	if n := i.asked.Load(); n > 4 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

func TestAMillionDotsCostNothing(t *testing.T) {
	i := newIssuer(t)
	v := i.verifier(t, nil)
	dots := strings.Repeat(".", 1_000_000)
	if allocated := testing.AllocsPerRun(100, func() { _, _ = v.Verify(context.Background(), dots) }); allocated > 5 {
		t.Errorf("%v allocations", allocated)
	}
	began := time.Now()
	for range 1000 {
		_, _ = v.Verify(context.Background(), dots)
	}
	if took := time.Since(began); took > 100*time.Millisecond {
		t.Errorf("1,000 of them took %v", took)
	}
}

// TestKeysAreFollowed walks through a rotation and a revocation.
func TestKeysAreFollowed(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	one := i.key("one")
	v := i.verifier(t, nil)
	ok := func(what, signed string) {
		t.Helper()
		if _, err := v.Verify(t.Context(), signed); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused := func(what, signed string) {
		t.Helper()
		if _, err := v.Verify(t.Context(), signed); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	long := object{"exp": i.now().Unix() + 3600}
	first := sign(one, head("one"), i.body(long))
	ok("the first key", first)
	two := i.key("two")
	second := sign(two, head("two"), i.body(long))
	refused("a new key, a moment after the keys were asked for", second)
	i.advance(11 * time.Second)
	ok("a new key, unknown until now", second)
	ok("the old key", first)

	// The first one is revoked: it is honoured until the keys are asked for again.
	i.locked(func() { i.keys.Keys = i.keys.Keys[1:] })
	ok("a revoked key, not yet known", first)
	i.advance(6 * time.Minute)
	ok("the other key, while the keys are asked for", second)
	deadline := time.Now().Add(10 * time.Second)
	for {
		if _, err := v.Verify(t.Context(), first); errors.Is(err, token.ErrInvalid) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a revoked key is honoured")
		}
		time.Sleep(time.Millisecond)
	}
	ok("the other key", second)
}

// TestAFloodOfUnknownKeysIsOneRequest keeps who guesses names of keys from making the
// verifier ask for them.
func TestAFloodOfUnknownKeysIsOneRequest(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := i.key("one")
	v := i.verifier(t, nil)
	if _, err := v.Verify(t.Context(), sign(key, head("one"), i.body(nil))); err != nil {
		t.Fatal(err)
	}
	i.advance(time.Minute)
	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	var all sync.WaitGroup
	for n := range 200 {
		all.Go(func() {
			if _, err := v.Verify(t.Context(), sign(stranger, head(fmt.Sprint(n)), i.body(nil))); !errors.Is(err, token.ErrInvalid) {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := i.asked.Load(); n != 2 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// TestAnIssuerThatDoesNotAnswerIsDoneWithout goes on with the keys that are known, for
// an hour.
func TestAnIssuerThatDoesNotAnswerIsDoneWithout(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat(" ", 1<<20)
	for name, broke := range map[string]func(http.ResponseWriter, *http.Request){
		"an error":  func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusInternalServerError) },
		"no keys":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) },
		"no JSON":   func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `<html>`) },
		"too much":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[`+huge) },
		"elsewhere": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) },
		"other keys": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[{"kty":"oct","k":"AAAA","kid":"one"}]}`)
		},
		"hanging up":   func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a name twice": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, twoOfOneName) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := newIssuer(t)
			key := i.key("one")
			i.locked(func() { i.broke = broke })
			v := i.verifier(t, nil)
			if _, err := v.Verify(t.Context(), sign(key, head("one"), i.body(nil))); !errors.Is(err, token.ErrUnavailable) {
				t.Fatalf("before any key is known: %v", err)
			}
			i.locked(func() { i.broke = nil })
			i.advance(2 * time.Second)
			if _, err := v.Verify(t.Context(), sign(key, head("one"), i.body(nil))); err != nil {
				t.Fatalf("once it answers: %v", err)
			}
			i.locked(func() { i.broke = broke })
			for range 5 {
				i.advance(10 * time.Minute)
				if _, err := v.Verify(t.Context(), sign(key, head("one"), i.body(nil))); err != nil {
					t.Errorf("within the hour: %v", err)
				}
			}
			i.advance(20 * time.Minute)
			if _, err := v.Verify(t.Context(), sign(key, head("one"), i.body(nil))); !errors.Is(err, token.ErrUnavailable) {
				t.Errorf("after an hour: %v", err)
			}
		})
	}
}

var twoOfOneName = func() string {
	public, _, _ := ed25519.GenerateKey(rand.Reader)
	x := b64(public)
	return `{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"one","x":"` + x + `"},{"kty":"OKP","crv":"Ed25519","kid":"one","x":"` + x + `"}]}`
}()

func TestARememberedTokenExpires(t *testing.T) {
	t.Parallel()
	i := newIssuer(t)
	key := i.key("one")
	v := i.verifier(t, nil)
	signed := sign(key, head("one"), i.body(nil))
	for _, advance := range []time.Duration{0, 4 * time.Minute, time.Minute} {
		i.advance(advance)
		if _, err := v.Verify(t.Context(), signed); err != nil {
			t.Fatal(err)
		}
	}
	i.advance(31 * time.Second)
	if _, err := v.Verify(t.Context(), signed); !errors.Is(err, token.ErrInvalid) {
		t.Errorf("expired: %v", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for _, o := range []token.Options{
		{}, {Issuer: "https://a.example"}, {Audience: aud}, {Issuer: "http://a.example", Audience: aud},
		{Issuer: "https://a.example", KeysURL: "http://a.example/keys", Audience: aud}, {Issuer: "ftp://localhost", Audience: aud},
		{Issuer: "https://u:p@a.example", Audience: aud}, {Issuer: "accounts", Audience: aud},
	} {
		if _, err := token.New(o); err == nil {
			t.Errorf("%+v is taken", o)
		}
	}
	if _, err := token.New(token.Options{Issuer: "https://a.example", Audience: aud}); err != nil {
		t.Error(err)
	}
}
