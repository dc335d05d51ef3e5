package auth

import (
	"context"
	"iter"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
)

const (
	// maxTogether is how many callers one round trip looks up at most.
	maxTogether = 64
	// roundTripTimeout bounds a round trip. Whoever waits has a time of their own.
	roundTripTimeout = 10 * time.Second
)

// lookups finds the sessions and the API keys of all calls. A few round trips run at once; calls
// that come meanwhile wait for the next one, which answers all of them by one statement for the
// sessions and one for the keys: under load that takes the database and this process a fraction
// of the work. A session, or a key, is always looked up after the call for it began, so one
// that had ended by then is not found.
type lookups struct {
	pool *pgxpool.Pool
	most int // round trips at once

	mu      sync.Mutex
	running int
	waiting []*lookup
}

// question is what is looked up by the hash of a secret.
type question struct {
	// name and sql are of the prepared statement. Its parameters are arrays of hashes and
	// of the times that it is for whoever asks; its first column is the place in them, from 1.
	name, sql string
	// scan reads a row.
	scan func(pgx.Rows) (place int, found any, err error)
}

// lookup is one call's question.
type lookup struct {
	*question
	hash secret.Hash
	now  time.Time
	ctx  context.Context // of the call, which may have been given up

	done  chan struct{} // closed when the answer was read, or err is there
	found any           // nil for nothing
	err   error
}

func newLookups(pool *pgxpool.Pool) *lookups {
	// Half as many as the machine could work on, and never the whole pool: the fewer there are,
	// the more calls each one answers.
	return &lookups{pool: pool, most: max(1, min(runtime.GOMAXPROCS(0), int(pool.Config().MaxConns))/2)}
}

// find answers one call's question, with nil for nothing.
func (q *lookups) find(ctx context.Context, what *question, hash secret.Hash, now time.Time) (any, error) {
	l := &lookup{question: what, hash: hash, now: now, ctx: ctx, done: make(chan struct{})}
	q.mu.Lock()
	q.waiting = append(q.waiting, l)
	if q.running < q.most {
		q.running++
		go q.work()
	}
	q.mu.Unlock()
	select {
	case <-l.done:
		return l.found, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// work makes round trips until nobody waits.
func (q *lookups) work() {
	for batch := q.next(); batch != nil; batch = q.next() {
		err := q.roundTrip(batch)
		for _, l := range batch {
			if err != nil {
				l.err = err
			}
			close(l.done)
		}
	}
}

// next takes those who wait, or ends the work with nil.
func (q *lookups) next() []*lookup {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(l *lookup) bool { return l.ctx.Err() != nil })
	n := min(len(q.waiting), maxTogether)
	if n == 0 {
		q.running--
		q.waiting = nil
		return nil
	}
	batch := q.waiting[:n:n]
	q.waiting = q.waiting[n:]
	return batch
}

// Not EXISTS for what the account has: without fresh statistics PostgreSQL would
// look that up in a table of all memberships, made anew each time. For the same reason
// each is looked up by itself (LIMIT), by index, within the one statement.
var findSession = &question{
	name: "find_sessions",
	sql: `
		SELECT q.place, f.*
		FROM unnest($1::bytea[], $2::timestamptz[]) WITH ORDINALITY q (hash, now, place)
		CROSS JOIN LATERAL (
			SELECT s.id, s.user_id, s.transport, s.create_time, s.auth_time, s.last_use_time, s.idle_expire_time, s.expire_time,
			       s.client_address, s.user_agent, s.methods, s.second_factor_pending, s.second_factor_proven, s.impersonator_id, coalesce(p.email_verified, false),
			       coalesce((SELECT true FROM team.roster r WHERE r.user_id = s.user_id AND r.live LIMIT 1), false)
			FROM auth.sessions s
			LEFT JOIN identity.proofs p ON p.user_id = s.user_id
			WHERE s.token_hash = q.hash AND s.idle_expire_time > q.now
			LIMIT 1) f`,
	scan: scanSession,
}

// roundTrip answers the questions by prepared statements, one of each kind, sent
// before the first answer is awaited.
func (q *lookups) roundTrip(batch []*lookup) error {
	ctx, cancel := context.WithTimeout(context.Background(), roundTripTimeout)
	defer cancel()
	return q.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		err := answer(ctx, conn.Conn(), batch)
		if err != nil && !conn.Conn().IsClosed() {
			// The statement may be what is wrong: gone, or older than its tables.
			_ = conn.Conn().DeallocateAll(ctx)
		}
		return err
	})
}

func answer(ctx context.Context, conn *pgx.Conn, batch []*lookup) error {
	slices.SortStableFunc(batch, func(a, b *lookup) int { return strings.Compare(a.name, b.name) })
	kinds := slices.Collect(chunksOf(batch))
	var questions pgx.Batch
	for _, kind := range kinds {
		if _, err := conn.Prepare(ctx, kind[0].name, kind[0].sql); err != nil { // once
			return err
		}
		hashes, times := make([][]byte, len(kind)), make([]time.Time, len(kind))
		for i, l := range kind {
			hashes[i], times[i] = l.hash[:], l.now
		}
		questions.Queue(kind[0].name, hashes, times)
	}
	answers := conn.SendBatch(ctx, &questions)
	for _, kind := range kinds {
		if err := read(answers, kind); err != nil {
			_ = answers.Close()
			return err
		}
	}
	return answers.Close()
}

// chunksOf yields those of the same kind that follow each other.
func chunksOf(batch []*lookup) iter.Seq[[]*lookup] {
	return func(yield func([]*lookup) bool) {
		for len(batch) > 0 {
			n := 1
			for n < len(batch) && batch[n].question == batch[0].question {
				n++
			}
			if !yield(batch[:n:n]) {
				return
			}
			batch = batch[n:]
		}
	}
}

func read(answers pgx.BatchResults, asked []*lookup) error {
	rows, err := answers.Query()
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		place, found, err := asked[0].scan(rows)
		if err != nil {
			return err
		}
		asked[place-1].found = found
	}
	return rows.Err()
}

// scanSession reads a session.
func scanSession(row pgx.Rows) (place int, found any, err error) {
	var s authz.Session
	var id, user pgUUID
	var impersonator *pgUUID
	var via string
	if err := row.Scan(&place, &id, &user, &via, &s.CreateTime, &s.AuthTime, &s.LastUseTime, &s.IdleExpireTime, &s.ExpireTime,
		&s.ClientAddress, &s.UserAgent, &s.Methods, &s.SecondFactorPending, &s.SecondFactorProven, &impersonator, &s.EmailVerified, &s.HasWorkspace); err != nil {
		return 0, nil, err
	}
	if impersonator != nil {
		s.Impersonator = ids.FromUUID[ids.User](*impersonator)
	}
	s.ID, s.User, s.Transport = ids.FromUUID[ids.Session](id), ids.FromUUID[ids.User](user), authz.Transport(via)
	return place, &s, nil
}
