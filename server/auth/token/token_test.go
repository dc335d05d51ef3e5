package token

import (
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store"
)

// vault is a database with keys.
type vault struct {
	mu    sync.Mutex
	keys  []store.SigningKey
	err   error
	clock *clock.Manual
	asked atomic.Int64
}

func (v *vault) SigningKeys(context.Context) ([]store.SigningKey, error) {
	v.asked.Add(1)
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.keys), v.err
}

func (v *vault) KeepSigningKeys(context.Context) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if store.CurrentKey(v.keys, v.clock.Now()) == nil {
		_, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			return err
		}
		now := v.clock.Now()
		v.keys = append(v.keys, store.SigningKey{ID: ids.New[ids.SigningKey](), Private: private, CreateTime: now, ActivateTime: now})
	}
	return v.err
}

func newIssuer() (*Issuer, *vault) {
	v := &vault{clock: new(clock.Manual)}
	return New(Options{Keys: v, Clock: v.clock, Issuer: "https://accounts.example.com", Audiences: []string{"api", "billing"}}), v
}

func grantAt(now time.Time) *store.Grant {
	return &store.Grant{
		User: ids.New[ids.User](), Session: ids.New[ids.Session](), Workspace: ids.New[ids.Workspace](), Audience: "api", ExpireTime: now.Add(time.Hour),
		Methods: []authz.Method{authz.ByPassword}, Role: authz.Member,
	}
}

func TestReferencesAreThoseOfRFC8176(t *testing.T) {
	for want, methods := range map[string][]authz.Method{
		"":            nil,
		"pwd":         {authz.ByPassword},
		"otp":         {authz.ByEmail},
		"otp pwd":     {authz.ByPassword, authz.ByEmail}, // mail is no second factor
		"mfa otp pwd": {authz.ByPassword, authz.ByTOTP},
		"mfa otp":     {authz.ByEmail, authz.ByRecoveryCode},
		"mfa pop":     {authz.ByPasskey},
		"mfa pop pwd": {authz.ByPasskey, authz.ByPassword},
		"fed":         {authz.ByExternal},
		"fed mfa otp": {authz.ByExternal, authz.ByTOTP},
	} {
		if got := strings.Join(references(methods), " "); got != want {
			t.Errorf("%v: %q, want %q", methods, got, want)
		}
	}
}

func TestAudiencesAreThoseOfTheSetting(t *testing.T) {
	i, _ := newIssuer()
	for asked, want := range map[string]string{"": "api", "api": "api", "billing": "billing"} {
		if got, err := i.Audience(asked); got != want || err != nil {
			t.Errorf("%q: %q, %v", asked, got, err)
		}
	}
	if _, err := i.Audience("other"); !fault.Has(err, fault.AudienceNotAllowed) {
		t.Error(err)
	}
}

// TestReadTakesNothingButItsOwn presents to the server itself what TestForgedTokens of
// client/token presents to other services.
func TestReadTakesNothingButItsOwn(t *testing.T) {
	i, v := newIssuer()
	g := grantAt(v.clock.Now())
	good, expires, err := i.Issue(t.Context(), g)
	if err != nil {
		t.Fatal(err)
	}
	known, err := i.Read(t.Context(), good)
	if err != nil || known == nil || known.User != g.User || known.Session != g.Session || known.Workspace != g.Workspace || known.Audience != "api" || !known.ExpireTime.Equal(expires) {
		t.Fatalf("%+v, %v", known, err)
	}
	b64 := base64.RawURLEncoding
	parts := strings.Split(good, ".")
	body, err := b64.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	private := v.keys[0].Private
	kid := v.keys[0].ID.String()
	sign := func(key ed25519.PrivateKey, change map[string]any, body string) string {
		h := map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kid}
		maps.Copy(h, change)
		head, err := json.Marshal(h)
		if err != nil {
			t.Fatal(err)
		}
		input := b64.EncodeToString(head) + "." + b64.EncodeToString([]byte(body))
		return input + "." + b64.EncodeToString(ed25519.Sign(key, []byte(input)))
	}
	_, stranger, _ := ed25519.GenerateKey(nil)
	mac := hmac.New(sha256.New, private.Public().(ed25519.PublicKey))
	input := b64.EncodeToString([]byte(`{"alg":"HS256","typ":"at+jwt","kid":"`+kid+`"}`)) + "." + parts[1]
	mac.Write([]byte(input))
	for name, forged := range map[string]string{
		"empty": "", "dots": "..", "many dots": strings.Repeat(".", 8000), "half": good[:len(good)/2], "altered": good[:len(good)-5] + "AAAAA",
		"none":             b64.EncodeToString([]byte(`{"alg":"none","typ":"at+jwt","kid":"`+kid+`"}`)) + "." + parts[1] + ".",
		"HS256":            input + "." + b64.EncodeToString(mac.Sum(nil)),
		"a stranger's":     sign(stranger, nil, string(body)),
		"an unknown kid":   sign(private, map[string]any{"kid": ids.New[ids.SigningKey]().String()}, string(body)),
		"typ":              sign(private, map[string]any{"typ": "JWT"}, string(body)),
		"jku":              sign(private, map[string]any{"jku": "https://evil.example"}, string(body)),
		"crit":             sign(private, map[string]any{"crit": []string{"x"}, "x": 1}, string(body)),
		"another issuer":   sign(private, nil, strings.Replace(string(body), "accounts.example.com", "evil.example", 1)),
		"another kind":     sign(private, nil, strings.Replace(string(body), "usr_", "ses_", 1)),
		"no session":       sign(private, nil, strings.Replace(string(body), `"sid"`, `"x"`, 1)),
		"a wsp_ that isnt": sign(private, nil, strings.Replace(string(body), `"wsp_`, `"wsp-`, 1)),
		"huge":             good + strings.Repeat("x", 10_000),
	} {
		if known, err := i.Read(t.Context(), forged); known != nil || err != nil {
			t.Errorf("%s: %+v, %v", name, known, err)
		}
	}
	v.clock.Advance(5*time.Minute + time.Second)
	if known, err := i.Read(t.Context(), good); known != nil || err != nil {
		t.Errorf("expired: %+v, %v", known, err)
	}
}

// TestTheKeysAreAskedForNowAndThen also lets a short failure of the database pass.
func TestTheKeysAreAskedForNowAndThen(t *testing.T) {
	i, v := newIssuer()
	g := grantAt(v.clock.Now())
	issue := func() error {
		_, _, err := i.Issue(t.Context(), g)
		return err
	}
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if err := issue(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := v.asked.Load(); n != 2 { // once before there was a key
		t.Errorf("asked %d times", n)
	}
	v.clock.Advance(ringAge)
	broken := errors.New("no database")
	v.mu.Lock()
	v.err = broken
	v.mu.Unlock()
	if err := issue(); err != nil {
		t.Errorf("for a moment without the database: %v", err)
	}
	v.clock.Advance(ringStale)
	if err := issue(); !errors.Is(err, broken) {
		t.Errorf("for a minute without the database: %v", err)
	}
	v.mu.Lock()
	v.err = store.ErrSigningKey
	v.mu.Unlock()
	if err := issue(); !errors.Is(err, store.ErrSigningKey) {
		t.Errorf("with a key that is not the server's: %v", err)
	}
}
