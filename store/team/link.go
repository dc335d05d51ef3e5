package team

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// Link is an invitation that several people can join by.
type Link struct {
	bun.BaseModel `bun:"table:team.invitation_links,alias:l"`

	ID          ids.InvitationLink `bun:"id,pk"`
	WorkspaceID ids.Workspace
	Role        authz.Role
	CreatorID   ids.User
	// CreatorServiceAccountID is who made it, if that is no user.
	CreatorServiceAccountID ids.ServiceAccount
	TokenHash               []byte
	Domains                 []string `bun:",array"` // of the addresses that it is for; none for all
	MaxUses                 int      // 0 for any number
	UseCount                int
	CreateTime              time.Time
	ExpireTime              time.Time
	RevokeTime              time.Time `bun:",nullzero"`
}

// StateAt returns the state at a time.
func (l *Link) StateAt(now time.Time) InvitationState {
	switch {
	case !l.RevokeTime.IsZero():
		return Revoked
	case l.MaxUses > 0 && l.UseCount >= l.MaxUses:
		return Accepted
	case !now.Before(l.ExpireTime):
		return Expired
	}
	return Pending
}

// Fits reports whether the link is for an address, by its key.
func (l *Link) Fits(addressKey string) bool {
	return len(l.Domains) == 0 || slices.Contains(l.Domains, addressKey[strings.LastIndexByte(addressKey, '@')+1:])
}

const linkColumns = `l.id, l.workspace_id, l.role, l.creator_id, l.creator_service_account_id, l.token_hash, l.domains, l.max_uses, l.use_count,
	l.create_time, l.expire_time, l.revoke_time`

// InsertLink stores a new link.
func (r Repository) InsertLink(ctx context.Context, l *Link) error {
	_, err := r.db.NewInsert().Model(l).Exec(ctx)
	return err
}

// LinkByToken returns the link of a token, or nil when there is none.
func (r Repository) LinkByToken(ctx context.Context, token secret.Hash) (*Link, error) {
	return r.link(ctx, "", "l.token_hash = ?", token[:])
}

// Link returns a link, or nil when there is none.
func (r Repository) Link(ctx context.Context, id ids.InvitationLink) (*Link, error) {
	return r.link(ctx, "", "l.id = ?", id)
}

// LockLink returns a link of a workspace, locked until the transaction ends.
//
// Errors: fault NOT_FOUND.
func (r Repository) LockLink(ctx context.Context, workspace ids.Workspace, id ids.InvitationLink) (*Link, error) {
	l, err := r.link(ctx, "UPDATE", "l.workspace_id = ? AND l.id = ?", workspace, id)
	if err == nil && l == nil {
		err = fault.NotFoundFault()
	}
	return l, err
}

func (r Repository) link(ctx context.Context, lock, where string, args ...any) (*Link, error) {
	l := new(Link)
	q := r.db.NewSelect().Model(l).Where(where, args...)
	if lock != "" {
		q = q.For(lock)
	}
	return postgres.OrNil(l, q.Scan(ctx))
}

// CountLinks returns how many links of a workspace can be used.
func (r Repository) CountLinks(ctx context.Context, workspace ids.Workspace, now time.Time) (int, error) {
	var n int
	err := r.db.NewRaw(`
		SELECT count(*) FROM team.invitation_links
		WHERE workspace_id = ? AND revoke_time IS NULL AND expire_time > ? AND (max_uses = 0 OR use_count < max_uses)`, workspace, now).Scan(ctx, &n)
	return n, err
}

// UpdateLink stores what changed of a locked link.
func (r Repository) UpdateLink(ctx context.Context, l *Link) error {
	_, err := r.db.NewUpdate().Model(l).Column("use_count", "revoke_time").WherePK().Exec(ctx)
	return err
}

// ListLinks returns a page of a workspace's links, the newest first, and the next
// page's token.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (r Repository) ListLinks(ctx context.Context, workspace ids.Workspace, page postgres.Page) ([]Link, string, error) {
	var rows []Link
	q := r.db.NewSelect().Model(&rows).Where("l.workspace_id = ?", workspace)
	next, err := postgres.NewestFirst(ctx, r.pager, q, "l.id", "links of "+workspace.String(), page, &rows,
		func(l Link) uuid.UUID { return l.ID.UUID() })
	return rows, next, err
}

// ReceivedLink is a link as who holds it sees it.
type ReceivedLink struct {
	Link `bun:",extend"`

	WorkspaceName string `bun:",scanonly"`
	CreatorName   string `bun:",scanonly"` // "" when they are gone
	RoleName      string `bun:",scanonly"` // "" for a built-in role
}

// ReceivedLinkByToken returns the link of a token, or nil when there is none, or its
// workspace is deleted.
func (r Repository) ReceivedLinkByToken(ctx context.Context, token secret.Hash) (*ReceivedLink, error) {
	l := new(ReceivedLink)
	return postgres.OrNil(l, r.db.NewSelect().Model(l).ModelTableExpr("team.invitation_links AS l").
		ColumnExpr(linkColumns).
		ColumnExpr("d.name AS workspace_name, coalesce(p.display_name, s.display_name, '') AS creator_name, coalesce(o.name, '') AS role_name").
		Join("JOIN tenant.directory AS d ON d.workspace_id = l.workspace_id AND d.delete_time IS NULL").
		Join("LEFT JOIN identity.profiles AS p ON p.user_id = l.creator_id").
		Join("LEFT JOIN auth.programs AS s ON s.service_account_id = l.creator_service_account_id").
		Join("LEFT JOIN team.roles AS o ON o.workspace_id = l.workspace_id AND o.id = l.role").
		Where("l.token_hash = ?", token[:]).Scan(ctx))
}
