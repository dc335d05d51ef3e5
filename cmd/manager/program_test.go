package main

import (
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/logicspike/manager/internal/testkit"
)

// TestProgram starts the program as a person does, tries what its banner
// proposes, and ends it by Ctrl-C.
func TestProgram(t *testing.T) {
	dir := dataDir(t)
	program, out, ended := startProgram(t, "--admin-listen=localhost:0", "--data-dir="+dir)

	until(t, out, "the banner", func() bool { return strings.Contains(out.String(), "Ctrl-C ends it.") })
	api := "http://" + apiAddress(t, &running{out: out})
	_, rest, _ := strings.Cut(out.String(), "Admin     ")
	metrics, _, _ := strings.Cut(rest, ",")

	register, err := http.Post(api+"/"+banner{}.Method(), "application/json", strings.NewReader(banner{}.Request()))
	if status, body := answer(t, register, err); status != http.StatusOK || !strings.Contains(body, `"registration":{"id":"reg_`) {
		t.Errorf("Register: %d %s", status, body)
	}
	until(t, out, "the mail", func() bool {
		response, err := http.Get(api + "/mailbox/messages?to=ada@example.com")
		_, body := answer(t, response, err)
		return strings.Contains(body, "Analytical Engines")
	})
	for url, want := range map[string]string{
		api + "/healthz":  "ok",
		api + "/readyz":   "ok",
		api + "/mailbox/": "ada@example.com",
		metrics:           "go_goroutines",
	} {
		response, err := http.Get(url)
		if status, body := answer(t, response, err); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.200s", url, status, body)
		}
	}
	if err := program.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended by %v:\n%s", err, out)
		}
	case <-time.After(time.Minute):
		t.Fatalf("it did not end:\n%s", out)
	}

	// Nothing runs any more: the folder can be used.
	if status := execute([]string{"migrate", "up", "--data-dir=" + dir}, io.Discard, out); status != statusDone {
		t.Errorf("migrate up: %d\n%s", status, out)
	}
}

// TestProgramEndsBeforeItIsReady: a signal during the start is no error either.
func TestProgramEndsBeforeItIsReady(t *testing.T) {
	program, out, ended := startProgram(t, "--admin-listen=", "--data-dir="+dataDir(t))
	until(t, out, "the first line", func() bool { return strings.Contains(out.String(), "setting up a new database") })
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("it ended by %v:\n%s", err, out)
	}
}

// startProgram runs `manager serve` as a program of its own. It returns what that
// prints, and how it ends.
func startProgram(t *testing.T, args ...string) (program *exec.Cmd, out *testkit.Log, ended chan error) {
	t.Helper()
	out, ended = &testkit.Log{}, make(chan error, 1)
	program = exec.Command(os.Args[0], append([]string{"serve", "--listen=localhost:0"}, args...)...)
	program.Env = append(os.Environ(), asProgram+"=1")
	program.Stdout, program.Stderr = out, out
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { ended <- program.Wait() }()
	t.Cleanup(func() { _ = program.Process.Kill() })
	return program, out, ended
}

// until waits for a condition.
func until(t *testing.T, out *testkit.Log, what string, condition func() bool) {
	t.Helper()
	for began := time.Now(); !condition(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > time.Minute {
			t.Fatalf("no sign of %s:\n%s", what, out)
		}
	}
}

func answer(t *testing.T, response *http.Response, err error) (status int, body string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(content)
}
