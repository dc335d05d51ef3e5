package embedded

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// reclaim clears away what a manager that was killed left of its server: the
// server itself if it still runs, its last processes, and a pid file that would
// keep a new one from starting. The caller holds the lock of the folder, so no
// other manager is responsible for them.
func reclaim(ctx context.Context, data string, log *slog.Logger) error {
	path := filepath.Join(data, "postmaster.pid")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	lines := strings.Split(string(text), "\n")
	pid, _ := strconv.Atoi(strings.TrimSpace(lines[0]))
	if pid > 1 && isServer(pid, data) {
		log.Warn("stopping a database server that was left running", "pid", pid, "folder", data)
		if err := endServer(ctx, pid, data); err != nil {
			return err
		}
	}
	if err := endOrphans(ctx, data); err != nil {
		return err
	}
	removeOldSocketDir(lines)
	return disown(path)
}

// endServer stops a server that is not our child: in order, then at once, then
// by force.
func endServer(ctx context.Context, pid int, data string) error {
	steps := []struct {
		signal syscall.Signal
		limit  time.Duration
	}{{syscall.SIGINT, 10 * time.Second}, {syscall.SIGQUIT, abortTimeout}, {syscall.SIGKILL, abortTimeout}}
	for _, step := range steps {
		if err := syscall.Kill(pid, step.signal); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("stop the database server with process id %d, which was left running on %s: %w", pid, data, err)
		}
		gone, err := waitUntil(ctx, step.limit, func() bool { return !isServer(pid, data) })
		if gone || err != nil {
			return err
		}
	}
	return fmt.Errorf("the database server with process id %d, which was left running on %s, does not end", pid, data)
}

// endOrphans ends the processes of a server whose main process was killed. They
// end by themselves, but one that is busy may take its time, and no new server
// can start before.
func endOrphans(ctx context.Context, data string) error {
	for _, sig := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGKILL} {
		for _, pid := range orphans(data) {
			_ = syscall.Kill(pid, sig)
		}
		gone, err := waitUntil(ctx, abortTimeout, func() bool { return len(orphans(data)) == 0 })
		if gone || err != nil {
			return err
		}
	}
	return nil // the server will say so if they really hinder it
}

// waitUntil polls a condition and reports whether it held within the limit; its
// error is that of ctx.
func waitUntil(ctx context.Context, limit time.Duration, holds func() bool) (bool, error) {
	for deadline := time.Now().Add(limit); ; {
		if holds() {
			return true, nil
		}
		if time.Now().After(deadline) {
			return false, nil
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(pollInterval):
		}
	}
}

// removeOldSocketDir removes the temporary socket folder that the lines of an
// old pid file name, if it is one of ours.
func removeOldSocketDir(lines []string) {
	const socketLine = 4
	if len(lines) <= socketLine {
		return
	}
	path := strings.TrimSpace(lines[socketLine])
	if filepath.Dir(path) == filepath.Clean(os.TempDir()) && strings.HasPrefix(filepath.Base(path), tempSocketPrefix) {
		_ = os.RemoveAll(path)
	}
}

// disown makes an old pid file harmless if its process id now belongs to some
// other process, which a new server would take for its predecessor. Removing the
// file would also remove the server's own protection against processes that are
// still attached to its memory; a server does not mind a file with the id of its
// parent, so that is what we write.
func disown(path string) error {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	first, rest, _ := bytes.Cut(text, []byte("\n"))
	pid, err := strconv.Atoi(string(bytes.TrimSpace(first)))
	if err != nil || pid <= 1 {
		// Cut short by a crash: it says nothing about shared memory either.
		return os.Remove(path)
	}
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return nil
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	_, err = f.Write(append(fmt.Appendf(nil, "%d\n", os.Getpid()), rest...))
	return errors.Join(err, f.Close())
}
