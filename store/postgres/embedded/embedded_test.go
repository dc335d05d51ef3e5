package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("EMBEDDED_TEST_MANAGER"); dir != "" {
		runManager(dir)
	}
	if os.Getenv("TMPDIR") == "" && holdsMuch(memory) {
		_ = os.Setenv("TMPDIR", memory)
	}
	code := m.Run()
	_ = os.RemoveAll(templateDir)
	os.Exit(code)
}

// memory is where Linux keeps files in memory, where setting a server up takes a third.
const memory = "/dev/shm"

// holdsMuch reports whether a folder has room for the tests, and programs may run there.
func holdsMuch(dir string) bool {
	const noExec, room = 8, 1 << 30 // statfs(2); bytes
	var of syscall.Statfs_t
	return syscall.Statfs(dir, &of) == nil && of.Flags&noExec == 0 && of.Bavail*uint64(of.Bsize) >= room
}

// runManager is the other process of TestStartAfterManagerWasKilled.
func runManager(dir string) {
	s, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(s.PID())
	<-s.Done()
	os.Exit(0)
}

// newDir returns an empty folder that the server's account may enter.
func newDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "embedded-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

var templateDir string

// makeTemplate sets up one data folder that the tests copy, which is faster than
// setting up one for each.
var makeTemplate = sync.OnceValue(func() error {
	dir, err := os.MkdirTemp("", "embedded-template-")
	if err != nil {
		return err
	}
	templateDir = dir
	if err := os.Chmod(dir, 0o755); err != nil {
		return err
	}
	s, err := Start(context.Background(), Options{Dir: dir})
	if err != nil {
		return err
	}
	return s.Stop(context.Background())
})

// newDataDir returns a folder with a data folder that is set up.
func newDataDir(t testing.TB) string {
	t.Helper()
	if err := makeTemplate(); err != nil {
		t.Fatal(err)
	}
	dir := newDir(t)
	if out, err := exec.Command("cp", "-a", filepath.Join(templateDir, "data"), dir).CombinedOutput(); err != nil {
		t.Fatalf("copy: %v: %s", err, out)
	}
	return dir
}

