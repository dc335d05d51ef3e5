package store

import (
	"context"
	"fmt"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/tenant"
)

// maxDomains is how many domains a workspace has at most.
const maxDomains = 50

// CreateDomain adds a domain to a workspace, with the value of the DNS record that
// will prove it. Repeated it returns the domain as it is, with the value that it
// has.
//
// Errors: fault NOT_FOUND, PERMISSION_MISSING; DOMAIN_TAKEN; RATE_LIMITED when the
// workspace has too many.
func (s *Store) CreateDomain(ctx context.Context, workspace ids.Workspace, name, record string) (d *tenant.Domain, err error) {
	id := ids.New[ids.Domain]()
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.lockTeam(ctx, workspace); err != nil {
			return err
		}
		if d, err = t.tenant.DomainNamed(ctx, workspace, name); err != nil || d != nil {
			return err
		}
		verified, err := t.tenant.VerifiedDomain(ctx, name)
		if err != nil {
			return err
		}
		if verified != nil {
			return tenant.ErrDomainTaken().WithField("domain")
		}
		count, err := t.tenant.CountDomains(ctx, workspace)
		if err != nil {
			return err
		}
		if count >= maxDomains {
			return fault.New(fault.ResourceExhausted, fault.RateLimited,
				fmt.Sprintf("the workspace has %d domains, and cannot have more; remove one first", count))
		}
		d = &tenant.Domain{
			ID: id, WorkspaceID: workspace, Domain: name, RecordValue: record,
			Enrollment: tenant.Off, Role: authz.Member, CreateTime: t.now,
		}
		if err := t.tenant.InsertDomain(ctx, d); err != nil {
			return err
		}
		return t.recordDomain(ctx, "domain.created", d, nil)
	})
	return d, err
}

// VerifyDomain marks a domain as proven by a DNS record that has the value, which
// must be that of the domain. Repeated it changes nothing.
//
// Errors: fault NOT_FOUND, PERMISSION_MISSING; DOMAIN_RECORD_MISSING for another
// value; DOMAIN_TAKEN.
func (s *Store) VerifyDomain(ctx context.Context, workspace ids.Workspace, id ids.Domain, record string) (d *tenant.Domain, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.lockTeam(ctx, workspace); err != nil {
			return err
		}
		if d, err = t.tenant.Domain(ctx, workspace, id); err != nil || d.Verified() {
			return err
		}
		if d.RecordValue != record {
			return fault.New(fault.FailedPrecondition, fault.DomainRecordMissing, "the record that was found is not that of the domain")
		}
		if err := t.tenant.VerifyDomain(ctx, d, t.now); err != nil {
			return err
		}
		return t.recordDomain(ctx, "domain.verified", d, nil)
	})
	return d, err
}

// SetDomainEnrollment decides what people with an address of a verified domain can
// do, and the role of those who join by it; "" leaves that as it is. Of a domain
// that is not verified only the role can be changed.
//
// Errors: fault NOT_FOUND, PERMISSION_MISSING; ROLE_NOT_GRANTABLE;
// DOMAIN_NOT_VERIFIED.
func (s *Store) SetDomainEnrollment(ctx context.Context, workspace ids.Workspace, id ids.Domain, enrollment tenant.EnrollmentKind, role authz.Role) (d *tenant.Domain, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, workspace)
		if err != nil {
			return err
		}
		if d, err = t.tenant.Domain(ctx, workspace, id); err != nil {
			return err
		}
		role := role
		if role == "" {
			role = d.Role
		}
		if enrollment != tenant.Off || role != d.Role { // to end an enrollment gives nobody anything
			if err := t.mayGrant(ctx, a, "role", role); err != nil {
				return err
			}
		}
		if enrollment != tenant.Off {
			if err := mayInvite(ctx); err != nil {
				return err
			}
		}
		if enrollment != tenant.Off && !d.Verified() {
			return fault.New(fault.FailedPrecondition, fault.DomainNotVerified, "the domain is not verified; verify it first")
		}
		changes := map[string]any{}
		if enrollment != d.Enrollment {
			changes["enrollment"] = map[string]any{"before": d.Enrollment, "after": enrollment}
		}
		if role != d.Role {
			changes["role"] = map[string]any{"before": d.Role, "after": role}
		}
		if len(changes) == 0 {
			return nil
		}
		if err := t.tenant.SetEnrollment(ctx, d, enrollment, role); err != nil {
			return err
		}
		return t.recordDomain(ctx, "domain.enrollment_changed", d, changes)
	})
	return d, err
}

// DeleteDomain removes a domain of a workspace.
//
// Errors: fault NOT_FOUND, PERMISSION_MISSING.
func (s *Store) DeleteDomain(ctx context.Context, workspace ids.Workspace, id ids.Domain) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.lockTeam(ctx, workspace); err != nil {
			return err
		}
		d, err := t.tenant.Domain(ctx, workspace, id)
		if err != nil {
			return err
		}
		if err := t.tenant.DeleteDomain(ctx, id); err != nil {
			return err
		}
		return t.recordDomain(ctx, "domain.deleted", d, nil)
	})
}

// recordDomain writes the event of a domain, with its name beside the details.
func (t *tx) recordDomain(ctx context.Context, action string, d *tenant.Domain, details map[string]any) error {
	all := map[string]any{"domain": d.Domain}
	for key, value := range details {
		all[key] = value
	}
	return t.record(ctx, audit.Event{WorkspaceID: d.WorkspaceID, Action: action, TargetID: d.ID.String(), Details: all})
}
