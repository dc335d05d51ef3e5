package rpc_test

import (
	"context"
	"errors"
	"net/http"
	"testing"

	"connectrpc.com/connect"

	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	"github.com/logicspike/manager/gen/go/logicspike/audit/v1/auditv1connect"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/gen/go/logicspike/team/v1/teamv1connect"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/gen/go/logicspike/tenant/v1/tenantv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/rpc"
)

// keyring knows one key.
type keyring struct {
	key   *authz.Key
	err   error
	asked int
}

const keyToken = "lsmk_0123456789abcdef"

func (k *keyring) AuthenticateKey(_ context.Context, token string) (*authz.Key, error) {
	k.asked++
	if k.err != nil {
		return nil, k.err
	}
	if token != keyToken {
		return nil, fault.New(fault.Unauthenticated, fault.SessionRequired, "told apart")
	}
	return k.key, nil
}

func TestAnAPIKeyCallsWhatItsRuleAllows(t *testing.T) {
	own := ids.New[ids.Workspace]()
	ring := &keyring{key: &authz.Key{ID: ids.New[ids.APIKey](), Workspace: own, User: ids.New[ids.User](), Permissions: []string{"workspace.get"}}}
	w := newWorld(t, func(o *rpc.Options) { o.Keys = ring })
	w.members[own] = authz.Membership{Role: authz.Owner}
	workspaces := tenantv1connect.NewWorkspaceServiceClient(http.DefaultClient, w.url)
	get := func(ctx context.Context, workspace string) error {
		res, err := workspaces.GetWorkspace(ctx, &tenantv1.GetWorkspaceRequest{WorkspaceId: workspace})
		if err == nil && res.Workspace.Name != string(authz.KeyRole) {
			t.Errorf("the key acts as %q", res.Workspace.Name)
		}
		return err
	}
	byKey := func() context.Context { return signedIn("Authorization", "Bearer "+keyToken) }
	for name, c := range map[string]struct {
		call   func() error
		code   connect.Code
		reason fault.Reason
		asked  int // of the keyring
	}{
		"its own workspace": {func() error { return get(byKey(), own.String()) }, 0, "", 1},
		"in small letters":  {func() error { return get(signedIn("Authorization", "bearer "+keyToken), own.String()) }, 0, "", 1},
		"another workspace": {func() error { return get(byKey(), ids.New[ids.Workspace]().String()) }, connect.CodeNotFound, fault.Missing, 1},
		"no workspace's id": {func() error { return get(byKey(), "wsp_x") }, connect.CodeInvalidArgument, fault.FieldInvalid, 1},
		"another key":       {func() error { return get(signedIn("Authorization", "Bearer "+keyToken+"0"), own.String()) }, connect.CodeUnauthenticated, fault.SessionRequired, 1},
		"as a cookie":       {func() error { return get(signedIn("Cookie", authz.CookieName+"="+keyToken), own.String()) }, connect.CodeUnauthenticated, fault.SessionRequired, 0},
		"with a live cookie": {func() error {
			return get(signedIn("Authorization", "Bearer lsmk_x", "Cookie", authz.CookieName+"="+token), own.String())
		}, connect.CodeUnauthenticated, fault.SessionRequired, 1},
		"another permission": {func() error {
			_, err := workspaces.UpdateWorkspace(byKey(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: own.String(), Name: "x"})
			return err
		}, connect.CodePermissionDenied, fault.PermissionMissing, 1},
		"a recent sign-in": {func() error {
			_, err := workspaces.PurgeWorkspace(byKey(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: own.String(), Etag: "x"})
			return err
		}, connect.CodePermissionDenied, fault.APIKeyNotAllowed, 1},
		"its own account": {func() error {
			_, err := authv1connect.NewSessionServiceClient(http.DefaultClient, w.url).GetSession(byKey(), &authv1.GetSessionRequest{})
			return err
		}, connect.CodePermissionDenied, fault.APIKeyNotAllowed, 1},
		"its own log": {func() error {
			_, err := auditv1connect.NewEventServiceClient(http.DefaultClient, w.url).ListEvents(byKey(), &auditv1.ListEventsRequest{})
			return err
		}, connect.CodePermissionDenied, fault.APIKeyNotAllowed, 1},
		"a public method": {func() error {
			_, err := authv1connect.NewAuthenticationServiceClient(http.DefaultClient, w.url).SignInWithPassword(byKey(), &authv1.SignInWithPasswordRequest{
				Email: "ann@example.com", Password: "x",
			})
			return err
		}, 0, "", 0},
		"a public method that looks at sessions": {func() error {
			res, err := teamv1connect.NewInvitationServiceClient(http.DefaultClient, w.url).GetInvitationByToken(byKey(), &teamv1.GetInvitationByTokenRequest{Token: "lsmi_x"})
			if err == nil && res.MaskedEmail != "" {
				t.Error("a key is taken for a session")
			}
			return err
		}, 0, "", 0},
	} {
		before, lookups := ring.asked, w.lookups.Load()
		err := c.call()
		if c.code == 0 {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else if err == nil {
			t.Errorf("%s: allowed", name)
		} else if r := refusalOf(t, err); r.code != c.code || r.reason != string(c.reason) {
			t.Errorf("%s: %v %s, want %v %s", name, r.code, r.reason, c.code, c.reason)
		}
		if ring.asked-before != c.asked {
			t.Errorf("%s: %d keys were looked up, want %d", name, ring.asked-before, c.asked)
		}
		if sessions := w.lookups.Load() - lookups; sessions != 0 && name != "as a cookie" {
			t.Errorf("%s: %d sessions were looked up", name, sessions)
		}
	}

	ring.err = fault.New(fault.Unavailable, fault.DatabaseUnavailable, "gone").WithCause(errors.New("cause"))
	if r := refusalOf(t, get(byKey(), own.String())); r.code != connect.CodeUnavailable {
		t.Errorf("without a database: %v", r)
	}
	for _, line := range w.lines() {
		if line["procedure"] == tenantv1connect.WorkspaceServiceGetWorkspaceProcedure && line["code"] == "ok" &&
			(line["api_key_id"] != ring.key.ID.String() || line["user_id"] != ring.key.User.String()) {
			t.Errorf("the log does not say who called: %v", line)
		}
	}
}

func TestWithoutKeysThereAreNone(t *testing.T) {
	w := newWorld(t, nil)
	_, err := tenantv1connect.NewWorkspaceServiceClient(http.DefaultClient, w.url).GetWorkspace(
		signedIn("Authorization", "Bearer "+keyToken), &tenantv1.GetWorkspaceRequest{WorkspaceId: ids.New[ids.Workspace]().String()})
	if r := refusalOf(t, err); r.code != connect.CodeUnauthenticated || r.reason != string(fault.SessionRequired) {
		t.Errorf("%v", err)
	}
}
