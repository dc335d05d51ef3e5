package e2e

import (
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/logicspike/manager/client"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/internal/testkit/fake"
)

const (
	off       = tenantv1.DomainEnrollment_DOMAIN_ENROLLMENT_OFF
	request   = tenantv1.DomainEnrollment_DOMAIN_ENROLLMENT_REQUEST
	automatic = tenantv1.DomainEnrollment_DOMAIN_ENROLLMENT_AUTOMATIC
)

// withDNS starts a server that asks a DNS server of its own.
func withDNS(t testing.TB, o testkit.Options) (*testkit.Server, *fake.DNS) {
	t.Helper()
	resolver := fake.NewDNS(t)
	o.Settings = func(s *config.Settings) { s.DNSResolver = resolver.Address }
	return testkit.New(t, o), resolver
}

func createDomain(t testing.TB, p *testkit.Person, name string) (*tenantv1.Domain, error) {
	t.Helper()
	res, err := p.Domains.CreateDomain(t.Context(), &tenantv1.CreateDomainRequest{WorkspaceId: p.Workspace.Id, Domain: name})
	return res.GetDomain(), err
}

func mustCreateDomain(t testing.TB, p *testkit.Person, name string) *tenantv1.Domain {
	t.Helper()
	d, err := createDomain(t, p, name)
	if err != nil {
		t.Fatalf("CreateDomain %s: %v", name, err)
	}
	return d
}

func verifyDomain(t testing.TB, p *testkit.Person, d *tenantv1.Domain) (*tenantv1.Domain, error) {
	t.Helper()
	res, err := p.Domains.VerifyDomain(t.Context(), &tenantv1.VerifyDomainRequest{WorkspaceId: p.Workspace.Id, DomainId: d.Id})
	return res.GetDomain(), err
}

// mustVerifyDomain sets the record of a domain, beside those of others, and has it
// verified.
func mustVerifyDomain(t testing.TB, resolver *fake.DNS, p *testkit.Person, name string, others ...string) *tenantv1.Domain {
	t.Helper()
	d := mustCreateDomain(t, p, name)
	resolver.SetTXT(d.RecordName, append(others, d.RecordValue)...)
	d, err := verifyDomain(t, p, d)
	if err != nil {
		t.Fatalf("VerifyDomain %s: %v", name, err)
	}
	return d
}

func enroll(t testing.TB, p *testkit.Person, d *tenantv1.Domain, enrollment tenantv1.DomainEnrollment, role authz.Role) (*tenantv1.Domain, error) {
	t.Helper()
	res, err := p.Domains.UpdateDomainEnrollment(t.Context(), &tenantv1.UpdateDomainEnrollmentRequest{
		WorkspaceId: p.Workspace.Id, DomainId: d.Id, Enrollment: enrollment, Role: string(role),
	})
	return res.GetDomain(), err
}

func deleteDomain(t testing.TB, p *testkit.Person, d *tenantv1.Domain) error {
	t.Helper()
	_, err := p.Domains.DeleteDomain(t.Context(), &tenantv1.DeleteDomainRequest{WorkspaceId: p.Workspace.Id, DomainId: d.Id})
	return err
}

func listDomains(t testing.TB, p *testkit.Person) []*tenantv1.Domain {
	t.Helper()
	res, err := p.Domains.ListDomains(t.Context(), &tenantv1.ListDomainsRequest{WorkspaceId: p.Workspace.Id})
	if err != nil {
		t.Fatalf("ListDomains: %v", err)
	}
	return res.Domains
}

func sameDomains(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, protocmp.Transform()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func recordMissing(t testing.TB, what string, err error, d *tenantv1.Domain) {
	t.Helper()
	refused(t, what, err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_DOMAIN_RECORD_MISSING)
	if got := client.Metadata(err)["record_name"]; got != d.RecordName {
		t.Errorf("%s: the error names the record %q, want %q", what, got, d.RecordName)
	}
}

func domainTaken(t testing.TB, what string, err error) {
	t.Helper()
	refused(t, what, err, connect.CodeAlreadyExists, faultv1.Reason_REASON_DOMAIN_TAKEN)
}

func noDomain(t testing.TB, what string, err error) {
	t.Helper()
	refused(t, what, err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
}
