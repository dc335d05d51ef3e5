package team

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// MaxAttempts is how many wrong codes void the code of an invitation. Its link
// stays.
const MaxAttempts = 5

// InvitationState is what became of an invitation or a link.
type InvitationState string

// The states. Expired is not stored: it is Pending, once the time is over.
const (
	Pending  InvitationState = "pending"
	Accepted InvitationState = "accepted"
	Declined InvitationState = "declined"
	Revoked  InvitationState = "revoked"
	Expired  InvitationState = "expired"
)

// Invitation is that somebody is invited to a workspace.
type Invitation struct {
	bun.BaseModel `bun:"table:team.invitations,alias:i"`

	ID          ids.Invitation `bun:"id,pk"`
	WorkspaceID ids.Workspace
	Address     string
	AddressKey  string
	Role        authz.Role
	InviterID   ids.User
	// InviterServiceAccountID is the inviter, if that is no user.
	InviterServiceAccountID ids.ServiceAccount
	State                   InvitationState
	TokenHash               []byte
	CodeHash                []byte
	CodeAttempts            int
	UserID                  ids.User // who accepted it
	CreateTime              time.Time
	SendTime                time.Time
	ExpireTime              time.Time
	EndTime                 time.Time `bun:",nullzero"`
	RenewalTime             time.Time `bun:",nullzero"` // when a new one was asked for
}

// Email returns the invited address.
func (i *Invitation) Email() email.Address {
	return email.Address{Display: i.Address, Key: i.AddressKey}
}

// StateAt returns the state at a time.
func (i *Invitation) StateAt(now time.Time) InvitationState {
	if i.State == Pending && !now.Before(i.ExpireTime) {
		return Expired
	}
	return i.State
}

// invitationColumns are those of the table that the model has.
const invitationColumns = `i.id, i.workspace_id, i.address, i.address_key, i.role, i.inviter_id, i.inviter_service_account_id, i.state, i.token_hash, i.code_hash,
	i.code_attempts, i.user_id, i.create_time, i.send_time, i.expire_time, i.end_time, i.renewal_time`

// InsertInvitations stores new invitations.
func (r Repository) InsertInvitations(ctx context.Context, rows []*Invitation) error {
	_, err := r.db.NewInsert().Model(&rows).Exec(ctx)
	return err
}

// InvitationByToken returns the invitation of a token, or nil when there is none.
func (r Repository) InvitationByToken(ctx context.Context, token secret.Hash) (*Invitation, error) {
	return r.invitation(ctx, "", "i.token_hash = ?", token[:])
}

// Invitation returns an invitation, or nil when there is none.
func (r Repository) Invitation(ctx context.Context, id ids.Invitation) (*Invitation, error) {
	return r.invitation(ctx, "", "i.id = ?", id)
}

// LockInvitation returns an invitation of a workspace, locked until the
// transaction ends.
//
// Errors: fault NOT_FOUND.
func (r Repository) LockInvitation(ctx context.Context, workspace ids.Workspace, id ids.Invitation) (*Invitation, error) {
	i, err := r.invitation(ctx, "UPDATE", "i.workspace_id = ? AND i.id = ?", workspace, id)
	if err == nil && i == nil {
		err = fault.NotFoundFault()
	}
	return i, err
}

func (r Repository) invitation(ctx context.Context, lock, where string, args ...any) (*Invitation, error) {
	i := new(Invitation)
	q := r.db.NewSelect().Model(i).Where(where, args...)
	if lock != "" {
		q = q.For(lock)
	}
	return postgres.OrNil(i, q.Scan(ctx))
}

// LockPendingAt returns the newest invitations of an address that can be accepted,
// locked until the transaction ends.
func (r Repository) LockPendingAt(ctx context.Context, addressKey string, now time.Time, limit int) ([]Invitation, error) {
	var rows []Invitation
	err := r.db.NewSelect().Model(&rows).Where("i.address_key = ? AND i.state = 'pending' AND i.expire_time > ?", addressKey, now).
		OrderExpr("i.id DESC").Limit(int64(limit)).For("UPDATE").Scan(ctx)
	return rows, err
}

