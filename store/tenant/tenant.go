// Package tenant stores workspaces, in the schema tenant.
package tenant

import (
	"context"
	"crypto/rand"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/gosimple/slug"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// Constraints are the faults that violations of this schema mean.
var Constraints = postgres.Constraints{
	"workspaces_slug_unique": fault.New(fault.AlreadyExists, fault.SlugTaken, "slug: belongs to another workspace").WithField("slug"),
	"workspaces_create_request_unique": fault.New(fault.FailedPrecondition, fault.RequestIDReused,
		"request_id: was used before with another content").WithField("request_id"),
	"workspace_has_owner":   fault.New(fault.FailedPrecondition, fault.OwnerRequired, "the workspace would have no owner"),
	"domains_once":          ErrDomainTaken(),
	"domains_verified_once": ErrDomainTaken(),
}

// Repository reads and writes the schema through one connection, pool or
// transaction.
type Repository struct{ db bun.IDB }

// New returns a repository.
func New(db bun.IDB) Repository { return Repository{db} }

// Workspace is what a customer of the product signs up for.
type Workspace struct {
	bun.BaseModel `bun:"table:tenant.workspaces,alias:w"`

	ID                  ids.Workspace `bun:"id,pk"`
	Name                string
	Slug                string
	Version             int64
	CreateTime          time.Time
	UpdateTime          time.Time
	CreatorID           ids.User
	CreateRequestID     uuid.NullUUID
	CreateRequestDigest []byte
	DeleteTime          time.Time `bun:",nullzero"`
	PurgeTime           time.Time `bun:",nullzero"`
	DeleteETag          string    `bun:"delete_etag,nullzero"`
	// SecondFactorRequired is whether members must have proven a second factor in the
	// session by which they call.
	SecondFactorRequired bool
}

// Deleted reports whether the workspace is deleted, and waits to be purged.
func (w *Workspace) Deleted() bool { return !w.DeleteTime.IsZero() }

// Workspace returns a workspace, deleted or not.
//
// Errors: fault NOT_FOUND.
func (r Repository) Workspace(ctx context.Context, id ids.Workspace) (*Workspace, error) {
	return r.one(ctx, func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("w.id = ?", id) })
}

// LockWorkspace returns a workspace, deleted or not, and keeps others from
// changing it, its team and its deletion until the transaction ends.
//
// Errors: fault NOT_FOUND.
func (r Repository) LockWorkspace(ctx context.Context, id ids.Workspace) (*Workspace, error) {
	return r.one(ctx, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("w.id = ?", id).For("NO KEY UPDATE")
	})
}

// LockWorkspaceToPurge is LockWorkspace, and keeps others from adding rows that
// refer to it, too.
//
// Errors: fault NOT_FOUND.
func (r Repository) LockWorkspaceToPurge(ctx context.Context, id ids.Workspace) (*Workspace, error) {
	return r.one(ctx, func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("w.id = ?", id).For("UPDATE") })
}

// CreatedBy returns the workspace that a user's request created, or nil.
func (r Repository) CreatedBy(ctx context.Context, creator ids.User, request uuid.UUID) (*Workspace, error) {
	w, err := r.one(ctx, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("w.creator_id = ? AND w.create_request_id = ?", creator, request)
	})
	if fault.Has(err, fault.Missing) {
		return nil, nil
	}
	return w, err
}

func (r Repository) one(ctx context.Context, where func(*bun.SelectQuery) *bun.SelectQuery) (*Workspace, error) {
	w := new(Workspace)
	return postgres.OrMissing(w, where(r.db.NewSelect().Model(w)).Scan(ctx))
}

// Workspaces returns those of the ids that exist, in no order.
func (r Repository) Workspaces(ctx context.Context, list []ids.Workspace) ([]Workspace, error) {
	var rows []Workspace
	err := r.db.NewSelect().Model(&rows).Where("w.id IN (SELECT unnest(?::uuid[]))", pgdialect.Array(ids.UUIDs(list))).Scan(ctx)
	return rows, err
}

