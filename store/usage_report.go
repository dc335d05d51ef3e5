package store

import (
	"context"

	"github.com/logicspike/manager/store/billing"
)

// BeginUsageReports writes down what the provider is to be told of usage that it charges
// for, and returns it, in parts: what comes after another report, none at last.
func (s *Store) BeginUsageReports(ctx context.Context, after billing.UsageReport) (list []billing.UsageReport, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		list, err = t.billing.BeginUsageReports(ctx, after, t.now)
		return err
	})
	return list, err
}

// EndUsageReport notes that a report has arrived.
func (s *Store) EndUsageReport(ctx context.Context, r billing.UsageReport) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error { return t.billing.EndUsageReport(ctx, r) })
}
