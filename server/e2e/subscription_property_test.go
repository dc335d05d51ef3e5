package e2e

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/logicspike/manager/internal/config"
)

// TestTheLinesOfAnyChangesAreWhatEverySecondCosts changes plans and seats in any order,
// over several periods, and compares all lines with what each moment costs by itself.
func TestTheLinesOfAnyChangesAreWhatEverySecondCosts(t *testing.T) {
	t.Parallel()
	s := newBilled(t, func(s *config.Settings) { s.PaymentTerms = 5 * 365 * 24 * time.Hour })
	type price struct{ flat, seat, included int64 }
	prices := map[string]price{"team": {2000, 750, 2}, "big": {10000, 500, 0}, "small": {500, 0, 0}}
	rapid.Check(t, func(r *rapid.T) {
		p := s.person(t)
		plan, seats := "", int64(1)
		due := func() int64 {
			c := prices[plan]
			return c.flat + max(seats-c.included, 0)*c.seat
		}
		want := new(big.Rat)
		began := subscribe(t, p, "team", "EUR", monthly)
		plan = "team"
		since := began.CurrentPeriodStartTime.AsTime()
		// spend counts what the time since then costs, period by period, until a time.
		spend := func(until time.Time) {
			for since.Before(until) {
				start, end := since, since
				for n := 0; !end.After(since); n++ {
					start, end = end, monthAfter(began.CurrentPeriodStartTime.AsTime(), n)
				}
				to := end
				if until.Before(end) {
					to = until
				}
				want.Add(want, new(big.Rat).Mul(big.NewRat(due(), 1), big.NewRat(to.Sub(since).Microseconds(), end.Sub(start).Microseconds())))
				since = to
			}
		}
		changes := rapid.IntRange(1, 6).Draw(r, "changes")
		for range changes {
			s.Clock.Advance(time.Duration(rapid.Int64Range(1, 20*24*3600).Draw(r, "seconds")) * time.Second)
			if rapid.Bool().Draw(r, "renewed before") {
				s.billDue(t)
			}
			if rapid.Bool().Draw(r, "seats") {
				n := rapid.Int32Range(2, 9).Draw(r, "count")
				if plan == "small" {
					n = 2
				}
				if _, err := buySeats(t, p, n); err != nil {
					r.Fatal(err)
				}
				spend(s.updated(t, p.Workspace.Id))
				seats = int64(n)
				continue
			}
			next := rapid.SampledFrom([]string{"team", "big", "small"}).Draw(r, "plan")
			if next == "small" && seats > 2 || next == plan {
				continue
			}
			s.billDue(t) // a preview is of what has been done
			preview, err := previewPlan(t, p, next, "EUR", monthly)
			if err != nil {
				r.Fatal(err)
			}
			if _, err := changePlan(t, p, next, "EUR", monthly, preview.Etag); err != nil {
				r.Fatal(err)
			}
			at := s.updated(t, p.Workspace.Id)
			if len(preview.Charges) > 0 {
				at = preview.Charges[0].StartTime.AsTime()
			}
			spend(at)
			plan = next
		}
		s.billDue(t)
		spend(subscriptionOf(t, p, p.Workspace.Id).CurrentPeriodEndTime.AsTime())
		got, lines := int64(0), int64(0)
		for _, l := range append(s.billedLines(t, "billing.invoice_lines WHERE workspace_id = $1", uuidOf(t, p.Workspace.Id)), s.waiting(t, p)...) {
			got += l.Amount
			lines++
		}
		off := new(big.Rat).Sub(big.NewRat(got, 1), want)
		// A line of less than half a unit is not there, and counts as well.
		if off.Abs(off).Cmp(big.NewRat(lines+int64(4*changes), 1)) > 0 {
			r.Fatalf("%d lines are %d, and want %s", lines, got, want.FloatString(3))
		}
	})
	s.CheckInvariants(t)
}

// monthAfter is the end of the n-th month after a time, counted otherwise than the product
// does: by the days that its month has.
func monthAfter(t time.Time, n int) time.Time {
	if n == 0 {
		return t
	}
	year, month := t.Year(), int(t.Month())+n
	for ; month > 12; month -= 12 {
		year++
	}
	day := t.Day()
	for d := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC); int(d.Month()) != month; d = time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC) {
		day--
	}
	at, err := time.Parse(time.RFC3339Nano, fmt.Sprintf("%04d-%02d-%02d%s", year, month, day, t.Format("T15:04:05.999999999Z07:00")))
	if err != nil {
		panic(err)
	}
	return at
}

// updated is when the subscription of a workspace was changed last.
func (s *stage) updated(t testing.TB, workspace string) (at time.Time) {
	t.Helper()
	if err := s.SQL.QueryRow(t.Context(), "SELECT update_time FROM billing.subscriptions WHERE workspace_id = $1 AND cancel_time IS NULL", uuidOf(t, workspace)).Scan(&at); err != nil {
		t.Fatal(err)
	}
	return at.UTC()
}
