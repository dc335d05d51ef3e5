package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logicspike/manager/internal/testkit"
)

// TestPlansOnTheCommandLine applies the README's file, by the command and at a start.
func TestPlansOnTheCommandLine(t *testing.T) {
	dir := dataDir(t)
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, plans, found := strings.Cut(string(readme), "```yaml\n")
	plans, _, _ = strings.Cut(plans, "```")
	if !found {
		t.Fatal("the README has no file of plans")
	}
	file := filepath.Join(t.TempDir(), "plans.yaml")
	write := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(want int, args ...string) string {
		t.Helper()
		var o, e bytes.Buffer
		if status := execute(append(args, "--data-dir="+dir), &o, &e); status != want {
			t.Fatalf("%q: status %d\n%s%s", args, status, &o, &e)
		}
		return o.String() + e.String()
	}
	run(statusDone, "migrate", "up")
	write(plans)
	if got := run(statusFailed, "plans", "apply", file); !strings.Contains(got, "there is no secret key in "+filepath.Join(dir, keyFile)) {
		t.Errorf("without a key: %s", got)
	}
	if err := makeKey(filepath.Join(dir, keyFile)); err != nil {
		t.Fatal(err)
	}
	const all = "changed: free version 2, for new subscriptions\nnew: team version 1\nnew: old version 1\n"
	for i, want := range []string{all, all, "nothing changes\n"} {
		args := []string{"plans", "apply", file}
		if i == 0 {
			args = append(args, "--dry-run")
		}
		if got := run(statusDone, args...); got != want {
			t.Errorf("%q: %q, want %q", args, got, want)
		}
	}
	if got := run(statusDone, "plans", "list"); !strings.Contains(got, "team") || !strings.Contains(got, "old") {
		t.Errorf("plans list: %s", got)
	}
	write("plans: []")
	if got := run(statusFailed, "plans", "apply", file); !strings.Contains(got, "it has 0 plans") {
		t.Errorf("no plans: %s", got)
	}

	// A start applies the file, or says what is wrong with it.
	start := func() *testkit.Log {
		t.Helper()
		program, log, ended := startProgram(t, "--admin-listen=", "--data-dir="+dir, "--plans-file="+file)
		until(t, log, "the banner, or the end", func() bool {
			return strings.Contains(log.String(), "Ctrl-C ends it.") || strings.Contains(log.String(), "manager: ")
		})
		_ = program.Process.Signal(os.Interrupt)
		<-ended
		return log
	}
	if log := start().String(); !strings.Contains(log, "plans-file: ") || !strings.Contains(log, "it has 0 plans") {
		t.Errorf("a start without plans: %s", log)
	}
	write(strings.Replace(plans, "name: Team", "name: Crew", 1))
	if log := start().String(); !strings.Contains(log, "changed: team version 2") {
		t.Errorf("a start with a plan that changed: %s", log)
	}
	if got := run(statusDone, "plans", "list"); !strings.Contains(got, "Crew") {
		t.Errorf("plans list: %s", got)
	}
}
