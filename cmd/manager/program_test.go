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
)

// TestProgram starts the program as a person does, tries what its banner
// proposes, and ends it by Ctrl-C.
func TestProgram(t *testing.T) {
	dir := dataDir(t)
	out := &buffer{}
	program := exec.Command(os.Args[0], "serve", "--listen=localhost:0", "--admin-listen=localhost:0", "--data-dir="+dir)
	program.Env = append(os.Environ(), asProgram+"=1")
	program.Stdout, program.Stderr = out, out
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- program.Wait() }()
	t.Cleanup(func() { _ = program.Process.Kill() })

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
	if status := execute([]string{"migrate", "status", "--data-dir=" + dir}, io.Discard, out); status != statusDone {
		t.Errorf("migrate status: %d\n%s", status, out)
	}
}

// TestProgramEndsBeforeItIsReady: a signal during the start is no error either.
func TestProgramEndsBeforeItIsReady(t *testing.T) {
	out := &buffer{}
	program := exec.Command(os.Args[0], "serve", "--listen=localhost:0", "--admin-listen=", "--data-dir="+dataDir(t))
	program.Env = append(os.Environ(), asProgram+"=1")
	program.Stdout, program.Stderr = out, out
	if err := program.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = program.Process.Kill() })
	until(t, out, "the first line", func() bool { return strings.Contains(out.String(), "setting up a new database") })
	if err := program.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := program.Wait(); err != nil {
		t.Errorf("it ended by %v:\n%s", err, out)
	}
}

// until waits for a condition.
func until(t *testing.T, out *buffer, what string, condition func() bool) {
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
