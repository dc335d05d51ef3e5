package postgres

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
)

// Migration is one step of the schema.
type Migration struct {
	Name      string    // the name of its file
	ApplyTime time.Time // zero when it is pending
	sql       string
	checksum  string
}

// lockKey is the advisory lock that migrating processes queue for ("lsmanage").
const lockKey = 0x6c736d616e616765

// Migrate brings the schema up to date. Any number of processes may call it at
// once: they take turns. Each migration is one transaction with its record, so
// that one which dies leaves whole steps only, and the next call goes on. After
// the files, extra runs under the same lock, if it is not nil.
//
// Errors: when a migration fails, or when the database has one that this
// program does not know or that was changed.
func Migrate(ctx context.Context, url string, files fs.FS, extra func(context.Context) error) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return fmt.Errorf("connect to migrate: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	// The lock belongs to the connection: it ends with it, whatever happens.
	if _, err := conn.Exec(ctx, "SELECT pg_advisory_lock($1)", int64(lockKey)); err != nil {
		return fmt.Errorf("lock to migrate: %w", err)
	}
	if _, err := conn.Exec(ctx, `
		CREATE SCHEMA IF NOT EXISTS manager;
		CREATE TABLE IF NOT EXISTS manager.migrations (
			name       text        PRIMARY KEY,
			checksum   text        NOT NULL,
			apply_time timestamptz NOT NULL
		);
		CREATE TABLE IF NOT EXISTS manager.facts (
			name  text  PRIMARY KEY,
			value bytea NOT NULL
		)`); err != nil {
		return fmt.Errorf("prepare to migrate: %w", err)
	}
	all, err := status(ctx, conn, files)
	if err != nil {
		return err
	}
	for _, m := range all {
		if !m.ApplyTime.IsZero() {
			continue
		}
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, m.sql); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "INSERT INTO manager.migrations VALUES ($1, $2, now())", m.Name, m.checksum)
			return err
		})
		if err != nil {
			return fmt.Errorf("migration %s: %w", m.Name, err)
		}
	}
	if extra != nil {
		return extra(ctx)
	}
	return nil
}

// MigrationStatus lists the migrations in their order.
func MigrationStatus(ctx context.Context, url string, files fs.FS) ([]Migration, error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	var exists bool
	if err := conn.QueryRow(ctx, "SELECT to_regclass('manager.migrations') IS NOT NULL").Scan(&exists); err != nil {
		return nil, err
	}
	if !exists {
		return read(files)
	}
	return status(ctx, conn, files)
}

func read(files fs.FS) ([]Migration, error) {
	names, err := fs.Glob(files, "*.sql") // sorted
	if err != nil {
		return nil, err
	}
	var all []Migration
	for _, name := range names {
		sql, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		sum := sha256.Sum256(sql)
		all = append(all, Migration{Name: name, sql: string(sql), checksum: hex.EncodeToString(sum[:])})
	}
	return all, nil
}

func status(ctx context.Context, conn *pgx.Conn, files fs.FS) ([]Migration, error) {
	all, err := read(files)
	if err != nil {
		return nil, err
	}
	byName := map[string]*Migration{}
	for i := range all {
		byName[all[i].Name] = &all[i]
	}
	rows, err := conn.Query(ctx, "SELECT name, checksum, apply_time FROM manager.migrations ORDER BY name")
	if err != nil {
		return nil, err
	}
	var name, checksum string
	var at time.Time
	_, err = pgx.ForEachRow(rows, []any{&name, &checksum, &at}, func() error {
		m, known := byName[name]
		switch {
		case !known:
			return fmt.Errorf("the database has migration %s, which this version does not know: a newer version has used it", name)
		case m.checksum != checksum:
			return fmt.Errorf("migration %s was applied with another content", name)
		}
		m.ApplyTime = at
		return nil
	})
	return all, err
}
