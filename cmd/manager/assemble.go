package main

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/jobs"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/server"
	"github.com/logicspike/manager/store"
)

// jobsTimeout is how long running jobs may go on when the server ends; then they
// are cancelled, to be run again.
const jobsTimeout = 5 * time.Second

// assemble is the assembler of `manager serve`: the API's server, and the queue
// that is worked beside it.
func assemble(ctx context.Context, s config.Settings, st *store.Store, databaseURL string, log *slog.Logger) (service, func() error, error) {
	public, err := url.Parse(string(s.PublicURL))
	if err != nil {
		return nil, nil, err
	}
	sender, mailbox, err := newSender(s)
	if err != nil {
		return nil, nil, err
	}
	traces, closeTraces, err := newTracing(ctx, s.OTelEndpoint)
	if err != nil {
		return nil, nil, err
	}
	hashing, err := newHashing(s, log)
	if err != nil {
		return nil, nil, errors.Join(err, closeTraces())
	}
	srv, err := server.FromSettings(s, server.Dependencies{
		Store:   st,
		Clock:   st.Clock(),
		Logger:  log,
		Traces:  traces,
		Hashing: hashing,
		Mailbox: mailbox,
	})
	if err != nil {
		return nil, nil, errors.Join(err, closeTraces())
	}
	// A server that could not sign would not be of use.
	if err := st.KeepSigningKeys(ctx); err != nil {
		return nil, nil, errors.Join(err, closeTraces())
	}
	queue, err := jobs.Start(ctx, jobs.Options{
		URL:      databaseURL,
		Store:    st,
		Renderer: mail.NewRenderer(public, s.ProductName),
		Sender:   sender,
		Payments: srv.Payments(),
		Logger:   log,
	})
	if err != nil {
		return nil, nil, errors.Join(err, closeTraces())
	}
	following, unfollow := context.WithCancel(context.WithoutCancel(ctx))
	if s.TestClock {
		go st.FollowTestClock(following)
	}
	return srv, func() error {
		unfollow()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), jobsTimeout)
		defer cancel()
		err := queue.Stop(ctx)
		hashing.Close()
		return errors.Join(err, closeTraces())
	}, nil
}
