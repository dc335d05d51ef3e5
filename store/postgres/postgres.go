// Package postgres is what the store needs of PostgreSQL beside SQL: the pool,
// the meaning of its errors, migrations and pages.
package postgres

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
)

// DB is a database: one pool of connections, seen through pgx and through bun.
type DB struct {
	// Pool runs the hottest statements, as prepared ones.
	Pool *pgxpool.Pool
	// Bun runs all others.
	Bun *bun.DB
}

// Options are the settings of a pool.
type Options struct {
	// URL is a connection string that pgx understands.
	URL string
	// MaxConnections bounds the pool. Default: 20.
	MaxConnections int
}

// Open connects lazily to a database. Close ends it.
//
// Errors: when the URL cannot be read.
func Open(o Options) (*DB, error) {
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, fmt.Errorf("database URL: %w", err)
	}
	cfg.MaxConns = int32(o.MaxConnections)
	if cfg.MaxConns <= 0 {
		cfg.MaxConns = 20
	}
	cfg.MaxConnIdleTime = 5 * time.Minute
	cfg.HealthCheckPeriod = 30 * time.Second
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	// bun writes its arguments into the text of a statement, so nearly every text
	// is a new one: preparing them would cost a round trip each and fill the
	// server's memory. Statements that should be prepared say so.
	cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	cfg.ConnConfig.StatementCacheCapacity = 64
	for name, value := range map[string]string{
		"timezone":                            "UTC",
		"application_name":                    "logicspike-manager",
		"idle_in_transaction_session_timeout": "60000",
		"lock_timeout":                        "10000",
		// Prepared statements ask by keys alone: one plan suits all arguments. Without this,
		// those with arrays would be planned anew each time, which takes 4 times as long as they do.
		"plan_cache_mode": "force_generic_plan",
	} {
		if _, set := cfg.ConnConfig.RuntimeParams[name]; !set {
			cfg.ConnConfig.RuntimeParams[name] = value
		}
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, fmt.Errorf("database pool: %w", err)
	}
	sqldb := stdlib.OpenDBFromPool(pool)
	return &DB{Pool: pool, Bun: bun.NewDB(sqldb, pgdialect.New(), bun.WithDiscardUnknownColumns())}, nil
}

// SQL returns the database/sql view of the pool.
func (db *DB) SQL() *sql.DB { return db.Bun.DB }

// Close ends the pool, waiting for connections in use.
func (db *DB) Close() {
	_ = db.Bun.Close()
	db.Pool.Close()
}
