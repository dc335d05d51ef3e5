package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"text/tabwriter"
	"time"

	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/store"
)

// migrateCmd are the commands about the database's schema. `serve` migrates by
// itself; they are for those who want to do it before.
type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Bring the schema up to date. Safe at any time, and when several do it at once."`
	Status migrateStatusCmd `cmd:"" help:"List the migrations and when each was applied."`
}

type migrateUpCmd struct {
	config.Database `embed:""`
}

// Run brings the schema up to date.
func (m *migrateUpCmd) Run(c console) error {
	return withDatabase(m.Database, openDatabaseToMigrate, c, func(ctx context.Context, url string) error {
		if err := store.Migrate(ctx, url); err != nil {
			return err
		}
		return printMigrations(ctx, url, c)
	})
}

type migrateStatusCmd struct {
	config.Database `embed:""`
}

// Run lists the migrations.
func (m *migrateStatusCmd) Run(c console) error {
	return withDatabase(m.Database, joinDatabase, c, func(ctx context.Context, url string) error {
		return printMigrations(ctx, url, c)
	})
}

// openDatabaseToMigrate is openDatabase for a few connections.
func openDatabaseToMigrate(ctx context.Context, s config.Database, log *slog.Logger) (*database, error) {
	return openDatabase(ctx, s, 0, log)
}

// withDatabase calls fn with the URL of the database that open opens; the private
// server runs meanwhile.
func withDatabase(s config.Database, open func(context.Context, config.Database, *slog.Logger) (*database, error), c console, fn func(ctx context.Context, url string) error) (err error) {
	ctx, stop := untilSignal(context.Background(), c.err, exitNow)
	defer stop()
	log := slog.New(slog.NewTextHandler(c.err, nil))
	db, err := open(ctx, s, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close(ctx)) }()
	return fn(ctx, db.url)
}

func printMigrations(ctx context.Context, url string, c console) error {
	all, err := store.MigrationStatus(ctx, url)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
	pending := 0
	for _, m := range all {
		applied := "pending"
		if m.ApplyTime.IsZero() {
			pending++
		} else {
			applied = "applied " + m.ApplyTime.UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(table, "%s\t%s\n", m.Name, applied)
	}
	fmt.Fprintf(table, "%s, %d pending\n", counted(len(all), "migration"), pending)
	return table.Flush()
}
