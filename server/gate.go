package server

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/server/rpc"
)

// drainRetry is when a client that was refused may try again: by then another
// replica, or this one started anew, takes the call.
const drainRetry = time.Second

// gate counts running calls and, once closed, lets no new one in.
type gate struct {
	closed  atomic.Bool
	running atomic.Int64
	empty   chan struct{} // gets a value when the last call ends while closed
	closing chan struct{} // is closed with the gate
}

func newGate() *gate { return &gate{empty: make(chan struct{}, 1), closing: make(chan struct{})} }

func (g *gate) close() {
	if !g.closed.Swap(true) {
		close(g.closing)
	}
}

// pass lets calls through, or refuses them with `unavailable` once the gate is
// closed.
func (g *gate) pass(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.running.Add(1) // before the look at closed, so that wait misses no call
		defer g.leave()
		if g.closed.Load() {
			rpc.Refuse(w, r, fault.New(fault.Unavailable, fault.DatabaseUnavailable, "the server is stopping; try again").WithRetryAfter(drainRetry))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (g *gate) leave() {
	if g.running.Add(-1) == 0 && g.closed.Load() {
		select {
		case g.empty <- struct{}{}:
		default:
		}
	}
}

// wait returns once no call runs, or with an error when the context ends first.
// The gate must be closed.
func (g *gate) wait(ctx context.Context) error {
	for g.running.Load() > 0 {
		select {
		case <-g.empty:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
