package team

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// JoinRequestState is what became of a request to join.
type JoinRequestState string

// The states.
const (
	JoinPending  JoinRequestState = "pending"
	JoinApproved JoinRequestState = "approved"
	JoinRejected JoinRequestState = "rejected"
)

// JoinRequest is that a user asks to join a workspace.
type JoinRequest struct {
	bun.BaseModel `bun:"table:team.join_requests,alias:j"`

	ID          ids.JoinRequest `bun:"id,pk"`
	WorkspaceID ids.Workspace
	UserID      ids.User
	Message     string
	State       JoinRequestState
	CreateTime  time.Time
	DecideTime  time.Time `bun:",nullzero"`

	// Who the user is: read with the request, from identity's view.
	DisplayName string `bun:",scanonly"`
	Address     string `bun:",scanonly"`
}

// InsertJoinRequest stores a new request.
func (r Repository) InsertJoinRequest(ctx context.Context, j *JoinRequest) error {
	_, err := r.db.NewInsert().Model(j).Exec(ctx)
	return err
}

func (r Repository) joinRequests(model any) *bun.SelectQuery {
	return r.db.NewSelect().Model(model).
		ColumnExpr("?TableColumns").
		ColumnExpr("p.display_name, coalesce(p.address, '') AS address").
		Join("JOIN identity.profiles AS p ON p.user_id = j.user_id")
}

// JoinRequest returns a request of a workspace.
//
// Errors: fault NOT_FOUND.
func (r Repository) JoinRequest(ctx context.Context, workspace ids.Workspace, id ids.JoinRequest) (*JoinRequest, error) {
	j := new(JoinRequest)
	return postgres.OrMissing(j, r.joinRequests(j).Where("j.workspace_id = ? AND j.id = ?", workspace, id).Scan(ctx))
}

// JoinRequestsOf returns a user's requests that are pending, or were rejected after
// a time, the newest first.
func (r Repository) JoinRequestsOf(ctx context.Context, user ids.User, rejectedAfter time.Time) ([]JoinRequest, error) {
	var rows []JoinRequest
	err := r.joinRequests(&rows).
		Where("j.user_id = ? AND (j.state = 'pending' OR j.state = 'rejected' AND j.decide_time > ?)", user, rejectedAfter).
		OrderExpr("j.id DESC").Scan(ctx)
	return rows, err
}

// ListJoinRequests returns a page of a workspace's requests in a state, or in any,
// the newest first, and the next page's token.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (r Repository) ListJoinRequests(ctx context.Context, workspace ids.Workspace, state JoinRequestState, page postgres.Page) ([]JoinRequest, string, error) {
	var rows []JoinRequest
	q := r.joinRequests(&rows).Where("j.workspace_id = ?", workspace)
	if state != "" {
		q = q.Where("j.state = ?", state)
	}
	next, err := postgres.NewestFirst(ctx, r.pager, q, "j.id", "join requests of "+workspace.String()+" "+string(state), page, &rows,
		func(j JoinRequest) uuid.UUID { return j.ID.UUID() })
	return rows, next, err
}

// DecideJoinRequest stores the decision on a request.
func (r Repository) DecideJoinRequest(ctx context.Context, j *JoinRequest, state JoinRequestState, now time.Time) error {
	j.State, j.DecideTime = state, now
	_, err := r.db.NewUpdate().Model(j).Column("state", "decide_time").WherePK().Exec(ctx)
	return err
}

// ApproveJoinRequestOf marks a user's pending request as approved, and returns it; zero
// when there is none.
func (r Repository) ApproveJoinRequestOf(ctx context.Context, workspace ids.Workspace, user ids.User, now time.Time) (ids.JoinRequest, error) {
	var id ids.JoinRequest
	err := r.db.NewRaw(`
		UPDATE team.join_requests SET state = 'approved', decide_time = ? WHERE workspace_id = ? AND user_id = ? AND state = 'pending'
		RETURNING id`, now, workspace, user).Scan(ctx, &id)
	if postgres.NotFound(err) {
		err = nil
	}
	return id, err
}

// DeleteDecidedJoinRequests removes requests that were decided before a time.
func (r Repository) DeleteDecidedJoinRequests(ctx context.Context, before time.Time) error {
	_, err := r.db.NewRaw("DELETE FROM team.join_requests WHERE decide_time < ?", before).Exec(ctx)
	return err
}

// RecordDeparture records that somebody was removed from a workspace, or left it.
// The hash is one of their address.
func (r Repository) RecordDeparture(ctx context.Context, workspace ids.Workspace, address secret.Hash, removed bool, now time.Time) error {
	_, err := r.db.NewRaw(`
		INSERT INTO team.departures AS d (workspace_id, address_hash, removed, create_time) VALUES (?, ?, ?, ?)
		ON CONFLICT (workspace_id, address_hash) DO UPDATE SET removed = d.removed OR EXCLUDED.removed`,
		workspace, address[:], removed, now).Exec(ctx)
	return err
}

// ForgetDeparture removes that record: they were let in again.
func (r Repository) ForgetDeparture(ctx context.Context, workspace ids.Workspace, address secret.Hash) error {
	_, err := r.db.NewRaw("DELETE FROM team.departures WHERE workspace_id = ? AND address_hash = ?", workspace, address[:]).Exec(ctx)
	return err
}

// Departed reports whether there is such a record.
func (r Repository) Departed(ctx context.Context, workspace ids.Workspace, address secret.Hash) (bool, error) {
	var found bool
	err := r.db.NewRaw("SELECT EXISTS (SELECT 1 FROM team.departures WHERE workspace_id = ? AND address_hash = ?)", workspace, address[:]).
		Scan(ctx, &found)
	return found, err
}

// Removed reports whether there is such a record, of somebody who was removed.
func (r Repository) Removed(ctx context.Context, workspace ids.Workspace, address secret.Hash) (bool, error) {
	var found bool
	err := r.db.NewRaw("SELECT EXISTS (SELECT 1 FROM team.departures WHERE workspace_id = ? AND address_hash = ? AND removed)", workspace, address[:]).
		Scan(ctx, &found)
	return found, err
}
