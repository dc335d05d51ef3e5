package auth

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/secret"
)

// Backoff is how long one has to wait after failures in a row.
type Backoff struct {
	// Free is how many failures are free. Not positive: all.
	Free int
	// First is the time to wait after the first one that is not; each further one
	// doubles it.
	First time.Duration
	// Max bounds it.
	Max time.Duration
}

// forgetFailures is after how long without a failure those before count no more.
const forgetFailures = 24 * time.Hour

// Failures counts failures in a row, in the database: the counts outlive a restart,
// and replicas share them. Each call is a transaction of its own, so that what is
// counted stays counted whatever becomes of the call (NIST SP 800-63B-4, 3.2.2).
//
// A try is counted as a failure when it begins, and given back when it turns out to
// be none: parallel tries are no more than those one after the other.
type Failures struct {
	repository Repository
	clock      clock.Clock
}

// NewFailures returns the counter. r must not be inside a transaction.
func NewFailures(r Repository, c clock.Clock) Failures { return Failures{r, c} }

// Begin counts a try for the key.
//
// Errors: fault RATE_LIMITED, with the time after which the next try may be made;
// then nothing is counted.
func (f Failures) Begin(ctx context.Context, key string, b Backoff) error {
	if b.Free <= 0 {
		return nil
	}
	now, hash := f.clock.Now(), secret.HashOf("failures", key)
	// A time so far ahead was written while a clock was wrong: it counts for nothing.
	wrong := now.Add(2*b.Max + time.Minute)
	// A try that is free is so for those, too, who looked at the clock a little earlier
	// and come to count a little later.
	free := now.Add(-time.Minute)
	first := free // from when the next try is free after the first one
	if b.Free == 1 {
		first = now.Add(min(b.First, b.Max))
	}
	result, err := f.repository.db.NewRaw(`
		INSERT INTO auth.failures AS f (key, count, free_time, expire_time) VALUES (?0, 1, ?7, ?2)
		ON CONFLICT (key) DO UPDATE SET
			count = CASE WHEN f.expire_time <= ?1 OR f.free_time > ?3 THEN 1 ELSE f.count + 1 END,
			free_time = CASE WHEN f.expire_time <= ?1 OR f.free_time > ?3 THEN ?7::timestamptz
				WHEN f.count + 1 < ?4 THEN ?8::timestamptz
				ELSE ?1::timestamptz + least(?5 * power(2, least(f.count + 1 - ?4, 40)), ?6) * interval '1 microsecond' END,
			expire_time = ?2
		WHERE f.free_time <= ?1 OR f.expire_time <= ?1 OR f.free_time > ?3`,
		hash[:], now, now.Add(forgetFailures), wrong, b.Free, b.First.Microseconds(), b.Max.Microseconds(), first, free).Exec(ctx)
	if err != nil {
		return err
	}
	if affected, err := result.RowsAffected(); err != nil || affected == 1 {
		return err
	}
	var wait time.Time
	if err := f.repository.db.NewRaw("SELECT free_time FROM auth.failures WHERE key = ?", hash[:]).Scan(ctx, &wait); err != nil {
		wait = now // gone meanwhile
	}
	return fault.New(fault.ResourceExhausted, fault.RateLimited, "too many failed tries; try again later").
		WithRetryAfter(max(wait.Sub(now), time.Second))
}

// Return takes back a try that was counted and never evaluated.
func (f Failures) Return(ctx context.Context, key string) error {
	hash := secret.HashOf("failures", key)
	_, err := f.repository.db.NewRaw("UPDATE auth.failures SET count = greatest(count - 1, 0), free_time = ? WHERE key = ?",
		f.clock.Now(), hash[:]).Exec(ctx)
	return err
}

// Succeed forgets the failures of keys.
func (f Failures) Succeed(ctx context.Context, keys ...string) error {
	hashes := make([][]byte, len(keys))
	for i, key := range keys {
		hash := secret.HashOf("failures", key)
		hashes[i] = hash[:]
	}
	_, err := f.repository.db.NewRaw("DELETE FROM auth.failures WHERE key IN (?)", bun.List(hashes)).Exec(ctx)
	return err
}

// DeleteExpiredFailures removes counters that count nothing any more.
func (r Repository) DeleteExpiredFailures(ctx context.Context, now time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.failures WHERE expire_time < ?", now)
}
