// Package team stores who belongs to a workspace, in the schema team.
package team

import (
	"context"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// Repository reads and writes the schema through one connection, pool or
// transaction.
type Repository struct {
	db    bun.IDB
	pager *postgres.Pager
}

// New returns a repository.
func New(db bun.IDB, pager *postgres.Pager) Repository { return Repository{db, pager} }

// Membership is that a user belongs to a workspace, and as what.
type Membership struct {
	bun.BaseModel `bun:"table:team.memberships,alias:m"`

	ID          ids.Membership `bun:"id,pk"`
	WorkspaceID ids.Workspace
	UserID      ids.User
	Role        authz.Role
	CreateTime  time.Time
	UpdateTime  time.Time

	// Who the user is: read with the membership, from identity's view.
	DisplayName string `bun:",scanonly"`
	Address     string `bun:",scanonly"`
}

// Insert stores a new membership.
func (r Repository) Insert(ctx context.Context, m *Membership) error {
	_, err := r.db.NewInsert().Model(m).Exec(ctx)
	return err
}

func (r Repository) withProfile(model any) *bun.SelectQuery {
	return r.db.NewSelect().Model(model).
		ColumnExpr("m.*").
		ColumnExpr("p.display_name, coalesce(p.address, '') AS address").
		Join("JOIN identity.profiles AS p ON p.user_id = m.user_id")
}

// Membership returns a membership of a workspace.
//
// Errors: fault NOT_FOUND.
func (r Repository) Membership(ctx context.Context, workspace ids.Workspace, id ids.Membership) (*Membership, error) {
	return r.one(ctx, "m.workspace_id = ? AND m.id = ?", workspace, id)
}

// MembershipOf returns a user's membership of a workspace.
//
// Errors: fault NOT_FOUND.
func (r Repository) MembershipOf(ctx context.Context, workspace ids.Workspace, user ids.User) (*Membership, error) {
	return r.one(ctx, "m.workspace_id = ? AND m.user_id = ?", workspace, user)
}

func (r Repository) one(ctx context.Context, where string, args ...any) (*Membership, error) {
	m := new(Membership)
	if err := r.withProfile(m).Where(where, args...).Scan(ctx); err != nil {
		if postgres.NotFound(err) {
			return nil, fault.NotFoundFault()
		}
		return nil, err
	}
	return m, nil
}

// List returns a page of a workspace's memberships, the longest-standing first,
// and the next page's token.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (r Repository) List(ctx context.Context, workspace ids.Workspace, page postgres.Page) ([]Membership, string, error) {
	return r.page(ctx, "memberships of "+workspace.String(), page, "m.workspace_id = ?", workspace)
}

// ListOfUser returns a page of a user's memberships, the longest-standing first,
// and the next page's token. With deleted, those of deleted workspaces that the
// user owns and that are not due to be purged are among them.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (r Repository) ListOfUser(ctx context.Context, user ids.User, deleted bool, now time.Time, page postgres.Page) ([]Membership, string, error) {
	scope, live := "workspaces of "+user.String(), "d.delete_time IS NULL"
	if deleted {
		scope, live = scope+" with deleted", "(d.delete_time IS NULL OR m.role = 'owner' AND d.purge_time > ?)"
	}
	where := "m.user_id = ? AND EXISTS (SELECT 1 FROM tenant.directory d WHERE d.workspace_id = m.workspace_id AND " + live + ")"
	if deleted {
		return r.page(ctx, scope, page, where, user, now)
	}
	return r.page(ctx, scope, page, where, user)
}

func (r Repository) page(ctx context.Context, scope string, page postgres.Page, where string, args ...any) ([]Membership, string, error) {
	var rows []Membership
	q := r.withProfile(&rows).Where(where, args...).OrderExpr("m.id").Limit(int64(page.Limit()) + 1)
	var after struct{ ID string }
	if found, err := r.pager.Position(page, scope, &after); err != nil {
		return nil, "", err
	} else if found {
		q = q.Where("m.id > ?", after.ID)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, "", err
	}
	if len(rows) <= page.Limit() {
		return rows, "", nil
	}
	rows = rows[:page.Limit()]
	after.ID = rows[len(rows)-1].ID.UUID().String()
	return rows, r.pager.Token(scope, after), nil
}

// SetRole gives a membership another role.
func (r Repository) SetRole(ctx context.Context, m *Membership, role authz.Role, now time.Time) error {
	m.Role, m.UpdateTime = role, now
	_, err := r.db.NewUpdate().Model(m).Column("role", "update_time").WherePK().Exec(ctx)
	return err
}

// DeleteOfWorkspace removes all memberships of a workspace, and returns how many
// there were.
func (r Repository) DeleteOfWorkspace(ctx context.Context, workspace ids.Workspace) (int, error) {
	result, err := r.db.NewDelete().Model((*Membership)(nil)).Where("workspace_id = ?", workspace).Exec(ctx)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// DeleteOfUsers removes all memberships of users.
func (r Repository) DeleteOfUsers(ctx context.Context, users []ids.User) error {
	_, err := r.db.NewRaw("DELETE FROM team.memberships WHERE user_id IN (SELECT unnest(?::uuid[]))",
		pgdialect.Array(ids.UUIDs(users))).Exec(ctx)
	return err
}

// Owners returns the users who own a workspace.
func (r Repository) Owners(ctx context.Context, workspace ids.Workspace) ([]Membership, error) {
	var rows []Membership
	err := r.withProfile(&rows).Where("m.workspace_id = ? AND m.role = 'owner'", workspace).OrderExpr("m.id").Scan(ctx)
	return rows, err
}

// OfUser returns all memberships of a user, of live and deleted workspaces, in
// the order of the workspaces' ids.
func (r Repository) OfUser(ctx context.Context, user ids.User) ([]Membership, error) {
	var rows []Membership
	err := r.withProfile(&rows).Where("m.user_id = ?", user).OrderExpr("m.workspace_id").Scan(ctx)
	return rows, err
}
