package bench

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	verifier "github.com/logicspike/manager/client/token"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server"
	issuer "github.com/logicspike/manager/server/auth/token"
	"github.com/logicspike/manager/store"
)

const (
	tokenRounds   = 15
	tokenDuration = 300 * time.Millisecond
	// mintedPerCore is how many tokens one core is to issue in a second.
	mintedPerCore = 15_000
)

// BenchmarkAccessToken compares issuing access tokens, on one core, with the signatures
// that they need and nothing else, and with the number that was agreed upon. The token
// of an owner for a workspace is the largest that there is.
func BenchmarkAccessToken(b *testing.B) {
	p := start(b, nil)
	permissions, _, err := server.Permissions()
	if err != nil {
		b.Fatal(err)
	}
	grant := &store.Grant{
		User: ids.New[ids.User](), Session: ids.New[ids.Session](), AuthTime: time.Now(), ExpireTime: time.Now().Add(time.Hour),
		Methods: []authz.Method{authz.ByPassword, authz.ByTOTP}, Audience: "https://api.example.com",
	}
	small := *grant
	grant.Workspace, grant.Role = ids.New[ids.Workspace](), authz.Owner
	for _, held := range permissions.All() {
		grant.Permissions = append(grant.Permissions, held.Name)
	}
	tokens := issuer.New(issuer.Options{
		Keys: p.store, Clock: clock.System{}, Issuer: publicURL, Audiences: []string{"https://api.example.com"},
	})
	issue := func(g *store.Grant) func() float64 {
		return func() float64 {
			return steadily(b, 1, tokenDuration, func(int) error {
				_, _, err := tokens.Issue(b.Context(), g)
				return err
			})
		}
	}
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	message := make([]byte, 500)
	bare := func() float64 {
		return steadily(b, 1, tokenDuration, func(int) error {
			ed25519.Sign(private, message)
			return nil
		})
	}
	for b.Loop() {
		turns := inTurns(tokenRounds, issue(&small), issue(grant), bare)
		b.StopTimer()
		report(b, result{name: "access token of an owner, one core", turn: turn{turns[1].measured, mintedPerCore}, unit: "tokens/s", least: 1})
		table = append(table,
			result{name: "  beside what signs it", turn: turns[1], unit: "tokens/s", what: "bare Ed25519 signature"},
			result{name: "  without a workspace", turn: turns[0], unit: "tokens/s", what: "bare Ed25519 signature"})
		b.StartTimer()
	}
}

// BenchmarkVerify compares a handler that does nothing, of another service that
// verifies access tokens, with the same handler of one that does not.
func BenchmarkVerify(b *testing.B) {
	p := start(b, nil)
	_, sessions := p.accounts(b, sessionCallers)
	verifying, err := verifier.New(verifier.Options{Issuer: publicURL, Audience: publicURL, KeysURL: "http://" + p.address + issuer.KeysPath})
	if err != nil {
		b.Fatal(err)
	}
	nothing := func(context.Context, *authv1.GetSessionRequest) (*authv1.GetSessionResponse, error) {
		return &authv1.GetSessionResponse{}, nil
	}
	const path = authv1connect.SessionServiceGetSessionProcedure
	mux := http.NewServeMux()
	mux.Handle("/guarded"+path, http.StripPrefix("/guarded", connect.NewUnaryHandlerSimple(path, nothing, connect.WithInterceptors(verifying.Interceptor()))))
	mux.Handle("/middleware"+path, http.StripPrefix("/middleware", verifying.Middleware(connect.NewUnaryHandlerSimple(path, nothing))))
	mux.Handle(path, connect.NewUnaryHandlerSimple(path, nothing))
	service := httptest.NewServer(mux)
	b.Cleanup(service.Close)
	address := service.Listener.Addr().String()
	manager := dial(b, p.address, sessionCallers)
	tokens := make([]string, sessionCallers)
	for i := range tokens {
		if err := manager[i].call(request(authv1connect.TokenServiceCreateAccessTokenProcedure, &authv1.CreateAccessTokenRequest{},
			"Authorization: Bearer "+sessions[i])); err != nil {
			b.Fatal(err)
		}
		var res authv1.CreateAccessTokenResponse
		if err := proto.Unmarshal(manager[i].body, &res); err != nil {
			b.Fatal(err)
		}
		tokens[i] = res.AccessToken
	}
	side := func(at string) func() float64 {
		connections := dial(b, address, sessionCallers)
		requests := make([][]byte, sessionCallers)
		for i := range requests {
			requests[i] = request(at, &authv1.GetSessionRequest{}, "Authorization: Bearer "+tokens[i])
		}
		return func() float64 {
			return steadily(b, sessionCallers, tokenDuration, func(caller int) error { return connections[caller].call(requests[caller]) })
		}
	}
	intercepted, wrapped, empty := side("/guarded"+path), side("/middleware"+path), side(path)
	for b.Loop() {
		turns := inTurns(tokenRounds, intercepted, wrapped, empty)
		b.StopTimer()
		report(b, result{name: "verifying access tokens, interceptor", turn: turns[0], unit: "calls/s", what: "empty handler", least: 0.38})
		table = append(table, result{name: "  middleware", turn: turns[1], unit: "calls/s", what: "empty handler", least: 0.38})
		b.StartTimer()
	}
}
