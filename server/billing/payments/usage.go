package payments

import (
	"context"
	"errors"
	"fmt"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/billing/provider"
	"github.com/logicspike/manager/store/billing"
)

// mostUnanswered is after how many reports of which nobody knows, one after the other, the
// rest waits for the next time.
const mostUnanswered = 5

// reportUsage tells the provider what a workspace, or all of them for the zero id, used of
// what it charges for, one report after the other. A report of which nobody knows whether it
// arrived is sent again as it was, and counts once, for as long as the provider is sure to
// know it; then it is given up, since nobody is charged twice. What is refused is told anew
// the next time. It returns the refusals, and whatever else failed: then the provider may not
// have been told of all yet.
func (s *Service) reportUsage(ctx context.Context, workspace ids.Workspace) (refused, unknown error) {
	var last billing.UsageReport
	var refusals, failures []error
	for unanswered := 0; unanswered < mostUnanswered; {
		r, err := s.Store.BeginUsageReport(ctx, workspace, last)
		if err != nil {
			failures = append(failures, err)
			break
		}
		if r == nil {
			break
		}
		last = *r
		switch err := s.report(ctx, *r); {
		case err == nil:
			unanswered = 0
		case provider.Refused(err):
			unanswered = 0
			refusals = append(refusals, fmt.Errorf("usage of %s by %s: %w", r.Meter, r.WorkspaceID, err))
		default:
			unanswered++
			failures = append(failures, fmt.Errorf("usage of %s by %s: %w", r.Meter, r.WorkspaceID, err))
		}
	}
	return errors.Join(refusals...), errors.Join(failures...)
}

// report makes one report that was begun.
func (s *Service) report(ctx context.Context, r billing.UsageReport) error {
	if !r.Known(s.Clock.Now()) {
		s.Logger.ErrorContext(ctx, "nobody knows whether usage was reported to the payment provider: look there, and report it by hand if it is missing",
			"workspace", r.WorkspaceID, "customer", r.Customer, "meter", r.Meter, "quantity", r.Quantity, "time", r.ReportTime, "report", r.Key())
		return s.Store.UsageReportArrived(ctx, r)
	}
	err := s.Provider.ReportUsage(ctx, r)
	switch {
	case err == nil:
		return s.Store.UsageReportArrived(ctx, r)
	case !provider.Refused(err):
		return err
	}
	if err := s.Store.UsageReportRefused(ctx, r); err != nil {
		return err
	}
	return err
}
