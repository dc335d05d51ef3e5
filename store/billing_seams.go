package store

// What other parts of billing do, as little of it as is needed here until they are
// merged: each function goes when its owner's takes its place.

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
)

// cancelsAtPeriodEnd reports whether the subscription was canceled to the end of its
// period (SUBS).
func cancelsAtPeriodEnd(*billing.Subscription) bool { return false }

// billedSeats returns for how many seats the subscription is charged (SUBS).
func billedSeats(s *billing.Subscription) int { return s.Seats }

// transition is what happens to the state of a subscription (SUBS: billing.Transition).
type transition string

const (
	trialEnd transition = "trial_end"
	overdue  transition = "overdue"
	paid     transition = "paid"
	graceEnd transition = "grace_end"
	pause    transition = "pause"
	resume   transition = "resume"
	cancel   transition = "cancel"
)

// lockSubscription returns the present subscription of a workspace and its plan, locked
// (SUBS).
func (t *tx) lockSubscription(ctx context.Context, workspace ids.Workspace) (*billing.Subscription, *billing.Plan, error) {
	s, err := t.billing.Subscription(ctx, workspace)
	if err != nil {
		return nil, nil, err
	}
	plan, err := t.billing.Plan(ctx, s.Plan, s.PlanVersion)
	return s, plan, err
}

// applyState makes a transition of a subscription; who cancels goes back to the default
// plan (SUBS).
func (t *tx) applyState(ctx context.Context, s *billing.Subscription, to transition) error {
	switch to {
	case trialEnd, paid, resume:
		s.State = billing.Active
	case overdue:
		s.State = billing.PastDue
	case graceEnd, pause:
		s.State = billing.Paused
	case cancel:
		plan, err := t.billing.DefaultPlan(ctx)
		if err != nil {
			return err
		}
		s.Plan, s.PlanVersion, s.State, s.Currency, s.Interval = plan.Name, plan.Version, billing.Active, "", ""
		s.Provider, s.AnchorTime, s.TrialEndTime = billing.Manual, t.now, time.Time{}
	}
	return t.billing.Update(ctx, s, t.now)
}

// mirrorInvoice stores an invoice of the provider (INVOICES: PutMirroredInvoice).
func (t *tx) mirrorInvoice(context.Context, ids.Workspace, *billing.MirroredInvoice) error {
	return nil
}
