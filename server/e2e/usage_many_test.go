package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/postgres"
)

// sentQueries notes what is sent to the database.
type sentQueries struct{ sent []string }

func (s *sentQueries) BeforeQuery(ctx context.Context, e *bun.QueryEvent) context.Context {
	s.sent = append(s.sent, e.Query)
	return ctx
}

func (*sentQueries) AfterQuery(context.Context, *bun.QueryEvent) {}

// TestUsageOfManyEventsIsToldByIndexes, and fast, also before the database has
// gathered statistics.
func TestUsageOfManyEventsIsToldByIndexes(t *testing.T) {
	t.Parallel()
	srv, p := usageServer(t, time.Time{}, "")
	other := (&stage{srv}).person(t)
	workspace, err := ids.Parse[ids.Workspace](p.Workspace.Id)
	if err != nil {
		t.Fatal(err)
	}
	now := srv.Clock.Now().Truncate(time.Hour)
	began, size := time.Now(), sized(1_000_000)
	testkit.FillUsage(t, srv.SQL, uuidOf(t, p.Workspace.Id), now, size)
	testkit.FillUsage(t, srv.SQL, uuidOf(t, other.Workspace.Id), now, size/100)
	t.Logf("%d events were made in %v", size, time.Since(began).Round(time.Millisecond))
	db, err := postgres.Open(postgres.Options{URL: srv.Database, MaxConnections: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var all sentQueries
	repository := billing.New(db.Bun.WithQueryHook(&all))
	for _, statistics := range []string{"without statistics", "with statistics"} {
		if statistics == "with statistics" {
			if _, err := srv.SQL.Exec(t.Context(), "VACUUM ANALYZE billing.usage_events, billing.usage_hours, billing.usage_totals"); err != nil {
				t.Fatal(err)
			}
		}
		for name, q := range map[string]struct {
			from   time.Duration
			bucket billingv1.UsageBucket
			by     billing.Bucket
		}{
			"1000 hours": {1000*time.Hour - 40*time.Minute, billingv1.UsageBucket_USAGE_BUCKET_HOUR, billing.ByHour},
			"300 days":   {300*24*time.Hour - 40*time.Minute, billingv1.UsageBucket_USAGE_BUCKET_DAY, billing.ByDay},
			"10 months":  {300*24*time.Hour - 40*time.Minute, billingv1.UsageBucket_USAGE_BUCKET_MONTH, billing.ByMonth},
			"an hour":    {time.Hour, billingv1.UsageBucket_USAGE_BUCKET_HOUR, billing.ByHour},
		} {
			from, to := now.Add(-q.from), now.Add(-20*time.Minute)
			all.sent = nil
			if _, err := repository.Usage(t.Context(), workspace, "meter_1", from, to, q.by); err != nil {
				t.Fatal(err)
			}
			if len(all.sent) != 1 {
				t.Fatalf("%d statements: %v", len(all.sent), all.sent)
			}
			rows, err := srv.SQL.Query(t.Context(), "EXPLAIN "+all.sent[0])
			if err != nil {
				t.Fatal(err)
			}
			var plan strings.Builder
			for rows.Next() {
				var line string
				if err := rows.Scan(&line); err != nil {
					t.Fatal(err)
				}
				plan.WriteString(line + "\n")
			}
			if err := rows.Err(); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(plan.String(), "Seq Scan") || strings.Count(plan.String(), "usage_") < 3 {
				t.Errorf("%s, %s:\n%s", statistics, name, &plan)
			}
			var times []time.Duration
			var told int64
			for range 5 {
				began := time.Now()
				told = queryUsage(t, p, "meter_1", from, to, q.bucket).Total
				times = append(times, time.Since(began))
			}
			slices.Sort(times)
			want := int64(count(t, srv, "SELECT sum(quantity) FROM billing.usage_events WHERE workspace_id = $1 AND meter = 'meter_1' AND event_time >= $2 AND event_time < $3",
				workspace.UUID(), from, to))
			t.Logf("%s: %-10s median %v", statistics, name, times[2].Round(100*time.Microsecond))
			if told != want || want == 0 {
				t.Errorf("%s, %s: %d, want %d", statistics, name, told, want)
			}
			if times[2] > time.Second {
				t.Errorf("%s, %s: %v", statistics, name, times[2])
			}
		}
	}
	// Recording goes on as fast.
	began = time.Now()
	for i := range 20 {
		if _, err := record(t, p, used(fmt.Sprint("new", i), "meter_1", 1, time.Time{})); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("20 events more took %v", time.Since(began).Round(time.Millisecond))
	srv.CheckInvariants(t)
}
