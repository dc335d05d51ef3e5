package e2e

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/logicspike/manager/client"
	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// meteredPlans limit two meters, one of them hard.
const meteredPlans = `
plans:
  - plan: metered
    name: Metered
    default: true
    features:
      api_calls: {meter: api_calls, limit: 100}
      storage: {meter: storage, limit: 100, soft: true}
      seats: 5
`

// longSessions lets people stay signed in for as long as a test may take.
func longSessions(s *config.Settings) {
	s.SessionLifetime, s.SessionIdleTimeout = 1000*24*time.Hour, 1000*24*time.Hour
}

// usageServer starts a server whose time begins at one, and registers somebody.
func usageServer(t *testing.T, began time.Time, plans string) (*testkit.Server, *testkit.Person) {
	t.Helper()
	c := new(clock.Manual)
	if !began.IsZero() {
		c.Advance(began.Sub(c.Now()))
	}
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: longSessions, Clock: c})
	if plans != "" {
		applyPlans(t, srv, plans)
	}
	return srv, (&stage{srv}).person(t)
}

func used(id, meter string, quantity int64, at time.Time) *billingv1.UsageEvent {
	e := &billingv1.UsageEvent{EventId: id, Meter: meter, Quantity: quantity}
	if !at.IsZero() {
		e.EventTime = timestamppb.New(at)
	}
	return e
}

// record records one event, and returns whether it was there already.
func record(t testing.TB, p *testkit.Person, e *billingv1.UsageEvent) (bool, error) {
	t.Helper()
	res, err := p.Usage.RecordUsage(t.Context(), &billingv1.RecordUsageRequest{WorkspaceId: p.Workspace.Id, Event: e})
	return res.GetDuplicate(), err
}

// recordAll records events at once, and returns how many were new.
func recordAll(t testing.TB, p *testkit.Person, events ...*billingv1.UsageEvent) (int, error) {
	t.Helper()
	res, err := p.Usage.BatchRecordUsage(t.Context(), &billingv1.BatchRecordUsageRequest{WorkspaceId: p.Workspace.Id, Events: events})
	if err == nil && int(res.RecordedCount+res.DuplicateCount) != len(events) {
		t.Errorf("of %d events %d are new and %d duplicates", len(events), res.RecordedCount, res.DuplicateCount)
	}
	return int(res.GetRecordedCount()), err
}

