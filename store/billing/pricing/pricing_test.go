package pricing_test

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/logicspike/manager/store/billing/pricing"
)

func date(s string) time.Time {
	t, err := time.Parse("2006-01-02 15:04:05", s)
	if err != nil {
		if t, err = time.Parse(time.DateOnly, s); err != nil {
			panic(err)
		}
	}
	return t
}

func TestPeriodsEndOnTheLastDayOfShortMonths(t *testing.T) {
	for _, test := range []struct {
		anchor   string
		interval pricing.Interval
		want     []string
	}{
		{"2023-01-31 10:30:00", pricing.Month, []string{"2023-01-31 10:30:00", "2023-02-28 10:30:00", "2023-03-31 10:30:00", "2023-04-30 10:30:00"}},
		{"2024-01-31", pricing.Month, []string{"2024-01-31", "2024-02-29", "2024-03-31"}},
		{"2024-01-29", pricing.Month, []string{"2024-01-29", "2024-02-29", "2024-03-29"}},
		{"2023-11-15", pricing.Month, []string{"2023-11-15", "2023-12-15", "2024-01-15"}},
		{"2024-02-29 23:59:59", pricing.Year, []string{"2024-02-29 23:59:59", "2025-02-28 23:59:59", "2026-02-28 23:59:59", "2027-02-28 23:59:59", "2028-02-29 23:59:59"}},
		{"2023-12-31", pricing.Year, []string{"2023-12-31", "2024-12-31"}},
	} {
		for n, want := range test.want {
			if got := pricing.Boundary(date(test.anchor), test.interval, n); !got.Equal(date(want)) {
				t.Errorf("%s, %s %d: %v, want %s", test.anchor, test.interval, n, got, want)
			}
		}
	}
	// The zone in which somebody wrote the anchor changes nothing, nor does daylight
	// saving time: days are those of UTC.
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	anchor := time.Date(2024, 1, 1, 0, 30, 0, 0, berlin) // 2023-12-31 23:30 UTC
	if got := pricing.Boundary(anchor, pricing.Month, 6); !got.Equal(date("2024-06-30 23:30:00")) {
		t.Errorf("six months after %v: %v", anchor, got)
	}
}

func times(t *rapid.T, label string) time.Time {
	return date("2020-01-01").Add(time.Duration(rapid.Int64Range(0, 12*366*24*3600*1e6).Draw(t, label)) * time.Microsecond)
}

func intervals(t *rapid.T) pricing.Interval {
	return rapid.SampledFrom([]pricing.Interval{pricing.Month, pricing.Year}).Draw(t, "interval")
}

func TestEveryTimeIsInOnePeriod(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		anchor, interval := times(t, "anchor"), intervals(t)
		at := anchor.Add(time.Duration(rapid.Int64Range(0, 10*366*24*3600*1e6).Draw(t, "after")) * time.Microsecond)
		p := pricing.PeriodAt(anchor, interval, at)
		if at.Before(p.Start) || !at.Before(p.End) {
			t.Fatalf("%v is not in %v", at, p)
		}
		// The periods follow each other from the anchor.
		n := 0
		for pricing.Boundary(anchor, interval, n).Before(p.Start) {
			n++
		}
		if !pricing.Boundary(anchor, interval, n).Equal(p.Start) || !pricing.Boundary(anchor, interval, n+1).Equal(p.End) {
			t.Fatalf("%v is none of the periods from %v", p, anchor)
		}
		if end := pricing.PeriodAt(anchor, interval, p.End); !end.Start.Equal(p.End) {
			t.Fatalf("the period after %v is %v", p, end)
		}
	})
}

func prices(t *rapid.T, label string) pricing.Price {
	p := pricing.Price{Currency: "EUR", Interval: pricing.Month, Flat: rapid.Int64Range(0, 1e6).Draw(t, label+" flat")}
	if rapid.Bool().Draw(t, label+" has seats") {
		p.Seat = &pricing.SeatPrice{
			Amount: rapid.Int64Range(0, 1e5).Draw(t, label+" seat"), Included: rapid.IntRange(0, 5).Draw(t, label+" included"),
		}
	}
	return p
}

