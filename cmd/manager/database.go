package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/store/postgres/embedded"
)

// stopTimeout is how long the private server may take to end in order.
const stopTimeout = 30 * time.Second

// databaseName is the database's name in the private server.
const databaseName = "manager"

// database is the PostgreSQL database to use: somebody else's, or the private
// server's.
type database struct {
	url     string
	private *embedded.Server // nil if it is somebody else's
}

// openDatabase starts the private server, unless the settings name another.
// connections is how many connections will be used.
//
// Errors: those of embedded.Start, which say what is in the way.
func openDatabase(ctx context.Context, s config.Database, connections int, log *slog.Logger) (*database, error) {
	if !s.Private() {
		return &database{url: s.DatabaseURL.Reveal()}, nil
	}
	const others = 10 // for River, a person with psql, and superusers
	server, err := embedded.Start(ctx, embedded.Options{
		Dir:      s.DataDir,
		Logger:   log.With("from", "postgres"),
		Settings: map[string]string{"max_connections": strconv.Itoa(max(100, connections+others))},
	})
	if inUse := (*embedded.InUseError)(nil); errors.As(err, &inUse) {
		return nil, fmt.Errorf("%w; end that, or choose another folder by --data-dir (%s)", inUse, config.Variable("data-dir"))
	}
	if err != nil {
		return nil, err
	}
	db := &database{url: server.URL(databaseName), private: server}
	if err := createDatabase(ctx, server.URL("postgres")); err != nil {
		return nil, errors.Join(fmt.Errorf("create the database: %w", err), db.close(ctx))
	}
	return db, nil
}

// createDatabase creates the database in the private server if it is missing.
func createDatabase(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	err = conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)", databaseName).Scan(&exists)
	if err == nil && !exists {
		_, err = conn.Exec(ctx, "CREATE DATABASE "+databaseName)
	}
	return err
}

// watch returns a context that ends when the private server does, with the
// reason as its cause.
func (db *database) watch(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	if db.private != nil {
		go func() {
			select {
			case <-ctx.Done():
			case <-db.private.Done():
				cancel(db.failure())
			}
		}()
	}
	return ctx, func() { cancel(nil) }
}

// failure returns why the private server ended by itself, or nil.
func (db *database) failure() error {
	if db.private == nil {
		return nil
	}
	if err := db.private.Err(); err != nil {
		return fmt.Errorf("the private database server is gone: %w", err)
	}
	return nil
}

// close stops the private server, in order. ctx may have ended.
func (db *database) close(ctx context.Context) error {
	if db.private == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	return db.private.Stop(ctx)
}

// describe says where the database is, without its password.
func (db *database) describe(s config.Database) string {
	if db.private != nil {
		return "private server in " + s.DataDir
	}
	cfg, err := pgconn.ParseConfig(db.url)
	if err != nil {
		return "as configured"
	}
	return fmt.Sprintf("%s on %s, port %d", cfg.Database, cfg.Host, cfg.Port)
}
