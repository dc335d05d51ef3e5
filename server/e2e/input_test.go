package e2e

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"buf.build/gen/go/bufbuild/protovalidate/protocolbuffers/go/buf/validate"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"

	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
)

// TestNoInputBreaksTheServer sends what no honest client sends. All of it is
// answered with an error that says whose fault it is and tells nothing of the
// inside; then the server still answers, and has logged no failure of its own.
//
// It is not parallel, since it measures memory.
func TestNoInputBreaksTheServer(t *testing.T) {
	srv := quick(t)
	in := &inputs{srv: srv, methods: methodsByName(t, srv), world: newWorld(t, srv, "owner")}
	makeOperator(t, srv, in.world.owner)
	t.Run("a compressed bomb costs no memory", in.bombs)
	t.Run("all at once", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T){
			"bad text is refused in every field":               in.text,
			"bad numbers are refused in every field":           in.numbers,
			"a page token is good for its list and no other":   in.pageTokens,
			"a page token that was changed is refused":         in.changedPageTokens,
			"what is not a message is refused":                 in.notMessages,
			"what a newer client may know is passed over":      in.unknownFields,
			"a content type that is not spoken is refused":     in.contentTypes,
			"only methods without effect may be called by GET": in.get,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
	if a := callJSON(t, srv, in.methods["SessionService/GetSession"], in.world.owner.Token, &authv1.GetSessionRequest{}); a.outcome() != "ok" {
		t.Errorf("afterwards GetSession answers %s", a.outcome())
	}
	srv.CheckInvariants(t)
	checkLog(t, srv, testkit.Password, in.world.owner.Token)
}

// inputs is what the tests of TestNoInputBreaksTheServer share.
type inputs struct {
	srv     *testkit.Server
	methods map[string]protoreflect.MethodDescriptor
	world   *world
}

// codecs are the forms in which Connect sends a message.
var codecs = []struct {
	contentType string
	marshal     func(proto.Message) ([]byte, error)
}{
	{"application/json", protojson.Marshal},
	{"application/proto", proto.Marshal},
}

// post sends the bytes of a message, as a stream of it where the method takes one.
func (in *inputs) post(t *testing.T, method protoreflect.MethodDescriptor, contentType string, body []byte) answer {
	t.Helper()
	if method.IsStreamingClient() {
		return postStream(t, in.srv, procedureOf(method), in.world.owner.Token, strings.Replace(contentType, "/", "/connect+", 1), body)
	}
	return post(t, in.srv, procedureOf(method), in.world.owner.Token, contentType, body)
}

// text puts bad text into every string of every request.
func (in *inputs) text(t *testing.T) {
	const megabyte = 1 << 20
	refused := []string{"invalid_argument FIELD_INVALID"}
	tooLarge := []string{"resource_exhausted REQUEST_TOO_LARGE"}
	fields := 0
	for _, name := range slices.Sorted(maps.Keys(in.methods)) {
		method := in.methods[name]
		base := requests[name](in.world.in(t))
		for _, path := range textPaths(method.Input(), nil) {
			fields++
			values := []struct {
				what, value string
				named       bool // whether the error names the field
				want        []string
			}{
				{"NUL", "a\x00b", true, refused},
				{"a control character", "a\x1bb", true, refused},
				{"a control character beyond ASCII", "a\u0085b", true, refused},
				{"a bidi override", "a\u202eb", true, refused},
				{"a bidi isolate", "a\u2066b", true, refused},
				{"60 KiB", strings.Repeat("a", 60<<10), true, refused},
				{"1 MiB", strings.Repeat("a", megabyte), false, tooLarge},
			}
			if prefix := idPrefix(path.last()); prefix != "" {
				digits := strings.TrimPrefix(ids.New[ids.User]().String(), "usr_")
				for what, value := range map[string]string{
					"another prefix": "xyz_" + digits, "no prefix": digits, "a short id": prefix + digits[1:], "a long id": prefix + digits + "0",
					"an id that overflows": prefix + "z" + digits[1:], "large letters": prefix + strings.ToUpper(digits), "SQL": prefix + "' OR 1=1; --",
				} {
					values = append(values, struct {
						what, value string
						named       bool
						want        []string
					}{what, value, true, refused})
				}
			}
			for _, v := range values {
				message := path.set(base, v.value)
				for _, codec := range codecs {
					body, err := codec.marshal(message)
					if err != nil { // a field mask cannot hold everything in JSON
						continue
					}
					a := in.post(t, method, codec.contentType, body)
					in.check(t, fmt.Sprintf("%s: %s in %s of %s", codec.contentType, v.what, path, name), a, v.want...)
					if v.named && !a.names(path) {
						t.Errorf("%s: %s in %s of %s: the error does not name the field: %s", codec.contentType, v.what, path, name, a.body)
					}
				}
			}
			const mark = "zyxwvutsrq"
			for _, codec := range codecs {
				body, err := codec.marshal(path.set(base, mark))
				if err != nil {
					t.Fatal(err)
				}
				for what, broken := range map[string]string{"broken UTF-8": "zyx\xff\xfetsrq", "half a character": "zyxwvutsr\xc3", "a surrogate": "zyxw\xed\xa0\x80srq"} {
					a := in.post(t, method, codec.contentType, bytes.Replace(body, []byte(mark), []byte(broken), 1))
					in.check(t, fmt.Sprintf("%s: %s in %s of %s", codec.contentType, what, path, name), a, refused...)
				}
			}
		}
	}
	if fields < 110 {
		t.Errorf("only %d fields were found", fields)
	}
}

// numbers puts bad numbers into every number, duration and enum of every request.
func (in *inputs) numbers(t *testing.T) {
	fields := 0
	for _, name := range slices.Sorted(maps.Keys(in.methods)) {
		method := in.methods[name]
		base, err := protojson.Marshal(requests[name](in.world.in(t)))
		if err != nil {
			t.Fatal(err)
		}
		for i := range method.Input().Fields().Len() {
			field := method.Input().Fields().Get(i)
			var bad []string
			switch field.Kind() {
			case protoreflect.EnumKind:
				bad = []string{`99`, `-1`, `2147483647`, `2147483648`, `1e30`, `1.5`, `true`, `{}`, `[]`}
			case protoreflect.Int32Kind:
				bad = []string{`-1`, `-2147483648`, fmt.Sprint(most(t, field) + 1), `2147483647`, `2147483648`, `-9e99`, `1e30`, `1e999999999`, `1.5`, `"NaN"`, `"1; DROP TABLE"`, `true`, `{}`, strings.Repeat("9", 60000)}
			case protoreflect.BoolKind:
				bad = []string{`1`, `"true"`, `{}`}
			case protoreflect.MessageKind:
				if field.Message().FullName() != "google.protobuf.Duration" {
					continue
				}
				bad = []string{`"0s"`, `"-60s"`, `"59.999999999s"`, `"7776000.000000001s"`, `"315576000001s"`, `"1e3s"`, `"60"`, `"s"`, `60`, `true`, `{}`, `"NaN"`}
			default:
				continue
			}
			fields++
			for _, value := range bad {
				body := slices.Concat([]byte(`{`+fmt.Sprintf("%q:%s,", field.JSONName(), value)), bytes.TrimLeft(base, "{ "))
				body = bytes.Replace(body, []byte(",}"), []byte("}"), 1)
				a := in.post(t, method, "application/json", body)
				in.check(t, fmt.Sprintf("%s = %.20s in %s", field.Name(), value, name), a, "invalid_argument FIELD_INVALID")
			}
			if field.Kind() == protoreflect.BoolKind || field.Kind() == protoreflect.MessageKind {
				continue
			}
			binary, err := proto.Marshal(requests[name](in.world.in(t)))
			if err != nil {
				t.Fatal(err)
			}
			for what, value := range map[string][]byte{
				"an unknown value":   protowire.AppendVarint(nil, 999_999_999),
				"a negative value":   protowire.AppendVarint(nil, 1<<64-1),
				"an endless number":  bytes.Repeat([]byte{0xff}, 32),
				"a number cut short": {0x80},
			} {
				body := append(protowire.AppendTag(slices.Clone(binary), field.Number(), protowire.VarintType), value...)
				a := in.post(t, method, "application/proto", body)
				in.check(t, fmt.Sprintf("binary: %s of %s in %s", what, field.Name(), name), a, "invalid_argument FIELD_INVALID")
			}
		}
	}
	if fields < 20 {
		t.Errorf("only %d fields were found", fields)
	}
}

// most is the largest value that a field may have.
func most(t testing.TB, field protoreflect.FieldDescriptor) int32 {
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	if rules.GetInt32().GetLte() == 0 {
		t.Errorf("%s has no upper limit", field.FullName())
	}
	return rules.GetInt32().GetLte()
}

// lists returns lists of several pages, no two of which are the same, with a
// token of each one's second page.
func (in *inputs) lists(t *testing.T) []*list {
	t.Helper()
	srv := in.srv
	ann, bob := newPerson(t, srv), newPerson(t, srv)
	second, err := ann.Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Second"})
	if err != nil {
		t.Fatal(err)
	}
	one, two := ann.Workspace.Id, second.Workspace.Id
	for _, w := range []string{one, two} {
		srv.Join(t, bob, w, authz.Admin)
		if _, err := ann.Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: w, Name: "Renamed"}); err != nil {
			t.Fatal(err)
		}
		if _, err := ann.Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: w, Name: "Renamed again"}); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*testkit.Person{ann, bob} {
		for range 2 {
			other := *p
			srv.SignIn(t, &other)
		}
	}
	w := &world{t: t, srv: srv, owner: ann, workspace: one}
	w.prove(ann)
	w.prove(bob)
	for range 2 {
		for _, p := range []*testkit.Person{{Client: ann.Client, User: ann.User, Workspace: ann.Workspace}, {Client: ann.Client, User: ann.User, Workspace: second.Workspace}} {
			w.invitation(p, testkit.NewEmail())
			w.link(p)
			w.joinRequest(p)
		}
		for _, p := range []*testkit.Person{ann, bob} {
			w.invitation(newPerson(t, srv), p.Email)
		}
	}
	robot := w.serviceAccount(ann)
	for range 2 {
		w.apiKey(ann, one, "", "workspace.get")
		w.apiKey(ann, one, robot, "workspace.get")
		w.apiKey(ann, two, "", "workspace.get")
	}
	for range 2 {
		for _, workspace := range []string{one, two} {
			srv.Invoice(t, workspace)
		}
	}
	const pending = teamv1.InvitationState_INVITATION_STATE_PENDING
	const oldestFirst = auditv1.EventOrder_EVENT_ORDER_OLDEST_FIRST
	makeOperator(t, srv, ann)
	lists := []*list{
		{name: "users", caller: ann, method: "OperatorService/FindUsers", message: &authv1.FindUsersRequest{}},
		{name: "users called ann", caller: ann, method: "OperatorService/FindUsers", message: &authv1.FindUsersRequest{Query: "ann@"}},
		{name: "ann's sessions", caller: ann, method: "SessionService/ListSessions", message: &authv1.ListSessionsRequest{}},
		{name: "bob's sessions", caller: bob, method: "SessionService/ListSessions", message: &authv1.ListSessionsRequest{}},
		{name: "ann's security events", caller: ann, method: "SecurityService/ListSecurityEvents", message: &authv1.ListSecurityEventsRequest{}},
		{name: "bob's security events", caller: bob, method: "SecurityService/ListSecurityEvents", message: &authv1.ListSecurityEventsRequest{}},
		{name: "ann's workspaces", caller: ann, method: "WorkspaceService/ListWorkspaces", message: &tenantv1.ListWorkspacesRequest{}},
		{name: "ann's workspaces, deleted too", caller: ann, method: "WorkspaceService/ListWorkspaces", message: &tenantv1.ListWorkspacesRequest{ShowDeleted: true}},
		{name: "bob's workspaces", caller: bob, method: "WorkspaceService/ListWorkspaces", message: &tenantv1.ListWorkspacesRequest{}},
		{name: "members of one", caller: ann, method: "MembershipService/ListMemberships", message: &teamv1.ListMembershipsRequest{WorkspaceId: one}},
		{name: "members of two", caller: ann, method: "MembershipService/ListMemberships", message: &teamv1.ListMembershipsRequest{WorkspaceId: two}},
		{name: "members of one by name", caller: ann, method: "MembershipService/ListMemberships", message: &teamv1.ListMembershipsRequest{WorkspaceId: one, Order: teamv1.MembershipOrder_MEMBERSHIP_ORDER_NAME}},
		{name: "active members of one", caller: ann, method: "MembershipService/ListMemberships", message: &teamv1.ListMembershipsRequest{WorkspaceId: one, State: teamv1.MembershipState_MEMBERSHIP_STATE_ACTIVE}},
		{name: "members of one called ann", caller: ann, method: "MembershipService/ListMemberships", message: &teamv1.ListMembershipsRequest{WorkspaceId: one, Search: "ann"}},
		{name: "invitations of one", caller: ann, method: "InvitationService/ListInvitations", message: &teamv1.ListInvitationsRequest{WorkspaceId: one}},
		{name: "invitations of two", caller: ann, method: "InvitationService/ListInvitations", message: &teamv1.ListInvitationsRequest{WorkspaceId: two}},
		{name: "pending invitations of one", caller: ann, method: "InvitationService/ListInvitations", message: &teamv1.ListInvitationsRequest{WorkspaceId: one, State: pending}},
		{name: "ann's invitations", caller: ann, method: "InvitationService/ListReceivedInvitations", message: &teamv1.ListReceivedInvitationsRequest{}},
		{name: "bob's invitations", caller: bob, method: "InvitationService/ListReceivedInvitations", message: &teamv1.ListReceivedInvitationsRequest{}},
		{name: "links of one", caller: ann, method: "InvitationService/ListInvitationLinks", message: &teamv1.ListInvitationLinksRequest{WorkspaceId: one}},
		{name: "links of two", caller: ann, method: "InvitationService/ListInvitationLinks", message: &teamv1.ListInvitationLinksRequest{WorkspaceId: two}},
		{name: "requests to join one", caller: ann, method: "JoinRequestService/ListJoinRequests", message: &teamv1.ListJoinRequestsRequest{WorkspaceId: one}},
		{name: "requests to join two", caller: ann, method: "JoinRequestService/ListJoinRequests", message: &teamv1.ListJoinRequestsRequest{WorkspaceId: two}},
		{name: "keys of one", caller: ann, method: "ApiKeyService/ListApiKeys", message: &authv1.ListApiKeysRequest{WorkspaceId: one}},
		{name: "keys of two", caller: ann, method: "ApiKeyService/ListApiKeys", message: &authv1.ListApiKeysRequest{WorkspaceId: two}},
		{name: "a program's keys of one", caller: ann, method: "ApiKeyService/ListApiKeys", message: &authv1.ListApiKeysRequest{WorkspaceId: one, ServiceAccountId: robot}},
		{name: "invoices of one", caller: ann, method: "InvoiceService/ListInvoices", message: &billingv1.ListInvoicesRequest{WorkspaceId: one}},
		{name: "invoices of two", caller: ann, method: "InvoiceService/ListInvoices", message: &billingv1.ListInvoicesRequest{WorkspaceId: two}},
		{name: "all invoices", caller: ann, method: "InvoiceService/SearchInvoices", message: &billingv1.SearchInvoicesRequest{}},
		{name: "events of one", caller: ann, method: "EventService/ListEvents", message: &auditv1.ListEventsRequest{WorkspaceId: one}},
		{name: "events of two", caller: ann, method: "EventService/ListEvents", message: &auditv1.ListEventsRequest{WorkspaceId: two}},
		{name: "events of one, oldest first", caller: ann, method: "EventService/ListEvents", message: &auditv1.ListEventsRequest{WorkspaceId: one, Order: oldestFirst}},
		{name: "updates of one", caller: ann, method: "EventService/ListEvents", message: &auditv1.ListEventsRequest{WorkspaceId: one, Action: "workspace.updated"}},
		{name: "ann's events", caller: ann, method: "EventService/ListEvents", message: &auditv1.ListEventsRequest{}},
		{name: "bob's events", caller: bob, method: "EventService/ListEvents", message: &auditv1.ListEventsRequest{}},
		{name: "ann's sign-ins", caller: ann, method: "EventService/ListEvents", message: &auditv1.ListEventsRequest{Action: "session.created"}},
	}
	for _, l := range lists {
		// An event is listed once every older transaction has ended.
		testkit.Eventually(t, "a second page of "+l.name, func() bool {
			var page struct{ NextPageToken string }
			a := l.call(t, in, "")
			if err := json.Unmarshal(a.body, &page); err != nil || a.outcome() != "ok" {
				t.Fatalf("%s: %s (%v)", l.name, a.body, err)
			}
			l.next = page.NextPageToken
			return l.next != ""
		})
	}
	return lists
}

