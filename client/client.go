// Package client calls a LogicSpike Manager server from Go.
//
// A Client has the client of every service. It is made without a network call:
//
//	manager := client.New("https://accounts.example.com", client.WithSession(token))
//	me, err := manager.Users.GetMe(ctx, &identityv1.GetMeRequest{})
//
// A program without a user calls with an API key instead:
//
//	manager := client.New("https://accounts.example.com", client.WithAPIKey(os.Getenv("MANAGER_API_KEY")))
//
// Services of one's own, which verify access tokens by the package client/token, are
// called with those that WithRefresh gives.
//
// Errors are *connect.Error; Reason tells what a program may want to know of one. Calls
// that are safe to repeat are, when the server cannot serve them for the moment or their
// answer is lost: see WithAttempts.
package client

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"time"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/gen/go/logicspike/audit/v1/auditv1connect"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/gen/go/logicspike/billing/v1/billingv1connect"
	"github.com/logicspike/manager/gen/go/logicspike/identity/v1/identityv1connect"
	"github.com/logicspike/manager/gen/go/logicspike/team/v1/teamv1connect"
	"github.com/logicspike/manager/gen/go/logicspike/tenant/v1/tenantv1connect"
)

// Client has the client of every service. It is safe for concurrent use.
type Client struct {
	Registration       authv1connect.RegistrationServiceClient
	Authentication     authv1connect.AuthenticationServiceClient
	Sessions           authv1connect.SessionServiceClient
	Passwords          authv1connect.PasswordServiceClient
	EmailChallenges    authv1connect.EmailChallengeServiceClient
	SecondFactors      authv1connect.MfaServiceClient
	Passkeys           authv1connect.PasskeyServiceClient
	ExternalIdentities authv1connect.ExternalIdentityServiceClient
	Tokens             authv1connect.TokenServiceClient
	APIKeys            authv1connect.ApiKeyServiceClient
	ServiceAccounts    authv1connect.ServiceAccountServiceClient
	Security           authv1connect.SecurityServiceClient
	Operators          authv1connect.OperatorServiceClient
	Users              identityv1connect.UserServiceClient
	Workspaces         tenantv1connect.WorkspaceServiceClient
	Domains            tenantv1connect.DomainServiceClient
	Memberships        teamv1connect.MembershipServiceClient
	Invitations        teamv1connect.InvitationServiceClient
	Roles              teamv1connect.RoleServiceClient
	Authorization      teamv1connect.AuthorizationServiceClient
	JoinRequests       teamv1connect.JoinRequestServiceClient
	Plans              billingv1connect.PlanServiceClient
	Subscriptions      billingv1connect.SubscriptionServiceClient
	Seats              billingv1connect.SeatServiceClient
	Entitlements       billingv1connect.EntitlementServiceClient
	TestClock          billingv1connect.TestClockServiceClient
	Invoices           billingv1connect.InvoiceServiceClient
	Usage              billingv1connect.UsageServiceClient
	Reconciliations    billingv1connect.ReconciliationServiceClient
	Events             auditv1connect.EventServiceClient

	// AccessTokens gives access tokens for services of one's own; nil without WithRefresh.
	AccessTokens *AccessTokens

	url     string
	options options
}

type options struct {
	http     connect.HTTPClient
	token    string
	attempts int
	connect  []connect.ClientOption

	refresh string
	store   func(ctx context.Context, refreshToken string) error
}

// Option changes how a Client calls.
type Option func(*options)

// WithSession sends the token of a session with each call.
func WithSession(token string) Option { return func(o *options) { o.token = token } }

// WithAPIKey sends an API key, `lsmk_…`, with each call: a program then calls the
// methods of the key's workspace that the key's permissions allow. Of WithAPIKey and
// WithSession the last one holds.
func WithAPIKey(key string) Option { return func(o *options) { o.token = key } }

// WithRefresh gives access tokens by a refresh token, from TokenService.CreateRefreshToken
// or the one that was stored last: see Client.AccessTokens. They are for services of
// one's own, by the audience and the workspace of the refresh token. The server's own API
// takes a session's token or an API key, which goes beside.
//
// A refresh token is used once and gives the next one, which store has to keep in its
// place. No access token is given out before store has returned nil. With nil for store
// the next one is kept in memory alone.
func WithRefresh(refreshToken string, store func(ctx context.Context, refreshToken string) error) Option {
	if store == nil {
		store = func(context.Context, string) error { return nil }
	}
	return func(o *options) { o.refresh, o.store = refreshToken, store }
}

// WithAttempts says how often at most a call is sent that is safe to repeat. Default: 4;
// with 1 none is repeated.
//
// Safe is what has no side effects, and what takes a request_id: a message without one is
// sent with a new one, and thus makes one thing however often it is sent. CreateApiKey is
// repeated with a request_id of the caller's alone, since only its first answer holds the
// key: when that is lost, the token of a later one is empty. Such a call is sent again when it fails with `unavailable` or REASON_OVERLOADED, and when no answer
// came, after a pause that grows from 0.1 to 2 seconds, or that the server asks for
// (RetryAfter). It is not when that is more than 5 seconds, or more than the context has left.
func WithAttempts(n int) Option { return func(o *options) { o.attempts = n } }

