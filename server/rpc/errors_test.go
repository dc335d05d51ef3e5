package rpc_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	"github.com/logicspike/manager/gen/go/logicspike/identity/v1/identityv1connect"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/rpc"
)

const (
	getSession = "/logicspike.auth.v1.SessionService/GetSession"
	signIn     = "/logicspike.auth.v1.AuthenticationService/SignInWithPassword"
)

func TestFaultsReachEveryKindOfClient(t *testing.T) {
	w := newWorld(t, nil)
	secret := errors.New("secret: SELECT 1")
	everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
		client := authv1connect.NewSessionServiceClient(h, w.url, o...)
		for name, test := range map[string]struct {
			err     error
			code    connect.Code
			reason  string
			message string
			check   func(refusal) bool
		}{
			"fault": {
				fmt.Errorf("deeper: %w", fault.New(fault.Aborted, fault.ETagMismatch, "changed").WithMetadata("a", "b").WithCause(secret)),
				connect.CodeAborted, "ETAG_MISMATCH", "changed", func(r refusal) bool { return r.metadata["a"] == "b" },
			},
			"of a field": {
				fault.Invalid("name", "too long"), connect.CodeInvalidArgument, "FIELD_INVALID", "name: too long",
				func(r refusal) bool { return slices.Equal(r.fields, []string{"name"}) },
			},
			"to be repeated": {
				fault.New(fault.ResourceExhausted, fault.Overloaded, "busy").WithRetryAfter(time.Millisecond),
				connect.CodeResourceExhausted, "OVERLOADED", "busy",
				func(r refusal) bool { return r.retry == time.Millisecond && r.retryAfter == "1" },
			},
			"exists":       {fault.New(fault.AlreadyExists, fault.SlugTaken, "taken"), connect.CodeAlreadyExists, "SLUG_TAKEN", "taken", nil},
			"precondition": {fault.New(fault.FailedPrecondition, fault.OwnerRequired, "owner"), connect.CodeFailedPrecondition, "OWNER_REQUIRED", "owner", nil},
			"denied":       {fault.New(fault.PermissionDenied, fault.PermissionMissing, "no"), connect.CodePermissionDenied, "PERMISSION_MISSING", "no", nil},
			"unavailable":  {fault.New(fault.Unavailable, fault.DatabaseUnavailable, "later").WithCause(secret), connect.CodeUnavailable, "UNAVAILABLE", "later", nil},
			"internal":     {fault.New(fault.Internal, fault.InternalFailure, "told nobody").WithCause(secret), connect.CodeInternal, "INTERNAL", "*", nil},
			"unknown":      {secret, connect.CodeInternal, "INTERNAL", "*", nil},
			"connect's":    {connect.NewError(connect.CodeDataLoss, secret), connect.CodeInternal, "INTERNAL", "*", nil},
			"canceled":     {fmt.Errorf("x: %w", context.Canceled), connect.CodeCanceled, "", "the call was canceled", nil},
			"late":         {fmt.Errorf("x: %w", context.DeadlineExceeded), connect.CodeDeadlineExceeded, "", "the call took too long", nil},
		} {
			w.handle = func(context.Context) error { return test.err }
			_, err := client.GetSession(signedIn(), &authv1.GetSessionRequest{})
			r := refusalOf(t, err)
			if test.message == "*" {
				test.message = "internal error; request id " + r.requestID
				if r.metadata["request_id"] != r.requestID {
					t.Errorf("%s: metadata %v", name, r.metadata)
				}
			}
			if r.code != test.code || r.reason != test.reason || r.message != test.message || test.check != nil && !test.check(r) {
				t.Errorf("%s: %+v", name, r)
			}
		}
		w.handle = nil
		if _, err := client.GetSession(signedIn(), &authv1.GetSessionRequest{}); err != nil {
			t.Error(err)
		}
		_, err := client.ListSessions(signedIn(), &authv1.ListSessionsRequest{})
		if r := refusalOf(t, err); r.code != connect.CodeUnimplemented || r.message != "the method is not implemented" {
			t.Errorf("unimplemented: %+v", r)
		}
	})
}

