package main

import (
	"errors"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/logicspike/manager/server/auth/password"
)

// TestHashPasswords: it ends with what started it, and by no signal of the terminal, since
// calls that go on need it.
func TestHashPasswords(t *testing.T) {
	hashing := exec.Command(os.Args[0], hashPasswords)
	in, err := hashing.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := hashing.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hashing.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hashing.Process.Kill() })
	calls := rpc.NewClient(struct {
		io.Reader
		io.WriteCloser
	}{out, in})
	answers := func() {
		t.Helper()
		var match bool
		var answered rpc.ServerError // that there is no hash
		if err := calls.Call("Passwords.Check", password.Check{}, &match); !errors.As(err, &answered) {
			t.Fatal(err)
		}
	}
	answers()
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if err := hashing.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		answers()
	}
	if err := calls.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- hashing.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended by %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}
