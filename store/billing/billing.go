// Package billing stores plans, and what workspaces are subscribed to, in the schema
// billing.
package billing

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing/pricing"
	"github.com/logicspike/manager/store/postgres"
)

// Repository reads and writes the schema through one connection, pool or
// transaction.
type Repository struct{ db bun.IDB }

// New returns a repository.
func New(db bun.IDB) Repository { return Repository{db} }

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

	// Version counts the changes.
	Version int
	// SeatCount is how many seats were bought; 0 for as many as there are members.
	SeatCount int
	// ChargedSeats are those that the lines of the present period are for.
	ChargedSeats int
	// PeriodStartTime and PeriodEndTime are the present period of what has a price or is
	// tried. That of anything else is computed.
	PeriodStartTime   time.Time `bun:",nullzero"`
	PeriodEndTime     time.Time `bun:",nullzero"`
	CancelAtPeriodEnd bool
	// TrialReminderTime is when the owners were told that the trial ends soon.
	TrialReminderTime time.Time `bun:",nullzero"`
	PastDueTime       time.Time `bun:",nullzero"`
	// DunningStep is how many reminders were sent, and DunningTime when the next one, or
	// the pause, is due.
	DunningStep int
	DunningTime time.Time `bun:",nullzero"`
	PauseReason string    `bun:",nullzero"`
	FormerState State     `bun:",nullzero"`
	// Provider is who makes its invoices and takes its payments.
	Provider Provider
}

// Priced reports whether the plan costs something, be it only after a trial.
func (s *Subscription) Priced() bool { return s.Currency != "" }

// Charged reports whether the present period was paid, or is owed.
func (s *Subscription) Charged() bool {
	return s.Priced() && (s.State == Active || s.State == PastDue)
}

// Owed reports whether it is past due, or paused, because an invoice of our own is overdue
// although a provider charges it: what the provider says of its payments settles nothing.
func (s *Subscription) Owed() bool { return s.Provider != Manual && s.DunningTime.After(s.PastDueTime) }

// BilledSeats returns how many seats are charged, those among them that the price
// includes.
func (s *Subscription) BilledSeats() int {
	if s.SeatCount > 0 {
		return s.SeatCount
	}
	return s.Seats
}

// Period returns the period that the subscription is in at a time which is not before
// it: the stored one, and else a computed one.
func (s *Subscription) Period(at time.Time) pricing.Period {
	if s.PeriodStartTime.IsZero() {
		return s.PeriodAt(at)
	}
	return pricing.Period{Start: s.PeriodStartTime, End: s.PeriodEndTime}
}

// SetPeriod stores the present period.
func (s *Subscription) SetPeriod(p pricing.Period) {
	s.PeriodStartTime, s.PeriodEndTime = p.Start, p.End
}

// PeriodAt computes the period that a time is in, from the anchor on; before it, all
// the time there was. Where it costs nothing, a period is a month.
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
	return postgres.OrMissing(s, r.db.NewSelect().Model(s).Where("s.workspace_id = ?", workspace).
		OrderExpr("s.cancel_time DESC NULLS FIRST, s.id DESC").Limit(1).Scan(ctx))
}

// LockSubscription is Subscription, and keeps others from changing it until the
// transaction ends.
//
// Errors: fault NOT_FOUND.
func (r Repository) LockSubscription(ctx context.Context, workspace ids.Workspace) (*Subscription, error) {
	s := new(Subscription)
	return postgres.OrMissing(s, r.db.NewSelect().Model(s).Where("s.workspace_id = ?", workspace).
		OrderExpr("s.cancel_time DESC NULLS FIRST, s.id DESC").Limit(1).For("NO KEY UPDATE").Scan(ctx))
}

// Update stores what has become of a subscription, and counts its version.
func (r Repository) Update(ctx context.Context, s *Subscription, now time.Time) error {
	s.UpdateTime = now
	s.Version++
	_, err := r.db.NewUpdate().Model(s).WherePK().Exec(ctx)
	return err
}

// Due returns workspaces with a subscription of which something is due, in the order of
// their ids after one, 200 at most: a period or trial that has ended, a trial that ends
// until soon and whose owners were not told, an invoice that is overdue, and a reminder of
// it or the end of the grace.
func (r Repository) Due(ctx context.Context, after ids.Workspace, now, soon time.Time) ([]ids.Workspace, error) {
	var due []uuid.UUID
	err := r.db.NewRaw(`
		SELECT workspace_id FROM billing.subscriptions
		WHERE state IN ('trialing', 'active', 'past_due') AND provider = 'manual' AND period_end_time <= ?1 AND workspace_id > ?0
		UNION
		SELECT workspace_id FROM billing.subscriptions
		WHERE state = 'trialing' AND trial_reminder_time IS NULL AND trial_end_time <= ?2 AND NOT cancel_at_period_end AND workspace_id > ?0
		UNION
		SELECT s.workspace_id FROM billing.invoices i JOIN billing.subscriptions s ON s.workspace_id = i.workspace_id
		WHERE i.state = 'open' AND i.provider = 'manual' AND i.due_time <= ?1 AND s.state = 'active' AND i.workspace_id > ?0
		UNION
		SELECT workspace_id FROM billing.subscriptions
		WHERE state = 'past_due' AND dunning_time <= ?1 AND workspace_id > ?0
		ORDER BY 1 LIMIT 200`, after.UUID(), now, soon).Scan(ctx, &due) // the zero id itself would be NULL
	return ids.FromUUIDs[ids.Workspace](due), err
}

// Overdue reports whether a workspace has invoices of our own that are overdue.
func (r Repository) Overdue(ctx context.Context, workspace ids.Workspace, now time.Time) (overdue bool, err error) {
	err = r.db.NewRaw(`
		SELECT EXISTS (SELECT 1 FROM billing.invoices WHERE workspace_id = ? AND state = 'open' AND provider = 'manual' AND due_time <= ?)`,
		workspace, now).Scan(ctx, &overdue)
	return overdue, err
}

// CountOpenInvoices returns how many invoices of a workspace are open.
func (r Repository) CountOpenInvoices(ctx context.Context, workspace ids.Workspace) (open int, err error) {
	err = r.db.NewRaw("SELECT count(*) FROM billing.invoices WHERE workspace_id = ? AND state = 'open'", workspace).Scan(ctx, &open)
	return open, err
}

// DeleteOfWorkspace removes what a workspace is subscribed to, and its invoices, in a
// transaction. The register of invoices stays. What it has at the provider must be ended
// by OrphanOfWorkspace before.
func (r Repository) DeleteOfWorkspace(ctx context.Context, workspace ids.Workspace) error {
	if err := r.deleteInvoices(ctx, workspace); err != nil {
		return err
	}
	for _, table := range []string{"usage_events", "usage_hours", "usage_totals", "overrides", "trials", "periods", "provider_credits", "customers", "subscriptions"} {
		if _, err := r.db.NewRaw("DELETE FROM billing."+table+" WHERE workspace_id = ?", workspace).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
