// Package clock tells the time. Code that decides by the time takes a Clock, so
// that it can be run at any time.
package clock

import (
	"sync"
	"time"
)

// Clock tells the present time. Implementations are safe for concurrent use.
type Clock interface {
	// Now returns the present time in UTC, in whole microseconds: the resolution
	// of PostgreSQL, so that a time reads back as it was written.
	Now() time.Time
}

// System is the machine's clock.
type System struct{}

// Now returns the machine's time.
func (System) Now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// Manual is a clock that is the machine's, ahead by what Advance has added.
type Manual struct {
	mu    sync.Mutex
	ahead time.Duration
	stop  time.Time // zero while it runs
}

// Now returns the time of the machine, or at which the clock was stopped, plus what was
// added.
func (m *Manual) Now() time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stop.IsZero() {
		return m.stop.Add(m.ahead)
	}
	return System{}.Now().Add(m.ahead)
}

// Stop stops the clock: only what is added moves it from then on. What is measured by it
// does not depend on how fast the machine is.
func (m *Manual) Stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.stop = System{}.Now()
}

// Ahead returns by how much the clock is ahead of the machine's.
func (m *Manual) Ahead() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ahead
}

// Catch moves the clock forward until it is ahead by d. One that is further ahead stays
// so: time never goes back.
func (m *Manual) Catch(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ahead = max(m.ahead, d)
}

// Advance moves the clock forward by d.
func (m *Manual) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ahead += d
}
