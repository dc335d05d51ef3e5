package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
)

// introspected asks about a token.
func introspected(t testing.TB, p *testkit.Person, workspace, token string) *authv1.IntrospectTokenResponse {
	t.Helper()
	res, err := p.Tokens.IntrospectToken(t.Context(), &authv1.IntrospectTokenRequest{WorkspaceId: workspace, Token: token})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// addKey stores an API key, and returns its token.
func addKey(t testing.TB, srv *testkit.Server, workspace string, user *testkit.Person, permissions ...string) string {
	t.Helper()
	key := secret.NewChecked("lsmk_")
	hash := secret.HashOf("api key", key)
	w := uuidOf(t, workspace)
	var userID, account any
	if user != nil {
		userID = uuidOf(t, user.User.Id)
	} else {
		a := ids.New[ids.ServiceAccount]().UUID()
		account = a
		if _, err := srv.SQL.Exec(t.Context(), "INSERT INTO auth.service_accounts (id, workspace_id, display_name, name_key, create_time, update_time) VALUES ($1, $2, $3, $3, now(), now())",
			a, w, a.String()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := srv.SQL.Exec(t.Context(), `
		INSERT INTO auth.api_keys (id, workspace_id, user_id, service_account_id, display_name, permissions, token_hash, hint, create_time, expire_time)
		VALUES ($1, $2, $3, $4, 'key', $5, $6, 'x', $7, $8)`,
		ids.New[ids.APIKey]().UUID(), w, userID, account, permissions, hash[:], srv.Clock.Now(), srv.Clock.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	return key
}

func TestIntrospectionTellsOfTheWorkspacesOwnTokensOnly(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	owner, member, other := srv.Register(t), srv.Register(t), srv.Register(t)
	w := owner.Workspace.Id
	m := srv.Join(t, member, w, authz.Member)
	access, refreshing := accessToken(t, member, w), refreshToken(t, member, w)
	key, service := addKey(t, srv, w, member, "membership.get", "workspace.delete"), addKey(t, srv, w, nil, "role.list", "workspace.delete", "nothing.real")

	viewer := introspected(t, owner, w, access)
	if !viewer.Active || viewer.Kind != authv1.TokenKind_TOKEN_KIND_ACCESS || viewer.UserId != member.User.Id || viewer.Audience != srv.URL ||
		viewer.ExpireTime == nil || !slices.Contains(viewer.Permissions, "membership.get") {
		t.Errorf("an access token: %v", viewer)
	}
	if r := introspected(t, owner, w, refreshing); !r.Active || r.Kind != authv1.TokenKind_TOKEN_KIND_REFRESH || r.UserId != member.User.Id ||
		r.ExpireTime.AsTime() != member.Session.ExpireTime.AsTime() || r.Audience != srv.URL || !slices.Equal(r.Permissions, viewer.Permissions) {
		t.Errorf("a refresh token: %v", r)
	}
	if r := introspected(t, owner, w, key); !r.Active || r.Kind != authv1.TokenKind_TOKEN_KIND_API_KEY || r.UserId != member.User.Id || r.ServiceAccountId != "" ||
		!slices.Equal(r.Permissions, []string{"membership.get"}) || r.Audience != "" || r.ExpireTime == nil {
		t.Errorf("a user's API key: %v", r)
	}
	if r := introspected(t, owner, w, service); !r.Active || r.UserId != "" || !strings.HasPrefix(r.ServiceAccountId, "sva_") || !slices.Equal(r.Permissions, []string{"role.list"}) {
		t.Errorf("a service account's API key: %v", r)
	}

	nothing := func(what, workspace string, by *testkit.Person, token string) {
		t.Helper()
		if r := introspected(t, by, workspace, token); !cmp.Equal(r.String(), (&authv1.IntrospectTokenResponse{}).String()) {
			t.Errorf("%s: %v", what, r)
		}
	}
	for name, token := range map[string]string{"access": access, "refresh": refreshing, "key": key, "service": service} {
		nothing(name+" of another workspace", other.Workspace.Id, other, token)
	}
	nothing("without a workspace", w, owner, accessToken(t, member, ""))
	nothing("a refresh token without a workspace", w, owner, refreshToken(t, member, ""))
	nothing("a session's", w, owner, member.Token)
	nothing("altered", w, owner, access[:len(access)-4]+"AAAA")
	nothing("a wrong key", w, owner, secret.NewChecked("lsmk_"))
	nothing("a wrong secret of the line", w, owner, refreshing[:48]+secret.NewToken(""))
	nothing("8,000 dots", w, owner, strings.Repeat(".", 8000))
	if r := introspected(t, owner, w, refreshing); !r.Active {
		t.Error("to ask about a token has ended it")
	}

	// As it is now.
	if _, err := owner.Memberships.UpdateMembership(t.Context(), &teamv1.UpdateMembershipRequest{WorkspaceId: w, MembershipId: m.String(), Role: "viewer"}); err != nil {
		t.Fatal(err)
	}
	if r := introspected(t, owner, w, access); len(r.Permissions) >= len(viewer.Permissions) {
		t.Errorf("the permissions of a former role: %v", r.Permissions)
	}
	used := refreshing
	refreshing = mustRefresh(t, srv, used).RefreshToken
	if r := introspected(t, owner, w, used); !r.Active { // gives the same successor again
		t.Error("a token used just now")
	}
	mustRefresh(t, srv, refreshing)
	nothing("a used refresh token", w, owner, used)
	if _, err := member.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{}); err != nil {
		t.Fatal(err)
	}
	nothing("an access token of a session that has ended", w, owner, access)
	if r := introspected(t, owner, w, key); !r.Active {
		t.Error("a key ends with no session")
	}
	if _, err := srv.SQL.Exec(t.Context(), "INSERT INTO auth.disablements (user_id, reason, create_time) VALUES ($1, 'test', now())", uuidOf(t, member.User.Id)); err != nil {
		t.Fatal(err)
	}
	nothing("a key of a disabled account", w, owner, key)
	if _, err := srv.SQL.Exec(t.Context(), "DELETE FROM auth.disablements"); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Memberships.DeactivateMembership(t.Context(), &teamv1.DeactivateMembershipRequest{WorkspaceId: w, MembershipId: m.String()}); err != nil {
		t.Fatal(err)
	}
	nothing("a key of a deactivated member", w, owner, key)
	own := accessToken(t, owner, w)
	srv.Clock.Advance(5*time.Minute + time.Second)
	nothing("an expired access token", w, owner, own)
	srv.Clock.Advance(time.Hour)
	nothing("an expired key", w, owner, service)
}

func TestWhoHasATokenMayEndIt(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	revoke := func(token string) {
		t.Helper()
		if _, err := srv.Client("").Tokens.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Token: token}); err != nil {
			t.Errorf("RevokeToken: %v", err)
		}
	}
	first := refreshToken(t, p, "")
	second := mustRefresh(t, srv, first).RefreshToken
	kept := refreshToken(t, p, "")
	access, key, other := accessToken(t, p, p.Workspace.Id), keyOf(t, p, "membership.get").Token, keyOf(t, p, "membership.get").Token
	for _, nothing := range []string{p.Token, access, "x", "lsmf_", secret.NewChecked("lsmk_"), secret.NewToken("lsmf_") + secret.NewToken("")} {
		revoke(nothing)
	}
	if !introspected(t, p, p.Workspace.Id, access).Active || !introspected(t, p, p.Workspace.Id, key).Active {
		t.Error("what was not named has ended")
	}
	revoke(second)
	revoke(second)
	for _, token := range []string{first, second} {
		_, err := refresh(t.Context(), srv, token)
		tokenRefused(t, "a revoked one", err, faultv1.Reason_REASON_TOKEN_INVALID)
	}
	mustRefresh(t, srv, kept)
	revoke(key)
	revoke(key)
	if introspected(t, p, p.Workspace.Id, key).Active || !introspected(t, p, p.Workspace.Id, other).Active {
		t.Error("another key has ended")
	}
	logged(t, p, "", "user.registered", "refresh_token.created", "refresh_token.created", "refresh_token.revoked")
	logged(t, p, p.Workspace.Id, "workspace.created", "api_key.created", "api_key.created", "api_key.revoked")
	srv.CheckInvariants(t)
}
