package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
)

const (
	// How long before its end an access token is given out no more.
	margin = 30 * time.Second
	// How long to wait for the answer to a refresh, and how long to ask again when it
	// is lost: less than the 30 seconds that a used refresh token works on.
	refreshTimeout  = 4 * time.Second
	refreshPatience = 27 * time.Second
	// A token that is refused when it is younger is not replaced: the next one would
	// be refused for the same reason.
	leastAge = 10 * time.Second
)

// AccessTokens gives access tokens, by which services of one's own know the caller
// (package client/token verifies them), and gets a new one by the refresh token when
// the last one is about to expire. It is safe for concurrent use; let there be one for
// each refresh token, since each of these is used once.
type AccessTokens struct {
	tokens authv1connect.TokenServiceClient
	store  func(ctx context.Context, refreshToken string) error

	// chain is held by whoever uses the refresh token.
	chain   sync.Mutex
	refresh string
	stored  bool
	ended   error

	mu      sync.Mutex
	access  string
	issued  time.Time
	until   time.Time
	running *refreshing
}

// refreshing is a refresh on its way, which all callers wait for.
type refreshing struct {
	done  chan struct{}
	token string
	err   error
}

// Token returns an access token that is valid for a while yet. Calls at the same time
// wait for one refresh, which goes on when the context of one of them ends.
//
// When the answer to a refresh is lost, it is asked for again by the same refresh token.
// Once Token fails for REASON_TOKEN_INVALID the refresh token has ended, with its
// session or because it was used twice, and every further call fails so: sign in again.
func (a *AccessTokens) Token(ctx context.Context) (string, error) {
	a.mu.Lock()
	if a.access != "" && time.Now().Before(a.until) {
		defer a.mu.Unlock()
		return a.access, nil
	}
	r := a.running
	if r == nil {
		r = &refreshing{done: make(chan struct{})}
		a.running = r
		go a.run(context.WithoutCancel(ctx), r)
	}
	a.mu.Unlock()
	select {
	case <-r.done:
		return r.token, r.err
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Forget lets the next call of Token get a new token in the place of this one, for
// example when a service refused it. Another one than the present one is forgotten already.
func (a *AccessTokens) Forget(token string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.access == token {
		a.access = ""
	}
}

// Revoke ends the refresh token, with all tokens that came of it; access tokens that
// were given out are valid until they expire.
func (a *AccessTokens) Revoke(ctx context.Context) error {
	a.chain.Lock()
	defer a.chain.Unlock()
	if _, err := a.tokens.RevokeToken(ctx, &authv1.RevokeTokenRequest{Token: a.refresh}); err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.access, a.running = "", nil
	return nil
}

// Transport sends an access token with each request to a service, named by its origin
// such as https://api.example.com; requests to others, as after a redirect, go without.
// Of a request that the service refuses by 401 another try is made with a new token.
// Below it is base, or http.DefaultTransport for nil. It serves clients of Connect and
// gRPC, too.
func (a *AccessTokens) Transport(origin string, base http.RoundTripper) http.RoundTripper {
	if base == nil {
		base = http.DefaultTransport
	}
	return transport{a, strings.TrimSuffix(origin, "/"), base}
}

func (a *AccessTokens) run(ctx context.Context, r *refreshing) {
	r.token, r.err = a.next(ctx)
	a.mu.Lock()
	if a.running == r {
		a.running = nil
	}
	a.mu.Unlock()
	close(r.done)
}

// next uses the refresh token. No access token is given out before the next refresh
// token is stored; when that fails, the next call stores it first.
func (a *AccessTokens) next(ctx context.Context) (string, error) {
	asked := time.Now()
	a.chain.Lock()
	defer a.chain.Unlock()
	if a.ended != nil {
		return "", a.ended
	}
	if err := a.save(ctx); err != nil {
		return "", err
	}
	answer, err := a.ask(ctx)
	if err != nil {
		if Reason(err) == faultv1.Reason_REASON_TOKEN_INVALID {
			a.ended = err
		}
		return "", err
	}
	a.refresh, a.stored = answer.RefreshToken, false
	if err := a.save(ctx); err != nil {
		return "", err
	}
	lifetime, err := lifetimeOf(answer.AccessToken)
	if err != nil {
		return "", err
	}
	// Still with the chain, or it would come back after Revoke.
	a.mu.Lock()
	defer a.mu.Unlock()
	a.access, a.issued, a.until = answer.AccessToken, asked, asked.Add(max(lifetime-margin, lifetime/2))
	return answer.AccessToken, nil
}

func (a *AccessTokens) save(ctx context.Context) error {
	if !a.stored {
		if err := a.store(ctx, a.refresh); err != nil {
			return err
		}
		a.stored = true
	}
	return nil
}

// ask repeats a refresh whose answer was lost.
func (a *AccessTokens) ask(ctx context.Context) (*authv1.RefreshAccessTokenResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, refreshPatience)
	defer cancel()
	for tried := 1; ; tried++ {
		once, cancel := context.WithTimeout(ctx, refreshTimeout)
		answer, err := a.tokens.RefreshAccessToken(once, &authv1.RefreshAccessTokenRequest{RefreshToken: a.refresh})
		cancel()
		lost := err != nil && (passing(ctx, err) || Reason(err) == faultv1.Reason_REASON_INTERNAL)
		if !lost || !rest(ctx, pause(tried, RetryAfter(err))) {
			return answer, err
		}
	}
}

// lifetimeOf returns for how long a token is valid, by what it says. The clock of this
// machine need not be right.
func lifetimeOf(token string) (time.Duration, error) {
	var claims struct {
		IssuedAt int64 `json:"iat"`
		Expiry   int64 `json:"exp"`
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return 0, errors.New("client: the server's access token is no JWT")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &claims)
	}
	return time.Duration(claims.Expiry-claims.IssuedAt) * time.Second, err
}

// refused reports whether another try is worth its while after a token was refused.
func (a *AccessTokens) refused(token string) bool {
	a.mu.Lock()
	if a.access == token && time.Since(a.issued) < leastAge {
		a.mu.Unlock()
		return false
	}
	a.mu.Unlock()
	a.Forget(token)
	return true
}

type transport struct {
	tokens *AccessTokens
	origin string
	base   http.RoundTripper
}

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if originOf(req.URL) != t.origin {
		return t.base.RoundTrip(req)
	}
	token, err := t.tokens.Token(req.Context())
	if err != nil {
		closeBody(req)
		return nil, err
	}
	res, err := t.base.RoundTrip(with(req, token))
	if err != nil || res.StatusCode != http.StatusUnauthorized || !replayable(req) || !t.tokens.refused(token) {
		return res, err
	}
	next, err := t.tokens.Token(req.Context())
	if err != nil {
		return res, nil // what the service says
	}
	again := with(req, next)
	if req.GetBody != nil {
		if again.Body, err = req.GetBody(); err != nil {
			return res, nil
		}
	}
	_ = res.Body.Close()
	return t.base.RoundTrip(again)
}

func originOf(u *url.URL) string { return u.Scheme + "://" + u.Host }

func with(req *http.Request, token string) *http.Request {
	own := req.Clone(req.Context())
	own.Header.Set("Authorization", "Bearer "+token)
	return own
}

func replayable(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}
