package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// accessSQL tells what a user is in a workspace: the question behind the rule of
// every workspace method. A deactivated member is nobody.
const accessSQL = `
	SELECT m.workspace_id, m.role, coalesce(r.permissions, '{}'), d.delete_time IS NOT NULL, d.second_factor_required
	FROM team.memberships m
	JOIN tenant.directory d ON d.workspace_id = m.workspace_id
	LEFT JOIN team.roles r ON r.workspace_id = m.workspace_id AND r.id = m.custom_role
	WHERE m.user_id = $1 AND m.deactivate_time IS NULL AND (d.purge_time IS NULL OR d.purge_time > $2)`

// Membership tells what a user is in a workspace.
//
// Errors: fault NOT_FOUND when the user does not belong to it, or is deactivated, or
// it does not exist, or is due to be purged.
func (s *Store) Membership(ctx context.Context, workspace ids.Workspace, user ids.User) (authz.Membership, error) {
	row := s.db.Pool.QueryRow(ctx, accessSQL+" AND m.workspace_id = $3",
		pgx.QueryExecModeCacheStatement, pgUUID(user.UUID()), s.options.Clock.Now(), pgUUID(workspace.UUID()))
	_, m, err := scanAccess(row)
	if postgres.NotFound(err) {
		return m, fault.NotFoundFault()
	}
	return m, s.constraints.Fault(err)
}

// Access tells what a session's user is in each of the workspaces that are live, that they
// are an active member of and that are not closed to the session.
func (s *Store) Access(ctx context.Context, session *authz.Session, workspaces []ids.Workspace) (map[ids.Workspace]authz.Membership, error) {
	list := make([]pgtype.UUID, len(workspaces))
	for i, w := range workspaces {
		list[i] = pgtype.UUID{Bytes: w.UUID(), Valid: true}
	}
	found := make(map[ids.Workspace]authz.Membership, len(list))
	rows, err := s.db.Pool.Query(ctx, accessSQL+" AND m.workspace_id = ANY ($3)",
		pgx.QueryExecModeCacheStatement, pgUUID(session.User.UUID()), s.options.Clock.Now(), list)
	if err != nil {
		return nil, s.constraints.Fault(err)
	}
	defer rows.Close()
	for rows.Next() {
		id, m, err := scanAccess(rows)
		if err != nil {
			return nil, err
		}
		if !m.Deleted && !m.ClosedTo(session) {
			found[id] = m
		}
	}
	return found, s.constraints.Fault(rows.Err())
}

type pgUUID = [16]byte

func scanAccess(row pgx.Row) (ids.Workspace, authz.Membership, error) {
	var id pgUUID
	var role string
	var m authz.Membership
	err := row.Scan(&id, &role, &m.Custom, &m.Deleted, &m.SecondFactorRequired)
	m.Role = authz.Role(role)
	return ids.FromUUID[ids.Workspace](id), m, err
}
