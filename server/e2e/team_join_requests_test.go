package e2e

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/logicspike/manager/client"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
)

// newEnrolment starts a server, and registers the owner of a workspace with a verified
// domain, who enrols people in a way.
func newEnrolment(t *testing.T, o testkit.Options, domain string, way tenantv1.DomainEnrollment) (*stage, *testkit.Person, *tenantv1.Domain) {
	t.Helper()
	o.WithoutJobs = true
	srv, resolver := withDNS(t, o)
	s := &stage{srv}
	owner := s.person(t)
	d := mustVerifyDomain(t, resolver, owner, domain)
	d, err := enroll(t, owner, d, way, "")
	if err != nil {
		t.Fatal(err)
	}
	return s, owner, d
}

// at registers an address.
func (s *stage) at(t testing.TB, email string) *testkit.Person {
	t.Helper()
	return s.Person(email, s.registered(t, email))
}

func ask(t testing.TB, p *testkit.Person, workspace string) (*teamv1.JoinRequest, error) {
	t.Helper()
	res, err := p.JoinRequests.CreateJoinRequest(t.Context(), &teamv1.CreateJoinRequestRequest{WorkspaceId: workspace, Message: "please, https://evil.example"})
	return res.GetJoinRequest(), err
}

func approve(t testing.TB, by *testkit.Person, j *teamv1.JoinRequest, role string) (*teamv1.ApproveJoinRequestResponse, error) {
	t.Helper()
	return by.JoinRequests.ApproveJoinRequest(t.Context(), &teamv1.ApproveJoinRequestRequest{WorkspaceId: by.Workspace.Id, JoinRequestId: j.Id, Role: role})
}

func reject(t testing.TB, by *testkit.Person, j *teamv1.JoinRequest) error {
	t.Helper()
	_, err := by.JoinRequests.RejectJoinRequest(t.Context(), &teamv1.RejectJoinRequestRequest{WorkspaceId: by.Workspace.Id, JoinRequestId: j.Id})
	return err
}

func joinable(t testing.TB, p *testkit.Person) []*teamv1.JoinableWorkspace {
	t.Helper()
	res, err := p.JoinRequests.ListJoinableWorkspaces(t.Context(), &teamv1.ListJoinableWorkspacesRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return res.Workspaces
}

// mails returns how many mails of a kind wait to be sent to somebody.
func (s *stage) mails(t testing.TB, p *testkit.Person, kind mail.Template) (n int) {
	t.Helper()
	for _, m := range s.queue(t, p.Email) {
		if m.Template == kind {
			n++
		}
	}
	return n
}

func TestWhoAsksToJoinIsApprovedOrRejected(t *testing.T) {
	t.Parallel()
	s, owner, _ := newEnrolment(t, testkit.Options{}, "acme.com", request)
	workspace := owner.Workspace.Id
	second, idle, admin := s.member(t, owner, "owner"), s.member(t, owner, "owner"), s.member(t, owner, "admin")
	if err := deactivate(t, owner, idle.Membership.Id); err != nil {
		t.Fatal(err)
	}
	p := s.at(t, "ann@acme.com")
	if list := joinable(t, p); len(list) != 1 || list[0].WorkspaceId != workspace || list[0].Domain != "acme.com" || list[0].JoinRequest != nil {
		t.Errorf("what they may ask to join: %v", list)
	}
	j, err := ask(t, p, workspace)
	if err != nil || j.UserId != p.User.Id || j.Email != p.Email || j.State != teamv1.JoinRequestState_JOIN_REQUEST_STATE_PENDING {
		t.Fatalf("CreateJoinRequest = %v, %v", j, err)
	}
	s.refuses(t, "asked twice", "", func() error {
		again, err := ask(t, p, workspace)
		if diff := cmp.Diff(j, again, protocmp.Transform()); diff != "" {
			t.Errorf("asked twice, the answers differ:\n%s", diff)
		}
		return err
	})
	if list := joinable(t, p); len(list) != 1 || list[0].JoinRequest.GetId() != j.Id {
		t.Errorf("what they may ask to join, once they have: %v", list)
	}
	for who, want := range map[*testkit.Person]int{owner: 1, second: 1, idle: 0, admin: 0} {
		if n := s.mails(t, who, mail.JoinRequested); n != want {
			t.Errorf("%d mails to %s, want %d", n, who.Email, want)
		}
	}
	list, err := admin.JoinRequests.ListJoinRequests(t.Context(), &teamv1.ListJoinRequestsRequest{WorkspaceId: workspace})
	if err != nil || len(list.JoinRequests) != 1 || list.JoinRequests[0].Email != p.Email {
		t.Errorf("ListJoinRequests = %v, %v", list, err)
	}
	res, err := approve(t, admin, j, "viewer")
	if err != nil || res.Membership.Role != "viewer" || res.Membership.UserId != p.User.Id || res.JoinRequest.State != teamv1.JoinRequestState_JOIN_REQUEST_STATE_APPROVED {
		t.Fatalf("ApproveJoinRequest = %v, %v", res, err)
	}
	s.refuses(t, "approved twice", "", func() error {
		again, err := approve(t, admin, j, "viewer")
		if again.GetMembership().GetId() != res.Membership.Id {
			t.Errorf("approved twice: %v", again)
		}
		return err
	})
	if _, err := get(t, p, workspace); err != nil || s.mails(t, p, mail.JoinApproved) != 1 {
		t.Errorf("their first call: %v; %d mails", err, s.mails(t, p, mail.JoinApproved))
	}
	s.refuses(t, "approved with another role", "JOIN_REQUEST_DECIDED", func() error { _, err := approve(t, admin, j, "admin"); return err })
	s.refuses(t, "approved, then rejected", "JOIN_REQUEST_DECIDED", func() error { return reject(t, admin, j) })
	s.refuses(t, "a member asks", "ALREADY_MEMBER", func() error { _, err := ask(t, p, workspace); return err })
	if list := joinable(t, p); len(list) != 0 {
		t.Errorf("what a member may ask to join: %v", list)
	}
	if err := deactivate(t, owner, res.Membership.Id); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "a deactivated member asks", "MEMBERSHIP_DEACTIVATED", func() error { _, err := ask(t, p, workspace); return err })
	if err := removeMember(t, owner, res.Membership.Id); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "approved once, and removed", "JOIN_REQUEST_DECIDED", func() error { _, err := approve(t, admin, j, "viewer"); return err })
	if _, err := ask(t, p, workspace); err != nil {
		t.Errorf("who was removed may ask: %v", err)
	}

	// Rejected: no mail, and a week of silence.
	q := s.at(t, "bob@acme.com")
	if j, err = ask(t, q, workspace); err != nil {
		t.Fatal(err)
	}
	mails := len(s.queue(t, q.Email))
	because(t, "rejected", reject(t, admin, j), "")
	s.refuses(t, "rejected twice", "", func() error { return reject(t, admin, j) })
	s.refuses(t, "rejected, then approved", "JOIN_REQUEST_DECIDED", func() error { _, err := approve(t, admin, j, ""); return err })
	if n := len(s.queue(t, q.Email)); n != mails {
		t.Errorf("who is rejected got %d mails", n-mails)
	}
	s.Clock.Advance(7*24*time.Hour - time.Minute)
	s.refuses(t, "within a week", "RATE_LIMITED", func() error {
		_, err := ask(t, q, workspace)
		if wait := client.RetryAfter(err); wait <= 0 || wait > time.Minute {
			t.Errorf("they may try again in %v, want a minute at most", wait)
		}
		return err
	})
	s.Clock.Advance(time.Minute)
	if again, err := ask(t, q, workspace); err != nil || again.Id == j.Id {
		t.Errorf("after a week: %v, %v", again, err)
	}
	s.CheckInvariants(t)
}

