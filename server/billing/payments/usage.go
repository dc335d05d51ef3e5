package payments

import (
	"context"
	"errors"
	"fmt"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/billing/provider"
	"github.com/logicspike/manager/store/billing"
)

// mostUnanswered is after how many reports without an answer, one after the other, the rest
// waits for the next time.
const mostUnanswered = 5

// reportUsage tells the provider what a workspace, or all of them for the zero id, used of
// what it charges for. A report without an answer is sent again as it was, and counts
// once, for as long as the provider is sure to know it; then it is given up, since nobody is
// charged twice. What is refused is told anew the next time.
func (s *Service) reportUsage(ctx context.Context, workspace ids.Workspace) error {
	var last billing.UsageReport
	var failures []error
	unanswered := 0
	for {
		list, err := s.Store.BeginUsageReports(ctx, workspace, last)
		if err != nil || len(list) == 0 {
			return errors.Join(append(failures, err)...)
		}
		for _, r := range list {
			last = r
			answered, err := s.report(ctx, r)
			if err != nil {
				failures = append(failures, fmt.Errorf("usage of %s by %s: %w", r.Meter, r.WorkspaceID, err))
			}
			if unanswered++; answered {
				unanswered = 0
			}
			if unanswered == mostUnanswered || ctx.Err() != nil {
				return errors.Join(failures...)
			}
		}
	}
}

// report makes one report, and reports whether the provider answered.
func (s *Service) report(ctx context.Context, r billing.UsageReport) (answered bool, err error) {
	if !r.Known(s.Clock.Now()) {
		s.Logger.ErrorContext(ctx, "nobody knows whether usage was reported to the payment provider: look there, and report it by hand if it is missing",
			"workspace", r.WorkspaceID, "customer", r.Customer, "meter", r.Meter, "quantity", r.Quantity, "time", r.ReportTime, "report", r.Key())
		return true, s.Store.EndUsageReport(ctx, r, true)
	}
	err = s.Provider.ReportUsage(ctx, r)
	if err != nil && !provider.Refused(err) {
		return false, err
	}
	return true, errors.Join(err, s.Store.EndUsageReport(ctx, r, err == nil))
}