func TestFailureOfTheServerIsLoggedOnceAndToldNobody(t *testing.T) {
	w := newWorld(t, nil)
	client := authv1connect.NewSessionServiceClient(http.DefaultClient, w.url)
	w.handle = func(context.Context) error { panic("secret panic") }
	_, err := client.GetSession(signedIn(), &authv1.GetSessionRequest{})
	r := refusalOf(t, err)
	if r.code != connect.CodeInternal || strings.Contains(err.Error(), "secret") {
		t.Errorf("%+v", r)
	}
	line := w.line(0)
	if line["level"] != "ERROR" || line["error"] != "panic: secret panic" || line["request_id"] != r.requestID ||
		!strings.Contains(fmt.Sprint(line["stack"]), "errors_test.go") {
		t.Errorf("%v", line)
	}
	w.handle = nil
	w.failure = errors.New("secret failure")
	_, err = client.GetSession(signedIn(), &authv1.GetSessionRequest{})
	if r := refusalOf(t, err); r.code != connect.CodeInternal || r.message != "internal error; request id "+r.requestID {
		t.Errorf("%+v", r)
	}
	if line := w.line(1); line["level"] != "ERROR" || line["error"] != "secret failure" || line["stack"] != nil {
		t.Errorf("%v", line)
	}
	if all := w.lines(); len(all) != 2 {
		t.Errorf("%d lines", len(all))
	}
}

func TestWhatFailsBecauseTheCallWasGivenUpIsNoFailureOfTheServer(t *testing.T) {
	w := newWorld(t, func(o *rpc.Options) { o.RequestTimeout = 20 * time.Millisecond })
	w.handle = func(ctx context.Context) error { <-ctx.Done(); return errors.New("the driver's own words") }
	everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
		_, err := authv1connect.NewSessionServiceClient(h, w.url, o...).GetSession(signedIn(), &authv1.GetSessionRequest{})
		if r := refusalOf(t, err); r.code != connect.CodeDeadlineExceeded || r.message != "the call took too long" {
			t.Errorf("%+v", r)
		}
	})
	if strings.Contains(w.log.String(), "ERROR") {
		t.Error(w.log)
	}
}

func TestEveryViolationIsNamed(t *testing.T) {
	w := newWorld(t, nil)
	everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
		client := authv1connect.NewAuthenticationServiceClient(h, w.url, o...)
		_, err := client.SignInWithPassword(context.Background(), &authv1.SignInWithPasswordRequest{Email: "a", SessionTransport: 77})
		r := refusalOf(t, err)
		if r.code != connect.CodeInvalidArgument || r.reason != "FIELD_INVALID" || !slices.Equal(r.fields, []string{"email", "password", "session_transport"}) {
			t.Errorf("%+v", r)
		}
		if !strings.HasPrefix(r.message, "email: must be at least 3 characters; password: ") {
			t.Errorf("message %q", r.message)
		}
	})
	// More than a response's headers hold.
	many := &identityv1.DeleteMeRequest{Etag: "e"}
	for range 300 {
		many.Resolutions = append(many.Resolutions, &identityv1.WorkspaceResolution{})
	}
	everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
		_, err := identityv1connect.NewUserServiceClient(h, w.url, o...).DeleteMe(signedIn(), many)
		if r := refusalOf(t, err); r.code != connect.CodeInvalidArgument || len(r.fields) != 32 || !strings.HasSuffix(r.message, "; and 29 more") {
			t.Errorf("%+v", r)
		}
	})
}