// TestProrationIsWhatEverySecondCosts compares the lines of any changes within a
// period with what each second costs by itself.
func TestProrationIsWhatEverySecondCosts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		anchor := times(t, "anchor").Truncate(time.Second)
		period := pricing.PeriodAt(anchor, pricing.Month, anchor)
		seconds := int64(period.End.Sub(period.Start) / time.Second)
		price, seats := prices(t, "first"), rapid.IntRange(0, 30).Draw(t, "seats")
		full := func() int64 {
			sum := int64(0)
			for _, l := range price.Charges(seats, period) {
				sum += l.Amount
			}
			return sum
		}
		got, lines := full(), 0
		want, since := new(big.Rat), int64(0)
		spend := func(until int64) { // so many seconds at the present price
			want.Add(want, big.NewRat(full()*(until-since), seconds))
			since = until
		}
		for range rapid.IntRange(0, 12).Draw(t, "changes") {
			at := rapid.Int64Range(since, seconds-1).Draw(t, "at")
			spend(at)
			next, more := price, rapid.IntRange(0, 30).Draw(t, "seats")
			if rapid.Bool().Draw(t, "another price") {
				next = prices(t, "next")
			}
			for _, l := range pricing.Prorate(price, seats, next, more, period, period.Start.Add(time.Duration(at)*time.Second)) {
				if !l.Proration || l.Amount == 0 || !l.Period.End.Equal(period.End) {
					t.Fatalf("%+v", l)
				}
				got += l.Amount
			}
			lines += len(price.Charges(seats, period)) + len(next.Charges(more, period)) // those of less than half a unit, too
			price, seats = next, more
		}
		spend(seconds)
		off := new(big.Rat).Sub(new(big.Rat).SetInt64(got), want)
		if off.Abs(off).Cmp(big.NewRat(int64(lines), 2)) > 0 {
			t.Fatalf("%d lines are off by %s minor units", lines, off.FloatString(3))
		}
	})
}

func TestProrationOfWhatDoesNotChangeHasNoLines(t *testing.T) {
	period := pricing.Period{Start: date("2026-01-01"), End: date("2026-02-01")}
	team := pricing.Price{Currency: "EUR", Interval: pricing.Month, Flat: 2000, Seat: &pricing.SeatPrice{Amount: 800, Included: 5}}
	middle := date("2026-01-16 12:00:00")
	for what, test := range map[string]struct {
		seats, then int
		at          time.Time
		want        []int64
	}{
		"as it was":                      {7, 7, middle, nil},
		"among those included":           {1, 5, middle, nil},
		"one more":                       {5, 6, middle, []int64{400}},
		"from seven to six":              {7, 6, middle, []int64{-800, 400}},
		"at the beginning":               {5, 6, period.Start, []int64{800}},
		"in the last second":             {5, 6, period.End.Add(-time.Second), nil}, // a 33rd of a cent
		"after the period":               {5, 6, period.End, nil},
		"before it":                      {5, 6, period.Start.Add(-1), nil},
		"half a cent is a cent":          {5, 6, period.End.Add(-period.End.Sub(period.Start) / 1600), []int64{1}},
		"half a cent back is a cent too": {6, 5, period.End.Add(-period.End.Sub(period.Start) / 1600), []int64{-1}},
	} {
		var got []int64
		for _, l := range pricing.Prorate(team, test.seats, team, test.then, period, test.at) {
			got = append(got, l.Amount)
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

func TestTiers(t *testing.T) {
	tiers := []pricing.Tier{{UpTo: 100}, {UpTo: 1000, Unit: "0.5", Flat: 10}, {Unit: "0.05"}}
	for _, test := range []struct {
		mode     pricing.TierMode
		quantity int64
		want     int64
	}{
		{pricing.Graduated, 0, 0}, {pricing.Graduated, 100, 0}, {pricing.Graduated, 101, 11}, {pricing.Graduated, 102, 11},
		{pricing.Graduated, 1000, 460}, {pricing.Graduated, 1001, 460}, {pricing.Graduated, 2000, 510}, {pricing.Graduated, -5, 0},
		{pricing.Volume, 0, 0}, {pricing.Volume, 100, 0}, {pricing.Volume, 101, 61}, {pricing.Volume, 1000, 510},
		{pricing.Volume, 1001, 50}, {pricing.Volume, 2000, 100}, {pricing.Volume, 2010, 101},
	} {
		u := pricing.UsagePrice{Meter: "calls", Mode: test.mode, Tiers: tiers}
		if got := u.Due(test.quantity); got != test.want {
			t.Errorf("%s, %d: %d, want %d", test.mode, test.quantity, got, test.want)
		}
	}
}

// TestGraduatedTiersAreWhatEveryUnitCosts adds up unit by unit.
func TestGraduatedTiersAreWhatEveryUnitCosts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		u := pricing.UsagePrice{Mode: pricing.Graduated}
		bound := int64(0)
		for range rapid.IntRange(0, 4).Draw(t, "tiers") {
			bound += rapid.Int64Range(1, 50).Draw(t, "width")
			u.Tiers = append(u.Tiers, pricing.Tier{
				UpTo: bound, Unit: fmt.Sprintf("%d.%03d", rapid.IntRange(0, 9).Draw(t, "units"), rapid.IntRange(0, 999).Draw(t, "parts")),
				Flat: rapid.Int64Range(0, 100).Draw(t, "flat"),
			})
		}
		u.Tiers = append(u.Tiers, pricing.Tier{Unit: "1.25", Flat: 7})
		quantity := rapid.Int64Range(0, 300).Draw(t, "quantity")
		sum, entered := new(big.Rat), map[int]bool{}
		for unit := int64(1); unit <= quantity; unit++ {
			i := 0
			for u.Tiers[i].UpTo != 0 && unit > u.Tiers[i].UpTo {
				i++
			}
			price, _ := new(big.Rat).SetString(u.Tiers[i].Unit)
			sum.Add(sum, price)
			if !entered[i] {
				entered[i] = true
				sum.Add(sum, new(big.Rat).SetInt64(u.Tiers[i].Flat))
			}
		}
		off := new(big.Rat).Sub(new(big.Rat).SetInt64(u.Due(quantity)), sum)
		if off.Abs(off).Cmp(big.NewRat(1, 2)) > 0 {
			t.Fatalf("%d units: %d, want %s", quantity, u.Due(quantity), sum.FloatString(3))
		}
	})
}

