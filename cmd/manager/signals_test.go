package main

import (
	"bytes"
	"context"
	"errors"
	"syscall"
	"testing"
	"time"
)

func TestUntilSignal(t *testing.T) {
	exited := make(chan int, 1)
	var out bytes.Buffer
	ctx, stop := untilSignal(t.Context(), &out, func(status int) { exited <- status })
	defer stop()

	tell := func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(syscall.Getpid(), s); err != nil {
			t.Fatal(err)
		}
	}
	tell(syscall.SIGTERM)
	select {
	case <-ctx.Done():
	case <-time.After(10 * time.Second):
		t.Fatal("the context did not end")
	}
	if told := (errTold{}); !errors.As(context.Cause(ctx), &told) || told.signal != syscall.SIGTERM {
		t.Errorf("it ended because of %v", context.Cause(ctx))
	}
	tell(syscall.SIGINT)
	select {
	case status := <-exited:
		if status == statusDone {
			t.Error("ending at once counts as done")
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the second signal did not end the program")
	}
}
