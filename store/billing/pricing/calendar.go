// Package pricing computes what is due: periods, prices, tiers and proration. It keeps
// nothing and asks nobody; all amounts are integers of a currency's minor units.
package pricing

import (
	"fmt"
	"time"
)

// Interval is how often a price is due.
type Interval string

// The intervals.
const (
	Month Interval = "month"
	Year  Interval = "year"
)

// months returns how many months an interval has.
func (i Interval) months() int {
	if i == Year {
		return 12
	}
	return 1
}

// Period is a time from its start until right before its end.
type Period struct{ Start, End time.Time }

// Boundary returns when the n-th interval after the anchor begins: n months or years
// later on the same day, at the same time of the day in UTC; on the last day of a
// month that has no such day. It is always counted from the anchor: one month after
// 31 January is the end of February, and two are 31 March.
func Boundary(anchor time.Time, i Interval, n int) time.Time {
	anchor = anchor.UTC()
	first := time.Date(anchor.Year(), anchor.Month(), 1, 0, 0, 0, 0, time.UTC).AddDate(0, n*i.months(), 0)
	last := first.AddDate(0, 1, -1).Day()
	hour, minute, second := anchor.Clock()
	return time.Date(first.Year(), first.Month(), min(anchor.Day(), last), hour, minute, second, anchor.Nanosecond(), time.UTC)
}

// PeriodAt returns the period of an anchor's intervals that a time is in, which must
// not be before the anchor.
func PeriodAt(anchor time.Time, i Interval, at time.Time) Period {
	if at.Before(anchor) {
		panic(fmt.Sprintf("pricing: %v is before its anchor %v", at, anchor))
	}
	at, anchor = at.UTC(), anchor.UTC()
	n := ((at.Year()-anchor.Year())*12 + int(at.Month()) - int(anchor.Month())) / i.months()
	if Boundary(anchor, i, n).After(at) {
		n--
	}
	return Period{Boundary(anchor, i, n), Boundary(anchor, i, n+1)}
}
