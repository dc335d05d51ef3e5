package pricing

import (
	"math/big"
	"time"
)

// Price is what a plan costs in one currency and interval.
type Price struct {
	Currency string       `json:"currency"`
	Interval Interval     `json:"interval"`
	Flat     int64        `json:"flat,omitempty"`
	Seat     *SeatPrice   `json:"seat,omitempty"`
	Usage    []UsagePrice `json:"usage,omitempty"`
	// Stripe names what is the same at Stripe; nil when it is not sold there.
	Stripe *StripePrices `json:"stripe,omitempty"`
}

// StripePrices are Stripe's ids of the prices that a price consists of.
type StripePrices struct {
	Flat string `json:"flat,omitempty"`
	Seat string `json:"seat,omitempty"`
	// Usage is by meter.
	Usage map[string]string `json:"usage,omitempty"`
}

// PaidSeats returns for how many seats beyond those included there is something to pay.
func (p Price) PaidSeats(seats int) int64 {
	n, _ := p.paidSeats(seats)
	return n
}

// SeatPrice is what seats cost beyond those that the flat amount includes.
type SeatPrice struct {
	Amount   int64 `json:"amount"`
	Included int   `json:"included,omitempty"`
}

// UsagePrice is what a meter's units cost.
type UsagePrice struct {
	Meter string   `json:"meter"`
	Mode  TierMode `json:"mode"`
	// Tiers are in the order of their bounds; the last one has none.
	Tiers []Tier `json:"tiers"`
}

// TierMode is how tiers are applied.
type TierMode string

// The modes: each unit costs what its own tier says, or all units what the tier says
// that the whole quantity falls into.
const (
	Graduated TierMode = "graduated"
	Volume    TierMode = "volume"
)

// Tier is a range of quantities.
type Tier struct {
	// UpTo is the last unit; 0 for no end.
	UpTo int64 `json:"up_to,omitempty"`
	// Unit is what one costs: minor units, as a decimal number.
	Unit string `json:"unit,omitempty"`
	// Flat is due besides once anything falls into the tier.
	Flat int64 `json:"flat,omitempty"`
}

// Kind is what a line is for.
type Kind string

// The kinds of lines.
const (
	ForFlat  Kind = "flat"
	ForSeats Kind = "seats"
	ForUsage Kind = "usage"
	ForTax   Kind = "tax"
)

// Line is an amount that is due for something in a time.
type Line struct {
	Kind  Kind
	Meter string // of usage
	// Quantity is how many seats beyond those included, or how much was used.
	Quantity int64
	// Amount is negative when it is credited.
	Amount int64
	Period Period
	// Proration tells that it is a part of what the whole period costs.
	Proration bool
}

// Charges returns what is due in advance for a whole period with so many seats. What
// costs nothing has no line.
func (p Price) Charges(seats int, period Period) []Line {
	var lines []Line
	if p.Flat != 0 {
		lines = append(lines, Line{Kind: ForFlat, Quantity: 1, Amount: p.Flat, Period: period})
	}
	if n, amount := p.paidSeats(seats); amount != 0 {
		lines = append(lines, Line{Kind: ForSeats, Quantity: n, Amount: amount, Period: period})
	}
	return lines
}

func (p Price) paidSeats(seats int) (n, amount int64) {
	if p.Seat == nil {
		return 0, 0
	}
	n = max(int64(seats)-int64(p.Seat.Included), 0)
	return n, n * p.Seat.Amount
}

// Prorate returns the lines of a change within a period that was paid in advance: what
// the rest of the period costs no more is credited, and what it costs now is due. Each
// amount is the share of the time that is left, to the microsecond, rounded to the
// nearest minor unit, and half of one away from zero; so over any changes each line is
// off by half a minor unit at most. What both have is in no line.
//
// Both prices are of the same currency and interval. A change at a time outside of the
// period has no lines.
func Prorate(from Price, fromSeats int, to Price, toSeats int, period Period, at time.Time) []Line {
	if at.Before(period.Start) || !at.Before(period.End) {
		return nil
	}
	rest := Period{at, period.End}
	share := big.NewRat(rest.End.Sub(rest.Start).Microseconds(), period.End.Sub(period.Start).Microseconds())
	before, after := from.Charges(fromSeats, rest), to.Charges(toSeats, rest)
	var lines []Line
	add := func(l Line, sign int64) {
		l.Amount, l.Proration = sign*round(new(big.Rat).Mul(share, new(big.Rat).SetInt64(l.Amount))), true
		if l.Amount != 0 {
			lines = append(lines, l)
		}
	}
	same := func(l Line, others []Line) bool {
		for _, o := range others {
			if o == l {
				return true
			}
		}
		return false
	}
	for _, l := range before {
		if !same(l, after) {
			add(l, -1)
		}
	}
	for _, l := range after {
		if !same(l, before) {
			add(l, 1)
		}
	}
	return lines
}

// Share returns what of a line's amount is for the time from a moment of its period on,
// rounded as Prorate does.
func (l Line) Share(from time.Time) int64 {
	all, rest := l.Period.End.Sub(l.Period.Start).Microseconds(), l.Period.End.Sub(from).Microseconds()
	if all <= 0 {
		return 0
	}
	return round(new(big.Rat).Mul(big.NewRat(rest, all), new(big.Rat).SetInt64(l.Amount)))
}

// MaxDue is the most that a meter costs in a period, whatever its quantity: so that sums
// of many are numbers still.
const MaxDue = 1_000_000_000_000_000

// Due returns what a quantity of the meter costs, rounded as Prorate does; MaxDue at most.
func (u UsagePrice) Due(quantity int64) int64 {
	total := new(big.Rat)
	var below int64 // the last unit of the tiers before
	for i, tier := range u.Tiers {
		last := tier.UpTo == 0 || i == len(u.Tiers)-1
		in := quantity - below
		if !last {
			in = min(in, tier.UpTo-below)
		}
		switch {
		case quantity <= 0:
			return 0
		case u.Mode == Volume && (last || quantity <= tier.UpTo):
			total.Add(tier.of(quantity), new(big.Rat).SetInt64(tier.Flat))
			return due(total)
		case u.Mode != Volume && in > 0:
			total.Add(total, tier.of(in))
			total.Add(total, new(big.Rat).SetInt64(tier.Flat))
		}
		below = tier.UpTo
		if last {
			break
		}
	}
	return due(total)
}

func due(total *big.Rat) int64 {
	if most := big.NewRat(MaxDue, 1); total.Cmp(most) > 0 {
		total = most
	}
	return round(total)
}

// of returns what units of the tier cost.
func (t Tier) of(units int64) *big.Rat {
	price, ok := new(big.Rat).SetString(t.Unit)
	if !ok {
		return new(big.Rat) // none, as Validate makes sure
	}
	return price.Mul(price, new(big.Rat).SetInt64(units))
}

// round returns the nearest integer, and of two the one that is further from zero.
func round(r *big.Rat) int64 {
	two := big.NewInt(2)
	n := new(big.Int).Mul(new(big.Int).Abs(r.Num()), two)
	n.Add(n, r.Denom()).Quo(n, new(big.Int).Mul(r.Denom(), two))
	if r.Sign() < 0 {
		n.Neg(n)
	}
	return n.Int64()
}
