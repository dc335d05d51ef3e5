package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	"github.com/logicspike/manager/client/token"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// keychain is where a program keeps its refresh token.
type keychain struct {
	mu     sync.Mutex
	stored []string
	full   error
}

func (k *keychain) store(_ context.Context, refreshToken string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.full == nil {
		k.stored = append(k.stored, refreshToken)
	}
	return k.full
}

func refreshTokenOf(t *testing.T, p *testkit.Person) string {
	t.Helper()
	made, err := p.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{WorkspaceId: p.Workspace.Id})
	if err != nil {
		t.Fatal(err)
	}
	srv.Secret(made.RefreshToken)
	return made.RefreshToken
}

// TestFiftyWhoNeedAnAccessTokenWaitForOneRefresh shows also that the next refresh token is
// stored before an access token is given out.
func TestFiftyWhoNeedAnAccessTokenWaitForOneRefresh(t *testing.T) {
	t.Parallel()
	p := srv.Register(t)
	n := newNetwork(t, srv.URL)
	first := refreshTokenOf(t, p)
	var kept keychain
	manager := client.New(n.URL, client.WithRefresh(first, kept.store))
	verifier, err := token.New(token.Options{Issuer: srv.URL, Audience: srv.URL})
	if err != nil {
		t.Fatal(err)
	}

	last := ""
	for round := 1; round <= 3; round++ {
		var mu sync.Mutex
		given := map[string]bool{}
		var calls sync.WaitGroup
		for range 50 {
			calls.Go(func() {
				got, err := manager.As("").AccessTokens.Token(t.Context())
				mu.Lock()
				defer mu.Unlock()
				given[got] = true
				if err != nil || len(kept.stored) != round {
					t.Errorf("the token came with %v, when %d were stored", err, len(kept.stored))
				}
			})
		}
		calls.Wait()
		if len(given) != 1 || given[last] || len(n.times("RefreshAccessToken")) != round {
			t.Fatalf("in round %d there were %d tokens, by %d refreshes", round, len(given), len(n.times("RefreshAccessToken")))
		}
		for last = range given {
		}
		claims, err := verifier.Verify(t.Context(), last)
		if err != nil || claims.UserID != p.User.Id || claims.WorkspaceID != p.Workspace.Id {
			t.Fatalf("the token is not accepted: %+v, %v", claims, err)
		}
		manager.AccessTokens.Forget("another")
		if again, err := manager.AccessTokens.Token(t.Context()); again != last {
			t.Errorf("it was not kept: %v", err)
		}
		manager.AccessTokens.Forget(last)
	}

	// What was stored last goes on in another process.
	manager = client.New(n.URL, client.WithRefresh(kept.stored[2], nil))
	if _, err := manager.AccessTokens.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if all := append(kept.stored, first); len(slices.Compact(slices.Sorted(slices.Values(all)))) != 4 {
		t.Error("a refresh token came twice")
	}
}

// TestARefreshWhoseAnswerIsLostIsRepeated loses answers after the refresh token was used.
func TestARefreshWhoseAnswerIsLostIsRepeated(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, srv.URL)
	manager := client.New(n.URL, client.WithRefresh(refreshTokenOf(t, srv.Register(t)), nil))
	for round := range 3 {
		n.fail("RefreshAccessToken", lost, never, gateway, cut)
		got, err := manager.AccessTokens.Token(t.Context())
		if err != nil || len(n.times("RefreshAccessToken")) != 5 {
			t.Fatalf("in round %d, after %d tries: %v", round, len(n.times("RefreshAccessToken")), err)
		}
		manager.AccessTokens.Forget(got)
	}
}

// TestARefreshIsNotCanceledByOneWhoWaits ends the context of who asked first.
func TestARefreshIsNotCanceledByOneWhoWaits(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, srv.URL)
	manager := client.New(n.URL, client.WithRefresh(refreshTokenOf(t, srv.Register(t)), nil))
	sent, held := make(chan struct{}), make(chan struct{})
	n.fail("RefreshAccessToken", func(w http.ResponseWriter, r *http.Request, forward http.Handler) {
		close(sent)
		<-held
		forward.ServeHTTP(w, r)
	})
	ctx, cancel := context.WithCancel(t.Context())
	impatient := make(chan error)
	go func() { _, err := manager.AccessTokens.Token(ctx); impatient <- err }()
	<-sent
	patient := make(chan error)
	go func() { _, err := manager.AccessTokens.Token(t.Context()); patient <- err }()
	cancel()
	if err := <-impatient; !errors.Is(err, context.Canceled) {
		t.Errorf("who does not wait any more got %v", err)
	}
	close(held)
	if err := <-patient; err != nil {
		t.Errorf("who waits got %v", err)
	}
	if count := len(n.times("RefreshAccessToken")); count != 1 {
		t.Errorf("there were %d refreshes, want 1", count)
	}
}

