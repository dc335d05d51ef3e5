package e2e

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/go-jose/go-jose/v4"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// failed checks that a sign-in by acme ends at the return URL with an error and nothing
// else.
func (a *away) failed(what, reason string) {
	a.t.Helper()
	began := a.start(a.Client(""), "acme", 0)
	told := a.back(a.authorize(began))
	if told.Get("error") != reason || told.Has("result_token") || told.Get("external_sign_in_id") != began.ExternalSignInId {
		a.t.Errorf("%s: the return URL is told %v", what, told)
	}
	_, err := a.Client("").ExternalIdentities.CompleteExternalSignIn(a.t.Context(), &authv1.CompleteExternalSignInRequest{
		ExternalSignInId: began.ExternalSignInId, ResultToken: "lsmxr_", BindingToken: began.BindingToken,
	})
	challengeInvalid(a.t, what, err)
}

func TestAForgedAnswerOfAProviderProvesNothing(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	p := a.Register(t)
	a.acme.now(verified("ada", p.Email))
	now := a.Clock.Now()
	set := func(key string, value any) func(map[string]any) {
		return func(claims map[string]any) { claims[key] = value }
	}
	for what, forge := range map[string]func(map[string]any){
		"another issuer":               set("iss", "https://evil.example"),
		"an issuer with a slash":       set("iss", a.acme.issuer()+"/"),
		"no issuer":                    set("iss", nil),
		"another audience":             set("aud", "somebody-else"),
		"no audience":                  set("aud", nil),
		"several audiences, no azp":    set("aud", []string{"manager", "somebody-else"}),
		"another authorized party":     set("azp", "somebody-else"),
		"another party of several":     func(c map[string]any) { c["aud"], c["azp"] = []string{"manager", "x"}, "x" },
		"another nonce":                set("nonce", strings.Repeat("n", 43)),
		"no nonce":                     set("nonce", nil),
		"an empty nonce":               set("nonce", ""),
		"expired":                      set("exp", now.Add(-time.Second).Unix()),
		"without an end":               func(c map[string]any) { delete(c, "exp") },
		"of the future":                set("iat", now.Add(time.Hour).Unix()),
		"not valid yet":                set("nbf", now.Add(time.Hour).Unix()),
		"no subject":                   set("sub", nil),
		"an empty subject":             set("sub", ""),
		"a subject of control letters": set("sub", "ada\n"),
		"a subject too long":           set("sub", strings.Repeat("a", 256)),
		"another hash of access token": set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
		"an address that is a number":  set("email", 1),
	} {
		a.acme.change(func() { a.acme.forge = forge })
		a.failed(what, "PROVIDER_FAILED")
	}
	a.acme.change(func() { a.acme.forge = nil })

	hs := func(key []byte) func([]byte) string {
		return func(payload []byte) string {
			text := unsigned(`{"alg":"HS256","kid":"key"}`, payload, nil)
			mac := hmac.New(sha256.New, key)
			mac.Write([]byte(strings.TrimSuffix(text, ".")))
			return unsigned(`{"alg":"HS256","kid":"key"}`, payload, mac.Sum(nil))
		}
	}
	public, err := x509.MarshalPKIXPublicKey(rsaKey().Public())
	if err != nil {
		t.Fatal(err)
	}
	for what, sign := range map[string]func([]byte) string{
		"no algorithm":                     func(p []byte) string { return unsigned(`{"alg":"none"}`, p, nil) },
		"no algorithm in capitals":         func(p []byte) string { return unsigned(`{"alg":"None","kid":"key"}`, p, nil) },
		"signed with the client's secret":  hs([]byte(a.acme.secret)),
		"signed with the public key":       hs(public),
		"signed with a key of nobody":      func(p []byte) string { return sign(jose.RS256, otherKey(), "key", p) },
		"a key of nobody with its own id":  func(p []byte) string { return sign(jose.RS256, otherKey(), "mine", p) },
		"a key of nobody without an id":    func(p []byte) string { return sign(jose.RS256, otherKey(), "", p) },
		"an algorithm that is not offered": func(p []byte) string { return sign(jose.PS256, rsaKey(), "key", p) },
		"a key that it brings itself": func(p []byte) string {
			signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: otherKey(), KeyID: "key"}}, &jose.SignerOptions{EmbedJWK: true})
			if err != nil {
				t.Fatal(err)
			}
			signed, err := signer.Sign(p)
			if err != nil {
				t.Fatal(err)
			}
			text, _ := signed.CompactSerialize()
			return text
		},
		"not signed to the end": func(p []byte) string {
			text := sign(jose.RS256, rsaKey(), "key", p)
			return text[:len(text)-4]
		},
		"another content": func(p []byte) string {
			parts := strings.Split(sign(jose.RS256, rsaKey(), "key", []byte("{}")), ".")
			return parts[0] + "." + strings.Split(unsigned("", p, nil), ".")[1] + "." + parts[2]
		},
		"no token": func([]byte) string { return "" },
		"no JWT":   func([]byte) string { return "a.b" },
	} {
		a.acme.change(func() { a.acme.sign = sign })
		a.failed(what, "PROVIDER_FAILED")
	}
	if list := identities(t, p.Client); len(list) != 0 {
		t.Fatalf("linked %v", list)
	}
	// And what is right is taken, whatever of it is unusual.
	a.acme.change(func() {
		a.acme.sign = func(p []byte) string { return sign(jose.ES256, curveKey(), "curve", p) }
		a.acme.forge = func(c map[string]any) { c["aud"], c["azp"] = []string{"x", "manager"}, "manager" }
	})
	a.entered(a.Client(""), 0, verified("ada", p.Email))
	a.CheckInvariants(t)
}

