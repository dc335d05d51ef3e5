package e2e

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/zitadel/oidc/v3/example/server/exampleop"
	"github.com/zitadel/oidc/v3/example/server/storage"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// TestARealOpenIDProvider signs people in by a provider that somebody else wrote, page
// and password and all.
func TestARealOpenIDProvider(t *testing.T) {
	t.Parallel()
	var handler http.Handler
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	t.Cleanup(idp.Close)
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) {
		s.IdentityProviders = config.IdentityProviders("real?client-id=manager&client-secret=secret&issuer=" + idp.URL)
	}})
	clients := map[string]*storage.Client{"manager": storage.WebClient("manager", "secret", srv.URL+"/external-sign-in/callback/real")}
	users := storage.NewUserStore(idp.URL)
	handler = exampleop.SetupServer(idp.URL, storage.NewStorageWithClients(users, clients), slog.New(slog.DiscardHandler), false)
	enter := func(username, purposeOf string, c authv1.ExternalSignInPurpose, p *testkit.Person) *authv1.CompleteExternalSignInResponse {
		t.Helper()
		caller := srv.Client("")
		if p != nil {
			caller = p.Client
		}
		began, err := caller.ExternalIdentities.StartExternalSignIn(t.Context(), &authv1.StartExternalSignInRequest{Provider: "real", ReturnUrl: "/", Purpose: c})
		if err != nil {
			t.Fatalf("%s: %v", purposeOf, err)
		}
		jar, _ := cookiejar.New(nil)
		person := &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			if strings.HasPrefix(r.URL.String(), srv.URL) && r.URL.Query().Has("result_token") {
				return http.ErrUseLastResponse
			}
			return nil
		}}
		login, err := person.Get(began.AuthorizationUrl)
		if err != nil {
			t.Fatal(err)
		}
		_ = bodyOf(t, login)
		res, err := person.PostForm(idp.URL+"/login/username", url.Values{
			"username": {username}, "password": {"verysecure"}, "id": {login.Request.URL.Query().Get("authRequestID")},
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = bodyOf(t, res)
		to, err := res.Location()
		if err != nil {
			t.Fatalf("%s: %d at %s: %v\n%s", purposeOf, res.StatusCode, res.Request.URL, err, srv.Log)
		}
		done, err := caller.ExternalIdentities.CompleteExternalSignIn(t.Context(), &authv1.CompleteExternalSignInRequest{
			ExternalSignInId: began.ExternalSignInId, ResultToken: to.Query().Get("result_token"), BindingToken: began.BindingToken, WorkspaceName: "Acme",
		})
		if err != nil {
			t.Fatalf("%s: %v", purposeOf, err)
		}
		return done
	}
	user := users.GetUserByID("id1")
	made := enter(user.Username, "a new account", 0, nil)
	if u := made.Account.GetUser(); u.GetEmail() != user.Email || u.GetDisplayName() != "Test User" {
		t.Fatalf("account %v", made)
	}
	p := srv.Person(user.Email, made.Account)
	if again := enter(user.Username, "the account again", 0, nil); again.Session.GetUserId() != p.User.Id {
		t.Errorf("signed in: %v", again)
	}
	if second := enter("test-user2", "a second identity", toLink, p); second.ExternalIdentity.GetSubject() != "id2" || second.Session != nil {
		t.Errorf("linked: %v", second)
	}
	if renewed := enter(user.Username, "reauthentication", toReauthenticate, p); renewed.Session.GetId() != p.Session.Id {
		t.Errorf("reauthenticated: %v", renewed)
	}
	srv.CheckInvariants(t)
}

// fakeGitHub answers as GitHub does.
type fakeGitHub struct {
	t testing.TB
	*httptest.Server
	mu        sync.Mutex
	user      map[string]any
	emails    any // nil: the person did not agree to tell
	challenge string
}

func newFakeGitHub(t testing.TB) *fakeGitHub {
	g := &fakeGitHub{t: t}
	g.Server = httptest.NewServer(g)
	t.Cleanup(g.Close)
	return g
}

