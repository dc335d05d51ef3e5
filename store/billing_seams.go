package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// invoicePaid lets a subscription go on that had ended for want of payment, once nothing
// is overdue any more.
func (t *tx) invoicePaid(context.Context, ids.Workspace, *billing.Invoice) error { return nil }

// usagePreview returns what the usage of a period costs so far, and marks nothing as
// charged.
func (t *tx) usagePreview(context.Context, *billing.Subscription, *billing.Plan, pricing.Period) ([]billing.InvoiceLine, error) {
	return nil, nil
}

// billedSeats is how many seats a subscription pays for.
func billedSeats(s *billing.Subscription) int { return s.Seats }

// priceOf returns the price of a subscription's plan; nil when it costs nothing.
func priceOf(s *billing.Subscription, plan *billing.Plan) *pricing.Price {
	for i, p := range plan.Definition.Prices {
		if p.Currency == s.Currency && p.Interval == s.Interval {
			return &plan.Definition.Prices[i]
		}
	}
	return nil
}

// periodOf returns the period of a subscription that a time is in.
func (t *tx) periodOf(_ context.Context, s *billing.Subscription, at time.Time) (pricing.Period, error) {
	return s.PeriodAt(at), nil
}

// cancelsAtPeriodEnd reports whether the subscription was canceled to the end of its
// period (SUBS).
func cancelsAtPeriodEnd(*billing.Subscription) bool { return false }

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
