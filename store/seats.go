package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// takeSeats reports whether a locked workspace has as many free seats. An active
// member takes one, and an invitation that can still be accepted reserves one.
//
// Errors: fault SEATS_EXHAUSTED.
func (t *tx) takeSeats(ctx context.Context, workspace ids.Workspace, count int) error {
	free, limited, err := t.freeSeats(ctx, workspace, true)
	if err == nil && limited && free < count {
		err = errSeats()
	}
	return err
}

// takeReservedSeat is takeSeats for who accepts an invitation: their seat is
// reserved, but there may be fewer seats than there were.
func (t *tx) takeReservedSeat(ctx context.Context, workspace ids.Workspace) error {
	free, limited, err := t.freeSeats(ctx, workspace, false)
	if err == nil && limited && free < 1 {
		err = errSeats()
	}
	return err
}

// freeSeats returns how many seats are free, and whether there is a limit at all.
func (t *tx) freeSeats(ctx context.Context, workspace ids.Workspace, reserved bool) (free int, limited bool, err error) {
	limit, limited, err := t.seatLimit(ctx, workspace)
	if err != nil || !limited {
		return 0, false, err
	}
	taken, pending, err := t.team.Seats(ctx, workspace, t.now)
	if reserved {
		taken += pending
	}
	return limit - taken, true, err
}

// seatLimit returns how many seats the workspace may use, and whether there is a limit:
// that of its plan or an operator's, and no more than were bought. While the subscription
// is paused there are none.
func (t *tx) seatLimit(ctx context.Context, workspace ids.Workspace) (limit int, limited bool, err error) {
	s, err := t.billing.Subscription(ctx, workspace)
	if err != nil {
		return 0, false, err
	}
	if s.State == billing.Paused {
		return 0, true, nil
	}
	plan, err := t.billing.Plan(ctx, s.Plan, s.PlanVersion)
	if err != nil {
		return 0, false, err
	}
	limit, limited, err = t.planSeats(ctx, workspace, plan)
	if s.SeatCount > 0 && (!limited || s.SeatCount < limit) {
		return s.SeatCount, true, err
	}
	return limit, limited, err
}

// planSeats returns how many seats a workspace has by a plan, or by an operator who gave
// it others, and whether there is a limit.
func (t *tx) planSeats(ctx context.Context, workspace ids.Workspace, plan *billing.Plan) (limit int, limited bool, err error) {
	o, err := t.billing.Override(ctx, workspace, billing.SeatFeature, t.now)
	if err != nil {
		return 0, false, err
	}
	value := plan.Feature(billing.SeatFeature)
	if o != nil {
		value = o.Value
	}
	if value.Limit == nil || value.Limit.Unlimited {
		return 0, false, nil
	}
	return int(value.Limit.Value), true, nil
}

// seatTaken tells the subscription of a locked workspace that there is one more active
// member, and seatFreed that there is one less.
func (t *tx) seatTaken(ctx context.Context, workspace ids.Workspace) error {
	return t.countSeats(ctx, workspace, 1)
}

func (t *tx) seatFreed(ctx context.Context, workspace ids.Workspace) error {
	return t.countSeats(ctx, workspace, -1)
}

func (t *tx) countSeats(ctx context.Context, workspace ids.Workspace, by int) error {
	s, plan, err := t.lockSubscription(ctx, workspace)
	if err != nil || !s.State.Lives() {
		return err // what is deleted counts nobody until it is undeleted
	}
	s.Seats += by
	return t.seatsChanged(ctx, s, plan)
}

// seatsChanged stores a locked subscription whose seats may be others. What they cost
// more or less for the rest of the period waits for the next invoice.
func (t *tx) seatsChanged(ctx context.Context, s *billing.Subscription, plan *billing.Plan) error {
	lines, err := t.seatChange(ctx, s, plan)
	if err != nil {
		return err
	}
	return t.chargeLater(ctx, s, lines)
}

