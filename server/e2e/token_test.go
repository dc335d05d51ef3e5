package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"

	"github.com/logicspike/manager/client"
	"github.com/logicspike/manager/client/token"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
)

// tokenRefused checks the reason of a refusal.
func tokenRefused(t testing.TB, what string, err error, want faultv1.Reason) {
	t.Helper()
	if client.Reason(err) != want {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// verifierOf verifies tokens of a server, by its clock.
func verifierOf(t testing.TB, srv *testkit.Server, change ...func(*token.Options)) *token.Verifier {
	t.Helper()
	o := token.Options{Issuer: string(srv.Settings.PublicURL), KeysURL: srv.URL + "/.well-known/jwks.json", Audience: string(srv.Settings.PublicURL), Now: srv.Clock.Now}
	for _, c := range change {
		c(&o)
	}
	v, err := token.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func accessToken(t testing.TB, p *testkit.Person, workspace string) string {
	t.Helper()
	res, err := p.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{WorkspaceId: workspace})
	if err != nil {
		t.Fatal(err)
	}
	return res.AccessToken
}

func refreshToken(t testing.TB, p *testkit.Person, workspace string) string {
	t.Helper()
	res, err := p.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{WorkspaceId: workspace})
	if err != nil {
		t.Fatal(err)
	}
	return res.RefreshToken
}

// refresh uses a refresh token, without a session.
func refresh(ctx context.Context, srv *testkit.Server, refreshToken string) (*authv1.RefreshAccessTokenResponse, error) {
	return srv.Client("").Tokens.RefreshAccessToken(ctx, &authv1.RefreshAccessTokenRequest{RefreshToken: refreshToken})
}

func mustRefresh(t testing.TB, srv *testkit.Server, refreshToken string) *authv1.RefreshAccessTokenResponse {
	t.Helper()
	res, err := refresh(t.Context(), srv, refreshToken)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// lines counts the lines of refresh tokens.
func lines(t testing.TB, srv *testkit.Server) (n int) {
	t.Helper()
	if err := srv.SQL.QueryRow(t.Context(), "SELECT count(*) FROM auth.refresh_tokens").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// getPage reads a page of the server.
func getPage(t testing.TB, url string, header http.Header) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	return send(t, req, "")
}

func TestAnAccessTokenSaysWhoCallsAndWhatTheyHoldNow(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	owner, member := srv.Register(t), srv.Register(t)
	v := verifierOf(t, srv)

	res, err := member.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := v.Verify(t.Context(), res.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	if c.UserID != member.User.Id || c.SessionID != member.Session.Id || c.WorkspaceID != "" || c.Role != "" || len(c.Permissions) != 0 ||
		c.OperatorID != "" || !c.ExpireTime.Equal(res.ExpireTime.AsTime()) || c.ExpireTime.Sub(c.IssueTime) != 5*time.Minute || c.Holds("workspace.get") {
		t.Errorf("without a workspace: %+v", c)
	}
	if diff := cmp.Diff([]string{"pwd"}, c.Methods); diff != "" {
		t.Error(diff)
	}

	_, err = member.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{WorkspaceId: owner.Workspace.Id})
	tokenRefused(t, "an outsider", err, faultv1.Reason_REASON_NOT_FOUND)
	membership := srv.Join(t, member, owner.Workspace.Id, authz.Viewer)
	claims := func() *token.Claims {
		t.Helper()
		c, err := v.Verify(t.Context(), accessToken(t, member, owner.Workspace.Id))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := claims(); c.WorkspaceID != owner.Workspace.Id || c.Role != "viewer" || !c.Holds("workspace.get") || c.Holds("workspace.update") || !slices.IsSorted(c.Permissions) {
		t.Errorf("a viewer: %+v", c)
	}
	role, err := owner.Roles.CreateRole(t.Context(), &teamv1.CreateRoleRequest{WorkspaceId: owner.Workspace.Id, Name: "Clerk", Permissions: []string{"workspace.update"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.Memberships.UpdateMembership(t.Context(), &teamv1.UpdateMembershipRequest{
		WorkspaceId: owner.Workspace.Id, MembershipId: membership.String(), Role: role.Role.Id,
	}); err != nil {
		t.Fatal(err)
	}
	if c := claims(); c.Role != role.Role.Id || !slices.Equal(c.Permissions, []string{"workspace.update"}) {
		t.Errorf("a custom role: %+v", c)
	}

	// The token as it is written: what RFC 9068, 2 asks for, and nothing else.
	header, body, _ := strings.Cut(accessToken(t, owner, owner.Workspace.Id), ".")
	body, _, _ = strings.Cut(body, ".")
	var h, b map[string]any
	for text, into := range map[string]*map[string]any{header: &h, body: &b} {
		data, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, into); err != nil {
			t.Fatal(err)
		}
	}
	if len(h) != 3 || h["alg"] != "EdDSA" || h["typ"] != "at+jwt" || !strings.HasPrefix(fmt.Sprint(h["kid"]), "sgk_") {
		t.Errorf("header %v", h)
	}
	var names []string
	for name := range b {
		names = append(names, name)
	}
	slices.Sort(names)
	if want := strings.Fields("amr aud auth_time client_id exp iat iss jti permissions role sid sub workspace_id"); !slices.Equal(names, want) {
		t.Errorf("claims %v", names)
	}

	// Nobody else, and nobody who is not an active member of a live workspace.
	if _, err := owner.Memberships.DeactivateMembership(t.Context(), &teamv1.DeactivateMembershipRequest{
		WorkspaceId: owner.Workspace.Id, MembershipId: membership.String(),
	}); err != nil {
		t.Fatal(err)
	}
	_, err = member.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{WorkspaceId: owner.Workspace.Id})
	tokenRefused(t, "a deactivated member", err, faultv1.Reason_REASON_NOT_FOUND)
	if err := remove(t, owner, owner.Workspace.Id, preview(t, owner, owner.Workspace.Id).Etag); err != nil {
		t.Fatal(err)
	}
	_, err = owner.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{WorkspaceId: owner.Workspace.Id})
	tokenRefused(t, "the owner of a deleted workspace", err, faultv1.Reason_REASON_NOT_FOUND)
}

func TestATokenIsForOneOfTheAudiences(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) { s.TokenAudiences = []string{"https://api.example.com", "billing"} }})
	p := srv.Register(t)
	for asked, want := range map[string]string{"": "https://api.example.com", "https://api.example.com": "https://api.example.com", "billing": "billing"} {
		res, err := p.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{Audience: asked})
		if err != nil {
			t.Fatal(err)
		}
		v := verifierOf(t, srv, func(o *token.Options) { o.Audience = want })
		if c, err := v.Verify(t.Context(), res.AccessToken); err != nil || !slices.Equal(c.Audience, []string{want}) {
			t.Errorf("%q: %+v, %v", asked, c, err)
		}
		other := verifierOf(t, srv, func(o *token.Options) { o.Audience = "other" })
		if _, err := other.Verify(t.Context(), res.AccessToken); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%q at another service: %v", asked, err)
		}
	}
	for _, wrong := range []string{"https://api.example.com/", "Billing", string(srv.Settings.PublicURL)} {
		_, err := p.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{Audience: wrong})
		tokenRefused(t, wrong, err, faultv1.Reason_REASON_AUDIENCE_NOT_ALLOWED)
		_, err = p.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{Audience: wrong})
		tokenRefused(t, wrong, err, faultv1.Reason_REASON_AUDIENCE_NOT_ALLOWED)
	}
	// A refresh token keeps to its audience; when the server serves that no more it is
	// of no use.
	res, err := p.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{Audience: "billing"})
	if err != nil {
		t.Fatal(err)
	}
	next := mustRefresh(t, srv, res.RefreshToken)
	v := verifierOf(t, srv, func(o *token.Options) { o.Audience = "billing" })
	if _, err := v.Verify(t.Context(), next.AccessToken); err != nil {
		t.Error(err)
	}
	without := testkit.New(t, testkit.Options{URL: srv.Database, Key: srv.Key, Clock: srv.Clock, WithoutJobs: true})
	_, err = refresh(t.Context(), without, next.RefreshToken)
	tokenRefused(t, "an audience that is gone", err, faultv1.Reason_REASON_TOKEN_INVALID)
}

