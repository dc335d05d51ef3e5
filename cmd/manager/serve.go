package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	webconsole "github.com/logicspike/manager/console"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/server"
	"github.com/logicspike/manager/store"
)

type serveCmd struct {
	config.Settings `embed:""`
}

// Run serves until a signal tells it to end.
func (s *serveCmd) Run(c console) error {
	ctx, stop := untilSignal(context.Background(), c.err, exitNow)
	defer stop()
	err := run(ctx, s.Settings, c, newLogger(c.err, s.Settings), assemble)
	if told := (errTold{}); errors.As(context.Cause(ctx), &told) && (errors.As(err, &told) || errors.Is(err, context.Canceled)) {
		return nil // before it was ready
	}
	return err
}

// service is what answers the calls.
type service interface {
	// Run serves the listeners (admin may be nil) until ctx ends, lets running
	// calls end, and closes the listeners.
	Run(ctx context.Context, api, admin net.Listener) error
}

// assembler makes the service of a store, whose database has the URL given. close
// ends what it started beside the service; it is called once the service has
// ended, and before the store closes.
type assembler func(ctx context.Context, s config.Settings, st *store.Store, databaseURL string, log *slog.Logger) (srv service, close func() error, err error)

// run serves until ctx ends, which is no error, or until something fails. What it
// starts it ends in the opposite order, whatever happens.
func run(ctx context.Context, s config.Settings, c console, log *slog.Logger, assemble assembler) (err error) {
	began := time.Now()
	log.Debug("settings", "settings", s)

	// The ports first: a second start fails before it touches anything.
	p, err := openPorts(s)
	if err != nil {
		return err
	}
	defer p.close()
	if s.PublicURL == "" {
		s.PublicURL = config.Origin("http://" + reachable(p.api, s.Listen))
	}
	for _, name := range config.Unknown(os.Environ()) {
		log.Warn("there is no such setting", "variable", name)
	}

	db, err := openDatabase(ctx, s.Database, s.DatabaseMaxConnections, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close(ctx)) }()
	ctx, unwatch := db.watch(ctx)
	defer unwatch()
	defer func() { err = errors.Join(db.failure(), err) }()

	key, err := secretKey(s, log)
	if err != nil {
		return err
	}
	if err := store.Migrate(ctx, db.url); err != nil {
		return fmt.Errorf("bring the database up to date: %w", err)
	}
	permissions, invite, err := server.Permissions()
	if err != nil {
		return err
	}
	invoices, err := server.Invoices(s)
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, store.Options{
		Invoices:           invoices,
		Permissions:        permissions,
		Invite:             invite,
		URL:                db.url,
		MaxConnections:     s.DatabaseMaxConnections,
		Key:                key,
		SessionIdleTimeout: s.SessionIdleTimeout,
		SessionLifetime:    s.SessionLifetime,
		DeletionGrace:      s.DeletionGrace,
		SoldAtProvider:     s.StripeSecretKey != "",
		DunningReminders:   s.DunningReminders,
		DunningGrace:       s.DunningGrace,
		SigningKeyLifetime: s.SigningKeyLifetime,
		TestClock:          s.TestClock,
		Logger:             log,
	})
	if errors.Is(err, store.ErrKey) {
		return fmt.Errorf("%w; it is that of --secret-key (%s) or of the file %s", err, config.Variable("secret-key"), filepath.Join(s.DataDir, keyFile))
	}
	if err != nil {
		return err
	}
	defer st.Close()
	if ahead := st.Ahead(); ahead > 0 && !s.TestClock {
		return fmt.Errorf("the time on this database was moved forward by %s: it can be used with --test-clock (%s) only", ahead, config.Variable("test-clock"))
	} else if s.TestClock {
		log.Warn("operators may move the time: use this database for trying out alone", "setting", "test-clock", "ahead", ahead)
	}
	if err := applyPlansFile(ctx, st, s.PlansFile, log); err != nil {
		return err
	}

	srv, closeService, err := assemble(ctx, s, st, db.url, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeService()) }()

	if err := announce(s, c, log, p, db, time.Since(began)); err != nil {
		return err
	}
	// Compiling the API's rules leaves garbage that would stay for minutes.
	go debug.FreeOSMemory()
	return srv.Run(ctx, p.api, p.admin)
}

// announce says that the server is ready: to people by a banner, to programs by
// a line in the log.
func announce(s config.Settings, c console, log *slog.Logger, p ports, db *database, took time.Duration) error {
	b := banner{
		Version:  programVersion(),
		Took:     took,
		API:      reachable(p.api, s.Listen),
		Console:  webconsole.IsBuilt(),
		Mailbox:  s.SMTPHost == "",
		Database: db.describe(s.Database),
		Grpcurl:  s.Reflection,
	}
	if p.admin != nil {
		b.Admin = reachable(p.admin, s.AdminListen)
	}
	var err error
	if b.DataDir, err = filepath.Abs(s.DataDir); err != nil {
		return err
	}
	if s.LogFormat == config.LogText {
		return b.print(c.out)
	}
	log.Info("ready", "version", b.Version, "took", took, "api", b.API, "admin", b.Admin, "database", b.Database, "data", b.DataDir)
	return nil
}
