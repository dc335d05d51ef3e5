package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// process is a running child whose output goes to the log.
type process struct {
	cmd  *exec.Cmd
	tail *logTail
	done chan struct{}
	err  error // of Wait; written before done is closed
}

// startProcess starts a program as the account, in the folder dir, with a clean
// environment: the manager's own holds secrets, and PG* variables would change
// what the programs do.
func startProcess(acct account, log *slog.Logger, dir, program string, args ...string) (*process, error) {
	out, in, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/local/bin:/usr/bin:/bin", "LC_ALL=C", "PWD=" + dir}
	cmd.Stdout, cmd.Stderr = in, in
	cmd.SysProcAttr = acct.sysProcAttr()

	p := &process{cmd: cmd, tail: newLogTail(log), done: make(chan struct{})}
	started := make(chan error)
	go func() {
		// The kernel ends the child together with the thread that started it
		// (see endWithParent). This goroutine keeps that thread for itself
		// until the child has ended, then both end.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			p.err = cmd.Wait()
			close(p.done)
		}
	}()
	err = <-started
	in.Close()
	if err != nil {
		out.Close()
		return nil, err
	}
	go p.tail.read(out)
	return p, nil
}

// run waits until the process ends. If ctx ends first the process and its
// children are killed.
func (p *process) run(ctx context.Context) error {
	select {
	case <-p.done:
		if p.err != nil {
			return p.failure(p.cmd.Path + " failed")
		}
		return nil
	case <-ctx.Done():
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
		<-p.done
		return context.Cause(ctx)
	}
}

// signal sends a signal; that the process has ended already is no error.
func (p *process) signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	return nil
}

// abort ends a server at once and waits for its end.
func (p *process) abort() {
	_ = p.signal(syscall.SIGQUIT)
	select {
	case <-p.done:
	case <-time.After(abortTimeout):
		_ = p.signal(syscall.SIGKILL)
		<-p.done
	}
}

// failure describes the end of the process, with the last lines that it wrote.
func (p *process) failure(what string) error {
	p.tail.wait(200 * time.Millisecond)
	if p.err != nil {
		what += ": " + p.err.Error()
	}
	if lines := p.tail.String(); lines != "" {
		return fmt.Errorf("%s; the last lines of its log:\n%s", what, lines)
	}
	return errors.New(what)
}
