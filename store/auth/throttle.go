package auth

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// Limit is a rate: a burst at once, then one each interval. The zero Limit
// refuses nothing.
type Limit struct {
	Burst    int
	Interval time.Duration
}

// PerWindow returns the limit of n in any window, roughly: n at once, which
// become free evenly over the window.
func PerWindow(n int, window time.Duration) Limit {
	return Limit{Burst: n, Interval: window / time.Duration(max(n, 1))}
}

// Throttle counts what must not be done too often, in the database: the counts
// outlive a restart, and replicas share them. Each call is a transaction of its
// own.
//
// It is the generic cell rate algorithm: of each key one time is kept, from which
// the whole burst is free again.
type Throttle struct {
	repository Repository
	clock      clock.Clock
}

// NewThrottle returns a throttle. r must not be inside a transaction.
func NewThrottle(r Repository, c clock.Clock) Throttle { return Throttle{r, c} }

// Take counts one for the key.
//
// Errors: fault RATE_LIMITED, with the time after which one more is free, when
// the limit is reached; then nothing is counted.
func (t Throttle) Take(ctx context.Context, key string, limit Limit) error {
	if limit.Burst <= 0 || limit.Interval <= 0 {
		return nil
	}
	now, hash := t.clock.Now(), secret.HashOf("throttle", key)
	burst := time.Duration(limit.Burst) * limit.Interval
	// A time so far ahead was written while a clock was wrong: it counts for nothing.
	wrong := now.Add(2*burst + time.Minute)
	var free time.Time
	err := t.repository.db.NewRaw(`
		INSERT INTO auth.throttles AS t (key, free_time) VALUES (?0, ?1)
		ON CONFLICT (key) DO UPDATE
		SET free_time = CASE WHEN t.free_time > ?5 THEN ?1 ELSE greatest(t.free_time, ?2) + ?3 * interval '1 microsecond' END
		WHERE t.free_time > ?5 OR greatest(t.free_time, ?2) + ?3 * interval '1 microsecond' <= ?4
		RETURNING free_time`,
		hash[:], now.Add(limit.Interval), now, limit.Interval.Microseconds(), now.Add(burst), wrong).Scan(ctx, &free)
	if err == nil {
		return nil
	}
	if !postgres.NotFound(err) {
		return err
	}
	if err := t.repository.db.NewRaw("SELECT free_time FROM auth.throttles WHERE key = ?", hash[:]).Scan(ctx, &free); err != nil && !postgres.NotFound(err) {
		return err
	}
	wait := max(free.Add(limit.Interval-burst).Sub(now), time.Second)
	return fault.New(fault.ResourceExhausted, fault.RateLimited, "too many calls; try again later").WithRetryAfter(wait)
}

// Return gives back one that was taken.
func (t Throttle) Return(ctx context.Context, key string, limit Limit) error {
	hash := secret.HashOf("throttle", key)
	_, err := t.repository.db.NewRaw("UPDATE auth.throttles SET free_time = free_time - ? * interval '1 microsecond' WHERE key = ?",
		limit.Interval.Microseconds(), hash[:]).Exec(ctx)
	return err
}

// Release gives back all that was counted for the keys.
func (t Throttle) Release(ctx context.Context, keys ...string) error {
	hashes := make([][]byte, len(keys))
	for i, key := range keys {
		hash := secret.HashOf("throttle", key)
		hashes[i] = hash[:]
	}
	_, err := t.repository.db.NewRaw("DELETE FROM auth.throttles WHERE key IN (?)", bun.List(hashes)).Exec(ctx)
	return err
}
