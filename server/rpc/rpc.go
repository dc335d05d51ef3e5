// Package rpc is what wraps every call: request id, client, limits, who is
// calling, the method's rule, validation, error mapping, logs and metrics. The
// handlers inside see only calls that their rule allows and whose request is
// valid; the callers outside see only errors that this package made.
package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/otelconnect"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/ids"
)

// MaxRequestBytes is the largest request that a method accepts, decompressed, unless
// its rule declares another size. A larger one fails with `resource_exhausted`, reason
// REQUEST_TOO_LARGE.
const MaxRequestBytes = 64 << 10

// maxDeclaredBytes is the largest size that a rule may declare.
const maxDeclaredBytes = 512 << 10

// minCompressBytes is the size from which on answers are compressed.
const minCompressBytes = 1 << 10

// Defaults of Options.
const (
	DefaultReauthenticationAge = 10 * time.Minute
	DefaultRequestTimeout      = 20 * time.Second
)

// Sessions finds sessions.
type Sessions interface {
	// Authenticate returns the live session of the token, which came by the
	// transport. Without one it returns a fault of the kind Unauthenticated.
	Authenticate(ctx context.Context, token string, transport authz.Transport) (*authz.Session, error)
}

// Keys finds API keys.
type Keys interface {
	// AuthenticateKey returns the live API key that a token is. Without one it returns
	// a fault of the kind Unauthenticated.
	AuthenticateKey(ctx context.Context, token string) (*authz.Key, error)
}

// Members finds memberships.
type Members interface {
	// Membership returns the user's membership of the workspace. It returns a
	// fault of the kind NotFound when there is none, also when the workspace never
	// existed or was purged.
	Membership(ctx context.Context, workspace ids.Workspace, user ids.User) (authz.Membership, error)
}

// Operators finds the operators of the server.
type Operators interface {
	// Operator reports whether the user is one.
	Operator(ctx context.Context, user ids.User) (bool, error)
}

// Limiter limits how often one network calls public methods.
type Limiter interface {
	// Take counts one call. It returns a fault of the kind ResourceExhausted, with
	// the time to wait, when the network has made too many.
	Take(ctx context.Context, network string) error
}

// CaptchaHeader carries the answer of the CAPTCHA that a person has solved.
const CaptchaHeader = "Captcha-Response"

// Humans tells people from programs.
type Humans interface {
	// Human checks what a client gave as the answer of a CAPTCHA; "" when it gave
	// none. It returns a fault CAPTCHA_REQUIRED for one that proves nothing, and
	// CAPTCHA_UNAVAILABLE when that cannot be told.
	Human(ctx context.Context, answer string) error
}

// Options configures a Stack.
type Options struct {
	// Sessions, Members, Operators and Limiter decide about callers. Required.
	Sessions  Sessions
	Members   Members
	Operators Operators
	Limiter   Limiter
	// Keys finds API keys; nil for none.
	Keys Keys
	// Humans is asked about calls of methods that are for people; nil: nobody is, and
	// they may be called by programs.
	Humans Humans
	// Fault turns an error that a handler returned into the fault that it means,
	// such as a lost database; nil for none. It returns others as they are.
	Fault func(error) error
	// Clock tells how long ago a session was authenticated. Required.
	Clock clock.Clock
	// Logger gets one line per call: level info, warn when the server is
	// unavailable, error when it failed. It never gets a request, a header or a
	// token. Required.
	Logger *slog.Logger
	// ReauthenticationAge is how long a sign-in counts as recent; by default
	// DefaultReauthenticationAge.
	ReauthenticationAge time.Duration
	// RequestTimeout is the longest that a call may take, from when its request
	// was read; a client may ask for less. It does not count for streams, which have
	// StreamTimeout. By default DefaultRequestTimeout.
	RequestTimeout time.Duration
	// Stopping is closed when the server is told to end: streams are then ended, to be
	// sent again. nil: never.
	Stopping <-chan struct{}
	// TrustedProxies are the networks whose X-Forwarded-For and X-Request-Id are
	// believed. By default none.
	TrustedProxies []netip.Prefix
	// Registerer gets the metrics; nil for none.
	Registerer prometheus.Registerer
	// TracerProvider gets a span per call; nil for none.
	TracerProvider trace.TracerProvider
}

// Stack wraps the calls of the methods that its rules cover. It is safe for
// concurrent use.
type Stack struct {
	options   Options
	rules     *Rules
	validator *validator
	clients   clients
	metrics   *metrics // nil for none
	handler   []connect.HandlerOption

	streamTimeout, messageTimeout time.Duration
}

// New returns a stack for the methods of the rules. It fails when a required
// option is missing or a metric is already registered.
func New(rules *Rules, o Options) (*Stack, error) {
	if rules == nil || o.Sessions == nil || o.Members == nil || o.Operators == nil || o.Limiter == nil || o.Clock == nil || o.Logger == nil {
		return nil, errors.New("rpc: rules, sessions, members, operators, limiter, clock and logger are required")
	}
	if o.ReauthenticationAge <= 0 {
		o.ReauthenticationAge = DefaultReauthenticationAge
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = DefaultRequestTimeout
	}
	s := &Stack{options: o, rules: rules, validator: newValidator(), clients: clients{trusted: o.TrustedProxies}, streamTimeout: StreamTimeout, messageTimeout: MessageTimeout}
	if o.Registerer != nil {
		var err error
		if s.metrics, err = newMetrics(o.Registerer, rules); err != nil {
			return nil, err
		}
	}
	var chain []connect.Interceptor
	if o.TracerProvider != nil {
		tracing, err := otelconnect.NewInterceptor(
			otelconnect.WithTracerProvider(o.TracerProvider),
			otelconnect.WithPropagator(propagation.TraceContext{}),
			otelconnect.WithoutMetrics(),
		)
		if err != nil {
			return nil, err
		}
		chain = append(chain, tracing)
	}
	s.handler = []connect.HandlerOption{
		connect.WithInterceptors(append(chain, interceptor{s})...),
		connect.WithCompressMinBytes(minCompressBytes),
		connect.WithConditionalHandlerOptions(func(spec connect.Spec) []connect.HandlerOption {
			limit := rules.maxBytes(spec.Procedure)
			return []connect.HandlerOption{connect.WithReadMaxBytes(limit), withBoundedGzip(int64(limit))}
		}),
	}
	return s, nil
}

// HandlerOptions returns the options with which handlers of the rules' services
// are made. What they make must be wrapped by Wrap: without it every call fails.
func (s *Stack) HandlerOptions() []connect.HandlerOption { return s.handler }

// Mount makes the handler of a service, given its generated constructor bound to
// an implementation, and wraps it. It returns where to mount it, and it.
func (s *Stack) Mount(register func(...connect.HandlerOption) (string, http.Handler)) (string, http.Handler) {
	path, handler := register(s.handler...)
	return path, s.Wrap(handler)
}
