package rpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"

	"github.com/logicspike/manager/gen/go/logicspike/audit/v1/auditv1connect"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/gen/go/logicspike/identity/v1/identityv1connect"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/gen/go/logicspike/team/v1/teamv1connect"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/gen/go/logicspike/tenant/v1/tenantv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/rpc"
)

const token = "mgr_ses_0123456789abcdef"

// world is a server whose callers, members and handlers the test decides.
type world struct {
	t       *testing.T
	url     string
	clock   *clock.Manual
	log     *buffer
	lookups atomic.Int64 // of sessions

	session   *authz.Session // of token
	transport atomic.Value   // with which it was looked up last
	members   map[ids.Workspace]authz.Membership
	failure   error       // of Sessions, when set
	limit     error       // of Limiter, when set
	operator  atomic.Bool // whether the session's user is one

	operatorFailure error // of Operators, when set
	stack           *rpc.Stack
	options         rpc.Options
	imports         func(context.Context, *connect.ClientStream[authv1.ImportUsersRequest]) (*authv1.ImportUsersResponse, error)
	networks        sync.Map

	// handle is what GetSession and GetWorkspace do; nil: answer.
	handle func(context.Context) error
	answer string // of SignInWithPassword, when set
}

func (w *world) Authenticate(_ context.Context, got string, transport authz.Transport) (*authz.Session, error) {
	w.lookups.Add(1)
	w.transport.Store(transport)
	if w.failure != nil {
		return nil, w.failure
	}
	if got != token {
		return nil, fault.New(fault.Unauthenticated, fault.SessionRequired, "told apart")
	}
	return w.session, nil
}

func (w *world) Operator(_ context.Context, user ids.User) (bool, error) {
	return w.operator.Load() && user == w.session.User, w.operatorFailure
}

func (w *world) Membership(_ context.Context, workspace ids.Workspace, user ids.User) (authz.Membership, error) {
	m, ok := w.members[workspace]
	if !ok || user != w.session.User {
		return m, fault.New(fault.NotFound, fault.Missing, "told apart")
	}
	return m, nil
}

func (w *world) Take(_ context.Context, network string) error {
	w.networks.Store(network, true)
	return w.limit
}

type sessionService struct {
	authv1connect.UnimplementedSessionServiceHandler
	*world
}

func (s sessionService) GetSession(ctx context.Context, _ *authv1.GetSessionRequest) (*authv1.GetSessionResponse, error) {
	if s.handle != nil {
		if err := s.handle(ctx); err != nil {
			return nil, err
		}
	}
	return &authv1.GetSessionResponse{Session: &authv1.Session{Id: authz.SessionFrom(ctx).ID.String()}}, nil
}

func (s sessionService) RevokeOtherSessions(context.Context, *authv1.RevokeOtherSessionsRequest) (*authv1.RevokeOtherSessionsResponse, error) {
	return &authv1.RevokeOtherSessionsResponse{}, nil
}

// emptySessions answers GetSession with nothing.
type emptySessions struct {
	authv1connect.UnimplementedSessionServiceHandler
}

func (emptySessions) GetSession(context.Context, *authv1.GetSessionRequest) (*authv1.GetSessionResponse, error) {
	return &authv1.GetSessionResponse{}, nil
}

type authenticationService struct {
	authv1connect.UnimplementedAuthenticationServiceHandler
	*world
}

func (s authenticationService) SignInWithPassword(ctx context.Context, r *authv1.SignInWithPasswordRequest) (*authv1.SignInWithPasswordResponse, error) {
	if authz.SessionFrom(ctx) != nil {
		return nil, errors.New("a public method knows its caller")
	}
	if s.handle != nil {
		return nil, s.handle(ctx)
	}
	if s.answer != "" {
		return &authv1.SignInWithPasswordResponse{SessionToken: s.answer}, nil
	}
	return &authv1.SignInWithPasswordResponse{SessionToken: strings.Repeat("x", len(r.GetPassword()))}, nil
}