func queryUsage(t testing.TB, p *testkit.Person, meter string, from, to time.Time, bucket billingv1.UsageBucket) *billingv1.QueryUsageResponse {
	t.Helper()
	res, err := p.Usage.QueryUsage(t.Context(), &billingv1.QueryUsageRequest{
		WorkspaceId: p.Workspace.Id, Meter: meter, StartTime: timestamppb.New(from), EndTime: timestamppb.New(to), Bucket: bucket,
	})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// total is what was used of a meter in the days around now.
func total(t testing.TB, srv *testkit.Server, p *testkit.Person, meter string) int64 {
	t.Helper()
	now := srv.Clock.Now()
	return queryUsage(t, p, meter, now.AddDate(0, 0, -40), now.AddDate(0, 0, 2), billingv1.UsageBucket_USAGE_BUCKET_DAY).Total
}

// detailsOf returns what an error tells programs, and the fields that it names.
func detailsOf(err error) (metadata map[string]string, fields []string) {
	var e *connect.Error
	if !errors.As(err, &e) {
		return nil, nil
	}
	for _, d := range e.Details() {
		m, _ := d.Value()
		switch m := m.(type) {
		case *errdetails.ErrorInfo:
			metadata = m.Metadata
		case *errdetails.BadRequest:
			for _, v := range m.FieldViolations {
				fields = append(fields, v.Field)
			}
		}
	}
	return metadata, fields
}

func TestAUsageEventIsCountedOnce(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Time{}, "")
	at := srv.Clock.Now().Add(-time.Minute)
	for i, e := range []*billingv1.UsageEvent{used("a", "api_calls", 5, at), used("b", "api_calls", 7, time.Time{})} {
		for try := range 3 {
			if again, err := record(t, p, e); err != nil || again != (try > 0) {
				t.Errorf("event %d, try %d: %t, %v", i, try, again, err)
			}
		}
	}
	for what, e := range map[string]*billingv1.UsageEvent{
		"another quantity": used("a", "api_calls", 6, at), "another meter": used("a", "storage", 5, at), "another time": used("a", "api_calls", 5, at.Add(time.Microsecond)),
		"a time":  used("b", "api_calls", 7, at),
		"no time": used("a", "api_calls", 4, time.Time{}),
	} {
		_, err := record(t, p, e)
		if _, fields := detailsOf(err); reasonOf(err) != "USAGE_EVENT_CONFLICT" || connect.CodeOf(err) != connect.CodeAlreadyExists || !slices.Equal(fields, []string{"event.event_id"}) {
			t.Errorf("%s: %v, %v", what, err, fields)
		}
	}
	if again, err := record(t, p, used("a", "api_calls", 5, time.Time{})); err != nil || !again {
		t.Errorf("again, without its time: %t, %v", again, err)
	}

	// In a batch, beside others and itself.
	batch := []*billingv1.UsageEvent{used("c", "api_calls", 1, at), used("a", "api_calls", 5, at), used("c", "api_calls", 1, time.Time{}), used("d", "api_calls", 2, at)}
	if n, err := recordAll(t, p, batch...); err != nil || n != 2 {
		t.Errorf("a batch: %d, %v", n, err)
	}
	if n, err := recordAll(t, p, batch...); err != nil || n != 0 {
		t.Errorf("again: %d, %v", n, err)
	}
	for what, bad := range map[string]*billingv1.UsageEvent{"than one there": used("a", "api_calls", 6, at), "than another in it": used("e", "api_calls", 9, at)} {
		_, err := recordAll(t, p, used("e", "api_calls", 8, at), used("f", "api_calls", 8, at), bad)
		if _, fields := detailsOf(err); reasonOf(err) != "USAGE_EVENT_CONFLICT" || !slices.Equal(fields, []string{"events[2].event_id"}) {
			t.Errorf("a batch with another content %s: %v, %v", what, err, fields)
		}
	}
	// An id is the workspace's own.
	other := (&stage{srv}).person(t)
	if again, err := record(t, other, used("a", "api_calls", 100, at)); err != nil || again {
		t.Errorf("in another workspace: %t, %v", again, err)
	}
	if got := total(t, srv, p, "api_calls"); got != 5+7+1+2 {
		t.Errorf("in all %d", got)
	}
	srv.CheckInvariants(t)
}

func TestAUsageEventIsCountedOnceHoweverManyRecordItAtOnce(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Time{}, "")
	var fresh atomic.Int64
	got := atOnce(20, func(int) error {
		again, err := record(t, p, used("same", "api_calls", 3, time.Time{}))
		if err == nil && !again {
			fresh.Add(1)
		}
		return err
	})
	if got[""] != 20 || fresh.Load() != 1 {
		t.Errorf("one event at once: %v, %d times new", got, fresh.Load())
	}
	// Batches that overlap, each in an order of its own, over several hours and meters.
	const distinct = 300
	now := srv.Clock.Now()
	got = atOnce(10, func(i int) error {
		var batch []*billingv1.UsageEvent
		for _, n := range rand.Perm(distinct)[:200] {
			batch = append(batch, used(fmt.Sprint("event", n), fmt.Sprint("meter_", n%3), int64(n+1), now.Add(-time.Duration(n)*time.Hour)))
		}
		n, err := recordAll(t, p, batch...)
		fresh.Add(int64(n))
		return err
	})
	stored := count(t, srv, "SELECT count(*) FROM billing.usage_events")
	if got[""] != 10 || int(fresh.Load()) != stored || stored < 200 {
		t.Errorf("batches at once: %v, %d times new, and %d are there", got, fresh.Load(), stored)
	}
	srv.CheckInvariants(t)
}

