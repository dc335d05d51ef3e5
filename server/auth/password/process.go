package password

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/rpc"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"github.com/alexedwards/argon2id"
)

// Process is another process, which hashes passwords for this one: so the memory of
// hashes is not garbage among that of calls, and what else this process does never
// waits for a thread that hashes. It is started when it is first needed, and anew when
// it has ended.
type Process struct {
	log     *slog.Logger
	timeout time.Duration // of a call
	command []string

	mu      sync.Mutex
	running *running // nil: none runs
	closed  bool
}

// running is a Process's process while it runs.
type running struct {
	cmd   *exec.Cmd
	calls *rpc.Client
	ended chan struct{} // closed once it has ended
	err   error         // how it did
}

// end ends it, and returns when it has ended. It keeps nothing that would be lost.
func (r *running) end() {
	_ = r.calls.Close()
	_ = r.cmd.Process.Kill()
	<-r.ended
}

// NewProcess returns a process that a command starts: a program and its arguments. The
// program is to run Work, and not to end by SIGINT or SIGTERM, which may be sent to both.
// Of the environment it has GOMAXPROCS alone. The log is told when it ends by itself.
func NewProcess(log *slog.Logger, program string, arguments ...string) *Process {
	return &Process{log: log, timeout: callTimeout, command: append([]string{program}, arguments...)}
}

// Work does what the process that started this one asks for on in, until in ends, which
// it does with that process. memoryKiB is what all hashes that are made at once need.
func Work(in io.ReadCloser, out io.WriteCloser, memoryKiB int) {
	debug.SetGCPercent(min(max(100, 100*maxGarbageKiB/max(1, memoryKiB)), 400))
	server := rpc.NewServer()
	if err := server.RegisterName(service, work{idle: time.AfterFunc(idle, debug.FreeOSMemory)}); err != nil {
		panic(err) // its methods are wrong
	}
	server.ServeConn(stream{in, out})
}

const (
	// maxGarbageKiB is about how much memory of hashes becomes garbage before it is
	// collected, or as much as is in use: nearly every hash would have the collector work,
	// beside it on another core.
	maxGarbageKiB = 128 << 10
	// idle is how long nothing was asked when the memory of hashes is given back.
	idle = 5 * time.Second
	// callTimeout is how long a hash may take. What takes longer does not run.
	callTimeout = 2 * time.Minute
)

// Close ends the process, and returns when it has ended. Calls fail from now on, also those
// that wait for it.
func (p *Process) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.running != nil {
		p.running.end()
	}
}

// call calls a method of work. A process that ended meanwhile is started anew, once.
func (p *Process) call(method string, request, answer any) error {
	for again := false; ; again = true {
		r, err := p.start()
		if err != nil {
			return fmt.Errorf("start the process that hashes passwords: %w", err)
		}
		asked := r.calls.Go(service+"."+method, request, answer, make(chan *rpc.Call, 1))
		select {
		case <-asked.Done:
		case <-time.After(p.timeout):
			r.end()
			<-asked.Done
		}
		err = asked.Error
		var answered rpc.ServerError
		if err == nil || errors.As(err, &answered) {
			return err
		}
		err = errors.Join(err, p.forget(r))
		if again {
			return fmt.Errorf("the process that hashes passwords: %w", err)
		}
	}
}

// start returns the process that runs, or starts it.
func (p *Process) start() (*running, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errors.New("it was closed")
	}
	if p.running != nil {
		return p.running, nil
	}
	cmd := exec.Command(p.command[0], p.command[1:]...)
	cmd.Args[0] = os.Args[0]                                                // what lists processes shows whose it is
	cmd.Env = []string{fmt.Sprintf("GOMAXPROCS=%d", runtime.GOMAXPROCS(0))} // the others are settings, and secrets
	cmd.Stderr = os.Stderr
	out, itsOut, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer itsOut.Close()
	cmd.Stdout = itsOut
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, out.Close())
	}
	r := &running{cmd: cmd, calls: rpc.NewClient(stream{out, in}), ended: make(chan struct{})}
	go func() {
		r.err = cmd.Wait()
		close(r.ended)
	}()
	p.running = r
	return r, nil
}

// forget ends a process that failed, has the next call start another one, and returns how
// it ended.
func (p *Process) forget(r *running) error {
	r.end()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running == r {
		p.running = nil
		if !p.closed {
			p.log.Warn("the process that hashes passwords ended; another one is started when it is needed", "error", r.err)
		}
	}
	return r.err
}

// stream is the connection of the two processes, from one of them.
type stream struct {
	io.ReadCloser
	io.WriteCloser
}

func (s stream) Close() error { return errors.Join(s.WriteCloser.Close(), s.ReadCloser.Close()) }

// work is the service of net/rpc that makes and checks hashes.
type work struct {
	idle *time.Timer // runs out when there has been nothing to do for a while; nil: nobody minds
}

const service = "Passwords"

// NewHash asks for a hash.
type NewHash struct {
	Password string
	Params   argon2id.Params
}

// Check asks whether a password is the one with a hash.
type Check struct {
	Password, Hash string
	// Free asks that the memory that the check takes be given back to the system at once.
	Free bool
}

// Hash returns the PHC string of a password.
func (w work) Hash(n NewHash, hash *string) (err error) {
	defer w.done(&err)
	*hash, err = argon2id.CreateHash(n.Password, &n.Params)
	return err
}

// Check reports whether a password is the one with a hash.
func (w work) Check(c Check, match *bool) (err error) {
	defer w.done(&err)
	f, err := parse(c.Hash)
	if err != nil {
		return err
	}
	if c.Free {
		defer debug.FreeOSMemory()
	}
	*match, err = f.matches([]byte(c.Password))
	return err
}

// done has a panic be an error of one call, and not the end of all that run.
func (w work) done(err *error) {
	if recover() != nil {
		*err = errors.New("panicked")
	}
	if w.idle != nil {
		w.idle.Reset(idle)
	}
}
