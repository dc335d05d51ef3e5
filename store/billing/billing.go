// Package billing stores plans, and what workspaces are subscribed to, in the schema
// billing.
package billing

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing/pricing"
	"github.com/logicspike/manager/store/postgres"
)

// Repository reads and writes the schema through one connection, pool or
// transaction.
type Repository struct{ db bun.IDB }

// New returns a repository.
func New(db bun.IDB) Repository { return Repository{db} }

// State is what has become of a subscription.
type State string

// The states.
const (
	Trialing State = "trialing"
	Active   State = "active"
	Canceled State = "canceled"
)

// WorkspaceDeleted is why a subscription was canceled that goes on once the workspace
// is undeleted.
const WorkspaceDeleted = "workspace_deleted"

// Subscription is what a workspace is subscribed to. One lives for each workspace that
// is not deleted.
type Subscription struct {
	bun.BaseModel `bun:"table:billing.subscriptions,alias:s"`

	ID           ids.Subscription `bun:"id,pk"`
	WorkspaceID  ids.Workspace
	Plan         string
	PlanVersion  int
	State        State
	Currency     string           `bun:",nullzero"`
	Interval     pricing.Interval `bun:"due_interval,nullzero"`
	Seats        int
	TrialEndTime time.Time `bun:",nullzero"`
	AnchorTime   time.Time
	CreateTime   time.Time
	UpdateTime   time.Time
	CancelTime   time.Time `bun:",nullzero"`
	CancelReason string    `bun:",nullzero"`
	// Provider is who makes its invoices and takes its payments.
	Provider Provider `bun:",nullzero,default:'manual'"`
}

// PeriodAt returns the period of the subscription that a time is in: while it is
// tried, the trial; and where it costs nothing, a month.
func (s *Subscription) PeriodAt(at time.Time) pricing.Period {
	if at.Before(s.AnchorTime) {
		return pricing.Period{Start: s.CreateTime, End: s.AnchorTime}
	}
	interval := s.Interval
	if interval == "" {
		interval = pricing.Month
	}
	return pricing.PeriodAt(s.AnchorTime, interval, at)
}

// Insert stores a new subscription.
func (r Repository) Insert(ctx context.Context, s *Subscription) error {
	_, err := r.db.NewInsert().Model(s).Exec(ctx)
	return err
}

// Subscription returns the present subscription of a workspace: the one that lives, or
// the one that ended last.
//
// Errors: fault NOT_FOUND.
func (r Repository) Subscription(ctx context.Context, workspace ids.Workspace) (*Subscription, error) {
	s := new(Subscription)
	err := r.db.NewSelect().Model(s).Where("s.workspace_id = ?", workspace).
		OrderExpr("s.cancel_time DESC NULLS FIRST, s.id DESC").Limit(1).Scan(ctx)
	if postgres.NotFound(err) {
		return nil, fault.NotFoundFault()
	}
	return s, err
}

// ChangeSeats counts members who became active, or ceased to be, in the subscription
// that lives. What is deleted counts nobody until it is undeleted.
func (r Repository) ChangeSeats(ctx context.Context, workspace ids.Workspace, by int, now time.Time) error {
	_, err := r.db.NewRaw(`
		UPDATE billing.subscriptions SET seats = seats + ?, update_time = ? WHERE workspace_id = ? AND cancel_time IS NULL`,
		by, now, workspace).Exec(ctx)
	return err
}

// Update stores what has become of a subscription.
func (r Repository) Update(ctx context.Context, s *Subscription, now time.Time) error {
	s.UpdateTime = now
	_, err := r.db.NewUpdate().Model(s).WherePK().Exec(ctx)
	return err
}

// EndTrials makes active what was tried until now, 1000 of them at most, and returns
// them.
func (r Repository) EndTrials(ctx context.Context, now time.Time) ([]Subscription, error) {
	var ended []Subscription
	err := r.db.NewRaw(`
		UPDATE billing.subscriptions s SET state = 'active', update_time = ?0
		WHERE id IN (SELECT id FROM billing.subscriptions WHERE state = 'trialing' AND trial_end_time <= ?0
		             ORDER BY trial_end_time LIMIT 1000 FOR UPDATE SKIP LOCKED)
		RETURNING *`, now).Scan(ctx, &ended)
	return ended, err
}

// DeleteOfWorkspace removes what a workspace is subscribed to, and its invoices, in a
// transaction. The register of invoices stays. What it has at the provider must be ended
// by OrphanOfWorkspace before.
func (r Repository) DeleteOfWorkspace(ctx context.Context, workspace ids.Workspace) error {
	if err := r.deleteInvoices(ctx, workspace); err != nil {
		return err
	}
	for _, table := range []string{"usage_events", "usage_hours", "usage_totals", "overrides", "customers", "subscriptions"} {
		if _, err := r.db.NewRaw("DELETE FROM billing."+table+" WHERE workspace_id = ?", workspace).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
