package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/miekg/dns"

	"github.com/logicspike/manager/client"
	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/internal/testkit/fake"
)

func TestADomainIsProvenByItsRecordAndDecidesWhoJoins(t *testing.T) {
	t.Parallel()
	srv, resolver := withDNS(t, testkit.Options{})
	p := srv.Register(t)

	d := mustCreateDomain(t, p, "Acme.COM")
	want := &tenantv1.Domain{
		Id: d.Id, WorkspaceId: p.Workspace.Id, Domain: "acme.com", Enrollment: off, Role: "member",
		RecordName: "_logicspike-challenge.acme.com", RecordValue: d.RecordValue, CreateTime: d.CreateTime,
	}
	sameDomains(t, "a new domain", want, d)
	if token, ok := strings.CutPrefix(d.RecordValue, "logicspike-domain-verification="); !ok || len(token) < 22 || d.CreateTime == nil {
		t.Errorf("a new domain: %v, want a record of 128 random bits, and a time", d)
	}
	sameDomains(t, "the domain, created again", d, mustCreateDomain(t, p, "acme.com"))

	_, err := verifyDomain(t, p, d)
	recordMissing(t, "before the record is there", err, d)
	for _, enrollment := range []tenantv1.DomainEnrollment{request, automatic} {
		_, err = enroll(t, p, d, enrollment, "")
		refused(t, "enrollment before that", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_DOMAIN_NOT_VERIFIED)
	}
	unchanged, err := enroll(t, p, d, off, "")
	if err != nil {
		t.Errorf("no enrollment before that: %v", err)
	}
	sameDomains(t, "no enrollment before that", d, unchanged)

	resolver.SetTXT(d.RecordName, d.RecordValue)
	verified, err := verifyDomain(t, p, d)
	if err != nil {
		t.Fatal(err)
	}
	want.Verified, want.VerifyTime = true, verified.VerifyTime
	sameDomains(t, "a verified domain", want, verified)
	if verified.VerifyTime == nil || verified.VerifyTime.AsTime().Before(d.CreateTime.AsTime()) {
		t.Errorf("it was verified at %v, and created at %v", verified.VerifyTime, d.CreateTime)
	}

	// Verified is verified, whatever DNS says later.
	resolver.Fail(d.RecordName, dns.RcodeServerFailure)
	before, _ := resolver.Queries()
	again, err := verifyDomain(t, p, d)
	if err != nil {
		t.Errorf("verified again: %v", err)
	}
	sameDomains(t, "verified again", want, again)
	if after, _ := resolver.Queries(); after != before {
		t.Errorf("DNS was asked %d times about a domain that is verified", after-before)
	}
	sameDomains(t, "created again", want, mustCreateDomain(t, p, "acme.com"))

	steps := []struct {
		enrollment tenantv1.DomainEnrollment
		role       authz.Role
		wantRole   string
	}{
		{request, "", "member"},
		{request, "", "member"}, // no change
		{automatic, authz.Viewer, "viewer"},
		{automatic, "", "viewer"}, // no change
		{off, "", "viewer"},
	}
	for _, step := range steps {
		got, err := enroll(t, p, d, step.enrollment, step.role)
		if err != nil {
			t.Fatalf("%v as %q: %v", step.enrollment, step.role, err)
		}
		want.Enrollment, want.Role = step.enrollment, step.wantRole
		sameDomains(t, fmt.Sprintf("%v as %q", step.enrollment, step.role), want, got)
		sameDomains(t, "the list then", []*tenantv1.Domain{want}, listDomains(t, p))
	}

	if err := deleteDomain(t, p, d); err != nil {
		t.Fatal(err)
	}
	noDomain(t, "deleted again", deleteDomain(t, p, d))
	_, err = verifyDomain(t, p, d)
	noDomain(t, "verified when deleted", err)
	_, err = enroll(t, p, d, request, "")
	noDomain(t, "enrolled when deleted", err)
	if list := listDomains(t, p); len(list) != 0 {
		t.Errorf("the list at the end: %v", list)
	}

	events := logged(t, p, p.Workspace.Id, "workspace.created", "domain.created", "domain.verified",
		"domain.enrollment_changed", "domain.enrollment_changed", "domain.enrollment_changed", "domain.deleted")
	changed := func(before, after string) map[string]any { return map[string]any{"before": before, "after": after} }
	var got []map[string]any
	for _, e := range events[1:] {
		if e.TargetId != d.Id || e.ActorUserId != p.User.Id || e.ActorKind != auditv1.ActorKind_ACTOR_KIND_USER || e.WorkspaceId != p.Workspace.Id {
			t.Errorf("event %v, want one of %s by %s", e, d.Id, p.User.Id)
		}
		got = append(got, e.Details.AsMap())
	}
	if diff := cmp.Diff([]map[string]any{
		{"domain": "acme.com"},
		{"domain": "acme.com"},
		{"domain": "acme.com", "enrollment": changed("off", "request")},
		{"domain": "acme.com", "enrollment": changed("request", "automatic"), "role": changed("member", "viewer")},
		{"domain": "acme.com", "enrollment": changed("automatic", "off")},
		{"domain": "acme.com"},
	}, got); diff != "" {
		t.Errorf("details of the events (-want +got):\n%s", diff)
	}
	srv.CheckInvariants(t)
}