// list is a list, asked for a page of one.
type list struct {
	name    string
	caller  *testkit.Person
	method  string
	message proto.Message
	next    string // a token of the second page
}

func (l *list) call(t testing.TB, in *inputs, token string) answer {
	t.Helper()
	m := proto.Clone(l.message).ProtoReflect()
	m.Set(m.Descriptor().Fields().ByName("page_size"), protoreflect.ValueOfInt32(1))
	m.Set(m.Descriptor().Fields().ByName("page_token"), protoreflect.ValueOfString(token))
	return callJSON(t, in.srv, in.methods[l.method], l.caller.Token, m.Interface())
}

const badPageToken = "invalid_argument PAGE_TOKEN_INVALID"

func (in *inputs) pageTokens(t *testing.T) {
	lists := in.lists(t)
	for name, method := range in.methods {
		if method.Input().Fields().ByName("page_token") != nil && !slices.ContainsFunc(lists, func(l *list) bool { return l.method == name }) {
			t.Errorf("%s has pages, but no list of it is tried", name)
		}
	}
	for _, from := range lists {
		for _, to := range lists {
			want := badPageToken
			if from == to {
				want = "ok"
			}
			in.check(t, "the page token of "+from.name+" for "+to.name, to.call(t, in, from.next), want)
		}
	}
}

