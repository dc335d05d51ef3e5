package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// errTold is why a context ended that was told to by a signal.
type errTold struct{ signal os.Signal }

func (e errTold) Error() string { return "told to end: " + e.signal.String() }

// untilSignal returns a context that ends at the first SIGINT or SIGTERM, with an
// errTold as its cause. At the second one the program ends at once. stop returns
// signals to what they were.
func untilSignal(parent context.Context, out io.Writer, exit func(status int)) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	stopped := make(chan struct{})
	go func() {
		for told := false; ; told = true {
			select {
			case <-stopped:
				return
			case s := <-signals:
				if told {
					fmt.Fprintln(out, "manager: told to end again; ending at once")
					exit(statusFailed)
				}
				cancel(errTold{s})
			}
		}
	}()
	return ctx, func() {
		signal.Stop(signals)
		close(stopped)
		cancel(nil)
	}
}

// exitNow ends the program at once.
func exitNow(status int) { os.Exit(status) }
