package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/identity"
	"github.com/logicspike/manager/store/postgres/embedded"
)

// storeFlags are the settings of commands that work on the accounts, whether the
// server runs or not.
type storeFlags struct {
	config.Database `embed:""`
	SecretKey       config.Secret `group:"Data" name:"secret-key" env:"MANAGER_SECRET_KEY" placeholder:"BASE64" help:"The server's key. Prefer the variable: other users of the machine can see flags. Default: the file secret.key in the data folder."`
}

// startTimeout is how long a command waits for a private server that is just being
// started, or ended, by another process.
const startTimeout = 15 * time.Second

// withStore calls fn with the store. Where the private server runs already it is
// used, else it runs meanwhile. Faults become errors that a person reads.
func withStore(flags storeFlags, c console, fn func(context.Context, *store.Store) error) error {
	return withStoreOf(flags, store.Options{}, c, fn)
}

// withStoreOf is withStore with further options of the store.
func withStoreOf(flags storeFlags, o store.Options, c console, fn func(context.Context, *store.Store) error) (err error) {
	ctx, stop := untilSignal(context.Background(), c.err, exitNow)
	defer stop()
	log := slog.New(slog.NewTextHandler(c.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	db, err := joinDatabase(ctx, flags.Database, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close(ctx)) }()
	all, err := store.MigrationStatus(ctx, db.url)
	if err != nil {
		return err
	}
	for _, m := range all {
		if m.ApplyTime.IsZero() {
			return errors.New("the database's schema is not up to date; `manager migrate up`, or a start of the server, does that")
		}
	}
	o.URL, o.MaxConnections, o.Logger = db.url, 2, log
	if o.Key, err = existingKey(flags, log); err != nil {
		return err
	}
	st, err := store.Open(ctx, o)
	if errors.Is(err, store.ErrKey) {
		return fmt.Errorf("%w; it is that of --secret-key (%s) or of the file %s", err, config.Variable("secret-key"), filepath.Join(flags.DataDir, keyFile))
	}
	if err != nil {
		return err
	}
	defer st.Close()
	err = st.Fault(fn(ctx, st))
	if f := fault.As(err); f != nil && f.Kind != fault.Internal && f.Kind != fault.Unavailable {
		if f.Kind == fault.NotFound {
			return errors.New("there is no such user")
		}
		return errors.New(f.Message)
	}
	return err
}

// joinDatabase is openDatabase that uses the private server also where another
// process runs it, and makes none where there was none.
func joinDatabase(ctx context.Context, s config.Database, log *slog.Logger) (*database, error) {
	if s.Private() && !embedded.Exists(s.DataDir) {
		dir, err := filepath.Abs(s.DataDir)
		if err != nil {
			return nil, err
		}
		return nil, fmt.Errorf("there is no data folder of a server at %s; name the server's by --data-dir (%s), or its database by --database-url (%s)",
			dir, config.Variable("data-dir"), config.Variable("database-url"))
	}
	for deadline := time.Now().Add(startTimeout); ; {
		if s.Private() {
			if url, running, err := embedded.Running(s.DataDir, databaseName); err != nil || running {
				return &database{url: url}, err
			}
		}
		db, err := openDatabase(ctx, s, 0, log)
		if !errors.Is(err, embedded.ErrInUse) || time.Now().After(deadline) {
			return db, err
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// existingKey returns the server's key, and never makes one: a new one would open
// nothing.
func existingKey(flags storeFlags, log *slog.Logger) (secret.Key, error) {
	if flags.SecretKey != "" {
		key, err := secret.ParseKey(flags.SecretKey.Reveal())
		if err != nil {
			err = fmt.Errorf("--secret-key (%s): %w", config.Variable("secret-key"), err)
		}
		return key, err
	}
	path := filepath.Join(flags.DataDir, keyFile)
	key, err := readKey(path, log)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no secret key in %s; give the server's by --secret-key (%s), or start the server once, which makes it", path, config.Variable("secret-key"))
	}
	return key, err
}

// findUser returns the user with an address or id.
func findUser(ctx context.Context, st *store.Store, who string) (*identity.User, error) {
	if id, err := ids.Parse[ids.User](who); err == nil {
		user, err := st.Identity.User(ctx, id)
		if fault.Has(err, fault.Missing) {
			return nil, fmt.Errorf("there is no user %s", who)
		}
		return user, err
	}
	address, err := email.Parse(who)
	if err != nil {
		return nil, fmt.Errorf("%q is neither a user's id (usr_…) nor an e-mail address: it %w", who, err)
	}
	found, err := st.Identity.Address(ctx, address.Key)
	if err != nil {
		return nil, err
	}
	if found == nil {
		return nil, fmt.Errorf("nobody has the address %s", who)
	}
	return st.Identity.User(ctx, found.UserID)
}

// called returns what a user is called here: their address, or their id.
func called(u *identity.User) string {
	if u.Email != nil {
		return u.Email.Address
	}
	return u.ID.String()
}
