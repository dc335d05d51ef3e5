package e2e

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	authzv1 "github.com/logicspike/manager/gen/go/logicspike/authz/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// other is a user who has nothing to do with the caller.
func (w *world) other() string {
	w.t.Helper()
	return newPerson(w.t, w.srv).User.Id
}

// postStream sends a message as a stream of one, and returns the answer as if it had
// not been one.
func postStream(t testing.TB, srv *testkit.Server, path, token, contentType string, messages ...[]byte) answer {
	t.Helper()
	var body []byte
	for _, m := range messages {
		body = append(binary.BigEndian.AppendUint32(append(body, 0), uint32(len(m))), m...)
	}
	a := post(t, srv, path, token, contentType, body)
	rest := a.body
	a.body = nil
	for len(rest) >= 5 && a.status == http.StatusOK {
		flags, size := rest[0], binary.BigEndian.Uint32(rest[1:5])
		content := rest[5 : 5+size]
		rest = rest[5+size:]
		if flags&2 == 0 {
			a.body = content
			continue
		}
		var end struct{ Error json.RawMessage }
		if err := json.Unmarshal(content, &end); err != nil {
			t.Fatal(err)
		}
		if end.Error != nil {
			a.status, a.body = http.StatusBadRequest, bytes.Clone(end.Error)
		}
	}
	return a
}

// TestOperatorsMayCallTheirMethods calls what the matrix refuses to all others.
func TestOperatorsMayCallTheirMethods(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	operator := makeOperator(t, srv, provenPerson(t, srv))
	for name, method := range methodsByName(t, srv) {
		if strings.HasPrefix(name, "OperatorService/") {
			a := callJSON(t, srv, method, operator.Token, requests[name](newWorld(t, srv, "owner")))
			if a.outcome() != "ok" {
				t.Errorf("%s: %s", name, a.body)
			}
		}
	}
	checkLog(t, srv, testkit.Password)
}

// impersonable are the methods with an effect that an operator may call in a user's
// name.
var impersonable = map[string]bool{
	"AuthenticationService/SignOut":    true,
	"TokenService/CreateAccessToken":   true,
	"WorkspaceService/UpdateWorkspace": true,
}

// TestAnImpersonatedSessionReads and does nothing else: it walks all methods, with
// requests with which the user themselves succeeds.
func TestAnImpersonatedSessionReads(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	operator := makeOperator(t, srv, provenPerson(t, srv))
	_, rows := readMatrix(t)
	methods := methodsByName(t, srv)
	refusals := 0
	for _, row := range rows {
		method := methods[row.method()]
		if method == nil || requests[row.name] == nil {
			continue // the matrix itself tells
		}
		w := newWorld(t, srv, "owner")
		message := requests[row.name](w)
		res, err := operator.Operators.ImpersonateUser(t.Context(), &authv1.ImpersonateUserRequest{UserId: w.owner.User.Id, Reason: "A test"})
		w.must(err)
		want := outcomes[row.cells[6]] // the owner's
		switch {
		case proto.GetExtension(method.Options(), authzv1.E_Rule).(*authzv1.Rule).GetPublic() != nil:
			want = outcomes[row.cells[0]] // as for nobody
		case proto.GetExtension(method.Options(), authzv1.E_Rule).(*authzv1.Rule).GetOperator() != nil:
		case !effectless(method) && !impersonable[row.method()]:
			want = "permission_denied IMPERSONATION_NOT_ALLOWED"
			refusals++
		}
		a := callJSON(t, srv, method, res.SessionToken, message)
		if got := a.outcome(); got != want {
			t.Errorf("%s: %s, want %s\n%s", row.name, got, want, a.body)
		}
		if want == "permission_denied IMPERSONATION_NOT_ALLOWED" { // and it had no effect: the user can do it still
			if got := callJSON(t, srv, method, w.owner.Token, message).outcome(); got != outcomes[row.cells[6]] {
				t.Errorf("%s: then the user gets %s", row.name, got)
			}
		}
	}
	if refusals < 30 {
		t.Errorf("only %d methods were refused", refusals)
	}
	checkLog(t, srv, testkit.Password)
}

func effectless(method protoreflect.MethodDescriptor) bool {
	return method.Options().(*descriptorpb.MethodOptions).GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS
}
