package store

import (
	"context"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
)

// BeginUsageReports writes down what the provider is to be told of usage that it charges
// a workspace for, or all of them for the zero id, and returns it, in parts: what comes
// after another report, none at last.
func (s *Store) BeginUsageReports(ctx context.Context, workspace ids.Workspace, after billing.UsageReport) (list []billing.UsageReport, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		list, err = t.billing.BeginUsageReports(ctx, workspace, after, t.now)
		return err
	})
	return list, err
}

// EndUsageReport ends a report: it has arrived, or else what it tells is to be told by
// another one.
func (s *Store) EndUsageReport(ctx context.Context, r billing.UsageReport, arrived bool) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error { return t.billing.EndUsageReport(ctx, r, arrived) })
}
