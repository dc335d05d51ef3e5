package tenant

import (
	"context"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

const enrollmentOf = postgres.Prepared(`
	SELECT e.domain, e.workspace_id, e.workspace_name, e.enrollment, e.role
	FROM tenant.enrollments e JOIN identity.profiles p ON substring(p.address_key FROM '[^@]*$') = e.domain
	WHERE p.user_id = $1 AND p.email_verified`)

// EnrollmentOf returns what the domain of a user's proven address entitles them to,
// or nil.
func (r Repository) EnrollmentOf(ctx context.Context, user ids.User) (*Enrollment, error) {
	e := new(Enrollment)
	return postgres.OrNil(e, enrollmentOf.QueryRow(ctx, r.db, user).
		Scan(&e.Domain, &e.WorkspaceID, &e.WorkspaceName, &e.Enrollment, &e.Role))
}
