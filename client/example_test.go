package client_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/logicspike/manager/client"
	"github.com/logicspike/manager/client/token"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// What the examples call: a server with an account on it.
var (
	srv          *testkit.Server
	serverURL    string
	sessionToken string
)

const email, password = "ada@example.com", testkit.Password

func TestMain(m *testing.M) {
	testkit.Main(m, func(tb *testkit.ForMain) {
		srv = testkit.New(tb, testkit.Options{})
		serverURL, sessionToken = srv.URL, srv.RegisterAs(tb, email, "Analytical Engines").Token
	})
}

func ExampleNew() {
	ctx := context.Background()
	manager := client.New(serverURL, client.WithSession(sessionToken))
	me, err := manager.Users.GetMe(ctx, &identityv1.GetMeRequest{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(me.User.Email, me.User.EmailVerified)
	// Output: ada@example.com true
}

func ExampleClient_As() {
	ctx := context.Background()
	manager := client.New(serverURL)
	in, err := manager.Authentication.SignInWithPassword(ctx, &authv1.SignInWithPasswordRequest{Email: email, Password: password})
	if err != nil {
		fmt.Println(err)
		return
	}
	manager = manager.As(in.SessionToken)
	list, err := manager.Workspaces.ListWorkspaces(ctx, &tenantv1.ListWorkspacesRequest{})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, w := range list.Workspaces {
		fmt.Println(w.Workspace.Name, w.Role)
	}
	// Output: Analytical Engines owner
}

func ExampleWithAPIKey() {
	ctx := context.Background()
	admin := client.New(serverURL, client.WithSession(sessionToken))
	list, err := admin.Workspaces.ListWorkspaces(ctx, &tenantv1.ListWorkspacesRequest{})
	if err != nil {
		fmt.Println(err)
		return
	}
	workspace := list.Workspaces[0].Workspace.Id
	made, err := admin.APIKeys.CreateApiKey(ctx, &authv1.CreateApiKeyRequest{
		WorkspaceId: workspace, DisplayName: "Nightly report", Permissions: []string{"membership.get"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	// What the program does that has the key.
	program := client.New(serverURL, client.WithAPIKey(made.Token))
	members, err := program.Memberships.ListMemberships(ctx, &teamv1.ListMembershipsRequest{WorkspaceId: workspace})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(len(members.Memberships), "member")
	_, err = program.Workspaces.UpdateWorkspace(ctx, &tenantv1.UpdateWorkspaceRequest{WorkspaceId: workspace, Name: "Mine"})
	fmt.Println(client.Reason(err))
	// Output:
	// 1 member
	// REASON_PERMISSION_MISSING
}

func ExampleReason() {
	ctx := context.Background()
	manager := client.New(serverURL)
	_, err := manager.Authentication.SignInWithPassword(ctx, &authv1.SignInWithPasswordRequest{Email: email, Password: "not the password"})
	switch client.Reason(err) {
	case faultv1.Reason_REASON_CREDENTIALS_INVALID:
		fmt.Println("try again")
	case faultv1.Reason_REASON_RATE_LIMITED:
		fmt.Println("try again in", client.RetryAfter(err))
	}
	// Output: try again
}

func ExampleInvalidFields() {
	manager := client.New(serverURL)
	_, err := manager.Registration.Register(context.Background(), &authv1.RegisterRequest{
		Email: "nobody", Password: password, WorkspaceName: "Acme",
	})
	fmt.Println(client.InvalidFields(err))
	// Output: map[email:is not an e-mail address]
}

func ExampleWithGRPC() {
	manager := client.New(serverURL, client.WithGRPC(), client.WithSession(sessionToken))
	session, err := manager.Sessions.GetSession(context.Background(), &authv1.GetSessionRequest{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(session.Session.Current)
	// Output: true
}

func ExampleWithRefresh() {
	ctx := context.Background()
	// A program of somebody's gets a refresh token once, with their session,
	person := client.New(serverURL, client.WithSession(sessionToken))
	made, err := person.Tokens.CreateRefreshToken(ctx, &authv1.CreateRefreshTokenRequest{})
	if err != nil {
		fmt.Println(err)
		return
	}

	// and from then on has access tokens by it, for a service that verifies them.
	manager := client.New(serverURL, client.WithRefresh(made.RefreshToken, func(_ context.Context, next string) error {
		return nil // keep it in the place of the one before
	}))
	verifier, err := token.New(token.Options{Issuer: serverURL, Audience: serverURL})
	if err != nil {
		fmt.Println(err)
		return
	}
	service := httptest.NewServer(verifier.Middleware(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println("called by a user:", token.From(r.Context()).UserID != "")
	})))
	defer service.Close()

	api := &http.Client{Transport: manager.AccessTokens.Transport(service.URL, nil)}
	res, err := api.Get(service.URL)
	if err != nil {
		fmt.Println(err)
		return
	}
	_ = res.Body.Close()
	// Output: called by a user: true
}