func TestOnlyTheExactRecordProvesADomain(t *testing.T) {
	t.Parallel()
	srv, resolver := withDNS(t, testkit.Options{})
	p, stranger := srv.Register(t), srv.Register(t)
	var noise []string
	for i := range 400 {
		noise = append(noise, fmt.Sprintf("other-verification=%d%s", i, strings.Repeat("x", 100)))
	}
	const proven, missing, unavailable = "proven", "missing", "unavailable"
	for number, test := range []struct {
		what string
		set  func(t *testing.T, d *tenantv1.Domain)
		want string
	}{
		{"the record", func(_ *testing.T, d *tenantv1.Domain) { resolver.SetTXT(d.RecordName, d.RecordValue) }, proven},
		{"the record among others", func(_ *testing.T, d *tenantv1.Domain) {
			resolver.SetTXT(d.RecordName, "v=spf1 -all", "", d.RecordValue, "logicspike-domain-verification=other")
		}, proven},
		{"the record in several strings", func(_ *testing.T, d *tenantv1.Domain) {
			resolver.Set(d.RecordName, fake.TXT(d.RecordName, d.RecordValue[:9], "", d.RecordValue[9:40], d.RecordValue[40:]))
		}, proven},
		{"the record at the end of a huge answer", func(t *testing.T, d *tenantv1.Domain) {
			_, before := resolver.Queries()
			resolver.SetTXT(d.RecordName, append(noise, d.RecordValue)...)
			t.Cleanup(func() {
				if _, after := resolver.Queries(); after == before {
					t.Error("a huge answer was not asked for by TCP")
				}
			})
		}, proven},
		{"the record behind an alias", func(_ *testing.T, d *tenantv1.Domain) {
			resolver.Set(d.RecordName, &dns.CNAME{
				Hdr: dns.RR_Header{Name: dns.Fqdn(d.RecordName), Rrtype: dns.TypeCNAME, Class: dns.ClassINET}, Target: "elsewhere.example.net.",
			}, fake.TXT("elsewhere.example.net", d.RecordValue))
		}, proven},

		{"no such name", func(*testing.T, *tenantv1.Domain) {}, missing},
		{"a name without TXT records", func(_ *testing.T, d *tenantv1.Domain) { resolver.Set(d.RecordName) }, missing},
		{"a huge answer without it", func(_ *testing.T, d *tenantv1.Domain) { resolver.SetTXT(d.RecordName, noise...) }, missing},
		{"another value", func(_ *testing.T, d *tenantv1.Domain) {
			resolver.SetTXT(d.RecordName, "logicspike-domain-verification=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
		}, missing},
		{"an empty value", func(_ *testing.T, d *tenantv1.Domain) { resolver.SetTXT(d.RecordName, "") }, missing},
		{"the prefix alone", func(_ *testing.T, d *tenantv1.Domain) {
			resolver.SetTXT(d.RecordName, "logicspike-domain-verification=")
		}, missing},
		{"the token alone", func(_ *testing.T, d *tenantv1.Domain) {
			resolver.SetTXT(d.RecordName, strings.TrimPrefix(d.RecordValue, "logicspike-domain-verification="))
		}, missing},
		{"a space before", func(_ *testing.T, d *tenantv1.Domain) { resolver.SetTXT(d.RecordName, " "+d.RecordValue) }, missing},
		{"a space behind", func(_ *testing.T, d *tenantv1.Domain) { resolver.SetTXT(d.RecordName, d.RecordValue+" ") }, missing},
		{"in quotes", func(_ *testing.T, d *tenantv1.Domain) { resolver.SetTXT(d.RecordName, `"`+d.RecordValue+`"`) }, missing},
		{"in large letters", func(_ *testing.T, d *tenantv1.Domain) { resolver.SetTXT(d.RecordName, strings.ToUpper(d.RecordValue)) }, missing},
		{"cut off", func(_ *testing.T, d *tenantv1.Domain) {
			resolver.SetTXT(d.RecordName, d.RecordValue[:len(d.RecordValue)-1])
		}, missing},
		{"with more behind", func(_ *testing.T, d *tenantv1.Domain) { resolver.SetTXT(d.RecordName, d.RecordValue+"A") }, missing},
		{"in two records", func(_ *testing.T, d *tenantv1.Domain) {
			resolver.SetTXT(d.RecordName, d.RecordValue[:40], d.RecordValue[40:])
		}, missing},
		{"at the domain itself", func(_ *testing.T, d *tenantv1.Domain) { resolver.SetTXT(d.Domain, d.RecordValue) }, missing},
		{"that of another workspace", func(t *testing.T, d *tenantv1.Domain) {
			resolver.SetTXT(d.RecordName, mustCreateDomain(t, stranger, d.Domain).RecordValue)
		}, missing},
		{"that of another domain", func(t *testing.T, d *tenantv1.Domain) {
			resolver.SetTXT(d.RecordName, mustCreateDomain(t, p, "other."+d.Domain).RecordValue)
		}, missing},
		{"that of the same domain before it was deleted", func(t *testing.T, d *tenantv1.Domain) {
			resolver.SetTXT(d.RecordName, d.RecordValue)
			if err := deleteDomain(t, p, d); err != nil {
				t.Fatal(err)
			}
			fresh := mustCreateDomain(t, p, d.Domain)
			if fresh.Id == d.Id || fresh.RecordValue == d.RecordValue {
				t.Errorf("a domain that is created anew has the id and record of the deleted one")
			}
			d.Id, d.RecordValue = fresh.Id, fresh.RecordValue
		}, missing},

		{"SERVFAIL", func(_ *testing.T, d *tenantv1.Domain) { resolver.Fail(d.RecordName, dns.RcodeServerFailure) }, unavailable},
		{"REFUSED", func(_ *testing.T, d *tenantv1.Domain) { resolver.Fail(d.RecordName, dns.RcodeRefused) }, unavailable},
	} {
		t.Run(test.what, func(t *testing.T) {
			d := mustCreateDomain(t, p, fmt.Sprintf("case%d.com", number))
			test.set(t, d)
			got, err := verifyDomain(t, p, d)
			switch test.want {
			case proven:
				if err != nil || !got.GetVerified() {
					t.Errorf("%v, %v, want it verified", got, err)
				}
				return
			case missing:
				recordMissing(t, test.what, err, d)
			case unavailable:
				refused(t, test.what, err, connect.CodeUnavailable, faultv1.Reason_REASON_DNS_UNAVAILABLE)
				if client.RetryAfter(err) <= 0 {
					t.Error("it is not said when to try again")
				}
			}
			if list := listDomains(t, p); slices.ContainsFunc(list, func(l *tenantv1.Domain) bool { return l.Id == d.Id && l.Verified }) {
				t.Error("the domain is verified all the same")
			}
		})
	}
}

func TestADeadDNSServerIsUnavailable(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) { s.DNSResolver = "127.0.0.1:1" }})
	p := srv.Register(t)
	_, err := verifyDomain(t, p, mustCreateDomain(t, p, "acme.com"))
	refused(t, "nobody listens", err, connect.CodeUnavailable, faultv1.Reason_REASON_DNS_UNAVAILABLE)
	srv.CheckInvariants(t)
}