// seatChange is seatLines, without credit for seats of which the invoice is void.
func (t *tx) seatChange(ctx context.Context, s *billing.Subscription, plan *billing.Plan) ([]billing.InvoiceLine, error) {
	lines := t.seatLines(s, plan)
	if sum(lines) >= 0 {
		return lines, nil
	}
	void, _, err := t.billing.LinesOfSubscription(ctx, s.ID)
	for _, v := range void {
		if v.Amount > 0 && ofTime(v, lines[0]) {
			return nil, err
		}
	}
	return lines, err
}

// chargeLater stores a locked subscription that has changed, with what waits for the next
// invoice thereby.
func (t *tx) chargeLater(ctx context.Context, s *billing.Subscription, lines []billing.InvoiceLine) error {
	if err := t.update(ctx, s); err != nil {
		return err
	}
	return t.wait(ctx, s, lines)
}

// seatLines returns what the seats of a subscription cost more or less for the rest of the
// period than those that were charged, and has them be charged.
func (t *tx) seatLines(s *billing.Subscription, plan *billing.Plan) []billing.InvoiceLine {
	price := priceOf(s, plan)
	if price == nil || !s.Charged() {
		return nil
	}
	charged := s.ChargedSeats
	s.ChargedSeats = s.BilledSeats()
	return billing.LinesOf(plan, s.Currency, pricing.Prorate(*price, charged, *price, s.ChargedSeats, s.Period(t.now), t.now))
}

// SeatUsage is how many seats there are, and who has them.
type SeatUsage struct {
	Limit            int
	Limited          bool
	Active, Reserved int
	SeatCount        int // that were bought; 0 for as many as there are members
	Billed           int
}

// GetSeatUsage returns the seats of a workspace as at one moment.
func (s *Store) GetSeatUsage(ctx context.Context, workspace ids.Workspace) (u SeatUsage, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		b, err := t.billing.Subscription(ctx, workspace)
		if err != nil {
			return err
		}
		u.SeatCount, u.Billed = b.SeatCount, b.BilledSeats()
		if u.Limit, u.Limited, err = t.seatLimit(ctx, workspace); err != nil {
			return err
		}
		u.Active, u.Reserved, err = t.team.Seats(ctx, workspace, t.now)
		return err
	})
	return u, err
}

// SeatChange is what another number of seats costs.
type SeatChange struct {
	Lines     []billing.InvoiceLine // for the rest of the period
	Currency  string
	NextTime  time.Time // when the next period begins; the zero time when the plan costs nothing
	NextTotal int64     // what that will cost
}

// UpdateSeatCount buys a number of seats, 0 for as many as there are members, or only
// tells what that would cost.
//
// Errors: those of lockTeam; fault SEATS_IN_USE, SEAT_LIMIT_EXCEEDED, SUBSCRIPTION_STATE.
func (s *Store) UpdateSeatCount(ctx context.Context, workspace ids.Workspace, seats int, validateOnly bool) (changed *Subscription, c SeatChange, err error) {
	changed, err = s.changeSubscription(ctx, workspace, func(ctx context.Context, t *tx, b *billing.Subscription, plan *billing.Plan) error {
		if b.State == billing.Paused {
			return billing.ErrState(b.State)
		}
		same := b.SeatCount == seats
		if seats > 0 && !same {
			if err := t.seatsFit(ctx, b, plan, seats); err != nil {
				return err
			}
		}
		details := map[string]any{"seat_count": map[string]any{"before": b.SeatCount, "after": seats}}
		b.SeatCount = seats
		lines, err := t.seatChange(ctx, b, plan)
		if err != nil {
			return err
		}
		c = SeatChange{Currency: b.Currency, Lines: lines}
		if price := priceOf(b, plan); price != nil {
			c.NextTime = b.Period(t.now).End
			next := pricing.PeriodAt(c.NextTime, price.Interval, c.NextTime)
			c.NextTotal = sum(billing.LinesOf(plan, b.Currency, price.Charges(b.BilledSeats(), next)))
		}
		if validateOnly || same {
			return nil
		}
		if err := t.chargeLater(ctx, b, c.Lines); err != nil {
			return err
		}
		return t.recordSubscription(ctx, b, "subscription.seat_count_changed", "", details)
	})
	return changed, c, err
}

func errSeats() error {
	return fault.New(fault.ResourceExhausted, fault.SeatsExhausted, "the workspace has no free seat")
}
