package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// closeGrace is how long connections may take to end once no call runs.
const closeGrace = time.Second

// Run serves the public listener, and the admin listener unless it is nil, until
// the context ends or a listener fails. Then it drains: it is not ready, refuses
// new calls, waits up to DrainTimeout for running ones, and closes everything,
// the admin listener last.
//
// It returns nil when the context ended and all calls had time to end; else the
// first error of a listener, or one that says that calls were cut off. Both
// listeners are closed when it returns.
func (s *Server) Run(ctx context.Context, public, admin net.Listener) error {
	failed := make(chan error, 2)
	api := newHTTPServer(s.handler, s.options)
	serve(api, limited(public, s.options.MaxConnections), "public", failed)
	if admin != nil {
		operators := newAdminServer(s.admin, s.options)
		serve(operators, admin, "admin", failed)
		defer func() { _ = operators.Close() }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, s.stop(api))
}

func serve(h *http.Server, l net.Listener, name string, failed chan<- error) {
	go func() {
		if err := h.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("%s listener: %w", name, err)
		}
	}()
}

// stop drains the API's server and closes it.
func (s *Server) stop(api *http.Server) error {
	s.Drain()
	s.log.Info("stopping", "running_calls", s.gate.running.Load())
	ctx, cancel := context.WithTimeout(context.Background(), s.options.DrainTimeout)
	defer cancel()
	var err error
	if s.gate.wait(ctx) != nil {
		err = fmt.Errorf("%d calls were cut off after %v", s.gate.running.Load(), s.options.DrainTimeout)
	}
	ctx, cancel = context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	_ = api.Shutdown(ctx) // what does not end by then is closed
	_ = api.Close()
	return err
}