func (g *fakeGitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	answer := func(body any) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_ = json.NewEncoder(w).Encode(body)
	}
	switch r.URL.Path {
	case "/login/oauth/authorize":
		q := r.URL.Query()
		if q.Get("client_id") != "Iv1.x" || q.Get("scope") != "read:user user:email" || q.Get("code_challenge_method") != "S256" {
			http.Error(w, r.URL.RawQuery, http.StatusBadRequest)
			return
		}
		g.challenge = q.Get("code_challenge")
		w.Header().Set("Location", q.Get("redirect_uri")+"?"+url.Values{"code": {"code"}, "state": {q.Get("state")}, "iss": {g.URL + "/login/oauth"}}.Encode())
		w.WriteHeader(http.StatusFound)
	case "/login/oauth/access_token":
		// What is wrong it says with status 200, and as a form.
		if r.PostFormValue("code") != "code" || r.PostFormValue("client_id") != "Iv1.x" || r.PostFormValue("client_secret") != "secret" || r.PostFormValue("code_verifier") == "" {
			w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
			_, _ = io.WriteString(w, "error=bad_verification_code&error_description=wrong")
			return
		}
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		_, _ = io.WriteString(w, "access_token=gho_x&scope=read%3Auser%2Cuser%3Aemail&token_type=bearer")
	case "/api/v3/user", "/api/v3/user/emails":
		body := any(g.user)
		if strings.HasSuffix(r.URL.Path, "emails") {
			body = g.emails
		}
		if r.Header.Get("Authorization") != "Bearer gho_x" || body == nil {
			http.Error(w, "{}", http.StatusNotFound)
			return
		}
		answer(body)
	default:
		http.NotFound(w, r)
	}
}

type gitHubEmail struct {
	Email    string `json:"email"`
	Primary  bool   `json:"primary"`
	Verified bool   `json:"verified"`
}

