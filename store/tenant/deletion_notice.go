package tenant

import (
	"context"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// DeletionNotice is what the members of a workspace are told of its deletion, or then of
// its restoration, and how far that has come.
type DeletionNotice struct {
	bun.BaseModel `bun:"table:tenant.deletion_notices,alias:n"`

	WorkspaceID ids.Workspace `bun:",pk"`
	// Undeleted is whether they are told that the workspace was undeleted.
	Undeleted bool
	// Last is the last membership whose member was told, zero for none yet, and Until the
	// last one whose member is told of the restoration: of this one, or of the next one
	// where the workspace was deleted again before all knew of the one before.
	Last    ids.Membership `bun:"last_membership_id"`
	Until   ids.Membership `bun:"until_membership_id"`
	Pending bool           // whether somebody is still to be told
}

// BeginDeletionNotice has the members of a locked workspace told that it was deleted, from
// the first one on. Those who are still to be told of its restoration remain so, for when
// it is undeleted before they are told that it was deleted again.
func (r Repository) BeginDeletionNotice(ctx context.Context, workspace ids.Workspace) error {
	_, err := r.db.NewInsert().Model(&DeletionNotice{WorkspaceID: workspace, Pending: true}).
		On("CONFLICT (workspace_id) DO UPDATE SET undeleted = false, last_membership_id = NULL, pending = true").
		Exec(ctx)
	return err
}

// RevertDeletionNotice has those members of a locked workspace told that it was undeleted
// who were told of its deletion, and nobody else told of that.
func (r Repository) RevertDeletionNotice(ctx context.Context, workspace ids.Workspace) error {
	if _, err := r.db.NewRaw("DELETE FROM tenant.deletion_notices WHERE workspace_id = ? AND coalesce(last_membership_id, until_membership_id) IS NULL",
		workspace).Exec(ctx); err != nil {
		return err
	}
	_, err := r.db.NewRaw(`
		UPDATE tenant.deletion_notices
		SET undeleted = true, until_membership_id = greatest(last_membership_id, until_membership_id), last_membership_id = NULL, pending = true
		WHERE workspace_id = ?`, workspace).Exec(ctx)
	return err
}

// DeletionNotice returns that of a workspace, or nil.
func (r Repository) DeletionNotice(ctx context.Context, workspace ids.Workspace) (*DeletionNotice, error) {
	n := new(DeletionNotice)
	return postgres.OrNil(n, r.db.NewSelect().Model(n).Where("n.workspace_id = ?", workspace).Scan(ctx))
}

// UpdateDeletionNotice stores how far that of a locked workspace has come.
func (r Repository) UpdateDeletionNotice(ctx context.Context, n *DeletionNotice) error {
	_, err := r.db.NewUpdate().Model(n).Column("last_membership_id", "pending").WherePK().Exec(ctx)
	return err
}

// DeleteDeletionNotice removes that of a locked workspace.
func (r Repository) DeleteDeletionNotice(ctx context.Context, workspace ids.Workspace) error {
	_, err := r.db.NewDelete().Model((*DeletionNotice)(nil)).Where("workspace_id = ?", workspace).Exec(ctx)
	return err
}

// PendingDeletionNotices returns 100 workspaces at most of which somebody is still to be
// told something, after one in the order of their ids; the zero ID begins.
func (r Repository) PendingDeletionNotices(ctx context.Context, after ids.Workspace) ([]ids.Workspace, error) {
	var list []uuid.UUID
	err := r.db.NewSelect().Model((*DeletionNotice)(nil)).Column("workspace_id").
		Where("pending AND workspace_id > ?", after.UUID()).Order("workspace_id").Limit(100).Scan(ctx, &list)
	return ids.FromUUIDs[ids.Workspace](list), err
}
