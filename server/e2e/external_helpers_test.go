package e2e

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

const (
	toLink           = authv1.ExternalSignInPurpose_EXTERNAL_SIGN_IN_PURPOSE_LINK
	toReauthenticate = authv1.ExternalSignInPurpose_EXTERNAL_SIGN_IN_PURPOSE_REAUTHENTICATE
	byCookie         = authv1.SessionTransport_SESSION_TRANSPORT_COOKIE
)

// away is a server with an identity provider `acme`.
type away struct {
	*testkit.Server
	t    testing.TB
	acme *provider
}

// newAway starts both. The providers have the names given, beside acme.
func newAway(t testing.TB, o testkit.Options, more map[string]*provider) *away {
	t.Helper()
	a := &away{t: t, acme: newProvider(t)}
	change := o.Settings
	o.Settings = func(s *config.Settings) {
		s.IdentityProviders = config.IdentityProviders(a.acme.setting("acme", "&display-name=Acme+SSO"))
		for name, p := range more {
			s.IdentityProviders += config.IdentityProviders(p.setting(name, ""))
		}
		if change != nil {
			change(s)
		}
	}
	a.Server = testkit.New(t, o)
	a.acme.srv = a.Server
	for _, p := range more {
		p.srv = a.Server
	}
	return a
}

// verified are the claims of somebody for whose address the provider vouches.
func verified(subject, email string) map[string]any {
	return map[string]any{"sub": subject, "email": email, "email_verified": true, "name": "Ada Lovelace"}
}

func (a *away) start(c *client.Client, provider string, purpose authv1.ExternalSignInPurpose) *authv1.StartExternalSignInResponse {
	a.t.Helper()
	res, err := c.ExternalIdentities.StartExternalSignIn(a.t.Context(), &authv1.StartExternalSignInRequest{
		Provider: provider, Purpose: purpose, ReturnUrl: "/done?of=" + provider + "#top",
	})
	if err != nil {
		a.t.Fatalf("StartExternalSignIn: %v", err)
	}
	return res
}

// noRedirects follows no redirect.
var noRedirects = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

func open(t testing.TB, address string) (*http.Response, string) {
	t.Helper()
	res, err := noRedirects.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	return res, bodyOf(t, res)
}

func bodyOf(t testing.TB, res *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	return string(body)
}

// authorize opens the authorization URL, and returns where the provider sends the
// browser.
func (a *away) authorize(began *authv1.StartExternalSignInResponse) string {
	a.t.Helper()
	res, body := open(a.t, began.AuthorizationUrl)
	if res.StatusCode != http.StatusFound {
		a.t.Fatalf("the provider answers %d: %s", res.StatusCode, body)
	}
	return res.Header.Get("Location")
}

// back opens the callback, and returns what the return URL is told.
func (a *away) back(callback string) url.Values {
	a.t.Helper()
	res, body := open(a.t, callback)
	return a.told(res, body)
}

// told reads a redirect to the return URL.
func (a *away) told(res *http.Response, body string) url.Values {
	a.t.Helper()
	to, err := url.Parse(res.Header.Get("Location"))
	if err != nil || res.StatusCode != http.StatusSeeOther {
		a.t.Fatalf("the callback answers %d: %s (%v)", res.StatusCode, body, err)
	}
	if base := a.URL + "/done"; !strings.HasPrefix(to.String(), base+"?of=") || to.Fragment != "top" {
		a.t.Fatalf("the browser is sent to %s", to)
	}
	if res.Header.Get("Referrer-Policy") != "no-referrer" || res.Header.Get("Cache-Control") != "no-store" || res.Header.Get("Set-Cookie") != "" {
		a.t.Errorf("headers of the redirect: %v", res.Header)
	}
	return to.Query()
}

// completion is what completes a sign-in that came back well.
func (a *away) completion(began *authv1.StartExternalSignInResponse, told url.Values) *authv1.CompleteExternalSignInRequest {
	a.t.Helper()
	if told.Get("error") != "" || told.Get("result_token") == "" || told.Get("external_sign_in_id") != began.ExternalSignInId {
		a.t.Fatalf("the return URL is told %v", told)
	}
	return &authv1.CompleteExternalSignInRequest{
		ExternalSignInId: began.ExternalSignInId, ResultToken: told.Get("result_token"), BindingToken: began.BindingToken,
	}
}

// goThere starts a sign-in by acme, goes there and back, and returns what completes it.
func (a *away) goThere(c *client.Client, purpose authv1.ExternalSignInPurpose, who map[string]any) *authv1.CompleteExternalSignInRequest {
	a.t.Helper()
	a.acme.now(who)
	began := a.start(c, "acme", purpose)
	return a.completion(began, a.back(a.authorize(began)))
}

// enter goes there and back, and completes the sign-in.
func (a *away) enter(c *client.Client, purpose authv1.ExternalSignInPurpose, who map[string]any) (*authv1.CompleteExternalSignInResponse, error) {
	a.t.Helper()
	req := a.goThere(c, purpose, who)
	req.WorkspaceName = "Acme"
	return c.ExternalIdentities.CompleteExternalSignIn(a.t.Context(), req)
}

// entered is enter, which must not fail.
func (a *away) entered(c *client.Client, purpose authv1.ExternalSignInPurpose, who map[string]any) *authv1.CompleteExternalSignInResponse {
	a.t.Helper()
	res, err := a.enter(c, purpose, who)
	if err != nil {
		a.t.Fatalf("CompleteExternalSignIn: %v", err)
	}
	return res
}

// identities are those of the caller.
func identities(t testing.TB, c *client.Client) []*authv1.ExternalIdentity {
	t.Helper()
	res, err := c.ExternalIdentities.ListExternalIdentities(t.Context(), &authv1.ListExternalIdentitiesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return res.ExternalIdentities
}

func precondition(t testing.TB, what string, err error, reason faultv1.Reason) {
	t.Helper()
	refused(t, what, err, connect.CodeFailedPrecondition, reason)
}

func challengeInvalid(t testing.TB, what string, err error) {
	t.Helper()
	precondition(t, what, err, faultv1.Reason_REASON_CHALLENGE_INVALID)
}
