package store

import (
	"context"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
)

// BeginUsageReport writes down what the provider is told next of usage that it charges a
// workspace for, or any of them for the zero id, after another report, and returns it; nil
// when that was the last. It is to be sent at once.
func (s *Store) BeginUsageReport(ctx context.Context, workspace ids.Workspace, after billing.UsageReport) (r *billing.UsageReport, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		r, err = t.billing.BeginUsageReport(ctx, workspace, after, t.now)
		return err
	})
	return r, err
}

// UsageReportArrived ends a report, which the provider has.
func (s *Store) UsageReportArrived(ctx context.Context, r billing.UsageReport) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error { return t.billing.UsageReportArrived(ctx, r) })
}

// UsageReportRefused notes that a report was refused once. If it was whenever it was sent,
// what it tells is told by another one.
func (s *Store) UsageReportRefused(ctx context.Context, r billing.UsageReport) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error { return t.billing.UsageReportRefused(ctx, r) })
}
