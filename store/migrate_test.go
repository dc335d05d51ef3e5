package store_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/migrations"
	"github.com/logicspike/manager/store/postgres"
)

// migrateVariable makes this program migrate the database that it names, and end.
const migrateVariable = "MANAGER_TEST_MIGRATE"

func TestMain(m *testing.M) {
	if url := os.Getenv(migrateVariable); url != "" {
		if err := store.Migrate(context.Background(), url); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	testkit.Main(m)
}

// migrating starts a process that migrates a database.
func migrating(t *testing.T, url string) (process *exec.Cmd, output *bytes.Buffer) {
	t.Helper()
	process, output = exec.CommandContext(t.Context(), os.Args[0]), new(bytes.Buffer)
	process.Env = append(os.Environ(), migrateVariable+"="+url)
	process.Stdout, process.Stderr = output, output
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	return process, output
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// schema returns everything that migrations make, one line each, and which of them
// were applied.
func schema(t *testing.T, url string) string {
	t.Helper()
	rows, err := connect(t, url).Query(t.Context(), `
		SELECT format('%s %s %s', n.nspname, c.relname, c.relkind) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^(pg_|information_schema)'
		UNION ALL
		SELECT format('column %s.%s.%s %s %s %s', table_schema, table_name, column_name, data_type, is_nullable, column_default) FROM information_schema.columns
		WHERE table_schema !~ '^(pg_|information_schema)'
		UNION ALL
		SELECT format('constraint %s %s', conname, pg_get_constraintdef(c.oid)) FROM pg_constraint c JOIN pg_namespace n ON n.oid = c.connamespace WHERE n.nspname !~ '^(pg_|information_schema)'
		UNION ALL
		SELECT indexdef FROM pg_indexes WHERE schemaname !~ '^(pg_|information_schema)'
		UNION ALL
		SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
		UNION ALL
		SELECT pg_get_functiondef(p.oid) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname !~ '^(pg_|information_schema)'
		UNION ALL
		SELECT format('view %s %s', viewname, definition) FROM pg_views WHERE schemaname !~ '^(pg_|information_schema)'
		UNION ALL
		SELECT format('migration %s %s', name, checksum) FROM manager.migrations
		UNION ALL
		SELECT format('river migration %s %s', line, version) FROM river.river_migration
		ORDER BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	if len(lines) < 200 {
		t.Fatalf("the schema has %d lines only", len(lines))
	}
	return strings.Join(lines, "\n")
}

// requireMigrated checks that a database has the schema that one undisturbed
// process makes.
func requireMigrated(t *testing.T, url string) {
	t.Helper()
	if diff := cmp.Diff(schema(t, testkit.NewDatabase(t)), schema(t, url)); diff != "" {
		t.Errorf("the schema is another one (-undisturbed +this):\n%s", diff)
	}
	all, err := store.MigrationStatus(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.ApplyTime.IsZero() {
			t.Errorf("migration %s is pending", m.Name)
		}
	}
}

func TestFiveProcessesMigrateAtOnce(t *testing.T) {
	t.Parallel()
	url := testkit.NewEmptyDatabase(t)
	var all sync.WaitGroup
	for range 5 {
		process, output := migrating(t, url)
		all.Go(func() {
			if err := process.Wait(); err != nil {
				t.Errorf("one of five: %v: %s", err, output)
			}
		})
	}
	all.Wait()
	requireMigrated(t, url)
}

// TestMigrationGoesOnAfterOneWasKilled kills a process in the middle of a step. The
// next one begins while the database still works at the killed one's statement.
func TestMigrationGoesOnAfterOneWasKilled(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before func(t *testing.T, url string)
		hold   string // what a step of the migration waits for
		undone string // what that step makes
	}{
		"in a migration": {
			before: func(t *testing.T, url string) {
				if err := postgres.Migrate(t.Context(), url, filesUpTo(t, "0002"), nil); err != nil {
					t.Fatal(err)
				}
			},
			hold:   "LOCK TABLE tenant.workspaces IN ACCESS EXCLUSIVE MODE", // which memberships refer to
			undone: "team.memberships",
		},
		"before the job queue": {
			hold:   "CREATE SCHEMA river",
			undone: "river.river_job",
		},
		"in a migration of the job queue": {
			before: func(t *testing.T, url string) { run(t, connect(t, url), "CREATE SCHEMA river") },
			hold:   "CREATE TABLE river.river_job ()",
			undone: "river.river_job",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testkit.NewEmptyDatabase(t)
			if test.before != nil {
				test.before(t, url)
			}
			holder := connect(t, url)
			run(t, holder, "BEGIN")
			run(t, holder, test.hold)
			process, output := migrating(t, url)
			killed := waiting(t, url)
			if err := process.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			if err := process.Wait(); err == nil {
				t.Fatalf("the process ended by itself: %s", output)
			}
			next := make(chan error, 1)
			go func() { next <- store.Migrate(t.Context(), url) }()
			testkit.Eventually(t, "the next one to be kept waiting, too", func() bool { return waiting(t, url) > killed || len(next) > 0 })
			var made bool
			if err := connect(t, url).QueryRow(t.Context(), "SELECT to_regclass($1) IS NOT NULL", test.undone).Scan(&made); err != nil || made {
				t.Errorf("the step that was killed has left %s: %v, %v", test.undone, made, err)
			}
			run(t, holder, "ROLLBACK")
			select {
			case err := <-next:
				if err != nil {
					t.Errorf("the next one: %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the next one waits still")
			}
			requireMigrated(t, url)
		})
	}
}

// waiting waits until connections to a database wait for a lock, and returns how
// many do.
func waiting(t *testing.T, url string) (count int) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	testkit.Eventually(t, "a process to wait for a lock", func() bool {
		if err := conn.QueryRow(t.Context(), `
			SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`).Scan(&count); err != nil {
			t.Fatal(err)
		}
		return count > 0
	})
	return count
}

// filesUpTo returns the migrations up to a number.
func filesUpTo(t *testing.T, number string) fs.FS {
	t.Helper()
	names, err := fs.Glob(migrations.Files, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for _, name := range names {
		if name[:4] > number {
			continue
		}
		data, err := fs.ReadFile(migrations.Files, name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = &fstest.MapFile{Data: data}
	}
	return files
}

func TestMigrationThatFailsLeavesNothing(t *testing.T) {
	t.Parallel()
	url := testkit.NewEmptyDatabase(t)
	files := fstest.MapFS{
		"0001_good.sql": {Data: []byte("CREATE TABLE good ()")},
		"0002_bad.sql":  {Data: []byte("CREATE TABLE bad (); SELECT 1/0")},
		"0003_next.sql": {Data: []byte("CREATE TABLE next ()")},
	}
	err := postgres.Migrate(t.Context(), url, files, nil)
	if err == nil || !strings.Contains(err.Error(), "0002_bad.sql") {
		t.Errorf("error %v, want one that names 0002_bad.sql", err)
	}
	applied := func() (names []string) {
		all, err := postgres.MigrationStatus(t.Context(), url, files)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range all {
			if !m.ApplyTime.IsZero() {
				names = append(names, m.Name)
			}
		}
		return names
	}
	if got := applied(); len(got) != 1 || got[0] != "0001_good.sql" {
		t.Errorf("applied %v, want the first alone", got)
	}
	files["0002_bad.sql"].Data = []byte("CREATE TABLE bad ()")
	if err := postgres.Migrate(t.Context(), url, files, nil); err != nil {
		t.Errorf("repaired: %v", err)
	}
	if got := applied(); len(got) != 3 {
		t.Errorf("applied %v, want all", got)
	}
}

func TestMigrateTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	url := testkit.NewDatabase(t)
	before, err := store.MigrationStatus(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	after, err := store.MigrationStatus(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after, cmp.Comparer(func(a, b postgres.Migration) bool { return a == b })); diff != "" {
		t.Errorf("the second time changed (-before +after):\n%s", diff)
	}
	requireMigrated(t, url)
}

// TestForeignMigrationsAreRefused meets a database that another version of the
// program has migrated, and says so.
func TestForeignMigrationsAreRefused(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ sql, want string }{
		"changed": {
			"UPDATE manager.migrations SET checksum = 'another' WHERE name = '0002_tenant.sql'",
			"migration 0002_tenant.sql was applied with another content",
		},
		"unknown": {
			"INSERT INTO manager.migrations VALUES ('9999_later.sql', 'x', now())",
			"the database has migration 9999_later.sql, which this version does not know: a newer version has used it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := testkit.NewDatabase(t)
			run(t, connect(t, url), test.sql)
			if err := store.Migrate(t.Context(), url); err == nil || err.Error() != test.want {
				t.Errorf("Migrate: %v, want %q", err, test.want)
			}
			if _, err := store.MigrationStatus(t.Context(), url); err == nil || err.Error() != test.want {
				t.Errorf("MigrationStatus: %v, want %q", err, test.want)
			}
		})
	}
}

func TestOpenRefusesAnotherKey(t *testing.T) {
	t.Parallel()
	url := testkit.NewDatabase(t)
	key := secret.NewKey()
	for range 2 { // the first use decides
		if err := open(t, url, key); err != nil {
			t.Fatal(err)
		}
	}
	if err := open(t, url, secret.NewKey()); !errors.Is(err, store.ErrKey) {
		t.Errorf("opened with another key: %v, want ErrKey", err)
	}
	if err := open(t, url, secret.Key{}); err == nil {
		t.Error("opened without a key")
	}
	if err := open(t, url, key); err != nil {
		t.Errorf("opened with the first key again: %v", err)
	}
}

// TestReplicasOpenANewDatabaseAtOnce opens a database while another process, which
// has not committed yet, is the first to use it.
func TestReplicasOpenANewDatabaseAtOnce(t *testing.T) {
	t.Parallel()
	url := testkit.NewDatabase(t)
	key := secret.NewKey()
	first := connect(t, url)
	run(t, first, "BEGIN")
	if _, err := first.Exec(t.Context(), "INSERT INTO manager.facts VALUES ('key fingerprint', $1)", key.Fingerprint()); err != nil {
		t.Fatal(err)
	}
	same, other := make(chan error, 1), make(chan error, 1)
	go func() { same <- open(t, url, key) }()
	go func() { other <- open(t, url, secret.NewKey()) }()
	testkit.Eventually(t, "both to wait for the first", func() bool { return waiting(t, url) == 2 })
	run(t, first, "COMMIT")
	if err := <-same; err != nil {
		t.Errorf("opened with the same key: %v", err)
	}
	if err := <-other; !errors.Is(err, store.ErrKey) {
		t.Errorf("opened with another key: %v, want ErrKey", err)
	}
}

func open(t *testing.T, url string, key secret.Key) error {
	t.Helper()
	s, err := store.Open(t.Context(), store.Options{URL: url, Key: key, MaxConnections: 2})
	if err == nil {
		s.Close()
	}
	return err
}