func TestUsageThatComesLateCountsInThePeriodItsTimeIsIn(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Date(2028, 1, 31, 10, 30, 0, 0, time.UTC), meteredPlans)
	anchor := subscriptionOf(t, p, p.Workspace.Id).CurrentPeriodStartTime.AsTime()
	february := subscriptionOf(t, p, p.Workspace.Id).CurrentPeriodEndTime.AsTime() // the 29th
	if february.Month() != time.February || february.Day() != 29 {
		t.Fatalf("the second period begins at %v", february)
	}
	srv.Clock.Advance(february.Add(time.Hour).Sub(srv.Clock.Now()))
	// The newest first, and the ends of the period to the microsecond.
	for i, at := range []time.Time{february.Add(time.Minute), february, february.Add(-time.Microsecond), anchor.Add(time.Hour), anchor} {
		if _, err := record(t, p, used(fmt.Sprint(i), "api_calls", 10, at)); err != nil {
			t.Fatal(err)
		}
	}
	in := func(start time.Time) (n int) {
		return count(t, srv, "SELECT coalesce(sum(quantity), 0) FROM billing.usage_totals WHERE period_start_time = $1", start)
	}
	if in(anchor) != 30 || in(february) != 20 {
		t.Errorf("the first period has %d, and the second %d", in(anchor), in(february))
	}
	// The limit is each period's own.
	if _, err := record(t, p, used("late", "api_calls", 71, anchor.Add(time.Hour))); reasonOf(err) != "USAGE_LIMIT_REACHED" {
		t.Errorf("beyond the limit of the first period: %v", err)
	}
	if _, err := record(t, p, used("late", "api_calls", 70, anchor.Add(time.Hour))); err != nil {
		t.Errorf("up to the limit of the first period: %v", err)
	}

	now := srv.Clock.Now()
	for what, test := range map[string]struct {
		at   time.Time
		want string
	}{
		"an hour ahead":     {now.Add(time.Hour), ""},
		"more than an hour": {now.Add(time.Hour + time.Minute), "FIELD_INVALID"},
		"35 days ago":       {now.AddDate(0, 0, -35).Add(time.Minute), ""},
		"more than 35 days": {now.AddDate(0, 0, -35).Add(-time.Microsecond), "FIELD_INVALID"},
		"the year 2":        {time.Date(2, 1, 1, 0, 0, 0, 0, time.UTC), "FIELD_INVALID"},
	} {
		_, err := recordAll(t, p, used(strings.ReplaceAll(what, " ", "-"), "other", 1, time.Time{}), used(strings.ReplaceAll(what, " ", "_"), "other", 1, test.at))
		if _, fields := detailsOf(err); reasonOf(err) != test.want || err != nil && !slices.Equal(fields, []string{"events[1].event_time"}) {
			t.Errorf("%s: %v, %v", what, err, fields)
		}
	}
	srv.CheckInvariants(t)
}

// TestUsageIsToldExactly compares answers with what the events add up to: around the
// end of February of a leap year, from any microsecond to any other.
func TestUsageIsToldExactly(t *testing.T) {
	t.Parallel()
	end := time.Date(2028, 3, 2, 12, 0, 0, 0, time.UTC)
	_, p := usageServer(t, end, "")
	random := rand.New(rand.NewPCG(1, 2))
	// Times as they matter: any, and those next to the ends of hours, days and months.
	some := func() time.Time {
		at := end.Add(-time.Duration(random.Int64N(int64(30 * 24 * time.Hour))))
		switch random.IntN(5) {
		case 0:
			at = at.Truncate(time.Hour)
		case 1:
			at = at.Truncate(24 * time.Hour)
		case 2:
			at = time.Date(2028, 3, 1, 0, 0, 0, 0, time.UTC)
		case 3:
			at = time.Date(2028, 2, 29, 0, 0, 0, 0, time.UTC)
		}
		return at.Add(time.Duration(random.IntN(3)-1) * time.Microsecond).Truncate(time.Microsecond)
	}
	var events []*billingv1.UsageEvent
	for i := range 1000 {
		events = append(events, used(fmt.Sprint(i), fmt.Sprint("meter_", i%2), 1+random.Int64N(1000), some()))
	}
	if n, err := recordAll(t, p, events...); err != nil || n != len(events) {
		t.Fatal(n, err)
	}
	starts := map[billingv1.UsageBucket]func(time.Time) time.Time{
		billingv1.UsageBucket_USAGE_BUCKET_HOUR:  func(t time.Time) time.Time { return t.Truncate(time.Hour) },
		billingv1.UsageBucket_USAGE_BUCKET_DAY:   func(t time.Time) time.Time { return t.Truncate(24 * time.Hour) },
		billingv1.UsageBucket_USAGE_BUCKET_MONTH: func(t time.Time) time.Time { return t.AddDate(0, 0, 1-t.Day()).Truncate(24 * time.Hour) },
	}
	for range 200 {
		from, to := some(), some()
		if random.IntN(4) == 0 {
			to = from.Add(time.Duration(1+random.IntN(int(2*time.Hour/time.Microsecond))) * time.Microsecond)
		}
		if !from.Before(to) {
			continue
		}
		for bucket, startOf := range starts {
			res := queryUsage(t, p, "meter_1", from, to, bucket)
			want, sum := map[int64]int64{}, int64(0)
			for _, e := range events {
				if at := e.EventTime.AsTime(); e.Meter == "meter_1" && !at.Before(from) && at.Before(to) {
					want[startOf(at).Unix()] += e.Quantity
					sum += e.Quantity
				}
			}
			got, next := map[int64]int64{}, from
			for _, s := range res.Sums { // without a gap from one end to the other, in whole buckets
				start, end := s.StartTime.AsTime(), s.EndTime.AsTime()
				if !start.Equal(next) || !startOf(end.Add(-time.Microsecond)).Equal(startOf(start)) {
					t.Fatalf("%v from %v to %v: a bucket from %v to %v", bucket, from, to, start, end)
				}
				next = end
				if s.Quantity != 0 {
					got[startOf(start).Unix()] = s.Quantity
				}
			}
			if !next.Equal(to) || res.Total != sum || !maps.Equal(got, want) {
				t.Fatalf("%v from %v to %v: %v, in all %d; want %v, in all %d", bucket, from, to, got, res.Total, want, sum)
			}
		}
	}
}

