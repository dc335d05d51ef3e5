package auth

import (
	"context"
	"encoding/hex"
	"slices"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

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
	return t.TakeMany(ctx, key, 1, limit)
}

// TakeMany counts several for the key, all or none.
//
// Errors: as Take.
func (t Throttle) TakeMany(ctx context.Context, key string, count int, limit Limit) error {
	refused, err := t.take(ctx, []string{key}, count, limit)
	if err != nil {
		return err
	}
	return refused[0]
}

// TakeEach counts one for each of the keys, which are different ones. It returns
// what Take would for each of them, in their order.
func (t Throttle) TakeEach(ctx context.Context, keys []string, limit Limit) ([]error, error) {
	return t.take(ctx, keys, 1, limit)
}

// countCalls takes the keys, when they are free after so many calls, the time, what the
// calls take of the limit in microseconds, until when all of it is taken, and which time is
// wrong. It returns the keys of which so many were free.
const countCalls = postgres.Prepared(`
	INSERT INTO auth.throttles AS t (key, free_time)
	SELECT decode(k, 'hex'), $2 FROM unnest($1::text[]) k ORDER BY k
	ON CONFLICT (key) DO UPDATE
	SET free_time = CASE WHEN t.free_time > $6 THEN $2 ELSE greatest(t.free_time, $3) + $4 * interval '1 microsecond' END
	WHERE t.free_time > $6 OR greatest(t.free_time, $3) + $4 * interval '1 microsecond' <= $5
	RETURNING encode(key, 'hex')`)

func (t Throttle) take(ctx context.Context, keys []string, count int, limit Limit) ([]error, error) {
	refused := make([]error, len(keys))
	if limit.Burst <= 0 || limit.Interval <= 0 || len(keys) == 0 || count == 0 {
		return refused, nil
	}
	now, cost := t.clock.Now(), time.Duration(count)*limit.Interval
	burst := time.Duration(limit.Burst) * limit.Interval
	hashes := make([]string, len(keys))
	for i, key := range keys {
		hash := secret.HashOf("throttle", key)
		hashes[i] = hex.EncodeToString(hash[:])
	}
	limited := func(free time.Time) error {
		wait := max(free.Add(cost-burst).Sub(now), time.Second)
		return fault.New(fault.ResourceExhausted, fault.RateLimited, "too many calls; try again later").WithRetryAfter(wait)
	}
	if cost > burst {
		for i := range refused {
			refused[i] = limited(now.Add(burst))
		}
		return refused, nil
	}
	// A time so far ahead was written while a clock was wrong: it counts for nothing.
	wrong := now.Add(2*burst + time.Minute)
	taken, err := postgres.Column[string](countCalls.Query(ctx, t.repository.db,
		hashes, now.Add(cost), now, cost.Microseconds(), now.Add(burst), wrong))
	if err != nil || len(taken) == len(keys) {
		return refused, err
	}
	var rows []struct {
		Key      string
		FreeTime time.Time
	}
	if err := t.repository.db.NewRaw("SELECT encode(key, 'hex') AS key, free_time FROM auth.throttles WHERE key IN (SELECT decode(k, 'hex') FROM unnest(?::text[]) k)",
		pgdialect.Array(hashes)).Scan(ctx, &rows); err != nil {
		return nil, err
	}
	free := map[string]time.Time{}
	for _, row := range rows {
		free[row.Key] = row.FreeTime
	}
	for i, hash := range hashes {
		if !slices.Contains(taken, hash) {
			refused[i] = limited(free[hash])
		}
	}
	return refused, nil
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