func TestUserInfoIsOfThePersonInTheToken(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	p := a.Register(t)
	a.acme.now(map[string]any{"sub": "mallory"})
	for what, info := range map[string]map[string]any{
		"somebody else": verified("ada", p.Email), "nobody": {"email": p.Email, "email_verified": true},
	} {
		a.acme.change(func() { a.acme.userinfo = info })
		a.failed(what, "PROVIDER_FAILED")
	}
	a.acme.change(func() {
		a.acme.userinfo = map[string]any{"sub": "mallory", "email": p.Email, "email_verified": "true"}
	})
	a.acme.srv.Clock.Advance(2 * time.Hour) // the metadata are read again
	_, err := a.enter(a.Client(""), 0, map[string]any{"sub": "mallory"})
	precondition(t, "the word true", err, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
	a.acme.change(func() { a.acme.userinfo = verified("ada", p.Email) })
	if res := a.entered(a.Client(""), 0, map[string]any{"sub": "ada"}); res.Session.GetUserId() != p.User.Id {
		t.Errorf("signed in: %v", res)
	}
}

func TestTheAnswerOfOneProviderIsNotTakenForAnothers(t *testing.T) {
	t.Parallel()
	other := newProvider(t)
	a := newAway(t, testkit.Options{}, map[string]*provider{"other": other})
	page := func(what, callback string, status int) {
		t.Helper()
		res, body := open(t, callback)
		if res.StatusCode != status || res.Header.Get("Location") != "" || !strings.Contains(body, "Not signed in") || res.Header.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %d to %q\n%s", what, res.StatusCode, res.Header.Get("Location"), body)
		}
	}
	a.acme.now(verified("ada", testkit.NewEmail()))
	callback := a.authorize(a.start(a.Client(""), "acme", 0))
	// The attacker's provider sends the browser with acme's code to its own redirect URI,
	// where the code would be sent to the attacker.
	page("another provider's callback", strings.Replace(callback, "/callback/acme", "/callback/other", 1), http.StatusBadRequest)
	page("a provider that there is not", strings.Replace(callback, "/callback/acme", "/callback/evil", 1), http.StatusNotFound)
	if told := a.back(callback); told.Get("result_token") == "" {
		t.Errorf("its own callback: %v", told)
	}
	page("a state that was used", callback, http.StatusBadRequest)
	u, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	for what, change := range map[string]func(url.Values){
		"another state": func(q url.Values) { q.Set("state", "lsmxs_"+strings.Repeat("a", 43)) },
		"no state":      func(q url.Values) { q.Del("state") },
		"two states":    func(q url.Values) { q.Add("state", q.Get("state")) },
		"two codes":     func(q url.Values) { q.Add("code", "x") },
	} {
		fresh, err := url.Parse(a.authorize(a.start(a.Client(""), "acme", 0)))
		if err != nil {
			t.Fatal(err)
		}
		q := fresh.Query()
		change(q)
		u.RawQuery = q.Encode()
		page(what, u.String(), http.StatusBadRequest)
	}

	// RFC 9207: also one that is sent without having been announced.
	for what, iss := range map[string][]string{"of another provider": {other.issuer()}, "with a slash": {a.acme.issuer() + "/"}} {
		a.acme.change(func() { a.acme.iss = iss })
		a.failed("iss "+what, "PROVIDER_FAILED")
	}
	a.acme.change(func() { a.acme.iss = []string{a.acme.issuer()} })
	a.entered(a.Client(""), 0, verified("ada", testkit.NewEmail()))
	a.acme.change(func() {
		a.acme.iss, a.acme.metadata = nil, map[string]any{"authorization_response_iss_parameter_supported": true}
	})
	a.Clock.Advance(2 * time.Hour)
	a.failed("no iss of who says that it sends one", "PROVIDER_FAILED")
	a.acme.change(func() { a.acme.refuses = "access_denied" })
	a.failed("nor when it refuses", "PROVIDER_FAILED")
	a.acme.change(func() { a.acme.iss = []string{a.acme.issuer()} })
	a.failed("refused", "ACCESS_DENIED")
	a.acme.change(func() { a.acme.refuses = "server_error" })
	a.failed("out of order", "PROVIDER_FAILED")
}

