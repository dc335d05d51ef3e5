// Package audit stores the event log, in the schema audit.
package audit

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

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

// ActorKind is what kind of actor made a change.
type ActorKind string

// The kinds of actors.
const (
	User           ActorKind = "user"
	System         ActorKind = "system"
	ServiceAccount ActorKind = "service_account"
	Operator       ActorKind = "operator" // by the command line
)

// Event is one change that was made.
type Event struct {
	bun.BaseModel `bun:"table:audit.events,alias:e"`

	ID          ids.Event     `bun:"id,pk"`
	Tx          string        `bun:"tx,scanonly"`
	WorkspaceID ids.Workspace // of a workspace's log
	UserID      ids.User      // of an account's log
	ActorKind   ActorKind
	ActorUserID ids.User
	// ActorServiceAccountID and ActorAPIKeyID tell of an actor who is a program.
	ActorServiceAccountID ids.ServiceAccount
	ActorAPIKeyID         ids.APIKey
	// ImpersonatorID is the operator who acted in the user's name.
	ImpersonatorID ids.User
	// ClientAddress and UserAgent tell from where an event of an account was caused.
	ClientAddress string
	UserAgent     string
	Action        string
	TargetID      string
	// Details hold no secret, and no personal data but ids.
	Details    map[string]any `bun:"type:jsonb"`
	CreateTime time.Time
}

// Insert stores events.
func (r Repository) Insert(ctx context.Context, events ...*Event) error {
	for _, e := range events {
		if e.Details == nil {
			e.Details = map[string]any{}
		}
	}
	_, err := r.db.NewInsert().Model(&events).Exec(ctx)
	return err
}

// Filter says which events are asked for.
type Filter struct {
	WorkspaceID ids.Workspace // the workspace, or else
	UserID      ids.User      // the account
	Action      string        // only this action, if set
	Except      string        // not this action, if set
	Actor       uuid.NullUUID // only what this user or service account did, if set
	From, To    time.Time     // only from the one on, and before the other, if set
	OldestFirst bool
}

// List returns a page of events and the next page's token. An event is there
// once every transaction older than its own has ended. Oldest first, there is
// always a token, which later lists what came since.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (r Repository) List(ctx context.Context, f Filter, page postgres.Page) ([]Event, string, error) {
	var rows []Event
	q := r.db.NewSelect().Model(&rows).ColumnExpr("e.*").
		Where("e.tx < pg_snapshot_xmin(pg_current_snapshot())").Limit(int64(page.Limit()) + 1)
	scope := "events of " + f.WorkspaceID.String() + f.UserID.String() + " " + f.Action
	if f.WorkspaceID.IsZero() {
		q = q.Where("e.user_id = ?", f.UserID)
	} else {
		q = q.Where("e.workspace_id = ?", f.WorkspaceID)
	}
	if f.Action != "" {
		q = q.Where("e.action = ?", f.Action)
	}
	if f.Except != "" {
		scope += " but " + f.Except
		q = q.Where("e.action <> ?", f.Except)
	}
	if f.Actor.Valid {
		scope += " by " + f.Actor.UUID.String()
		q = q.Where("coalesce(e.actor_user_id, e.actor_service_account_id) = ?", f.Actor.UUID)
	}
	if !f.From.IsZero() {
		scope += " from " + f.From.String()
		q = q.Where("e.create_time >= ?", f.From)
	}
	if !f.To.IsZero() {
		scope += " to " + f.To.String()
		q = q.Where("e.create_time < ?", f.To)
	}
	beyond := "(e.tx, e.id) < (?::xid8, ?)"
	if f.OldestFirst {
		scope += " oldest first"
		beyond = "(e.tx, e.id) > (?::xid8, ?)"
		q = q.OrderExpr("e.tx, e.id")
	} else {
		q = q.OrderExpr("e.tx DESC, e.id DESC")
	}
	at := struct{ Tx, ID string }{"0", "00000000-0000-0000-0000-000000000000"}
	if found, err := r.pager.Position(page, scope, &at); err != nil {
		return nil, "", err
	} else if found {
		q = q.Where(beyond, at.Tx, at.ID)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, "", err
	}
	more := len(rows) > page.Limit()
	if more {
		rows = rows[:page.Limit()]
	}
	if !more && !f.OldestFirst {
		return rows, "", nil
	}
	if len(rows) > 0 {
		last := rows[len(rows)-1]
		at.Tx, at.ID = last.Tx, last.ID.UUID().String()
	}
	return rows, r.pager.Token(scope, at), nil
}

// DeleteOfWorkspace removes a workspace's log.
func (r Repository) DeleteOfWorkspace(ctx context.Context, workspace ids.Workspace) error {
	_, err := r.db.NewDelete().Model((*Event)(nil)).Where("workspace_id = ?", workspace).Exec(ctx)
	return err
}

// DeleteOfUsers removes the logs of users' accounts.
func (r Repository) DeleteOfUsers(ctx context.Context, users []ids.User) error {
	_, err := r.db.NewRaw("DELETE FROM audit.events WHERE user_id IN (SELECT unnest(?::uuid[]))",
		pgdialect.Array(ids.UUIDs(users))).Exec(ctx)
	return err
}
