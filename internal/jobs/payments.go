package jobs

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"github.com/logicspike/manager/store"
)

// Payments keeps what is at the payment provider the same as what is here.
type Payments interface {
	// Push gives the provider what a subscription there is to be.
	Push(ctx context.Context, subscription string) error
	// Follow does what an event of the provider asks for.
	Follow(ctx context.Context, event string) error
	// WorkDue does both for all that failed before and is due again, and reports usage.
	WorkDue(ctx context.Context) error
	// ReconcileAll compares everything, and repairs what differs.
	ReconcileAll(ctx context.Context) error
}

type providerWorker struct {
	river.WorkerDefaults[store.ProviderJob]
	payments Payments
}

// Timeout leaves time to note what came of it.
func (*providerWorker) Timeout(*river.Job[store.ProviderJob]) time.Duration { return 2 * time.Minute }

func (w *providerWorker) Work(ctx context.Context, job *river.Job[store.ProviderJob]) error {
	return w.payments.Push(ctx, job.Args.Subscription)
}

type webhookWorker struct {
	river.WorkerDefaults[store.WebhookJob]
	payments Payments
}

// Timeout leaves time to note what came of it.
func (*webhookWorker) Timeout(*river.Job[store.WebhookJob]) time.Duration { return 2 * time.Minute }

func (w *webhookWorker) Work(ctx context.Context, job *river.Job[store.WebhookJob]) error {
	return w.payments.Follow(ctx, job.Args.Event)
}

// providerDueJob does again what failed at the payment provider.
type providerDueJob struct{}

func (providerDueJob) Kind() string { return "provider_due" }

type providerDueWorker struct {
	river.WorkerDefaults[providerDueJob]
	payments Payments
}

// Timeout leaves time for all that is due when the provider is slow.
func (*providerDueWorker) Timeout(*river.Job[providerDueJob]) time.Duration { return 10 * time.Minute }

func (w *providerDueWorker) Work(ctx context.Context, _ *river.Job[providerDueJob]) error {
	return w.payments.WorkDue(ctx)
}

// reconcileJob compares what is here with what is at the payment provider.
type reconcileJob struct{}

func (reconcileJob) Kind() string { return "provider_reconcile" }

type reconcileWorker struct {
	river.WorkerDefaults[reconcileJob]
	payments Payments
}

// Timeout leaves time for many subscriptions.
func (*reconcileWorker) Timeout(*river.Job[reconcileJob]) time.Duration { return 50 * time.Minute }

func (w *reconcileWorker) Work(ctx context.Context, _ *river.Job[reconcileJob]) error {
	return w.payments.ReconcileAll(ctx)
}
