package tenant

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
)

// HoldWorkspace returns a workspace, deleted or not, and keeps others from changing
// it, its team and its deletion until the transaction ends. Any number may hold it.
//
// Errors: fault NOT_FOUND.
func (r Repository) HoldWorkspace(ctx context.Context, id ids.Workspace) (*Workspace, error) {
	return r.one(ctx, func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("w.id = ?", id).For("SHARE") })
}
