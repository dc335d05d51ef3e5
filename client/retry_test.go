package client_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
)

// TestACallWhoseAnswerIsLostMakesOneThing loses answers after their effect: the client
// repeats the call, and the server does it once.
func TestACallWhoseAnswerIsLostMakesOneThing(t *testing.T) {
	t.Parallel()
	for protocol, options := range map[string][]client.Option{"connect": nil, "grpc": {client.WithGRPC()}} {
		for name, faults := range map[string][]fault{
			"the answer is lost":            {lost},
			"half of the answer is lost":    {cut},
			"the answer is lost and so on":  {lost, never, gateway},
			"the server is gone for a time": {gateway, gateway},
		} {
			t.Run(protocol+", "+name, func(t *testing.T) {
				t.Parallel()
				p := srv.Register(t)
				n := newNetwork(t, srv.URL)
				manager := client.New(n.URL, append([]client.Option{client.WithSession(p.Token)}, options...)...)

				n.fail("CreateWorkspace", faults...)
				req := &tenantv1.CreateWorkspaceRequest{Name: "Engines"}
				made, err := manager.Workspaces.CreateWorkspace(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				if calls := len(n.times("CreateWorkspace")); calls != len(faults)+1 {
					t.Errorf("it was sent %d times, want %d", calls, len(faults)+1)
				}
				if req.RequestId != "" {
					t.Errorf("the caller's message was given the request id %s", req.RequestId)
				}
				if ids := workspacesOf(t, manager, "Engines"); len(ids) != 1 || ids[0] != made.Workspace.Id {
					t.Errorf("there are the workspaces %v, want only %s", ids, made.Workspace.Id)
				}

				// The same message again is another call.
				if _, err := manager.Workspaces.CreateWorkspace(t.Context(), req); err != nil {
					t.Fatal(err)
				}
				if ids := workspacesOf(t, manager, "Engines"); len(ids) != 2 {
					t.Errorf("after another call there are %d workspaces, want 2", len(ids))
				}
			})
		}
	}
}

// TestARequestIDOfTheCallersIsKept shows that who names a call may repeat it themselves, too.
func TestARequestIDOfTheCallersIsKept(t *testing.T) {
	t.Parallel()
	p := srv.Register(t)
	n := newNetwork(t, srv.URL)
	manager := client.New(n.URL, client.WithSession(p.Token))
	n.fail("CreateApiKey", lost)
	req := &authv1.CreateApiKeyRequest{
		WorkspaceId: p.Workspace.Id, DisplayName: "Report", Permissions: []string{"membership.get"},
		RequestId: "0192d6a4-6b8e-7c3d-9f21-5a4b3c2d1e0f",
	}
	for range 2 {
		if _, err := manager.APIKeys.CreateApiKey(t.Context(), req); err != nil {
			t.Fatal(err)
		}
	}
	list, err := manager.APIKeys.ListApiKeys(t.Context(), &authv1.ListApiKeysRequest{WorkspaceId: p.Workspace.Id})
	if err != nil {
		t.Fatal(err)
	}
	if len(list.ApiKeys) != 1 {
		t.Errorf("three calls with one request id made %d keys, want 1", len(list.ApiKeys))
	}
}

// TestAKeyIsNotLostUnseen loses the answer with a key, which a repeated call would not hold.
func TestAKeyIsNotLostUnseen(t *testing.T) {
	t.Parallel()
	p := srv.Register(t)
	n := newNetwork(t, srv.URL)
	manager := client.New(n.URL, client.WithSession(p.Token))
	n.fail("CreateApiKey", lost)
	res, err := manager.APIKeys.CreateApiKey(t.Context(), &authv1.CreateApiKeyRequest{
		WorkspaceId: p.Workspace.Id, DisplayName: "Report", Permissions: []string{"membership.get"},
	})
	if err == nil || len(n.times("CreateApiKey")) != 1 {
		t.Errorf("it was sent %d times, and gave %v", len(n.times("CreateApiKey")), res)
	}
}

func workspacesOf(t *testing.T, manager *client.Client, name string) (ids []string) {
	t.Helper()
	list, err := manager.Workspaces.ListWorkspaces(t.Context(), &tenantv1.ListWorkspacesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range list.Workspaces {
		if w.Workspace.Name == name {
			ids = append(ids, w.Workspace.Id)
		}
	}
	return ids
}

// dead is a network on which nothing arrives; it counts what was sent, by path.
type dead struct {
	mu   sync.Mutex
	sent map[string]int
}

func (d *dead) Do(r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent[r.URL.Path]++
	return nil, errors.New("no network")
}

// TestOnlyCallsThatAreSafeAreRepeated calls every method of every service: repeated are
// those without side effects and those with a request_id, but CreateApiKey, and no others.
func TestOnlyCallsThatAreSafeAreRepeated(t *testing.T) {
	t.Parallel()
	for _, attempts := range []int{1, 4} {
		network := &dead{sent: map[string]int{}}
		manager := reflect.ValueOf(*client.New("http://localhost", client.WithHTTPClient(network), client.WithAttempts(attempts)))
		var calls sync.WaitGroup
		for _, field := range manager.Fields() {
			if field.Kind() != reflect.Interface {
				continue
			}
			for _, method := range field.Methods() {
				if method.Type().NumIn() != 2 {
					continue // a stream, which is never repeated
				}
				calls.Go(func() {
					message := reflect.New(method.Type().In(1).Elem())
					if out := method.Call([]reflect.Value{reflect.ValueOf(t.Context()), message}); out[1].IsNil() {
						t.Error("a call succeeded without a network")
					}
				})
			}
		}
		calls.Wait()
		safe := 0
		for path, count := range network.sent {
			want := 1
			if isSafe(t, path) {
				want = attempts
				safe++
			}
			if count != want {
				t.Errorf("%s was sent %d times, want %d", path, count, want)
			}
		}
		if len(network.sent) < 130 || safe < 50 {
			t.Errorf("%d methods were called, %d of them safe: too few", len(network.sent), safe)
		}
	}
}

func isSafe(t *testing.T, path string) bool {
	t.Helper()
	found, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(strings.ReplaceAll(path[1:], "/", ".")))
	if err != nil {
		t.Fatal(err)
	}
	method := found.(protoreflect.MethodDescriptor)
	level := method.Options().(*descriptorpb.MethodOptions).GetIdempotencyLevel()
	return level == descriptorpb.MethodOptions_NO_SIDE_EFFECTS ||
		method.Input().Fields().ByName("request_id") != nil && method.Name() != "CreateApiKey"
}

// TestTheServerSaysWhenToTryAgain has the client wait for as long as the server asks, if
// that is not too long, and give up where another try would not help.
func TestTheServerSaysWhenToTryAgain(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		fault fault
		calls int
		pause time.Duration
	}{
		"unavailable for 0.6 seconds":     {refused(connect.CodeUnavailable, faultv1.Reason_REASON_UNAVAILABLE, 600*time.Millisecond), 2, 600 * time.Millisecond},
		"unavailable":                     {refused(connect.CodeUnavailable, faultv1.Reason_REASON_UNAVAILABLE, 0), 2, 50 * time.Millisecond},
		"overloaded for 0.3 seconds":      {refused(connect.CodeResourceExhausted, faultv1.Reason_REASON_OVERLOADED, 300*time.Millisecond), 2, 300 * time.Millisecond},
		"unavailable for a minute":        {refused(connect.CodeUnavailable, faultv1.Reason_REASON_UNAVAILABLE, time.Minute), 1, 0},
		"limited for a moment":            {refused(connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED, time.Millisecond), 1, 0},
		"an error of the server's":        {refused(connect.CodeInternal, faultv1.Reason_REASON_INTERNAL, 0), 1, 0},
		"an error of the caller's":        {refused(connect.CodeInvalidArgument, faultv1.Reason_REASON_FIELD_INVALID, 0), 1, 0},
		"an answer that is not the API's": {func(w http.ResponseWriter, _ *http.Request, _ http.Handler) { http.NotFound(w, nil) }, 1, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := newNetwork(t, serverURL)
			manager := client.New(n.URL, client.WithSession(sessionToken))
			n.fail("GetMe", test.fault)
			_, err := manager.Users.GetMe(t.Context(), &identityv1.GetMeRequest{})
			times := n.times("GetMe")
			if len(times) != test.calls || (err == nil) != (test.calls > 1) {
				t.Fatalf("it was sent %d times, and failed with %v; want %d", len(times), err, test.calls)
			}
			if test.calls > 1 && times[1].Sub(times[0]) < test.pause {
				t.Errorf("the second try came after %v, want at least %v", times[1].Sub(times[0]), test.pause)
			}
		})
	}
}

