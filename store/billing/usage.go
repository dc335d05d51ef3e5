package billing

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/ids"
)

// MaxUsage is how much of a meter can be used in a period.
const MaxUsage = 1_000_000_000_000_000

// UsageEvent is something that was used.
type UsageEvent struct {
	ID        string
	Meter     string
	Quantity  int64
	EventTime time.Time
}

// HourUsage is how much of a meter was used in an hour.
type HourUsage struct {
	Meter    string
	Hour     time.Time
	Quantity int64
}

// PeriodUsage is how much of a meter was used in a period.
type PeriodUsage struct {
	Meter       string
	PeriodStart time.Time `bun:"period_start_time"`
	Quantity    int64
	// Sold is how much of it the provider charges for, when it is added.
	Sold int64
}

// InsertUsage stores events, no two of one id, and returns the ids of those that were
// not there. It waits for others that are just storing the same ones.
func (r Repository) InsertUsage(ctx context.Context, workspace ids.Workspace, events []UsageEvent, now time.Time) ([]string, error) {
	events = slices.SortedFunc(slices.Values(events), func(a, b UsageEvent) int { return strings.Compare(a.ID, b.ID) }) // the order in which all lock
	n := len(events)
	id, meter, quantity, at := make([]string, n), make([]string, n), make([]int64, n), make([]string, n)
	for i, e := range events {
		id[i], meter[i], quantity[i], at[i] = e.ID, e.Meter, e.Quantity, stamp(e.EventTime)
	}
	var fresh []string
	err := r.db.NewRaw(`
		INSERT INTO billing.usage_events (workspace_id, event_id, meter, quantity, event_time, record_time)
		SELECT ?0, e.*, ?5 FROM unnest(?1::text[], ?2::text[], ?3::bigint[], ?4::timestamptz[]) e
		ON CONFLICT (workspace_id, event_id) DO NOTHING RETURNING event_id`,
		workspace, pgdialect.Array(id), pgdialect.Array(meter), pgdialect.Array(quantity), pgdialect.Array(at), now).Scan(ctx, &fresh)
	return fresh, err
}

// UsageEvents returns the events of some ids.
func (r Repository) UsageEvents(ctx context.Context, workspace ids.Workspace, list []string) ([]UsageEvent, error) {
	var found []UsageEvent
	err := r.db.NewRaw(`
		SELECT event_id AS id, meter, quantity, event_time FROM billing.usage_events
		WHERE workspace_id = ? AND event_id IN (SELECT unnest(?::text[]))`, workspace, pgdialect.Array(list)).Scan(ctx, &found)
	return found, err
}

// AddHours adds to what was used in hours.
func (r Repository) AddHours(ctx context.Context, workspace ids.Workspace, add []HourUsage) error {
	add = slices.SortedFunc(slices.Values(add), func(a, b HourUsage) int {
		return cmp.Or(strings.Compare(a.Meter, b.Meter), a.Hour.Compare(b.Hour))
	})
	n := len(add)
	meter, hour, quantity := make([]string, n), make([]string, n), make([]int64, n)
	for i, a := range add {
		meter[i], hour[i], quantity[i] = a.Meter, stamp(a.Hour), a.Quantity
	}
	_, err := r.db.NewRaw(`
		INSERT INTO billing.usage_hours AS h (workspace_id, meter, hour, quantity)
		SELECT ?0, a.* FROM unnest(?1::text[], ?2::timestamptz[], ?3::bigint[]) a
		ON CONFLICT (workspace_id, meter, hour) DO UPDATE SET quantity = h.quantity + EXCLUDED.quantity`,
		workspace, pgdialect.Array(meter), pgdialect.Array(hour), pgdialect.Array(quantity)).Exec(ctx)
	return err
}

