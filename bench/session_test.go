package bench

import (
	"context"
	"net/http"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server"
	"github.com/logicspike/manager/server/rpc"
)

const (
	sessionCallers  = 32
	sessionRounds   = 15
	sessionDuration = 400 * time.Millisecond
)

// BenchmarkGetSession compares the call that every page makes with a handler
// that does nothing and that nothing of server/rpc wraps: no log, no metrics, no
// limits, no rule. Both are served by one HTTP server. The second line is what
// the wrapping alone takes: the same empty handler inside of it, for a caller
// whose session is known without a database.
func BenchmarkGetSession(b *testing.B) {
	nothing := func(context.Context, *authv1.GetSessionRequest) (*authv1.GetSessionResponse, error) {
		return &authv1.GetSessionResponse{}, nil
	}
	p := start(b, connect.NewUnaryHandlerSimple(authv1connect.SessionServiceGetSessionProcedure, nothing))
	_, tokens := p.accounts(b, sessionCallers)
	wrapped := serveWrapped(b, p)

	side := func(address, path string) func() float64 {
		connections := dial(b, address, sessionCallers)
		requests := make([][]byte, sessionCallers)
		for i := range requests {
			requests[i] = request(path, &authv1.GetSessionRequest{}, "Authorization: Bearer "+tokens[i])
		}
		return func() float64 {
			return steadily(b, sessionCallers, sessionDuration, func(caller int) error {
				return connections[caller].call(requests[caller])
			})
		}
	}
	whole := side(p.address, authv1connect.SessionServiceGetSessionProcedure)
	stack := side(wrapped, authv1connect.SessionServiceGetSessionProcedure)
	empty := side(p.address, "/mailbox/empty")
	for b.Loop() {
		turns := inTurns(sessionRounds, whole, stack, empty)
		b.StopTimer()
		report(b, result{name: "GetSession", turn: turns[0], unit: "calls/s", what: "empty handler", least: 0.30})
		table = append(table, result{name: "  of it, all but the database", turn: turns[1], unit: "calls/s", what: "empty handler"})
		b.StartTimer()
	}
}

// serveWrapped serves a GetSession that does nothing, wrapped as the product's.
func serveWrapped(b *testing.B, p *product) (address string) {
	b.Helper()
	registry := prometheus.NewRegistry()
	s, err := server.New(server.Options{
		Services: []server.Service{{
			Name: authv1connect.SessionServiceName,
			Handler: func(o ...connect.HandlerOption) (string, http.Handler) {
				return authv1connect.NewSessionServiceHandler(emptySessions{}, o...)
			},
		}},
		RPC: rpc.Options{
			Sessions: known{}, Members: known{}, Operators: known{}, Limiter: known{}, Clock: clock.System{}, Logger: p.log, Registerer: registry,
			TrustedProxies: p.settings.TrustedProxies,
		},
	})
	if err != nil {
		b.Fatal(err)
	}
	return serve(b, s)
}

type emptySessions struct {
	authv1connect.UnimplementedSessionServiceHandler
}

func (emptySessions) GetSession(context.Context, *authv1.GetSessionRequest) (*authv1.GetSessionResponse, error) {
	return &authv1.GetSessionResponse{}, nil
}

// known knows everybody and allows everything.
type known struct{}

var somebody = &authz.Session{ID: ids.New[ids.Session](), User: ids.New[ids.User](), Transport: authz.Bearer}

func (known) Authenticate(context.Context, string, authz.Transport) (*authz.Session, error) {
	return somebody, nil
}

func (known) Operator(context.Context, ids.User) (bool, error) { return false, nil }

func (known) Membership(context.Context, ids.Workspace, ids.User) (authz.Membership, error) {
	return authz.Membership{Role: authz.Owner}, nil
}

func (known) Take(context.Context, string) error { return nil }
