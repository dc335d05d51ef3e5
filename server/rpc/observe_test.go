package rpc_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	oteltrace "go.opentelemetry.io/otel/trace"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/server/rpc"
)

func TestEachCallHasOneLineWithoutSecrets(t *testing.T) {
	w := newWorld(t, nil)
	sessions := authv1connect.NewSessionServiceClient(h2c, w.url, connect.WithGRPC())
	if _, err := sessions.GetSession(signedIn(), &authv1.GetSessionRequest{}); err != nil {
		t.Fatal(err)
	}
	client := authv1connect.NewAuthenticationServiceClient(http.DefaultClient, w.url)
	_, err := client.SignInWithPassword(context.Background(), &authv1.SignInWithPasswordRequest{Email: "someone@b.c", Password: "secret\x00"})
	w.handle = func(context.Context) error {
		return fault.New(fault.Unavailable, fault.DatabaseUnavailable, "later").WithCause(errors.New("no route"))
	}
	_, _ = client.SignInWithPassword(context.Background(), &authv1.SignInWithPasswordRequest{Email: "someone@b.c", Password: "secret"})
	w.post("/logicspike.auth.v1.SessionService/"+strings.Repeat("x", 50), "application/json", strings.NewReader("{}"))

	want := []map[string]any{
		{"level": "INFO", "msg": "rpc", "procedure": getSession, "code": "ok", "client": "127.0.0.1", "protocol": "grpc", "user_id": w.session.User.String()},
		{"level": "INFO", "msg": "rpc", "procedure": signIn, "code": "invalid_argument", "reason": "FIELD_INVALID", "client": "127.0.0.1", "protocol": "connect", "request_id": refusalOf(t, err).requestID},
		{"level": "WARN", "msg": "rpc", "procedure": signIn, "code": "unavailable", "reason": "UNAVAILABLE", "client": "127.0.0.1", "protocol": "connect", "error": "UNAVAILABLE: later: no route"},
		{"level": "INFO", "msg": "rpc", "procedure": "unknown", "code": "unimplemented", "client": "127.0.0.1", "protocol": ""},
	}
	for i := range want {
		got := w.line(i)
		if got["duration"] == nil || got["request_id"] == "" {
			t.Errorf("%v", got)
		}
		delete(got, "duration")
		delete(got, "time")
		if want[i]["request_id"] == nil {
			delete(got, "request_id")
		}
		if diff := cmp.Diff(want[i], got); diff != "" {
			t.Error(diff)
		}
	}
	if log := w.log.String(); len(w.lines()) != len(want) || strings.Contains(log, "secret") || strings.Contains(log, "someone") || strings.Contains(log, token) {
		t.Errorf("log: %s", log)
	}
}

func TestCallsAreCounted(t *testing.T) {
	registry := prometheus.NewRegistry()
	w := newWorld(t, func(o *rpc.Options) { o.Registerer = registry })
	client := authv1connect.NewSessionServiceClient(http.DefaultClient, w.url)
	during := ""
	w.handle = func(context.Context) error { during = gather(t, registry); return nil }
	if _, err := client.GetSession(signedIn(), &authv1.GetSessionRequest{}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(during, "rpc_server_in_flight 1\n") {
		t.Errorf("during the call: %s", during)
	}
	_, _ = client.GetSession(context.Background(), &authv1.GetSessionRequest{})
	w.post(getSession, "application/json", strings.NewReader("{"))
	w.post("/logicspike.auth.v1.SessionService/Other", "application/json", strings.NewReader("{}"))
	w.line(3)
	after := gather(t, registry)
	for _, line := range []string{
		"rpc_server_in_flight 0\n",
		"rpc_server_handled_total code:ok procedure:" + getSession + " 1\n",
		"rpc_server_handled_total code:unauthenticated procedure:" + getSession + " 1\n",
		"rpc_server_handled_total code:invalid_argument procedure:" + getSession + " 1\n",
		"rpc_server_handled_total code:unimplemented procedure:unknown 1\n",
		"rpc_server_duration_seconds procedure:" + getSession + " 3\n",
	} {
		if !strings.Contains(after, line) {
			t.Errorf("%q is missing in %s", line, after)
		}
	}
}

// gather returns the metrics, one a line: name, labels, value (a histogram's
// count).
func gather(t *testing.T, g prometheus.Gatherer) string {
	families, err := g.Gather()
	if err != nil {
		t.Error(err)
	}
	var b strings.Builder
	for _, f := range families {
		for _, m := range f.GetMetric() {
			b.WriteString(f.GetName())
			for _, l := range m.GetLabel() {
				b.WriteString(" " + l.GetName() + ":" + l.GetValue())
			}
			value := m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			fmt.Fprintf(&b, " %v\n", value)
		}
	}
	return b.String()
}

func TestCallsAreTracedWhenConfigured(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	provider := trace.NewTracerProvider(trace.WithSyncer(spans))
	w := newWorld(t, func(o *rpc.Options) { o.TracerProvider = provider })
	traced := false
	w.handle = func(ctx context.Context) error {
		traced = oteltrace.SpanContextFromContext(ctx).IsValid()
		return errors.New("secret")
	}
	_, err := authv1connect.NewSessionServiceClient(http.DefaultClient, w.url).GetSession(signedIn(), &authv1.GetSessionRequest{})
	refusalOf(t, err)
	if all := spans.GetSpans(); !traced || len(all) != 1 || all[0].Name != strings.TrimPrefix(getSession, "/") || strings.Contains(fmt.Sprint(all), "secret") {
		t.Errorf("%v, %+v", traced, all)
	}
}
