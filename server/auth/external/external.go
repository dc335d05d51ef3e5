// Package external asks identity providers who somebody is: OpenID Connect providers
// and GitHub, by the authorization code flow with PKCE.
//
// It follows OpenID Connect Core 1.0, 3.1, RFC 6749, RFC 7636 (always S256), RFC 9207
// and RFC 9700. What providers answer is believed only as far as it is proven: an ID
// token by its signature and all of its claims, an address by the provider's word that
// it is verified.
package external

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/store"
)

// CallbackPath is where providers send browsers back, followed by the provider's name:
// each provider has a redirect URI of its own, so that the answer of one is never taken
// for another's (RFC 9700, 4.4).
const CallbackPath = "/external-sign-in/callback/"

// Kind is how a provider is spoken to.
type Kind string

// The kinds.
const (
	OpenID    Kind = "oidc"
	Google    Kind = "google"
	Microsoft Kind = "microsoft"
	GitLab    Kind = "gitlab"
	Apple     Kind = "apple"
	GitHub    Kind = "github"
)

// Config is one identity provider.
type Config struct {
	// Name is unique. It is part of the provider's redirect URI.
	Name        string
	DisplayName string // what people call it
	Kind        Kind
	// Issuer is the provider's issuer identifier: where its metadata is, and what its ID
	// tokens are from. For GitHub it is the base of its URLs.
	Issuer       string
	ClientID     string
	ClientSecret string // "" for a public client, and for Apple
	// Scopes are asked for. Default: those that tell name and address.
	Scopes []string
	// EmailDomains are those in which the provider's word on addresses is taken, in small
	// letters of ASCII. Default: all.
	EmailDomains []string
	// TeamID, KeyID and PrivateKey (PKCS #8 in PEM) are Apple's in place of a secret.
	TeamID     string
	KeyID      string
	PrivateKey string
}

// Options are what the providers need.
type Options struct {
	Providers []Config
	// PublicURL is where people reach this server.
	PublicURL string
	Clock     clock.Clock
}

// Providers are the identity providers of a server. They are safe for concurrent use.
type Providers struct {
	list []*Provider
}

// New returns the providers. It asks none of them anything.
//
// Errors: when a key cannot be used.
func New(o Options) (*Providers, error) {
	client := newHTTPClient()
	all := &Providers{}
	for _, c := range o.Providers {
		p := &Provider{config: c, redirect: o.PublicURL + CallbackPath + c.Name}
		if c.Kind == GitHub {
			p.flow = newGitHub(c, p.redirect, client)
		} else {
			flow, err := newOpenID(c, p.redirect, client, o.Clock)
			if err != nil {
				return nil, errors.New("identity provider " + c.Name + ": " + err.Error())
			}
			p.flow = flow
		}
		all.list = append(all.list, p)
	}
	return all, nil
}

// List returns the providers in the order of the settings.
func (a *Providers) List() []*Provider { return a.list }

// Find returns the provider of a name, or nil.
func (a *Providers) Find(name string) *Provider {
	i := slices.IndexFunc(a.list, func(p *Provider) bool { return p.config.Name == name })
	if i < 0 {
		return nil
	}
	return a.list[i]
}

// Provider is one identity provider.
type Provider struct {
	config   Config
	redirect string
	flow     flow
}

// Request is what a sign-in asks for.
type Request struct {
	State    string
	Nonce    string
	Verifier string // RFC 7636
	// Reauthenticate asks the provider to let the person prove anew who they are.
	Reauthenticate bool
}

// Response is with what the provider sent the browser back.
type Response struct {
	Code   string
	Issuer string // the parameter `iss` (RFC 9207); "" for none
	User   string // the parameter `user` of Apple; "" for none
}

// Sent is what was asked for before.
type Sent struct {
	Nonce    string
	Verifier string
	// Since is when the person must have proven who they are, at the earliest; zero when
	// any time will do.
	Since time.Time
}

// flow is how one kind of provider is spoken to.
type flow interface {
	authorizationURL(context.Context, Request) (string, error)
	identify(context.Context, Response, Sent) (store.ExternalClaims, error)
	// checkIssuer checks the parameter `iss` of a response, also of a refusal.
	checkIssuer(context.Context, string) error
	reauthenticates() bool
	posts() bool
}

// Name is the provider's name in the settings.
func (p *Provider) Name() string { return p.config.Name }

// DisplayName is what people call the provider.
func (p *Provider) DisplayName() string { return p.config.DisplayName }

// Reauthenticates reports whether the provider can be asked to let somebody prove anew
// who they are.
func (p *Provider) Reauthenticates() bool { return p.flow.reauthenticates() }

// AuthorizationURL returns what the browser is to open.
//
// Errors: any when the provider does not answer, or not as it should.
func (p *Provider) AuthorizationURL(ctx context.Context, r Request) (string, error) {
	return p.flow.authorizationURL(ctx, r)
}

// ErrStale is returned by Identify when the person proved who they are too long ago.
var ErrStale = errors.New("the provider did not ask who it is anew")

// Identify asks the provider who it is.
//
// Errors: ErrStale; any other when the provider refuses, does not answer, or what it
// answers proves nothing.
func (p *Provider) Identify(ctx context.Context, r Response, sent Sent) (store.ExternalClaims, error) {
	claims, err := p.flow.identify(ctx, r, sent)
	if err != nil {
		return store.ExternalClaims{}, err
	}
	if !sane(claims.Subject, maxSubject) || claims.Issuer == "" {
		return store.ExternalClaims{}, errors.New("the provider names nobody")
	}
	address, err := email.Parse(claims.Email)
	if err != nil {
		claims.Email, claims.EmailVerified = "", false
	} else if domains := p.config.EmailDomains; len(domains) > 0 {
		claims.EmailVerified = claims.EmailVerified && slices.Contains(domains, address.Key[strings.LastIndexByte(address.Key, '@')+1:])
	}
	claims.Name = cleanName(claims.Name)
	return claims, nil
}

// maxSubject is the most characters of a subject (OpenID Connect Core 1.0, 2).
const maxSubject = 255

// sane reports whether a text is 1 to most printable characters of ASCII.
func sane(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// maxName is the most characters of a name.
const maxName = 100

// cleanName returns a name as the API allows one, or "".
func cleanName(s string) string {
	s = strings.Join(strings.Fields(strings.Map(printable, strings.ToValidUTF8(s, ""))), " ")
	if runes := []rune(s); len(runes) > maxName {
		s = strings.TrimSpace(string(runes[:maxName]))
	}
	return s
}

// newHTTPClient returns the client that providers are asked with: it waits a few
// seconds, follows no redirects, reads no more than it must, and speaks to no other
// machine without TLS.
func newHTTPClient() *http.Client {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 4
	return &http.Client{
		Timeout:       5 * time.Second,
		Transport:     careful{transport},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 1 << 20

type careful struct{ next http.RoundTripper }

func (c careful) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := checkURL(r.URL); err != nil {
		return nil, err
	}
	res, err := c.next.RoundTrip(r)
	if err == nil {
		res.Body = http.MaxBytesReader(nil, res.Body, maxAnswer)
	}
	return res, err
}