func (in *inputs) changedPageTokens(t *testing.T) {
	for i, l := range in.lists(t) {
		bad := map[string]string{
			"garbage":            "garbage",
			"no base64":          "!\"§$%&/()=",
			"with padding":       l.next + "==",
			"with a space":       l.next + " ",
			"twice":              l.next + l.next,
			"a position, plain":  base64.RawURLEncoding.EncodeToString([]byte(`{"ID":"00000000-0000-0000-0000-000000000000"}`)),
			"zeros":              base64.RawURLEncoding.EncodeToString(make([]byte, 90)),
			"without its end":    l.next[:len(l.next)-1],
			"without its start":  l.next[1:],
			"half":               l.next[:len(l.next)/2],
			"as long as allowed": strings.Repeat("A", 1024),
		}
		if i%4 == 0 { // one bit of each character
			const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
			for at := range l.next {
				digit := strings.IndexByte(alphabet, l.next[at])
				flipped := alphabet[digit^1<<(at%6)]
				if at == len(l.next)-1 {
					flipped = alphabet[digit^1]
				}
				bad[fmt.Sprint("with a bit changed at ", at)] = l.next[:at] + string(flipped) + l.next[at+1:]
			}
		}
		for what, token := range bad {
			in.check(t, l.name+": the page token "+what, l.call(t, in, token), badPageToken)
		}
	}
}

