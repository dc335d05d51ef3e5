package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// answering is a service that answers every request, as long as it runs.
type answering struct {
	ready func()
	done  func()
}

func (a answering) Run(ctx context.Context, api, admin net.Listener) error {
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })}
	go func() { _ = srv.Serve(api) }()
	a.ready()
	<-ctx.Done()
	defer a.done()
	return errors.Join(srv.Close(), admin.Close())
}

// running is a `manager serve` around a service that only answers.
type running struct {
	out    *testkit.Log
	stop   func()
	result chan error
	steps  *testkit.Log // how it ended, step by step
}

// start runs until the service is ready, or returns why it did not become so.
func start(t *testing.T, s config.Settings) (*running, error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r := &running{out: &testkit.Log{}, stop: cancel, result: make(chan error, 1), steps: &testkit.Log{}}
	ready := make(chan struct{})
	assemble := func(ctx context.Context, _ config.Settings, st *store.Store, _ string, _ *slog.Logger) (service, func() error, error) {
		srv := answering{
			ready: func() { close(ready) },
			done:  func() { _, _ = io.WriteString(r.steps, "served ") },
		}
		return srv, func() error {
			err := st.Ready(context.Background()) // the store outlives the service
			_, _ = io.WriteString(r.steps, "closed ")
			return err
		}, nil
	}
	go func() {
		log := slog.New(slog.NewTextHandler(r.out, nil))
		r.result <- run(ctx, s, console{r.out, r.out}, log, assemble)
	}()
	select {
	case err := <-r.result:
		cancel()
		return nil, err
	case <-ready:
	case <-time.After(time.Minute):
		cancel()
		t.Fatalf("not ready in a minute:\n%s", r.out)
	}
	t.Cleanup(func() { cancel(); r.wait(t) })
	return r, nil
}

// wait returns how it ended; it must have been told to.
func (r *running) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.result:
		r.result <- err
		return err
	case <-time.After(time.Minute):
		t.Fatalf("it did not end in a minute:\n%s", r.out)
		return nil
	}
}

func settings(t *testing.T) config.Settings {
	t.Helper()
	s := config.Defaults()
	s.Listen, s.AdminListen = "localhost:0", "localhost:0"
	s.DataDir = dataDir(t)
	return s
}

// dataDir returns a folder that the user whom the private server runs as can
// reach.
func dataDir(t *testing.T) string {
	t.Helper()
	return filepath.Join(testkit.Dir(t), "data")
}

func TestServe(t *testing.T) {
	s := settings(t)
	r, err := start(t, s)
	if err != nil {
		t.Fatal(err)
	}
	address := apiAddress(t, r)
	response, err := http.Get("http://" + address)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()

	// What is in the way of a second start.
	second := s
	_, err = start(t, second)
	wantError(t, err, "data folder", s.DataDir, "is in use by the manager with process id "+strconv.Itoa(os.Getpid()))
	second.Listen, second.DataDir = address, dataDir(t)
	_, err = start(t, second)
	wantError(t, err, address+" is in use by another program")
	if _, err := os.Stat(second.DataDir); !os.IsNotExist(err) {
		t.Errorf("a start that could not listen touched the data folder: %v", err)
	}

	r.stop()
	if err := r.wait(t); err != nil {
		t.Errorf("it ended by %v", err)
	}
	if got := r.steps.String(); got != "served closed " {
		t.Errorf("it ended by the steps %q", got)
	}
	if _, err := net.Dial("tcp", address); err == nil {
		t.Error("the port is still open")
	}

	// The next start finds what the first one left, at once.
	began := time.Now()
	if r, err = start(t, s); err != nil {
		t.Fatal(err)
	}
	t.Logf("ready with an existing database after %v", time.Since(began).Round(time.Millisecond))

	// The database's migrations are as the command lists them, too.
	r.stop()
	if err := r.wait(t); err != nil {
		t.Errorf("it ended by %v", err)
	}
	var out, errOut bytes.Buffer
	if status := execute([]string{"migrate", "status", "--data-dir=" + s.DataDir}, &out, &errOut); status != statusDone || !strings.Contains(out.String(), " migrations, 0 pending\n") {
		t.Errorf("migrate status: %d\n%s%s", status, &out, &errOut)
	}
}

// apiAddress reads the banner.
func apiAddress(t *testing.T, r *running) string {
	t.Helper()
	_, rest, ok := strings.Cut(r.out.String(), "API       http://")
	address, _, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 {
		t.Fatalf("no banner:\n%s", r.out)
	}
	return address
}

func TestServeEndsWithItsDatabase(t *testing.T) {
	s := settings(t)
	r, err := start(t, s)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := os.ReadFile(filepath.Join(s.DataDir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(pid), "\n")
	n, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(n, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	wantError(t, r.wait(t), "the private database server is gone", "killed")
}

func TestAnotherKeyIsRefused(t *testing.T) {
	s := settings(t)
	r, err := start(t, s)
	if err != nil {
		t.Fatal(err)
	}
	r.stop()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(s.DataDir, keyFile)); err != nil {
		t.Fatal(err)
	}
	_, err = start(t, s)
	wantError(t, err, "the secret key is not the one", "--secret-key (MANAGER_SECRET_KEY)", keyFile)
}

// TestADatabaseWhoseTimeWasMovedIsForTryingOutAlone: without the setting the server does
// not start on it, and with it there the time is where it was.
func TestADatabaseWhoseTimeWasMovedIsForTryingOutAlone(t *testing.T) {
	s := settings(t)
	url := testkit.NewDatabase(t)
	s.DatabaseURL = config.Secret(url)
	if _, err := connectTo(t, url).Exec(t.Context(), "INSERT INTO manager.facts VALUES ('test clock ahead', '240h0m0s')"); err != nil {
		t.Fatal(err)
	}
	_, err := start(t, s)
	wantError(t, err, "was moved forward by 240h0m0s", "--test-clock (MANAGER_TEST_CLOCK)")
	s.TestClock = true
	r, err := start(t, s)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(r.out.String(), "ahead=240h0m0s") {
		t.Errorf("the start says nothing of the time:\n%s", r.out)
	}
	r.stop()
	if err := r.wait(t); err != nil {
		t.Fatal(err)
	}
}

func TestMigrateUp(t *testing.T) {
	dir := dataDir(t)
	for range 2 { // the second time there is nothing to do
		var out, errOut bytes.Buffer
		status := execute([]string{"migrate", "up", "--data-dir=" + dir}, &out, &errOut)
		if status != statusDone || !regexp.MustCompile(`0001_identity\.sql +applied `).MatchString(out.String()) || !strings.Contains(out.String(), " 0 pending\n") {
			t.Fatalf("status %d\n%s%s", status, &out, &errOut)
		}
	}
}
