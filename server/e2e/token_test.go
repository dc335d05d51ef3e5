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
	"sync"
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
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
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

// TestARefreshTokenIsUsedOnce follows a line: each token gives one successor, again
// within 30 seconds, until that is used (RFC 9700, 4.14.2).
func TestARefreshTokenIsUsedOnce(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	v := verifierOf(t, srv)
	first := refreshToken(t, p, p.Workspace.Id)
	if !strings.HasPrefix(first, "lsmf_") || len(first) > 256 {
		t.Errorf("the token is %q", first)
	}
	second := mustRefresh(t, srv, first)
	if c, err := v.Verify(t.Context(), second.AccessToken); err != nil || c.UserID != p.User.Id || c.SessionID != p.Session.Id || c.Role != "owner" {
		t.Errorf("%+v, %v", c, err)
	}
	srv.Clock.Advance(29 * time.Second)
	if again := mustRefresh(t, srv, first); again.RefreshToken != second.RefreshToken || again.AccessToken == second.AccessToken {
		t.Error("the same token gives another successor")
	}
	third := mustRefresh(t, srv, second.RefreshToken)
	if third.RefreshToken == second.RefreshToken {
		t.Error("the successor is no other token")
	}
	// The first one is two uses old, though not yet 30 seconds.
	_, err := refresh(t.Context(), srv, first)
	tokenRefused(t, "a token whose successor was used", err, faultv1.Reason_REASON_TOKEN_INVALID)
	for _, token := range []string{first, second.RefreshToken, third.RefreshToken} {
		_, err := refresh(t.Context(), srv, token)
		tokenRefused(t, "a token of the revoked line", err, faultv1.Reason_REASON_TOKEN_INVALID)
	}
	// The session itself, and other lines of it, go on.
	other := refreshToken(t, p, "")
	logged(t, p, "", "user.registered", "refresh_token.created", "refresh_token.reused", "refresh_token.created")

	// Used again after 30 seconds.
	next := mustRefresh(t, srv, other)
	srv.Clock.Advance(31 * time.Second)
	_, err = refresh(t.Context(), srv, other)
	tokenRefused(t, "used again too late", err, faultv1.Reason_REASON_TOKEN_INVALID)
	_, err = refresh(t.Context(), srv, next.RefreshToken)
	tokenRefused(t, "its successor", err, faultv1.Reason_REASON_TOKEN_INVALID)
	if n := lines(t, srv); n != 0 {
		t.Errorf("%d lines are left", n)
	}
	checkLog(t, srv, first[5:48], first[48:], second.RefreshToken, second.AccessToken, other[48:])
}

// TestTheReuseOfARefreshTokenIsMailedOnce uses old tokens again and again, also at
// once: each line that ends is one mail and one event.
func TestTheReuseOfARefreshTokenIsMailedOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	p := s.person(t)
	alerts := func() (n int) {
		t.Helper()
		for _, m := range s.queue(t, p.Email) {
			if m.Template != mail.SecurityChange || m.Data["change"] != string(mail.RefreshTokenReused) {
				continue
			}
			n++
			if m.Data["address"] != "127.0.0.1" || m.Data["agent"] == "" {
				t.Errorf("the mail does not say from where the token was used: %v", m.Data)
			}
		}
		return n
	}
	events := func() int {
		t.Helper()
		return count(t, s.Server, "SELECT count(*) FROM audit.events WHERE action = 'refresh_token.reused' AND user_id = $1", uuidOf(t, p.User.Id))
	}
	for i := 1; i <= 2; i++ {
		first := refreshToken(t, p, p.Workspace.Id)
		second := mustRefresh(t, s.Server, first).RefreshToken
		if again := mustRefresh(t, s.Server, first).RefreshToken; again != second {
			t.Fatal("the same token gives another successor")
		}
		mustRefresh(t, s.Server, second)
		if alerts() != i-1 || events() != i-1 {
			t.Errorf("before the token of line %d is reused: %d mails, %d events", i, alerts(), events())
		}
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() {
				_, err := refresh(t.Context(), s.Server, []string{first, second}[n%2])
				if n%2 == 0 { // the second may be used again for a while
					tokenRefused(t, "an old token", err, faultv1.Reason_REASON_TOKEN_INVALID)
				}
			})
		}
		all.Wait()
		_, err := refresh(t.Context(), s.Server, first)
		tokenRefused(t, "an old token, again", err, faultv1.Reason_REASON_TOKEN_INVALID)
		if alerts() != i || events() != i {
			t.Errorf("after the token of line %d was reused: %d mails, %d events", i, alerts(), events())
		}
	}
	// A line that is revoked is no alarm, whatever is presented of it afterwards.
	first := refreshToken(t, p, "")
	mustRefresh(t, s.Server, first)
	if _, err := s.Client("").Tokens.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Token: first}); err != nil {
		t.Fatal(err)
	}
	_, err := refresh(t.Context(), s.Server, first)
	tokenRefused(t, "a token of a revoked line", err, faultv1.Reason_REASON_TOKEN_INVALID)
	if alerts() != 2 || events() != 2 {
		t.Errorf("in the end: %d mails, %d events", alerts(), events())
	}
	s.CheckInvariants(t)
}