// notMessages sends bodies that are no message at all.
func (in *inputs) notMessages(t *testing.T) {
	const refused = "invalid_argument FIELD_INVALID"
	path := procedureOf(in.methods["WorkspaceService/CreateWorkspace"])
	group := protowire.AppendTag(nil, 1000, protowire.StartGroupType)
	for what, body := range map[string]string{
		"nothing":                  "",
		"an array":                 `[]`,
		"a string":                 `"name"`,
		"null":                     `null`,
		"half a message":           `{"name":"Acme`,
		"two messages":             `{"name":"Acme"}{"name":"Acme"}`,
		"a field twice":            `{"name":"Acme","name":"Acme"}`,
		"a field by both names":    `{"requestId":"","request_id":""}`,
		"another type":             `{"name":{"first":"Acme"}}`,
		"half a surrogate pair":    `{"name":"\ud800"}`,
		"an unknown escape":        `{"name":"\x41"}`,
		"a bare control character": "{\"name\":\"a\x01b\"}",
		"a byte order mark":        "\ufeff" + `{"name":"Acme"}`,
		"another encoding":         "{\x00\"\x00n\x00",
		"objects without end":      strings.Repeat(`{"x":`, 12000),
		"arrays without end":       `{"x":` + strings.Repeat(`[`, 60000),
	} {
		in.check(t, "JSON: "+what, post(t, in.srv, path, in.world.owner.Token, "application/json", []byte(body)), refused)
	}
	for what, body := range map[string][]byte{
		"JSON":               []byte(`{"name":"Acme"}`),
		"zeros":              make([]byte, 1000),
		"a length too large": {0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f},
		"groups without end": bytes.Repeat(group, 60000/len(group)),
		"another type":       {0x08, 0x01, 0x0b},
	} {
		in.check(t, "binary: "+what, post(t, in.srv, path, in.world.owner.Token, "application/proto", body), refused)
	}
	in.check(t, "a message of 64 KiB and more",
		post(t, in.srv, path, in.world.owner.Token, "application/json", []byte(`{"name":"Acme"`+strings.Repeat(" ", 64<<10)+`}`)),
		"resource_exhausted REQUEST_TOO_LARGE")
	for _, encoding := range []string{"br", "zstd", "deflate", "gzip, gzip", "\"gzip"} {
		req := in.request(t, path, []byte(`{"name":"Acme"}`))
		req.Header.Set("Content-Encoding", encoding)
		in.check(t, "compressed by "+encoding, send(t, req, in.world.owner.Token), "unimplemented")
	}
	for what, body := range map[string][]byte{"no gzip": []byte(`{"name":"Acme"}`), "half of gzip": gzipped(t, []byte(`{"name":"Acme"}`))[:20], "no message": gzipped(t, []byte("x"))} {
		req := in.request(t, path, body)
		req.Header.Set("Content-Encoding", "gzip")
		in.check(t, "gzip: "+what, send(t, req, in.world.owner.Token), refused)
	}
	for _, timeout := range []string{"-1", "x", "99999999999", "1e3"} {
		req := in.request(t, path, []byte(`{"name":"Acme"}`))
		req.Header.Set("Connect-Timeout-Ms", timeout)
		in.check(t, "a timeout of "+timeout, send(t, req, in.world.owner.Token), refused)
	}
}