func TestACodeIsExchangedForTheSignInThatAskedForItAlone(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	c := a.Client("")
	a.acme.now(verified("victim", testkit.NewEmail()))
	stolen, err := url.Parse(a.authorize(a.start(c, "acme", 0)))
	if err != nil {
		t.Fatal(err)
	}
	mine := a.start(c, "acme", 0)
	to, err := url.Parse(a.authorize(mine))
	if err != nil {
		t.Fatal(err)
	}
	q := to.Query()
	q.Set("code", stolen.Query().Get("code")) // injected: PKCE and the nonce tell
	to.RawQuery = q.Encode()
	if told := a.back(to.String()); told.Get("error") != "PROVIDER_FAILED" {
		t.Errorf("an injected code: %v", told)
	}
}

// Neither a sign-in that an attacker started and a victim authorized, nor one that an
// attacker authorized and a victim is to complete, is completed.
func TestASignInIsCompletedByWhoStartedItAndWhoCameBack(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	c := a.Client("")
	email := testkit.NewEmail()
	a.acme.now(verified("victim", email))
	attackers, victims := a.start(c, "acme", 0), a.start(c, "acme", 0)
	theirs, own := a.completion(attackers, a.back(a.authorize(attackers))), a.completion(victims, a.back(a.authorize(victims)))
	tryIt := func(what string, c *client.Client, change func(*authv1.CompleteExternalSignInRequest)) {
		t.Helper()
		req := &authv1.CompleteExternalSignInRequest{
			ExternalSignInId: own.ExternalSignInId, ResultToken: own.ResultToken, BindingToken: own.BindingToken, WorkspaceName: "Acme",
		}
		change(req)
		_, err := c.ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
		challengeInvalid(t, what, err)
	}
	tryIt("another's result", c, func(r *authv1.CompleteExternalSignInRequest) { r.ResultToken = theirs.ResultToken })
	tryIt("another's binding", c, func(r *authv1.CompleteExternalSignInRequest) { r.BindingToken = theirs.BindingToken })
	tryIt("another's id", c, func(r *authv1.CompleteExternalSignInRequest) { r.ExternalSignInId = theirs.ExternalSignInId })
	tryIt("no binding", c, func(r *authv1.CompleteExternalSignInRequest) { r.BindingToken = "" })
	tryIt("the binding as the result", c, func(r *authv1.CompleteExternalSignInRequest) { r.ResultToken = own.BindingToken })
	tryIt("the result as the binding", c, func(r *authv1.CompleteExternalSignInRequest) { r.BindingToken = own.ResultToken })
	q, err := url.Parse(attackers.AuthorizationUrl)
	if err != nil {
		t.Fatal(err)
	}
	tryIt("the state as the result", c, func(r *authv1.CompleteExternalSignInRequest) { r.ResultToken = q.Query().Get("state") })
	p := a.Register(t)
	tryIt("a session's token as the result", c, func(r *authv1.CompleteExternalSignInRequest) { r.ResultToken = p.Token })
	tryIt("the binding of a client as a cookie", withCookie(a, "__Host-manager_external="+own.BindingToken),
		func(r *authv1.CompleteExternalSignInRequest) { r.BindingToken = "" })
	_, err = a.Client("", client.WithSession(own.ResultToken)).Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})
	refused(t, "the result as a session's token", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)

	// One that has not come back yet, and one whose time is over.
	waiting := a.start(c, "acme", 0)
	tryIt("before the provider has answered", c, func(r *authv1.CompleteExternalSignInRequest) {
		r.ExternalSignInId, r.BindingToken = waiting.ExternalSignInId, waiting.BindingToken
	})
	callback := a.authorize(waiting)
	a.Clock.Advance(10 * time.Minute)
	tryIt("after ten minutes", c, func(*authv1.CompleteExternalSignInRequest) {})
	if res, _ := open(t, callback); res.StatusCode != http.StatusBadRequest {
		t.Errorf("a callback after ten minutes answers %d", res.StatusCode)
	}
	if err := a.Store.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	var left int
	if err := a.SQL.QueryRow(t.Context(), "SELECT count(*) FROM auth.external_sign_ins WHERE expire_time < $1", a.Clock.Now()).Scan(&left); err != nil || left != 0 {
		t.Errorf("%d sign-ins are left, %v", left, err)
	}
}

