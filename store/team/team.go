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

// Constraints are the faults that violations of this schema mean.
var Constraints = postgres.Constraints{
	"roles_name_unique": fault.New(fault.AlreadyExists, fault.RoleNameTaken, "name: the workspace has another role of that name").WithField("name"),
	"memberships_once":  fault.New(fault.AlreadyExists, fault.AlreadyMember, "the user belongs to the workspace already"),
}

// Membership is that a user belongs to a workspace, and as what.
type Membership struct {
	bun.BaseModel `bun:"table:team.memberships,alias:m"`

	ID             ids.Membership `bun:"id,pk"`
	WorkspaceID    ids.Workspace
	UserID         ids.User
	Role           authz.Role
	Version        int64
	CreateTime     time.Time
	UpdateTime     time.Time
	DeactivateTime time.Time `bun:",nullzero"`

	// Who the user is: read with the membership, from identity's view.
	DisplayName string `bun:",scanonly"`
	Address     string `bun:",scanonly"` // "" when there is none
	AddressKey  string `bun:"current_address_key,scanonly"`
}

// Active reports whether the member has access.
func (m *Membership) Active() bool { return m.DeactivateTime.IsZero() }

// Insert stores a new membership. Its DisplayName and AddressKey say who the user
// is.
func (r Repository) Insert(ctx context.Context, m *Membership) error {
	keys := KeysOf(m.WorkspaceID, m.DisplayName, m.AddressKey)
	_, err := r.db.NewInsert().Model(m).
		Value("name_key", "?", keys.Name).
		Value("address_key", "?", keys.Address).
		Value("terms", "array_to_tsvector(?::text[])", pgdialect.Array(keys.Terms)).
		Exec(ctx)
	return err
}

// Describe keeps what the memberships of a user are sorted and found by: it is
// called whenever the user's name or address changes.
func (r Repository) Describe(ctx context.Context, user ids.User, displayName, addressKey string) error {
	_, err := r.db.NewRaw(`
		UPDATE team.memberships
		SET name_key = ?0, address_key = ?1,
		    terms = array_to_tsvector(ARRAY(SELECT replace(workspace_id::text, '-', '') || '/' || t FROM unnest(?2::text[]) t))
		WHERE user_id = ?3`, fold(displayName), addressKey, pgdialect.Array(terms(displayName, addressKey)), user).Exec(ctx)
	return err
}