// unknownFields sends fields, and names of enum values, that the server does not
// know, as a client does that is newer than the server.
func (in *inputs) unknownFields(t *testing.T) {
	path := procedureOf(in.methods["EventService/ListEvents"])
	for what, body := range map[string]string{
		"a field":                `{"colour":"green"}`,
		"a field, nested deeply": `{"x":` + strings.Repeat(`{"x":`, 5000) + `1` + strings.Repeat(`}`, 5001),
		"the name of a value":    `{"order":"EVENT_ORDER_BY_COLOUR"}`,
	} {
		in.check(t, "JSON: "+what, post(t, in.srv, path, in.world.owner.Token, "application/json", []byte(body)), "ok")
	}
	in.check(t, "binary: a field", post(t, in.srv, path, in.world.owner.Token, "application/proto",
		protowire.AppendString(protowire.AppendTag(nil, 1000, protowire.BytesType), "green")), "ok")
}

// contentTypes sends what no protocol of the server is spoken by.
func (in *inputs) contentTypes(t *testing.T) {
	for _, name := range slices.Sorted(maps.Keys(in.methods)) {
		for _, contentType := range []string{"", "text/plain", "text/json", "application/xml", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/connect+json"} {
			if in.methods[name].IsStreamingClient() {
				contentType = strings.Replace(contentType, "application/connect+json", "application/json", 1)
			}
			a := post(t, in.srv, procedureOf(in.methods[name]), in.world.owner.Token, contentType, []byte("{}"))
			in.check(t, fmt.Sprintf("%q to %s", contentType, name), a, "HTTP 415")
		}
	}
}

