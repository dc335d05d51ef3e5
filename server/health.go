package server

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
)

const (
	readyTimeout = time.Second // how long the question may take
	readyAge     = time.Second // how long its answer is believed
	// maxProbeBytes is the largest request of health and reflection.
	maxProbeBytes = 4 << 10
)

var errStopping = errors.New("the server is stopping")

// readiness tells whether the server can do its work.
type readiness struct {
	ask  func(context.Context) error
	gate *gate
	log  *slog.Logger

	mu      sync.Mutex
	asked   time.Time
	answer  error
	pending chan struct{} // closed when the question that is under way is answered
}

func newReadiness(ask func(context.Context) error, g *gate, log *slog.Logger) *readiness {
	if ask == nil {
		ask = func(context.Context) error { return nil }
	}
	return &readiness{ask: ask, gate: g, log: log}
}

// err returns nil when the server is ready. However many ask at once, the
// question is asked once, and believed for readyAge.
func (r *readiness) err() error {
	if r.gate.closed.Load() {
		return errStopping
	}
	r.mu.Lock()
	if r.pending == nil {
		if !r.asked.IsZero() && time.Since(r.asked) < readyAge {
			defer r.mu.Unlock()
			return r.answer
		}
		r.pending = make(chan struct{})
		go r.refresh(r.pending)
	}
	pending := r.pending
	r.mu.Unlock()

	late := time.NewTimer(readyTimeout)
	defer late.Stop()
	select {
	case <-pending:
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.answer
	case <-late.C:
		return context.DeadlineExceeded
	}
}

func (r *readiness) refresh(done chan struct{}) {
	ctx, cancel := context.WithTimeout(context.Background(), readyTimeout)
	defer cancel()
	err := r.ask(ctx)
	r.mu.Lock()
	defer r.mu.Unlock()
	if (err == nil) != (r.answer == nil) {
		if err != nil {
			r.log.Warn("not ready", "error", err)
		} else {
			r.log.Info("ready again")
		}
	}
	r.answer, r.asked, r.pending = err, time.Now(), nil
	close(done)
}

// serveLive answers while the process lives.
func serveLive(w http.ResponseWriter, _ *http.Request) {
	answerProbe(w, http.StatusOK, "ok\n")
}

// ServeHTTP answers 200 when the server is ready, else 503. The cause is for the
// log alone.
func (r *readiness) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	if r.err() != nil {
		answerProbe(w, http.StatusServiceUnavailable, "not ready\n")
		return
	}
	answerProbe(w, http.StatusOK, "ok\n")
}

func answerProbe(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header()["Cache-Control"] = neverStored
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text))
}

// checker answers gRPC's health question for the server and for each service.
type checker struct {
	*readiness
	services map[string]bool
}

// Check implements grpchealth.Checker.
func (c checker) Check(_ context.Context, r *grpchealth.CheckRequest) (*grpchealth.CheckResponse, error) {
	if r.Service != "" && !c.services[r.Service] {
		return nil, connect.NewError(connect.CodeNotFound, errors.New("unknown service"))
	}
	if c.err() != nil {
		return &grpchealth.CheckResponse{Status: grpchealth.StatusNotServing}, nil
	}
	return &grpchealth.CheckResponse{Status: grpchealth.StatusServing}, nil
}

func (s *Server) mountHealth(mux *http.ServeMux) {
	mux.HandleFunc("GET /healthz", serveLive)
	mux.Handle("GET /readyz", s.readiness)
	services := map[string]bool{}
	for _, service := range s.options.Services {
		services[service.Name] = true
	}
	path, handler := grpchealth.NewHandler(checker{s.readiness, services}, connect.WithReadMaxBytes(maxProbeBytes))
	mux.Handle(path, s.origins.protect(handler))
}

// mountReflection lets clients such as grpcurl ask for the services and their
// descriptors.
func (s *Server) mountReflection(mux *http.ServeMux) {
	names := []string{grpchealth.HealthV1ServiceName}
	for _, service := range s.options.Services {
		names = append(names, service.Name)
	}
	reflector := grpcreflect.NewStaticReflector(names...)
	limit := connect.WithReadMaxBytes(maxProbeBytes)
	for _, register := range []func(*grpcreflect.Reflector, ...connect.HandlerOption) (string, http.Handler){
		grpcreflect.NewHandlerV1, grpcreflect.NewHandlerV1Alpha,
	} {
		path, handler := register(reflector, limit)
		mux.Handle(path, s.origins.protect(handler))
	}
}
