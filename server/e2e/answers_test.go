package e2e

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/uuid"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
)

func procedureOf(method protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
}

// methodsByName returns the methods that a server has, by service and name
// without the package.
func methodsByName(t testing.TB, srv *testkit.Server) map[string]protoreflect.MethodDescriptor {
	t.Helper()
	methods := map[string]protoreflect.MethodDescriptor{}
	for _, procedure := range srv.Server.Rules().Procedures() {
		name := strings.ReplaceAll(procedure[1:], "/", ".")
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			t.Fatal(err)
		}
		methods[fmt.Sprintf("%s/%s", d.Parent().Name(), d.Name())] = d.(protoreflect.MethodDescriptor)
	}
	return methods
}

// callJSON makes a call of the Connect protocol.
func callJSON(t testing.TB, srv *testkit.Server, method protoreflect.MethodDescriptor, token string, message proto.Message) answer {
	t.Helper()
	body, err := protojson.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	if method.IsStreamingClient() {
		return postStream(t, srv, procedureOf(method), token, "application/connect+json", body)
	}
	return post(t, srv, procedureOf(method), token, "application/json", body)
}

// post sends a body.
func post(t testing.TB, srv *testkit.Server, path, token, contentType string, body []byte) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	return send(t, req, token)
}

// send sends a request.
func send(t testing.TB, req *http.Request, token string) answer {
	t.Helper()
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, body}
}

// answer is what came back over HTTP.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// comparable is all of the answer that may not depend on what nobody may know:
// the whole, but for the time and the name of the call.
func (a answer) comparable() string {
	header := a.header.Clone()
	header.Del("Date")
	header.Del("X-Request-Id")
	var b bytes.Buffer
	fmt.Fprintln(&b, a.status)
	_ = header.Write(&b)
	return b.String() + string(a.body)
}

func (a answer) error() (e wireError) {
	_ = json.Unmarshal(a.body, &e)
	return e
}

// outcome is "ok", or the error's code and reason, or the status of HTTP when the
// answer is none of Connect.
func (a answer) outcome() string {
	if a.status == http.StatusOK {
		return "ok"
	}
	e := a.error()
	if e.Code == "" {
		return fmt.Sprint("HTTP ", a.status)
	}
	for _, d := range e.Details {
		var info errdetails.ErrorInfo
		if data, err := base64.RawStdEncoding.DecodeString(d.Value); d.Type == "google.rpc.ErrorInfo" && err == nil && proto.Unmarshal(data, &info) == nil {
			return e.Code + " " + info.Reason
		}
	}
	return e.Code
}

// wireError is an error in the Connect protocol.
type wireError struct {
	Code    string
	Message string
	Details []struct{ Type, Value string }
}

// uuidOf returns the UUID of an id of the API, whatever it names.
func uuidOf(t testing.TB, id string) uuid.UUID {
	t.Helper()
	_, digits, _ := strings.Cut(id, "_")
	parsed, err := ids.Parse[ids.User]("usr_" + digits)
	if err != nil {
		t.Fatalf("%q: %v", id, err)
	}
	return parsed.UUID()
}

// checkLog checks that a server logged no failure of its own and none of the
// secrets.
func checkLog(t testing.TB, srv *testkit.Server, secrets ...string) {
	t.Helper()
	log := srv.Log.String()
	for line := range strings.Lines(log) {
		if strings.Contains(line, "level=ERROR") {
			t.Errorf("the server logged an error: %s", line)
		}
	}
	for _, s := range secrets {
		if s == "" {
			t.Error("an empty string is no secret")
		} else if strings.Contains(log, s) {
			t.Errorf("the log contains the secret %q", s)
		}
	}
}
