package password

import (
	"log/slog"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/logicspike/manager/internal/fault"
)

// hashes is the argument by which the tests' program becomes a process that hashes.
const hashes = "test-hashes"

func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == hashes {
		Work(os.Stdin, os.Stdout, 64)
		return
	}
	m.Run()
}

var discard = slog.New(slog.DiscardHandler)

// hashing returns a process that hashes. It ends with the test.
func hashing(t *testing.T) *Process {
	t.Helper()
	p := NewProcess(discard, os.Args[0], hashes)
	t.Cleanup(p.Close)
	return p
}

// cheap are options of a hasher whose hashes take little, beside a process.
func cheap(p *Process) Options {
	return Options{MemoryKiB: 64, Iterations: 1, Concurrency: 4, Queue: 100, Process: p}
}

func TestAProcessHashesAsThisOneDoes(t *testing.T) {
	here, there := NewHasher(cheap(nil)), NewHasher(cheap(hashing(t)))
	made := map[string]bool{}
	for _, h := range []*Hasher{here, there} {
		hash, err := h.Hash(t.Context(), "a password")
		if err != nil {
			t.Fatal(err)
		}
		made[hash] = true
	}
	const bcrypt = "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"
	made[bcrypt] = true
	for hash := range made {
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
	p := hashing(t)
	h := NewHasher(Options{MemoryKiB: 4 << 10, Concurrency: 4, Queue: 1000, Process: p})
	hash, err := h.Hash(t.Context(), "a password")
	if err != nil {
		t.Fatal(err)
	}
	kill := func() {
		t.Helper()
		p.mu.Lock()
		defer p.mu.Unlock()
		if err := p.running.cmd.Process.Kill(); err != nil {
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

// TestAProcessThatHangs is ended, and another one does its work.
func TestAProcessThatHangs(t *testing.T) {
	p := hashing(t)
	p.timeout = 2 * time.Second
	h := NewHasher(cheap(p))
	hash, err := h.Hash(t.Context(), "a password")
	if err != nil {
		t.Fatal(err)
	}
	hung := p.running
	if err := hung.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if match, _, err := h.Verify(t.Context(), "a password", hash); !match || err != nil {
		t.Errorf("%t, %v", match, err)
	}
	select {
	case <-hung.ended:
	default:
		t.Error("it is still there")
	}
}

func TestAProcessThatDoesNotHash(t *testing.T) {
	for name, p := range map[string]*Process{
		"no program":          NewProcess(discard, "/nonexistent"),
		"one that ends":       NewProcess(discard, "false"),
		"one that talks":      NewProcess(discard, "echo", "hello"),
		"one that was closed": closed(t),
	} {
		h := NewHasher(cheap(p))
		if hash, err := h.Hash(t.Context(), "a password"); hash != "" || err == nil || fault.As(err) != nil {
			t.Errorf("%s: %q, %v", name, hash, err)
		}
		if match, _, err := h.Verify(t.Context(), "a password", ""); match || err == nil || fault.As(err) != nil {
			t.Errorf("%s: %t, %v", name, match, err)
		}
		p.Close()
	}
}

// closed returns a process that hashed, and was closed.
func closed(t *testing.T) *Process {
	t.Helper()
	p := hashing(t)
	if _, err := NewHasher(cheap(p)).Hash(t.Context(), "a password"); err != nil {
		t.Fatal(err)
	}
	p.Close()
	select {
	case <-p.running.ended:
	default:
		t.Error("it goes on")
	}
	return p
}
