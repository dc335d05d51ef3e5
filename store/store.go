// Package store keeps everything in one PostgreSQL database.
//
// Reads of one module go through its repository, a field of Store. Everything
// that writes is a method of Store, one transaction each, in the file of its
// use case: it changes what the modules own, and records the event and the
// mails in the same transaction.
package store

import (
	"context"
	"crypto/subtle"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverdatabasesql"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/identity"
	"github.com/logicspike/manager/store/migrations"
	"github.com/logicspike/manager/store/postgres"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// JobSchema is the schema of the job queue's own tables.
const JobSchema = "river"

// Options are the settings of a store.
type Options struct {
	// URL is a connection string of the database, already migrated.
	URL string
	// MaxConnections bounds the pool. Default: 20.
	MaxConnections int
	// Key seals page tokens and mails in the queue. Required; the same for all
	// who share the database.
	Key secret.Key
	// Clock tells the time. Default: the machine's, ahead by what AdvanceTestClock has
	// moved it on this database.
	Clock *clock.Manual
	// TestClock lets AdvanceTestClock move the time.
	TestClock bool
	// SessionIdleTimeout ends a session that is not used. Default: 14 days.
	SessionIdleTimeout time.Duration
	// SessionLifetime ends every session. Default: 90 days.
	SessionLifetime time.Duration
	// SigningKeyLifetime is how long a key signs access tokens. Default: 30 days.
	SigningKeyLifetime time.Duration
	// DeletionGrace is how long a deleted workspace can be undeleted; 0 purges
	// it at once. There is no default.
	DeletionGrace time.Duration
	// DunningReminders are when the owners of a workspace are reminded that an invoice is
	// overdue, and DunningGrace is when its subscription is then paused: both from when that
	// was noticed. There are no defaults.
	DunningReminders []time.Duration
	DunningGrace     time.Duration
	// Invoices says how invoices are issued.
	Invoices InvoiceOptions
	// Permissions are those that roles can hold, and Invite is the one among them to
	// invite people. Required where teams are changed.
	Permissions authz.Catalog
	Invite      authz.Permission
	// Logger receives what the store does by itself. Default: slog.Default().
	Logger *slog.Logger
}

// Store is the database.
type Store struct {
	Identity identity.Repository
	Tenant   tenant.Repository
	Team     team.Repository
	Auth     auth.Repository
	Billing  billing.Repository
	Audit    audit.Repository
	Sessions auth.Sessions
	Keys     auth.Keys
	Throttle auth.Throttle
	Failures auth.Failures

	db          *postgres.DB
	pager       *postgres.Pager
	jobs        *river.Client[*sql.Tx]
	mails       *secret.Box
	externals   *secret.Box // what external sign-ins keep until they are complete
	totp        *secret.Box
	signingKeys *secret.Box
	successors  *secret.Box // of refresh tokens
	previews    *secret.Box // of changes of subscriptions
	constraints postgres.Constraints
	options     Options
}

// Open connects to a migrated database.
//
// Errors: when the URL cannot be read, the database cannot be reached, or it is
// used with another key.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.Key.IsZero() {
		return nil, errors.New("store: a key is required")
	}
	if o.Clock == nil {
		o.Clock = new(clock.Manual)
	}
	if o.SessionIdleTimeout == 0 {
		o.SessionIdleTimeout = 14 * 24 * time.Hour
	}
	if o.SessionLifetime == 0 {
		o.SessionLifetime = 90 * 24 * time.Hour
	}
	if o.SigningKeyLifetime == 0 {
		o.SigningKeyLifetime = 30 * 24 * time.Hour
	}
	if o.Invoices.Prefix == "" {
		o.Invoices.Prefix = "INV-"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	db, err := postgres.Open(postgres.Options{URL: o.URL, MaxConnections: o.MaxConnections})
	if err != nil {
		return nil, err
	}
	jobs, err := river.NewClient(riverdatabasesql.New(db.SQL()), &river.Config{Schema: JobSchema, Logger: o.Logger})
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("job queue: %w", err)
	}
	s := &Store{db: db, pager: postgres.NewPager(o.Key), jobs: jobs, mails: o.Key.Box("mail"), options: o}
	s.externals = o.Key.Box("external sign-in")
	s.totp = o.Key.Box("totp secret")
	s.signingKeys, s.successors = o.Key.Box("signing key"), o.Key.Box("refresh token")
	s.previews = o.Key.Box("preview")
	s.Identity = identity.New(db.Bun)
	s.Tenant = tenant.New(db.Bun)
	s.Team = team.New(db.Bun, s.pager)
	s.Auth = auth.New(db.Bun, s.pager)
	s.Billing = billing.New(db.Bun)
	s.Audit = audit.New(db.Bun, s.pager)
	s.Sessions = auth.NewSessions(db.Pool)
	s.Keys = auth.NewKeys(s.Sessions)
	s.Throttle = auth.NewThrottle(s.Auth, o.Clock)
	s.Failures = auth.NewFailures(s.Auth, o.Clock)
	s.constraints = constraints()
	if err := s.checkKey(ctx); err != nil {
		db.Close()
		return nil, err
	}
	if err := s.catchUpTestClock(ctx); err != nil {
		db.Close()
		return nil, err
	}
	return s, nil
}

