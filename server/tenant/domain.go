package tenant

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/publicsuffix"

	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/server/tenant/mailprovider"
	"github.com/logicspike/manager/store/tenant"
)

const (
	recordLabel  = "_logicspike-challenge."
	recordPrefix = "logicspike-domain-verification="
	// longestName is the longest name that DNS has, without the dot at its end.
	longestName = 253
)

// recordName returns the name of the DNS record that proves a domain.
func recordName(domain string) string { return recordLabel + domain }

// CreateDomain implements DomainService.
func (m *Module) CreateDomain(ctx context.Context, req *tenantv1.CreateDomainRequest) (*tenantv1.CreateDomainResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	name, err := domainName(req.Domain)
	if err != nil {
		return nil, err
	}
	d, err := m.options.Store.CreateDomain(ctx, workspace, name, secret.NewToken(recordPrefix))
	if err != nil {
		return nil, err
	}
	return &tenantv1.CreateDomainResponse{Domain: domainMessage(d)}, nil
}

// domainName returns the one form of a domain that a workspace can have.
//
// Errors: fault FIELD_INVALID for what is no domain; DOMAIN_NOT_ALLOWED for one that
// no single organisation controls.
func domainName(s string) (string, error) {
	name, err := email.Domain(s)
	if err != nil {
		return "", fault.Invalid("domain", err.Error())
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", fault.Invalid("domain", "is an address, not a domain")
	}
	if len(recordName(name)) > longestName {
		return "", fault.Invalid("domain", "is too long for the name of its DNS record")
	}
	refused := func(why string) error {
		return fault.New(fault.InvalidArgument, fault.DomainNotAllowed, "domain: "+why).WithField("domain")
	}
	suffix, public := publicsuffix.PublicSuffix(name)
	if !public && !strings.Contains(suffix, ".") {
		return "", refused("ends in ." + suffix + ", where nobody can register a domain")
	}
	registrable, err := publicsuffix.EffectiveTLDPlusOne(name)
	if err != nil {
		return "", refused("is one that many register their domains in")
	}
	if mailprovider.Owns(name, registrable) {
		return "", refused("belongs to a mail provider, where anybody can have an address")
	}
	return name, nil
}

// VerifyDomain implements DomainService.
func (m *Module) VerifyDomain(ctx context.Context, req *tenantv1.VerifyDomainRequest) (*tenantv1.VerifyDomainResponse, error) {
	workspace, id, err := workspaceAndDomain(req.WorkspaceId, req.DomainId)
	if err != nil {
		return nil, err
	}
	d, err := m.options.Store.Tenant.Domain(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	if !d.Verified() {
		if err := m.prove(ctx, d); err != nil {
			return nil, err
		}
		if d, err = m.options.Store.VerifyDomain(ctx, workspace, id, d.RecordValue); err != nil {
			return nil, err
		}
	}
	return &tenantv1.VerifyDomainResponse{Domain: domainMessage(d)}, nil
}

// prove looks for the record that proves a domain.
//
// Errors: fault DOMAIN_TAKEN, RATE_LIMITED, DOMAIN_RECORD_MISSING, DNS_UNAVAILABLE.
func (m *Module) prove(ctx context.Context, d *tenant.Domain) error {
	verified, err := m.options.Store.Tenant.VerifiedDomain(ctx, d.Domain)
	if err != nil {
		return err
	}
	if verified != nil && verified.ID != d.ID {
		return tenant.ErrDomainTaken()
	}
	if err := m.options.Store.Throttle.Take(ctx, "verify domain "+d.WorkspaceID.String(), m.options.Verify); err != nil {
		return err
	}
	records, err := m.options.Resolver.TXT(ctx, recordName(d.Domain))
	if err != nil {
		return err
	}
	if !slices.Contains(records, d.RecordValue) {
		return fault.New(fault.FailedPrecondition, fault.DomainRecordMissing,
			"DNS has no TXT record of the name "+recordName(d.Domain)+" with the domain's value; it can take hours to appear").
			WithMetadata("record_name", recordName(d.Domain))
	}
	return nil
}

// ListDomains implements DomainService.
func (m *Module) ListDomains(ctx context.Context, req *tenantv1.ListDomainsRequest) (*tenantv1.ListDomainsResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	rows, err := m.options.Store.Tenant.Domains(ctx, workspace)
	if err != nil {
		return nil, err
	}
	res := &tenantv1.ListDomainsResponse{}
	for i := range rows {
		res.Domains = append(res.Domains, domainMessage(&rows[i]))
	}
	return res, nil
}

// UpdateDomainEnrollment implements DomainService.
func (m *Module) UpdateDomainEnrollment(ctx context.Context, req *tenantv1.UpdateDomainEnrollmentRequest) (*tenantv1.UpdateDomainEnrollmentResponse, error) {
	workspace, id, err := workspaceAndDomain(req.WorkspaceId, req.DomainId)
	if err != nil {
		return nil, err
	}
	enrollment, ok := enrollments[req.Enrollment]
	if !ok {
		return nil, fault.Invalid("enrollment", "is not one that there is")
	}
	d, err := m.options.Store.SetDomainEnrollment(ctx, workspace, id, enrollment, authz.Role(req.Role))
	if err != nil {
		return nil, err
	}
	return &tenantv1.UpdateDomainEnrollmentResponse{Domain: domainMessage(d)}, nil
}

// DeleteDomain implements DomainService.
func (m *Module) DeleteDomain(ctx context.Context, req *tenantv1.DeleteDomainRequest) (*tenantv1.DeleteDomainResponse, error) {
	workspace, id, err := workspaceAndDomain(req.WorkspaceId, req.DomainId)
	if err != nil {
		return nil, err
	}
	if err := m.options.Store.DeleteDomain(ctx, workspace, id); err != nil {
		return nil, err
	}
	return &tenantv1.DeleteDomainResponse{}, nil
}

func workspaceAndDomain(workspace, domain string) (ids.Workspace, ids.Domain, error) {
	w, err := workspaceID(workspace)
	if err != nil {
		return w, ids.Domain{}, err
	}
	d, err := ids.Parse[ids.Domain](domain)
	if err != nil {
		return w, d, fault.Invalid("domain_id", err.Error())
	}
	return w, d, nil
}

// enrollments are what the store calls those of the API.
var enrollments = map[tenantv1.DomainEnrollment]tenant.EnrollmentKind{
	tenantv1.DomainEnrollment_DOMAIN_ENROLLMENT_OFF:       tenant.Off,
	tenantv1.DomainEnrollment_DOMAIN_ENROLLMENT_REQUEST:   tenant.Request,
	tenantv1.DomainEnrollment_DOMAIN_ENROLLMENT_AUTOMATIC: tenant.Automatic,
}

func domainMessage(d *tenant.Domain) *tenantv1.Domain {
	message := &tenantv1.Domain{
		Id:          d.ID.String(),
		WorkspaceId: d.WorkspaceID.String(),
		Domain:      d.Domain,
		Verified:    d.Verified(),
		VerifyTime:  convert.Time(d.VerifyTime),
		Role:        string(d.Role),
		RecordName:  recordName(d.Domain),
		RecordValue: d.RecordValue,
		CreateTime:  convert.Time(d.CreateTime),
	}
	for of, kind := range enrollments {
		if kind == d.Enrollment {
			message.Enrollment = of
		}
	}
	return message
}
