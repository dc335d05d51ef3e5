package main

import (
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// TestHashPasswords: it ends with what started it, and by no signal of the terminal, since
// calls that go on need it.
func TestHashPasswords(t *testing.T) {
	hashing := exec.Command(os.Args[0], hashPasswords)
	in, err := hashing.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := hashing.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hashing.Process.Kill() })
	ended := make(chan error, 1)
	go func() { ended <- hashing.Wait() }()
	time.Sleep(time.Second) // it has no way to say that it is ready
	for _, signal := range []os.Signal{os.Interrupt, syscall.SIGTERM} {
		if err := hashing.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case err := <-ended:
		t.Fatalf("it ended by a signal: %v", err)
	case <-time.After(200 * time.Millisecond):
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended by %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}