// TestTwentyRefreshesAtOnceGiveOneSuccessor has the line go on as one.
func TestTwentyRefreshesAtOnceGiveOneSuccessor(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	present := refreshToken(t, p, "")
	for range 3 {
		var mu sync.Mutex
		successors := map[string]int{}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				res, err := refresh(t.Context(), srv, present)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				successors[res.RefreshToken]++
			})
		}
		all.Wait()
		if len(successors) != 1 {
			t.Fatalf("%d successors", len(successors))
		}
		for next := range successors {
			present = next
		}
	}
	var generation int
	if err := srv.SQL.QueryRow(t.Context(), "SELECT generation FROM auth.refresh_tokens").Scan(&generation); err != nil || generation != 4 {
		t.Errorf("generation %d, %v", generation, err)
	}
	// Used and used again at once, as by a thief and the client: never two lines.
	old := present
	present = mustRefresh(t, srv, old).RefreshToken
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() { _, _ = refresh(t.Context(), srv, []string{old, present}[i%2]) })
	}
	all.Wait()
	if n := lines(t, srv); n > 1 {
		t.Errorf("%d lines", n)
	}
}

// TestRefreshTokensEndWithTheirSession ends sessions in every way that there is.
func TestRefreshTokensEndWithTheirSession(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, srv *testkit.Server, p *testkit.Person){
		"sign-out": func(t *testing.T, _ *testkit.Server, p *testkit.Person) {
			if _, err := p.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{}); err != nil {
				t.Fatal(err)
			}
		},
		"revoked": func(t *testing.T, srv *testkit.Server, p *testkit.Person) {
			session := p.Session.Id
			srv.SignIn(t, p)
			if _, err := p.Sessions.RevokeSession(t.Context(), &authv1.RevokeSessionRequest{SessionId: session}); err != nil {
				t.Fatal(err)
			}
		},
		"others revoked": func(t *testing.T, srv *testkit.Server, p *testkit.Person) {
			srv.SignIn(t, p)
			if _, err := p.Sessions.RevokeOtherSessions(t.Context(), &authv1.RevokeOtherSessionsRequest{}); err != nil {
				t.Fatal(err)
			}
		},
		"password changed": func(t *testing.T, srv *testkit.Server, p *testkit.Person) {
			srv.SignIn(t, p)
			if _, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{
				CurrentPassword: testkit.Password, NewPassword: "another horse, another staple",
			}); err != nil {
				t.Fatal(err)
			}
		},
		"password changed by the session itself": func(t *testing.T, _ *testkit.Server, p *testkit.Person) {
			res, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{
				CurrentPassword: testkit.Password, NewPassword: "another horse, another staple",
			})
			if err != nil {
				t.Fatal(err)
			}
			p.Token, p.Client = res.SessionToken, p.As(res.SessionToken)
		},
		"password reset": func(t *testing.T, srv *testkit.Server, p *testkit.Person) {
			before := len(srv.Mails(t, p.Email))
			c := srv.Client("")
			reset, err := c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: p.Email})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{
				PasswordResetId: reset.PasswordResetId, Code: testkit.CodeIn(t, srv.Mail(t, p.Email, before+1)), NewPassword: "another horse, another staple",
			}); err != nil {
				t.Fatal(err)
			}
		},
		"idle": func(_ *testing.T, srv *testkit.Server, _ *testkit.Person) { srv.Clock.Advance(15 * 24 * time.Hour) },
		"disabled": func(t *testing.T, srv *testkit.Server, p *testkit.Person) {
			if _, err := srv.SQL.Exec(t.Context(), "INSERT INTO auth.disablements (user_id, reason, create_time) VALUES ($1, 'test', now())", uuidOf(t, p.User.Id)); err != nil {
				t.Fatal(err)
			}
		},
		"purged with the only workspace": func(t *testing.T, srv *testkit.Server, p *testkit.Person) {
			etag := preview(t, p, p.Workspace.Id).Etag
			if err := remove(t, p, p.Workspace.Id, etag); err != nil {
				t.Fatal(err)
			}
			srv.Clock.Advance(14*24*time.Hour + time.Second)
			if _, err := srv.Store.PurgeDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			srv.CheckPurged(t, p.Workspace.Id, p.User.Id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := testkit.New(t, testkit.Options{})
			p, witness := srv.Register(t), srv.Register(t)
			tokens := []string{refreshToken(t, p, ""), refreshToken(t, p, p.Workspace.Id)}
			tokens[1] = mustRefresh(t, srv, tokens[1]).RefreshToken
			session, user := parseID(t, p.Session.Id, ids.Parse[ids.Session]), parseID(t, p.User.Id, ids.Parse[ids.User])
			workspace := parseID(t, p.Workspace.Id, ids.Parse[ids.Workspace])
			if _, live, err := srv.Store.IntrospectSession(t.Context(), workspace, session, user); !live || err != nil {
				t.Errorf("the session is not live: %v", err)
			}
			if _, live, err := srv.Store.IntrospectSession(t.Context(), workspace, session, parseID(t, witness.User.Id, ids.Parse[ids.User])); live || err != nil {
				t.Errorf("it is live for somebody else: %v", err)
			}
			end(t, srv, p)
			for _, token := range tokens {
				_, err := refresh(t.Context(), srv, token)
				tokenRefused(t, "its refresh token", err, faultv1.Reason_REASON_TOKEN_INVALID)
			}
			itself := name == "password changed by the session itself" // which lives on, and begins anew
			if _, live, err := srv.Store.IntrospectSession(t.Context(), workspace, session, user); live != itself || err != nil {
				t.Errorf("the session is live: %t, %v", live, err)
			}
			if err := srv.Store.DeleteExpired(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := lines(t, srv); n != 0 && name != "disabled" { // whoever disables an account ends its sessions
				t.Errorf("%d lines are left", n)
			}
			if itself {
				mustRefresh(t, srv, refreshToken(t, p, ""))
			}
		})
	}
}