// get calls every method by GET.
func (in *inputs) get(t *testing.T) {
	safe := 0
	for _, name := range slices.Sorted(maps.Keys(in.methods)) {
		method := in.methods[name]
		message := requests[name](in.world.in(t))
		body, err := protojson.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		query := url.Values{"connect": {"v1"}, "encoding": {"json"}, "message": {string(body)}}
		get, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.srv.URL+procedureOf(method)+"?"+query.Encode(), nil)
		if err != nil {
			t.Fatal(err)
		}
		a := send(t, get, in.world.owner.Token)
		if method.Options().(*descriptorpb.MethodOptions).GetIdempotencyLevel() == descriptorpb.MethodOptions_NO_SIDE_EFFECTS {
			safe++
			in.check(t, "GET "+name, a, "ok")
			if a.header.Get("Cache-Control") != "no-store" {
				t.Errorf("GET %s may be kept in a cache: %q", name, a.header.Get("Cache-Control"))
			}
			continue
		}
		in.check(t, "GET "+name, a, "HTTP 405")
		for _, verb := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch} {
			req := in.request(t, procedureOf(method), body)
			req.Method = verb
			in.check(t, verb+" "+name, send(t, req, in.world.owner.Token), "HTTP 405")
		}
	}
	bomb := url.Values{
		"connect": {"v1"}, "encoding": {"json"}, "compression": {"gzip"}, "base64": {"1"},
		"message": {base64.RawURLEncoding.EncodeToString(gzipped(t, make([]byte, 8<<20)))},
	}
	path := procedureOf(in.methods["SessionService/GetSession"])
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, in.srv.URL+path+"?"+bomb.Encode(), nil)
	if err != nil {
		t.Fatal(err)
	}
	in.check(t, "a compressed bomb by GET", send(t, req, in.world.owner.Token), "resource_exhausted REQUEST_TOO_LARGE")
	if safe == 0 || safe == len(in.methods) {
		t.Errorf("%d of %d methods are without effect", safe, len(in.methods))
	}
}

