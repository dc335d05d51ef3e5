package password

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
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
	command []string

	mu      sync.Mutex
	running *running // nil: none runs
	closed  bool
}

// running is a Process's process while it runs.
type running struct {
	cmd   *exec.Cmd
	calls *rpc.Client
	ended chan struct{}
}

// NewProcess returns a process that a command starts: a program and its arguments. The
// program is to run Work, and to end by nothing but that: not by the signals that a
// terminal sends to both. It has no environment variables.
func NewProcess(program string, arguments ...string) *Process {
	return &Process{command: append([]string{program}, arguments...)}
}

// Work does what the process that started this one asks for on in, until in ends, which
// it does with that process.
func Work(in io.ReadCloser, out io.WriteCloser) {
	debug.SetGCPercent(gcPercent)
	server := rpc.NewServer()
	if err := server.RegisterName(service, work{idle: time.AfterFunc(idle, debug.FreeOSMemory)}); err != nil {
		panic(err) // its methods are wrong
	}
	server.ServeConn(stream{in, out})
}

// gcPercent lets the memory of a few hashes become garbage before it is collected: by
// default nearly every hash would have the collector work, beside it on another core.
const gcPercent = 400

// idle is how long a process has had nothing to do when it gives back the memory of hashes.
const idle = 5 * time.Second

// closeGrace is how long a process may take to end.
const closeGrace = 5 * time.Second

// Close ends the process, and returns when it has ended. Nothing may use it any more.
func (p *Process) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	if p.running == nil {
		return nil
	}
	_ = p.running.calls.Close()
	select {
	case <-p.running.ended:
		return nil
	case <-time.After(closeGrace):
		return errors.Join(errors.New("the process that hashes passwords did not end"), p.running.cmd.Process.Kill())
	}
}

// call calls a method of work. A process that ended meanwhile is started anew, once.
func (p *Process) call(method string, request, answer any) error {
	for again := false; ; again = true {
		r, err := p.start()
		if err != nil {
			return fmt.Errorf("start the process that hashes passwords: %w", err)
		}
		err = r.calls.Call(service+"."+method, request, answer)
		var answered rpc.ServerError
		if err == nil || errors.As(err, &answered) {
			return err
		}
		p.forget(r)
		if again {
			return fmt.Errorf("the process that hashes passwords ended: %w", err)
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
	cmd.Args[0] = os.Args[0] // what lists processes shows whose it is
	cmd.Env = []string{}     // where this process has secrets
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, itsOut, err := os.Pipe()
	if err != nil {
		return nil, errors.Join(err, in.Close())
	}
	cmd.Stdout = itsOut
	err = cmd.Start()
	_ = itsOut.Close()
	if err != nil {
		return nil, errors.Join(err, out.Close())
	}
	p.running = &running{cmd: cmd, calls: rpc.NewClient(stream{out, in}), ended: make(chan struct{})}
	go func(ended chan struct{}) {
		_ = cmd.Wait() // how it ended is of no use: whoever calls it is told, and starts it anew
		close(ended)
	}(p.running.ended)
	return p.running, nil
}

// forget has the next call start another process than r, which ended.
func (p *Process) forget(r *running) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = r.calls.Close()
	if p.running == r {
		p.running = nil
	}
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
	defer w.done()
	*hash, err = argon2id.CreateHash(n.Password, &n.Params)
	return err
}

// Check reports whether a password is the one with a hash.
func (w work) Check(c Check, match *bool) error {
	defer w.done()
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

func (w work) done() {
	if w.idle != nil {
		w.idle.Reset(idle)
	}
}
