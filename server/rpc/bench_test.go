package rpc_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/rpc"
)

// BenchmarkGetSession compares a call through the whole stack with the same call
// to a handler of connect's alone, both without a network.
func BenchmarkGetSession(b *testing.B) {
	w := &world{clock: &clock.Manual{}}
	w.session = &authz.Session{ID: ids.New[ids.Session](), User: ids.New[ids.User](), AuthTime: w.clock.Now()}
	rules, err := rpc.Compile(authv1connect.SessionServiceName)
	if err != nil {
		b.Fatal(err)
	}
	stack, err := rpc.New(rules, rpc.Options{
		Sessions: w, Members: w, Operators: w, Limiter: w, Clock: w.clock,
		Logger:     slog.New(slog.NewJSONHandler(io.Discard, nil)),
		Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		b.Fatal(err)
	}
	_, wrapped := stack.Mount(func(o ...connect.HandlerOption) (string, http.Handler) {
		return authv1connect.NewSessionServiceHandler(sessionService{world: w}, o...)
	})
	_, bare := authv1connect.NewSessionServiceHandler(emptySessions{})
	for name, handler := range map[string]http.Handler{"wrapped": wrapped, "bare": bare} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPost, getSession, strings.NewReader("{}"))
				r.Header.Set("Content-Type", "application/json")
				r.Header.Set("Authorization", "Bearer "+token)
				recorder := httptest.NewRecorder()
				handler.ServeHTTP(recorder, r)
				if recorder.Code != http.StatusOK {
					b.Fatal(recorder.Body)
				}
			}
		})
	}
}
