package external

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/store"
)

const (
	metadataAge   = time.Hour       // how long a provider's metadata are believed
	failureAge    = 2 * time.Second // how long a provider that does not answer is left alone
	clockSkew     = 5 * time.Minute // by how much a provider's clock may be ahead
	reauthLeeway  = time.Minute     // by how much it may be behind, when somebody proves anew who they are
	tenantPattern = "{tenantid}"    // stands for the tenant in Microsoft's issuer
)

// openID speaks OpenID Connect.
type openID struct {
	config   Config
	redirect string
	client   *http.Client
	clock    clock.Clock
	secret   func() (string, error) // the client's

	asking   chan struct{} // holds a value while metadata are being read
	mu       sync.Mutex    // over what follows
	known    *metadata
	failure  error
	failedAt time.Time
}

// metadata are what a provider says of itself (OpenID Connect Discovery 1.0, 3).
type metadata struct {
	*oidc.Provider
	read time.Time

	Issuer            string   `json:"issuer"`
	JWKS              string   `json:"jwks_uri"`
	AuthMethods       []string `json:"token_endpoint_auth_methods_supported"`
	SendsIssuer       bool     `json:"authorization_response_iss_parameter_supported"`
	ClaimsParameter   bool     `json:"claims_parameter_supported"`
	keyIssuers        map[string]string
	keyIssuersFetched sync.Mutex
}

func newOpenID(c Config, redirect string, client *http.Client, clock clock.Clock) (*openID, error) {
	o := &openID{config: c, redirect: redirect, client: client, clock: clock, asking: make(chan struct{}, 1)}
	o.secret = func() (string, error) { return c.ClientSecret, nil }
	if c.Kind == Apple {
		var err error
		if o.secret, err = newAppleSecret(c, clock); err != nil {
			return nil, err
		}
	}
	return o, nil
}

func (o *openID) reauthenticates() bool { return true }

// posts reports whether the provider sends its answer as a form: Apple does when it is
// asked for a name or an address.
func (o *openID) posts() bool { return o.config.Kind == Apple }

