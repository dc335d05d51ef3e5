package payments

import (
	"context"
	"errors"
	"fmt"

	"github.com/logicspike/manager/store/billing"
)

// ReportUsage tells the provider what was used of what it charges for. A report that it
// has not confirmed is sent again as it was, and counts once. One that fails does not keep
// the others.
func (s *Service) ReportUsage(ctx context.Context) error {
	if s.Provider == nil {
		return nil
	}
	var last billing.UsageReport
	var failures []error
	for {
		list, err := s.Store.BeginUsageReports(ctx, last)
		if err != nil || len(list) == 0 {
			return errors.Join(append(failures, err)...)
		}
		for _, r := range list {
			last = r
			err := s.Provider.ReportUsage(ctx, r)
			if err == nil {
				err = s.Store.EndUsageReport(ctx, r)
			}
			if err != nil {
				failures = append(failures, fmt.Errorf("usage of %s by %s: %w", r.Meter, r.WorkspaceID, err))
			}
			if ctx.Err() != nil {
				return errors.Join(failures...)
			}
		}
	}
}