// CountInvitationAttempts counts a wrong code against invitations.
func (r Repository) CountInvitationAttempts(ctx context.Context, list []ids.Invitation) error {
	_, err := r.db.NewRaw("UPDATE team.invitations SET code_attempts = code_attempts + 1 WHERE id IN (SELECT unnest(?::uuid[]))",
		pgdialect.Array(ids.UUIDs(list))).Exec(ctx)
	return err
}

// UpdateInvitation stores what changed of a locked invitation.
func (r Repository) UpdateInvitation(ctx context.Context, i *Invitation) error {
	_, err := r.db.NewUpdate().Model(i).Column(
		"inviter_id", "inviter_service_account_id", "state", "token_hash", "code_hash", "code_attempts", "user_id", "send_time", "expire_time", "end_time", "renewal_time").
		WherePK().Exec(ctx)
	return err
}

// PendingAt returns the pending invitations of addresses to a workspace, those whose
// time is over among them.
func (r Repository) PendingAt(ctx context.Context, workspace ids.Workspace, addressKeys []string) ([]Invitation, error) {
	var rows []Invitation
	err := r.db.NewSelect().Model(&rows).
		Where("i.workspace_id = ? AND i.state = 'pending' AND i.address_key IN (SELECT unnest(?::text[]))", workspace, pgdialect.Array(addressKeys)).
		Scan(ctx)
	return rows, err
}

// RevokePendingAt revokes the pending invitations of addresses to a workspace.
func (r Repository) RevokePendingAt(ctx context.Context, workspace ids.Workspace, addressKeys []string, now time.Time) error {
	_, err := r.db.NewRaw(`
		UPDATE team.invitations SET state = 'revoked', end_time = ?
		WHERE workspace_id = ? AND state = 'pending' AND address_key IN (SELECT unnest(?::text[]))`,
		now, workspace, pgdialect.Array(addressKeys)).Exec(ctx)
	return err
}

// AcceptPendingAt marks the invitation of an address that can be accepted as
// accepted by a user, and returns it; zero when there is none.
func (r Repository) AcceptPendingAt(ctx context.Context, workspace ids.Workspace, addressKey string, user ids.User, now time.Time) (ids.Invitation, error) {
	var id ids.Invitation
	err := r.db.NewRaw(`
		UPDATE team.invitations SET state = 'accepted', end_time = ?0, user_id = ?1
		WHERE workspace_id = ?2 AND state = 'pending' AND address_key = ?3 AND expire_time > ?0
		RETURNING id`, now, user, workspace, addressKey).Scan(ctx, &id)
	if postgres.NotFound(err) {
		err = nil
	}
	return id, err
}

// Granted is an invitation or a link that somebody made and that can be used.
type Granted struct {
	ID   uuid.UUID
	Link bool
	Role authz.Role
}

// String returns the id in the form of the API.
func (g Granted) String() string {
	if g.Link {
		return ids.FromUUID[ids.InvitationLink](g.ID).String()
	}
	return ids.FromUUID[ids.Invitation](g.ID).String()
}

// GrantedBy returns the pending invitations and the links that a user made in a
// workspace.
func (r Repository) GrantedBy(ctx context.Context, workspace ids.Workspace, user ids.User) ([]Granted, error) {
	var rows []Granted
	err := r.db.NewRaw(`
		SELECT id, false AS link, role FROM team.invitations WHERE workspace_id = ?0 AND inviter_id = ?1 AND state = 'pending'
		UNION ALL
		SELECT id, true, role FROM team.invitation_links WHERE workspace_id = ?0 AND creator_id = ?1 AND revoke_time IS NULL`,
		workspace, user).Scan(ctx, &rows)
	return rows, err
}

// GrantedByServiceAccount returns the pending invitations and the links that a service
// account made in a workspace.
func (r Repository) GrantedByServiceAccount(ctx context.Context, workspace ids.Workspace, account ids.ServiceAccount) ([]Granted, error) {
	var rows []Granted
	err := r.db.NewRaw(`
		SELECT id, false AS link, role FROM team.invitations
		WHERE workspace_id = ?0 AND inviter_service_account_id = ?1 AND state = 'pending'
		UNION ALL
		SELECT id, true, role FROM team.invitation_links
		WHERE workspace_id = ?0 AND creator_service_account_id = ?1 AND revoke_time IS NULL`,
		workspace, account).Scan(ctx, &rows)
	return rows, err
}

