package testkit

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/logicspike/manager/client"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/jobs"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/server"
	"github.com/logicspike/manager/server/auth/password"
	"github.com/logicspike/manager/store"
)

// Options change the server that New starts.
type Options struct {
	// Settings changes the settings. What the tests begin with are the defaults,
	// with a cheap password hash, limits out of the way, and loopback a trusted
	// proxy, so that X-Forwarded-For makes a client of any address.
	Settings func(*config.Settings)
	// Limited keeps the limits that are not settings.
	Limited bool
	// URL is the database. Default: one of the test's own.
	URL string
	// Key is the server's. Default: a new one.
	Key secret.Key
	// Clock is the server's. Default: a new one.
	Clock *clock.Manual
	// Hashing hashes passwords; nil: this process does.
	Hashing *password.Process
	// WithoutJobs does not work the queue.
	WithoutJobs bool
}

// Server is the product, on a real listener and a real database.
type Server struct {
	URL      string
	Database string // its URL
	Store    *store.Store
	Server   *server.Server
	Clock    *clock.Manual
	Key      secret.Key
	Mailbox  *mail.Mailbox
	// MailboxDir is where the mailbox keeps its mails.
	MailboxDir string
	Settings   config.Settings
	// SQL is a pool of its own, to look into the database and to break it.
	SQL *pgxpool.Pool
	// Log is what was logged. It must contain no secret: see Secret.
	Log *Log

	secrets   secrets
	anonymous func() *client.Client
	stop      func()
}

// New starts a server. It ends with the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	s := &Server{Database: o.URL, Key: o.Key, Clock: o.Clock, Log: new(Log)}
	if s.Database == "" {
		s.Database = NewDatabase(t)
	}
	if s.Key.IsZero() {
		s.Key = secret.NewKey()
	}
	if s.Clock == nil {
		s.Clock = new(clock.Manual)
	}
	s.anonymous = sync.OnceValue(func() *client.Client { return s.newClient("") })
	s.Secret(Password, s.Key.Encode())
	s.Settings = defaults(t)
	if o.Settings != nil {
		o.Settings(&s.Settings)
	}
	logger := slog.New(slog.NewTextHandler(s.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.URL = "http://" + listener.Addr().String()
	if s.Settings.PublicURL == "" {
		s.Settings.PublicURL = config.Origin(s.URL)
	}
	permissions, invite, err := server.Permissions()
	if err != nil {
		t.Fatal(err)
	}
	invoices, err := server.Invoices(s.Settings)
	if err != nil {
		t.Fatal(err)
	}
	if s.Store, err = store.Open(t.Context(), store.Options{
		URL:                s.Database,
		MaxConnections:     s.Settings.DatabaseMaxConnections,
		Key:                s.Key,
		Clock:              s.Clock,
		TestClock:          s.Settings.TestClock,
		SessionIdleTimeout: s.Settings.SessionIdleTimeout,
		SessionLifetime:    s.Settings.SessionLifetime,
		DeletionGrace:      s.Settings.DeletionGrace,
		SoldAtProvider:     s.Settings.StripeSecretKey != "",
		DunningReminders:   s.Settings.DunningReminders,
		DunningGrace:       s.Settings.DunningGrace,
		Invoices:           invoices,
		SigningKeyLifetime: s.Settings.SigningKeyLifetime,
		Permissions:        permissions,
		Invite:             invite,
		Logger:             logger,
	}); err != nil {
		t.Fatal(err)
	}
	if s.SQL, err = pgxpool.New(t.Context(), s.Database); err != nil {
		t.Fatal(err)
	}
	s.MailboxDir = t.TempDir()
	if s.Mailbox, err = mail.NewMailbox(s.MailboxDir); err != nil {
		t.Fatal(err)
	}
	if s.Server, err = server.FromSettings(s.Settings, server.Dependencies{
		Store: s.Store, Clock: s.Clock, Logger: logger, Mailbox: s.Mailbox.Handler(), Unlimited: !o.Limited, Hashing: o.Hashing,
	}); err != nil {
		t.Fatal(err)
	}
	var runner *jobs.Runner
	if !o.WithoutJobs {
		public, err := url.Parse(string(s.Settings.PublicURL))
		if err != nil {
			t.Fatal(err)
		}
		if runner, err = jobs.Start(t.Context(), jobs.Options{
			URL: s.Database, Store: s.Store, Renderer: mail.NewRenderer(public, s.Settings.ProductName), Sender: s.Mailbox, Logger: logger, Payments: s.Server.Payments(),
			Workers: 1, // so that mails come in the order in which they were asked for
			Poll:    250 * time.Millisecond,
		}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Server.Run(ctx, listener, nil) }()
	s.stop = sync.OnceFunc(func() {
		codes := s.mailedCodes()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the server ended with: %v", err)
		}
		if runner != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			_ = runner.Stop(ctx)
		}
		s.Store.Close()
		s.SQL.Close()
		s.checkLog(t, codes)
	})
	t.Cleanup(s.stop)
	return s
}

// Stop ends the server before the test does.
func (s *Server) Stop() { s.stop() }

// Client returns a client that calls from a network address, or from loopback
// for "", without a session. It sends each call once. Those without an address or options
// are one, which As gives a session.
func (s *Server) Client(address string, options ...client.Option) *client.Client {
	if address == "" && len(options) == 0 {
		return s.anonymous()
	}
	return s.newClient(address, options...)
}

func (s *Server) newClient(address string, options ...client.Option) *client.Client {
	if address != "" {
		options = append(options, client.WithHTTPClient(&http.Client{Transport: forwarded{address, http.DefaultTransport}}))
	}
	options = append([]client.Option{client.WithAttempts(1)}, options...)
	return client.New(s.URL, append(options, client.WithConnect(connect.WithInterceptors(s.noticing())))...)
}

// forwarded calls as if from another address, through a trusted proxy.
type forwarded struct {
	address string
	next    http.RoundTripper
}

func (f forwarded) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Forwarded-For", f.address)
	return f.next.RoundTrip(r)
}

// defaults returns the settings that tests begin with.
func defaults(t testing.TB) config.Settings {
	t.Helper()
	var s config.Settings
	parser, err := kong.New(&s, kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	s.Argon2Memory, s.Argon2Iterations = 64, 1
	s.HashQueue = 1000
	s.PublicBurst, s.PublicRate = 1_000_000, 1_000_000
	s.PasswordFailures = 0
	s.DrainTimeout = 5 * time.Second
	s.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	s.AllowedOrigins = []config.Origin{"http://app.example.com"}
	return s
}

// Log keeps what was logged.
type Log struct {
	mu   sync.Mutex
	text strings.Builder
}

// Write appends a line.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

// String returns all lines.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