// withCookie calls with a cookie.
func withCookie(a *away, cookie string) *client.Client {
	return a.Client("", client.WithHTTPClient(&http.Client{Transport: cookies(cookie)}))
}

type cookies string

func (c cookies) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Cookie", string(c))
	return http.DefaultTransport.RoundTrip(r)
}

func TestABrowserIsBoundByACookie(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	a.acme.now(verified("ada", testkit.NewEmail()))
	begin := func(c *client.Client) (*authv1.StartExternalSignInResponse, *http.Cookie) {
		t.Helper()
		ctx, info := connect.NewClientContext(t.Context())
		began, err := c.ExternalIdentities.StartExternalSignIn(ctx, &authv1.StartExternalSignInRequest{
			Provider: "acme", ReturnUrl: "/done?of=acme#top", SessionTransport: byCookie,
		})
		if err != nil || began.BindingToken != "" {
			t.Fatalf("StartExternalSignIn = %v, %v", began, err)
		}
		set, err := http.ParseSetCookie(info.ResponseHeader().Get("Set-Cookie"))
		if err != nil || set.Name != "__Host-manager_external" || !set.HttpOnly || !set.Secure || set.Path != "/" || set.Domain != "" ||
			set.SameSite != http.SameSiteStrictMode || set.MaxAge != 600 {
			t.Fatalf("Set-Cookie: %v, %v", set, err)
		}
		return began, set
	}
	// Two tabs of one browser, and another browser.
	first, cookie := begin(a.Client(""))
	mine := withCookie(a, cookie.Name+"="+cookie.Value)
	second, cookie := begin(mine)
	mine = withCookie(a, "x=y; "+cookie.Name+"="+cookie.Value)
	_, foreign := begin(a.Client(""))
	for i, began := range []*authv1.StartExternalSignInResponse{first, second} {
		req := a.completion(began, a.back(a.authorize(began)))
		req.WorkspaceName = "Acme"
		for what, c := range map[string]*client.Client{"no browser": a.Client(""), "another browser": withCookie(a, foreign.Name+"="+foreign.Value)} {
			_, err := c.ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
			challengeInvalid(t, what, err)
		}
		req.BindingToken, _, _ = strings.Cut(cookie.Value, ".")
		_, err := a.Client("").ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
		challengeInvalid(t, "the cookie's value in the request", err)
		req.BindingToken = ""
		ctx, info := connect.NewClientContext(t.Context())
		res, err := mine.ExternalIdentities.CompleteExternalSignIn(ctx, req)
		if err != nil || res.SessionToken != "" || res.Account.GetSessionToken() != "" || (res.Account == nil) != (i == 1) {
			t.Fatalf("CompleteExternalSignIn = %v, %v", res, err)
		}
		cookieToken(t, info.ResponseHeader().Get("Set-Cookie"))
	}
	// However many are started, the cookie stays small.
	for range 20 {
		_, cookie = begin(mine)
		mine = withCookie(a, cookie.Name+"="+cookie.Value)
	}
	if n := len(strings.Split(cookie.Value, ".")); n != 4 {
		t.Errorf("the cookie holds %d bindings", n)
	}
}