// TestARefreshTokenThatCouldNotBeStoredIsNotLost fails to store the next refresh token:
// the one before is used, so what must not happen is that it is used again.
func TestARefreshTokenThatCouldNotBeStoredIsNotLost(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, srv.URL)
	kept := keychain{full: errors.New("the disk is full")}
	manager := client.New(n.URL, client.WithRefresh(refreshTokenOf(t, srv.Register(t)), kept.store))
	for range 2 {
		if _, err := manager.AccessTokens.Token(t.Context()); !errors.Is(err, kept.full) {
			t.Fatalf("the call failed with %v", err)
		}
	}
	if count := len(n.times("RefreshAccessToken")); count != 1 {
		t.Errorf("there were %d refreshes, want 1", count)
	}
	kept.full = nil
	if _, err := manager.AccessTokens.Token(t.Context()); err != nil || len(kept.stored) != 2 {
		t.Errorf("with room again the call failed with %v, and %d tokens were stored", err, len(kept.stored))
	}
}

// TestARefusedRefreshEndsTheTokens ends the session, and the refresh token itself.
func TestARefusedRefreshEndsTheTokens(t *testing.T) {
	t.Parallel()
	p := srv.Register(t)
	n := newNetwork(t, srv.URL)
	ended := func(manager *client.Client) {
		t.Helper()
		n.fail("RefreshAccessToken")
		for range 3 {
			if got, err := manager.AccessTokens.Token(t.Context()); client.Reason(err) != faultv1.Reason_REASON_TOKEN_INVALID {
				t.Fatalf("there is the token %q, and the error %v", got, err)
			}
		}
		if count := len(n.times("RefreshAccessToken")); count != 1 {
			t.Errorf("the server was asked %d times, want once", count)
		}
	}

	manager := client.New(n.URL, client.WithRefresh(refreshTokenOf(t, p), nil))
	if _, err := manager.AccessTokens.Token(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := manager.AccessTokens.Revoke(t.Context()); err != nil {
		t.Fatal(err)
	}
	ended(manager)

	manager = client.New(n.URL, client.WithRefresh(refreshTokenOf(t, p), nil))
	if _, err := p.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{}); err != nil {
		t.Fatal(err)
	}
	ended(manager)
}

// TestTheTransportSendsTokensToItsServiceAlone calls services of one's own: with what they
// accept, and with what they do not.
func TestTheTransportSendsTokensToItsServiceAlone(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, srv.URL)
	manager := client.New(n.URL, client.WithRefresh(refreshTokenOf(t, srv.Register(t)), nil))

	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "authorization: "+r.Header.Get("Authorization"))
	}))
	defer stranger.Close()
	var accepted string // the token; "" for every one
	var seen []string
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		seen = append(seen, bearer)
		switch {
		case r.URL.Path == "/elsewhere":
			http.Redirect(w, r, stranger.URL, http.StatusTemporaryRedirect)
		case accepted != "" && bearer != accepted:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			fmt.Fprintf(w, "%t %s", strings.Count(bearer, ".") == 2, body)
		}
	}))
	defer service.Close()
	api := &http.Client{Transport: manager.AccessTokens.Transport(service.URL+"/", nil)}
	post := func(url, want string) {
		t.Helper()
		res, err := api.Post(url, "text/plain", strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if body, _ := io.ReadAll(res.Body); fmt.Sprintf("%d %s", res.StatusCode, body) != want {
			t.Errorf("the answer is %d %s, want %s", res.StatusCode, body, want)
		}
	}

	post(service.URL, "200 true hello")
	post(service.URL+"/elsewhere", "200 authorization: ")
	post(stranger.URL, "200 authorization: ")

	// A new token would not help a service that refuses the one of a moment ago.
	accepted, seen = "none", nil
	post(service.URL, "401 ")
	if len(seen) != 1 || len(n.times("RefreshAccessToken")) != 1 {
		t.Errorf("it was asked %d times, by %d refreshes", len(seen), len(n.times("RefreshAccessToken")))
	}

	// Without a token nothing is sent.
	accepted, seen = "", nil
	if err := manager.AccessTokens.Revoke(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := api.Get(service.URL); client.Reason(err) != faultv1.Reason_REASON_TOKEN_INVALID || len(seen) != 0 {
		t.Errorf("without a token %d requests were sent: %v", len(seen), err)
	}
}

// TestAccessTokensAreNotForTheServerItself keeps what the documentation says.
func TestAccessTokensAreNotForTheServerItself(t *testing.T) {
	t.Parallel()
	p := srv.Register(t)
	manager := client.New(srv.URL, client.WithRefresh(refreshTokenOf(t, p), nil), client.WithSession(p.Token))
	if _, err := manager.Sessions.GetSession(t.Context(), nil); err != nil {
		t.Errorf("with a session beside: %v", err)
	}
	access, err := manager.AccessTokens.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := manager.As(access).Sessions.GetSession(t.Context(), nil); connect.CodeOf(err) != connect.CodeUnauthenticated {
		t.Errorf("with an access token: %v", err)
	}
	if client.New(srv.URL).AccessTokens != nil {
		t.Error("there are access tokens without a refresh token")
	}
}
