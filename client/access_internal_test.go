package client

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
)

// TestARefusedTokenIsReplacedOnce has a service refuse a token that was good a while ago.
func TestARefusedTokenIsReplacedOnce(t *testing.T) {
	t.Parallel()
	var seen []string
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		if len(seen) == 1 {
			w.WriteHeader(http.StatusUnauthorized)
		}
	}))
	defer service.Close()
	next := &refreshing{done: make(chan struct{}), token: "new"}
	close(next.done)
	tokens := &AccessTokens{access: "old", issued: time.Now().Add(-time.Minute), until: time.Now().Add(time.Minute), running: next}
	api := &http.Client{Transport: tokens.Transport(service.URL, nil)}
	res, err := api.Post(service.URL, "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK || strings.Join(seen, ", ") != "Bearer old, Bearer new" {
		t.Errorf("the answer is %d, and the service saw %q", res.StatusCode, seen)
	}
}

// TestATokenIsRenewedBeforeItExpires counts from when it was asked for, by what it says of
// its lifetime and not of the time.
func TestATokenIsRenewedBeforeItExpires(t *testing.T) {
	t.Parallel()
	// {"iat":1000,"exp":1300}
	lifetime, err := lifetimeOf("e30.eyJpYXQiOjEwMDAsImV4cCI6MTMwMH0.AA")
	if err != nil || lifetime != 5*time.Minute {
		t.Errorf("it lives for %v, %v", lifetime, err)
	}
	for _, broken := range []string{"", "lsmf_1", "e30.!.AA", "e30.e30", "e30.W10.AA"} {
		if _, err := lifetimeOf(broken); err == nil {
			t.Errorf("%q is taken for a token", broken)
		}
	}
}

// TestARevokedTokenIsNotGivenOut revokes tokens while one is on its way.
func TestARevokedTokenIsNotGivenOut(t *testing.T) {
	t.Parallel()
	for range 2000 {
		server := &revocable{}
		tokens := &AccessTokens{tokens: server, stored: true, store: func(context.Context, string) error { return nil }}
		begun := make(chan struct{})
		go func() {
			close(begun)
			_, _ = tokens.Token(t.Context())
		}()
		<-begun
		if err := tokens.Revoke(t.Context()); err != nil {
			t.Fatal(err)
		}
		if token, err := tokens.Token(t.Context()); err == nil {
			t.Fatalf("it was revoked, and gives %q", token)
		}
	}
}

// revocable gives access tokens until it is told to revoke.
type revocable struct {
	authv1connect.TokenServiceClient

	revoked atomic.Bool
}

func (r *revocable) RefreshAccessToken(context.Context, *authv1.RefreshAccessTokenRequest) (*authv1.RefreshAccessTokenResponse, error) {
	if r.revoked.Load() {
		return nil, connect.NewError(connect.CodeUnauthenticated, nil)
	}
	return &authv1.RefreshAccessTokenResponse{AccessToken: "e30.eyJpYXQiOjEwMDAsImV4cCI6MTMwMH0.AA", RefreshToken: "next"}, nil
}

func (r *revocable) RevokeToken(context.Context, *authv1.RevokeTokenRequest) (*authv1.RevokeTokenResponse, error) {
	r.revoked.Store(true)
	return &authv1.RevokeTokenResponse{}, nil
}
