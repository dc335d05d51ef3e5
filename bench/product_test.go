package bench

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alexedwards/argon2id"
	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/jobs"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/server"
	"github.com/logicspike/manager/store"
)

// password is everybody's.
const password = testkit.Password

// publicURL is the setting public-url.
const publicURL = "https://accounts.example.com"

// product is what `manager serve` runs, in this process and one that hashes passwords.
type product struct {
	settings config.Settings
	address  string
	log      *slog.Logger
	store    *store.Store
}

// start runs the product with its default settings, limits included, on a
// PostgreSQL server of its own that keeps what is committed. Only what one client
// may call in a minute is far higher; and X-Forwarded-For makes a client of any
// network. beside is served under /mailbox/, by the same HTTP server.
func start(b *testing.B, beside http.Handler) *product {
	b.Helper()
	database := newDatabase(b)
	p := startOn(b, database, secret.NewKey(), beside)
	p.work(b, database)
	return p
}

// startOn runs the product on a database that is there, without its queue of jobs.
func startOn(b *testing.B, database string, key secret.Key, beside http.Handler) *product {
	b.Helper()
	p := &product{settings: config.Defaults(), log: logger(b)}
	p.settings.PublicURL = publicURL
	p.settings.PublicRate, p.settings.PublicBurst = 1_000_000, 1_000_000
	p.settings.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

	var err error
	permissions, invite, err := server.Permissions()
	if err != nil {
		b.Fatal(err)
	}
	if p.store, err = store.Open(b.Context(), store.Options{
		Permissions: permissions, Invite: invite,
		URL: database, MaxConnections: p.settings.DatabaseMaxConnections, Key: key, DeletionGrace: time.Hour, Logger: p.log,
	}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(p.store.Close)
	s, err := server.FromSettings(p.settings, server.Dependencies{
		Store: p.store, Clock: clock.System{}, Logger: p.log, Mailbox: beside, Hashing: testkit.Hashing(b),
	})
	if err != nil {
		b.Fatal(err)
	}
	p.address = serve(b, s)
	return p
}

// work works the queue of jobs until the benchmark ends.
func (p *product) work(b *testing.B, database string) {
	b.Helper()
	mailbox, err := mail.NewMailbox(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	public, err := url.Parse(string(p.settings.PublicURL))
	if err != nil {
		b.Fatal(err)
	}
	queue, err := jobs.Start(b.Context(), jobs.Options{
		URL: database, Store: p.store, Renderer: mail.NewRenderer(public, p.settings.ProductName), Sender: mailbox, Logger: p.log,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = queue.Stop(ctx)
	})
}

// serve runs a server until the benchmark ends.
func serve(b *testing.B, s *server.Server) (address string) {
	b.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, listener, nil) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Errorf("the server ended with: %v", err)
		}
	})
	return listener.Addr().String()
}

// logger writes to a file, as a person would have it.
func logger(b *testing.B) *slog.Logger {
	b.Helper()
	file, err := os.Create(filepath.Join(b.TempDir(), "log"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = file.Close() })
	return slog.New(slog.NewTextHandler(file, nil))
}

// newDatabase returns a migrated database on a server of its own, which keeps
// what is committed.
func newDatabase(b *testing.B) (url string) {
	b.Helper()
	s, _ := testkit.NewPostgres(b)
	createDatabase(b, s.URL("postgres"))
	url = s.URL("bench")
	if err := store.Migrate(b.Context(), url); err != nil {
		b.Fatal(err)
	}
	return url
}

// createDatabase creates the database bench.
func createDatabase(b *testing.B, url string) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), url)
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close(b.Context())
	if _, err := conn.Exec(b.Context(), "CREATE DATABASE bench"); err != nil {
		b.Fatal(err)
	}
	for setting, want := range map[string]string{"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"} {
		var got string
		if err := conn.QueryRow(b.Context(), "SELECT current_setting($1)", setting).Scan(&got); err != nil || got != want {
			b.Fatalf("the server's %s is %q, %v; nothing measured here would hold", setting, got, err)
		}
	}
	if err := conn.QueryRow(b.Context(), "SELECT split_part(current_setting('server_version'), ' ', 1)").Scan(&version); err != nil {
		b.Fatal(err)
	}
}

// params are those of the settings.
func (p *product) params() *argon2id.Params {
	return &argon2id.Params{
		Memory: p.settings.Argon2Memory, Iterations: p.settings.Argon2Iterations, Parallelism: p.settings.Argon2Parallelism,
		SaltLength: 16, KeyLength: 32,
	}
}

// accounts creates accounts, by address, and signs them in.
func (p *product) accounts(b *testing.B, count int) (addresses, tokens []string) {
	b.Helper()
	hash, err := argon2id.CreateHash(password, p.params())
	if err != nil {
		b.Fatal(err)
	}
	for i := range count {
		address, err := email.Parse(fmt.Sprintf("account%d@example.com", i))
		if err != nil {
			b.Fatal(err)
		}
		_, account, err := p.store.Register(b.Context(), store.Registration{
			Email: address, DisplayName: "Ann", WorkspaceName: fmt.Sprintf("Acme %d", i), PasswordHash: hash, AtOnce: true,
			Transport: authz.Bearer, Client: authz.Client{Address: netip.MustParseAddr("127.0.0.1")},
		})
		if err != nil {
			b.Fatal(err)
		}
		addresses, tokens = append(addresses, address.Display), append(tokens, account.Token)
	}
	return addresses, tokens
}

// from is the header that makes a client of a network of its own.
func from(caller int) string { return fmt.Sprintf("X-Forwarded-For: 192.0.2.%d", caller+1) }
