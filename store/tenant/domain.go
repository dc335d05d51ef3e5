package tenant

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// EnrollmentKind is what people with a proven address of a domain can do.
type EnrollmentKind string

// The kinds of enrollment.
const (
	Off       EnrollmentKind = "off"       // nothing
	Request   EnrollmentKind = "request"   // ask to join
	Automatic EnrollmentKind = "automatic" // join by registering or signing in
)

// Domain is a DNS domain that a workspace says it controls, and has proven if it
// is verified.
type Domain struct {
	bun.BaseModel `bun:"table:tenant.domains,alias:d"`

	ID          ids.Domain `bun:"id,pk"`
	WorkspaceID ids.Workspace
	Domain      string    // in ASCII form and lower case
	RecordValue string    // of the DNS record that proves it
	VerifyTime  time.Time `bun:",nullzero"`
	Enrollment  EnrollmentKind
	Role        authz.Role // of those who join by it
	CreateTime  time.Time
}

// Verified reports whether the workspace has proven that it controls the domain.
func (d *Domain) Verified() bool { return !d.VerifyTime.IsZero() }

// InsertDomain stores a new domain.
//
// Errors: fault DOMAIN_TAKEN, when the transaction's errors are mapped, if the
// workspace has it already.
func (r Repository) InsertDomain(ctx context.Context, d *Domain) error {
	_, err := r.db.NewInsert().Model(d).Exec(ctx)
	return err
}

// Domain returns a domain of a workspace.
//
// Errors: fault NOT_FOUND.
func (r Repository) Domain(ctx context.Context, workspace ids.Workspace, id ids.Domain) (*Domain, error) {
	d, err := r.domain(ctx, "d.workspace_id = ? AND d.id = ?", workspace, id)
	if err == nil && d == nil {
		err = fault.NotFoundFault()
	}
	return d, err
}

// DomainNamed returns the domain of a workspace by its name, or nil.
func (r Repository) DomainNamed(ctx context.Context, workspace ids.Workspace, name string) (*Domain, error) {
	return r.domain(ctx, "d.workspace_id = ? AND d.domain = ?", workspace, name)
}

// VerifiedDomain returns the domain of the workspace that has verified it, or nil.
func (r Repository) VerifiedDomain(ctx context.Context, name string) (*Domain, error) {
	return r.domain(ctx, "d.domain = ? AND d.verify_time IS NOT NULL", name)
}

func (r Repository) domain(ctx context.Context, where string, args ...any) (*Domain, error) {
	d := new(Domain)
	return postgres.OrNil(d, r.db.NewSelect().Model(d).Where(where, args...).Scan(ctx))
}

// Domains returns the domains of a workspace, by name.
func (r Repository) Domains(ctx context.Context, workspace ids.Workspace) ([]Domain, error) {
	var rows []Domain
	err := r.db.NewSelect().Model(&rows).Where("d.workspace_id = ?", workspace).OrderExpr(`d.domain COLLATE "C"`).Scan(ctx)
	return rows, err
}

// CountDomains returns how many domains a workspace has.
func (r Repository) CountDomains(ctx context.Context, workspace ids.Workspace) (int, error) {
	n, err := r.db.NewSelect().Model((*Domain)(nil)).Where("d.workspace_id = ?", workspace).Count(ctx)
	return int(n), err
}

// VerifyDomain stores that a domain is proven. d is a domain of a locked
// workspace.
//
// Errors: fault DOMAIN_TAKEN, when the transaction's errors are mapped, if
// another workspace has verified it.
func (r Repository) VerifyDomain(ctx context.Context, d *Domain, now time.Time) error {
	d.VerifyTime = now
	_, err := r.db.NewUpdate().Model(d).Column("verify_time").WherePK().Exec(ctx)
	return err
}

// SetEnrollment stores what people with an address of a verified domain can do,
// and the role of those who join by it. d is a domain of a locked workspace.
func (r Repository) SetEnrollment(ctx context.Context, d *Domain, enrollment EnrollmentKind, role authz.Role) error {
	d.Enrollment, d.Role = enrollment, role
	_, err := r.db.NewUpdate().Model(d).Column("enrollment", "role").WherePK().Exec(ctx)
	return err
}

// DeleteDomain removes a domain.
func (r Repository) DeleteDomain(ctx context.Context, id ids.Domain) error {
	_, err := r.db.NewDelete().Model((*Domain)(nil)).Where("id = ?", id).Exec(ctx)
	return err
}

// DeleteDomains removes all domains of a workspace.
func (r Repository) DeleteDomains(ctx context.Context, workspace ids.Workspace) error {
	_, err := r.db.NewDelete().Model((*Domain)(nil)).Where("workspace_id = ?", workspace).Exec(ctx)
	return err
}

// Enrollment is whom a verified domain lets join its workspace.
type Enrollment struct {
	bun.BaseModel `bun:"table:tenant.enrollments,alias:e"`

	Domain        string
	WorkspaceID   ids.Workspace
	WorkspaceName string
	Enrollment    EnrollmentKind // never Off
	Role          authz.Role     // of those who join
}

// Enrollment returns whom a domain, in ASCII form and lower case, lets join. It
// returns nil when no live workspace has verified the domain, or the one that has
// lets nobody join by it.
func (r Repository) Enrollment(ctx context.Context, domain string) (*Enrollment, error) {
	e := new(Enrollment)
	return postgres.OrNil(e, r.db.NewSelect().Model(e).Where("e.domain = ?", domain).Scan(ctx))
}

// ErrDomainTaken returns the fault of a domain that another workspace has verified.
func ErrDomainTaken() *fault.Fault {
	return fault.New(fault.AlreadyExists, fault.DomainTaken, "another workspace has verified the domain")
}