func TestAnAccessTokenEndsWithItsSession(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) {
		s.SessionLifetime, s.SessionIdleTimeout = 2*time.Minute, 2*time.Minute
	}})
	p := srv.Register(t)
	res, err := p.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if end := p.Session.ExpireTime.AsTime(); res.ExpireTime.AsTime().After(end) {
		t.Errorf("the token expires at %v, the session at %v", res.ExpireTime.AsTime(), end)
	}
}

// TestOtherLibrariesVerifyAccessTokens has go-oidc find the keys by the metadata.
func TestOtherLibrariesVerifyAccessTokens(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	provider, err := oidc.NewProvider(t.Context(), srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	found, err := provider.Verifier(&oidc.Config{ClientID: srv.URL, Now: srv.Clock.Now}).Verify(t.Context(), accessToken(t, p, p.Workspace.Id))
	if err != nil {
		t.Fatal(err)
	}
	if found.Subject != p.User.Id || found.Issuer != srv.URL {
		t.Errorf("%+v", found)
	}
}

func TestTheMetadataIsPublicAndTrue(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	for _, path := range []string{"/.well-known/jwks.json", "/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"} {
		for _, origin := range []string{"https://anybody.example", "http://app.example.com"} { // the second may call the API
			a := getPage(t, srv.URL+path, http.Header{"Origin": {origin}})
			h := a.header
			if a.status != http.StatusOK || h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" ||
				h.Get("Cache-Control") != "public, max-age=300" || h.Get("Cross-Origin-Resource-Policy") != "cross-origin" || !strings.Contains(h.Get("Content-Type"), "json") ||
				h.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s: %d %v", path, a.status, h)
			}
			if not := getPage(t, srv.URL+path, http.Header{"If-None-Match": {h.Get("Etag")}}); not.status != http.StatusNotModified || len(not.body) != 0 {
				t.Errorf("%s once more: %d", path, not.status)
			}
		}
		if a := post(t, srv, path, "", "application/json", []byte("{}")); a.status != http.StatusMethodNotAllowed {
			t.Errorf("POST %s: %d", path, a.status)
		}
	}
	for _, path := range []string{"/.well-known/", "/.well-known/jwks", "/.well-known/jwks.json/x", "/.well-known/security.txt", "/x/.well-known/jwks.json"} {
		if a := getPage(t, srv.URL+path, nil); a.status != http.StatusNotFound {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	var about map[string]any
	if err := json.Unmarshal(getPage(t, srv.URL+"/.well-known/openid-configuration", nil).body, &about); err != nil {
		t.Fatal(err)
	}
	if about["issuer"] != srv.URL || about["jwks_uri"] != srv.URL+"/.well-known/jwks.json" {
		t.Errorf("%v", about)
	}
	for name := range about {
		if strings.HasSuffix(name, "_endpoint") {
			t.Errorf("there is no %s", name)
		}
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(getPage(t, srv.URL+"/.well-known/jwks.json", nil).body, &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 2 { // the current one, and the next
		t.Errorf("%d keys", len(set.Keys))
	}
	for _, k := range set.Keys {
		if len(k) != 6 || k["kty"] != "OKP" || k["crv"] != "Ed25519" || k["alg"] != "EdDSA" || k["use"] != "sig" || k["kid"] == "" || k["x"] == "" { // no private d
			t.Errorf("a key: %v", k)
		}
	}
}

// TestATokenOfAnotherKindOpensNothing presents every kind of token wherever another is
// expected.
func TestATokenOfAnotherKindOpensNothing(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	access, refreshing := accessToken(t, p, p.Workspace.Id), refreshToken(t, p, p.Workspace.Id)
	key := secret.NewChecked("lsmk_")
	for name, wrong := range map[string]string{"an access token": access, "a refresh token": refreshing, "half a refresh token": refreshing[:48], "an API key": key} {
		_, err := srv.Client("", client.WithSession(wrong)).Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})
		if connect.CodeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("%s as a session's: %v", name, err)
		}
	}
	for name, wrong := range map[string]string{
		"a session's": p.Token, "an access token": access[:200], "an API key": key, "half of one": refreshing[:48], "longer": refreshing + "x",
		"another secret": refreshing[:48] + secret.NewToken(""), "another line": secret.NewToken("lsmf_") + refreshing[48:], "x": "x",
		"another case": strings.ToUpper(refreshing), "a line break": refreshing[:60] + "\n" + refreshing[61:],
	} {
		if name == "another secret" {
			continue // last: it is somebody's who has had a token of the line
		}
		if _, err := refresh(t.Context(), srv, wrong); err == nil || client.Reason(err) != faultv1.Reason_REASON_TOKEN_INVALID && client.Reason(err) != faultv1.Reason_REASON_FIELD_INVALID {
			t.Errorf("%s as a refresh token: %v", name, err)
		}
	}
	v := verifierOf(t, srv)
	for name, wrong := range map[string]string{"a session's": p.Token, "a refresh token": refreshing, "an API key": key, "a code": "123456"} {
		if _, err := v.Verify(t.Context(), wrong); !errors.Is(err, token.ErrInvalid) {
			t.Errorf("%s at another service: %v", name, err)
		}
	}
	// None of this has used it up; a token that its line never had ends it.
	refreshing = mustRefresh(t, srv, refreshing).RefreshToken
	_, err := refresh(t.Context(), srv, refreshing[:48]+secret.NewToken(""))
	tokenRefused(t, "another secret", err, faultv1.Reason_REASON_TOKEN_INVALID)
	_, err = refresh(t.Context(), srv, refreshing)
	tokenRefused(t, "the line of it", err, faultv1.Reason_REASON_TOKEN_INVALID)
}