func TestGitHub(t *testing.T) {
	t.Parallel()
	hub := newFakeGitHub(t)
	a := newAway(t, testkit.Options{Settings: func(s *config.Settings) {
		s.IdentityProviders += config.IdentityProviders("github?client-id=Iv1.x&client-secret=secret&issuer=" + hub.URL)
	}}, nil)
	p, c := a.Register(t), a.Client("")
	enter := func(id int64, emails any, code string) (*authv1.CompleteExternalSignInResponse, error) {
		t.Helper()
		hub.mu.Lock()
		hub.user, hub.emails = map[string]any{"id": id, "login": "ada", "email": p.Email, "name": nil}, emails
		hub.mu.Unlock()
		began := a.start(c, "github", 0)
		req := a.completion(began, a.back(strings.Replace(a.authorize(began), "code=code", "code="+code, 1)))
		req.WorkspaceName = "Acme"
		return c.ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
	}
	for what, emails := range map[string]any{
		"an address that is not verified": []gitHubEmail{{p.Email, true, false}},
		"one that is not the primary one": []gitHubEmail{{p.Email, false, true}, {testkit.NewEmail(), true, false}},
		"none":                            []gitHubEmail{},
		"none that the person would tell": nil,
	} {
		_, err := enter(7, emails, "code")
		precondition(t, what, err, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
	}
	res, err := enter(7, []gitHubEmail{{"other@example.com", false, true}, {p.Email, true, true}}, "code")
	if err != nil || res.Session.GetUserId() != p.User.Id {
		t.Fatalf("signed in: %v, %v", res, err)
	}
	if x := res.ExternalIdentity; x.Subject != "7" || x.Issuer != hub.URL || x.Email != p.Email || x.Provider != "github" {
		t.Errorf("identity %v", x)
	}
	// Somebody else has the login by now.
	_, err = enter(8, []gitHubEmail{}, "code")
	precondition(t, "another person", err, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
	if res, err = enter(9, []gitHubEmail{{testkit.NewEmail(), true, true}}, "code"); err != nil || res.Account.GetUser().GetDisplayName() != "ada" {
		t.Errorf("a new account: %v, %v", res, err)
	}

	began := a.start(c, "github", 0)
	if told := a.back(strings.Replace(a.authorize(began), "code=code", "code=stolen", 1)); told.Get("error") != "PROVIDER_FAILED" {
		t.Errorf("a wrong code: %v", told)
	}
	began = a.start(c, "github", 0)
	if told := a.back(strings.Replace(a.authorize(began), url.QueryEscape("/login/oauth"), url.QueryEscape("/evil"), 1)); told.Get("error") != "PROVIDER_FAILED" {
		t.Errorf("another issuer: %v", told)
	}
	_, err = p.ExternalIdentities.StartExternalSignIn(t.Context(), &authv1.StartExternalSignInRequest{Provider: "github", ReturnUrl: "/", Purpose: toReauthenticate})
	precondition(t, "reauthentication", err, faultv1.Reason_REASON_PROVIDER_FAILED)
	a.CheckInvariants(t)
}

func TestApple(t *testing.T) {
	t.Parallel()
	der, err := x509.MarshalPKCS8PrivateKey(curveKey())
	if err != nil {
		t.Fatal(err)
	}
	key := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	apple := newProvider(t)
	a := newAway(t, testkit.Options{Settings: func(s *config.Settings) {
		s.IdentityProviders += config.IdentityProviders("apple?client-id=manager&team-id=TEAM&key-id=KEY&private-key=" + url.QueryEscape(key) + "&issuer=" + apple.URL)
	}}, nil)
	apple.srv = a.Server
	apple.checkSecret = func(secret string) error {
		token, err := jwt.ParseSigned(secret, []jose.SignatureAlgorithm{jose.ES256})
		if err != nil {
			return err
		}
		var claims jwt.Claims
		if err := token.Claims(curveKey().Public(), &claims); err != nil {
			return err
		}
		if token.Headers[0].KeyID != "KEY" || claims.Expiry.Time().Sub(claims.IssuedAt.Time()) > 10*time.Minute {
			return fmt.Errorf("header %v, claims %v", token.Headers, claims)
		}
		return claims.Validate(jwt.Expected{Issuer: "TEAM", Subject: "manager", AnyAudience: jwt.Audience{apple.URL}, Time: a.Clock.Now()})
	}
	c, email := a.Client(""), testkit.NewEmail()
	post := func(began *authv1.StartExternalSignInResponse, more url.Values) *http.Response {
		t.Helper()
		res, body := open(t, began.AuthorizationUrl)
		form, err := url.ParseQuery(body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("Apple answers %d: %s", res.StatusCode, body)
		}
		maps.Copy(form, more)
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.URL+"/external-sign-in/callback/apple", strings.NewReader(form.Encode()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		req.Header.Set("Origin", "https://appleid.apple.com") // a page of another origin
		req.Header.Set("Sec-Fetch-Site", "cross-site")
		if res, err = noRedirects.Do(req); err != nil {
			t.Fatal(err)
		}
		return res
	}
	apple.now(map[string]any{"sub": "000.x", "email": email, "email_verified": "true"}) // as Apple documents it
	began := a.start(c, "apple", 0)
	res := post(began, url.Values{"user": {`{"name":{"firstName":"Ada","lastName":"` + "\u202e" + `Lovelace"},"email":"victim@example.com"}`}})
	req := a.completion(began, a.told(res, bodyOf(t, res)))
	setup, err := c.ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
	if err != nil || setup.Setup.GetSuggestedDisplayName() != "Ada Lovelace" || setup.Setup.GetEmail() != email {
		t.Fatalf("setup: %v, %v", setup, err)
	}
	req.WorkspaceName = "Acme"
	made, err := c.ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
	if err != nil || made.Account.GetUser().GetDisplayName() != "Ada Lovelace" {
		t.Fatalf("account: %v, %v", made, err)
	}
	apple.now(map[string]any{"sub": "000.y", "email": testkit.NewEmail(), "email_verified": "false"})
	began = a.start(c, "apple", 0)
	res = post(began, url.Values{"user": {"{"}})
	_, err = c.ExternalIdentities.CompleteExternalSignIn(t.Context(), a.completion(began, a.told(res, bodyOf(t, res))))
	precondition(t, "an address that Apple does not vouch for", err, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
	for what, more := range map[string]url.Values{"two states": {"state": {"a", "b"}}, "too much": {"user": {strings.Repeat("x", 70_000)}}, "no state": {"state": nil}} {
		res := post(a.start(c, "apple", 0), more)
		if body := bodyOf(t, res); res.StatusCode != http.StatusBadRequest || res.Header.Get("Location") != "" {
			t.Errorf("%s: %d %s", what, res.StatusCode, body)
		}
	}
	a.CheckInvariants(t)
}

func TestMicrosoft(t *testing.T) {
	t.Parallel()
	const tenant, other = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
	const personal = "9188040d-6c67-4c5b-b112-36a304b66dad"
	many, one := newProvider(t), newProvider(t)
	many.path, one.path = "/organizations/v2.0", "/corp.example/v2.0"
	templated := many.URL + "/{tenantid}/v2.0"
	many.metadata = map[string]any{"issuer": templated}
	one.metadata = map[string]any{"issuer": one.URL + "/" + tenant + "/v2.0"}
	a := newAway(t, testkit.Options{Settings: func(s *config.Settings) {
		s.IdentityProviders += config.IdentityProviders(many.setting("microsoft", "") + one.setting("corp", "&preset=microsoft"))
	}}, nil)
	many.srv, one.srv = a.Server, a.Server
	p, c := a.Register(t), a.Client("")
	keys := func(issuer string) func() any {
		return func() any {
			data, err := json.Marshal(jose.JSONWebKey{Key: rsaKey().Public(), KeyID: "key", Algorithm: "RS256", Use: "sig"})
			if err != nil {
				panic(err)
			}
			key := map[string]any{}
			if err := json.Unmarshal(data, &key); err != nil {
				panic(err)
			}
			key["issuer"] = issuer
			return map[string]any{"keys": []any{key}}
		}
	}
	try := func(at *provider, name string, claims map[string]any) (*authv1.CompleteExternalSignInResponse, error) {
		t.Helper()
		at.now(claims)
		began := a.start(c, name, 0)
		told := a.back(a.authorize(began))
		if reason := told.Get("error"); reason != "" {
			return nil, errors.New(reason)
		}
		return c.ExternalIdentities.CompleteExternalSignIn(t.Context(), a.completion(began, told))
	}
	claims := func(at *provider, id string, more map[string]any) map[string]any {
		m := map[string]any{"iss": at.URL + "/" + id + "/v2.0", "tid": id, "sub": "ada", "email": p.Email}
		maps.Copy(m, more)
		return m
	}
	many.change(func() { many.keys = keys(templated) })
	for what, forged := range map[string]map[string]any{
		"another tenant's issuer":   {"iss": many.URL + "/" + other + "/v2.0"},
		"the template itself":       {"iss": templated, "tid": "{tenantid}"},
		"a tenant that is no id":    {"iss": many.URL + "/common/v2.0", "tid": "common"},
		"a path in place of an id":  {"iss": many.URL + "/x/../y/v2.0", "tid": "x/../y"},
		"no tenant":                 {"tid": nil},
		"another host":              {"iss": "https://evil.example/" + tenant + "/v2.0"},
		"a personal account":        claims(many, personal, nil),
		"the address of the server": {"iss": many.issuer()},
	} {
		if _, err := try(many, "microsoft", claims(many, tenant, forged)); err == nil || err.Error() != "PROVIDER_FAILED" {
			t.Errorf("%s: %v", what, err)
		}
	}
	// Whoever administers a tenant writes what they like for addresses.
	for what, more := range map[string]map[string]any{
		"an address": nil, "email_verified": {"email_verified": true}, "the word true": {"xms_edov": "true"}, "the number 1": {"xms_edov": 1},
	} {
		_, err := try(many, "microsoft", claims(many, tenant, more))
		precondition(t, what, err, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
	}
	res, err := try(many, "microsoft", claims(many, tenant, map[string]any{"xms_edov": true}))
	if err != nil || res.Session.GetUserId() != p.User.Id || res.ExternalIdentity.Issuer != many.URL+"/"+tenant+"/v2.0" {
		t.Fatalf("signed in: %v, %v", res, err)
	}
	// The same subject in another tenant is somebody else.
	_, err = try(many, "microsoft", claims(many, other, nil))
	precondition(t, "another tenant", err, faultv1.Reason_REASON_EMAIL_UNVERIFIED)

	if _, err := try(one, "corp", claims(one, other, nil)); err == nil || err.Error() != "PROVIDER_FAILED" {
		t.Errorf("another tenant than the only one: %v", err)
	}
	if res, err := try(one, "corp", claims(one, tenant, map[string]any{"xms_edov": true})); err != nil || res.Session.GetUserId() != p.User.Id {
		t.Errorf("the only tenant: %v, %v", res, err)
	}
	many.change(func() { many.keys = keys(many.URL + "/" + other + "/v2.0") })
	a.Clock.Advance(2 * time.Hour)
	if _, err := try(many, "microsoft", claims(many, tenant, nil)); err == nil || err.Error() != "PROVIDER_FAILED" {
		t.Errorf("a key of another tenant: %v", err)
	}
}

func TestAProvidersWordIsTakenInItsDomainsOnly(t *testing.T) {
	t.Parallel()
	corp := newProvider(t)
	domain := newDomain()
	a := newAway(t, testkit.Options{Settings: func(s *config.Settings) {
		s.IdentityProviders = config.IdentityProviders(corp.setting("corp", "&email-domains="+domain))
	}}, nil)
	corp.srv = a.Server
	p, c := a.Register(t), a.Client("")
	for email, ok := range map[string]bool{"ada@" + strings.ToUpper(domain): true, p.Email: false, "ada@sub." + domain: false, "ada@evil" + domain: false} {
		corp.now(verified(email, email))
		began := a.start(c, "corp", 0)
		res, err := c.ExternalIdentities.CompleteExternalSignIn(t.Context(), a.completion(began, a.back(a.authorize(began))))
		if !ok {
			precondition(t, email, err, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
		} else if err != nil || res.Setup == nil {
			t.Errorf("%s: %v, %v", email, res, err)
		}
	}
}
