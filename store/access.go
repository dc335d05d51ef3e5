package store

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// Membership tells what a user is in a workspace: the question behind the rule
// of every workspace method.
//
// Errors: fault NOT_FOUND when the user does not belong to it, or it does not
// exist, or is due to be purged.
func (s *Store) Membership(ctx context.Context, workspace ids.Workspace, user ids.User) (authz.Membership, error) {
	var role string
	var m authz.Membership
	err := s.db.Pool.QueryRow(ctx, `
		SELECT m.role, d.delete_time IS NOT NULL
		FROM team.memberships m JOIN tenant.directory d ON d.workspace_id = m.workspace_id
		WHERE m.workspace_id = $1 AND m.user_id = $2 AND (d.purge_time IS NULL OR d.purge_time > $3)`,
		pgx.QueryExecModeCacheStatement, [16]byte(workspace.UUID()), [16]byte(user.UUID()), s.options.Clock.Now()).
		Scan(&role, &m.Deleted)
	if postgres.NotFound(err) {
		return m, fault.NotFoundFault()
	}
	m.Role = authz.Role(role)
	return m, s.constraints.Fault(err)
}
