package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"
)

// Superuser is the name of the only role that a new server has.
const Superuser = "manager"

// Options says where the server lives and how it is set up. Only Dir is
// required.
type Options struct {
	// Dir is the folder that holds everything. It is made when missing, with
	// mode 0755 (what is inside is protected by modes of its own).
	Dir string

	// BinDir is the folder with the programs postgres and initdb. When empty
	// they are looked up on PATH and in the usual places of Linux
	// distributions and Homebrew, and downloaded when there are none.
	BinDir string

	// Settings are server settings, passed on the command line; they win over
	// the defaults of this package and over postgresql.conf. Those that decide
	// where the server listens and where its files are cannot be set.
	Settings map[string]string

	// Logger receives the server's own log, at debug level, and at info level
	// what takes long (download, first set-up). Nil discards both.
	Logger *slog.Logger

	// FetchURL replaces the Maven repository that programs are downloaded from.
	// The default is Maven Central.
	FetchURL string
}

// Server is a running PostgreSQL server. Its methods may be called by several
// goroutines at once.
type Server struct {
	proc     *process
	socket   socketDir
	lock     *lockFile
	stopping atomic.Bool
	done     chan struct{}
	err      error // written before done is closed
}

// Start starts the server of o.Dir and returns when it accepts connections. An
// empty folder is set up first. A server that was left behind by a manager that
// was killed is stopped, and the folder is used as if that had not happened.
//
// ctx bounds the start only, not the server's life; recovery after a crash may
// take long, so Start itself sets no limit. When Start fails nothing is left
// running. Errors:
//   - [ErrInUse] ([*InUseError]) if another manager uses the folder;
//   - [ErrVersion] if there is no server program of version 14 or later, or none
//     of the version that made the data;
//   - [ErrAccess] if the folder belongs to somebody else or, as root, cannot be
//     reached by the unprivileged user that the server runs as.
//
// The last lines of the server's log are part of the error if the server itself
// failed.
func Start(ctx context.Context, o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, fmt.Errorf("embedded postgres: Options.Dir is empty")
	}
	if err := checkSettings(o.Settings); err != nil {
		return nil, fmt.Errorf("embedded postgres: %w", err)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := makeDir(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("embedded postgres: %w", err)
	}
	o.Dir = dir
	lock, err := acquireLock(dir)
	if err != nil {
		return nil, fmt.Errorf("embedded postgres: %w", err)
	}
	s, err := start(ctx, o)
	if err != nil {
		lock.release()
		return nil, fmt.Errorf("embedded postgres in %s: %w", dir, err)
	}
	s.lock = lock
	go s.watch()
	return s, nil
}

// makeDir makes the folder and returns its one true name, so that a server can
// be recognised by the folder it was started on.
func makeDir(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// start does the work of Start. The caller holds the lock of o.Dir.
func start(ctx context.Context, o Options) (*Server, error) {
	acct, err := serverAccount()
	if err != nil {
		return nil, err
	}
	removeLeftovers(o.Dir)
	data := filepath.Join(o.Dir, "data")
	major, err := dataVersion(data)
	if err != nil {
		return nil, err
	}
	progs, err := findPrograms(ctx, o, acct, major)
	if err != nil {
		return nil, err
	}
	if major == 0 {
		err = initialise(ctx, o, acct, progs, data)
	} else {
		err = acct.own(data)
	}
	if err != nil {
		return nil, err
	}
	if err := reclaim(ctx, data, o.Logger); err != nil {
		return nil, err
	}
	socket, err := makeSocketDir(o.Dir, acct)
	if err != nil {
		return nil, err
	}
	proc, err := launch(ctx, o, acct, progs, data, socket)
	if err != nil {
		socket.remove()
		return nil, err
	}
	return &Server{proc: proc, socket: socket, done: make(chan struct{})}, nil
}

// watch ends the server's affairs once its process has ended.
func (s *Server) watch() {
	<-s.proc.done
	if !s.stopping.Load() {
		s.err = s.proc.failure("postgres ended unexpectedly")
	}
	s.socket.remove()
	s.lock.release()
	close(s.done)
}

// URL returns a connection string for a database of the server, over its
// socket, as [Superuser]. The database need not exist.
func (s *Server) URL(database string) string {
	return s.socket.url(database)
}

// PID returns the process id of the server.
func (s *Server) PID() int { return s.proc.cmd.Process.Pid }

// Done returns a channel that is closed when the server process has ended,
// wanted or not. The folder is free for another Start from then on.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns nil while the server runs and after Stop, otherwise why it ended,
// with the last lines of its log.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Stop shuts the server down in order: open transactions are rolled back,
// connections are closed, everything is written. If ctx ends first the server
// is stopped at once (the next start recovers; nothing committed is lost) and
// the error says so. Stop returns when the process has ended; calling it again,
// or on a server that ended by itself, returns nil.
func (s *Server) Stop(ctx context.Context) error {
	s.stopping.Store(true)
	s.proc.signal(syscall.SIGINT)
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
	}
	s.proc.abort()
	<-s.done
	return fmt.Errorf("embedded postgres: stopped at once instead of in order: %w", context.Cause(ctx))
}

// Kill ends the server process by SIGKILL, as a crash of the machine would; the
// next start recovers. It exists for fault tests and does not wait: see Done.
func (s *Server) Kill() error {
	return s.proc.signal(syscall.SIGKILL)
}

// abortTimeout is how long a server may take to end on SIGQUIT before it is
// killed.
const abortTimeout = 5 * time.Second

// socketURL builds the connection string for a socket in dir.
func socketURL(dir string, port int, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(Superuser), Path: "/" + database}
	u.RawQuery = url.Values{
		"host":    {dir},
		"port":    {strconv.Itoa(port)},
		"sslmode": {"disable"},
	}.Encode()
	return u.String()
}
