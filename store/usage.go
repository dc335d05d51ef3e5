package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

const (
	// usageAhead and usageLate are how far the time of a usage event may be from when it
	// is recorded.
	usageAhead = time.Hour
	usageLate  = 35 * 24 * time.Hour
	// usageRetention is how long usage events are kept.
	usageRetention = 400 * 24 * time.Hour
)

// UsageEvent is a usage event as it is told.
type UsageEvent struct {
	billing.UsageEvent
	// Timed tells that its time was told; otherwise it is when it is recorded.
	Timed bool
	// Field is where it is in the request.
	Field string
}

// same reports whether two events of one id have the same content, as far as it was
// told.
func (e UsageEvent) same(o UsageEvent) bool {
	return e.Meter == o.Meter && e.Quantity == o.Quantity && (!e.Timed || !o.Timed || e.EventTime.Equal(o.EventTime))
}

// RecordUsage records events of a workspace, all or none, and returns how many were
// new. An event counts in the hour and the period that its time is in.
//
// Errors: fault NOT_FOUND; SUBSCRIPTION_PAUSED; FIELD_INVALID for a time too early or
// late; USAGE_EVENT_CONFLICT; USAGE_LIMIT_REACHED.
func (s *Store) RecordUsage(ctx context.Context, workspace ids.Workspace, events []UsageEvent) (recorded int, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		recorded = 0
		subscription, err := t.billing.Subscription(ctx, workspace)
		switch {
		case err != nil:
			return err
		case !subscription.CancelTime.IsZero(): // the workspace is just being deleted
			return fault.NotFoundFault()
		case subscription.State == billing.Paused:
			return fault.New(fault.FailedPrecondition, fault.SubscriptionPaused, "the workspace's subscription is paused")
		}
		told, err := t.toldUsage(events)
		if err != nil {
			return err
		}
		fresh, err := t.insertUsage(ctx, workspace, told)
		if err != nil || len(fresh) == 0 {
			return err
		}
		recorded = len(fresh)
		return t.countUsage(ctx, subscription, fresh)
	})
	return recorded, err
}

// toldUsage returns events, each once, with their times.
func (t *tx) toldUsage(events []UsageEvent) (map[string]UsageEvent, error) {
	told := make(map[string]UsageEvent, len(events))
	for _, e := range events {
		switch {
		case !e.Timed:
			e.EventTime = t.now
		case e.EventTime.After(t.now.Add(usageAhead)):
			return nil, fault.Invalid(e.Field+".event_time", "is more than one hour ahead")
		case e.EventTime.Before(t.now.Add(-usageLate)):
			return nil, fault.Invalid(e.Field+".event_time", "is more than 35 days ago")
		}
		first, again := told[e.ID]
		switch {
		case again && !e.same(first):
			return nil, errUsageConflict(e)
		case !again || e.Timed && !first.Timed:
			told[e.ID] = e
		}
	}
	return told, nil
}

// insertUsage stores events and returns those that were not there, which none may be
// with another content.
func (t *tx) insertUsage(ctx context.Context, workspace ids.Workspace, told map[string]UsageEvent) ([]billing.UsageEvent, error) {
	rows := make([]billing.UsageEvent, 0, len(told))
	for _, e := range told {
		rows = append(rows, e.UsageEvent)
	}
	stored, err := t.billing.InsertUsage(ctx, workspace, rows, t.now)
	if err != nil {
		return nil, err
	}
	isNew := make(map[string]bool, len(stored))
	for _, id := range stored {
		isNew[id] = true
	}
	var fresh []billing.UsageEvent
	var known []string
	for _, e := range rows {
		if isNew[e.ID] {
			fresh = append(fresh, e)
		} else {
			known = append(known, e.ID)
		}
	}
	if len(known) == 0 {
		return fresh, nil
	}
	there, err := t.billing.UsageEvents(ctx, workspace, known)
	if err != nil {
		return nil, err
	}
	for _, e := range there {
		if told := told[e.ID]; !told.same(UsageEvent{UsageEvent: e, Timed: true}) {
			return nil, errUsageConflict(told)
		}
	}
	return fresh, nil
}

func errUsageConflict(e UsageEvent) error {
	return fault.New(fault.AlreadyExists, fault.UsageEventConflict, "another event has the id "+e.ID).WithField(e.Field + ".event_id")
}

