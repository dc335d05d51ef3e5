package team

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// Role is a custom role of a workspace.
type Role struct {
	bun.BaseModel `bun:"table:team.roles,alias:r"`

	WorkspaceID ids.Workspace `bun:"workspace_id,pk"`
	ID          authz.Role    `bun:"id,pk"`
	Name        string
	NameKey     string // set when it is stored
	Description string
	Permissions []string `bun:",array"`
	Version     int64
	CreateTime  time.Time
	UpdateTime  time.Time
}

// Permissions returns the permissions that a custom role names; none for a
// built-in role, which holds its own.
//
// Errors: fault NOT_FOUND for a role that the workspace does not have.
func (r Repository) Permissions(ctx context.Context, workspace ids.Workspace, role authz.Role) ([]string, error) {
	if role.AtLeast(authz.Viewer) {
		return nil, nil
	}
	found, err := r.Role(ctx, workspace, role)
	if err != nil {
		return nil, err
	}
	return found.Permissions, nil
}

// Role returns a custom role.
//
// Errors: fault NOT_FOUND.
func (r Repository) Role(ctx context.Context, workspace ids.Workspace, id authz.Role) (*Role, error) {
	role := new(Role)
	return postgres.OrMissing(role, r.db.NewSelect().Model(role).Where("workspace_id = ? AND id = ?", workspace, id).Scan(ctx))
}

// Roles returns the custom roles of a workspace, by name.
func (r Repository) Roles(ctx context.Context, workspace ids.Workspace) ([]Role, error) {
	var rows []Role
	err := r.db.NewSelect().Model(&rows).Where("workspace_id = ?", workspace).Order("name_key", "id").Scan(ctx)
	return rows, err
}

// RolesOf returns the custom roles with which a user belongs to some of the
// workspaces.
func (r Repository) RolesOf(ctx context.Context, user ids.User, workspaces []ids.Workspace) ([]Role, error) {
	var rows []Role
	err := r.db.NewSelect().Model(&rows).
		Join("JOIN team.memberships AS m ON m.workspace_id = r.workspace_id AND m.role = r.id").
		Where("m.user_id = ? AND m.workspace_id IN (SELECT unnest(?::uuid[]))", user, pgdialect.Array(ids.UUIDs(workspaces))).Scan(ctx)
	return rows, err
}

// InsertRole stores a new role.
//
// Errors: fault ROLE_NAME_TAKEN when the transaction's errors are mapped.
func (r Repository) InsertRole(ctx context.Context, role *Role) error {
	role.NameKey = fold(role.Name)
	_, err := r.db.NewInsert().Model(role).Exec(ctx)
	return err
}

// UpdateRole stores what was changed of a role.
//
// Errors: fault ROLE_NAME_TAKEN when the transaction's errors are mapped.
func (r Repository) UpdateRole(ctx context.Context, role *Role, now time.Time) error {
	role.NameKey, role.UpdateTime = fold(role.Name), now
	role.Version++
	_, err := r.db.NewUpdate().Model(role).
		Column("name", "name_key", "description", "permissions", "version", "update_time").WherePK().Exec(ctx)
	return err
}

// RoleInUse reports whether a member, a pending invitation or a link has a custom
// role.
func (r Repository) RoleInUse(ctx context.Context, workspace ids.Workspace, id authz.Role) (bool, error) {
	var used bool
	err := r.db.NewRaw(`
		SELECT EXISTS (SELECT 1 FROM team.memberships WHERE workspace_id = ?0 AND role = ?1)
		    OR EXISTS (SELECT 1 FROM team.invitations WHERE workspace_id = ?0 AND role = ?1 AND state = 'pending')
		    OR EXISTS (SELECT 1 FROM team.invitation_links WHERE workspace_id = ?0 AND role = ?1 AND revoke_time IS NULL)`,
		workspace, id).Scan(ctx, &used)
	return used, err
}

// ReplaceRole gives all that have a custom role another one, and returns how many
// members were among them.
func (r Repository) ReplaceRole(ctx context.Context, workspace ids.Workspace, id, replacement authz.Role, now time.Time) (int, error) {
	for _, table := range []string{"invitations", "invitation_links"} {
		if _, err := r.db.NewRaw("UPDATE team."+table+" SET role = ? WHERE workspace_id = ? AND role = ?", replacement, workspace, id).
			Exec(ctx); err != nil {
			return 0, err
		}
	}
	result, err := r.db.NewRaw(`
		UPDATE team.memberships SET role = ?, version = version + 1, update_time = ? WHERE workspace_id = ? AND role = ?`,
		replacement, now, workspace, id).Exec(ctx)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// DeleteRole removes a role that nothing has any more.
func (r Repository) DeleteRole(ctx context.Context, workspace ids.Workspace, id authz.Role) error {
	_, err := r.db.NewDelete().Model((*Role)(nil)).Where("workspace_id = ? AND id = ?", workspace, id).Exec(ctx)
	return err
}

// Granters returns the members who made invitations that are pending, or links, but
// for owners and admins: they may give whatever a custom role holds.
func (r Repository) Granters(ctx context.Context, workspace ids.Workspace) ([]Membership, error) {
	var rows []Membership
	err := r.withProfile(&rows).
		Where(`m.workspace_id = ?0 AND m.role NOT IN ('owner', 'admin') AND m.user_id IN (
			SELECT inviter_id FROM team.invitations WHERE workspace_id = ?0 AND state = 'pending'
			UNION
			SELECT creator_id FROM team.invitation_links WHERE workspace_id = ?0 AND revoke_time IS NULL)`, workspace).
		OrderExpr("m.id").Scan(ctx)
	return rows, err
}

// ServiceAccountGranters returns the service accounts that made invitations that are
// pending, or links.
func (r Repository) ServiceAccountGranters(ctx context.Context, workspace ids.Workspace) ([]ids.ServiceAccount, error) {
	var list []uuid.UUID
	err := r.db.NewRaw(`
		SELECT inviter_service_account_id FROM team.invitations
		WHERE workspace_id = ?0 AND state = 'pending' AND inviter_service_account_id IS NOT NULL
		UNION
		SELECT creator_service_account_id FROM team.invitation_links
		WHERE workspace_id = ?0 AND revoke_time IS NULL AND creator_service_account_id IS NOT NULL
		ORDER BY 1`, workspace).Scan(ctx, &list)
	return ids.FromUUIDs[ids.ServiceAccount](list), err
}