// AddTotals adds to what was used in periods, and returns how much it is then. Until
// the transaction ends nobody else adds to these. What the provider charges for is
// reported to it later, unless the period was charged here.
func (r Repository) AddTotals(ctx context.Context, workspace ids.Workspace, add []PeriodUsage) ([]PeriodUsage, error) {
	add = slices.SortedFunc(slices.Values(add), func(a, b PeriodUsage) int {
		return cmp.Or(strings.Compare(a.Meter, b.Meter), a.PeriodStart.Compare(b.PeriodStart))
	})
	n := len(add)
	meter, start, quantity, sold := make([]string, n), make([]string, n), make([]int64, n), make([]int64, n)
	for i, a := range add {
		meter[i], start[i], quantity[i], sold[i] = a.Meter, stamp(a.PeriodStart), a.Quantity, a.Sold
	}
	var now []PeriodUsage
	err := r.db.NewRaw(`
		INSERT INTO billing.usage_totals AS t (workspace_id, meter, period_start_time, quantity, unreported_quantity)
		SELECT ?0, a.* FROM unnest(?1::text[], ?2::timestamptz[], ?3::bigint[], ?4::bigint[]) a
		ON CONFLICT (workspace_id, meter, period_start_time) DO UPDATE SET quantity = t.quantity + EXCLUDED.quantity,
			unreported_quantity = t.unreported_quantity + CASE WHEN t.price IS NULL THEN EXCLUDED.unreported_quantity ELSE 0 END
		RETURNING meter, period_start_time, quantity`,
		workspace, pgdialect.Array(meter), pgdialect.Array(start), pgdialect.Array(quantity), pgdialect.Array(sold)).Scan(ctx, &now)
	return now, err
}

// stamp writes a time for an array.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.999999Z07:00") }

// Bucket is what usage is added up by.
type Bucket string

// The buckets, in UTC.
const (
	ByHour  Bucket = "hour"
	ByDay   Bucket = "day"
	ByMonth Bucket = "month"
)

// Start returns the start of the bucket that a time is in.
func (b Bucket) Start(t time.Time) time.Time {
	t = t.UTC()
	switch b {
	case ByDay:
		return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
	case ByMonth:
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	}
	return t.Truncate(time.Hour)
}

// Next returns the start of the bucket after the one that begins at a time.
func (b Bucket) Next(start time.Time) time.Time {
	switch b {
	case ByDay:
		return start.AddDate(0, 0, 1)
	case ByMonth:
		return start.AddDate(0, 1, 0)
	}
	return start.Add(time.Hour)
}

// BucketUsage is how much was used in a bucket.
type BucketUsage struct {
	bun.BaseModel
	Start    time.Time
	Quantity int64
}

// Usage returns how much of a meter was used from one time until right before another,
// in each bucket in which anything was: whole hours by what they add up to, and the
// rest of the first and the last one by the events themselves. It is one statement.
func (r Repository) Usage(ctx context.Context, workspace ids.Workspace, meter string, from, to time.Time, b Bucket) ([]BucketUsage, error) {
	first, last := ByHour.Start(from), ByHour.Start(to)
	if first.Before(from) {
		first = first.Add(time.Hour)
	}
	head, tail := first, last // until when the first events go, and from when on the last ones
	if last.Before(first) {   // both within one hour
		head, tail = to, to
	}
	var found []BucketUsage
	err := r.db.NewRaw(`
		SELECT date_trunc(?7, u.at, 'UTC') AS start, sum(u.quantity)::bigint AS quantity FROM (
			SELECT hour AS at, quantity FROM billing.usage_hours
			WHERE workspace_id = ?0 AND meter = ?1 AND hour >= ?3 AND hour < ?5
			UNION ALL
			SELECT event_time, quantity FROM billing.usage_events
			WHERE workspace_id = ?0 AND meter = ?1 AND event_time >= ?2 AND event_time < ?4
			UNION ALL
			SELECT event_time, quantity FROM billing.usage_events
			WHERE workspace_id = ?0 AND meter = ?1 AND event_time >= ?6 AND event_time < ?8
		) u GROUP BY 1 ORDER BY 1`,
		workspace, meter, from, first, head, last, tail, string(b), to).Scan(ctx, &found)
	return found, err
}

// DeleteUsageBefore removes events of a time before, 10,000 of them at most, and
// returns how many. What they add up to stays.
func (r Repository) DeleteUsageBefore(ctx context.Context, before time.Time) (int, error) {
	result, err := r.db.NewRaw(`
		DELETE FROM billing.usage_events
		WHERE ctid = ANY (ARRAY(SELECT ctid FROM billing.usage_events WHERE event_time < ? LIMIT 10000))`, before).Exec(ctx)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}
