package server_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/server"
)

func TestDrainLetsRunningCallsEndAndRefusesNewOnes(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	s := start(t, func(ctx context.Context) error {
		entered <- struct{}{}
		select {
		case <-release:
		case <-ctx.Done():
		}
		return ctx.Err()
	}, nil)
	ended := make(chan error, 2)
	for _, http2 := range []bool{false, true} {
		go func() {
			ctx, _ := signedIn()
			_, err := authv1connect.NewSessionServiceClient(client(t, http2), s.url).GetSession(ctx, &authv1.GetSessionRequest{})
			ended <- err
		}()
		<-entered
	}
	s.stop()
	for range 100 {
		if r, _ := send(t, "GET", s.url+"/readyz", ""); r.StatusCode == 503 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if r, _ := send(t, "GET", s.admin+"/readyz", ""); r.StatusCode != 503 {
		t.Errorf("ready while stopping: %d", r.StatusCode)
	}
	if r, _ := send(t, "GET", s.url+"/healthz", ""); r.StatusCode != 200 {
		t.Errorf("not alive while stopping: %d", r.StatusCode)
	}
	if status, err := health(t, s, ""); status != 2 || err != nil {
		t.Errorf("health while stopping: %d, %v", status, err)
	}
	for name, o := range map[string][]connect.ClientOption{"connect": nil, "grpc": {connect.WithGRPC()}, "grpc-web": {connect.WithGRPCWeb()}} {
		ctx, _ := signedIn()
		_, err := authv1connect.NewSessionServiceClient(client(t, true), s.url, o...).GetSession(ctx, &authv1.GetSessionRequest{})
		var e *connect.Error
		if !errors.As(err, &e) || e.Code() != connect.CodeUnavailable || e.Meta().Get("Retry-After") != "1" || e.Meta().Get("X-Request-Id") == "" || len(e.Details()) != 2 {
			t.Errorf("%s: new call: %v", name, err)
		}
	}
	select {
	case err := <-s.done:
		t.Fatalf("Run returned while calls ran: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	close(release)
	for range 2 {
		if err := <-ended; err != nil {
			t.Errorf("running call: %v", err)
		}
	}
	if err := <-s.done; err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://")); err == nil {
		_ = c.Close()
		t.Error("the listener is still open")
	}
}

func TestDrainEndsAtItsTimeout(t *testing.T) {
	t.Parallel()
	entered := make(chan struct{})
	s := start(t, func(ctx context.Context) error { close(entered); <-ctx.Done(); return ctx.Err() }, func(o *server.Options) {
		o.DrainTimeout = 100 * time.Millisecond
	})
	ended := make(chan error, 1)
	go func() {
		ctx, _ := signedIn()
		_, err := authv1connect.NewSessionServiceClient(client(t, false), s.url).GetSession(ctx, &authv1.GetSessionRequest{})
		ended <- err
	}()
	<-entered
	s.stop()
	began := time.Now()
	if err := <-s.done; err == nil || !strings.Contains(err.Error(), "1 calls were cut off after 100ms") || time.Since(began) > 5*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
	if <-ended == nil {
		t.Error("the call ended well")
	}
}

func TestIdleConnectionsDoNotHoldUpTheEnd(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	for _, http2 := range []bool{false, true} {
		r, err := client(t, http2).Get(s.url + "/healthz")
		if err != nil {
			t.Fatal(err)
		}
		_ = r.Body.Close()
	}
	dial(t, s) // and one that says nothing
	s.stop()
	began := time.Now()
	if err := <-s.done; err != nil || time.Since(began) > 3*time.Second {
		t.Errorf("%v after %v", err, time.Since(began))
	}
}

func TestRunReturnsTheErrorOfAListener(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	for _, broken := range []string{"public", "admin"} {
		listeners := map[string]net.Listener{"public": listen(t), "admin": listen(t)}
		_ = listeners[broken].Close()
		err := s.Run(context.Background(), listeners["public"], listeners["admin"])
		if err == nil || !strings.Contains(err.Error(), broken+" listener") || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v", broken, err)
		}
	}
	// Neither is open afterwards, nor is an admin listener needed.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	public := listen(t)
	if err := s.Run(ctx, public, nil); err != nil {
		t.Error(err)
	}
	if _, err := http.Get("http://" + public.Addr().String() + "/healthz"); err == nil {
		t.Error("the listener is still open")
	}
}
