package e2e

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/logicspike/manager/client"
	"github.com/logicspike/manager/client/token"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// kids are the names of the published keys.
func kids(t testing.TB, srv *testkit.Server) []string {
	t.Helper()
	var set struct{ Keys []struct{ Kid string } }
	a := getPage(t, srv.URL+"/.well-known/jwks.json", nil)
	if err := json.Unmarshal(a.body, &set); err != nil {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	var list []string
	for _, k := range set.Keys {
		list = append(list, k.Kid)
	}
	return list
}

func kidOf(t testing.TB, signed string) string {
	t.Helper()
	head, _, _ := strings.Cut(signed, ".")
	data, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		t.Fatal(err)
	}
	var h struct{ Kid string }
	if err := json.Unmarshal(data, &h); err != nil {
		t.Fatal(err)
	}
	return h.Kid
}

// TestSigningKeysRotate goes through two rotations on two replicas: no token is ever
// signed by a key that was not published a day before, and all verify until they
// expire.
func TestSigningKeysRotate(t *testing.T) {
	t.Parallel()
	one := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) {
		s.PublicURL, s.EmailVerification = "https://accounts.example.com", config.VerifyAfter
	}})
	two := testkit.New(t, testkit.Options{URL: one.Database, Key: one.Key, Clock: one.Clock, WithoutJobs: true, Settings: func(s *config.Settings) {
		s.PublicURL, s.EmailVerification = "https://accounts.example.com", config.VerifyAfter
	}})
	p := newPerson(t, one)
	at := func(srv *testkit.Server) *testkit.Person {
		q := *p
		q.Client = srv.Client("", client.WithSession(p.Token))
		return &q
	}
	first := kidOf(t, accessToken(t, at(one), ""))
	known := kids(t, two)
	if len(known) != 2 || known[0] != first {
		t.Fatalf("the keys are %v, the first token's is %s", known, first)
	}
	seen := map[string]time.Time{first: one.Clock.Now().Add(-24 * time.Hour), known[1]: one.Clock.Now()}
	signers := []string{first}
	for range 65 { // days
		one.Clock.Advance(24 * time.Hour)
		old := accessToken(t, at(one), "")
		var all sync.WaitGroup
		for _, srv := range []*testkit.Server{one, two, one, two} {
			all.Go(func() {
				if err := srv.Store.KeepSigningKeys(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if list := kids(t, one); len(list) < 2 || len(list) > 3 {
			t.Fatalf("the keys are %v", list)
		}
		for _, srv := range []*testkit.Server{one, two} {
			for _, kid := range kids(t, srv) {
				if _, ok := seen[kid]; !ok {
					seen[kid] = one.Clock.Now()
				}
			}
			v := verifierOf(t, srv)
			signed := accessToken(t, at(srv), "")
			for _, token := range []string{old, signed} {
				if _, err := v.Verify(t.Context(), token); err != nil {
					t.Fatal(err)
				}
			}
			kid := kidOf(t, signed)
			if kid != signers[len(signers)-1] {
				signers = append(signers, kid)
			}
			if ahead := one.Clock.Now().Sub(seen[kid]); ahead < 24*time.Hour {
				t.Errorf("%s signs %v after it was published", kid, ahead)
			}
		}
		// Used now and then, the session lives on.
		if _, err := one.SQL.Exec(t.Context(), "UPDATE auth.sessions SET expire_time = expire_time + interval '1 day'"); err != nil {
			t.Fatal(err)
		}
	}
	if len(signers) != 3 {
		t.Errorf("in 65 days there were %d keys that signed", len(signers))
	}
	one.Clock.Advance(time.Hour)
	if err := one.Store.KeepSigningKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	if list := kids(t, one); slices.Contains(list, first) || len(list) != 2 {
		t.Errorf("the first key is published still: %v", list)
	}
	one.CheckInvariants(t)
}

// TestTwoReplicasRotateAtOnceToOneKey starts with no key at all.
func TestTwoReplicasRotateAtOnceToOneKey(t *testing.T) {
	t.Parallel()
	one := testkit.New(t, testkit.Options{WithoutJobs: true})
	two := testkit.New(t, testkit.Options{URL: one.Database, Key: one.Key, Clock: one.Clock, WithoutJobs: true})
	for range 3 {
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() {
				if err := []*testkit.Server{one, two}[i%2].Store.KeepSigningKeys(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		var current, next int
		now := one.Clock.Now()
		keys, err := one.Store.SigningKeys(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range keys {
			switch k.StateAt(now) {
			case store.KeyCurrent:
				current++
			case store.KeyNext:
				next++
			}
		}
		if current != 1 || next != 1 {
			t.Errorf("%d current keys, %d next", current, next)
		}
		one.Clock.Advance(30*24*time.Hour + time.Second)
	}
}

// TestARevokedKeySignsNothingAnyMore rotates in an emergency.
func TestARevokedKeySignsNothingAnyMore(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	v := verifierOf(t, srv)
	for _, revoke := range []store.Revocation{store.RevokeCurrent, store.RevokeAll} {
		old := accessToken(t, p, p.Workspace.Id)
		if _, err := v.Verify(t.Context(), old); err != nil {
			t.Fatal(err)
		}
		before := kids(t, srv)
		if err := srv.Store.RotateSigningKeys(t.Context(), revoke); err != nil {
			t.Fatal(err)
		}
		srv.Clock.Advance(11 * time.Second) // more than the server, and who verifies, keep keys without a look
		signed := accessToken(t, p, p.Workspace.Id)
		if kidOf(t, signed) == kidOf(t, old) {
			t.Error("a revoked key signs")
		}
		if after := kids(t, srv); slices.Contains(after, kidOf(t, old)) || slices.Contains(after, before[1]) != (revoke == store.RevokeCurrent) {
			t.Errorf("revocation %d: %v were published, now %v", revoke, before, after)
		}
		if _, err := v.Verify(t.Context(), signed); err != nil {
			t.Errorf("a token of the new key: %v", err)
		}
		if introspected(t, p, p.Workspace.Id, old).Active {
			t.Error("the server itself takes a token of a revoked key")
		}
		srv.Clock.Advance(time.Minute)
		fresh := verifierOf(t, srv)
		if _, err := fresh.Verify(t.Context(), old); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("who has just asked for the keys: %v", err)
		}
	}
	srv.CheckInvariants(t)
}

// TestASigningKeyOfAnotherServerKeyIsReported keeps anybody who can write to the
// database, and nothing more, from having a key of theirs published.
func TestASigningKeyOfAnotherServerKeyIsReported(t *testing.T) {
	t.Parallel()
	for name, sabotage := range map[string]string{
		"another public key":  "UPDATE auth.signing_keys SET public_key = decode(repeat('ab', 32), 'hex') WHERE activate_time > now()",
		"another private key": "UPDATE auth.signing_keys SET private_key = decode(repeat('ab', 60), 'hex')",
		"the name of another": "UPDATE auth.signing_keys SET id = gen_random_uuid()",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) { s.EmailVerification = config.VerifyAfter }})
			p := newPerson(t, srv)
			accessToken(t, p, "")
			if _, err := srv.SQL.Exec(t.Context(), sabotage); err != nil {
				t.Fatal(err)
			}
			srv.Clock.Advance(3 * time.Second)
			_, err := p.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{})
			tokenRefused(t, "a new token", err, faultv1.Reason_REASON_INTERNAL)
			if a := getPage(t, srv.URL+"/.well-known/jwks.json", nil); a.status != http.StatusServiceUnavailable || a.header.Get("Cache-Control") == "public, max-age=300" {
				t.Errorf("the keys: %d", a.status)
			}
			if err := srv.Store.KeepSigningKeys(t.Context()); !errors.Is(err, store.ErrSigningKey) {
				t.Errorf("KeepSigningKeys: %v", err)
			}
			if err := srv.Store.RotateSigningKeys(t.Context(), store.RevokeNone); !errors.Is(err, store.ErrSigningKey) {
				t.Errorf("RotateSigningKeys: %v", err)
			}
			if !strings.Contains(srv.Log.String(), store.ErrSigningKey.Error()) {
				t.Error("the log does not say so")
			}
		})
	}
}

// TestTheJobKeepsSigningKeys has nobody ask for a token.
func TestTheJobKeepsSigningKeys(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	testkit.Eventually(t, "the keys", func() bool {
		keys, err := srv.Store.SigningKeys(t.Context())
		return err == nil && len(keys) == 2
	})
}
