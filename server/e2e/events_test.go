package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/logicspike/manager/client"
	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
)

func actions(events []*auditv1.Event) []string {
	list := make([]string, len(events))
	for i, e := range events {
		list[i] = e.Action
	}
	return list
}

// logged waits until a log has the actions, the oldest first: an event is listed
// once all older transactions have ended, those of other tests on the same
// PostgreSQL among them.
func logged(t testing.TB, p *testkit.Person, workspace string, want ...string) []*auditv1.Event {
	t.Helper()
	var events []*auditv1.Event
	testkit.Eventually(t, "the events", func() bool {
		res, err := p.Events.ListEvents(t.Context(), &auditv1.ListEventsRequest{WorkspaceId: workspace, PageSize: 200})
		if err != nil {
			t.Fatal(err)
		}
		// What was refused is written by a job: before or after what follows it.
		events = slices.DeleteFunc(res.Events, func(e *auditv1.Event) bool { return strings.HasSuffix(e.Action, ".refused") })
		return len(events) >= len(want)
	})
	slices.Reverse(events)
	if diff := cmp.Diff(want, actions(events)); diff != "" {
		t.Errorf("events of %q (-want +got):\n%s", workspace, diff)
	}
	return events
}

func TestEveryChangeIsOneEventInOrder(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	if _, err := p.Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: p.Workspace.Id, Name: "Renamed"}); err != nil {
		t.Fatal(err)
	}
	etag := preview(t, p, p.Workspace.Id).Etag
	if err := remove(t, p, p.Workspace.Id, etag); err != nil {
		t.Fatal(err)
	}
	if err := remove(t, p, p.Workspace.Id, etag); err != nil { // repeated: no change
		t.Fatal(err)
	}
	if _, err := p.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id}); err != nil {
		t.Fatal(err)
	}
	events := logged(t, p, p.Workspace.Id, "workspace.created", "workspace.updated", "workspace.deleted", "workspace.undeleted")
	for _, e := range events {
		if e.ActorKind != auditv1.ActorKind_ACTOR_KIND_USER || e.ActorUserId != p.User.Id || e.WorkspaceId != p.Workspace.Id || e.UserId != "" || e.TargetId != p.Workspace.Id {
			t.Errorf("event %v", e)
		}
	}
	if change := events[1].Details.AsMap()["name"]; !cmp.Equal(change, map[string]any{"before": p.Workspace.Name, "after": "Renamed"}) {
		t.Errorf("details %v", change)
	}

	if _, err := p.Users.UpdateMe(t.Context(), &identityv1.UpdateMeRequest{DisplayName: "Ann"}); err != nil {
		t.Fatal(err)
	}
	signIn(t, srv, p.Email, testkit.Password)
	if _, err := p.Sessions.RevokeOtherSessions(t.Context(), &authv1.RevokeOtherSessionsRequest{}); err != nil {
		t.Fatal(err)
	}
	logged(t, p, "", "user.registered", "user.updated", "session.created", "session.others_revoked")

	only, err := p.Events.ListEvents(t.Context(), &auditv1.ListEventsRequest{Action: "user.updated"})
	if err != nil || len(only.Events) != 1 {
		t.Errorf("filtered: %v, %v", only, err)
	}
}

func TestTheLogIsPagedAndFollowed(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	rename := func(n int) {
		for range n {
			if _, err := p.Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: p.Workspace.Id, Name: "Again"}); err != nil {
				t.Fatal(err)
			}
		}
	}
	rename(6)
	want := append([]string{"workspace.created"}, slices.Repeat([]string{"workspace.updated"}, 6)...)
	all := logged(t, p, p.Workspace.Id, want...)
	req := &auditv1.ListEventsRequest{WorkspaceId: p.Workspace.Id, PageSize: 3, Order: auditv1.EventOrder_EVENT_ORDER_OLDEST_FIRST}
	var followed []*auditv1.Event
	next := func() int {
		t.Helper()
		res, err := p.Events.ListEvents(t.Context(), req)
		if err != nil || res.NextPageToken == "" {
			t.Fatalf("ListEvents = %v, %v", res, err)
		}
		followed = append(followed, res.Events...)
		req.PageToken = res.NextPageToken
		return len(res.Events)
	}
	for _, n := range []int{3, 3, 1, 0, 0} {
		if got := next(); got != n {
			t.Fatalf("a page of %d events, want %d", got, n)
		}
	}
	rename(2)
	testkit.Eventually(t, "the events that came since", func() bool { next(); return len(followed) >= 9 })
	for i, e := range all {
		if followed[i].Id != e.Id {
			t.Errorf("event %d: %v, want %v", i, followed[i], e)
		}
	}
	req.Order = auditv1.EventOrder_EVENT_ORDER_NEWEST_FIRST
	_, err := p.Events.ListEvents(t.Context(), req)
	refused(t, "a token of the other order", err, connect.CodeInvalidArgument, faultv1.Reason_REASON_PAGE_TOKEN_INVALID)
}