type workspaceService struct {
	tenantv1connect.UnimplementedWorkspaceServiceHandler
	*world
}

func (s workspaceService) GetWorkspace(ctx context.Context, _ *tenantv1.GetWorkspaceRequest) (*tenantv1.GetWorkspaceResponse, error) {
	m, _ := authz.MembershipFrom(ctx)
	return &tenantv1.GetWorkspaceResponse{Workspace: &tenantv1.Workspace{Name: string(m.Role)}}, nil
}

// invitationService has a public method that looks at the session.
type invitationService struct {
	teamv1connect.UnimplementedInvitationServiceHandler
	*world
}

// GetInvitationByToken answers with the caller's session, if the call has one.
func (s invitationService) GetInvitationByToken(ctx context.Context, _ *teamv1.GetInvitationByTokenRequest) (*teamv1.GetInvitationByTokenResponse, error) {
	if session := authz.SessionFrom(ctx); session != nil {
		return &teamv1.GetInvitationByTokenResponse{MaskedEmail: session.ID.String()}, nil
	}
	return &teamv1.GetInvitationByTokenResponse{}, nil
}

var services = []string{
	authv1connect.SessionServiceName, authv1connect.AuthenticationServiceName, teamv1connect.InvitationServiceName,
	authv1connect.OperatorServiceName, tenantv1connect.WorkspaceServiceName, auditv1connect.EventServiceName, identityv1connect.UserServiceName,
}

// newWorld starts a server; change may alter its options.
func newWorld(t *testing.T, change func(*rpc.Options)) *world {
	t.Helper()
	w := &world{
		t: t, clock: &clock.Manual{}, log: &buffer{},
		members: map[ids.Workspace]authz.Membership{},
	}
	w.session = &authz.Session{ID: ids.New[ids.Session](), User: ids.New[ids.User](), AuthTime: w.clock.Now()}
	o := rpc.Options{
		Sessions: w, Members: w, Operators: w, Limiter: w, Clock: w.clock,
		Logger: slog.New(slog.NewJSONHandler(w.log, nil)),
	}
	if change != nil {
		change(&o)
	}
	rules, err := rpc.Compile(services...)
	if err != nil {
		t.Fatal(err)
	}
	stack, err := rpc.New(rules, o)
	if err != nil {
		t.Fatal(err)
	}
	w.stack, w.options = stack, o
	mux := http.NewServeMux()
	mux.Handle(stack.Mount(func(o ...connect.HandlerOption) (string, http.Handler) {
		return authv1connect.NewOperatorServiceHandler(operatorService{world: w}, o...)
	}))
	mux.Handle(stack.Mount(func(o ...connect.HandlerOption) (string, http.Handler) {
		return authv1connect.NewSessionServiceHandler(sessionService{world: w}, o...)
	}))
	mux.Handle(stack.Mount(func(o ...connect.HandlerOption) (string, http.Handler) {
		return authv1connect.NewAuthenticationServiceHandler(authenticationService{world: w}, o...)
	}))
	mux.Handle(stack.Mount(func(o ...connect.HandlerOption) (string, http.Handler) {
		return tenantv1connect.NewWorkspaceServiceHandler(workspaceService{world: w}, o...)
	}))
	mux.Handle(stack.Mount(func(o ...connect.HandlerOption) (string, http.Handler) {
		return teamv1connect.NewInvitationServiceHandler(invitationService{world: w}, o...)
	}))
	mux.Handle(stack.Mount(func(o ...connect.HandlerOption) (string, http.Handler) {
		return auditv1connect.NewEventServiceHandler(auditv1connect.UnimplementedEventServiceHandler{}, o...)
	}))
	mux.Handle(stack.Mount(func(o ...connect.HandlerOption) (string, http.Handler) {
		return identityv1connect.NewUserServiceHandler(identityv1connect.UnimplementedUserServiceHandler{}, o...)
	}))
	s := httptest.NewUnstartedServer(mux)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo)
	s.Start()
	t.Cleanup(s.Close)
	w.url = s.URL
	return w
}