func TestAQueryOfUsageHasBounds(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Time{}, "")
	now := srv.Clock.Now().Truncate(time.Hour)
	for what, test := range map[string]struct {
		from, to time.Time
		bucket   billingv1.UsageBucket
		field    string // "" for an answer
	}{
		"1000 hours":           {now.Add(-1000 * time.Hour), now, billingv1.UsageBucket_USAGE_BUCKET_HOUR, ""},
		"1000 hours, shifted":  {now.Add(-1000 * time.Hour).Add(1), now.Add(time.Microsecond), billingv1.UsageBucket_USAGE_BUCKET_HOUR, "end_time"},
		"1001 hours":           {now.Add(-1001 * time.Hour), now, billingv1.UsageBucket_USAGE_BUCKET_HOUR, "end_time"},
		"all of time":          {time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2083, 5, 1, 0, 0, 0, 0, time.UTC), billingv1.UsageBucket_USAGE_BUCKET_MONTH, ""},
		"more than that":       {time.Date(1999, 12, 31, 0, 0, 0, 0, time.UTC), now, billingv1.UsageBucket_USAGE_BUCKET_MONTH, "start_time"},
		"too far ahead":        {now, time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC), billingv1.UsageBucket_USAGE_BUCKET_MONTH, "end_time"},
		"nothing":              {now, now, billingv1.UsageBucket_USAGE_BUCKET_HOUR, "end_time"},
		"backwards":            {now, now.Add(-1), billingv1.UsageBucket_USAGE_BUCKET_HOUR, "end_time"},
		"whole hours long ago": {now.AddDate(-3, 0, 0), now, billingv1.UsageBucket_USAGE_BUCKET_MONTH, ""},
		"a part of one":        {now.AddDate(-3, 0, 0).Add(time.Minute), now, billingv1.UsageBucket_USAGE_BUCKET_MONTH, "start_time"},
		"until a part of one":  {now.AddDate(-3, 0, 0), now.AddDate(-2, 0, 0).Add(time.Minute), billingv1.UsageBucket_USAGE_BUCKET_MONTH, "end_time"},
	} {
		_, err := p.Usage.QueryUsage(t.Context(), &billingv1.QueryUsageRequest{
			WorkspaceId: p.Workspace.Id, Meter: "m", StartTime: timestamppb.New(test.from), EndTime: timestamppb.New(test.to), Bucket: test.bucket,
		})
		_, fields := detailsOf(err)
		if (err == nil) != (test.field == "") || err != nil && (reasonOf(err) != "FIELD_INVALID" || !slices.Equal(fields, []string{test.field})) {
			t.Errorf("%s: %v, %v", what, err, fields)
		}
	}
}

