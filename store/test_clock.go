package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/postgres"
)

// How far the time on the database is ahead of the machines' is one of its facts.
const testClockFact = "test clock ahead"

// testClockStep is by how much time moves at once: what is due in between is done in its
// turn, and by mails of its own.
const testClockStep = 24 * time.Hour

// TestClock returns by how much the time is ahead of the machine's.
//
// Errors: fault TEST_CLOCK_OFF.
func (s *Store) TestClock(ctx context.Context) (now time.Time, ahead time.Duration, err error) {
	if !s.options.TestClock {
		return now, 0, errTestClockOff()
	}
	if err := s.catchUpTestClock(ctx); err != nil {
		return now, 0, s.constraints.Fault(err)
	}
	return s.options.Clock.Now(), s.options.Clock.Ahead(), nil
}

// AdvanceTestClock moves the time forward, step by step, and does what is due at each.
//
// Errors: fault TEST_CLOCK_OFF; OPERATOR_REQUIRED.
func (s *Store) AdvanceTestClock(ctx context.Context, by time.Duration) (now time.Time, ahead time.Duration, err error) {
	if !s.options.TestClock {
		return now, 0, errTestClockOff()
	}
	for left := by; left > 0; left -= testClockStep {
		step := min(left, testClockStep)
		err := s.write(ctx, func(ctx context.Context, t *tx) error {
			// The caller's session may have grown too old by the steps before.
			if left == by {
				if err := t.mayOperate(ctx, false); err != nil {
					return err
				}
				operator := authz.SessionFrom(ctx).User
				if err := t.record(ctx, audit.Event{
					UserID: operator, Action: "test_clock.advanced", TargetID: operator.String(), Details: map[string]any{"by": by.String()},
				}); err != nil {
					return err
				}
			}
			return t.moveTestClock(ctx, step)
		})
		if err != nil {
			return now, 0, err
		}
		if err := s.catchUpTestClock(ctx); err != nil {
			return now, 0, s.constraints.Fault(err)
		}
		if err := s.WorkDue(ctx); err != nil {
			return now, 0, err
		}
	}
	return s.options.Clock.Now(), s.options.Clock.Ahead(), nil
}

// WorkDue does all that is due by now and that jobs do otherwise, each when its own turn
// comes.
func (s *Store) WorkDue(ctx context.Context) error {
	_, err := s.PurgeDue(ctx)
	return errors.Join(s.BillDue(ctx), err, s.DeleteExpired(ctx))
}

// FollowTestClock follows what other servers on the database move the time by, until ctx
// ends.
func (s *Store) FollowTestClock(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if err := s.catchUpTestClock(ctx); err != nil && ctx.Err() == nil {
				s.options.Logger.WarnContext(ctx, "the test clock cannot be read", "error", err)
			}
		}
	}
}

func (t *tx) moveTestClock(ctx context.Context, by time.Duration) error {
	if _, err := t.sql.NewRaw("INSERT INTO manager.facts (name, value) VALUES (?, '0s') ON CONFLICT DO NOTHING", testClockFact).Exec(ctx); err != nil {
		return err
	}
	var value []byte
	if err := t.sql.NewRaw("SELECT value FROM manager.facts WHERE name = ? FOR UPDATE", testClockFact).Scan(ctx, &value); err != nil {
		return err
	}
	ahead, err := time.ParseDuration(string(value))
	if err != nil {
		return fmt.Errorf("the test clock: %w", err)
	}
	_, err = t.sql.NewRaw("UPDATE manager.facts SET value = ? WHERE name = ?", []byte((ahead + by).String()), testClockFact).Exec(ctx)
	return err
}

// catchUpTestClock moves this process's clock to where the database has it.
func (s *Store) catchUpTestClock(ctx context.Context) error {
	var value []byte
	err := s.db.Bun.NewRaw("SELECT value FROM manager.facts WHERE name = ?", testClockFact).Scan(ctx, &value)
	if postgres.NotFound(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("the test clock: %w", err)
	}
	ahead, err := time.ParseDuration(string(value))
	if err != nil {
		return fmt.Errorf("the test clock: %w", err)
	}
	s.options.Clock.Catch(ahead)
	return nil
}

func errTestClockOff() error {
	return fault.New(fault.FailedPrecondition, fault.TestClockOff, "the server has no test clock (setting test-clock)")
}