// TestTheLogIsFilteredByWhoAndWhen asks for what each of two members and a program did,
// before and after a time.
func TestTheLogIsFilteredByWhoAndWhen(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	owner, admin := newPerson(t, srv), newPerson(t, srv)
	w := &world{t: t, srv: srv, owner: owner, workspace: owner.Workspace.Id}
	w.prove(owner)
	srv.Join(t, admin, owner.Workspace.Id, authz.Admin)
	account := w.serviceAccount(owner)
	program := srv.Client("").As(w.apiKey(owner, owner.Workspace.Id, account, "workspace.update").Token)
	rename := func(c *client.Client, name string) {
		t.Helper()
		_, err := c.Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: owner.Workspace.Id, Name: name})
		w.must(err)
	}
	rename(owner.Client, "Owner's")
	rename(admin.Client, "Admin's")
	rename(program, "Program's")
	srv.Clock.Advance(time.Hour)
	noon := timestamppb.New(srv.Clock.Now())
	rename(admin.Client, "Admin's later")

	names := func(req *auditv1.ListEventsRequest) (names []string) {
		t.Helper()
		req.WorkspaceId, req.Action, req.PageSize = owner.Workspace.Id, "workspace.updated", 2
		for {
			res, err := owner.Events.ListEvents(t.Context(), req)
			w.must(err)
			for _, e := range res.Events {
				names = append(names, e.Details.Fields["name"].GetStructValue().Fields["after"].GetStringValue())
			}
			if req.PageToken = res.NextPageToken; req.PageToken == "" {
				return names
			}
		}
	}
	testkit.Eventually(t, "all events", func() bool { return len(names(&auditv1.ListEventsRequest{})) == 4 })
	for what, c := range map[string]struct {
		req  *auditv1.ListEventsRequest
		want []string
	}{
		"by the owner":            {&auditv1.ListEventsRequest{ActorId: owner.User.Id}, []string{"Owner's"}},
		"by the admin":            {&auditv1.ListEventsRequest{ActorId: admin.User.Id}, []string{"Admin's later", "Admin's"}},
		"by the program":          {&auditv1.ListEventsRequest{ActorId: account}, []string{"Program's"}},
		"by nobody":               {&auditv1.ListEventsRequest{ActorId: ids.New[ids.User]().String()}, nil},
		"by the zero id":          {&auditv1.ListEventsRequest{ActorId: "usr_00000000000000000000000000"}, nil},
		"before noon":             {&auditv1.ListEventsRequest{EndTime: noon}, []string{"Program's", "Admin's", "Owner's"}},
		"from noon on":            {&auditv1.ListEventsRequest{StartTime: noon}, []string{"Admin's later"}},
		"by the admin, of before": {&auditv1.ListEventsRequest{ActorId: admin.User.Id, EndTime: noon}, []string{"Admin's"}},
		"of no time":              {&auditv1.ListEventsRequest{StartTime: noon, EndTime: noon}, nil},
	} {
		if diff := cmp.Diff(c.want, names(c.req)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}

	first := &auditv1.ListEventsRequest{WorkspaceId: owner.Workspace.Id, PageSize: 1, ActorId: admin.User.Id}
	res, err := owner.Events.ListEvents(t.Context(), first)
	w.must(err)
	for what, other := range map[string]*auditv1.ListEventsRequest{
		"another actor": {ActorId: owner.User.Id},
		"another time":  {ActorId: first.ActorId, EndTime: noon},
	} {
		other.WorkspaceId, other.PageSize, other.PageToken = first.WorkspaceId, 1, res.NextPageToken
		_, err := owner.Events.ListEvents(t.Context(), other)
		refused(t, "the token with "+what, err, connect.CodeInvalidArgument, faultv1.Reason_REASON_PAGE_TOKEN_INVALID)
	}
}

// TestAFollowerMissesNoEvent has a transaction that began first and commits last.
func TestAFollowerMissesNoEvent(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	logged(t, p, p.Workspace.Id, "workspace.created")
	slow, err := srv.SQL.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = slow.Rollback(t.Context()) }()
	if _, err := slow.Exec(t.Context(), `
		INSERT INTO audit.events (id, workspace_id, actor_kind, action, target_id, create_time)
		SELECT gen_random_uuid(), workspace_id, 'system', 'test.slow', '', now() FROM audit.events WHERE action = 'workspace.created'`); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: p.Workspace.Id, Name: "Quick"}); err != nil {
		t.Fatal(err)
	}
	logged(t, p, p.Workspace.Id, "workspace.created") // the quick one waits for the slow one
	if err := slow.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	logged(t, p, p.Workspace.Id, "workspace.created", "test.slow", "workspace.updated")
}