// TestAVoidedTokenMakesNoRefreshToken lets a call wait while its session gets another
// token.
func TestAVoidedTokenMakesNoRefreshToken(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	hold, err := srv.SQL.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := hold.Exec(t.Context(), "UPDATE auth.sessions SET token_hash = 'another', auth_time = auth_time + interval '1 second' WHERE user_id = $1",
		uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := p.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{})
		done <- err
	}()
	testkit.Eventually(t, "the call to wait for the session", func() bool {
		return count(t, srv, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") > 0
	})
	if err := hold.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	tokenRefused(t, "by a token that is void", <-done, faultv1.Reason_REASON_SESSION_REQUIRED)
	if n := lines(t, srv); n != 0 {
		t.Errorf("there are %d lines", n)
	}
}

func parseID[I any](t testing.TB, s string, parse func(string) (I, error)) I {
	t.Helper()
	id, err := parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestARefreshTokenOfAWorkspaceEndsWithTheMembership also keeps it ended when its user
// comes back.
func TestARefreshTokenOfAWorkspaceEndsWithTheMembership(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	owner := srv.Register(t)
	for name, end := range map[string]func(p *testkit.Person, m ids.Membership) error{
		"removed": func(_ *testkit.Person, m ids.Membership) error {
			_, err := owner.Memberships.RemoveMembership(t.Context(), &teamv1.RemoveMembershipRequest{WorkspaceId: owner.Workspace.Id, MembershipId: m.String()})
			return err
		},
		"left": func(p *testkit.Person, _ ids.Membership) error {
			_, err := p.Memberships.LeaveWorkspace(t.Context(), &teamv1.LeaveWorkspaceRequest{WorkspaceId: owner.Workspace.Id})
			return err
		},
		"deactivated": func(_ *testkit.Person, m ids.Membership) error {
			_, err := owner.Memberships.DeactivateMembership(t.Context(), &teamv1.DeactivateMembershipRequest{WorkspaceId: owner.Workspace.Id, MembershipId: m.String()})
			return err
		},
		// Behind the product's back: the refresh itself finds out.
		"gone": func(_ *testkit.Person, m ids.Membership) error {
			_, err := srv.SQL.Exec(t.Context(), "DELETE FROM team.memberships WHERE id = $1", m.UUID())
			return err
		},
	} {
		p := srv.Register(t)
		m := srv.Join(t, p, owner.Workspace.Id, authz.Member)
		token, elsewhere := refreshToken(t, p, owner.Workspace.Id), refreshToken(t, p, p.Workspace.Id)
		token = mustRefresh(t, srv, token).RefreshToken
		if err := end(p, m); err != nil {
			t.Fatal(err)
		}
		_, err := refresh(t.Context(), srv, token)
		tokenRefused(t, name, err, faultv1.Reason_REASON_TOKEN_INVALID)
		if name == "deactivated" {
			if _, err := owner.Memberships.ReactivateMembership(t.Context(), &teamv1.ReactivateMembershipRequest{WorkspaceId: owner.Workspace.Id, MembershipId: m.String()}); err != nil {
				t.Fatal(err)
			}
		} else {
			srv.Join(t, p, owner.Workspace.Id, authz.Member)
		}
		_, err = refresh(t.Context(), srv, token)
		tokenRefused(t, name+", and back", err, faultv1.Reason_REASON_TOKEN_INVALID)
		if _, err := refresh(t.Context(), srv, elsewhere); err != nil {
			t.Errorf("%s: the token of another workspace: %v", name, err)
		}
	}
}

func TestARefreshKeepsItsSessionInUse(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	token := refreshToken(t, p, "")
	for range 6 { // 60 days, of which the session was never unused for 14
		srv.Clock.Advance(10 * 24 * time.Hour)
		token = mustRefresh(t, srv, token).RefreshToken
	}
	if _, err := p.Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{}); err != nil {
		t.Error(err)
	}
	srv.Clock.Advance(10 * 24 * time.Hour)
	token = mustRefresh(t, srv, token).RefreshToken
	srv.Clock.Advance(10 * 24 * time.Hour)
	token = mustRefresh(t, srv, token).RefreshToken
	srv.Clock.Advance(10*24*time.Hour + time.Minute) // 90 days: its whole lifetime
	_, err := refresh(t.Context(), srv, token)
	tokenRefused(t, "after the session's lifetime", err, faultv1.Reason_REASON_TOKEN_INVALID)
}

