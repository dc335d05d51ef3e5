// Package jobs works the queue: it sends the mails that the store put there, and
// does what is due by itself. Any number of processes may work one queue: each
// job is done by one of them.
package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivertype"

	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store"
)

// Options are what the runner needs.
type Options struct {
	// URL is the store's database. The runner has a few connections of its own.
	URL      string
	Store    *store.Store
	Renderer *mail.Renderer
	Sender   mail.Sender
	// Payments asks the payment provider; nil without one.
	Payments Payments
	// Logger receives what fails. Required.
	Logger *slog.Logger
	// Workers is how many jobs run at once, and how many of those that ask the payment
	// provider beside them. Default: 4.
	Workers int
	// Poll is how often the queue is looked at beside being told of new jobs, which is not
	// heard while all workers are busy. Default: 1 second.
	Poll time.Duration
}

// Runner works the queue until it is stopped.
type Runner struct {
	client   *river.Client[pgx.Tx]
	pool     *pgxpool.Pool
	stopping *atomic.Bool
}

// Start begins to work the queue.
//
// Errors: when the database cannot be reached.
func Start(ctx context.Context, o Options) (*Runner, error) {
	if o.Workers <= 0 {
		o.Workers = 4
	}
	cfg, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		return nil, fmt.Errorf("job queue: %w", err)
	}
	cfg.MaxConns = int32(o.Workers)*2 + 2
	cfg.ConnConfig.RuntimeParams["application_name"] = "logicspike-manager-jobs"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("job queue: %w", err)
	}
	stopping := new(atomic.Bool)
	workers := river.NewWorkers()
	river.AddWorker(workers, &mailWorker{store: o.Store, renderer: o.Renderer, sender: o.Sender})
	river.AddWorker(workers, &refusalWorker{store: o.Store})
	river.AddWorker(workers, &noticeWorker{store: o.Store})
	river.AddWorker(workers, &purgeWorker{store: o.Store, log: o.Logger})
	river.AddWorker(workers, &billWorker{store: o.Store})
	river.AddWorker(workers, &expireWorker{store: o.Store})
	river.AddWorker(workers, &signingKeyWorker{store: o.Store})
	periodic := []*river.PeriodicJob{
		every(time.Minute, river.QueueDefault, purgeJob{}),
		every(time.Minute, river.QueueDefault, billJob{}),
		every(time.Hour, river.QueueDefault, expireJob{}),
		every(10*time.Minute, river.QueueDefault, signingKeyJob{}),
	}
	queues := map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: o.Workers}}
	if o.Payments != nil { // else what is queued waits for a server with a provider
		river.AddWorker(workers, &providerWorker{payments: o.Payments})
		river.AddWorker(workers, &webhookWorker{payments: o.Payments})
		river.AddWorker(workers, &providerDueWorker{payments: o.Payments})
		river.AddWorker(workers, &reconcileWorker{payments: o.Payments})
		periodic = append(periodic, every(time.Minute, store.ProviderQueue, providerDueJob{}), every(time.Hour, store.ProviderQueue, reconcileJob{}))
		queues[store.ProviderQueue] = river.QueueConfig{MaxWorkers: o.Workers}
	}
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		Schema:  store.JobSchema,
		Workers: workers,
		Queues:  queues,
		// How soon a worker that has done a job looks for the next one. The library's
		// default lets each worker do ten a second at most.
		FetchCooldown:     10 * time.Millisecond,
		FetchPollInterval: cmp.Or(o.Poll, river.FetchPollIntervalDefault),
		PeriodicJobs:      periodic,
		// A job whose process died is run again while a mailed code is still valid.
		RescueStuckJobsAfter: 3 * time.Minute,
		// What a mail says is sealed, and still nothing to keep.
		CompletedJobRetentionPeriod: time.Hour,
		DiscardedJobRetentionPeriod: 24 * time.Hour,
		ErrorHandler:                failures{o.Logger},
		Logger:                      slog.New(quiet{stopping, o.Logger.Handler()}),
	})
	if err != nil {
		pool.Close()
		return nil, fmt.Errorf("job queue: %w", err)
	}
	// Not ctx: Stop ends it, and lets running jobs finish.
	if err := client.Start(context.WithoutCancel(ctx)); err != nil {
		pool.Close()
		return nil, fmt.Errorf("job queue: %w", err)
	}
	return &Runner{client, pool, stopping}, nil
}

// Stop takes no further jobs and waits for the running ones until ctx ends; then
// it cancels them, to be run again later.
func (r *Runner) Stop(ctx context.Context) error {
	r.stopping.Store(true)
	err := r.client.Stop(ctx)
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
		defer cancel()
		err = r.client.StopAndCancel(last)
	}
	r.pool.Close()
	return err
}

// every runs a job of a queue at once and then in the interval, in one of the processes, and
// not while it still runs.
func every(interval time.Duration, queue string, job river.JobArgs) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(interval), func() (river.JobArgs, *river.InsertOpts) {
		return job, &river.InsertOpts{Queue: queue, MaxAttempts: 3, UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
			rivertype.JobStateRunning, rivertype.JobStateScheduled,
		}}}
	}, &river.PeriodicJobOpts{RunOnStart: true})
}

// failures logs jobs that fail: as a warning while they will be tried again, then
// as an error.
type failures struct{ log *slog.Logger }

// HandleError logs a failed attempt.
func (f failures) HandleError(ctx context.Context, job *rivertype.JobRow, err error) *river.ErrorHandlerResult {
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // it was stopped with the server, and will be run again
	}
	level, cancelled := slog.LevelWarn, new(rivertype.JobCancelError)
	if job.Attempt >= job.MaxAttempts || errors.As(err, &cancelled) {
		level = slog.LevelError
	}
	f.log.Log(ctx, level, "a job failed", "kind", job.Kind, "attempt", job.Attempt, "of", job.MaxAttempts, "error", err)
	return nil
}

// HandlePanic logs an attempt that panicked.
func (f failures) HandlePanic(ctx context.Context, job *rivertype.JobRow, value any, trace string) *river.ErrorHandlerResult {
	f.log.ErrorContext(ctx, "a job panicked", "kind", job.Kind, "attempt", job.Attempt, "of", job.MaxAttempts, "panic", value, "trace", trace)
	return nil
}

// quiet passes on the library's warnings and errors, but for those of its parts
// that are cut short when it is told to stop.
type quiet struct {
	stopping *atomic.Bool
	slog.Handler
}

func (h quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && !h.stopping.Load() && h.Handler.Enabled(ctx, level)
}

func (h quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quiet{h.stopping, h.Handler.WithAttrs(attrs)}
}

func (h quiet) WithGroup(name string) slog.Handler {
	return quiet{h.stopping, h.Handler.WithGroup(name)}
}