// TestACallEndsWithItsContext ends contexts during a pause.
func TestACallEndsWithItsContext(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, serverURL)
	manager := client.New(n.URL, client.WithSession(sessionToken))
	long := refused(connect.CodeUnavailable, faultv1.Reason_REASON_UNAVAILABLE, 4*time.Second)

	n.fail("GetMe", long)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	begun := time.Now()
	_, err := manager.Users.GetMe(ctx, &identityv1.GetMeRequest{})
	if took := time.Since(begun); client.Reason(err) != faultv1.Reason_REASON_UNAVAILABLE || took > 3*time.Second {
		t.Errorf("canceled, it failed after %v with %v", took, err)
	}

	n.fail("GetMe", long)
	ctx, cancel = context.WithTimeout(t.Context(), 3500*time.Millisecond)
	defer cancel()
	begun = time.Now()
	_, err = manager.Users.GetMe(ctx, &identityv1.GetMeRequest{})
	if took := time.Since(begun); client.Reason(err) != faultv1.Reason_REASON_UNAVAILABLE || took > 3*time.Second {
		t.Errorf("without time for another try, it failed after %v with %v", took, err)
	}
}

// TestACallIsNotSentForEver counts the tries of a server that does not come back.
func TestACallIsNotSentForEver(t *testing.T) {
	t.Parallel()
	n := newNetwork(t, serverURL)
	n.fail("GetMe", gateway, gateway, gateway, gateway, gateway, gateway)
	_, err := client.New(n.URL, client.WithSession(sessionToken)).Users.GetMe(t.Context(), nil)
	if connect.CodeOf(err) != connect.CodeUnavailable || len(n.times("GetMe")) != 4 {
		t.Errorf("it was sent %d times, and failed with %v", len(n.times("GetMe")), err)
	}
	n.fail("CreateWorkspace", never)
	if _, err := client.New(n.URL, client.WithSession(sessionToken)).Workspaces.CreateWorkspace(t.Context(), nil); client.Reason(err) != faultv1.Reason_REASON_FIELD_INVALID {
		t.Errorf("without a message the call failed with %v", err)
	}
}