func TestTheBrowserIsSentNowhereElse(t *testing.T) {
	t.Parallel()
	const app, native = "https://app.example.com/done?x=1", "com.example.app:/done"
	a := newAway(t, testkit.Options{Settings: func(s *config.Settings) { s.ReturnURLs = config.ReturnURLs{app, native} }}, nil)
	a.acme.now(verified("ada", testkit.NewEmail()))
	c := a.Client("")
	begin := func(to string) (*authv1.StartExternalSignInResponse, error) {
		return c.ExternalIdentities.StartExternalSignIn(t.Context(), &authv1.StartExternalSignInRequest{Provider: "acme", ReturnUrl: to})
	}
	for _, to := range []string{
		"https://evil.example/", "//evil.example", "///evil.example", `/\evil.example`, `\\evil.example`, "/\t/evil.example", "/ /evil.example",
		"https:evil.example", "javascript:alert(1)", "data:text/html,x", "done", "./done", "@evil.example", ".evil.example", ":80@evil.example/",
		app + "&y=2", app + "#x", "https://app.example.com/done", "https://app.example.com/done?x=1/", "HTTPS://app.example.com/done?x=1",
		"https://app.example.com@evil.example/done?x=1", a.URL + "/done", "/done\u2028", "/é", "com.example.app:/other", "/%zz",
	} {
		_, err := begin(to)
		if client.Reason(err) != faultv1.Reason_REASON_RETURN_URL_NOT_ALLOWED && client.Reason(err) != faultv1.Reason_REASON_FIELD_INVALID {
			t.Errorf("%q: %v", to, err)
		}
	}
	for to, want := range map[string]string{
		app: app + "&", native: native + "?", "/": a.URL + "/?", "/a/b?c=d&": a.URL + "/a/b?c=d&", "/?": a.URL + "/?", "/@evil.example": a.URL + "/@evil.example?",
		"/..//evil.example": a.URL + "/..//evil.example?", "/x#/route?y": a.URL + "/x?",
	} {
		began, err := begin(to)
		if err != nil {
			t.Errorf("%q: %v", to, err)
			continue
		}
		res, _ := open(t, a.authorize(began))
		if got := res.Header.Get("Location"); res.StatusCode != http.StatusSeeOther || !strings.HasPrefix(got, want+"external_sign_in_id=xsi_") || !strings.Contains(got, "result_token=") {
			t.Errorf("%q: sent to %s", to, got)
		}
	}
	_, err := c.ExternalIdentities.StartExternalSignIn(t.Context(), &authv1.StartExternalSignInRequest{Provider: "unknown", ReturnUrl: "/"})
	precondition(t, "a provider that there is not", err, faultv1.Reason_REASON_PROVIDER_UNKNOWN)
}

func TestAProviderThatIsDown(t *testing.T) {
	t.Parallel()
	down := newProvider(t)
	a := newAway(t, testkit.Options{}, map[string]*provider{"down": down})
	down.Close()
	_, err := a.Client("").ExternalIdentities.StartExternalSignIn(t.Context(), &authv1.StartExternalSignInRequest{Provider: "down", ReturnUrl: "/"})
	refused(t, "a provider that does not answer", err, connect.CodeUnavailable, faultv1.Reason_REASON_PROVIDER_FAILED)

	a.acme.now(verified("ada", testkit.NewEmail()))
	for _, status := range []int{http.StatusInternalServerError, http.StatusFound, http.StatusUnauthorized} {
		a.acme.change(func() { a.acme.status = status })
		a.failed("a token endpoint that is out of order", "PROVIDER_FAILED")
	}
	a.acme.change(func() { a.acme.status, a.acme.keys = 0, func() any { return strings.Repeat("x", 2<<20) } })
	a.failed("keys without end", "PROVIDER_FAILED")
	a.acme.change(func() { a.acme.keys = nil })
	callback := a.authorize(a.start(a.Client(""), "acme", 0))
	a.acme.Close()
	if told := a.back(callback); told.Get("error") != "PROVIDER_FAILED" {
		t.Errorf("down meanwhile: %v", told)
	}
}