// TestATaxIsRoundedOncePerInvoice to the nearest minor unit, and half of one away from
// zero.
func TestATaxIsRoundedOncePerInvoice(t *testing.T) {
	lines := func(amounts ...int64) (list []pricing.Line) {
		for _, a := range amounts {
			list = append(list, pricing.Line{Kind: pricing.ForFlat, Amount: a})
		}
		return list
	}
	for _, test := range []struct {
		percent string
		lines   []pricing.Line
		want    int64
	}{
		{"19", lines(100), 19}, {"19", lines(13, 13), 5}, {"50", lines(1), 1}, {"50", lines(1, 1, 1), 2}, {"7.7", lines(1000, -500), 39},
		{"0", lines(1000), 0}, {"100", lines(7), 7}, {"8.875", lines(10000), 888}, {"8.875", lines(9999), 887}, {"0.000001", lines(50_000_000), 1},
		{"19", lines(9_000_000_000_000_000_000), 1_710_000_000_000_000_000},
	} {
		tax, err := pricing.NewFixedRate("VAT", test.percent)
		if err != nil {
			t.Fatal(err)
		}
		want := []pricing.TaxLine{{Name: "VAT " + test.percent + "%", Amount: test.want}}
		if diff := cmp.Diff(want, tax.Due(test.lines)); diff != "" {
			t.Errorf("%s%% (-want +got):\n%s", test.percent, diff)
		}
	}
	for _, wrong := range [][2]string{{"", "19"}, {" ", "19"}, {"VAT", ""}, {"VAT", "101"}, {"VAT", "-1"}, {"VAT", "1e1"}, {"VAT", "1/3"}, {"VAT", "1.1234567"}} {
		if _, err := pricing.NewFixedRate(wrong[0], wrong[1]); err == nil {
			t.Errorf("a tax %q of %q percent", wrong[0], wrong[1])
		}
	}
}

func TestAmountsAreWrittenWithTheDecimalsOfTheirCurrency(t *testing.T) {
	for _, test := range []struct {
		amount   int64
		currency string
		want     string
	}{
		{123456789, "EUR", "EUR 1,234,567.89"}, {-5, "EUR", "EUR -0.05"}, {0, "EUR", "EUR 0.00"},
		{1000, "JPY", "JPY 1,000"}, {-1234567, "KWD", "KWD -1,234.567"}, {1050, "XXY", "XXY 1050"},
	} {
		if got := pricing.Format(test.amount, test.currency); got != test.want {
			t.Errorf("%d %s: %q, want %q", test.amount, test.currency, got, test.want)
		}
	}
}
