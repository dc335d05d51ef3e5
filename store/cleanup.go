package store

import (
	"context"
	"errors"
)

// DeleteExpired removes what can no longer be used: ended sessions, and
// registrations, resets, changes and counters whose time is over.
func (s *Store) DeleteExpired(ctx context.Context) error {
	now := s.options.Clock.Now()
	return errors.Join(s.constraints.Fault(s.Auth.DeleteExpired(ctx, now)), s.constraints.Fault(s.Identity.DeleteExpired(ctx, now)))
}
