package rpc_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	"github.com/logicspike/manager/gen/go/logicspike/audit/v1/auditv1connect"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/gen/go/logicspike/team/v1/teamv1connect"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/gen/go/logicspike/tenant/v1/tenantv1connect"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
)

func TestSessionComesByHeaderOrCookie(t *testing.T) {
	w := newWorld(t, nil)
	cookie := authz.CookieName + "=" + token
	for name, test := range map[string]struct {
		headers []string
		want    authz.Transport // "" when refused
		lookups int64
	}{
		"bearer":                        {[]string{"Authorization", "Bearer " + token}, authz.Bearer, 1},
		"bearer in small letters":       {[]string{"Authorization", "bearer " + token}, authz.Bearer, 1},
		"cookie":                        {[]string{"Cookie", cookie}, authz.Cookie, 1},
		"cookie among others":           {[]string{"Cookie", "a=b; " + cookie + "; c=d"}, authz.Cookie, 1},
		"bearer wins over cookie":       {[]string{"Cookie", authz.CookieName + "=other", "Authorization", "Bearer " + token}, authz.Bearer, 1},
		"nothing":                       {[]string{"X", "y"}, "", 0},
		"unknown token":                 {[]string{"Authorization", "Bearer unknown"}, "", 1},
		"malformed header, good cookie": {[]string{"Authorization", "Basic YTpi", "Cookie", cookie}, "", 0},
		"empty token":                   {[]string{"Authorization", "Bearer "}, "", 0},
		"no token":                      {[]string{"Authorization", "Bearer"}, "", 0},
		"empty header, good cookie":     {[]string{"Authorization", "", "Cookie", cookie}, "", 0},
		"two headers":                   {[]string{"Authorization", "Bearer " + token, "Authorization", "Bearer " + token}, "", 0},
		"characters of no token":        {[]string{"Authorization", "Bearer a b"}, "", 0},
		"too long":                      {[]string{"Authorization", "Bearer " + strings.Repeat("a", 257)}, "", 0},
		"cookie too long":               {[]string{"Cookie", authz.CookieName + "=" + strings.Repeat("a", 257)}, "", 0},
		"cookie of another name":        {[]string{"Cookie", "manager_session=" + token}, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := w.lookups.Load()
			client := authv1connect.NewSessionServiceClient(http.DefaultClient, w.url)
			_, err := client.GetSession(signedIn(test.headers...), &authv1.GetSessionRequest{})
			if got := w.lookups.Load() - before; got != test.lookups {
				t.Errorf("%d lookups, want %d", got, test.lookups)
			}
			if test.want != "" {
				if err != nil || w.transport.Load() != test.want {
					t.Fatalf("err = %v, transport = %v", err, w.transport.Load())
				}
				return
			}
			r := refusalOf(t, err)
			if r.code != connect.CodeUnauthenticated || r.reason != "SESSION_REQUIRED" || r.message != "sign in first" {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestPublicMethodAsksTheLimiterAndNoSession(t *testing.T) {
	w := newWorld(t, nil)
	client := authv1connect.NewAuthenticationServiceClient(http.DefaultClient, w.url)
	if _, err := client.SignInWithPassword(signedIn(), &authv1.SignInWithPasswordRequest{Email: "a@b.c", Password: "x"}); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.networks.Load("127.0.0.1"); !ok || w.lookups.Load() != 0 {
		t.Errorf("the network was not counted, or %d sessions were looked up", w.lookups.Load())
	}
	w.limit = fault.New(fault.ResourceExhausted, fault.RateLimited, "too many calls").WithRetryAfter(1500 * time.Millisecond)
	// The request is not valid either: the limit comes first.
	_, err := client.SignInWithPassword(context.Background(), &authv1.SignInWithPasswordRequest{})
	r := refusalOf(t, err)
	if r.code != connect.CodeResourceExhausted || r.reason != "RATE_LIMITED" || r.retry != 1500*time.Millisecond || r.retryAfter != "2" {
		t.Errorf("%+v", r)
	}
}

// TestPublicMethodMayLookAtTheSession is about the rule's option `session`: what is
// not live is none, and only a failure to look is an error.
func TestPublicMethodMayLookAtTheSession(t *testing.T) {
	w := newWorld(t, nil)
	client := teamv1connect.NewInvitationServiceClient(http.DefaultClient, w.url)
	request := &teamv1.GetInvitationByTokenRequest{Token: "lsmi_x"}
	cookie := authz.CookieName + "=" + token
	for name, test := range map[string]struct {
		headers []string
		seen    bool
		lookups int64
	}{
		"bearer":                        {[]string{"Authorization", "Bearer " + token}, true, 1},
		"cookie":                        {[]string{"Cookie", cookie}, true, 1},
		"nothing":                       {[]string{"X", "y"}, false, 0},
		"a session that is over":        {[]string{"Authorization", "Bearer over"}, false, 1},
		"a cookie that is over":         {[]string{"Cookie", authz.CookieName + "=over"}, false, 1},
		"malformed header, good cookie": {[]string{"Authorization", "Basic YTpi", "Cookie", cookie}, false, 0},
		"two headers":                   {[]string{"Authorization", "Bearer " + token, "Authorization", "Bearer " + token}, false, 0},
		"characters of no token":        {[]string{"Authorization", "Bearer a b"}, false, 0},
		"too long":                      {[]string{"Authorization", "Bearer " + strings.Repeat("a", 257)}, false, 0},
	} {
		t.Run(name, func(t *testing.T) {
			want := ""
			if test.seen {
				want = w.session.ID.String()
			}
			before := w.lookups.Load()
			res, err := client.GetInvitationByToken(signedIn(test.headers...), request)
			if err != nil || res.MaskedEmail != want {
				t.Errorf("the handler sees the session %q (%v), want %q", res.GetMaskedEmail(), err, want)
			}
			if got := w.lookups.Load() - before; got != test.lookups {
				t.Errorf("%d lookups, want %d", got, test.lookups)
			}
		})
	}

	w.failure = errors.New("the database is gone")
	_, err := client.GetInvitationByToken(signedIn(), request)
	if r := refusalOf(t, err); r.code != connect.CodeInternal || strings.Contains(r.message, "database") {
		t.Errorf("when the session cannot be looked up: %+v", r)
	}
	if _, err := client.GetInvitationByToken(context.Background(), request); err != nil {
		t.Errorf("without a session there is nothing to look up: %v", err)
	}
	w.failure = fault.New(fault.Unavailable, fault.DatabaseUnavailable, "try again")
	_, err = client.GetInvitationByToken(signedIn(), request)
	if r := refusalOf(t, err); r.code != connect.CodeUnavailable {
		t.Errorf("when the database is away: %+v", r)
	}
	// Limits come before anything is looked up.
	w.failure, w.limit = nil, fault.New(fault.ResourceExhausted, fault.RateLimited, "too many calls")
	before := w.lookups.Load()
	_, err = client.GetInvitationByToken(signedIn(), request)
	if r := refusalOf(t, err); r.code != connect.CodeResourceExhausted || w.lookups.Load() != before {
		t.Errorf("over the limit: %+v after %d lookups", r, w.lookups.Load()-before)
	}
}

func TestRuleOfAWorkspace(t *testing.T) {
	w := newWorld(t, nil)
	own := map[string]ids.Workspace{}
	for name, m := range map[string]authz.Membership{
		"viewer": {Role: authz.Viewer}, "member": {Role: authz.Member}, "admin": {Role: authz.Admin}, "owner": {Role: authz.Owner},
		"deleted admin": {Role: authz.Admin, Deleted: true}, "deleted owner": {Role: authz.Owner, Deleted: true}, "no role": {},
		"custom":         {Role: "rol_x", Custom: []string{"workspace.update", "workspace.delete"}},
		"custom reader":  {Role: "rol_x", Custom: []string{"event.list", "workspace.get"}},
		"custom nothing": {Role: "rol_x"},
		"deleted custom": {Role: "rol_x", Custom: []string{"workspace.get"}, Deleted: true},
		"viewer's list":  {Role: authz.Viewer, Custom: []string{"workspace.update"}},
	} {
		own[name] = ids.New[ids.Workspace]()
		w.members[own[name]] = m
	}
	own["stranger"] = ids.New[ids.Workspace]()

	workspaces := tenantv1connect.NewWorkspaceServiceClient(http.DefaultClient, w.url)
	events := auditv1connect.NewEventServiceClient(http.DefaultClient, w.url)
	get := func(id string) error {
		_, err := workspaces.GetWorkspace(signedIn(), &tenantv1.GetWorkspaceRequest{WorkspaceId: id})
		return err
	}
	update := func(id string) error { // least role admin; not on deleted ones
		_, err := workspaces.UpdateWorkspace(signedIn(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: id, Name: "n"})
		return err
	}
	remove := func(id string) error { // least role owner, also on deleted ones
		_, err := workspaces.DeleteWorkspace(signedIn(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: id, Etag: "e"})
		return err
	}
	list := func(id string) error { // least role admin; optional
		_, err := events.ListEvents(signedIn(), &auditv1.ListEventsRequest{WorkspaceId: id})
		return err
	}
	const (
		ok     = connect.Code(0)
		passed = connect.CodeUnimplemented // the rule let it through to a handler that does nothing
		denied = connect.CodePermissionDenied
		absent = connect.CodeNotFound
	)
	for name, want := range map[string]struct{ get, update, remove, list connect.Code }{
		"viewer":        {ok, denied, denied, denied},
		"member":        {ok, denied, denied, denied},
		"admin":         {ok, passed, denied, passed},
		"owner":         {ok, passed, passed, passed},
		"deleted admin": {absent, absent, absent, absent},
		"deleted owner": {ok, absent, passed, absent},
		"no role":       {denied, denied, denied, denied},
		// What is an owner's alone no custom role holds, whatever it names; and a
		// built-in role holds its own alone.
		"custom":         {denied, passed, denied, denied},
		"custom reader":  {ok, denied, denied, passed},
		"custom nothing": {denied, denied, denied, denied},
		"deleted custom": {absent, absent, absent, absent},
		"viewer's list":  {ok, denied, denied, denied},
		"stranger":       {absent, absent, absent, absent},
	} {
		id := own[name].String()
		for method, call := range map[string]struct {
			err  error
			want connect.Code
		}{
			"get": {get(id), want.get}, "update": {update(id), want.update}, "remove": {remove(id), want.remove}, "list": {list(id), want.list},
		} {
			if call.want == ok {
				if call.err != nil {
					t.Errorf("%s: %s: %v", name, method, call.err)
				}
				continue
			}
			r := refusalOf(t, call.err)
			if r.code != call.want {
				t.Errorf("%s: %s: %+v, want code %v", name, method, r, call.want)
			}
			switch {
			case r.code == denied && (r.reason != "PERMISSION_MISSING" || !strings.HasPrefix(r.metadata["permission"], "workspace.") && r.metadata["permission"] != "event.list"):
				t.Errorf("%s: %s: %+v", name, method, r)
			case r.code == absent && (r.reason != "NOT_FOUND" || r.message != "not found" || r.metadata != nil):
				t.Errorf("%s: %s: %+v", name, method, r)
			}
		}
	}
	// Without a workspace, the optional one is the caller's own affair.
	if r := refusalOf(t, list("")); r.code != passed {
		t.Errorf("optional: %+v", r)
	}
	for _, bad := range []string{"", "wsp_", "usr_" + own["owner"].String()[4:], own["owner"].String() + "x", "\x00"} {
		if r := refusalOf(t, get(bad)); r.code != connect.CodeInvalidArgument || r.reason != "FIELD_INVALID" || len(r.fields) != 1 || r.fields[0] != "workspace_id" {
			t.Errorf("id %q: %+v", bad, r)
		}
	}
}

// TestOutsiderLearnsNothing sends what is wrong in every respect: the first thing
// that stands in the way must be what tells least.
func TestOutsiderLearnsNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.clock.Advance(time.Hour) // the session is old
	client := tenantv1connect.NewWorkspaceServiceClient(http.DefaultClient, w.url)
	known := ids.New[ids.Workspace]()
	request := &tenantv1.DeleteWorkspaceRequest{WorkspaceId: known.String(), Etag: "\x00"}

	_, err := client.DeleteWorkspace(context.Background(), &tenantv1.DeleteWorkspaceRequest{})
	if r := refusalOf(t, err); r.code != connect.CodeUnauthenticated {
		t.Errorf("anonymous: %+v", r)
	}
	_, err = client.DeleteWorkspace(signedIn(), request)
	if r := refusalOf(t, err); r.code != connect.CodeNotFound {
		t.Errorf("stranger: %+v", r)
	}
	w.members[known] = authz.Membership{Role: authz.Admin}
	_, err = client.DeleteWorkspace(signedIn(), request)
	if r := refusalOf(t, err); r.code != connect.CodePermissionDenied {
		t.Errorf("admin: %+v", r)
	}
	w.members[known] = authz.Membership{Role: authz.Owner}
	_, err = client.DeleteWorkspace(signedIn(), request)
	if r := refusalOf(t, err); r.code != connect.CodeFailedPrecondition || r.reason != "REAUTHENTICATION_REQUIRED" {
		t.Errorf("owner with an old session: %+v", r)
	}
	w.session.AuthTime = w.clock.Now().Add(-9 * time.Minute)
	_, err = client.DeleteWorkspace(signedIn(), request)
	if r := refusalOf(t, err); r.code != connect.CodeInvalidArgument || r.fields[0] != "etag" {
		t.Errorf("owner: %+v", r)
	}
}

func TestAddressAndRequestIDBehindProxies(t *testing.T) {
	for name, test := range map[string]struct {
		trusted   []string
		forwarded []string
		want      string
	}{
		"nobody is trusted":       {nil, []string{"1.2.3.4"}, "127.0.0.1"},
		"none came":               {[]string{"127.0.0.0/8"}, nil, "127.0.0.1"},
		"one proxy":               {[]string{"127.0.0.0/8"}, []string{"1.2.3.4"}, "1.2.3.4"},
		"the client's own claim":  {[]string{"127.0.0.0/8"}, []string{"6.6.6.6, 1.2.3.4"}, "1.2.3.4"},
		"two proxies":             {[]string{"127.0.0.0/8", "10.0.0.0/8"}, []string{"6.6.6.6, 1.2.3.4, 10.1.1.1"}, "1.2.3.4"},
		"two headers":             {[]string{"127.0.0.0/8", "10.0.0.0/8"}, []string{"6.6.6.6, 1.2.3.4", "10.1.1.1"}, "1.2.3.4"},
		"only proxies":            {[]string{"127.0.0.0/8", "10.0.0.0/8"}, []string{"10.0.0.9, 10.1.1.1"}, "10.0.0.9"},
		"not an address":          {[]string{"127.0.0.0/8"}, []string{"1.2.3.4, unknown"}, "127.0.0.1"},
		"empty entry":             {[]string{"127.0.0.0/8"}, []string{"1.2.3.4,"}, "127.0.0.1"},
		"with a port":             {[]string{"127.0.0.0/8"}, []string{"1.2.3.4:567"}, "1.2.3.4"},
		"IPv6 with a port":        {[]string{"127.0.0.0/8"}, []string{"[2001:db8::1]:567"}, "2001:db8::1"},
		"IPv6 in brackets":        {[]string{"127.0.0.0/8"}, []string{"[2001:db8::1]"}, "2001:db8::1"},
		"IPv6 with a zone":        {[]string{"127.0.0.0/8"}, []string{"fe80::1%eth0"}, "fe80::1"},
		"IPv4 in IPv6":            {[]string{"127.0.0.0/8"}, []string{"::ffff:1.2.3.4"}, "1.2.3.4"},
		"more than anybody needs": {[]string{"0.0.0.0/0"}, []string{strings.Repeat("1.1.1.1,", 100) + "1.1.1.2"}, "1.1.1.1"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, trusted(test.trusted...))
			var got authz.Client
			w.handle = func(ctx context.Context) error { got = authz.ClientFrom(ctx); return nil }
			headers := []string{"Authorization", "Bearer " + token, "X-Request-Id", "given.by_the-Proxy1"}
			for _, f := range test.forwarded {
				headers = append(headers, "X-Forwarded-For", f)
			}
			ctx := signedIn(headers...)
			if _, err := authv1connect.NewSessionServiceClient(http.DefaultClient, w.url).GetSession(ctx, &authv1.GetSessionRequest{}); err != nil {
				t.Fatal(err)
			}
			if got.Address.String() != test.want {
				t.Errorf("address %s, want %s", got.Address, test.want)
			}
			if (got.RequestID == "given.by_the-Proxy1") != (test.trusted != nil) || got.RequestID == "" {
				t.Errorf("request id %q", got.RequestID)
			}
		})
	}
}

func TestRequestIDAndUserAgentAreCleaned(t *testing.T) {
	w := newWorld(t, trusted("127.0.0.0/8"))
	var got authz.Client
	w.handle = func(ctx context.Context) error { got = authz.ClientFrom(ctx); return nil }
	for _, bad := range []string{"", strings.Repeat("a", 65), "a b", "a\"b", "ä"} {
		response, body := w.post("/logicspike.auth.v1.SessionService/GetSession", "application/json", strings.NewReader("{}"),
			"Authorization", "Bearer "+token, "X-Request-Id", bad, "User-Agent", "caf\xc3\xa9 \xff"+strings.Repeat("ü", 300))
		if response.StatusCode != 200 {
			t.Fatalf("%s", body)
		}
		if got.RequestID == bad || got.RequestID == "" || response.Header.Get("X-Request-Id") != got.RequestID {
			t.Errorf("request id %q became %q, header %q", bad, got.RequestID, response.Header.Get("X-Request-Id"))
		}
	}
	if want := "café " + strings.Repeat("ü", 251); got.UserAgent != want {
		t.Errorf("user agent %q", got.UserAgent)
	}
}

func TestCallsHaveADeadline(t *testing.T) {
	w := newWorld(t, nil)
	var left time.Duration
	w.handle = func(ctx context.Context) error {
		deadline, _ := ctx.Deadline()
		left = time.Until(deadline)
		return nil
	}
	client := authv1connect.NewSessionServiceClient(http.DefaultClient, w.url)
	for _, test := range []struct{ asked, least, most time.Duration }{
		{0, 15 * time.Second, 20 * time.Second},
		{time.Hour, 15 * time.Second, 20 * time.Second},
		{5 * time.Second, 3 * time.Second, 5 * time.Second},
	} {
		ctx := signedIn()
		if test.asked > 0 {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, test.asked)
			defer cancel()
		}
		if _, err := client.GetSession(ctx, &authv1.GetSessionRequest{}); err != nil {
			t.Fatal(err)
		}
		if left < test.least || left > test.most {
			t.Errorf("asked for %v: %v", test.asked, left)
		}
	}
}