// metadata returns what the provider says of itself, asking it at most once an hour
// and one at a time. If it cannot be asked again, what it said last still counts.
func (o *openID) metadata(ctx context.Context) (*metadata, error) {
	if m, err := o.remembered(); m != nil || err != nil {
		return m, err
	}
	select {
	case o.asking <- struct{}{}:
		defer func() { <-o.asking }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if m, err := o.remembered(); m != nil || err != nil { // asked by another one meanwhile
		return m, err
	}
	// For all who wait, and not only for this caller.
	m, err := o.discover(context.WithoutCancel(ctx))
	o.mu.Lock()
	defer o.mu.Unlock()
	if err != nil {
		if o.known != nil {
			o.known.read = o.clock.Now().Add(time.Minute - metadataAge) // and ask again in a minute
			return o.known, nil
		}
		o.failure, o.failedAt = err, time.Now()
		return nil, err
	}
	o.known, o.failure = m, nil
	return m, nil
}

func (o *openID) remembered() (*metadata, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.known != nil && o.clock.Now().Sub(o.known.read) < metadataAge {
		return o.known, nil
	}
	if o.known == nil && o.failure != nil && time.Since(o.failedAt) < failureAge {
		return nil, o.failure
	}
	return nil, nil
}

func (o *openID) discover(ctx context.Context) (*metadata, error) {
	ctx = oidc.ClientContext(ctx, o.client)
	if o.config.Kind == Microsoft {
		// What it is called is checked below.
		ctx = oidc.InsecureIssuerURLContext(ctx, o.config.Issuer)
	}
	p, err := oidc.NewProvider(ctx, o.config.Issuer)
	if err != nil {
		return nil, fmt.Errorf("read the metadata: %w", err)
	}
	m := &metadata{Provider: p, read: o.clock.Now()}
	if err := p.Claims(m); err != nil {
		return nil, fmt.Errorf("read the metadata: %w", err)
	}
	if o.config.Kind == Microsoft && !o.microsoftIssuer(m.Issuer) {
		return nil, errors.New("the metadata name another issuer")
	}
	for _, endpoint := range []string{p.Endpoint().AuthURL, p.Endpoint().TokenURL, m.JWKS} {
		u, err := url.Parse(endpoint)
		if err == nil {
			err = checkURL(u)
		}
		if err != nil {
			return nil, fmt.Errorf("an endpoint in the metadata: %w", err)
		}
	}
	return m, nil
}

func (o *openID) oauth2(m *metadata) *oauth2.Config {
	c := &oauth2.Config{ClientID: o.config.ClientID, Endpoint: m.Endpoint(), RedirectURL: o.redirect, Scopes: o.scopes()}
	// Not tried out: some providers void a code at the first wrong try.
	c.Endpoint.AuthStyle = oauth2.AuthStyleInParams
	if o.config.ClientSecret != "" && (m.AuthMethods == nil || slices.Contains(m.AuthMethods, "client_secret_basic")) {
		c.Endpoint.AuthStyle = oauth2.AuthStyleInHeader
	}
	return c
}

func (o *openID) scopes() []string {
	scopes := o.config.Scopes
	if len(scopes) == 0 {
		scopes = []string{"email", "profile"}
		if o.config.Kind == Apple {
			scopes = []string{"email", "name"}
		}
	}
	if !slices.Contains(scopes, oidc.ScopeOpenID) {
		scopes = append([]string{oidc.ScopeOpenID}, scopes...)
	}
	return scopes
}

func (o *openID) authorizationURL(ctx context.Context, r Request) (string, error) {
	m, err := o.metadata(ctx)
	if err != nil {
		return "", err
	}
	options := []oauth2.AuthCodeOption{oauth2.S256ChallengeOption(r.Verifier), oidc.Nonce(r.Nonce)}
	add := func(key, value string) { options = append(options, oauth2.SetAuthURLParam(key, value)) }
	if o.posts() {
		add("response_mode", "form_post")
	}
	if r.Reauthenticate {
		add("max_age", "0")
		if o.config.Kind == Google { // has no other prompt that asks for anything
			add("prompt", "select_account")
		} else {
			add("prompt", "login")
		}
		if m.ClaimsParameter || o.config.Kind == Google || o.config.Kind == Microsoft {
			add("claims", `{"id_token":{"auth_time":{"essential":true}}}`)
		}
	}
	return o.oauth2(m).AuthCodeURL(r.State, options...), nil
}

// checkIssuer follows RFC 9207, 2.4. An issuer that a provider sends without having
// said that it does must be right as well.
func (o *openID) checkIssuer(ctx context.Context, issuer string) error {
	m, err := o.metadata(ctx)
	if err != nil {
		return err
	}
	right := issuer == m.Issuer
	if strings.Contains(m.Issuer, tenantPattern) {
		right = o.microsoftIssuer(issuer)
	}
	if issuer == "" && m.SendsIssuer || issuer != "" && !right {
		return errors.New("the answer is of another issuer")
	}
	return nil
}

func (o *openID) identify(ctx context.Context, r Response, sent Sent) (store.ExternalClaims, error) {
	var none store.ExternalClaims
	if err := o.checkIssuer(ctx, r.Issuer); err != nil {
		return none, err
	}
	m, err := o.metadata(ctx)
	if err != nil {
		return none, err
	}
	ctx = oidc.ClientContext(ctx, o.client)
	config := o.oauth2(m)
	if config.ClientSecret, err = o.secret(); err != nil {
		return none, err
	}
	token, err := config.Exchange(ctx, r.Code, oauth2.VerifierOption(sent.Verifier))
	if err != nil {
		return none, exchangeError(err)
	}
	raw, _ := token.Extra("id_token").(string)
	id, claims, err := o.verify(ctx, m, raw, sent)
	if err != nil {
		return none, err
	}
	if id.AccessTokenHash != "" {
		if err := id.VerifyAccessToken(token.AccessToken); err != nil {
			return none, err
		}
	}
	if claims.Email == "" && m.UserInfoEndpoint() != "" {
		if err := o.complete(ctx, m, token, id.Subject, claims); err != nil {
			return none, err
		}
	}
	out := store.ExternalClaims{
		Issuer: id.Issuer, Subject: id.Subject, Email: claims.Email, EmailVerified: o.vouches(claims), Name: claims.name(),
	}
	if o.config.Kind == Apple && out.Name == "" {
		out.Name = appleName(r.User)
	}
	return out, nil
}

// idClaims are what is read of an ID token, beside what the library reads, and of the
// UserInfo endpoint.
type idClaims struct {
	AuthorizedParty string          `json:"azp"`
	AuthTime        *json.Number    `json:"auth_time"`
	Email           string          `json:"email"`
	EmailVerified   json.RawMessage `json:"email_verified"`
	DomainVerified  json.RawMessage `json:"xms_edov"` // Microsoft: the tenant has proven the address's domain
	TenantID        string          `json:"tid"`      // Microsoft
	Name            string          `json:"name"`
	GivenName       string          `json:"given_name"`
	FamilyName      string          `json:"family_name"`
}

func (c *idClaims) name() string {
	if c.Name != "" {
		return c.Name
	}
	return strings.TrimSpace(c.GivenName + " " + c.FamilyName)
}

// verify checks an ID token (OpenID Connect Core 1.0, 3.1.3.7). The library checks its
// signature, by a key of the provider and an asymmetric algorithm that the provider
// says it uses, its audience, its times and, but for Microsoft, its issuer.
func (o *openID) verify(ctx context.Context, m *metadata, raw string, sent Sent) (*oidc.IDToken, *idClaims, error) {
	now := o.clock.Now()
	id, err := m.Verifier(&oidc.Config{
		ClientID: o.config.ClientID, Now: func() time.Time { return now }, SkipIssuerCheck: o.config.Kind == Microsoft,
	}).Verify(ctx, raw)
	if err != nil {
		return nil, nil, err
	}
	claims := new(idClaims)
	if err := id.Claims(claims); err != nil {
		return nil, nil, errors.New("the ID token's claims cannot be read")
	}
	if o.config.Kind == Microsoft {
		err = o.checkMicrosoft(ctx, m, raw, id, claims)
	} else {
		id.Issuer = o.config.Issuer // Google's may lack the scheme
	}
	switch {
	case err != nil:
		return nil, nil, err
	case claims.AuthorizedParty != "" && claims.AuthorizedParty != o.config.ClientID,
		claims.AuthorizedParty == "" && len(id.Audience) != 1:
		return nil, nil, errors.New("the ID token is for another client")
	case sent.Nonce == "" || subtle.ConstantTimeCompare([]byte(id.Nonce), []byte(sent.Nonce)) != 1:
		return nil, nil, errors.New("the ID token has another nonce")
	case id.IssuedAt.After(now.Add(clockSkew)):
		return nil, nil, errors.New("the ID token is of the future")
	}
	return id, claims, o.checkAuthTime(claims, sent.Since, now)
}

func (o *openID) checkAuthTime(claims *idClaims, since, now time.Time) error {
	if since.IsZero() {
		return nil
	}
	if claims.AuthTime == nil {
		return ErrStale
	}
	seconds, err := claims.AuthTime.Float64()
	if err != nil {
		return errors.New("the ID token's auth_time is no number")
	}
	at := time.Unix(int64(seconds), 0)
	if at.Before(since.Add(-reauthLeeway)) || at.After(now.Add(clockSkew)) {
		return ErrStale
	}
	return nil
}

// complete reads what the ID token lacks from the UserInfo endpoint (OpenID Connect Core
// 1.0, 5.3).
func (o *openID) complete(ctx context.Context, m *metadata, token *oauth2.Token, subject string, claims *idClaims) error {
	info, err := m.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		return fmt.Errorf("read the user info: %w", err)
	}
	if info.Subject != subject {
		return errors.New("the user info is of somebody else")
	}
	more := new(idClaims)
	if err := info.Claims(more); err != nil {
		return errors.New("the user info cannot be read")
	}
	claims.Email, claims.EmailVerified = more.Email, more.EmailVerified
	if claims.Name == "" {
		claims.Name, claims.GivenName, claims.FamilyName = more.Name, more.GivenName, more.FamilyName
	}
	return nil
}

// vouches reports whether the provider vouches for the address. Only the boolean true
// says so. Apple documents that it may send the word "true" as well. Microsoft's
// addresses are what a tenant's administrators write, and are believed only where the
// tenant has proven the domain.
func (o *openID) vouches(c *idClaims) bool {
	switch o.config.Kind {
	case Apple:
		return string(c.EmailVerified) == "true" || string(c.EmailVerified) == `"true"`
	case Microsoft:
		return string(c.DomainVerified) == "true"
	}
	return string(c.EmailVerified) == "true"
}

var errorCode = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,60}$`)

// exchangeError returns the error of an exchange without what the provider said, which
// can hold anything.
func exchangeError(err error) error {
	var refused *oauth2.RetrieveError
	if !errors.As(err, &refused) {
		return fmt.Errorf("exchange the code: %w", err)
	}
	if errorCode.MatchString(refused.ErrorCode) {
		return errors.New("exchange the code: the provider refused: " + refused.ErrorCode)
	}
	return fmt.Errorf("exchange the code: the provider refused with status %d", refused.Response.StatusCode)
}
