package team

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/ids"
)

// Deletion is what the purge of a workspace would do to its members.
type Deletion struct {
	Memberships    int    // how many memberships end
	DeletedUsers   int    // how many users belong to no other workspace
	RemainingUsers int    // how many users belong to another one
	ETag           string // names the set: who belongs, and who of them to nothing else
}

// sole is whether a membership m is the only one of its user. A deleted
// workspace counts until it is purged, since it can be undeleted.
const sole = "NOT EXISTS (SELECT 1 FROM team.memberships o WHERE o.user_id = m.user_id AND o.workspace_id <> m.workspace_id)"

// Deletion returns what the purge of a workspace would do.
func (r Repository) Deletion(ctx context.Context, workspace ids.Workspace) (Deletion, error) {
	var d Deletion
	err := r.db.NewRaw(`
		SELECT count(*), count(*) FILTER (WHERE sole), count(*) FILTER (WHERE NOT sole),
		       encode(sha256(convert_to(coalesce(string_agg(id::text || role || active::text || sole::text, ',' ORDER BY id), ''), 'UTF8')), 'hex')
		FROM (SELECT m.id, m.role, m.deactivate_time IS NULL AS active, `+sole+` AS sole FROM team.memberships m WHERE m.workspace_id = ?) members`, workspace).
		Scan(ctx, &d.Memberships, &d.DeletedUsers, &d.RemainingUsers, &d.ETag)
	return d, err
}

// Ends is how much else of a team ends with its workspace.
type Ends struct {
	Invitations  int // that can still be accepted
	Links        int // that can still be joined by
	Roles        int
	JoinRequests int // that nobody has decided
}

// Ends returns what else ends with a workspace.
func (r Repository) Ends(ctx context.Context, workspace ids.Workspace, now time.Time) (Ends, error) {
	var e Ends
	err := r.db.NewRaw(`
		SELECT (SELECT count(*) FROM team.invitations WHERE workspace_id = ?0 AND state = 'pending' AND expire_time > ?1),
		       (SELECT count(*) FROM team.invitation_links
		        WHERE workspace_id = ?0 AND revoke_time IS NULL AND expire_time > ?1 AND (max_uses = 0 OR use_count < max_uses)),
		       (SELECT count(*) FROM team.roles WHERE workspace_id = ?0),
		       (SELECT count(*) FROM team.join_requests WHERE workspace_id = ?0 AND state = 'pending')`, workspace, now).
		Scan(ctx, &e.Invitations, &e.Links, &e.Roles, &e.JoinRequests)
	return e, err
}

// Recipient is a member who is told by mail what becomes of a workspace.
type Recipient struct {
	MembershipID ids.Membership
	Address      string
	Active       bool
	Sole         bool // whether they belong to no other workspace, and lose their account with it
}

// Recipients returns a number of those who are told what becomes of a workspace, in the
// order of their memberships' ids, after one and up to one; the zero ID stands for no bound.
//
// Only proven addresses are: another may be somebody else's. A deactivated member, who has
// no access that could end, is one only if the account is at stake.
func (r Repository) Recipients(ctx context.Context, workspace ids.Workspace, after, until ids.Membership, limit int) ([]Recipient, error) {
	var rows []Recipient
	err := r.db.NewRaw(`
		SELECT m.id AS membership_id, p.address, m.deactivate_time IS NULL AS active, `+sole+` AS sole
		FROM team.memberships m
		JOIN identity.profiles p ON p.user_id = m.user_id
		WHERE m.workspace_id = ?0 AND m.id > ?1 AND (?2::uuid IS NULL OR m.id <= ?2) AND p.email_verified
		  AND (m.deactivate_time IS NULL OR `+sole+`)
		ORDER BY m.id LIMIT ?3`, workspace, after.UUID(), until, limit).Scan(ctx, &rows)
	return rows, err
}

