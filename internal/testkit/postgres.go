// Package testkit runs the product for tests: a PostgreSQL server for each test
// program, a database for each test, and the whole server on a real listener.
package testkit

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/postgres/embedded"
)

// template is the migrated database that the tests' own are copies of.
const template = "manager_template"

var cluster struct {
	once   sync.Once
	dir    string
	server *embedded.Server
	err    error
}

// Main runs a package's tests and ends their PostgreSQL server. Call it in
// TestMain. Each of before runs first, and may start what examples need.
func Main(m *testing.M, before ...func(*ForMain)) {
	tb := new(ForMain)
	for _, prepare := range before {
		prepare(tb)
	}
	code := m.Run()
	tb.Close()
	if cluster.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		_ = cluster.server.Stop(ctx)
		cancel()
	}
	if cluster.dir != "" {
		_ = os.RemoveAll(cluster.dir)
	}
	os.Exit(code)
}

// Postgres returns the PostgreSQL server of this test program, which starts with
// the first call.
func Postgres(t testing.TB) *embedded.Server {
	t.Helper()
	cluster.once.Do(func() {
		cluster.server, cluster.dir, cluster.err = startCluster()
		if cluster.err == nil {
			cluster.err = makeTemplate(context.Background(), cluster.server)
		}
	})
	if cluster.err != nil {
		t.Fatalf("PostgreSQL for the tests: %v", cluster.err)
	}
	return cluster.server
}

// NewPostgres returns a PostgreSQL server of a test's own, for tests that break
// the server, and its data folder. Unlike the shared one it does not lose commits
// when it is killed. Its databases are the test's to make and to migrate.
func NewPostgres(t testing.TB) (server *embedded.Server, dir string) {
	t.Helper()
	dir = Dir(t)
	server, err := embedded.Start(t.Context(), embedded.Options{Dir: dir, Settings: map[string]string{"max_connections": "100"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = server.Stop(ctx)
	})
	return server, dir
}

// memory is where Linux keeps files in memory: a database is copied there thirty times
// as fast as on some disks. It is used if it has room for the tests.
const (
	memory     = "/dev/shm"
	memoryRoom = 4 << 30 // bytes
)

// Dir returns a folder of the test's own that the server's unprivileged user may enter,
// in memory where that has room.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := newDir()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func newDir() (string, error) {
	parent := "" // the system's folder for such files
	var room syscall.Statfs_t
	if os.Getenv("TMPDIR") == "" && syscall.Statfs(memory, &room) == nil && room.Bavail*uint64(room.Bsize) >= memoryRoom {
		parent = memory
	}
	dir, err := os.MkdirTemp(parent, "manager-test-")
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o755)
}

func startCluster() (*embedded.Server, string, error) {
	dir, err := newDir()
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	server, err := embedded.Start(ctx, embedded.Options{Dir: dir, Settings: map[string]string{
		"fsync":              "off", // the machine's crash would lose the tests, no more
		"synchronous_commit": "off",
		"full_page_writes":   "off",
		"wal_level":          "minimal",
		"max_wal_senders":    "0",
		"max_connections":    "400",
		"shared_buffers":     "128MB",
		"autovacuum":         "off",
		"jit":                "off", // compiling takes longer than what is compiled
	}})
	return server, dir, err
}

func makeTemplate(ctx context.Context, server *embedded.Server) error {
	if err := execute(ctx, server.URL("postgres"), "CREATE DATABASE "+template); err != nil {
		return err
	}
	return store.Migrate(ctx, server.URL(template))
}

// NewDatabase returns the URL of a migrated database of the test's own. It is
// dropped when the test ends.
func NewDatabase(t testing.TB) string {
	t.Helper()
	server := Postgres(t)
	name := "test_" + uuid.NewString()[:13]
	if err := execute(t.Context(), server.URL("postgres"), fmt.Sprintf("CREATE DATABASE %q TEMPLATE %s STRATEGY = FILE_COPY", name, template)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = execute(context.Background(), server.URL("postgres"), fmt.Sprintf("DROP DATABASE %q WITH (FORCE)", name))
	})
	return server.URL(name)
}

// NewEmptyDatabase is NewDatabase without the migrations.
func NewEmptyDatabase(t testing.TB) string {
	t.Helper()
	server := Postgres(t)
	name := "test_" + uuid.NewString()[:13]
	if err := execute(t.Context(), server.URL("postgres"), fmt.Sprintf("CREATE DATABASE %q", name)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = execute(context.Background(), server.URL("postgres"), fmt.Sprintf("DROP DATABASE %q WITH (FORCE)", name))
	})
	return server.URL(name)
}

func execute(ctx context.Context, url, sql string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	_, err = conn.Exec(ctx, sql)
	return err
}
