package billing

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// UsageReport is what the provider is told of usage that it charges for.
type UsageReport struct {
	bun.BaseModel
	WorkspaceID     ids.Workspace
	Customer        string // the provider's id
	Meter           string
	PeriodStartTime time.Time
	Reports         int // counts those of the period
	Quantity        int64
	// ReportTime is when it is said to have been used.
	ReportTime time.Time
}

// maxKey is how long a provider lets a report's name be: Stripe's identifiers of meter events
// have 100 characters at most.
const maxKey = 100

// Key names the report: it counts once, however often it is sent, for as long as it is
// Known. A name that is too long, by that of its meter, is told by its hash (UUIDv5, RFC
// 9562).
func (r UsageReport) Key() string {
	key := fmt.Sprintf("%s:%s:%d:%d", r.WorkspaceID.UUID(), r.Meter, r.PeriodStartTime.UnixMicro(), r.Reports)
	if len(key) > maxKey {
		return uuid.NewSHA1(r.WorkspaceID.UUID(), []byte(key)).String()
	}
	return key
}

// Known reports whether the provider still knows the report, should it have arrived: for a
// day at least. Sent again later, it could count twice.
func (r UsageReport) Known(now time.Time) bool { return now.Sub(r.ReportTime) < 23*time.Hour }

// usageCloses is how long after the end of a period its usage can still be reported as
// such: providers make its invoice an hour later.
const usageCloses = 45 * time.Minute

// BeginUsageReport returns what the provider is told next of a workspace, or of all for the
// zero id, in their order after another report; nil when that was the last. It is one that
// was begun and not ended before, as it was, or a new one. What came too late for its period
// counts in the present one.
func (r Repository) BeginUsageReport(ctx context.Context, workspace ids.Workspace, after UsageReport, now time.Time) (*UsageReport, error) {
	u := new(UsageReport)
	err := r.db.NewRaw(`
		WITH due AS (
			SELECT t.workspace_id, t.meter, t.period_start_time, c.provider_customer_id AS customer,
			       CASE WHEN ?3 >= s.ends AND ?3 < s.ends + make_interval(secs => ?4) THEN s.ends - interval '1 second' ELSE ?3 END AS at
			FROM billing.usage_totals t JOIN billing.customers c USING (workspace_id),
			LATERAL (SELECT CASE WHEN period_start_time > t.period_start_time THEN period_start_time ELSE period_end_time END AS ends
			         FROM billing.subscriptions WHERE workspace_id = t.workspace_id ORDER BY cancel_time DESC NULLS FIRST, id DESC LIMIT 1) s
			WHERE (t.unreported_quantity > 0 OR t.report_quantity IS NOT NULL) AND (?6 OR t.workspace_id = ?5) AND (t.workspace_id, t.meter, t.period_start_time) > (?0, ?1, ?2)
			ORDER BY t.workspace_id, t.meter, t.period_start_time LIMIT 1 FOR NO KEY UPDATE OF t
		)
		UPDATE billing.usage_totals t SET
			reports = t.reports + (t.report_quantity IS NULL)::int,
			unreported_quantity = CASE WHEN t.report_quantity IS NULL THEN 0 ELSE t.unreported_quantity END,
			report_quantity = coalesce(t.report_quantity, t.unreported_quantity),
			report_time = coalesce(t.report_time, due.at),
			report_sendings = t.report_sendings + 1
		FROM due WHERE (t.workspace_id, t.meter, t.period_start_time) = (due.workspace_id, due.meter, due.period_start_time)
		RETURNING t.workspace_id, due.customer, t.meter, t.period_start_time, t.reports, t.report_quantity AS quantity, t.report_time`,
		after.WorkspaceID.UUID(), after.Meter, after.PeriodStartTime, now, usageCloses.Seconds(), workspace.UUID(), workspace.IsZero()).Scan(ctx, u)
	if postgres.NotFound(err) {
		return nil, nil
	}
	return u, err
}

// UsageReportArrived ends a report.
func (r Repository) UsageReportArrived(ctx context.Context, u UsageReport) error {
	_, err := r.db.NewRaw(`
		UPDATE billing.usage_totals SET report_quantity = NULL, report_time = NULL, report_sendings = 0
		WHERE workspace_id = ? AND meter = ? AND period_start_time = ? AND reports = ? AND report_quantity IS NOT NULL`,
		u.WorkspaceID, u.Meter, u.PeriodStartTime, u.Reports).Exec(ctx)
	return err
}

// UsageReportRefused takes back that a report was sent once. When it was not otherwise, it
// ends, and what it tells is to be told by another one: nobody else may be sending it, and
// no lost answer can have been that it arrived.
func (r Repository) UsageReportRefused(ctx context.Context, u UsageReport) error {
	_, err := r.db.NewRaw(`
		UPDATE billing.usage_totals SET
			unreported_quantity = unreported_quantity + CASE WHEN report_sendings > 1 THEN 0 ELSE report_quantity END,
			report_quantity = CASE WHEN report_sendings > 1 THEN report_quantity END,
			report_time = CASE WHEN report_sendings > 1 THEN report_time END,
			report_sendings = greatest(report_sendings - 1, 0)
		WHERE workspace_id = ? AND meter = ? AND period_start_time = ? AND reports = ? AND report_quantity IS NOT NULL`,
		u.WorkspaceID, u.Meter, u.PeriodStartTime, u.Reports).Exec(ctx)
	return err
}