func (r Repository) withProfile(model any) *bun.SelectQuery {
	return r.db.NewSelect().Model(model).
		ColumnExpr("?TableColumns").
		ColumnExpr("p.display_name, coalesce(p.address, '') AS address, coalesce(p.address_key, '') AS current_address_key").
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
	return postgres.OrMissing(m, r.withProfile(m).Where(where, args...).Scan(ctx))
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
	where := "m.user_id = ? AND m.deactivate_time IS NULL AND EXISTS (SELECT 1 FROM tenant.directory d WHERE d.workspace_id = m.workspace_id AND " + live + ")"
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

// SetRole gives a locked membership another role.
//
// Errors: those of a role that the workspace does not have are the database's.
func (r Repository) SetRole(ctx context.Context, m *Membership, role authz.Role, now time.Time) error {
	m.Role = role
	return r.touch(ctx, m, now)
}

// Deactivate ends the access of a locked membership.
func (r Repository) Deactivate(ctx context.Context, m *Membership, now time.Time) error {
	m.DeactivateTime = now
	return r.touch(ctx, m, now)
}

// Reactivate gives it back.
func (r Repository) Reactivate(ctx context.Context, m *Membership, now time.Time) error {
	m.DeactivateTime = time.Time{}
	return r.touch(ctx, m, now)
}

func (r Repository) touch(ctx context.Context, m *Membership, now time.Time) error {
	m.Version++
	m.UpdateTime = now
	_, err := r.db.NewUpdate().Model(m).Column("role", "version", "update_time", "deactivate_time").WherePK().Exec(ctx)
	return err
}

// Delete removes a membership.
func (r Repository) Delete(ctx context.Context, id ids.Membership) error {
	_, err := r.db.NewDelete().Model((*Membership)(nil)).Where("id = ?", id).Exec(ctx)
	return err
}

// Seats returns how many active members a workspace has, and how many invitations
// that can still be accepted.
func (r Repository) Seats(ctx context.Context, workspace ids.Workspace, now time.Time) (active, pending int, err error) {
	err = r.db.NewRaw(`
		SELECT (SELECT count(*) FROM team.memberships WHERE workspace_id = ?0 AND deactivate_time IS NULL),
		       (SELECT count(*) FROM team.invitations WHERE workspace_id = ?0 AND state = 'pending' AND expire_time > ?1)`,
		workspace, now).Scan(ctx, &active, &pending)
	return active, pending, err
}

// MembersAt returns which of the addresses belong to members of a workspace, active
// or not.
func (r Repository) MembersAt(ctx context.Context, workspace ids.Workspace, addressKeys []string) (map[string]bool, error) {
	var found []string
	err := r.db.NewRaw("SELECT address_key FROM team.memberships WHERE workspace_id = ? AND address_key IN (SELECT unnest(?::text[]))",
		workspace, pgdialect.Array(addressKeys)).Scan(ctx, &found)
	return set(found), err
}

func set(list []string) map[string]bool {
	s := make(map[string]bool, len(list))
	for _, v := range list {
		s[v] = true
	}
	return s
}

// Memberships returns a user's memberships of those of the workspaces that they
// have, in no order.
func (r Repository) Memberships(ctx context.Context, user ids.User, workspaces []ids.Workspace) ([]Membership, error) {
	var rows []Membership
	err := r.db.NewSelect().Model(&rows).
		Where("m.user_id = ? AND m.workspace_id IN (SELECT unnest(?::uuid[]))", user, pgdialect.Array(ids.UUIDs(workspaces))).Scan(ctx)
	return rows, err
}

// DeleteOfWorkspace removes all that this schema has of a workspace, and returns
// how many memberships there were.
func (r Repository) DeleteOfWorkspace(ctx context.Context, workspace ids.Workspace) (int, error) {
	for _, table := range []string{"join_requests", "invitation_links", "invitations", "departures"} {
		if _, err := r.db.NewRaw("DELETE FROM team."+table+" WHERE workspace_id = ?", workspace).Exec(ctx); err != nil {
			return 0, err
		}
	}
	result, err := r.db.NewDelete().Model((*Membership)(nil)).Where("workspace_id = ?", workspace).Exec(ctx)
	if err != nil {
		return 0, err
	}
	if _, err := r.db.NewDelete().Model((*Role)(nil)).Where("workspace_id = ?", workspace).Exec(ctx); err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// DeleteOfUsers removes all that this schema has of users, and their names from
// what they made and is a workspace's.
func (r Repository) DeleteOfUsers(ctx context.Context, users []ids.User) error {
	// Two statements and not five, since to read a hundred thousand ids takes longer than
	// to find that next to nothing has them.
	for _, statement := range []string{`
		WITH gone AS MATERIALIZED (SELECT unnest(?::uuid[]) AS id),
		     ended AS (DELETE FROM team.memberships WHERE user_id IN (SELECT id FROM gone)),
		     asked AS (DELETE FROM team.join_requests WHERE user_id IN (SELECT id FROM gone))
		DELETE FROM team.invitations WHERE user_id IN (SELECT id FROM gone)`, `
		WITH gone AS MATERIALIZED (SELECT unnest(?::uuid[]) AS id),
		     invited AS (UPDATE team.invitations SET inviter_id = NULL WHERE inviter_id IN (SELECT id FROM gone))
		UPDATE team.invitation_links SET creator_id = NULL WHERE creator_id IN (SELECT id FROM gone)`,
	} {
		if _, err := r.db.NewRaw(statement, pgdialect.Array(ids.UUIDs(users))).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Owners returns the active owners of a workspace.
func (r Repository) Owners(ctx context.Context, workspace ids.Workspace) ([]Membership, error) {
	var rows []Membership
	err := r.withProfile(&rows).Where("m.workspace_id = ? AND m.role = 'owner' AND m.deactivate_time IS NULL", workspace).OrderExpr("m.id").Scan(ctx)
	return rows, err
}

// OfUser returns all memberships of a user, of live and deleted workspaces, in
// the order of the workspaces' ids.
func (r Repository) OfUser(ctx context.Context, user ids.User) ([]Membership, error) {
	var rows []Membership
	err := r.withProfile(&rows).Where("m.user_id = ?", user).OrderExpr("m.workspace_id").Scan(ctx)
	return rows, err
}
