package store

import (
	"context"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
)

// Seats says how many may belong to a workspace.
type Seats interface {
	// Seats returns how many seats a workspace has, and whether there is a limit. It
	// is asked inside the transaction that is about to take one, which has locked
	// the workspace.
	Seats(ctx context.Context, db bun.IDB, workspace ids.Workspace) (limit int, limited bool, err error)
}

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
	if t.store.options.Seats == nil {
		return 0, false, nil
	}
	limit, limited, err := t.store.options.Seats.Seats(ctx, t.sql, workspace)
	if err != nil || !limited {
		return 0, false, err
	}
	taken, pending, err := t.team.Seats(ctx, workspace, t.now)
	if reserved {
		taken += pending
	}
	return limit - taken, true, err
}

func errSeats() error {
	return fault.New(fault.ResourceExhausted, fault.SeatsExhausted, "the workspace has no free seat")
}
