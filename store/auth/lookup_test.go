package auth_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/postgres"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// world is a database with sessions.
type world struct {
	auth.Sessions
	pool *pgxpool.Pool
	sql  *pgx.Conn // to change it
	now  time.Time
	ids  []ids.Session // by number
}

func token(i int) secret.Hash { return secret.HashOf("test", fmt.Sprint(i)) }

func newWorld(t *testing.T, sessions int) *world {
	t.Helper()
	url := testkit.NewDatabase(t)
	db, err := postgres.Open(postgres.Options{URL: url, MaxConnections: 4})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	w := &world{Sessions: auth.NewSessions(db.Pool), pool: db.Pool, now: time.Now().UTC().Truncate(time.Microsecond)}
	if w.sql, err = pgx.Connect(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.sql.Close(context.WithoutCancel(t.Context())) })
	user := ids.New[ids.User]()
	w.exec(t, "INSERT INTO identity.users VALUES ($1, 'Ann', 1, $2, $2)", user.UUID(), w.now)
	for i := range sessions {
		id, hash := ids.New[ids.Session](), token(i)
		w.ids = append(w.ids, id)
		w.exec(t, "INSERT INTO auth.sessions VALUES ($1, $2, $3, 'bearer', $4, $4, $4, $5, $5, '', '', '{password}')",
			id.UUID(), user.UUID(), hash[:], w.now, w.now.Add(time.Hour))
	}
	return w
}

func (w *world) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := w.sql.Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

// find returns the id of the session with the number, zero for none.
func (w *world) find(ctx context.Context, i int) (ids.Session, error) {
	s, err := w.Find(ctx, token(i), authz.Bearer, w.now)
	if s == nil {
		return ids.Session{}, err
	}
	return s.ID, err
}

// TestManyFind has many callers ask at once, far more than there are
// connections: each gets the session of its own token, and none if that has
// none, goes by another transport or is over.
func TestManyFind(t *testing.T) {
	t.Parallel()
	const live = 50
	w := newWorld(t, live)
	var all sync.WaitGroup
	for caller := range 300 {
		all.Go(func() {
			for i := range 20 {
				number := (caller*7 + i) % (live + 10) // some are nobody's
				id, err := w.find(t.Context(), number)
				var want ids.Session
				if number < live {
					want = w.ids[number]
				}
				if err != nil || id != want {
					t.Errorf("session %d: %v, %v, want %v", number, id, err, want)
				}
				if s, err := w.Find(t.Context(), token(number), authz.Cookie, w.now); s != nil || err != nil {
					t.Errorf("session %d by cookie: %v, %v", number, s, err)
				}
				if s, err := w.Find(t.Context(), token(number), authz.Bearer, w.now.Add(time.Hour)); s != nil || err != nil {
					t.Errorf("session %d after its end: %v, %v", number, s, err)
				}
			}
		})
	}
	all.Wait()
}

// TestEndedSessionIsNotFound ends sessions while others are looked up: whoever
// asks after that finds nothing.
func TestEndedSessionIsNotFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 101)
	ctx, stop := context.WithCancel(t.Context())
	var others sync.WaitGroup
	for range 20 {
		others.Go(func() {
			for ctx.Err() == nil {
				_, _ = w.find(ctx, 100)
			}
		})
	}
	for i := range 100 {
		if id, err := w.find(t.Context(), i); err != nil || id != w.ids[i] {
			t.Errorf("session %d: %v, %v", i, id, err)
		}
		w.exec(t, "DELETE FROM auth.sessions WHERE id = $1", w.ids[i].UUID())
		if id, err := w.find(t.Context(), i); err != nil || !id.IsZero() {
			t.Errorf("session %d, ended: %v, %v", i, id, err)
		}
	}
	stop()
	others.Wait()
}

// TestCallerWhoLeaves: a caller whose time is up gets its answer at once, and the
// others get theirs.
func TestCallerWhoLeaves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.exec(t, "BEGIN")
	w.exec(t, "LOCK TABLE auth.sessions")
	patient := make(chan error, 10)
	for range cap(patient) {
		go func() {
			id, err := w.find(t.Context(), 0)
			if err == nil && id != w.ids[0] {
				err = fmt.Errorf("found %v", id)
			}
			patient <- err
		}()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := w.find(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the caller whose time is up got %v", err)
	}
	w.exec(t, "COMMIT")
	for range cap(patient) {
		if err := <-patient; err != nil {
			t.Error(err)
		}
	}
}

// TestLookupsRecover breaks what they work with: those who ask meanwhile may
// fail, the next ones don't.
func TestLookupsRecover(t *testing.T) {
	t.Parallel()
	for name, damage := range map[string]func(*testing.T, *world){
		"connections cut": func(t *testing.T, w *world) {
			w.exec(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")
		},
		"statement gone": func(t *testing.T, w *world) {
			for _, conn := range w.pool.AcquireAllIdle(t.Context()) {
				if _, err := conn.Exec(t.Context(), "DEALLOCATE ALL"); err != nil {
					t.Error(err)
				}
				conn.Release()
			}
		},
		"column of another type": func(t *testing.T, w *world) {
			w.exec(t, "ALTER TABLE auth.sessions ALTER client_address TYPE varchar(100)")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			if id, err := w.find(t.Context(), 0); err != nil || id != w.ids[0] {
				t.Fatalf("before: %v, %v", id, err)
			}
			damage(t, w)
			testkit.Eventually(t, "the session is found again", func() bool {
				id, err := w.find(t.Context(), 0)
				return err == nil && id == w.ids[0]
			})
		})
	}
}
