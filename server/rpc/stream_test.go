package rpc_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/rpc"
)

const importUsers = "/logicspike.auth.v1.OperatorService/ImportUsers"

type operatorService struct {
	authv1connect.UnimplementedOperatorServiceHandler
	*world
}

func (s operatorService) FindUsers(context.Context, *authv1.FindUsersRequest) (*authv1.FindUsersResponse, error) {
	return &authv1.FindUsersResponse{}, nil
}

// ImportUsers counts the users, unless the test decides otherwise.
func (s operatorService) ImportUsers(ctx context.Context, stream *connect.ClientStream[authv1.ImportUsersRequest]) (*authv1.ImportUsersResponse, error) {
	if s.imports != nil {
		return s.imports(ctx, stream)
	}
	res := &authv1.ImportUsersResponse{}
	for stream.Receive() {
		res.CreatedCount += int32(len(stream.Msg().Users))
	}
	return res, stream.Err()
}

// operators returns a world whose session is an operator's.
func operators(t *testing.T, change func(*rpc.Options)) *world {
	t.Helper()
	w := newWorld(t, change)
	w.operator.Store(true)
	return w
}

// send opens a stream and sends messages.
func (w *world) send(t *testing.T, ctx context.Context, h *http.Client, o []connect.ClientOption, messages ...*authv1.ImportUsersRequest) *connect.ClientStreamForClientSimple[authv1.ImportUsersRequest, authv1.ImportUsersResponse] {
	t.Helper()
	stream, err := authv1connect.NewOperatorServiceClient(h, w.url, o...).ImportUsers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if stream.Send(m) != nil {
			break // the answer tells why
		}
	}
	return stream
}

func users(emails ...string) *authv1.ImportUsersRequest {
	m := &authv1.ImportUsersRequest{}
	for _, e := range emails {
		m.Users = append(m.Users, &authv1.ImportedUser{Email: e})
	}
	return m
}

func TestTheRuleOperator(t *testing.T) {
	w := newWorld(t, nil)
	client := authv1connect.NewOperatorServiceClient(http.DefaultClient, w.url)
	call := func(ctx context.Context) error {
		_, err := client.FindUsers(ctx, &authv1.FindUsersRequest{})
		return err
	}
	is := func(what string, err error, code connect.Code, reason fault.Reason) {
		t.Helper()
		if r := refusalOf(t, err); r.code != code || r.reason != string(reason) {
			t.Errorf("%s: %+v", what, r)
		}
	}
	is("nobody", call(context.Background()), connect.CodeUnauthenticated, fault.SessionRequired)
	is("a user", call(signedIn()), connect.CodePermissionDenied, fault.OperatorRequired)
	w.operator.Store(true)
	if err := call(signedIn()); err != nil {
		t.Errorf("an operator: %v", err)
	}
	w.session.SecondFactorPending = true
	is("an operator who owes the second factor", call(signedIn()), connect.CodeFailedPrecondition, fault.SecondFactorRequired)
	w.session.SecondFactorPending = false
	w.session.Impersonator = ids.New[ids.User]()
	is("who acts in the name of an operator", call(signedIn()), connect.CodePermissionDenied, fault.OperatorRequired)
	w.session.Impersonator = ids.User{}
	// A rule's demand of a recent sign-in comes last.
	disable := func() error {
		_, err := client.DisableUser(signedIn(), &authv1.DisableUserRequest{UserId: ids.New[ids.User]().String(), Reason: "x"})
		return err
	}
	if err := disable(); connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("an operator who signed in just now: %v", err)
	}
	w.clock.Advance(time.Hour)
	is("an operator's old sign-in", disable(), connect.CodeFailedPrecondition, fault.ReauthenticationRequired)
	w.operator.Store(false)
	is("a user's old sign-in", disable(), connect.CodePermissionDenied, fault.OperatorRequired)
	w.operatorFailure = errors.New("no database")
	is("a failure", call(signedIn()), connect.CodeInternal, fault.InternalFailure)
}

func TestImpersonationIsRefusedByDefault(t *testing.T) {
	w := newWorld(t, nil)
	w.session.Impersonator = ids.New[ids.User]()
	client := authv1connect.NewSessionServiceClient(http.DefaultClient, w.url)
	if _, err := client.GetSession(signedIn(), &authv1.GetSessionRequest{}); err != nil {
		t.Errorf("a method without effect: %v", err)
	}
	_, err := client.RevokeOtherSessions(signedIn(), &authv1.RevokeOtherSessionsRequest{})
	if r := refusalOf(t, err); r.code != connect.CodePermissionDenied || r.reason != string(fault.ImpersonationNotAllowed) {
		t.Errorf("%+v", r)
	}
	if _, err := authv1connect.NewAuthenticationServiceClient(http.DefaultClient, w.url).SignOut(signedIn(), &authv1.SignOutRequest{}); connect.CodeOf(err) != connect.CodeUnimplemented {
		t.Errorf("SignOut: %v", err)
	}
}

