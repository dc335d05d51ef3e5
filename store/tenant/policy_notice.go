package tenant

import (
	"context"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// PolicyNotice is how far it has come that the members of a workspace are told that it
// requires a second factor. There is none once all of them were.
type PolicyNotice struct {
	bun.BaseModel `bun:"table:tenant.policy_notices,alias:n"`

	WorkspaceID ids.Workspace  `bun:",pk"`
	Last        ids.Membership `bun:"last_membership_id"` // whose member was told last; zero for nobody yet
}

// BeginPolicyNotice has the members of a locked workspace told, from the first one on.
func (r Repository) BeginPolicyNotice(ctx context.Context, workspace ids.Workspace) error {
	_, err := r.db.NewInsert().Model(&PolicyNotice{WorkspaceID: workspace}).
		On("CONFLICT (workspace_id) DO UPDATE SET last_membership_id = NULL").Exec(ctx)
	return err
}

// PolicyNotice returns that of a workspace, or nil.
func (r Repository) PolicyNotice(ctx context.Context, workspace ids.Workspace) (*PolicyNotice, error) {
	n := new(PolicyNotice)
	return postgres.OrNil(n, r.db.NewSelect().Model(n).Where("n.workspace_id = ?", workspace).Scan(ctx))
}

// UpdatePolicyNotice stores how far that of a locked workspace has come.
func (r Repository) UpdatePolicyNotice(ctx context.Context, n *PolicyNotice) error {
	_, err := r.db.NewUpdate().Model(n).Column("last_membership_id").WherePK().Exec(ctx)
	return err
}

// DeletePolicyNotice removes that of a locked workspace.
func (r Repository) DeletePolicyNotice(ctx context.Context, workspace ids.Workspace) error {
	_, err := r.db.NewDelete().Model((*PolicyNotice)(nil)).Where("workspace_id = ?", workspace).Exec(ctx)
	return err
}

// PolicyNotices returns 100 workspaces at most that have one, after one in the order
// of their ids; the zero ID begins.
func (r Repository) PolicyNotices(ctx context.Context, after ids.Workspace) ([]ids.Workspace, error) {
	var list []uuid.UUID
	err := r.db.NewSelect().Model((*PolicyNotice)(nil)).Column("workspace_id").Where("workspace_id > ?", after.UUID()).
		Order("workspace_id").Limit(100).Scan(ctx, &list)
	return ids.FromUUIDs[ids.Workspace](list), err
}
