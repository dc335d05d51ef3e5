package server_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"connectrpc.com/grpchealth"
	"connectrpc.com/grpcreflect"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/server"
)

func TestReadinessIsAskedOnceASecond(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	var broken atomic.Bool
	s := start(t, nil, func(o *server.Options) {
		o.Ready = func(context.Context) error {
			asked.Add(1)
			if broken.Load() {
				return errors.New("secret cause")
			}
			return nil
		}
	})
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for _, base := range []string{s.url, s.admin} {
				if r, body := send(t, "GET", base+"/readyz", ""); r.StatusCode != 200 || body != "ok\n" {
					t.Errorf("%d %q", r.StatusCode, body)
				}
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
	broken.Store(true)
	time.Sleep(1100 * time.Millisecond)
	if r, body := send(t, "GET", s.url+"/readyz", ""); r.StatusCode != 503 || body != "not ready\n" {
		t.Errorf("%d %q", r.StatusCode, body)
	}
	if r, _ := send(t, "GET", s.url+"/healthz", ""); r.StatusCode != 200 {
		t.Errorf("not alive: %d", r.StatusCode)
	}
	if !strings.Contains(s.log.String(), "secret cause") {
		t.Error("the cause is not logged")
	}
}

func TestReadinessHasASecond(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	s := start(t, nil, func(o *server.Options) {
		o.Ready = func(context.Context) error { <-release; return nil } // ignores its context
	})
	began := time.Now()
	if r, _ := send(t, "GET", s.url+"/readyz", ""); r.StatusCode != 503 || time.Since(began) > 2*time.Second {
		t.Errorf("%d after %v", r.StatusCode, time.Since(began))
	}
}

// health asks gRPC's health service by hand: 1 is serving, 2 is not.
func health(t *testing.T, s *running, service string) (uint64, error) {
	t.Helper()
	c := connect.NewClient[emptypb.Empty, emptypb.Empty](client(t, true), s.url+"/"+grpchealth.HealthV1ServiceName+"/Check", connect.WithGRPC())
	request := &emptypb.Empty{}
	request.ProtoReflect().SetUnknown(protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), service))
	answer, err := c.CallUnary(context.Background(), connect.NewRequest(request))
	if err != nil {
		return 0, err
	}
	raw := answer.Msg.ProtoReflect().GetUnknown()
	_, _, n := protowire.ConsumeTag(raw)
	status, _ := protowire.ConsumeVarint(raw[n:])
	return status, nil
}

func TestGRPCHealth(t *testing.T) {
	t.Parallel()
	var broken atomic.Bool
	s := start(t, nil, func(o *server.Options) {
		o.Ready = func(context.Context) error {
			if broken.Load() {
				return errors.New("broken")
			}
			return nil
		}
	})
	for _, service := range []string{"", authv1connect.SessionServiceName} {
		if status, err := health(t, s, service); status != 1 || err != nil {
			t.Errorf("%q: %d, %v", service, status, err)
		}
	}
	if _, err := health(t, s, authv1connect.PasswordServiceName); connect.CodeOf(err) != connect.CodeNotFound {
		t.Error(err)
	}
	broken.Store(true)
	time.Sleep(1100 * time.Millisecond)
	if status, err := health(t, s, ""); status != 2 || err != nil {
		t.Errorf("broken: %d, %v", status, err)
	}
}

func TestReflectionTellsTheServicesThatAreServed(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	stream := grpcreflect.NewClient(client(t, true), s.url, connect.WithGRPC()).NewStream(context.Background())
	names, err := stream.ListServices()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.FileContainingSymbol(authv1connect.SessionServiceName); err != nil {
		t.Error(err)
	}
	_, _ = stream.Close()
	if len(names) != 2 || string(names[0]) != grpchealth.HealthV1ServiceName || string(names[1]) != authv1connect.SessionServiceName {
		t.Errorf("%v", names)
	}
	closed := start(t, nil, func(o *server.Options) { o.Reflection = false })
	for _, version := range []string{"v1", "v1alpha"} {
		path := "/grpc.reflection." + version + ".ServerReflection/ServerReflectionInfo"
		if r, _ := send(t, http.MethodPost, closed.url+path, "", "Content-Type", "application/grpc"); r.StatusCode != 404 {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
		if r, _ := send(t, http.MethodPost, s.url+path, "", "Content-Type", "application/grpc"); r.StatusCode == 404 {
			t.Errorf("%s is not served", path)
		}
	}
}

func TestAdminListener(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	send(t, http.MethodPost, s.url+getSession, "{}", "Content-Type", "application/json", "Authorization", "Bearer "+token)
	for path, want := range map[string]string{
		"/healthz": "ok\n", "/readyz": "ok\n", "/debug/pprof/": "goroutine", "/debug/pprof/heap?debug=1": "heap profile", "/debug/pprof/cmdline": "server",
		"/metrics": `rpc_server_handled_total{code="ok",procedure="` + getSession + `"} 1`,
	} {
		if r, body := send(t, "GET", s.admin+path, ""); r.StatusCode != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %s", path, r.StatusCode, body)
		}
	}
	if r, _ := send(t, http.MethodPost, s.admin+getSession, "{}", "Content-Type", "application/json"); r.StatusCode != 404 {
		t.Errorf("the API is served on the admin listener: %d", r.StatusCode)
	}
}
