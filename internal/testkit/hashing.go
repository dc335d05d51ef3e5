package testkit

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/logicspike/manager/server/auth/password"
)

// hashPasswords is the argument by which a test's program becomes a process that hashes
// passwords.
const hashPasswords = "test-hash-passwords"

// Hashing returns a process that hashes passwords, as `manager serve` has it. It ends
// with the test.
func Hashing(t testing.TB) *password.Process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := password.NewProcess(slog.New(slog.DiscardHandler), self, hashPasswords)
	t.Cleanup(p.Close)
	return p
}

// What Hashing starts does not run tests.
func init() {
	if len(os.Args) == 2 && os.Args[1] == hashPasswords {
		password.Work(os.Stdin, os.Stdout, 19456)
		os.Exit(0)
	}
}

// HashingPIDs returns the processes of Hashing that this one has.
func HashingPIDs(t testing.TB) (pids []int) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range all {
		command, _ := os.ReadFile(file) // it may have ended
		if !strings.HasSuffix(string(command), "\x00"+hashPasswords+"\x00") {
			continue
		}
		var pid, parent int
		var state string
		stat, _ := os.ReadFile(filepath.Join(filepath.Dir(file), "stat"))
		_, rest, _ := strings.Cut(string(stat), ") ")
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil || parent != os.Getpid() || state == "Z" {
			continue
		}
		if _, err := fmt.Sscan(string(stat), &pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}
