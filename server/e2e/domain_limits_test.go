package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"

	"github.com/logicspike/manager/client"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/testkit"
)

func TestAWorkspaceHasFiftyDomainsAtMost(t *testing.T) {
	t.Parallel()
	srv, _ := withDNS(t, testkit.Options{})
	p, other := srv.Register(t), srv.Register(t)
	var first *tenantv1.Domain
	for i := range 48 {
		d := mustCreateDomain(t, p, fmt.Sprintf("acme%d.com", i))
		if i == 0 {
			first = d
		}
	}
	// All six wait for the workspace, so that none has counted before another one has
	// added a domain.
	tx, err := srv.SQL.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := tx.Exec(t.Context(), "SELECT FROM tenant.workspaces WHERE id = $1 FOR NO KEY UPDATE", uuidOf(t, p.Workspace.Id)); err != nil {
		t.Fatal(err)
	}
	result := make(chan map[string]int, 1)
	go func() {
		result <- atOnce(6, func(i int) error {
			_, err := createDomain(t, p, fmt.Sprintf("late%d.com", i))
			return err
		})
	}()
	testkit.Eventually(t, "all six to wait", func() bool { return waiting(t, srv) == 6 })
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := <-result
	if diff := cmp.Diff(map[string]int{"": 2, "RATE_LIMITED": 4}, got); diff != "" {
		t.Errorf("six at once, of which two are free (-want +got):\n%s", diff)
	}
	_, err = createDomain(t, p, "one-more.com")
	refused(t, "the 51st", err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
	sameDomains(t, "one that is there", first, mustCreateDomain(t, p, first.Domain))
	mustCreateDomain(t, other, "one-more.com")
	if err := deleteDomain(t, p, first); err != nil {
		t.Fatal(err)
	}
	mustCreateDomain(t, p, "one-more.com")
	if n := len(listDomains(t, p)); n != 50 {
		t.Errorf("%d domains are listed, want 50", n)
	}
}

func TestWhoMayManageDomains(t *testing.T) {
	t.Parallel()
	srv, resolver := withDNS(t, testkit.Options{})
	owner, stranger := srv.Register(t), srv.Register(t)
	d := mustVerifyDomain(t, resolver, owner, "acme.com")
	calls := func(p *testkit.Person, workspace string) map[string]error {
		_, list := p.Domains.ListDomains(t.Context(), &tenantv1.ListDomainsRequest{WorkspaceId: workspace})
		_, create := p.Domains.CreateDomain(t.Context(), &tenantv1.CreateDomainRequest{WorkspaceId: workspace, Domain: "second.com"})
		_, verify := p.Domains.VerifyDomain(t.Context(), &tenantv1.VerifyDomainRequest{WorkspaceId: workspace, DomainId: d.Id})
		_, update := p.Domains.UpdateDomainEnrollment(t.Context(), &tenantv1.UpdateDomainEnrollmentRequest{
			WorkspaceId: workspace, DomainId: d.Id, Enrollment: automatic,
		})
		_, remove := p.Domains.DeleteDomain(t.Context(), &tenantv1.DeleteDomainRequest{WorkspaceId: workspace, DomainId: d.Id})
		return map[string]error{"list": list, "create": create, "verify": verify, "update": update, "delete": remove}
	}
	for _, role := range []authz.Role{authz.Viewer, authz.Member} {
		p := srv.Register(t)
		srv.Join(t, p, owner.Workspace.Id, role)
		for call, err := range calls(p, owner.Workspace.Id) {
			refused(t, fmt.Sprintf("%s as %s", call, role), err, connect.CodePermissionDenied, faultv1.Reason_REASON_PERMISSION_MISSING)
		}
	}
	for call, err := range calls(stranger, owner.Workspace.Id) {
		noDomain(t, call+" as a stranger", err)
	}
	// The domain of one workspace is not to be found in another.
	for call, err := range calls(stranger, stranger.Workspace.Id) {
		if call != "list" && call != "create" {
			noDomain(t, call+" through another workspace", err)
		}
	}
	sameDomains(t, "the domain after all that", []*tenantv1.Domain{d}, listDomains(t, owner))

	admin := srv.Register(t)
	srv.Join(t, admin, owner.Workspace.Id, authz.Admin)
	for call, err := range calls(admin, owner.Workspace.Id) {
		if err != nil {
			t.Errorf("%s as an admin: %v", call, err)
		}
	}
	srv.CheckInvariants(t)
}

func TestWhoEnrollsMustHoldWhatTheyGrant(t *testing.T) {
	t.Parallel()
	srv, resolver := withDNS(t, testkit.Options{})
	owner, p := srv.Register(t), srv.Register(t)
	d := mustVerifyDomain(t, resolver, owner, "acme.com")
	role, err := owner.Roles.CreateRole(t.Context(), &teamv1.CreateRoleRequest{
		WorkspaceId: owner.Workspace.Id, Name: "Domains", Permissions: []string{"domain.manage", "domain.list"},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Join(t, p, owner.Workspace.Id, authz.Role(role.Role.Id))
	p.Workspace = owner.Workspace
	for _, granted := range []authz.Role{"", authz.Member, authz.Viewer} {
		for _, enrollment := range []tenantv1.DomainEnrollment{request, automatic} {
			_, err := enroll(t, p, d, enrollment, granted)
			refused(t, fmt.Sprintf("%v as %q", enrollment, granted), err, connect.CodePermissionDenied, faultv1.Reason_REASON_ROLE_NOT_GRANTABLE)
		}
	}
	_, err = enroll(t, p, d, off, authz.Viewer)
	refused(t, "another role without enrollment", err, connect.CodePermissionDenied, faultv1.Reason_REASON_ROLE_NOT_GRANTABLE)
	sameDomains(t, "the domain after that", []*tenantv1.Domain{d}, listDomains(t, p))

	if _, err := enroll(t, owner, d, automatic, authz.Viewer); err != nil {
		t.Fatal(err)
	}
	if got, err := enroll(t, p, d, off, ""); err != nil || got.Enrollment != off || got.Role != "viewer" {
		t.Errorf("to end an enrollment: %v, %v", got, err)
	}
	for _, role := range []authz.Role{authz.Owner, authz.Admin, authz.Role(role.Role.Id), "nobody", "Member"} {
		_, err := enroll(t, owner, d, request, role)
		refused(t, fmt.Sprintf("as %q", role), err, connect.CodeInvalidArgument, faultv1.Reason_REASON_FIELD_INVALID)
	}
	srv.CheckInvariants(t)
}

func TestDNSIsAskedSixtyTimesAnHourForAWorkspace(t *testing.T) {
	t.Parallel()
	srv, resolver := withDNS(t, testkit.Options{Limited: true})
	p, other := srv.Register(t), srv.Register(t)
	d := mustCreateDomain(t, p, "acme.com")
	got := atOnce(70, func(int) error {
		_, err := verifyDomain(t, p, d)
		return err
	})
	if diff := cmp.Diff(map[string]int{"DOMAIN_RECORD_MISSING": 60, "RATE_LIMITED": 10}, got); diff != "" {
		t.Errorf("seventy at once (-want +got):\n%s", diff)
	}
	if n, _ := resolver.Queries(); n != 60 {
		t.Errorf("DNS was asked %d times, want 60", n)
	}
	_, err := verifyDomain(t, p, d)
	refused(t, "one more", err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
	wait := client.RetryAfter(err)
	if wait <= 0 || wait > time.Minute {
		t.Errorf("it is to be tried again after %v", wait)
	}
	ofOther := mustCreateDomain(t, other, "acme.com")
	_, err = verifyDomain(t, other, ofOther)
	recordMissing(t, "another workspace", err, ofOther)
	srv.Clock.Advance(wait + time.Second)
	resolver.SetTXT(d.RecordName, d.RecordValue)
	if d, err := verifyDomain(t, p, d); err != nil || !d.Verified {
		t.Errorf("after that time: %v, %v", d, err)
	}
	if _, err := verifyDomain(t, p, d); err != nil {
		t.Errorf("a verified one, again: %v", err)
	}
}