func TestStreams(t *testing.T) {
	w := operators(t, nil)
	everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
		for range 3 { // the connection can be used again
			res, err := w.send(t, signedIn(), h, o, users("a", "b"), users("c")).CloseAndReceive()
			if err != nil || res.CreatedCount != 3 {
				t.Fatalf("%v, %v", res, err)
			}
			if res, err = w.send(t, signedIn(), h, o).CloseAndReceive(); err != nil || res.CreatedCount != 0 {
				t.Fatalf("no message: %v, %v", res, err)
			}
		}
	})
}

// TestAStreamIsDecidedBeforeItsFirstMessage, which nobody has to send.
func TestAStreamIsDecidedBeforeItsFirstMessage(t *testing.T) {
	w := newWorld(t, nil)
	w.imports = func(context.Context, *connect.ClientStream[authv1.ImportUsersRequest]) (*authv1.ImportUsersResponse, error) {
		t.Error("the handler was called")
		return nil, nil
	}
	everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
		for range 2 {
			began := time.Now()
			_, err := w.send(t, context.Background(), h, o, users("a")).CloseAndReceive()
			if r := refusalOf(t, err); r.code != connect.CodeUnauthenticated || r.reason != "SESSION_REQUIRED" {
				t.Errorf("nobody: %+v", r)
			}
			_, err = w.send(t, signedIn(), h, o).CloseAndReceive()
			if r := refusalOf(t, err); r.code != connect.CodePermissionDenied || r.reason != "OPERATOR_REQUIRED" {
				t.Errorf("a user: %+v", r)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
		}
	})
	// Though they go on sending.
	stream := w.send(t, context.Background(), http.DefaultClient, nil)
	began := time.Now()
	for range 100_000 {
		if stream.Send(users(strings.Repeat("x", 300))) != nil {
			break
		}
	}
	_, err := stream.CloseAndReceive()
	if r := refusalOf(t, err); r.reason != "SESSION_REQUIRED" || time.Since(began) > 10*time.Second {
		t.Errorf("%+v after %v", r, time.Since(began))
	}
}

func TestEachMessageOfAStreamIsValidated(t *testing.T) {
	w := operators(t, nil)
	everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
		for _, test := range []struct {
			message *authv1.ImportUsersRequest
			code    connect.Code
			reason  string
			field   string
		}{
			{users(), connect.CodeInvalidArgument, "FIELD_INVALID", "users"},
			{users("a", strings.Repeat("x", 400)), connect.CodeInvalidArgument, "FIELD_INVALID", "users[1].email"},
			{users("a", "b\x00"), connect.CodeInvalidArgument, "FIELD_INVALID", "users[1].email"},
			{users(strings.Repeat("x", rpc.MaxRequestBytes)), connect.CodeResourceExhausted, "REQUEST_TOO_LARGE", ""},
		} {
			_, err := w.send(t, signedIn(), h, o, users("a"), test.message).CloseAndReceive()
			r := refusalOf(t, err)
			if r.code != test.code || r.reason != test.reason || test.field != "" && (len(r.fields) != 1 || r.fields[0] != test.field) {
				t.Errorf("%+v", r)
			}
		}
		if res, err := w.send(t, signedIn(), h, o, users("a")).CloseAndReceive(); err != nil || res.CreatedCount != 1 {
			t.Errorf("then: %v, %v", res, err)
		}
	})
	if strings.Contains(w.log.String(), "ERROR") {
		t.Error(w.log)
	}
}

// TestAHandlerCannotPassOver a message that was refused.
func TestAHandlerCannotPassOver(t *testing.T) {
	w := operators(t, nil)
	w.imports = func(_ context.Context, stream *connect.ClientStream[authv1.ImportUsersRequest]) (*authv1.ImportUsersResponse, error) {
		for stream.Receive() {
		}
		return &authv1.ImportUsersResponse{}, nil // without a look at the error
	}
	everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
		_, err := w.send(t, signedIn(), h, o, users()).CloseAndReceive()
		if r := refusalOf(t, err); r.reason != "FIELD_INVALID" {
			t.Errorf("%+v", r)
		}
	})
}