// TestWhatHappensWhileDNSIsAskedCounts also proves that nothing is locked while it
// is.
func TestWhatHappensWhileDNSIsAskedCounts(t *testing.T) {
	t.Parallel()
	srv, resolver := withDNS(t, testkit.Options{})
	for what, test := range map[string]struct {
		meanwhile func(t *testing.T, owner, admin *testkit.Person, d *tenantv1.Domain)
		code      connect.Code
		reason    faultv1.Reason
	}{
		"the domain is deleted": {func(t *testing.T, owner, _ *testkit.Person, d *tenantv1.Domain) {
			if err := deleteDomain(t, owner, d); err != nil {
				t.Error(err)
			}
		}, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND},
		"the domain is deleted and created anew": {func(t *testing.T, owner, _ *testkit.Person, d *tenantv1.Domain) {
			if err := deleteDomain(t, owner, d); err != nil {
				t.Error(err)
			}
			mustCreateDomain(t, owner, d.Domain)
		}, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND},
		"the workspace is deleted": {func(t *testing.T, owner, _ *testkit.Person, _ *tenantv1.Domain) {
			if err := remove(t, owner, owner.Workspace.Id, preview(t, owner, owner.Workspace.Id).Etag); err != nil {
				t.Error(err)
			}
		}, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND},
		"the caller loses the role": {func(t *testing.T, _, admin *testkit.Person, d *tenantv1.Domain) {
			if _, err := srv.SQL.Exec(t.Context(), "UPDATE team.memberships SET role = 'member' WHERE workspace_id = $1 AND user_id = $2",
				uuidOf(t, d.WorkspaceId), uuidOf(t, admin.User.Id)); err != nil {
				t.Error(err)
			}
		}, connect.CodePermissionDenied, faultv1.Reason_REASON_PERMISSION_MISSING},
		"another workspace verifies the domain": {func(t *testing.T, _, _ *testkit.Person, d *tenantv1.Domain) {
			domain, err := ids.Parse[ids.Domain](mustCreateDomain(t, srv.Register(t), d.Domain).Id)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := srv.SQL.Exec(t.Context(), "UPDATE tenant.domains SET verify_time = now() WHERE id = $1", domain.UUID()); err != nil {
				t.Error(err)
			}
		}, connect.CodeAlreadyExists, faultv1.Reason_REASON_DOMAIN_TAKEN},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			owner, admin := srv.Register(t), srv.Register(t)
			srv.Join(t, admin, owner.Workspace.Id, authz.Admin)
			admin.Workspace = owner.Workspace
			name := fmt.Sprintf("during%s.com", strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(owner.User.Id, "usr_")), "_", ""))
			d := mustCreateDomain(t, owner, name)
			resolver.SetTXT(d.RecordName, d.RecordValue)
			release := resolver.Hold(d.RecordName)
			result := make(chan error, 1)
			go func() {
				_, err := verifyDomain(t, admin, d)
				result <- err
			}()
			testkit.Eventually(t, "DNS to be asked", func() bool { return resolver.Asked(d.RecordName) })
			test.meanwhile(t, owner, admin, d)
			release()
			refused(t, what, <-result, test.code, test.reason)
			if n := count(t, srv, "SELECT count(*) FROM tenant.domains WHERE workspace_id = $1 AND verify_time IS NOT NULL",
				uuidOf(t, d.WorkspaceId)); n != 0 {
				t.Error("the domain was verified")
			}
		})
	}
}