// transports are the ways in which clients of Connect speak.
var transports = map[string]struct {
	client  *http.Client
	options []connect.ClientOption
}{
	"connect":      {http.DefaultClient, nil},
	"connect json": {http.DefaultClient, []connect.ClientOption{connect.WithProtoJSON()}},
	"grpc":         {h2c, []connect.ClientOption{connect.WithGRPC()}},
	"grpc-web":     {http.DefaultClient, []connect.ClientOption{connect.WithGRPCWeb()}},
}

var h2c = &http.Client{Transport: func() http.RoundTripper {
	t := &http.Transport{Protocols: new(http.Protocols)}
	t.Protocols.SetUnencryptedHTTP2(true)
	return t
}()}

func everyTransport(t *testing.T, test func(*testing.T, *http.Client, []connect.ClientOption)) {
	for name, how := range transports {
		t.Run(name, func(t *testing.T) { test(t, how.client, how.options) })
	}
}

// signedIn returns a context whose calls carry the headers, by default the token.
func signedIn(headers ...string) context.Context {
	ctx, call := connect.NewClientContext(context.Background())
	if len(headers) == 0 {
		headers = []string{"Authorization", "Bearer " + token}
	}
	for i := 0; i < len(headers); i += 2 {
		call.RequestHeader().Add(headers[i], headers[i+1])
	}
	return ctx
}

// post sends bytes as they are.
func (w *world) post(procedure, contentType string, body io.Reader, headers ...string) (*http.Response, []byte) {
	w.t.Helper()
	r, err := http.NewRequest(http.MethodPost, w.url+procedure, body)
	if err != nil {
		w.t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		w.t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response, answer
}

// lines returns what was logged.
func (w *world) lines() []map[string]any {
	var all []map[string]any
	for line := range strings.Lines(w.log.String()) {
		var one map[string]any
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			w.t.Fatalf("log line %q: %v", line, err)
		}
		all = append(all, one)
	}
	return all
}

// line waits for the log line number i: it is written after the answer.
func (w *world) line(i int) map[string]any {
	w.t.Helper()
	for range 100 {
		if all := w.lines(); len(all) > i {
			return all[i]
		}
		time.Sleep(10 * time.Millisecond)
	}
	w.t.Fatalf("log has no line %d: %s", i, w.log)
	return nil
}

type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// refusal is an error as a client sees it.
type refusal struct {
	code       connect.Code
	reason     string
	message    string
	metadata   map[string]string
	fields     []string
	retry      time.Duration
	retryAfter string
	requestID  string
}

func refusalOf(t *testing.T, err error) refusal {
	t.Helper()
	var e *connect.Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is no connect error", err)
	}
	r := refusal{
		code: e.Code(), message: e.Message(),
		requestID: e.Meta().Get("X-Request-Id"), retryAfter: e.Meta().Get("Retry-After"),
	}
	for _, d := range e.Details() {
		m, err := d.Value()
		if err != nil {
			t.Fatal(err)
		}
		switch m := m.(type) {
		case *errdetails.ErrorInfo:
			if m.GetDomain() != "manager.logicspike" {
				t.Errorf("domain = %q", m.GetDomain())
			}
			r.reason, r.metadata = m.GetReason(), m.GetMetadata()
		case *errdetails.BadRequest:
			for _, v := range m.GetFieldViolations() {
				r.fields = append(r.fields, v.GetField())
			}
		case *errdetails.RetryInfo:
			r.retry = m.GetRetryDelay().AsDuration()
		}
	}
	if r.requestID == "" {
		t.Error("the error has no request id")
	}
	return r
}

func trusted(cidrs ...string) func(*rpc.Options) {
	return func(o *rpc.Options) {
		for _, c := range cidrs {
			o.TrustedProxies = append(o.TrustedProxies, netip.MustParsePrefix(c))
		}
	}
}
