package billing

import (
	"context"
	"database/sql"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/store/postgres"
)

// WebhookEvent is something that the provider told, and what it is about.
type WebhookEvent struct {
	bun.BaseModel `bun:"table:billing.webhook_events,alias:we"`

	ID           string `bun:"event_id,pk"`
	Type         string
	Subscription string `bun:",nullzero"`
	Invoice      string `bun:",nullzero"`
	Attempts     int
	NextTryTime  time.Time
	ReceiveTime  time.Time
	ProcessTime  time.Time `bun:",nullzero"`
}

// InsertWebhookEvent stores an event, and reports whether it is a new one.
func (r Repository) InsertWebhookEvent(ctx context.Context, e *WebhookEvent) (bool, error) {
	return changed(r.db.NewInsert().Model(e).On("CONFLICT DO NOTHING").Exec(ctx))
}

// LeaseWebhookEvent gives an event whose time has come to the caller until a time; nil
// when it is processed, or somebody else's.
func (r Repository) LeaseWebhookEvent(ctx context.Context, id string, now, until time.Time) (*WebhookEvent, error) {
	e := new(WebhookEvent)
	return postgres.OrNil(e, r.db.NewRaw(`
		UPDATE billing.webhook_events SET next_try_time = ?2 WHERE event_id = ?0 AND process_time IS NULL AND next_try_time <= ?1
		RETURNING *`, id, now, until).Scan(ctx, e))
}

// UpdateWebhookEvent stores what has become of an event.
func (r Repository) UpdateWebhookEvent(ctx context.Context, e *WebhookEvent) error {
	_, err := r.db.NewUpdate().Model(e).WherePK().Exec(ctx)
	return err
}

// DueWebhookEvents returns events whose time has come, the longest due first.
func (r Repository) DueWebhookEvents(ctx context.Context, now time.Time, limit int) (due []string, err error) {
	err = r.db.NewRaw(`
		SELECT event_id FROM billing.webhook_events WHERE process_time IS NULL AND next_try_time <= ?
		ORDER BY next_try_time LIMIT ?`, now, limit).Scan(ctx, &due)
	return due, err
}

// DeleteWebhookEvents forgets events that came before a time.
func (r Repository) DeleteWebhookEvents(ctx context.Context, before time.Time) error {
	_, err := r.db.NewRaw("DELETE FROM billing.webhook_events WHERE receive_time < ?", before).Exec(ctx)
	return err
}

// changed reports whether a statement changed a row.
func changed(result sql.Result, err error) (bool, error) {
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}
