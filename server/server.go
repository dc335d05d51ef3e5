// Package server is the HTTP server: it mounts the modules' services, and what
// stands around them, on one listener, and what operators need on another.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/logicspike/manager/internal/jobs"
	"github.com/logicspike/manager/server/billing/payments"
	"github.com/logicspike/manager/server/rpc"
)

// Service is one service of the API.
type Service struct {
	// Name is its full name, as in "logicspike.auth.v1.SessionService".
	Name string
	// Handler makes its handler: the generated constructor, bound to an
	// implementation. The path it returns is "/" + Name + "/".
	Handler func(...connect.HandlerOption) (string, http.Handler)
}

// Options configures a Server. The zero value of a limit is its default.
type Options struct {
	// Services is what is served. Each of their methods needs a rule.
	Services []Service
	// RPC configures what wraps their calls. Its Logger is the server's as well.
	RPC rpc.Options

	// Origins are the web origins whose pages may call the API with credentials,
	// beside the server's own: exact ones, as in "https://app.example.com".
	Origins []string
	// Pages are served beside the API, by their pattern for http.ServeMux.
	Pages map[string]http.Handler
	// Beside are served as Pages are, but to what pages of other origins send as well,
	// and count against the limit of public methods.
	Beside map[string]http.Handler
	// Hooks are served to other programs, by their pattern for http.ServeMux: whatever
	// page or network they come from, they prove by themselves who they are.
	Hooks map[string]http.Handler
	// Payments is what the payment provider is asked by.
	Payments *payments.Service
	// Reflection tells whether clients may ask which services there are.
	Reflection bool
	// Ready returns nil when the server can do its work. It is asked at most once
	// a second and given a second. nil: always ready.
	Ready func(context.Context) error
	// Gatherer is what the admin listener serves as /metrics; nil for none.
	Gatherer prometheus.Gatherer

	// MaxConnections is how many connections the public listener keeps open;
	// further ones wait. Default 4096.
	MaxConnections int
	// ReadHeaderTimeout is how long a client may take to send a request's headers.
	// Default 10 seconds.
	ReadHeaderTimeout time.Duration
	// ReadTimeout is how long a client may take to send a whole request. Default 30
	// seconds.
	ReadTimeout time.Duration
	// IdleTimeout is how long a connection is kept without a request. Default 2
	// minutes.
	IdleTimeout time.Duration
	// DrainTimeout is how long running calls may go on once the server stops.
	// Default: the RPC's RequestTimeout.
	DrainTimeout time.Duration
}

// Server serves the API. Make it by New.
type Server struct {
	options   Options
	log       *slog.Logger
	rules     *rpc.Rules
	stack     *rpc.Stack
	gate      *gate
	readiness *readiness
	origins   *origins
	handler   http.Handler
	admin     http.Handler
}

// New returns a server. It fails when an option is missing or wrong, or when a
// method of a service has no sound rule.
func New(o Options) (*Server, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	names := make([]string, len(o.Services))
	for i, service := range o.Services {
		names[i] = service.Name
	}
	rules, err := rpc.Compile(names...)
	if err != nil {
		return nil, err
	}
	gate := newGate()
	o.RPC.Stopping = gate.closing
	stack, err := rpc.New(rules, o.RPC)
	if err != nil {
		return nil, err
	}
	origins, err := newOrigins(o.Origins)
	if err != nil {
		return nil, err
	}
	s := &Server{options: o, log: o.RPC.Logger, rules: rules, stack: stack, gate: gate, origins: origins}
	s.readiness = newReadiness(o.Ready, s.gate, s.log)
	mux := http.NewServeMux()
	if err := s.mount(mux); err != nil {
		return nil, err
	}
	s.handler = s.origins.allow(secureHeaders(limitBodies(mux, rules)))
	s.admin = s.newAdmin()
	return s, nil
}

func (o *Options) complete() error {
	if o.RPC.RequestTimeout <= 0 {
		o.RPC.RequestTimeout = rpc.DefaultRequestTimeout
	}
	setDefault(&o.MaxConnections, 4096)
	setDefault(&o.ReadHeaderTimeout, 10*time.Second)
	setDefault(&o.ReadTimeout, 30*time.Second)
	setDefault(&o.IdleTimeout, 2*time.Minute)
	setDefault(&o.DrainTimeout, o.RPC.RequestTimeout)
	if o.RPC.Logger == nil {
		return errors.New("a logger is required")
	}
	return nil
}

func setDefault[T int | time.Duration](value *T, preset T) {
	if *value <= 0 {
		*value = preset
	}
}

// mount registers everything that the public listener serves.
func (s *Server) mount(mux *http.ServeMux) error {
	if err := s.mountServices(mux); err != nil {
		return err
	}
	s.mountHealth(mux)
	for pattern, page := range s.options.Pages {
		mux.Handle(pattern, s.origins.protect(page))
	}
	for pattern, handler := range s.options.Beside {
		mux.Handle(pattern, noStore(s.stack.Beside(s.gate.pass(handler))))
	}
	for pattern, hook := range s.options.Hooks {
		mux.Handle(pattern, noStore(s.gate.pass(hook)))
	}
	if s.options.Reflection {
		s.mountReflection(mux)
	}
	return nil
}

// mountServices registers the services: each call is named and logged first, then
// refused when it comes from a foreign web page or when the server is stopping.
func (s *Server) mountServices(mux *http.ServeMux) error {
	for _, service := range s.options.Services {
		path, handler := service.Handler(s.stack.HandlerOptions()...)
		if path != "/"+service.Name+"/" {
			return fmt.Errorf("the handler of service %s is for %s", service.Name, path)
		}
		mux.Handle(path, noStore(s.stack.Wrap(s.origins.protect(s.gate.pass(handler)))))
	}
	return nil
}

// Handler returns what the public listener serves.
func (s *Server) Handler() http.Handler { return s.handler }

// Admin returns what the admin listener serves.
func (s *Server) Admin() http.Handler { return s.admin }

// Rules returns the rules of the methods that are served.
func (s *Server) Rules() *rpc.Rules { return s.rules }

// Payments returns what jobs ask the payment provider by; nil without a provider.
func (s *Server) Payments() jobs.Payments {
	if p := s.options.Payments; p != nil && p.Provider != nil {
		return p
	}
	return nil
}

// Drain makes the server refuse new calls with `unavailable` and report that it
// is not ready, while running calls go on. It cannot be undone.
func (s *Server) Drain() { s.gate.close() }
