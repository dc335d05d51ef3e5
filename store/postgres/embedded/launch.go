package embedded

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// pollInterval is the pause between two attempts to connect.
	pollInterval = 4 * time.Millisecond

	// orphanPatience is how long we wait for the last processes of a server
	// that was killed: they let go of its memory only when they notice.
	orphanPatience = 10 * time.Second
)

// launch starts the server on a data folder and waits until it accepts
// connections.
func launch(ctx context.Context, o Options, acct account, progs programs, data string, socket socketDir) (*process, error) {
	for began := time.Now(); ; {
		proc, err := startProcess(acct, o.Logger, data, progs.postgres, serverArgs(data, socket, o.Settings)...)
		if err != nil {
			return nil, err
		}
		err = waitReady(ctx, proc, socket)
		if err == nil {
			return proc, nil
		}
		proc.abort()
		orphans := strings.Contains(proc.tail.String(), "pre-existing shared memory block")
		if !orphans || time.Since(began) > orphanPatience || ctx.Err() != nil {
			return nil, err
		}
		select {
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// waitReady returns nil once a connection succeeds, and an error when the
// process or ctx ends, or when the server refuses us for good.
func waitReady(ctx context.Context, proc *process, socket socketDir) error {
	cfg, err := pgconn.ParseConfig(socket.url("postgres"))
	if err != nil {
		return err
	}
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		conn, err := pgconn.ConnectConfig(ctx, cfg)
		if err == nil {
			return conn.Close(ctx)
		}
		if refusedForGood(err) {
			return err
		}
		select {
		case <-proc.done:
			return proc.failure("postgres did not start")
		case <-ctx.Done():
			return fmt.Errorf("postgres was not ready in time: %w; the last lines of its log:\n%s", context.Cause(ctx), proc.tail)
		case <-tick.C:
		}
	}
}

// refusedForGood tells an answer that will not change from a server that is
// still starting (or recovering), which has no socket yet or says so.
func refusedForGood(err error) bool {
	const cannotConnectNow = "57P03"
	var answer *pgconn.PgError
	if errors.As(err, &answer) {
		return answer.Code != cannotConnectNow
	}
	return errors.Is(err, fs.ErrPermission)
}
