package auth

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// Backoff is how long one has to wait after failures in a row.
type Backoff struct {
	// Free is how many failures are free. Not positive: all, and none is counted.
	Free int
	// First is the time to wait after the last one that is free; each further one
	// doubles it.
	First time.Duration
	// Max bounds it.
	Max time.Duration
	// Forget is after how long without a failure those before count no more. Default:
	// 24 hours.
	Forget time.Duration
	// Decay is in which time without a failure one of those before counts no more.
	// Default: only all together, after Forget.
	Decay time.Duration
}

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

// Try is one that was counted as a failure. The zero Try was not.
type Try struct {
	key []byte
	// free is when the next one may be made.
	free time.Time
}

// countFailure takes the key, the time, when the failure is forgotten, which time is
// wrong, how many tries are free, the first and the longest wait, in which time all are
// forgotten and in which one is; durations in microseconds.
var countFailure = func() postgres.Prepared {
	const (
		over  = "(f.expire_time <= $2 OR f.free_time > $4)"
		last  = "(f.expire_time - $8 * interval '1 microsecond')" // when the last one was counted
		count = "CASE WHEN " + over + " THEN 1 ELSE greatest(f.count - greatest(floor(extract(epoch FROM $2::timestamptz - " + last + ") * 1000000 / $9), 0), 0)::int + 1 END"
		// A try that is free is so for those, too, who looked at the clock a little earlier
		// and come to count a little later.
		wait = "CASE WHEN %[1]s < $5 THEN $2::timestamptz - interval '1 minute' ELSE $2::timestamptz + least($6 * power(2, least(%[1]s - $5, 40)), $7) * interval '1 microsecond' END"
	)
	return postgres.Prepared(`
		INSERT INTO auth.failures AS f (key, count, free_time, expire_time) VALUES ($1, 1, ` + fmt.Sprintf(wait, "1") + `, $3)
		ON CONFLICT (key) DO UPDATE SET
			count = ` + count + `,
			free_time = ` + fmt.Sprintf(wait, "("+count+")") + `,
			expire_time = $3
		WHERE f.free_time <= $2 OR ` + over + `
		RETURNING free_time`)
}()

const (
	returnFailure = postgres.Prepared(`
		UPDATE auth.failures SET count = greatest(count - 1, 0), free_time = CASE WHEN free_time = $1 THEN $2 ELSE free_time END WHERE key = $3`)
	deleteFailures = postgres.Prepared("DELETE FROM auth.failures WHERE key = ANY ($1)")
)

// Begin counts a try for the key.
//
// Errors: fault RATE_LIMITED, with the time after which the next try may be made;
// then nothing is counted.
func (f Failures) Begin(ctx context.Context, key string, b Backoff) (Try, error) {
	if b.Free <= 0 {
		return Try{}, nil
	}
	now, hash := f.clock.Now(), secret.HashOf("failures", key)
	forget := cmp.Or(b.Forget, forgetFailures)
	// A time so far ahead was written while a clock was wrong: it counts for nothing.
	wrong := now.Add(2*b.Max + time.Minute)
	decay := forget + time.Second // never
	if b.Decay > 0 {
		decay = b.Decay
	}
	try := Try{key: hash[:]}
	err := countFailure.QueryRow(ctx, f.repository.db,
		hash[:], now, now.Add(forget), wrong, b.Free, b.First.Microseconds(), b.Max.Microseconds(), forget.Microseconds(), decay.Microseconds()).Scan(&try.free)
	if !errors.Is(err, sql.ErrNoRows) {
		return try, err
	}
	var free time.Time
	if err := f.repository.db.NewRaw("SELECT free_time FROM auth.failures WHERE key = ?", hash[:]).Scan(ctx, &free); err != nil {
		free = now // gone meanwhile
	}
	return Try{}, fault.New(fault.ResourceExhausted, fault.RateLimited, "too many failed tries; try again later").
		WithRetryAfter(max(free.Sub(now), time.Second))
}

// Return takes back a try that turned out to be no failure. The time that others
// brought about stays.
func (f Failures) Return(ctx context.Context, try Try) error {
	if try.key == nil {
		return nil
	}
	_, err := returnFailure.Exec(ctx, f.repository.db, try.free, f.clock.Now(), try.key)
	return err
}

// Succeed forgets the failures of keys.
func (f Failures) Succeed(ctx context.Context, keys ...string) error {
	hashes := make([][]byte, len(keys))
	for i, key := range keys {
		hash := secret.HashOf("failures", key)
		hashes[i] = hash[:]
	}
	_, err := deleteFailures.Exec(ctx, f.repository.db, hashes)
	return err
}

// DeleteExpiredFailures removes counters that count nothing any more.
func (r Repository) DeleteExpiredFailures(ctx context.Context, now time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.failures WHERE expire_time < ?", now)
}
