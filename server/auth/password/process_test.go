package password_test

import (
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/server/auth/password"
)

// cheap are options of a hasher whose hashes take little, beside a process.
func cheap(p *password.Process) password.Options {
	return password.Options{MemoryKiB: 64, Iterations: 1, Concurrency: 4, Queue: 100, Process: p}
}

func TestAProcessHashesAsThisOneDoes(t *testing.T) {
	here, there := password.NewHasher(cheap(nil)), password.NewHasher(cheap(testkit.Hashing(t)))
	hashes := map[string]*password.Hasher{}
	for _, h := range []*password.Hasher{here, there} {
		hash, err := h.Hash(t.Context(), "a password")
		if err != nil {
			t.Fatal(err)
		}
		hashes[hash] = h
	}
	const bcrypt = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	hashes[bcrypt] = nil
	for hash := range hashes {
		right := "a password"
		if hash == bcrypt {
			right = "U*U"
		}
		for _, given := range []string{right, right + "x", ""} {
			match, stale, err := there.Verify(t.Context(), given, hash)
			if match != (given == right) || stale != (hash == bcrypt) || err != nil {
				t.Errorf("%q, %.10s: %t, stale %t, %v", given, hash, match, stale, err)
			}
		}
	}
	if match, _, err := there.Verify(t.Context(), "a password", ""); match || err != nil {
		t.Errorf("nobody's: %t, %v", match, err)
	}
	if match, _, err := there.Verify(t.Context(), "a password", "$1$etNnh7FA$OlM7eljE"); match || err == nil {
		t.Errorf("what is no hash: %t, %v", match, err)
	}
}

// TestAProcessThatIsKilled costs no call: those that it had are made again.
func TestAProcessThatIsKilled(t *testing.T) {
	h := password.NewHasher(password.Options{MemoryKiB: 4 << 10, Concurrency: 4, Queue: 1000, Process: testkit.Hashing(t)})
	hash, err := h.Hash(t.Context(), "a password")
	if err != nil {
		t.Fatal(err)
	}
	kill := func() {
		t.Helper()
		pids := testkit.HashingPIDs(t)
		if len(pids) != 1 {
			t.Fatalf("%d processes", len(pids))
		}
		if err := syscall.Kill(pids[0], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	verify := func() {
		if match, _, err := h.Verify(t.Context(), "a password", hash); !match || err != nil {
			t.Errorf("%t, %v", match, err)
		}
	}
	kill() // while it has nothing to do
	verify()
	var all sync.WaitGroup
	for range 200 {
		all.Go(verify)
	}
	for began := time.Now(); h.Waiting() < 20; time.Sleep(time.Millisecond) {
		if time.Since(began) > 10*time.Second {
			t.Fatal("they never had to wait")
		}
	}
	kill() // while it hashes
	all.Wait()
}

func TestAProcessThatDoesNotHash(t *testing.T) {
	for name, p := range map[string]*password.Process{
		"no program":          password.NewProcess("/nonexistent"),
		"one that ends":       password.NewProcess("false"),
		"one that talks":      password.NewProcess("echo", "hello"),
		"one that was closed": closed(t),
	} {
		h := password.NewHasher(cheap(p))
		if hash, err := h.Hash(t.Context(), "a password"); hash != "" || err == nil || fault.As(err) != nil {
			t.Errorf("%s: %q, %v", name, hash, err)
		}
		if match, _, err := h.Verify(t.Context(), "a password", ""); match || err == nil || fault.As(err) != nil {
			t.Errorf("%s: %t, %v", name, match, err)
		}
		if err := p.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

// closed returns a process that hashed, and was closed.
func closed(t *testing.T) *password.Process {
	t.Helper()
	p := testkit.Hashing(t)
	if _, err := password.NewHasher(cheap(p)).Hash(t.Context(), "a password"); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if pids := testkit.HashingPIDs(t); len(pids) != 0 {
		t.Errorf("%d processes go on", len(pids))
	}
	return p
}