// Insert stores a new workspace.
//
// Without a slug it gets one from its name: with a random suffix when the plain
// one is taken, so that many workspaces of one name don't wait for each other.
// Errors: with a slug, fault SLUG_TAKEN when the transaction's errors are
// mapped.
func (r Repository) Insert(ctx context.Context, w *Workspace) error {
	if w.Slug != "" {
		_, err := r.db.NewInsert().Model(w).Exec(ctx)
		return err
	}
	w.Slug = SlugOf(w.Name)
	for range 8 {
		free, err := r.SlugFree(ctx, w.Slug)
		if err != nil {
			return err
		}
		if free {
			result, err := r.db.NewInsert().Model(w).On("CONFLICT (slug) DO NOTHING").Exec(ctx)
			if err != nil {
				return err
			}
			if n, err := result.RowsAffected(); err != nil || n == 1 {
				return err
			}
		}
		w.Slug = WithSuffix(SlugOf(w.Name))
	}
	return fault.New(fault.Aborted, fault.Conflict, "no free slug was found; try again")
}

// SlugFree reports whether no workspace has the slug.
func (r Repository) SlugFree(ctx context.Context, slug string) (bool, error) {
	taken, err := r.db.NewSelect().Model((*Workspace)(nil)).Where("slug = ?", slug).Exists(ctx)
	return !taken, err
}

const maxSlug = 63

// SlugOf makes a slug from a name: a–z, 0–9 and -, at most 63 characters.
func SlugOf(name string) string {
	s := strings.ReplaceAll(slug.Make(name), "_", "-")
	if len(s) > maxSlug {
		s = s[:maxSlug]
	}
	if s = strings.Trim(s, "-"); len(s) < 2 {
		s = strings.Trim("workspace-"+s, "-")
	}
	return s
}

// WithSuffix returns the slug with a random suffix.
func WithSuffix(s string) string {
	suffix := "-" + strings.ToLower(rand.Text()[:6])
	return strings.TrimRight(s[:min(len(s), maxSlug-len(suffix))], "-") + suffix
}

// Update stores a changed name, slug or policy. w is a locked workspace.
//
// Errors: fault SLUG_TAKEN when the transaction's errors are mapped.
func (r Repository) Update(ctx context.Context, w *Workspace, now time.Time) error {
	return r.touch(ctx, w, now)
}

// MarkDeleted begins the time in which the workspace can be undeleted. w is a
// locked workspace.
func (r Repository) MarkDeleted(ctx context.Context, w *Workspace, etag string, now, purge time.Time) error {
	w.DeleteTime, w.PurgeTime, w.DeleteETag = now, purge, etag
	return r.touch(ctx, w, now)
}

// MarkUndeleted ends it. w is a locked workspace.
func (r Repository) MarkUndeleted(ctx context.Context, w *Workspace, now time.Time) error {
	w.DeleteTime, w.PurgeTime, w.DeleteETag = time.Time{}, time.Time{}, ""
	return r.touch(ctx, w, now)
}

func (r Repository) touch(ctx context.Context, w *Workspace, now time.Time) error {
	w.Version++
	w.UpdateTime = now
	_, err := r.db.NewUpdate().Model(w).
		Column("name", "slug", "version", "update_time", "delete_time", "purge_time", "delete_etag", "second_factor_required").WherePK().Exec(ctx)
	return err
}

// Due returns 100 workspaces at most whose time to be purged has come, the longest due
// first, after as many as are skipped.
func (r Repository) Due(ctx context.Context, now time.Time, skip int) ([]ids.Workspace, error) {
	var list []uuid.UUID
	err := r.db.NewSelect().Model((*Workspace)(nil)).Column("id").
		Where("purge_time <= ?", now).Order("purge_time", "id").Limit(100).Offset(int64(skip)).Scan(ctx, &list)
	return ids.FromUUIDs[ids.Workspace](list), err
}

// Delete removes a workspace's row.
func (r Repository) Delete(ctx context.Context, id ids.Workspace) error {
	_, err := r.db.NewDelete().Model((*Workspace)(nil)).Where("id = ?", id).Exec(ctx)
	return err
}

// ForgetUsers removes users' ids from what they created.
func (r Repository) ForgetUsers(ctx context.Context, users []ids.User) error {
	_, err := r.db.NewRaw("UPDATE tenant.workspaces SET creator_id = NULL WHERE creator_id IN (SELECT unnest(?::uuid[]))",
		pgdialect.Array(ids.UUIDs(users))).Exec(ctx)
	return err
}