// Revoke revokes invitations and links.
func (r Repository) Revoke(ctx context.Context, list []Granted, now time.Time) error {
	all := make([]string, len(list))
	for i := range list {
		all[i] = list[i].ID.String()
	}
	for _, statement := range []string{
		"UPDATE team.invitations SET state = 'revoked', end_time = ? WHERE state = 'pending' AND id IN (SELECT unnest(?::uuid[]))",
		"UPDATE team.invitation_links SET revoke_time = ? WHERE revoke_time IS NULL AND id IN (SELECT unnest(?::uuid[]))",
	} {
		if _, err := r.db.NewRaw(statement, now, pgdialect.Array(all)).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// ListInvitations returns a page of a workspace's invitations in a state, or in
// any, the newest first, and the next page's token.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (r Repository) ListInvitations(ctx context.Context, workspace ids.Workspace, state InvitationState, now time.Time, page postgres.Page) ([]Invitation, string, error) {
	var rows []Invitation
	q := r.db.NewSelect().Model(&rows).Where("i.workspace_id = ?", workspace)
	switch state {
	case "":
	case Pending:
		q = q.Where("i.state = 'pending' AND i.expire_time > ?", now)
	case Expired:
		q = q.Where("i.state = 'pending' AND i.expire_time <= ?", now)
	default:
		q = q.Where("i.state = ?", state)
	}
	next, err := postgres.NewestFirst(ctx, r.pager, q, "i.id", "invitations of "+workspace.String()+" "+string(state), page, &rows,
		func(i Invitation) uuid.UUID { return i.ID.UUID() })
	return rows, next, err
}

// Received is an invitation as the invited person sees it.
type Received struct {
	Invitation `bun:",extend"`

	WorkspaceName string `bun:",scanonly"`
	InviterName   string `bun:",scanonly"` // "" when they are gone
	RoleName      string `bun:",scanonly"` // "" for a built-in role
}

// ListReceived returns a page of the invitations that an address can accept, the
// newest first, and the next page's token.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (r Repository) ListReceived(ctx context.Context, addressKey string, now time.Time, page postgres.Page) ([]Received, string, error) {
	var rows []Received
	q := r.received(&rows).Where("i.address_key = ? AND i.state = 'pending' AND i.expire_time > ?", addressKey, now)
	next, err := postgres.NewestFirst(ctx, r.pager, q, "i.id", "invitations to "+addressKey, page, &rows,
		func(i Received) uuid.UUID { return i.ID.UUID() })
	return rows, next, err
}

// ReceivedByToken returns the invitation of a token, or nil when there is none, or
// its workspace is deleted.
func (r Repository) ReceivedByToken(ctx context.Context, token secret.Hash) (*Received, error) {
	i := new(Received)
	return postgres.OrNil(i, r.received(i).Where("i.token_hash = ?", token[:]).Scan(ctx))
}

func (r Repository) received(model any) *bun.SelectQuery {
	return r.db.NewSelect().Model(model).ModelTableExpr("team.invitations AS i").
		ColumnExpr(invitationColumns).
		ColumnExpr("d.name AS workspace_name, coalesce(p.display_name, s.display_name, '') AS inviter_name, coalesce(o.name, '') AS role_name").
		Join("JOIN tenant.directory AS d ON d.workspace_id = i.workspace_id AND d.delete_time IS NULL").
		Join("LEFT JOIN identity.profiles AS p ON p.user_id = i.inviter_id").
		Join("LEFT JOIN auth.programs AS s ON s.service_account_id = i.inviter_service_account_id").
		Join("LEFT JOIN team.roles AS o ON o.workspace_id = i.workspace_id AND o.id = i.role")
}

// DeleteEndedInvitations removes invitations and links that ended, or expired,
// before a time.
func (r Repository) DeleteEndedInvitations(ctx context.Context, before time.Time) error {
	for _, statement := range []string{
		"DELETE FROM team.invitations WHERE expire_time < ?0 OR end_time < ?0",
		"DELETE FROM team.invitation_links WHERE expire_time < ?0 OR revoke_time < ?0",
	} {
		if _, err := r.db.NewRaw(statement, before).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
