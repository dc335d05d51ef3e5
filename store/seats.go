package store

import (
	"context"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
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
// that of its plan, or an operator's.
func (t *tx) seatLimit(ctx context.Context, workspace ids.Workspace) (limit int, limited bool, err error) {
	given, err := t.billing.Entitlements(ctx, workspace, billing.SeatFeature, t.now)
	if err != nil || len(given) == 0 || given[0].Limit == nil || given[0].Limit.Unlimited {
		return 0, false, err
	}
	return int(given[0].Limit.Value), true, nil
}

// SeatUsage is how many seats there are, and who has them.
type SeatUsage struct {
	Limit            int
	Limited          bool
	Active, Reserved int
}

// GetSeatUsage returns the seats of a workspace as at one moment.
func (s *Store) GetSeatUsage(ctx context.Context, workspace ids.Workspace) (u SeatUsage, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		if u.Limit, u.Limited, err = t.seatLimit(ctx, workspace); err != nil {
			return err
		}
		u.Active, u.Reserved, err = t.team.Seats(ctx, workspace, t.now)
		return err
	})
	return u, err
}

func errSeats() error {
	return fault.New(fault.ResourceExhausted, fault.SeatsExhausted, "the workspace has no free seat")
}