func TestOfWorkspacesThatVerifyADomainAtOnceOneWins(t *testing.T) {
	t.Parallel()
	srv, resolver := withDNS(t, testkit.Options{})
	a, b, c := srv.Register(t), srv.Register(t), srv.Register(t)
	all := []*testkit.Person{a, b, c}
	for round := range 25 {
		var values []string
		domains := make([]*tenantv1.Domain, len(all))
		for i, p := range all {
			domains[i] = mustCreateDomain(t, p, fmt.Sprintf("round%d.com", round))
			values = append(values, domains[i].RecordValue)
		}
		name := domains[0].RecordName
		resolver.SetTXT(name, values...)
		// All have asked DNS before anyone gets an answer: what decides is the
		// database.
		release := resolver.Hold(name)
		before, _ := resolver.Queries()
		result := make(chan map[string]int, 1)
		go func() {
			result <- atOnce(len(all), func(i int) error {
				_, err := verifyDomain(t, all[i], domains[i])
				return err
			})
		}()
		testkit.Eventually(t, "all to ask DNS", func() bool { n, _ := resolver.Queries(); return n == before+len(all) })
		release()
		got := <-result
		if diff := cmp.Diff(map[string]int{"": 1, "DOMAIN_TAKEN": len(all) - 1}, got); diff != "" {
			t.Fatalf("round %d (-want +got):\n%s", round, diff)
		}
	}
	if n := count(t, srv, "SELECT count(*) FROM audit.events WHERE action = 'domain.verified'"); n != 25 {
		t.Errorf("%d events say that a domain was verified, want 25", n)
	}
	srv.CheckInvariants(t)
}

