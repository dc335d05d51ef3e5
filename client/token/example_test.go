package token_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	"github.com/logicspike/manager/client/token"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// What the examples use: a server, and an access token of somebody who owns a
// workspace on it.
var accountsURL, sessionToken, workspaceID string

func TestMain(m *testing.M) {
	testkit.Main(m, func(tb *testkit.ForMain) {
		srv := testkit.New(tb, testkit.Options{})
		p := srv.RegisterAs(tb, "ada@example.com", "Analytical Engines")
		accountsURL, sessionToken, workspaceID = srv.URL, p.Token, p.Workspace.Id
	})
}

// A service lets in who has an access token of the server. Whoever calls it gets one
// from the server, with their session, and sends it along.
func Example() {
	// The service. By default the server issues tokens for its own public URL; give it
	// the names of your services by the setting token-audiences.
	verifier, err := token.New(token.Options{Issuer: accountsURL, Audience: accountsURL})
	if err != nil {
		fmt.Println(err)
		return
	}
	service := httptest.NewServer(verifier.Middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims := token.From(r.Context())
		fmt.Fprintln(w, claims.UserID != "", claims.Role, claims.Holds("workspace.update"))
	})))
	defer service.Close()

	// Who calls it.
	manager := client.New(accountsURL, client.WithSession(sessionToken))
	issued, err := manager.Tokens.CreateAccessToken(context.Background(), &authv1.CreateAccessTokenRequest{WorkspaceId: workspaceID})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, authorization := range []string{"", "Bearer " + issued.AccessToken, "Bearer " + sessionToken} {
		req, _ := http.NewRequest(http.MethodGet, service.URL, nil)
		req.Header.Set("Authorization", authorization)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		body, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		fmt.Print(res.StatusCode, " ", string(body))
	}
	// Output:
	// 401 a valid access token is required
	// 200 true owner true
	// 401 a valid access token is required
}

// Only who holds a permission in the workspace of their token is served.
func ExampleRequire() {
	verifier, err := token.New(token.Options{Issuer: accountsURL, Audience: accountsURL})
	if err != nil {
		fmt.Println(err)
		return
	}
	mux := http.NewServeMux()
	mux.Handle("POST /invoices", token.Require("workspace.update")(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = token.From(r.Context()).WorkspaceID // whose invoices they are
	})))
	_ = http.Server{Addr: ":8081", Handler: verifier.Middleware(mux)}
}

// A Connect service is guarded by the interceptor, and each of its methods asks for
// what it needs in the workspace that its request names.
func ExampleVerifier_Interceptor() {
	verifier, err := token.New(token.Options{Issuer: accountsURL, Audience: accountsURL})
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = connect.WithInterceptors(verifier.Interceptor()) // an option of the service's handler

	updateInvoice := func(ctx context.Context, workspaceID string) error {
		return token.Check(ctx, workspaceID, "workspace.update")
	}
	fmt.Println(connect.CodeOf(updateInvoice(context.Background(), workspaceID)))
	// Output: unauthenticated
}