func usedOf(t testing.TB, p *testkit.Person, feature string) *billingv1.Entitlement {
	t.Helper()
	res, err := p.Entitlements.CheckEntitlement(t.Context(), &billingv1.CheckEntitlementRequest{WorkspaceId: p.Workspace.Id, Feature: feature})
	if err != nil {
		t.Fatal(err)
	}
	return res.Entitlement
}

func TestNoMoreIsUsedThanThePlanAllowsHoweverManyRecordAtOnce(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Time{}, meteredPlans)
	var refusals atomic.Int64
	got := atOnce(50, func(i int) error {
		_, err := record(t, p, used(fmt.Sprint(i), "api_calls", 3, time.Time{}))
		if err != nil {
			m, _ := detailsOf(err)
			if m["meter"] == "api_calls" && m["limit"] == "100" && m["used"] == "99" && m["requested"] == "3" && connect.CodeOf(err) == connect.CodeResourceExhausted {
				refusals.Add(1)
			}
		}
		return err
	})
	if got[""] != 33 || got["USAGE_LIMIT_REACHED"] != 17 || refusals.Load() != 17 {
		t.Errorf("50 at once: %v, of which %d tell all", got, refusals.Load())
	}
	if e := usedOf(t, p, "api_calls"); e.Used != 99 || !e.Granted {
		t.Errorf("the entitlement: %v", e)
	}
	// What is there already is no more; and a batch is refused as a whole.
	if _, err := recordAll(t, p, used("other", "other", 1, time.Time{}), used("x", "api_calls", 1, time.Time{}), used("y", "api_calls", 1, time.Time{})); reasonOf(err) != "USAGE_LIMIT_REACHED" {
		t.Errorf("a batch: %v", err)
	}
	if n, err := recordAll(t, p, used("x", "api_calls", 1, time.Time{})); err != nil || n != 1 {
		t.Errorf("the last one: %d, %v", n, err)
	}
	if again, err := record(t, p, used("x", "api_calls", 1, time.Time{})); err != nil || !again {
		t.Errorf("the last one, again: %t, %v", again, err)
	}
	// A soft limit is told, and not kept; what no feature names has none but the largest.
	for meter, quantity := range map[string]int64{"storage": 1000, "unnamed": 1e12} {
		if _, err := record(t, p, used(meter, meter, quantity, time.Time{})); err != nil {
			t.Errorf("%s: %v", meter, err)
		}
	}
	if e := usedOf(t, p, "storage"); e.Used != 1000 || !e.Granted {
		t.Errorf("the soft entitlement: %v", e)
	}
	all, err := p.Entitlements.ListEntitlements(t.Context(), &billingv1.ListEntitlementsRequest{WorkspaceId: p.Workspace.Id})
	if err != nil || len(all.Entitlements) != 3 || all.Entitlements[0].Used != 100 || all.Entitlements[1].Used != 0 || all.Entitlements[2].Used != 1000 {
		t.Errorf("all entitlements: %v, %v", all, err)
	}
	srv.CheckInvariants(t)

	// The next period begins anew.
	srv.Clock.Advance(32 * 24 * time.Hour)
	if e := usedOf(t, p, "api_calls"); e.Used != 0 {
		t.Errorf("in the next period: %v", e)
	}
	if _, err := record(t, p, used("next", "api_calls", 100, time.Time{})); err != nil {
		t.Errorf("in the next period: %v", err)
	}
	if e := usedOf(t, p, "api_calls"); e.Used != 100 {
		t.Errorf("in the next period, used up: %v", e)
	}
	srv.CheckInvariants(t)
}

func TestAPeriodHasAnEnd(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Time{}, "")
	var batch []*billingv1.UsageEvent
	for i := range 1000 {
		batch = append(batch, used(fmt.Sprint(i), "m", 1e12, time.Time{}))
	}
	if n, err := recordAll(t, p, batch...); err != nil || n != 1000 {
		t.Fatal(n, err)
	}
	_, err := record(t, p, used("more", "m", 1, time.Time{}))
	if m, _ := detailsOf(err); reasonOf(err) != "USAGE_LIMIT_REACHED" || m["limit"] != "1000000000000000" {
		t.Errorf("more than can be counted: %v, %v", err, m)
	}
	if got := total(t, srv, p, "m"); got != 1e15 {
		t.Errorf("in all %d", got)
	}
	srv.CheckInvariants(t)
}