// WithHTTPClient calls through another HTTP client. Default: one that speaks
// HTTP/2 to https URLs and HTTP/1.1 to others, and keeps no cookies.
func WithHTTPClient(c connect.HTTPClient) Option { return func(o *options) { o.http = c } }

// WithGRPC calls by gRPC instead of Connect. To an http URL it needs HTTP/2
// without TLS, which the default HTTP client then speaks.
func WithGRPC() Option {
	return func(o *options) {
		o.connect = append(o.connect, connect.WithGRPC())
		if o.http == nil {
			o.http = newHTTPClient(true)
		}
	}
}

// WithConnect adds options of the underlying library.
func WithConnect(more ...connect.ClientOption) Option {
	return func(o *options) { o.connect = append(o.connect, more...) }
}

// New returns a client of the server at a URL, such as http://localhost:8080.
func New(url string, list ...Option) *Client {
	o := options{attempts: defaultAttempts}
	for _, option := range list {
		option(&o)
	}
	c := build(url, o)
	if o.refresh != "" {
		c.AccessTokens = &AccessTokens{tokens: c.Tokens, store: o.store, refresh: o.refresh, stored: true}
	}
	return c
}

// As returns a client that calls in the same way with the token of another
// session, or with an API key; with "" none is sent.
func (c *Client) As(token string) *Client {
	o := c.options
	o.token = token
	other := build(c.url, o)
	other.AccessTokens = c.AccessTokens
	return other
}

func build(url string, o options) *Client {
	if o.http == nil {
		o.http = newHTTPClient(false)
	}
	all := slices.Clone(o.connect)
	if o.attempts > 1 {
		all = append(all, connect.WithInterceptors(retries{o.attempts}))
	}
	if o.token != "" {
		all = append(all, connect.WithInterceptors(bearer("Bearer "+o.token)))
	}
	return &Client{
		Registration:       authv1connect.NewRegistrationServiceClient(o.http, url, all...),
		Authentication:     authv1connect.NewAuthenticationServiceClient(o.http, url, all...),
		Sessions:           authv1connect.NewSessionServiceClient(o.http, url, all...),
		Passwords:          authv1connect.NewPasswordServiceClient(o.http, url, all...),
		EmailChallenges:    authv1connect.NewEmailChallengeServiceClient(o.http, url, all...),
		SecondFactors:      authv1connect.NewMfaServiceClient(o.http, url, all...),
		Passkeys:           authv1connect.NewPasskeyServiceClient(o.http, url, all...),
		ExternalIdentities: authv1connect.NewExternalIdentityServiceClient(o.http, url, all...),
		Tokens:             authv1connect.NewTokenServiceClient(o.http, url, all...),
		APIKeys:            authv1connect.NewApiKeyServiceClient(o.http, url, all...),
		ServiceAccounts:    authv1connect.NewServiceAccountServiceClient(o.http, url, all...),
		Security:           authv1connect.NewSecurityServiceClient(o.http, url, all...),
		Operators:          authv1connect.NewOperatorServiceClient(o.http, url, all...),
		Users:              identityv1connect.NewUserServiceClient(o.http, url, all...),
		Workspaces:         tenantv1connect.NewWorkspaceServiceClient(o.http, url, all...),
		Domains:            tenantv1connect.NewDomainServiceClient(o.http, url, all...),
		Memberships:        teamv1connect.NewMembershipServiceClient(o.http, url, all...),
		Invitations:        teamv1connect.NewInvitationServiceClient(o.http, url, all...),
		Roles:              teamv1connect.NewRoleServiceClient(o.http, url, all...),
		Authorization:      teamv1connect.NewAuthorizationServiceClient(o.http, url, all...),
		JoinRequests:       teamv1connect.NewJoinRequestServiceClient(o.http, url, all...),
		Plans:              billingv1connect.NewPlanServiceClient(o.http, url, all...),
		Subscriptions:      billingv1connect.NewSubscriptionServiceClient(o.http, url, all...),
		Seats:              billingv1connect.NewSeatServiceClient(o.http, url, all...),
		Entitlements:       billingv1connect.NewEntitlementServiceClient(o.http, url, all...),
		TestClock:          billingv1connect.NewTestClockServiceClient(o.http, url, all...),
		Invoices:           billingv1connect.NewInvoiceServiceClient(o.http, url, all...),
		Usage:              billingv1connect.NewUsageServiceClient(o.http, url, all...),
		Reconciliations:    billingv1connect.NewReconciliationServiceClient(o.http, url, all...),
		Events:             auditv1connect.NewEventServiceClient(o.http, url, all...),
		url:                url,
		options:            o,
	}
}

func newHTTPClient(http2 bool) *http.Client {
	transport := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
	}
	if http2 {
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP2(true)
		transport.Protocols.SetUnencryptedHTTP2(true)
	}
	return &http.Client{Transport: transport}
}

// bearer sends an Authorization header.
type bearer string

func (b bearer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
		req.Header().Set("Authorization", string(b))
		return next(ctx, req)
	}
}

func (b bearer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, spec connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, spec)
		conn.RequestHeader().Set("Authorization", string(b))
		return conn
	}
}

func (b bearer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}
