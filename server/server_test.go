package server_test

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/server"
	"github.com/logicspike/manager/server/rpc"
)

const (
	token      = "token"
	appOrigin  = "https://app.example.com"
	getSession = "/" + authv1connect.SessionServiceName + "/GetSession"
	revoke     = "/" + authv1connect.SessionServiceName + "/RevokeOtherSessions"
)

// running is a server that runs on listeners of its own.
type running struct {
	*server.Server
	url, admin string // base URLs
	stop       context.CancelFunc
	done       <-chan error // gets what Run returned
	log        *testkit.Log
}

// start runs a server with one service, whose calls do what handle says. change
// may alter the options.
func start(t *testing.T, handle func(context.Context) error, change func(*server.Options)) *running {
	t.Helper()
	l := &testkit.Log{}
	registry := prometheus.NewRegistry()
	o := server.Options{
		Services: []server.Service{sessions(handle)},
		RPC: rpc.Options{
			Sessions: callers{}, Members: callers{}, Operators: callers{}, Limiter: callers{}, Clock: clock.System{},
			Logger: slog.New(slog.NewTextHandler(l, nil)), Registerer: registry,
		},
		Origins: []string{appOrigin}, Reflection: true, Gatherer: registry,
		DrainTimeout: 5 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	s, err := server.New(o)
	if err != nil {
		t.Fatal(err)
	}
	public, admin := listen(t), listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		done <- s.Run(ctx, public, admin)
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return &running{s, "http://" + public.Addr().String(), "http://" + admin.Addr().String(), cancel, done, l}
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func sessions(handle func(context.Context) error) server.Service {
	return server.Service{
		Name: authv1connect.SessionServiceName,
		Handler: func(o ...connect.HandlerOption) (string, http.Handler) {
			return authv1connect.NewSessionServiceHandler(sessionService{handle: handle}, o...)
		},
	}
}

type sessionService struct {
	authv1connect.UnimplementedSessionServiceHandler
	handle func(context.Context) error
}

func (s sessionService) GetSession(ctx context.Context, _ *authv1.GetSessionRequest) (*authv1.GetSessionResponse, error) {
	if s.handle != nil {
		if err := s.handle(ctx); err != nil {
			return nil, err
		}
	}
	return &authv1.GetSessionResponse{Session: &authv1.Session{Id: "ses"}}, nil
}

func (s sessionService) RevokeOtherSessions(context.Context, *authv1.RevokeOtherSessionsRequest) (*authv1.RevokeOtherSessionsResponse, error) {
	return &authv1.RevokeOtherSessionsResponse{}, nil
}

// callers knows one session, and no workspace.
type callers struct{}

func (callers) Authenticate(_ context.Context, got string, _ authz.Transport) (*authz.Session, error) {
	if got != token {
		return nil, fault.New(fault.Unauthenticated, fault.SessionRequired, "")
	}
	return &authz.Session{ID: ids.New[ids.Session](), User: ids.New[ids.User](), AuthTime: time.Now()}, nil
}

func (callers) Operator(context.Context, ids.User) (bool, error) { return false, nil }

func (callers) Membership(context.Context, ids.Workspace, ids.User) (authz.Membership, error) {
	return authz.Membership{}, fault.NotFoundFault()
}

func (callers) Take(context.Context, string) error { return nil }

// client returns an HTTP client of its own, over HTTP/2 without TLS or HTTP/1.1.
func client(t *testing.T, http2 bool) *http.Client {
	transport := &http.Transport{Protocols: new(http.Protocols)}
	transport.Protocols.SetUnencryptedHTTP2(http2)
	transport.Protocols.SetHTTP1(!http2)
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: 20 * time.Second}
}

// signedIn returns a context whose calls carry the token.
func signedIn() (context.Context, connect.CallInfo) {
	ctx, call := connect.NewClientContext(context.Background())
	call.RequestHeader().Set("Authorization", "Bearer "+token)
	return ctx, call
}

func TestEveryProtocolOnOnePort(t *testing.T) {
	t.Parallel()
	s := start(t, nil, nil)
	for name, how := range map[string]struct {
		http2   bool
		options []connect.ClientOption
	}{
		"connect":               {false, nil},
		"connect, h2c":          {true, nil},
		"connect json":          {false, []connect.ClientOption{connect.WithProtoJSON()}},
		"connect get":           {false, []connect.ClientOption{connect.WithHTTPGet()}},
		"connect, gzip":         {true, []connect.ClientOption{connect.WithSendGzip()}},
		"grpc":                  {true, []connect.ClientOption{connect.WithGRPC()}},
		"grpc, gzip":            {true, []connect.ClientOption{connect.WithGRPC(), connect.WithSendGzip()}},
		"grpc-web":              {false, []connect.ClientOption{connect.WithGRPCWeb()}},
		"grpc-web, h2c":         {true, []connect.ClientOption{connect.WithGRPCWeb()}},
		"grpc-web, json, HTTP1": {false, []connect.ClientOption{connect.WithGRPCWeb(), connect.WithProtoJSON()}},
	} {
		ctx, call := signedIn()
		c := authv1connect.NewSessionServiceClient(client(t, how.http2), s.url, how.options...)
		got, err := c.GetSession(ctx, &authv1.GetSessionRequest{})
		if err != nil || got.GetSession().GetId() != "ses" {
			t.Errorf("%s: %v, %v", name, got, err)
			continue
		}
		for key, want := range map[string]string{
			"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "frame-ancestors 'none'", "Referrer-Policy": "no-referrer",
			"Cross-Origin-Resource-Policy": "same-origin", "Cache-Control": "no-store", "Server": "",
		} {
			if have := call.ResponseHeader().Get(key); have != want {
				t.Errorf("%s: %s: %q", name, key, have)
			}
		}
		if call.ResponseHeader().Get("X-Request-Id") == "" {
			t.Errorf("%s: no request id", name)
		}
		if _, err := c.GetSession(context.Background(), &authv1.GetSessionRequest{}); connect.CodeOf(err) != connect.CodeUnauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestOptionsThatCannotWork(t *testing.T) {
	t.Parallel()
	for want, change := range map[string]func(*server.Options){
		"logger is required":     func(o *server.Options) { o.RPC.Logger = nil },
		"limiter":                func(o *server.Options) { o.RPC.Limiter = nil },
		"service nothing":        func(o *server.Options) { o.Services[0].Name = "nothing" },
		"is for /logicspike":     func(o *server.Options) { o.Services[0].Name = authv1connect.PasswordServiceName },
		"exact web origin":       func(o *server.Options) { o.Origins = []string{"*"} },
		`"https://*.a.b"`:        func(o *server.Options) { o.Origins = []string{"https://*.a.b"} },
		`"null"`:                 func(o *server.Options) { o.Origins = []string{"null"} },
		`"https://a.b/"`:         func(o *server.Options) { o.Origins = []string{"https://a.b/"} },
		`"HTTPS://A.b"`:          func(o *server.Options) { o.Origins = []string{"HTTPS://A.b"} },
		`"https://user@a.b"`:     func(o *server.Options) { o.Origins = []string{"https://user@a.b"} },
		`"ftp://a.b"`:            func(o *server.Options) { o.Origins = []string{"ftp://a.b"} },
		`"a.b"`:                  func(o *server.Options) { o.Origins = []string{"a.b"} },
		`"https://app.a.b:443"`:  func(o *server.Options) { o.Origins = []string{"https://app.a.b:443"} },
		`"http://localhost:80"`:  func(o *server.Options) { o.Origins = []string{"http://localhost:80"} },
		`"https://a.b, c.d"`:     func(o *server.Options) { o.Origins = []string{"https://a.b, c.d"} },
		`"https://a.b?x"`:        func(o *server.Options) { o.Origins = []string{"https://a.b?x"} },
		`"https://a.b#x"`:        func(o *server.Options) { o.Origins = []string{"https://a.b#x"} },
		`"https://a.b\u00a0c"`:   func(o *server.Options) { o.Origins = []string{"https://a.b\u00a0c"} },
		`"https://münchen.test"`: func(o *server.Options) { o.Origins = []string{"https://münchen.test"} },
	} {
		o := server.Options{
			Services: []server.Service{sessions(nil)},
			RPC:      rpc.Options{Sessions: callers{}, Members: callers{}, Operators: callers{}, Limiter: callers{}, Clock: clock.System{}, Logger: slog.New(slog.DiscardHandler)},
		}
		change(&o)
		if _, err := server.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}