func TestNoStringHoldsControlCharacters(t *testing.T) {
	w := newWorld(t, nil)
	everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
		client := authv1connect.NewAuthenticationServiceClient(h, w.url, o...)
		for _, bad := range []string{"\x00", "\n", "\x1b", "\x7f", "\u0085", "\u202e", "\u2066"} {
			_, err := client.SignInWithPassword(context.Background(), &authv1.SignInWithPasswordRequest{Email: "a@b.c", Password: "pass" + bad})
			r := refusalOf(t, err)
			if r.code != connect.CodeInvalidArgument || r.reason != "FIELD_INVALID" || !slices.Equal(r.fields, []string{"password"}) ||
				r.message != "password: must not contain control characters" {
				t.Errorf("%q: %+v", bad, r)
			}
		}
		if _, err := client.SignInWithPassword(context.Background(), &authv1.SignInWithPasswordRequest{Email: "a@b.c", Password: "pässwörd 密码 👩‍🚀"}); err != nil {
			t.Error(err)
		}
	})
	deep := &identityv1.DeleteMeRequest{Etag: "e", Resolutions: []*identityv1.WorkspaceResolution{
		{WorkspaceId: ids.New[ids.Workspace]().String(), Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true}}, {WorkspaceId: "\x00"},
	}}
	_, err := identityv1connect.NewUserServiceClient(http.DefaultClient, w.url).DeleteMe(signedIn(), deep)
	if r := refusalOf(t, err); !slices.Equal(r.fields, []string{"resolutions[1].workspace_id"}) {
		t.Errorf("%+v", r)
	}
}

// envelope is a message of gRPC.
func envelope(flags byte, data string) string {
	return string(binary.BigEndian.AppendUint32([]byte{flags}, uint32(len(data)))) + data
}

func zipped(s string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	_, _ = z.Write([]byte(s))
	_ = z.Close()
	return b.String()
}