func TestOnlyAProvenAddressOfTheDomainEntitlesToAsk(t *testing.T) {
	t.Parallel()
	s, owner, d := newEnrolment(t, testkit.Options{}, "acme.com", request)
	workspace := owner.Workspace.Id
	refuses := func(what string, p *testkit.Person, workspace string) {
		t.Helper()
		s.refuses(t, what, "NOT_FOUND", func() error { _, err := ask(t, p, workspace); return err })
		if list := joinable(t, p); len(list) != 0 {
			t.Errorf("%s: they may ask to join %v", what, list)
		}
	}
	for _, email := range []string{"ann@other.com", "ann@sub.acme.com", "ann@notacme.com", "acme.com@evil.com"} {
		refuses(email, s.at(t, email), workspace)
	}
	p := s.at(t, "ann@acme.com")
	other := s.person(t)
	s.refuses(t, "another workspace", "NOT_FOUND", func() error { _, err := ask(t, p, other.Workspace.Id); return err })
	if _, err := s.SQL.Exec(t.Context(), "UPDATE identity.emails SET verified_time = NULL WHERE user_id = $1", uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	refuses("whose address is not proven", p, workspace)
	if _, err := s.SQL.Exec(t.Context(), "UPDATE identity.emails SET verified_time = create_time FROM identity.users u WHERE u.id = user_id AND user_id = $1", uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	if _, err := enroll(t, owner, d, off, ""); err != nil {
		t.Fatal(err)
	}
	refuses("when nobody is enrolled", p, workspace)
	if _, err := enroll(t, owner, d, request, ""); err != nil {
		t.Fatal(err)
	}
	s.delete(t, owner, workspace)
	refuses("while the workspace is deleted", p, workspace)
	if _, err := owner.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: workspace}); err != nil {
		t.Fatal(err)
	}
	// Many at once are one request, and one mail.
	if got := atOnce(10, func(int) error { _, err := ask(t, p, workspace); return err }); got[""] != 10 {
		t.Errorf("asked ten times at once: %v", got)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM team.join_requests"); n != 1 || s.mails(t, owner, mail.JoinRequested) != 1 {
		t.Errorf("%d requests, %d mails", n, s.mails(t, owner, mail.JoinRequested))
	}
	// Who joins otherwise has been answered.
	inv := s.invite(t, owner, p.Email, "admin")
	m := mustAccept(t, p, inv.token)
	list, err := owner.JoinRequests.ListJoinRequests(t.Context(), &teamv1.ListJoinRequestsRequest{WorkspaceId: workspace})
	if err != nil || len(list.JoinRequests) != 1 || list.JoinRequests[0].State != teamv1.JoinRequestState_JOIN_REQUEST_STATE_APPROVED || m.Role != "admin" {
		t.Errorf("ListJoinRequests = %v, %v", list, err)
	}
	s.CheckInvariants(t)
}