func TestAnOperatorLimitsAMeter(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Time{}, meteredPlans)
	operator := makeOperator(t, srv, (&stage{srv}).person(t))
	id := 0
	for _, test := range []struct {
		feature  string
		value    any // nil ends the override
		quantity int64
		want     string
	}{
		{"api_calls", int64(150), 150, ""}, {"api_calls", int64(150), 1, "USAGE_LIMIT_REACHED"},
		{"api_calls", true, 1000, ""}, {"api_calls", false, 1, "USAGE_LIMIT_REACHED"}, {"api_calls", nil, 1, "USAGE_LIMIT_REACHED"},
		{"storage", int64(1), 500, ""}, // soft as it was
		{"storage", false, 1, "USAGE_LIMIT_REACHED"}, {"storage", nil, 1, ""},
	} {
		req := &billingv1.OverrideEntitlementRequest{WorkspaceId: p.Workspace.Id, Feature: test.feature, Reason: "A test"}
		switch v := test.value.(type) {
		case int64:
			req.Value = &billingv1.OverrideEntitlementRequest_Limit{Limit: &billingv1.Limit{Value: v}}
		case bool:
			req.Value = &billingv1.OverrideEntitlementRequest_Enabled{Enabled: v}
		}
		res, err := operator.Entitlements.OverrideEntitlement(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if v, ok := test.value.(int64); ok && (res.Entitlement.Feature.GetMetered().GetLimit().GetValue() != v || res.Entitlement.Feature.GetMetered().GetMeter() != test.feature) {
			t.Errorf("overridden by %d: %v", v, res.Entitlement)
		}
		id++
		if _, err := record(t, p, used(fmt.Sprint(id), test.feature, test.quantity, time.Time{})); reasonOf(err) != test.want {
			t.Errorf("%s = %v, and %d more: %v, want %q", test.feature, test.value, test.quantity, err, test.want)
		}
	}
	if e := usedOf(t, p, "api_calls"); e.Used != 1150 {
		t.Errorf("in the end: %v", e)
	}
	srv.CheckInvariants(t)
}

func TestWhoseSubscriptionIsPausedRecordsNothing(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Time{}, "")
	if _, err := srv.SQL.Exec(t.Context(), `
		UPDATE billing.subscriptions SET state = 'paused', pause_reason = 'canceled'`); err != nil {
		t.Fatal(err)
	}
	_, err := record(t, p, used("a", "api_calls", 1, time.Time{}))
	because(t, "paused", err, "SUBSCRIPTION_PAUSED")
	if n := count(t, srv, "SELECT count(*) FROM billing.usage_events"); n != 0 {
		t.Errorf("%d events are there", n)
	}
}

func TestAProgramRecordsUsageByItsKey(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Time{}, "")
	w := &world{t: t, srv: srv, owner: p}
	w.prove(p)
	for permission, want := range map[string]string{"usage.record": "", "billing.get": "PERMISSION_MISSING"} {
		key := keyOf(t, p, permission)
		c := srv.Client("", client.WithAPIKey(key.Token))
		_, err := c.Usage.RecordUsage(t.Context(), &billingv1.RecordUsageRequest{WorkspaceId: p.Workspace.Id, Event: used(permission, "api_calls", 1, time.Time{})})
		if reasonOf(err) != want {
			t.Errorf("a key that may %s: %v, want %q", permission, err, want)
		}
	}
}

