package bench

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/gen/go/logicspike/billing/v1/billingv1connect"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// meter is the product with a workspace that uses something, and one connection.
type meter struct {
	address       string
	connection    *connection // once it is used: an idle one would be closed
	workspace     string
	authorization string
	events        int
}

func newMeter(b *testing.B, filled int) *meter {
	b.Helper()
	database := startLogging(b)
	if err := store.Migrate(b.Context(), database.url); err != nil {
		b.Fatal(err)
	}
	p := startOn(b, database.url, secret.NewKey(), nil)
	_, tokens := p.accounts(b, 1)
	var w uuid.UUID
	if err := database.admin.QueryRow(b.Context(), "SELECT id FROM tenant.workspaces").Scan(&w); err != nil {
		b.Fatal(err)
	}
	if filled > 0 {
		testkit.FillUsage(b, database.admin, w, time.Now().Truncate(time.Hour), filled)
		if _, err := database.admin.Exec(b.Context(), "VACUUM ANALYZE"); err != nil {
			b.Fatal(err)
		}
	}
	return &meter{address: p.address, workspace: ids.FromUUID[ids.Workspace](w).String(), authorization: "Authorization: Bearer " + tokens[0]}
}

// event returns one that was never there.
func (m *meter) event() *billingv1.UsageEvent {
	m.events++
	return &billingv1.UsageEvent{EventId: fmt.Sprintf("event-%012d", m.events), Meter: "api_calls", Quantity: 1}
}

// rate makes calls that record so many events, and returns how many in a second.
func (m *meter) rate(b *testing.B, events int, calls ...[]byte) float64 {
	b.Helper()
	if m.connection == nil {
		m.connection = dial(b, m.address, 1)[0]
	}
	began := time.Now()
	for _, c := range calls {
		if err := m.connection.call(c); err != nil {
			b.Fatal(err)
		}
	}
	return float64(events) / time.Since(began).Seconds()
}

// BenchmarkBatchRecordUsage compares 1000 events in one call with calls of one each, by
// one client.
func BenchmarkBatchRecordUsage(b *testing.B) {
	const many, few, rounds = 1000, 200, 5
	m := newMeter(b, 0)
	for b.Loop() {
		turns := inTurns(rounds,
			func() float64 {
				req := &billingv1.BatchRecordUsageRequest{WorkspaceId: m.workspace}
				for range many {
					req.Events = append(req.Events, m.event())
				}
				return m.rate(b, many, request(billingv1connect.UsageServiceBatchRecordUsageProcedure, req, m.authorization))
			},
			func() float64 {
				var calls [][]byte
				for range few {
					calls = append(calls, request(billingv1connect.UsageServiceRecordUsageProcedure,
						&billingv1.RecordUsageRequest{WorkspaceId: m.workspace, Event: m.event()}, m.authorization))
				}
				return m.rate(b, few, calls...)
			})
		b.StopTimer()
		report(b, result{name: "BatchRecordUsage, 1000", turn: turns[0], unit: "events/s", what: "one by one", least: 20})
		b.StartTimer()
	}
}

// BenchmarkQueryUsage compares a question about 30 days by the day, of a workspace with
// a million events, with the same question of one that has a thousand times less.
func BenchmarkQueryUsage(b *testing.B) {
	const rounds, calls = 15, 50
	sides := make([]func() float64, 2)
	for i, events := range []int{1_000_000, 1_000} {
		m := newMeter(b, events)
		now := time.Now()
		call := request(billingv1connect.UsageServiceQueryUsageProcedure, &billingv1.QueryUsageRequest{
			WorkspaceId: m.workspace, Meter: "meter_1", StartTime: timestamppb.New(now.AddDate(0, 0, -30)), EndTime: timestamppb.New(now),
			Bucket: billingv1.UsageBucket_USAGE_BUCKET_DAY,
		}, m.authorization)
		sides[i] = func() float64 {
			repeated := make([][]byte, calls)
			for i := range repeated {
				repeated[i] = call
			}
			return m.rate(b, calls, repeated...)
		}
	}
	for b.Loop() {
		turns := inTurns(rounds, sides...)
		b.StopTimer()
		report(b, result{name: "QueryUsage, 30 days of 1,000,000 events", turn: turns[0], unit: "calls/s", what: "of 1,000 events", least: 0.3})
		b.StartTimer()
	}
}