func TestASessionHasTwentyRefreshTokens(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	var mu sync.Mutex
	var made []string
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			res, err := p.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made = append(made, res.RefreshToken)
			} else {
				tokenRefused(t, "one too many", err, faultv1.Reason_REASON_TOO_MANY)
			}
		})
	}
	all.Wait()
	if len(made) != store.MaxRefreshTokens {
		t.Fatalf("%d were made", len(made))
	}
	if _, err := p.Tokens.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Token: made[0]}); err != nil {
		t.Fatal(err)
	}
	refreshToken(t, p, "")
	second := *p
	srv.SignIn(t, &second)
	refreshToken(t, &second, "")
}

func TestWhoActsForAnotherGetsNoRefreshToken(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, operator := srv.Register(t), srv.Register(t)
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE auth.sessions SET impersonator_id = $1, impersonation_reason = 'test' WHERE user_id = $2",
		uuidOf(t, operator.User.Id), uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	_, err := p.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{})
	tokenRefused(t, "a refresh token", err, faultv1.Reason_REASON_IMPERSONATION_NOT_ALLOWED)
	c, err := verifierOf(t, srv).Verify(t.Context(), accessToken(t, p, ""))
	if err != nil || c.OperatorID != operator.User.Id || c.UserID != p.User.Id {
		t.Errorf("%+v, %v", c, err)
	}
	// Nor who owes a second factor any token.
	q := srv.Register(t)
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE auth.sessions SET second_factor_pending = true WHERE user_id = $1", uuidOf(t, q.User.Id)); err != nil {
		t.Fatal(err)
	}
	_, err = q.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{})
	tokenRefused(t, "an access token", err, faultv1.Reason_REASON_SECOND_FACTOR_REQUIRED)
	_, err = q.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{})
	tokenRefused(t, "a refresh token", err, faultv1.Reason_REASON_SECOND_FACTOR_REQUIRED)
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

func TestOnlyHashesOfRefreshTokensAreStored(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	first := refreshToken(t, p, "")
	second := mustRefresh(t, srv, first).RefreshToken
	var row, keys string
	if err := srv.SQL.QueryRow(t.Context(), "SELECT to_jsonb(l)::text FROM auth.refresh_tokens l").Scan(&row); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{first, second, first[5:48], first[48:], second[48:]} {
		if strings.Contains(row, s) || strings.Contains(row, fmt.Sprintf("%x", s)) {
			t.Errorf("%s holds the token", row)
		}
	}
	// The sealed successor is there as long as it can be asked for.
	srv.Clock.Advance(time.Minute)
	if err := srv.Store.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sealed int
	if err := srv.SQL.QueryRow(t.Context(), "SELECT count(successor) FROM auth.refresh_tokens").Scan(&sealed); err != nil || sealed != 0 {
		t.Errorf("%d successors are left, %v", sealed, err)
	}
	private, err := srv.Store.SigningKeys(t.Context())
	if err != nil || len(private) == 0 {
		t.Fatal(err)
	}
	if err := srv.SQL.QueryRow(t.Context(), "SELECT string_agg(to_jsonb(k)::text, ',') FROM auth.signing_keys k").Scan(&keys); err != nil {
		t.Fatal(err)
	}
	for _, k := range private {
		if strings.Contains(keys, fmt.Sprintf("%x", k.Private.Seed())) {
			t.Error("a private key is stored in the clear")
		}
	}
}

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
