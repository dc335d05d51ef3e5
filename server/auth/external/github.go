package external

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"golang.org/x/oauth2"

	"github.com/logicspike/manager/store"
)

// gitHubIssuer is where GitHub itself is; other issuers are GitHub Enterprise Servers.
const gitHubIssuer = "https://github.com"

// gitHub speaks OAuth 2.0 and GitHub's API: it has no ID tokens.
type gitHub struct {
	config oauth2.Config
	issuer string
	api    string
	client *http.Client
}

func newGitHub(c Config, redirect string, client *http.Client) *gitHub {
	g := &gitHub{issuer: c.Issuer, api: c.Issuer + "/api/v3", client: client}
	if c.Issuer == gitHubIssuer {
		g.api = "https://api.github.com"
	}
	g.config = oauth2.Config{
		ClientID: c.ClientID, ClientSecret: c.ClientSecret, RedirectURL: redirect, Scopes: c.Scopes,
		Endpoint: oauth2.Endpoint{
			AuthURL: c.Issuer + "/login/oauth/authorize", TokenURL: c.Issuer + "/login/oauth/access_token", AuthStyle: oauth2.AuthStyleInParams,
		},
	}
	if len(c.Scopes) == 0 {
		g.config.Scopes = []string{"read:user", "user:email"}
	}
	return g
}

// reauthenticates is false: GitHub cannot be asked to let somebody prove anew who they
// are, nor does it say when they did.
func (g *gitHub) reauthenticates() bool { return false }

func (g *gitHub) posts() bool { return false }

func (g *gitHub) authorizationURL(_ context.Context, r Request) (string, error) {
	return g.config.AuthCodeURL(r.State, oauth2.S256ChallengeOption(r.Verifier)), nil
}

// checkIssuer accepts both names that GitHub has for itself.
func (g *gitHub) checkIssuer(_ context.Context, issuer string) error {
	if issuer != "" && issuer != g.issuer && issuer != g.issuer+"/login/oauth" {
		return errors.New("the answer is of another issuer")
	}
	return nil
}

func (g *gitHub) identify(ctx context.Context, r Response, sent Sent) (store.ExternalClaims, error) {
	var none store.ExternalClaims
	if !sent.Since.IsZero() {
		return none, ErrStale
	}
	if err := g.checkIssuer(ctx, r.Issuer); err != nil {
		return none, err
	}
	token, err := g.config.Exchange(context.WithValue(ctx, oauth2.HTTPClient, g.client), r.Code, oauth2.VerifierOption(sent.Verifier))
	if err != nil {
		return none, exchangeError(err)
	}
	var user struct {
		ID    int64  `json:"id"`
		Login string `json:"login"`
		Name  string `json:"name"`
	}
	if err := g.get(ctx, token, "/user", &user); err != nil {
		return none, err
	}
	if user.ID <= 0 {
		return none, errors.New("the provider names nobody")
	}
	// By the number, which stays when the login passes to somebody else.
	claims := store.ExternalClaims{Issuer: g.issuer, Subject: strconv.FormatInt(user.ID, 10), Name: cmp.Or(user.Name, user.Login)}
	var emails []struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	err = g.get(ctx, token, "/user/emails", &emails)
	var refused *statusError
	if errors.As(err, &refused) && (refused.status == http.StatusForbidden || refused.status == http.StatusNotFound) {
		return claims, nil // the person did not agree to tell
	}
	for _, e := range emails {
		if e.Primary {
			claims.Email, claims.EmailVerified = e.Email, e.Verified
		}
	}
	return claims, err
}

func (g *gitHub) get(ctx context.Context, token *oauth2.Token, path string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.api+path, nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", "2022-11-28")
	req.Header.Set("Authorization", "Bearer "+token.AccessToken)
	return getJSON(g.client, req, into)
}

// statusError is an answer that says something other than what was asked for.
type statusError struct {
	path   string
	status int
}

func (e *statusError) Error() string {
	return fmt.Sprintf("%s answers with status %d", e.path, e.status)
}
