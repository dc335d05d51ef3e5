package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// periodOf returns the period of a subscription that a time is in.
func (t *tx) periodOf(_ context.Context, s *billing.Subscription, at time.Time) (pricing.Period, error) {
	return s.PeriodAt(at), nil
}
