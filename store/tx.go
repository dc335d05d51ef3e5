package store

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/identity"
	"github.com/logicspike/manager/store/postgres"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// maxTries is how often a transaction is run that loses against others.
const maxTries = 6

// tx is one transaction over all modules.
//
// What it locks it locks in one order, so that transactions wait for each other
// and not in circles: workspaces, then users (those who sign in or out only hold
// theirs), then what belongs to them. Where that cannot be, a deadlock is found
// by PostgreSQL after a second, and one of the transactions runs again.
type tx struct {
	store    *Store
	now      time.Time
	sql      bun.Tx
	identity identity.Repository
	tenant   tenant.Repository
	team     team.Repository
	auth     auth.Repository
	billing  billing.Repository
	audit    audit.Repository

	// repeats tells that the call was made before, and its answer lost: its session is
	// no news.
	repeats bool
}

// write runs fn in a transaction, and again when it loses against another one.
// Nothing but SQL belongs into fn. Errors of the database come back as the
// faults that they mean.
func (s *Store) write(ctx context.Context, fn func(context.Context, *tx) error) error {
	return s.run(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted}, fn)
}

// contained runs a part of some work, and returns a panic of it as an error, so that it
// does not keep the other parts.
func contained(part func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return part()
}

// read runs fn in a transaction that sees the database at one moment.
func (s *Store) read(ctx context.Context, fn func(context.Context, *tx) error) error {
	return s.run(ctx, &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}, fn)
}

func (s *Store) run(ctx context.Context, options *sql.TxOptions, fn func(context.Context, *tx) error) error {
	for try := 1; ; try++ {
		err := s.db.Bun.RunInTx(ctx, options, func(ctx context.Context, t bun.Tx) error {
			return fn(ctx, &tx{
				store:    s,
				now:      s.options.Clock.Now(),
				sql:      t,
				identity: identity.New(t),
				tenant:   tenant.New(t),
				team:     team.New(t, s.pager),
				auth:     auth.New(t, s.pager),
				billing:  billing.New(t),
				audit:    audit.New(t, s.pager),
			})
		})
		if err == nil || !postgres.Retryable(err) || try == maxTries || ctx.Err() != nil {
			return s.constraints.Fault(err)
		}
		pause := time.NewTimer(time.Duration(rand.Int64N(int64(time.Millisecond) << try)))
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// record writes events. The actor of each is the one that it names, else the
// caller, else the system.
func (t *tx) record(ctx context.Context, events ...audit.Event) error {
	rows := make([]*audit.Event, len(events))
	for i, e := range events {
		e.ID, e.CreateTime = ids.New[ids.Event](), t.now
		if e.ActorKind == "" {
			e.ActorKind = audit.System
			if e.ActorUserID.IsZero() {
				caller := authz.CallerFrom(ctx)
				e.ActorUserID, e.ActorServiceAccountID = caller.User, caller.ServiceAccount
				e.ActorAPIKeyID, e.ImpersonatorID = caller.Key, caller.Impersonator
			}
			switch {
			case !e.ActorUserID.IsZero():
				e.ActorKind = audit.User
			case !e.ActorServiceAccountID.IsZero():
				e.ActorKind = audit.ServiceAccount
			}
		}
		if !e.UserID.IsZero() {
			client := authz.ClientFrom(ctx)
			e.UserAgent = client.UserAgent
			if client.Address.IsValid() {
				e.ClientAddress = client.Address.String()
			}
		}
		rows[i] = &e
	}
	return t.audit.Insert(ctx, rows...)
}