func TestErrorsOfAStreamsHandler(t *testing.T) {
	w := operators(t, nil)
	for what, test := range map[string]struct {
		fail   func() error
		code   connect.Code
		reason string
	}{
		"a fault": {func() error {
			return fault.New(fault.AlreadyExists, fault.EmailTaken, "taken")
		}, connect.CodeAlreadyExists, "EMAIL_TAKEN"},
		"another error": {func() error { return errors.New("the driver's own words") }, connect.CodeInternal, "INTERNAL"},
		"a panic":       {func() error { panic("lost my mind") }, connect.CodeInternal, "INTERNAL"},
	} {
		w.imports = func(_ context.Context, stream *connect.ClientStream[authv1.ImportUsersRequest]) (*authv1.ImportUsersResponse, error) {
			stream.Receive()
			return nil, test.fail()
		}
		everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
			_, err := w.send(t, signedIn(), h, o, users("a"), users("b")).CloseAndReceive()
			if r := refusalOf(t, err); r.code != test.code || r.reason != test.reason || strings.Contains(r.message, "driver") || strings.Contains(r.message, "mind") {
				t.Errorf("%s: %+v", what, r)
			}
		})
	}
}

func TestAStreamHasItsTime(t *testing.T) {
	w := operators(t, nil)
	everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
		for what, times := range map[string][2]time.Duration{
			"for each message": {time.Minute, 300 * time.Millisecond},
			"as a whole":       {300 * time.Millisecond, time.Minute},
		} {
			w.stack.SetStreamTimes(times[0], times[1])
			stream := w.send(t, signedIn(), h, o, users("a"))
			time.Sleep(time.Second)
			_, err := stream.CloseAndReceive()
			if r := refusalOf(t, err); r.code != connect.CodeDeadlineExceeded {
				t.Errorf("%s: %+v", what, r)
			}
		}
		// Messages that come in time may be many.
		w.stack.SetStreamTimes(time.Minute, 500*time.Millisecond)
		stream := w.send(t, signedIn(), h, o)
		for range 8 {
			time.Sleep(100 * time.Millisecond)
			if err := stream.Send(users("a")); err != nil {
				t.Fatal(err)
			}
		}
		if res, err := stream.CloseAndReceive(); err != nil || res.CreatedCount != 8 {
			t.Errorf("%v, %v", res, err)
		}
	})
}

// TestAStreamNeedsTheMemoryOfOneMessage, however long it is.
func TestAStreamNeedsTheMemoryOfOneMessage(t *testing.T) {
	w := operators(t, nil)
	stream := w.send(t, signedIn(), http.DefaultClient, nil)
	message := users(strings.Repeat("x", 300), strings.Repeat("y", 300))
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range 20_000 {
		if err := stream.Send(message); err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if after.HeapAlloc > before.HeapAlloc+8<<20 {
		t.Errorf("%d KiB more in use", (after.HeapAlloc-before.HeapAlloc)>>10)
	}
	if res, err := stream.CloseAndReceive(); err != nil || res.CreatedCount != 40_000 {
		t.Errorf("%v, %v", res, err)
	}
}

func TestAStreamHasOneLine(t *testing.T) {
	registry, spans := prometheus.NewRegistry(), tracetest.NewSpanRecorder()
	w := operators(t, func(o *rpc.Options) {
		o.Registerer = registry
		o.TracerProvider = trace.NewTracerProvider(trace.WithSpanProcessor(spans))
	})
	if _, err := w.send(t, signedIn(), http.DefaultClient, nil, users("secret@b.c"), users("secret@d.e")).CloseAndReceive(); err != nil {
		t.Fatal(err)
	}
	line := w.line(0)
	if line["procedure"] != importUsers || line["code"] != "ok" || line["user_id"] != w.session.User.String() || line["protocol"] != "connect" {
		t.Errorf("%v", line)
	}
	if all := w.lines(); len(all) != 1 || strings.Contains(w.log.String(), "secret") || strings.Contains(w.log.String(), token) {
		t.Errorf("%s", w.log)
	}
	if got := gather(t, registry); !strings.Contains(got, "rpc_server_handled_total code:ok procedure:"+importUsers+" 1\n") || !strings.Contains(got, "rpc_server_in_flight 0\n") {
		t.Errorf("%s", got)
	}
	if ended := spans.Ended(); len(ended) != 1 || !strings.Contains(ended[0].Name(), "ImportUsers") {
		t.Errorf("%v", ended)
	}
}

// TestAStreamThatCannotBeReadIsToldSo before any message.
func TestAStreamThatCannotBeReadIsToldSo(t *testing.T) {
	w := operators(t, nil)
	response, body := w.post(importUsers, "application/connect+json", strings.NewReader(""), "Authorization", "Bearer "+token, "Connect-Content-Encoding", "br")
	if response.StatusCode != http.StatusOK || !strings.Contains(string(body), "the request's compression is unknown") {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	response, body = w.post(importUsers, "application/json", strings.NewReader("{}"), "Authorization", "Bearer "+token)
	if response.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	if strings.Contains(w.log.String(), "ERROR") {
		t.Error(w.log)
	}
}
