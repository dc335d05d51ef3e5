package billing

import (
	"context"
	"fmt"
	"time"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/billing"
)

// maxBuckets is how many buckets an answer has at most.
const maxBuckets = 1000

var buckets = map[billingv1.UsageBucket]billing.Bucket{
	billingv1.UsageBucket_USAGE_BUCKET_HOUR:  billing.ByHour,
	billingv1.UsageBucket_USAGE_BUCKET_DAY:   billing.ByDay,
	billingv1.UsageBucket_USAGE_BUCKET_MONTH: billing.ByMonth,
}

// RecordUsage implements UsageService.
func (m *Module) RecordUsage(ctx context.Context, req *billingv1.RecordUsageRequest) (*billingv1.RecordUsageResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	recorded, err := m.store.RecordUsage(ctx, workspace, []store.UsageEvent{usageEvent(req.Event, "event")})
	if err != nil {
		return nil, err
	}
	return &billingv1.RecordUsageResponse{Duplicate: recorded == 0}, nil
}

// BatchRecordUsage implements UsageService.
func (m *Module) BatchRecordUsage(ctx context.Context, req *billingv1.BatchRecordUsageRequest) (*billingv1.BatchRecordUsageResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	events := make([]store.UsageEvent, len(req.Events))
	for i, e := range req.Events {
		events[i] = usageEvent(e, fmt.Sprintf("events[%d]", i))
	}
	recorded, err := m.store.RecordUsage(ctx, workspace, events)
	if err != nil {
		return nil, err
	}
	return &billingv1.BatchRecordUsageResponse{RecordedCount: int32(recorded), DuplicateCount: int32(len(events) - recorded)}, nil
}

func usageEvent(e *billingv1.UsageEvent, field string) store.UsageEvent {
	event := store.UsageEvent{UsageEvent: billing.UsageEvent{ID: e.EventId, Meter: e.Meter, Quantity: e.Quantity}, Field: field}
	if e.EventTime != nil {
		event.EventTime, event.Timed = e.EventTime.AsTime().Truncate(time.Microsecond), true
	}
	return event
}

// QueryUsage implements UsageService.
func (m *Module) QueryUsage(ctx context.Context, req *billingv1.QueryUsageRequest) (*billingv1.QueryUsageResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	q := store.UsageQuery{
		Workspace: workspace, Meter: req.Meter, Bucket: buckets[req.Bucket],
		From: req.StartTime.AsTime().Truncate(time.Microsecond), To: req.EndTime.AsTime().Truncate(time.Microsecond),
	}
	res, err := emptySums(q)
	if err != nil {
		return nil, err
	}
	used, err := m.store.Usage(ctx, q)
	if err != nil {
		return nil, err
	}
	at := map[int64]int64{}
	for _, u := range used {
		at[u.Start.Unix()] = u.Quantity
		res.Total += u.Quantity
	}
	for _, sum := range res.Sums {
		sum.Quantity = at[q.Bucket.Start(sum.StartTime.AsTime()).Unix()]
	}
	return res, nil
}

// emptySums returns the buckets that are asked for.
//
// Errors: fault FIELD_INVALID when there is none, or there are too many.
func emptySums(q store.UsageQuery) (*billingv1.QueryUsageResponse, error) {
	if !q.From.Before(q.To) {
		return nil, fault.Invalid("end_time", "must be after start_time")
	}
	res := new(billingv1.QueryUsageResponse)
	for start := q.Bucket.Start(q.From); start.Before(q.To); start = q.Bucket.Next(start) {
		if len(res.Sums) == maxBuckets {
			return nil, fault.Invalid("end_time", fmt.Sprintf("makes more than %d buckets", maxBuckets))
		}
		from, to := start, q.Bucket.Next(start)
		if from.Before(q.From) {
			from = q.From
		}
		if to.After(q.To) {
			to = q.To
		}
		res.Sums = append(res.Sums, &billingv1.UsageSum{StartTime: convert.Time(from), EndTime: convert.Time(to)})
	}
	return res, nil
}