func TestADomainThatIsVerifiedManyTimesAtOnceIsVerifiedOnce(t *testing.T) {
	t.Parallel()
	srv, resolver := withDNS(t, testkit.Options{})
	p := srv.Register(t)
	d := mustCreateDomain(t, p, "acme.com")
	resolver.SetTXT(d.RecordName, d.RecordValue)
	release := resolver.Hold(d.RecordName)
	const calls = 5
	verified := make([]*tenantv1.Domain, calls)
	result := make(chan map[string]int, 1)
	go func() {
		result <- atOnce(calls, func(i int) (err error) {
			verified[i], err = verifyDomain(t, p, d)
			return err
		})
	}()
	testkit.Eventually(t, "all to ask DNS", func() bool { n, _ := resolver.Queries(); return n == calls })
	release()
	if diff := cmp.Diff(map[string]int{"": calls}, <-result); diff != "" {
		t.Fatalf("(-want +got):\n%s", diff)
	}
	for _, v := range verified {
		sameDomains(t, "each answer", listDomains(t, p)[0], v)
	}
	logged(t, p, p.Workspace.Id, "workspace.created", "domain.created", "domain.verified")
}

func TestAVerifiedDomainIsTakenUntilItIsGone(t *testing.T) {
	t.Parallel()
	srv, resolver := withDNS(t, testkit.Options{})
	a, b, c := srv.Register(t), srv.Register(t), srv.Register(t)

	waiting := mustCreateDomain(t, b, "acme.com")
	ofA := mustVerifyDomain(t, resolver, a, "acme.com", waiting.RecordValue)
	before, _ := resolver.Queries()
	_, err := verifyDomain(t, b, waiting)
	domainTaken(t, "verified by a second one, whose record is there", err)
	if after, _ := resolver.Queries(); after != before {
		t.Error("DNS was asked about a domain that is taken")
	}
	_, err = createDomain(t, c, "ACME.com")
	domainTaken(t, "created by a third one", err)
	if fields := client.InvalidFields(err); fields["domain"] == "" {
		t.Errorf("created by a third one: the error names the fields %v", fields)
	}
	sameDomains(t, "the second one's, created again", waiting, mustCreateDomain(t, b, "acme.com"))
	if d, err := createDomain(t, c, "www.acme.com"); err != nil || d.Verified {
		t.Errorf("a domain below it: %v, %v", d, err)
	}

	if err := deleteDomain(t, a, ofA); err != nil {
		t.Fatal(err)
	}
	if d, err := verifyDomain(t, b, waiting); err != nil || !d.Verified {
		t.Fatalf("once the first one has deleted it: %v, %v", d, err)
	}
	_, err = createDomain(t, a, "acme.com")
	domainTaken(t, "created by the first one again", err)

	deletion := preview(t, b, b.Workspace.Id)
	if deletion.DomainCount != 1 {
		t.Errorf("the preview of the deletion counts %d domains, want 1", deletion.DomainCount)
	}
	if err := remove(t, b, b.Workspace.Id, deletion.Etag); err != nil {
		t.Fatal(err)
	}
	_, err = createDomain(t, c, "acme.com")
	domainTaken(t, "while the second workspace can be undeleted", err)
	if _, err := b.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: b.Workspace.Id, Etag: deletion.Etag}); err != nil {
		t.Fatal(err)
	}
	srv.CheckPurged(t, b.Workspace.Id, b.User.Id)
	if d := mustVerifyDomain(t, resolver, c, "acme.com"); !d.Verified {
		t.Error("once the second workspace is purged, the domain is not free")
	}
	srv.CheckInvariants(t)
}