// TestABatchOfUsageMayBeLarge: 1000 events of the longest content fit into a request,
// in each encoding; no other method takes as much.
func TestABatchOfUsageMayBeLarge(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Time{}, "")
	at := srv.Clock.Now()
	batch := func(round string) (list []*billingv1.UsageEvent) {
		for i := range 1000 {
			list = append(list, used(strings.Repeat(`"`, 60-len(round))+round+fmt.Sprintf("%04d", i), strings.Repeat("m", 60), 1e11+int64(i), at.Add(-time.Duration(i)*time.Microsecond)))
		}
		return list
	}
	for name, c := range map[string]*client.Client{
		"binary": p.Client, "JSON": srv.Client("", client.WithSession(p.Token), client.WithConnect(connect.WithProtoJSON())),
	} {
		res, err := c.Usage.BatchRecordUsage(t.Context(), &billingv1.BatchRecordUsageRequest{WorkspaceId: p.Workspace.Id, Events: batch(name)})
		if err != nil || res.RecordedCount != 1000 {
			t.Errorf("%s: %v, %v", name, res, err)
		}
	}
	_, err := recordAll(t, p, append(batch("more"), used("one", "m", 1, at))...)
	because(t, "1001 events", err, "FIELD_INVALID")
	large := []byte(`{"workspaceId":"` + p.Workspace.Id + `"` + strings.Repeat(" ", 100<<10) + `}`)
	for method, want := range map[string]string{
		"BatchRecordUsage": "invalid_argument FIELD_INVALID", // which has no events
		"RecordUsage":      "resource_exhausted REQUEST_TOO_LARGE", "QueryUsage": "resource_exhausted REQUEST_TOO_LARGE",
	} {
		if got := post(t, srv, "/logicspike.billing.v1.UsageService/"+method, p.Token, "application/json", large).outcome(); got != want {
			t.Errorf("%s of 100 KiB: %s, want %s", method, got, want)
		}
	}
	srv.CheckInvariants(t)
}

func TestUsageIsPurgedWithItsWorkspace(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Time{}, "")
	other := (&stage{srv}).person(t)
	for _, who := range []*testkit.Person{p, other} {
		if n, err := recordAll(t, who, used("a", "m", 1, time.Time{}), used("b", "n", 1, time.Time{})); err != nil || n != 2 {
			t.Fatal(n, err)
		}
	}
	etag := preview(t, p, p.Workspace.Id).Etag
	if err := remove(t, p, p.Workspace.Id, etag); err != nil {
		t.Fatal(err)
	}
	_, err := record(t, p, used("c", "m", 1, time.Time{}))
	because(t, "of a deleted workspace", err, "NOT_FOUND")
	srv.CheckInvariants(t)
	if _, err := p.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: etag}); err != nil {
		t.Fatal(err)
	}
	srv.CheckPurged(t, p.Workspace.Id, p.User.Id)
	if n := count(t, srv, "SELECT (SELECT count(*) FROM billing.usage_events) + (SELECT count(*) FROM billing.usage_hours) + (SELECT count(*) FROM billing.usage_totals)"); n != 6 {
		t.Errorf("%d rows of the other workspace are left, want 6", n)
	}
	srv.CheckInvariants(t)
}

// TestOldUsageEventsAreRemovedAndWhatTheyAddUpToStays: also of more than are removed at
// once.
func TestOldUsageEventsAreRemovedAndWhatTheyAddUpToStays(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Time{}, "")
	now := srv.Clock.Now()
	bound := now.AddDate(0, 0, -400).Truncate(time.Hour)
	if _, err := srv.SQL.Exec(t.Context(), `
		WITH w AS (SELECT id FROM tenant.workspaces),
		events AS (INSERT INTO billing.usage_events SELECT id, 'old' || n, 'm', 1, $1::timestamptz - n * interval '1 second', now() FROM w, generate_series(1, 25000) n RETURNING *),
		hours AS (INSERT INTO billing.usage_hours SELECT workspace_id, meter, date_trunc('hour', event_time, 'UTC'), sum(quantity) FROM events GROUP BY 1, 2, 3)
		INSERT INTO billing.usage_totals SELECT workspace_id, meter, $1::timestamptz - interval '30 days', sum(quantity) FROM events GROUP BY 1, 2`, bound); err != nil {
		t.Fatal(err)
	}
	if _, err := record(t, p, used("new", "m", 5, time.Time{})); err != nil {
		t.Fatal(err)
	}
	all := func() int64 {
		return queryUsage(t, p, "m", bound.AddDate(0, 0, -10), now.Add(time.Hour), billingv1.UsageBucket_USAGE_BUCKET_DAY).Total
	}
	before := all()
	if err := srv.Store.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, srv, "SELECT count(*) FROM billing.usage_events"); n != 1 || before != 25005 || all() != before {
		t.Errorf("%d events are left, and tell %d, before: %d", n, all(), before)
	}
	srv.CheckInvariants(t)
}
