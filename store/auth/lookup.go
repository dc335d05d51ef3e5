package auth

import (
	"context"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

const (
	// maxTogether is how many callers one round trip looks up at most.
	maxTogether = 64
	// roundTripTimeout bounds a round trip. Whoever waits has a time of their own.
	roundTripTimeout = 10 * time.Second
)

// lookups finds the sessions and the API keys of all calls. A few round trips run at once; calls
// that come meanwhile wait for the next one, which answers all of them: under
// load that takes the database and this process half the work of a round trip
// each. A session, or a key, is always looked up after the call for it began, so one
// that had ended by then is not found.
type lookups struct {
	pool *pgxpool.Pool
	most int // round trips at once

	mu      sync.Mutex
	running int
	waiting []*lookup
}

// lookup is one call's question.
type lookup struct {
	name, sql string // of the prepared statement
	args      []any
	// scan reads the answer. It is called at most once, before done is closed.
	scan func(pgx.Row) error
	ctx  context.Context // of the call, which may have been given up

	done chan struct{} // closed when the answer was read, or err is there
	err  error
}

func newLookups(pool *pgxpool.Pool) *lookups {
	// As many as the machine can use, and never the whole pool.
	return &lookups{pool: pool, most: max(1, min(runtime.GOMAXPROCS(0), int(pool.Config().MaxConns)/2))}
}

// find answers l. After an error what was scanned means nothing, and may still change.
func (q *lookups) find(ctx context.Context, l *lookup) error {
	l.done, l.ctx = make(chan struct{}), ctx
	q.mu.Lock()
	q.waiting = append(q.waiting, l)
	if q.running < q.most {
		q.running++
		go q.work()
	}
	q.mu.Unlock()
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return ctx.Err()
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
// look that up in a table of all memberships, made anew each time.
const (
	findSession    = "find_session"
	findSessionSQL = `
		SELECT s.id, s.user_id, s.transport, s.create_time, s.auth_time, s.last_use_time, s.idle_expire_time, s.expire_time,
		       s.client_address, s.user_agent, s.methods, s.second_factor_pending, s.impersonator_id, p.email_verified,
		       coalesce((SELECT true FROM team.roster r WHERE r.user_id = s.user_id AND r.live LIMIT 1), false)
		FROM auth.sessions s
		JOIN identity.profiles p ON p.user_id = s.user_id
		WHERE s.token_hash = $1 AND s.transport = $2 AND s.idle_expire_time > $3`
)

// roundTrip answers the questions by prepared statements, one sent for each of
// them before the first answer is awaited.
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
	var questions pgx.Batch
	for _, l := range batch {
		if _, err := conn.Prepare(ctx, l.name, l.sql); err != nil { // once
			return err
		}
		questions.Queue(l.name, l.args...)
	}
	answers := conn.SendBatch(ctx, &questions)
	for _, l := range batch {
		if err := l.scan(answers.QueryRow()); err != nil {
			_ = answers.Close()
			return err
		}
	}
	return answers.Close()
}

// scanSession reads a session, or nil.
func scanSession(row pgx.Row) (*authz.Session, error) {
	var s authz.Session
	var id, user pgUUID
	var impersonator *pgUUID
	var via string
	err := row.Scan(&id, &user, &via, &s.CreateTime, &s.AuthTime, &s.LastUseTime, &s.IdleExpireTime, &s.ExpireTime,
		&s.ClientAddress, &s.UserAgent, &s.Methods, &s.SecondFactorPending, &impersonator, &s.EmailVerified, &s.HasWorkspace)
	if postgres.NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if impersonator != nil {
		s.Impersonator = ids.FromUUID[ids.User](*impersonator)
	}
	s.ID, s.User, s.Transport = ids.FromUUID[ids.Session](id), ids.FromUUID[ids.User](user), authz.Transport(via)
	return &s, nil
}