func TestMetadataThatCannotBeRightAreRefused(t *testing.T) {
	t.Parallel()
	for what, metadata := range map[string]map[string]any{
		"another issuer":           {"issuer": "https://evil.example"},
		"a token endpoint by http": {"token_endpoint": "http://id.example/token"},
		"keys by http":             {"jwks_uri": "http://id.example/keys"},
		"a script to open":         {"authorization_endpoint": "javascript:alert(1)"},
		"no token endpoint":        {"token_endpoint": ""},
	} {
		a := newAway(t, testkit.Options{WithoutJobs: true}, nil)
		a.acme.change(func() { a.acme.metadata = metadata })
		_, err := a.Client("").ExternalIdentities.StartExternalSignIn(t.Context(), &authv1.StartExternalSignInRequest{Provider: "acme", ReturnUrl: "/"})
		refused(t, what, err, connect.CodeUnavailable, faultv1.Reason_REASON_PROVIDER_FAILED)
		a.Stop()
	}
}

func TestTheCallbackTakesNothingElse(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	a.acme.now(verified("ada", testkit.NewEmail()))
	began := a.start(a.Client(""), "acme", 0)
	callback := a.authorize(began)
	for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut, http.MethodOptions} {
		req, err := http.NewRequestWithContext(t.Context(), method, callback, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", a.acme.URL)
		res, err := noRedirects.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode < 400 && method != http.MethodOptions || res.Header.Get("Location") != "" || res.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v", method, res.StatusCode, res.Header)
		}
	}
	a.completion(began, a.back(callback)) // not used up
}

func TestTheCallbackIsLimitedPerNetwork(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{Settings: func(s *config.Settings) { s.PublicBurst, s.PublicRate = 5, 1 }}, nil)
	status := func(from string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, a.URL+"/external-sign-in/callback/acme?state=x&code=y", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Forwarded-For", from)
		res, err := noRedirects.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode == http.StatusTooManyRequests && res.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		return res.StatusCode
	}
	for range 5 {
		if got := status("192.0.2.1"); got != http.StatusBadRequest {
			t.Errorf("within the limit: %d", got)
		}
	}
	if got := status("192.0.2.1"); got != http.StatusTooManyRequests {
		t.Errorf("over the limit: %d", got)
	}
	if got := status("192.0.2.2"); got != http.StatusBadRequest {
		t.Errorf("another network: %d", got)
	}
}

func TestNoSecretOfASignInIsLoggedOrStored(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	email := testkit.NewEmail()
	a.acme.now(verified("ada", email))
	began := a.start(a.Client(""), "acme", 0)
	asked, err := url.Parse(began.AuthorizationUrl)
	if err != nil {
		t.Fatal(err)
	}
	callback := a.authorize(began)
	sent, err := url.Parse(callback)
	if err != nil {
		t.Fatal(err)
	}
	req := a.completion(began, a.back(callback))
	a.acme.change(func() { a.acme.forge = func(c map[string]any) { c["nonce"] = "hunter2" } })
	a.failed("a refused answer", "PROVIDER_FAILED")
	var row string
	if err := a.SQL.QueryRow(t.Context(), "SELECT string_agg(i::text, ' ') FROM auth.external_sign_ins i").Scan(&row); err != nil {
		t.Fatal(err)
	}
	for what, secret := range map[string]string{
		"state": asked.Query().Get("state"), "nonce": asked.Query().Get("nonce"), "code": sent.Query().Get("code"), "result": req.ResultToken,
		"binding": req.BindingToken, "client secret": a.acme.secret, "address": email,
	} {
		if strings.Contains(a.Log.String(), secret) {
			t.Errorf("the %s is logged", what)
		}
		if strings.Contains(row, secret) {
			t.Errorf("the %s is stored", what)
		}
	}
	if !strings.Contains(a.Log.String(), "provider=acme") {
		t.Error("what providers answer is not logged")
	}
}
