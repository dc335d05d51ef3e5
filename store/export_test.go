package store

import (
	"context"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// What other use cases do within their transactions, each in one of its own, for tests.

// IssueInvoice issues an invoice to a workspace.
func (s *Store) IssueInvoice(ctx context.Context, workspace ids.Workspace, lines []billing.InvoiceLine, period pricing.Period) (i *billing.Invoice, err error) {
	err = s.withSubscription(ctx, workspace, func(ctx context.Context, t *tx, b *billing.Subscription, plan *billing.Plan) error {
		i, err = t.issueInvoice(ctx, b, plan, lines, period)
		return err
	})
	return i, err
}

// AddPendingLines has lines wait for the next invoice of a workspace.
func (s *Store) AddPendingLines(ctx context.Context, workspace ids.Workspace, lines []billing.InvoiceLine) error {
	return s.withSubscription(ctx, workspace, func(ctx context.Context, t *tx, b *billing.Subscription, _ *billing.Plan) error {
		return t.addPendingLines(ctx, b, lines)
	})
}

// PutMirroredInvoice stores a copy of a payment provider's invoice.
func (s *Store) PutMirroredInvoice(ctx context.Context, i *billing.Invoice) (changed bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		changed, err = t.billing.PutMirroredInvoice(ctx, i)
		return err
	})
	return changed, err
}

func (s *Store) withSubscription(ctx context.Context, workspace ids.Workspace, do func(context.Context, *tx, *billing.Subscription, *billing.Plan) error) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.tenant.LockWorkspace(ctx, workspace); err != nil {
			return err
		}
		b, err := t.billing.Subscription(ctx, workspace)
		if err != nil {
			return err
		}
		plan, err := t.billing.Plan(ctx, b.Plan, b.PlanVersion)
		if err != nil {
			return err
		}
		return do(ctx, t, b, plan)
	})
}

// UsageLines charges for usage of a workspace's period that has ended, in a transaction
// in which that is asked for so often, and returns the lines of each time; ended makes
// the transaction fail.
func (s *Store) UsageLines(ctx context.Context, workspace ids.Workspace, period pricing.Period, times int, ended error) (all [][]billing.InvoiceLine, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		all = nil
		subscription, plan, err := t.usageTerms(ctx, workspace)
		for range times {
			if err != nil {
				return err
			}
			var lines []billing.InvoiceLine
			lines, err = t.usageLines(ctx, subscription, plan, period)
			all = append(all, lines)
		}
		if err == nil {
			err = ended
		}
		return err
	})
	return all, err
}

// UpcomingUsageLines returns what usage of a period costs until now.
func (s *Store) UpcomingUsageLines(ctx context.Context, workspace ids.Workspace, period pricing.Period) (lines []billing.InvoiceLine, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		subscription, plan, err := t.usageTerms(ctx, workspace)
		if err == nil {
			lines, err = t.upcomingUsageLines(ctx, subscription, plan, period)
		}
		return err
	})
	return lines, err
}

func (t *tx) usageTerms(ctx context.Context, workspace ids.Workspace) (*billing.Subscription, *billing.Plan, error) {
	subscription, err := t.billing.Subscription(ctx, workspace)
	if err != nil {
		return nil, nil, err
	}
	plan, err := t.billing.Plan(ctx, subscription.Plan, subscription.PlanVersion)
	return subscription, plan, err
}