// Members returns the users who belong to a workspace.
func (r Repository) Members(ctx context.Context, workspace ids.Workspace) ([]ids.User, error) {
	var list []uuid.UUID
	err := r.db.NewRaw("SELECT m.user_id FROM team.memberships m WHERE m.workspace_id = ?", workspace).Scan(ctx, &list)
	return ids.FromUUIDs[ids.User](list), err
}

// SoleMembers returns the users who belong to this workspace and to no other.
func (r Repository) SoleMembers(ctx context.Context, workspace ids.Workspace) ([]ids.User, error) {
	var list []uuid.UUID
	err := r.db.NewRaw("SELECT m.user_id FROM team.memberships m WHERE m.workspace_id = ? AND "+sole+" ORDER BY m.user_id", workspace).
		Scan(ctx, &list)
	return ids.FromUUIDs[ids.User](list), err
}

// FirstMembers returns the first members whose users would be deleted with the
// workspace (or would not), the longest-standing first.
func (r Repository) FirstMembers(ctx context.Context, workspace ids.Workspace, deleted bool, limit int64) ([]Membership, error) {
	var rows []Membership
	err := r.withProfile(&rows).Where("m.workspace_id = ?", workspace).Where("("+sole+") = ?", deleted).
		OrderExpr("m.id").Limit(limit).Scan(ctx)
	return rows, err
}

// First returns the first members, the longest-standing first.
func (r Repository) First(ctx context.Context, workspace ids.Workspace, limit int64) ([]Membership, error) {
	var rows []Membership
	err := r.withProfile(&rows).Where("m.workspace_id = ?", workspace).OrderExpr("m.id").Limit(limit).Scan(ctx)
	return rows, err
}

// SoleOwned is a live workspace that has one owner.
type SoleOwned struct {
	WorkspaceID   ids.Workspace
	WorkspaceName string
	OtherMembers  int
	DeletedUsers  int // of the others
}

// SoleOwnedBy returns the live workspaces of which a user is the only owner, in
// the order of their ids.
func (r Repository) SoleOwnedBy(ctx context.Context, user ids.User) ([]SoleOwned, error) {
	var rows []SoleOwned
	err := r.db.NewRaw(`
		SELECT d.workspace_id, d.name AS workspace_name,
		       (SELECT count(*) FROM team.memberships o WHERE o.workspace_id = d.workspace_id AND o.user_id <> ?0) AS other_members,
		       (SELECT count(*) FROM team.memberships m WHERE m.workspace_id = d.workspace_id AND m.user_id <> ?0 AND `+sole+`) AS deleted_users
		FROM team.memberships mine
		JOIN tenant.directory d ON d.workspace_id = mine.workspace_id
		WHERE mine.user_id = ?0 AND mine.role = 'owner' AND mine.deactivate_time IS NULL AND d.delete_time IS NULL
		  AND NOT EXISTS (SELECT 1 FROM team.memberships o
		                  WHERE o.workspace_id = d.workspace_id AND o.role = 'owner' AND o.deactivate_time IS NULL AND o.user_id <> ?0)
		ORDER BY d.workspace_id`, user).Scan(ctx, &rows)
	return rows, err
}

// AloneIn returns the live workspaces whose only active member is the user, in
// the order of their ids.
func (r Repository) AloneIn(ctx context.Context, user ids.User) ([]ids.Workspace, error) {
	var list []uuid.UUID
	err := r.db.NewRaw(`
		SELECT mine.workspace_id
		FROM team.roster mine
		WHERE mine.user_id = ?0 AND mine.live
		  AND NOT EXISTS (SELECT 1 FROM team.memberships o
		                  WHERE o.workspace_id = mine.workspace_id AND o.user_id <> ?0 AND o.deactivate_time IS NULL)
		ORDER BY mine.workspace_id`, user).Scan(ctx, &list)
	return ids.FromUUIDs[ids.Workspace](list), err
}
