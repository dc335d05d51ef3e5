package store

import (
	"context"

	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// usageLines returns what usage of a period that has ended costs by the subscription's
// price of a plan, and what usage that came late costs of periods that were charged
// before, by their own prices; and notes that it is charged. Called again it returns
// what has come since. What had no price when its period was charged costs nothing.
func (t *tx) usageLines(ctx context.Context, s *billing.Subscription, plan *billing.Plan, period pricing.Period) ([]billing.InvoiceLine, error) {
	if prices := usagePrices(s, plan); len(prices) > 0 {
		if err := t.billing.OpenCharges(ctx, s.WorkspaceID, s.Currency, prices, period); err != nil {
			return nil, err
		}
	}
	list, err := t.billing.UnchargedUsage(ctx, s.WorkspaceID, s.Currency)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return linesOf(s, plan, list), t.billing.MarkCharged(ctx, s.WorkspaceID, list)
}

// upcomingUsageLines returns the lines that usageLines would return if the period
// ended now, and notes nothing.
func (t *tx) upcomingUsageLines(ctx context.Context, s *billing.Subscription, plan *billing.Plan, period pricing.Period) ([]billing.InvoiceLine, error) {
	used, err := t.billing.UsageIn(ctx, s.WorkspaceID, period)
	if err != nil {
		return nil, err
	}
	list, err := t.billing.LateUsage(ctx, s.WorkspaceID, s.Currency)
	if err != nil {
		return nil, err
	}
	for _, price := range usagePrices(s, plan) {
		list = append(list, billing.ChargedUsage{Meter: price.Meter, Period: period, Price: price, Quantity: used[price.Meter]})
	}
	return linesOf(s, plan, list), nil
}

// usagePrices returns what usage costs by the subscription's price of a plan: nothing as
// long as that is tried.
func usagePrices(s *billing.Subscription, plan *billing.Plan) []pricing.UsagePrice {
	if s.State == billing.Trialing {
		return nil
	}
	if price := priceOf(s, plan); price != nil {
		return price.Usage
	}
	return nil
}

// linesOf returns what is due of usage and was not charged. What costs nothing has no
// line.
func linesOf(s *billing.Subscription, plan *billing.Plan, list []billing.ChargedUsage) []billing.InvoiceLine {
	var lines []billing.InvoiceLine
	for _, c := range list {
		amount := c.Due() - c.ChargedAmount
		if amount == 0 {
			continue
		}
		lines = append(lines, billing.InvoiceLine{
			Kind: pricing.ForUsage, Plan: plan.Name, Description: "Usage of " + c.Meter, Meter: c.Meter,
			Quantity: c.Quantity - c.ChargedQuantity, Amount: amount, Currency: s.Currency,
			StartTime: c.Period.Start, EndTime: c.Period.End,
		})
	}
	return lines
}