// countUsage adds stored events to their hours and periods. What a limit does not
// leave room for is refused: until the transaction ends, nobody else adds to the same
// periods.
func (t *tx) countUsage(ctx context.Context, s *billing.Subscription, events []billing.UsageEvent) error {
	type key struct {
		meter string
		at    int64
	}
	sold, since, err := t.soldUsage(ctx, s)
	if err != nil {
		return err
	}
	hours, periods := map[key]billing.HourUsage{}, map[key]billing.PeriodUsage{}
	var known []pricing.Period
	for _, e := range events {
		hour := billing.ByHour.Start(e.EventTime)
		h := key{e.Meter, hour.Unix()}
		hours[h] = billing.HourUsage{Meter: e.Meter, Hour: hour, Quantity: hours[h].Quantity + e.Quantity}
		period, err := t.knownPeriod(ctx, s, e.EventTime, &known)
		if err != nil {
			return err
		}
		p := key{e.Meter, period.Start.UnixMicro()}
		total := billing.PeriodUsage{Meter: e.Meter, PeriodStart: period.Start, Quantity: periods[p].Quantity + e.Quantity, Sold: periods[p].Sold}
		if sold[e.Meter] != "" && !period.Start.Before(since) {
			total.Sold += e.Quantity
		}
		periods[p] = total
	}
	given, err := t.billing.Entitlements(ctx, s.WorkspaceID, "", t.now)
	if err != nil {
		return err
	}
	if err := t.billing.AddHours(ctx, s.WorkspaceID, values(hours)); err != nil {
		return err
	}
	totals, err := t.billing.AddTotals(ctx, s.WorkspaceID, values(periods))
	if err != nil {
		return err
	}
	limits := usageLimits(given)
	for _, total := range totals {
		limit, limited := limits[total.Meter]
		if !limited {
			limit = billing.MaxUsage
		}
		if total.Quantity > limit {
			return errUsageLimit(total, limit, periods[key{total.Meter, total.PeriodStart.UnixMicro()}].Quantity)
		}
	}
	return nil
}

// soldUsage returns what the provider charges usage of a subscription by, by meter, and
// since when it does: nothing is charged of a trial, however late it is told. It returns
// nothing while that is tried, or when it charges for none.
func (t *tx) soldUsage(ctx context.Context, s *billing.Subscription) (prices map[string]string, since time.Time, err error) {
	if s.Provider != billing.Stripe || s.State == billing.Trialing {
		return nil, since, nil
	}
	plan, err := t.billing.Plan(ctx, s.Plan, s.PlanVersion)
	if err != nil {
		return nil, since, err
	}
	price := priceOf(s, plan)
	if price == nil || price.Stripe == nil || len(price.Stripe.Usage) == 0 {
		return nil, since, nil
	}
	since, err = t.billing.BoughtTime(ctx, s.ID)
	if fault.Has(err, fault.Missing) {
		return nil, since, nil // it has just ended there
	}
	return price.Stripe.Usage, maxTime(since, s.TrialEndTime), err
}

// knownPeriod is periodOf for many times, most of which are in the same periods.
func (t *tx) knownPeriod(ctx context.Context, s *billing.Subscription, at time.Time, known *[]pricing.Period) (pricing.Period, error) {
	for _, p := range *known {
		if !at.Before(p.Start) && at.Before(p.End) {
			return p, nil
		}
	}
	p, err := t.periodOf(ctx, s, at)
	if err == nil {
		*known = append(*known, p)
	}
	return p, err
}

func values[K comparable, V any](m map[K]V) []V {
	list := make([]V, 0, len(m))
	for _, v := range m {
		list = append(list, v)
	}
	return list
}

// usageLimits returns how much may be used of meters in a period: of those that
// features limit, the least.
func usageLimits(given []billing.Entitlement) map[string]int64 {
	limits := map[string]int64{}
	for _, e := range given {
		limit := int64(billing.MaxUsage)
		switch {
		case e.Meter == "":
			continue
		case e.Metered == nil && !e.Granted():
			limit = 0
		case e.Metered != nil && !e.Metered.Soft && !e.Metered.Limit.Unlimited:
			limit = min(e.Metered.Limit.Value, billing.MaxUsage)
		}
		if least, ok := limits[e.Meter]; !ok || limit < least {
			limits[e.Meter] = limit
		}
	}
	return limits
}

// errUsageLimit is the fault of what would bring a period to a total beyond the limit.
func errUsageLimit(total billing.PeriodUsage, limit, requested int64) error {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	used := total.Quantity - requested
	return fault.New(fault.ResourceExhausted, fault.UsageLimitReached,
		fmt.Sprintf("of %d %s in the period %d are used, and %d more do not go into it", limit, total.Meter, used, requested)).
		WithMetadata("meter", total.Meter).WithMetadata("limit", number(limit)).
		WithMetadata("used", number(used)).WithMetadata("requested", number(requested))
}

// UsageQuery asks what was used of a meter from one time until right before another.
type UsageQuery struct {
	Workspace ids.Workspace
	Meter     string
	From, To  time.Time
	Bucket    billing.Bucket
}

// Usage returns what was used in each bucket in which anything was.
//
// Errors: fault FIELD_INVALID for a time so long ago that only its whole hour is known.
func (s *Store) Usage(ctx context.Context, q UsageQuery) ([]billing.BucketUsage, error) {
	known := billing.ByHour.Start(s.options.Clock.Now().Add(-usageRetention))
	for field, at := range map[string]time.Time{"start_time": q.From, "end_time": q.To} {
		if hour := billing.ByHour.Start(at); !hour.Equal(at) && hour.Before(known) {
			return nil, fault.Invalid(field, "is more than 400 days ago, where only whole hours are known")
		}
	}
	return s.Billing.Usage(ctx, q.Workspace, q.Meter, q.From, q.To, q.Bucket)
}

// deleteOldUsage removes usage events that are older than they are kept, in
// transactions that are small.
func (s *Store) deleteOldUsage(ctx context.Context) error {
	for {
		var gone int
		if err := s.write(ctx, func(ctx context.Context, t *tx) (err error) {
			gone, err = t.billing.DeleteUsageBefore(ctx, billing.ByHour.Start(t.now.Add(-usageRetention)))
			return err
		}); err != nil || gone == 0 {
			return err
		}
	}
}