// Clock is what tells the time to all that works with the store.
func (s *Store) Clock() clock.Clock { return s.options.Clock }

// Ahead returns by how much that time is ahead of the machine's.
func (s *Store) Ahead() time.Duration { return s.options.Clock.Ahead() }

// checkKey makes sure that all who use the database share one key: what one of
// them seals the others must open.
func (s *Store) checkKey(ctx context.Context) error {
	// Two statements: one alone would not see what it has waited for.
	if _, err := s.db.Bun.NewRaw("INSERT INTO manager.facts (name, value) VALUES ('key fingerprint', ?) ON CONFLICT DO NOTHING",
		s.options.Key.Fingerprint()).Exec(ctx); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	var stored []byte
	if err := s.db.Bun.NewRaw("SELECT value FROM manager.facts WHERE name = 'key fingerprint'").Scan(ctx, &stored); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	if subtle.ConstantTimeCompare(stored, s.options.Key.Fingerprint()) != 1 {
		return ErrKey
	}
	return nil
}

// ErrKey is returned by Open when the database was first used with another key.
var ErrKey = errors.New("the secret key is not the one that this database is used with")

// Close ends the connections, waiting for those in use.
func (s *Store) Close() { s.db.Close() }

// Ready reports whether the database answers.
func (s *Store) Ready(ctx context.Context) error { return s.db.Pool.Ping(ctx) }

// Pool tells how the connections are used, for metrics.
func (s *Store) Pool() *pgxpool.Stat { return s.db.Pool.Stat() }

// Migrate brings the database's schema up to date. Any number of processes may
// call it at once, and one that dies half-way leaves nothing in the next one's
// way.
func Migrate(ctx context.Context, url string) error {
	return postgres.Migrate(ctx, url, migrations.Files, func(ctx context.Context) error {
		return errors.Join(migrateJobs(ctx, url), adoptEvents(ctx, url))
	})
}

// MigrationStatus lists the migrations in their order.
func MigrationStatus(ctx context.Context, url string) ([]postgres.Migration, error) {
	return postgres.MigrationStatus(ctx, url, migrations.Files)
}

// adoptEvents readies the event log for a PostgreSQL server that it was moved to.
// The log is in the order of the server's transactions, and those of another
// server mean nothing here: what was written there comes first, in the order of
// its ids.
func adoptEvents(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var here string
		var known *string
		if err := tx.QueryRow(ctx, `
			SELECT system_identifier::text, (SELECT convert_from(value, 'UTF8') FROM manager.facts WHERE name = 'server')
			FROM pg_control_system()`).Scan(&here, &known); err != nil || known != nil && *known == here {
			return err
		}
		if known != nil {
			if _, err := tx.Exec(ctx, "UPDATE audit.events SET tx = '0' WHERE tx <> '0'"); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `
			INSERT INTO manager.facts (name, value) VALUES ('server', convert_to($1, 'UTF8'))
			ON CONFLICT (name) DO UPDATE SET value = EXCLUDED.value`, here)
		return err
	})
	if err != nil {
		return fmt.Errorf("ready the event log: %w", err)
	}
	return nil
}

// jobLock is the advisory lock under which the job queue's tables are migrated
// ("lsmanjob").
const jobLock = 0x6c736d616e6a6f62

// migrateJobs brings the job queue's own tables up to date. It has one connection,
// and on that a lock: when a process was killed, the database may still be at its
// last statement, and the next process must wait for that.
func migrateJobs(ctx context.Context, url string) error {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return err
	}
	cfg.MaxConns = 1
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return err
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(jobLock)); err != nil {
		return fmt.Errorf("lock to migrate the job queue: %w", err)
	}
	if _, err := pool.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS "+JobSchema); err != nil {
		return fmt.Errorf("schema of the job queue: %w", err)
	}
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{
		Schema: JobSchema, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("migrate the job queue: %w", err)
	}
	return nil
}

// Throttle counts what must not be done too often.
type Throttle = auth.Throttle

// Page says which part of a list is asked for.
type Page = postgres.Page

// Limit is a rate: a burst at once, then one each interval.
type Limit = auth.Limit

// Failures counts failures in a row.
type Failures = auth.Failures

// Try is one that was counted as a failure.
type Try = auth.Try

// Backoff is how long one has to wait after failures in a row.
type Backoff = auth.Backoff

// PerWindow returns the limit of n in any window, roughly.
func PerWindow(n int, window time.Duration) Limit { return auth.PerWindow(n, window) }