func mustStart(t testing.TB, o Options) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s, err := Start(ctx, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

func stop(t testing.TB, s *Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}

func connect(t testing.TB, s *Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(context.Background(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func query(t testing.TB, s *Server, sql string) string {
	t.Helper()
	var got string
	if err := connect(t, s).QueryRow(context.Background(), sql).Scan(&got); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

func execute(t testing.TB, s *Server, sql string) {
	t.Helper()
	if _, err := connect(t, s).Exec(context.Background(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func TestStartSetsUpAndFindsAgain(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), "made", "by us")
	s := mustStart(t, Options{Dir: dir, Settings: map[string]string{"max_connections": "17"}})
	for setting, want := range map[string]string{
		"listen_addresses": "",
		"server_encoding":  "UTF8",
		"data_checksums":   "on",
		"max_connections":  "17",
		"TimeZone":         "UTC",
	} {
		if got := query(t, s, "SHOW "+setting); got != want {
			t.Errorf("%s is %q, want %q", setting, got, want)
		}
	}
	if got := query(t, s, "SELECT current_user::text"); got != Superuser {
		t.Errorf("connected as %q, want %q", got, Superuser)
	}
	execute(t, s, "CREATE TABLE kept AS SELECT 'still here' AS word")
	stop(t, s)
	if err := s.Err(); err != nil {
		t.Errorf("Err after Stop: %v", err)
	}

	s = mustStart(t, Options{Dir: dir})
	if got := query(t, s, "SELECT word FROM kept"); got != "still here" {
		t.Errorf("found %q after the second start", got)
	}
	if got := query(t, s, "SHOW max_connections"); got != "100" {
		t.Errorf("max_connections is %s, want the default 100", got)
	}
}

func TestFoldersArePrivate(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	mustStart(t, Options{Dir: dir, Settings: map[string]string{"fsync": "off"}})
	for _, name := range []string{"data", "run"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o700 {
			t.Errorf("%s has mode %04o, want 0700", name, info.Mode().Perm())
		}
		if owner := info.Sys().(*syscall.Stat_t).Uid; os.Geteuid() == 0 && owner == 0 {
			t.Errorf("%s belongs to root", name)
		}
	}
}

func TestSecondStartIsRefused(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	s := mustStart(t, Options{Dir: dir})
	_, err := Start(context.Background(), Options{Dir: dir})
	var inUse *InUseError
	if !errors.Is(err, ErrInUse) || !errors.As(err, &inUse) {
		t.Fatalf("got %v, want ErrInUse", err)
	}
	if inUse.Dir != dir || inUse.PID != os.Getpid() {
		t.Errorf("got %+v, want folder %s and process id %d", inUse, dir, os.Getpid())
	}
	for _, part := range []string{dir, fmt.Sprint(os.Getpid())} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("message %q does not name %s", err, part)
		}
	}
	query(t, s, "SELECT 'the first one goes on'")
}

func TestRecoversFromKill(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	s := mustStart(t, Options{Dir: dir})
	execute(t, s, "CREATE TABLE kept AS SELECT 'committed' AS word")
	// A process that is busy does not notice that the server is gone.
	busy := connect(t, s)
	go func() { _, _ = busy.Exec(context.Background(), "SELECT count(*) FROM generate_series(1, 1e11)") }()
	time.Sleep(100 * time.Millisecond)

	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	<-s.Done()
	if err := s.Err(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("Err is %v, want one that says killed", err)
	}
	stop(t, s)

	s = mustStart(t, Options{Dir: dir})
	if got := query(t, s, "SELECT word FROM kept"); got != "committed" {
		t.Errorf("found %q after the crash", got)
	}
}

func TestStartAfterManagerWasKilled(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	manager := exec.Command(os.Args[0])
	manager.Env = append(os.Environ(), "EMBEDDED_TEST_MANAGER="+dir)
	out, err := manager.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Fscan(out, &pid); err != nil {
		t.Fatal(err)
	}
	_ = manager.Process.Kill()
	_ = manager.Wait()

	mustStart(t, Options{Dir: dir})
	if isServer(pid, filepath.Join(dir, "data")) {
		t.Errorf("the old server %d still runs", pid)
	}
}

func TestStopsServerThatWasLeftRunning(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	data := filepath.Join(dir, "data")
	acct, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	progs, err := findPrograms(context.Background(), Options{Dir: dir, Logger: slog.New(slog.DiscardHandler)}, acct, 0)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := makeSocketDir(dir, acct)
	if err != nil {
		t.Fatal(err)
	}
	left, err := launch(context.Background(), Options{Logger: slog.New(slog.DiscardHandler)}, acct, progs, data, socket)
	if err != nil {
		t.Fatal(err)
	}

	s := mustStart(t, Options{Dir: dir})
	select {
	case <-left.done:
	default:
		t.Error("the old server still runs")
	}
	query(t, s, "SELECT 'fine'")
}

func TestStalePidFile(t *testing.T) {
	t.Parallel()
	acct, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	// Some process of the server's account that is no server.
	other, err := startProcess(acct, slog.New(slog.DiscardHandler), "/", "/bin/sleep", "600")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(other.abort)
	for name, text := range map[string]string{
		"dead process":    "4194300\n",
		"another process": fmt.Sprintf("%d\n", other.cmd.Process.Pid),
		"this process":    fmt.Sprintf("%d\n", os.Getpid()),
		"empty":           "",
	} {
		t.Run(name, func(t *testing.T) {
			dir := newDataDir(t)
			path := filepath.Join(dir, "data", "postmaster.pid")
			if text != "" {
				text += filepath.Join(dir, "data") + "\n1700000000\n5432\n" + filepath.Join(dir, "run") + "\n\n   1234567    987654\n"
			}
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := acct.give(path); err != nil {
				t.Fatal(err)
			}
			query(t, mustStart(t, Options{Dir: dir}), "SELECT 'fine'")
		})
	}
	select {
	case <-other.done:
		t.Error("the other process was ended")
	default:
	}
}

func TestOtherMajorVersion(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	if err := os.WriteFile(filepath.Join(dir, "data", "PG_VERSION"), []byte("99\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Start(context.Background(), Options{Dir: dir})
	if !errors.Is(err, ErrVersion) {
		t.Fatalf("got %v, want ErrVersion", err)
	}
	major, err2 := dataVersion(filepath.Join(templateDir, "data"))
	if err2 != nil {
		t.Fatal(err2)
	}
	for _, part := range []string{"PostgreSQL 99", fmt.Sprintf("PostgreSQL %d", major)} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("message %q does not name %s", err, part)
		}
	}
}

func TestProgramsTooOld(t *testing.T) {
	t.Parallel()
	dir, bin := newDir(t), newDir(t)
	for _, name := range []string{"postgres", "initdb"} {
		script := "#!/bin/sh\necho '" + name + " (PostgreSQL) 13.21'\n"
		if err := os.WriteFile(filepath.Join(bin, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_, err := Start(context.Background(), Options{Dir: dir, BinDir: bin})
	if !errors.Is(err, ErrVersion) || !strings.Contains(err.Error(), "14 or later") {
		t.Errorf("got %v, want ErrVersion that says which version is needed", err)
	}
}

func TestStopWhileConnected(t *testing.T) {
	t.Parallel()
	s := mustStart(t, Options{Dir: newDataDir(t)})
	conn := connect(t, s)
	if _, err := conn.Exec(context.Background(), "BEGIN; CREATE TABLE open (id int)"); err != nil {
		t.Fatal(err)
	}
	stop(t, s)
	if err := conn.Ping(context.Background()); err == nil {
		t.Error("the connection still answers")
	}
}

func TestStopThatMayNotTakeTime(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	s := mustStart(t, Options{Dir: dir})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	// The server may happen to be quick enough.
	if err := s.Stop(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	select {
	case <-s.Done():
	default:
		t.Error("Stop returned before the server had ended")
	}
	mustStart(t, Options{Dir: dir})
}

func TestParentThatMayNotBeEntered(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // only root runs the server as another user
	}
	closed := filepath.Join(newDir(t), "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Start(context.Background(), Options{Dir: filepath.Join(closed, "below", "it")})
	if !errors.Is(err, ErrAccess) {
		t.Fatalf("got %v, want ErrAccess", err)
	}
	if !strings.Contains(err.Error(), "chmod o+x "+closed) {
		t.Errorf("message %q does not say what to do about %s", err, closed)
	}
}

func TestDataOfAnotherUserIsTakenOver(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // only root can change owners
	}
	dir := newDataDir(t)
	if out, err := exec.Command("chown", "-R", "root", filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("chown: %v: %s", err, out)
	}
	mustStart(t, Options{Dir: dir})
}

func TestSetUpThatWasCutShort(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if s, err := Start(ctx, Options{Dir: dir}); err == nil {
		_ = s.Stop(context.Background())
		t.Fatal("set-up was too quick to be cut short: shorten the limit")
	}
	// What a manager that was killed leaves behind.
	left := filepath.Join(dir, initPrefix+"123")
	if err := os.MkdirAll(filepath.Join(left, "base"), 0o700); err != nil {
		t.Fatal(err)
	}
	query(t, mustStart(t, Options{Dir: dir}), "SELECT 'fine'")
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there", left)
	}
}

func TestForeignDataFolder(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	precious := filepath.Join(dir, "data", "precious")
	if err := os.MkdirAll(precious, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Start(context.Background(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "PG_VERSION") {
		t.Errorf("got %v, want an error about PG_VERSION", err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

func TestLongFolderName(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(newDir(t), strings.Repeat("long", 30))
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(newDataDir(t), "data"), filepath.Join(dir, "data")); err != nil {
		t.Fatal(err)
	}
	s := mustStart(t, Options{Dir: dir})
	query(t, s, "SELECT 'fine'")
	if _, err := os.Stat(s.socket.path); err != nil {
		t.Error(err)
	}
	stop(t, s)
	if _, err := os.Stat(s.socket.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("socket folder %s is still there", s.socket.path)
	}
}

func TestFailedStartShowsTheLog(t *testing.T) {
	t.Parallel()
	dir := newDataDir(t)
	_, err := Start(context.Background(), Options{Dir: dir, Settings: map[string]string{"max_connections": "many"}})
	if err == nil || !strings.Contains(err.Error(), `invalid value for parameter "max_connections"`) {
		t.Errorf("got %v, want an error with the server's own words", err)
	}
	mustStart(t, Options{Dir: dir}) // nothing is in the way
}

func TestReservedSetting(t *testing.T) {
	t.Parallel()
	_, err := Start(context.Background(), Options{Dir: newDir(t), Settings: map[string]string{"listen_addresses": "*"}})
	if err == nil || !strings.Contains(err.Error(), "listen_addresses") {
		t.Errorf("got %v, want an error about listen_addresses", err)
	}
}

func TestServerLogShowsNoValues(t *testing.T) {
	t.Parallel()
	var log lockedBuilder
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	s := mustStart(t, Options{Dir: newDataDir(t), Logger: logger})
	execute(t, s, "CREATE TABLE t (email text CONSTRAINT once UNIQUE); INSERT INTO t VALUES ('secret@example.com')")
	if _, err := connect(t, s).Exec(context.Background(), "INSERT INTO t VALUES ('secret@example.com')"); err == nil {
		t.Fatal("no error")
	}
	stop(t, s)
	s.proc.tail.wait(time.Second)
	if !strings.Contains(log.String(), "once") {
		t.Errorf("the log does not show the error:\n%s", log.String())
	}
	if strings.Contains(log.String(), "secret@") {
		t.Errorf("the log shows a value:\n%s", log.String())
	}
}

type lockedBuilder struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lockedBuilder) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuilder) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// BenchmarkStart measures the start with existing data, until it accepts
// connections.
func BenchmarkStart(b *testing.B) {
	dir := newDataDir(b)
	for b.Loop() {
		s, err := Start(context.Background(), Options{Dir: dir})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		stop(b, s)
		b.StartTimer()
	}
}

// BenchmarkFirstStart measures the start on an empty folder.
func BenchmarkFirstStart(b *testing.B) {
	for b.Loop() {
		s, err := Start(context.Background(), Options{Dir: newDir(b)})
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		stop(b, s)
		b.StartTimer()
	}
}
