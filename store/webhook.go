package store

import (
	"context"
	"fmt"
	"time"

	"github.com/riverqueue/river"

	"github.com/logicspike/manager/store/billing"
)

// webhookRetention is how long what the provider told is kept: longer than it repeats
// itself.
const webhookRetention = 30 * 24 * time.Hour

// WebhookJob follows what the provider told.
type WebhookJob struct {
	Event string `json:"event"`
}

// Kind names the job in the queue.
func (WebhookJob) Kind() string { return "provider_webhook" }

// InsertOpts leaves what fails to the row, which says when it is tried again.
func (WebhookJob) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: ProviderQueue, MaxAttempts: 3}
}

// ReceiveWebhook keeps what the provider told, and queues the job that follows it. Told
// again it changes nothing.
func (s *Store) ReceiveWebhook(ctx context.Context, e billing.WebhookEvent) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		e.ReceiveTime, e.NextTryTime, e.ProcessTime = t.now, t.now, time.Time{}
		nothing := e.Subscription == "" && e.Invoice == ""
		if nothing {
			e.ProcessTime = t.now
		}
		fresh, err := t.billing.InsertWebhookEvent(ctx, &e)
		if err != nil || !fresh || nothing {
			return err
		}
		if _, err := t.store.jobs.InsertTx(ctx, t.sql.Tx, WebhookJob{Event: e.ID}, nil); err != nil {
			return fmt.Errorf("queue what the provider told: %w", err)
		}
		return nil
	})
}

// DueWebhookEvents returns events that are to be followed now: 100 at most.
func (s *Store) DueWebhookEvents(ctx context.Context) ([]string, error) {
	due, err := s.Billing.DueWebhookEvents(ctx, s.options.Clock.Now(), 100)
	return due, s.constraints.Fault(err)
}

// LeaseWebhookEvent gives an event to the caller alone, for as long as the work may take;
// nil when there is nothing to do.
func (s *Store) LeaseWebhookEvent(ctx context.Context, id string) (e *billing.WebhookEvent, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		e, err = t.billing.LeaseWebhookEvent(ctx, id, t.now, t.now.Add(providerLease))
		return err
	})
	return e, err
}

// WebhookFollowed notes that an event was followed, or that it failed and is tried again.
func (s *Store) WebhookFollowed(ctx context.Context, e *billing.WebhookEvent, failed bool) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		after := *e
		if after.ProcessTime = t.now; failed {
			after.Attempts++
			after.ProcessTime, after.NextTryTime = time.Time{}, t.now.Add(backoff(after.Attempts))
		}
		return t.billing.UpdateWebhookEvent(ctx, &after)
	})
}