// bombs sends what is small and becomes large.
func (in *inputs) bombs(t *testing.T) {
	member := gzipped(t, make([]byte, 16<<20))
	empty := gzipped(t, nil)
	for what, body := range map[string][]byte{
		"1 GiB of zeros":        bytes.Repeat(member, min(64, (1<<20-1<<10)/len(member))),
		"50,000 empty archives": bytes.Repeat(empty, (1<<20-1<<10)/len(empty)),
	} {
		const calls = 10
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		began := time.Now()
		for range calls {
			req := in.request(t, procedureOf(in.methods["AuthenticationService/SignInWithPassword"]), body)
			req.Header.Set("Content-Encoding", "gzip")
			a := send(t, req, "")
			if got := a.outcome(); got != "resource_exhausted REQUEST_TOO_LARGE" && got != "invalid_argument FIELD_INVALID" {
				t.Errorf("%s: %s", what, got)
			}
		}
		took := time.Since(began)
		runtime.ReadMemStats(&after)
		perCall := (after.TotalAlloc - before.TotalAlloc) / calls
		t.Logf("%s (%d bytes): %d KiB allocated and %v for a call", what, len(body), perCall>>10, took/calls)
		if perCall > 4<<20 {
			t.Errorf("%s: a call allocates %d bytes", what, perCall)
		}
		if took > calls*time.Second {
			t.Errorf("%s: %d calls took %v", what, calls, took)
		}
	}
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func (in *inputs) request(t testing.TB, path string, body []byte) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, in.srv.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

// inside is what an answer to a caller must not contain: the words of the
// database, of the libraries and of Go.
var inside = regexp.MustCompile(`(?i)sqlstate|\bpgx|postgres|\bbun\b|syntax error|violates|constraint|relation "|protojson|proto:|protobuf|strconv|runtime error|goroutine|panic|nil pointer|\.go:|unexpected eof|\bjson:|gzip:|compress|connect\.|reflect`)

// check checks the outcome of a call, and that its error tells nothing of the
// inside.
func (in *inputs) check(t testing.TB, what string, a answer, want ...string) {
	t.Helper()
	got := a.outcome()
	if !slices.Contains(want, got) {
		t.Errorf("%s: %s, want %s\n%.300s", what, got, strings.Join(want, " or "), a.body)
	}
	if got == "ok" || want[0] == "unimplemented" {
		return
	}
	text := a.error().Message
	if text == "" {
		text = string(a.body)
	}
	if found := inside.FindString(text); found != "" {
		t.Errorf("%s: the error speaks of %q: %.300s", what, found, text)
	}
	if len(a.body) > 4<<10 {
		t.Errorf("%s: the error has %d bytes", what, len(a.body))
	}
}

// names reports whether the error names the field of the path, or the message
// that holds it.
func (a answer) names(path textPath) bool {
	for _, d := range a.error().Details {
		var bad errdetails.BadRequest
		data, err := base64.RawStdEncoding.DecodeString(d.Value)
		if d.Type != "google.rpc.BadRequest" || err != nil || proto.Unmarshal(data, &bad) != nil {
			continue
		}
		for _, v := range bad.FieldViolations {
			if v.Field == path.String() || v.Field == string(path[0].Name()) {
				return true
			}
		}
	}
	return false
}

// textPath is the way to a string in a message: of repeated fields, the first.
type textPath []protoreflect.FieldDescriptor

// textPaths returns the ways to all strings in a message.
func textPaths(message protoreflect.MessageDescriptor, to textPath) []textPath {
	var paths []textPath
	for i := range message.Fields().Len() {
		field := message.Fields().Get(i)
		path := append(slices.Clone(to), field)
		switch {
		case field.Kind() == protoreflect.StringKind:
			paths = append(paths, path)
		case field.Message() != nil && len(path) < 5:
			paths = append(paths, textPaths(field.Message(), path)...)
		}
	}
	return paths
}

func (p textPath) last() protoreflect.FieldDescriptor { return p[len(p)-1] }

// String is the path as errors name it.
func (p textPath) String() string {
	parts := make([]string, len(p))
	for i, field := range p {
		parts[i] = string(field.Name())
		if field.IsList() {
			parts[i] += "[0]"
		}
	}
	return strings.Join(parts, ".")
}

// set returns a copy of the message with a value at the end of the path.
func (p textPath) set(message proto.Message, value string) proto.Message {
	message = proto.Clone(message)
	m := message.ProtoReflect()
	for i, field := range p {
		last := i == len(p)-1
		switch {
		case field.IsList() && last:
			list := m.Mutable(field).List()
			if list.Len() == 0 {
				list.Append(protoreflect.ValueOfString(value))
			}
			list.Set(0, protoreflect.ValueOfString(value))
		case field.IsList():
			list := m.Mutable(field).List()
			if list.Len() == 0 {
				list.AppendMutable()
			}
			m = list.Get(0).Message()
		case last:
			m.Set(field, protoreflect.ValueOfString(value))
		default:
			m = m.Mutable(field).Message()
		}
	}
	return message
}

// idPrefix returns the prefix of the ids that a field holds, "" when it holds
// others.
func idPrefix(field protoreflect.FieldDescriptor) string {
	rules, _ := proto.GetExtension(field.Options(), validate.E_Field).(*validate.FieldRules)
	match := regexp.MustCompile(`^\^([a-z]{3}_)`).FindStringSubmatch(rules.GetString().GetPattern())
	if match == nil {
		return ""
	}
	return match[1]
}

// in returns the world for a test that makes requests in it.
func (w *world) in(t *testing.T) *world {
	c := *w
	c.t = t
	return &c
}
