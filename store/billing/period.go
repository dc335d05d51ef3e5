package billing

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing/pricing"
	"github.com/logicspike/manager/store/postgres"
)

// Period is a period of a subscription that has ended, and what it was charged by.
type Period struct {
	bun.BaseModel `bun:"table:billing.periods,alias:p"`

	WorkspaceID    ids.Workspace
	SubscriptionID ids.Subscription `bun:"subscription_id,pk"`
	StartTime      time.Time        `bun:"start_time,pk"`
	EndTime        time.Time
	Plan           string
	PlanVersion    int
	Currency       string           `bun:",nullzero"`
	Interval       pricing.Interval `bun:"due_interval,nullzero"`
}

// InsertPeriods keeps periods that have ended. One that begins when one that is kept does
// has ended otherwise than it seemed.
func (r Repository) InsertPeriods(ctx context.Context, list []Period) error {
	if len(list) == 0 {
		return nil
	}
	_, err := r.db.NewInsert().Model(&list).On("CONFLICT (subscription_id, start_time) DO UPDATE").Set("end_time = EXCLUDED.end_time").Exec(ctx)
	return err
}

// PeriodOf returns the period of a workspace that a time was in, of those that have
// ended; for a time between two, the later one; nil for none.
func (r Repository) PeriodOf(ctx context.Context, workspace ids.Workspace, at time.Time) (*Period, error) {
	p := new(Period)
	return postgres.OrNil(p, r.db.NewSelect().Model(p).Where("p.workspace_id = ? AND p.end_time > ?", workspace, at).OrderExpr("p.end_time").Limit(1).Scan(ctx))
}

// Tried reports whether a workspace has tried a plan.
func (r Repository) Tried(ctx context.Context, workspace ids.Workspace, plan string) (tried bool, err error) {
	err = r.db.NewRaw("SELECT EXISTS (SELECT 1 FROM billing.trials WHERE workspace_id = ? AND plan = ?)", workspace, plan).Scan(ctx, &tried)
	return tried, err
}

// TriedPlans returns the plans that a workspace has tried, by name.
func (r Repository) TriedPlans(ctx context.Context, workspace ids.Workspace) (plans []string, err error) {
	err = r.db.NewRaw("SELECT plan FROM billing.trials WHERE workspace_id = ? ORDER BY plan", workspace).Scan(ctx, &plans)
	return plans, err
}

// InsertTrial notes that a workspace tries a plan.
func (r Repository) InsertTrial(ctx context.Context, workspace ids.Workspace, plan string, now time.Time) error {
	_, err := r.db.NewRaw("INSERT INTO billing.trials (workspace_id, plan, start_time) VALUES (?, ?, ?)", workspace, plan, now).Exec(ctx)
	return err
}
