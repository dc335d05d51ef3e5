package store

import (
	"context"

	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// usageLines returns what usage of a period that has ended costs and was not charged yet,
// and marks it as charged.
func (t *tx) usageLines(context.Context, *billing.Subscription, *billing.Plan, pricing.Period) ([]billing.InvoiceLine, error) {
	return nil, nil
}

// usagePreview returns what the usage of a period costs so far, and marks nothing as
// charged.
func (t *tx) usagePreview(context.Context, *billing.Subscription, *billing.Plan, pricing.Period) ([]billing.InvoiceLine, error) {
	return nil, nil
}

// providerChanged tells the payment provider what has become of a subscription.
func (t *tx) providerChanged(context.Context, *billing.Subscription) error { return nil }