// TestRequestsThatCannotBeRead are those that connect refuses before anything of
// this package has seen the request.
func TestRequestsThatCannotBeRead(t *testing.T) {
	w := newWorld(t, nil)
	brokenUTF8 := "\x0a\x03a\xffb\x12\x01p"
	big := strings.Repeat(" ", rpc.MaxRequestBytes+1)
	for name, test := range map[string]struct {
		contentType, body string
		headers           []string
		code              connect.Code
		reason, message   string
		field             string
	}{
		"json, no json":            {"application/json", `{"email":`, nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"json, wrong type":         {"application/json", `{"password":{"secret":1}}`, nil, connect.CodeInvalidArgument, "FIELD_INVALID", "password: a value of another type is expected", "password"},
		"json, wrong value":        {"application/json", `{"password":12345}`, nil, connect.CodeInvalidArgument, "FIELD_INVALID", "password: a value of another type is expected", "password"},
		"json, broken UTF-8":       {"application/json", `{"email":"a` + "\xff" + `"}`, nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request contains text that is not UTF-8", ""},
		"json, empty":              {"application/json", ``, nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"json, deep":               {"application/json", `{"x":` + strings.Repeat("[", 20000), nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"proto, broken UTF-8":      {"application/proto", brokenUTF8, nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request contains text that is not UTF-8", ""},
		"proto, cut":               {"application/proto", "\x0a\x7fa", nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"json, too large":          {"application/json", big, nil, connect.CodeResourceExhausted, "REQUEST_TOO_LARGE", "the request is larger than 65536 bytes", ""},
		"bomb":                     {"application/json", zipped(strings.Repeat(" ", 10<<20)), []string{"Content-Encoding", "gzip"}, connect.CodeResourceExhausted, "REQUEST_TOO_LARGE", "the request is larger than 65536 bytes", ""},
		"no gzip":                  {"application/json", "{}", []string{"Content-Encoding", "gzip"}, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"gzip, cut":                {"application/json", zipped("{}")[:15], []string{"Content-Encoding", "gzip"}, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"unknown compression":      {"application/json", "{}", []string{"Content-Encoding", "br"}, connect.CodeUnimplemented, "", "the request's compression is unknown; identity and gzip are supported", ""},
		"timeout":                  {"application/json", "{}", []string{"Connect-Timeout-Ms", "soon"}, connect.CodeInvalidArgument, "FIELD_INVALID", "the request's timeout is malformed", ""},
		"protocol version":         {"application/json", "{}", []string{"Connect-Protocol-Version", "7"}, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"grpc, broken UTF-8":       {"application/grpc", envelope(0, brokenUTF8), nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request contains text that is not UTF-8", ""},
		"grpc, no envelope":        {"application/grpc", "abc", nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"grpc, nothing":            {"application/grpc", "", nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"grpc, less than promised": {"application/grpc", envelope(0, "abcdef")[:8], nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"grpc, two messages":       {"application/grpc", envelope(0, "") + envelope(0, ""), nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"grpc, odd flags":          {"application/grpc", envelope(0x40, "abc"), nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"grpc, compressed unsaid":  {"application/grpc", envelope(1, zipped("")), nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request cannot be decoded", ""},
		"grpc, too large":          {"application/grpc", envelope(0, big), nil, connect.CodeResourceExhausted, "REQUEST_TOO_LARGE", "the request is larger than 65536 bytes", ""},
		"grpc, bomb":               {"application/grpc", envelope(1, zipped(strings.Repeat("\x00", 10<<20))), []string{"Grpc-Encoding", "gzip"}, connect.CodeResourceExhausted, "REQUEST_TOO_LARGE", "the request is larger than 65536 bytes", ""},
		"grpc, compression":        {"application/grpc", envelope(1, "x"), []string{"Grpc-Encoding", "br"}, connect.CodeUnimplemented, "", "the request's compression is unknown; identity and gzip are supported", ""},
		"grpc, timeout":            {"application/grpc", envelope(0, ""), []string{"Grpc-Timeout", "soon"}, connect.CodeInvalidArgument, "FIELD_INVALID", "the request's timeout is malformed", ""},
		"grpc-web, broken UTF-8":   {"application/grpc-web+proto", envelope(0, brokenUTF8), nil, connect.CodeInvalidArgument, "FIELD_INVALID", "the request contains text that is not UTF-8", ""},
		"grpc-web, too large":      {"application/grpc-web+proto", envelope(0, big), nil, connect.CodeResourceExhausted, "REQUEST_TOO_LARGE", "the request is larger than 65536 bytes", ""},
	} {
		t.Run(name, func(t *testing.T) {
			answer, err := w.raw(test.contentType, test.body, test.headers...)
			if answer != nil {
				t.Fatalf("answered %v", answer)
			}
			r := refusalOf(t, err)
			if r.code != test.code || r.reason != test.reason || r.message != test.message {
				t.Errorf("%+v", r)
			}
			if test.field != "" && !slices.Equal(r.fields, []string{test.field}) {
				t.Errorf("fields %v", r.fields)
			}
		})
	}
	if strings.Contains(w.log.String(), "ERROR") || strings.Contains(w.log.String(), "12345") {
		t.Error(w.log)
	}
	w.line(27) // each has its line
}

// raw sends a body as it is to SignInWithPassword and reads the answer through
// connect's client, whose request the transport replaces.
func (w *world) raw(contentType, body string, headers ...string) (any, error) {
	var o []connect.ClientOption
	h := http.DefaultClient
	switch {
	case contentType == "application/grpc":
		o, h = append(o, connect.WithGRPC()), h2c
	case strings.HasPrefix(contentType, "application/grpc-web"):
		o = append(o, connect.WithGRPCWeb())
	case contentType == "application/json":
		o = append(o, connect.WithProtoJSON())
	}
	client := authv1connect.NewAuthenticationServiceClient(replaced{h, contentType, body, headers}, w.url, o...)
	answer, err := client.SignInWithPassword(context.Background(), &authv1.SignInWithPasswordRequest{})
	if answer == nil {
		return nil, err
	}
	return answer, err
}

type replaced struct {
	*http.Client
	contentType, body string
	headers           []string
}

func (c replaced) Do(r *http.Request) (*http.Response, error) {
	_ = r.Body.Close()
	r.Body, r.GetBody, r.ContentLength = io.NopCloser(strings.NewReader(c.body)), nil, int64(len(c.body))
	if c.body == "" {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	r.Header.Set("Content-Type", c.contentType)
	r.Header.Del("Grpc-Encoding")
	for i := 0; i < len(c.headers); i += 2 {
		r.Header.Set(c.headers[i], c.headers[i+1])
	}
	return c.Client.Do(r)
}

func TestWhatHTTPItselfRefuses(t *testing.T) {
	w := newWorld(t, nil)
	for name, test := range map[string]struct {
		method, path, contentType string
		status                    int
	}{
		"GET of what changes things": {"GET", signIn + "?encoding=json&message={}", "", 405},
		"PUT":                        {"PUT", getSession, "application/json", 405},
		"content type":               {"POST", signIn, "text/html", 415},
		"no content type":            {"POST", signIn, "", 415},
		"unknown method":             {"POST", "/logicspike.auth.v1.SessionService/Nothing", "application/json", 404},
	} {
		r, _ := http.NewRequest(test.method, w.url+test.path, strings.NewReader("{}"))
		if test.contentType != "" {
			r.Header.Set("Content-Type", test.contentType)
		}
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != test.status || response.Header.Get("X-Request-Id") == "" {
			t.Errorf("%s: status %d, headers %v", name, response.StatusCode, response.Header)
		}
	}
	// GET of what changes nothing is allowed.
	r, _ := http.NewRequest("GET", w.url+getSession+"?encoding=json&message={}", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer map[string]any
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || response.StatusCode != 200 {
		t.Errorf("status %d, %v, %v", response.StatusCode, answer, err)
	}
}

func TestAnswerThatCannotBeSentIsAFailureOfTheServer(t *testing.T) {
	w := newWorld(t, nil)
	w.answer = "\xff" // not UTF-8
	everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
		client := authv1connect.NewAuthenticationServiceClient(h, w.url, o...)
		_, err := client.SignInWithPassword(context.Background(), &authv1.SignInWithPasswordRequest{Email: "a@b.c", Password: "p"})
		if r := refusalOf(t, err); r.code != connect.CodeInternal || r.reason != "INTERNAL" || r.message != "internal error; request id "+r.requestID {
			t.Errorf("%+v", r)
		}
	})
	if line := w.line(3); line["level"] != "ERROR" || !strings.Contains(fmt.Sprint(line["error"]), "UTF-8") {
		t.Errorf("%v", line)
	}
}

func TestEmptyAnswersArrive(t *testing.T) {
	w := newWorld(t, nil)
	everyTransport(t, func(t *testing.T, h *http.Client, o []connect.ClientOption) {
		client := authv1connect.NewSessionServiceClient(h, w.url, o...)
		if _, err := client.RevokeOtherSessions(signedIn(), &authv1.RevokeOtherSessionsRequest{}); err != nil {
			t.Error(err)
		}
	})
}

func TestLargeAnswersAreCompressed(t *testing.T) {
	w := newWorld(t, nil)
	for _, size := range []int{10, 1020} {
		response, _ := w.post(signIn, "application/json", strings.NewReader(`{"email":"a@b.c","password":"`+strings.Repeat("x", size)+`"}`), "Accept-Encoding", "gzip")
		if got := response.Header.Get("Content-Encoding"); (got == "gzip") != (size == 1020) {
			t.Errorf("%d bytes: encoding %q", size, got)
		}
	}
}

// TestBombCostsNoMoreThanItsLimit sends 60 KB of gzip that hold 60 MB.
func TestBombCostsNoMoreThanItsLimit(t *testing.T) {
	w := newWorld(t, nil)
	var bomb bytes.Buffer
	z, _ := gzip.NewWriterLevel(&bomb, gzip.BestCompression)
	block := make([]byte, 1<<20)
	for range 60 {
		_, _ = z.Write(block)
	}
	_ = z.Close()
	if bomb.Len() > rpc.MaxRequestBytes {
		t.Fatalf("the bomb has %d bytes and would be refused unopened", bomb.Len())
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	const times = 20
	for range times {
		response, body := w.post(signIn, "application/json", bytes.NewReader(bomb.Bytes()), "Content-Encoding", "gzip")
		if response.StatusCode != http.StatusTooManyRequests || !bytes.Contains(body, []byte("REQUEST_TOO_LARGE")) {
			t.Fatalf("%d %s", response.StatusCode, body)
		}
	}
	runtime.ReadMemStats(&after)
	if each := (after.TotalAlloc - before.TotalAlloc) / times; each > 2<<20 {
		t.Errorf("%d bytes allocated for each bomb", each)
	}
}
