package billing

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// ProviderCredit is what the provider is to credit a customer with, once.
type ProviderCredit struct {
	bun.BaseModel `bun:"table:billing.provider_credits,alias:pc"`

	ID          uuid.UUID `bun:"id,pk"`
	WorkspaceID ids.Workspace
	Customer    string `bun:"provider_customer_id"`
	Currency    string
	Amount      int64
	Attempts    int
	Refusals    int
	NextTryTime time.Time
	LastError   string `bun:",nullzero"`
	CreateTime  time.Time
	CreditTime  time.Time `bun:",nullzero"`
}

// InsertProviderCredit stores what is to be credited.
func (r Repository) InsertProviderCredit(ctx context.Context, c *ProviderCredit) error {
	_, err := r.db.NewInsert().Model(c).Exec(ctx)
	return err
}

// DueProviderCredits returns those whose time has come, the longest due first.
func (r Repository) DueProviderCredits(ctx context.Context, now time.Time, limit int) (due []string, err error) {
	err = r.db.NewRaw(`
		SELECT id::text FROM billing.provider_credits WHERE credit_time IS NULL AND next_try_time <= ? ORDER BY next_try_time LIMIT ?`,
		now, limit).Scan(ctx, &due)
	return due, err
}

// LeaseProviderCredit gives one whose time has come to the caller until a time; nil when
// there is nothing to do, or somebody else works on it.
func (r Repository) LeaseProviderCredit(ctx context.Context, id string, now, until time.Time) (*ProviderCredit, error) {
	c := new(ProviderCredit)
	err := r.db.NewRaw(`
		UPDATE billing.provider_credits SET next_try_time = ?2
		WHERE id = ?0::uuid AND credit_time IS NULL AND next_try_time <= ?1 RETURNING *`, id, now, until).Scan(ctx, c)
	if postgres.NotFound(err) {
		return nil, nil
	}
	return c, err
}

// UpdateProviderCredit stores what came of a try.
func (r Repository) UpdateProviderCredit(ctx context.Context, c *ProviderCredit) error {
	_, err := r.db.NewUpdate().Model(c).Column("attempts", "refusals", "next_try_time", "last_error", "credit_time").WherePK().Exec(ctx)
	return err
}

// Creditable returns how much of what a workspace has paid to this server in a currency was
// not given to the provider as credit.
func (r Repository) Creditable(ctx context.Context, workspace ids.Workspace, currency string) (amount int64, err error) {
	err = r.db.NewRaw(`
		SELECT coalesce((SELECT sum(total) FROM billing.invoices WHERE workspace_id = ?0 AND currency = ?1 AND provider = 'manual' AND state = 'paid'), 0)
		     - coalesce((SELECT sum(amount) FROM billing.provider_credits WHERE workspace_id = ?0 AND currency = ?1), 0)`,
		workspace, currency).Scan(ctx, &amount)
	return amount, err
}

// Owes reports whether invoices of our own of a workspace are open, overdue or not.
func (r Repository) Owes(ctx context.Context, workspace ids.Workspace) (owes bool, err error) {
	err = r.db.NewRaw(`SELECT EXISTS (SELECT 1 FROM billing.invoices WHERE workspace_id = ? AND state = 'open' AND provider = 'manual')`,
		workspace).Scan(ctx, &owes)
	return owes, err
}

// Voided reports whether invoices of our own of a subscription that are for a time after
// another one are void.
func (r Repository) Voided(ctx context.Context, id ids.Subscription, after time.Time) (void bool, err error) {
	err = r.db.NewRaw(`
		SELECT EXISTS (SELECT 1 FROM billing.invoices WHERE subscription_id = ? AND provider = 'manual' AND period_end_time > ? AND state = 'void')`,
		id, after).Scan(ctx, &void)
	return void, err
}

// ChargedLater reports whether the provider charges a subscription only after a time.
func (r Repository) ChargedLater(ctx context.Context, id ids.Subscription, now time.Time) (later bool, err error) {
	err = r.db.NewRaw("SELECT EXISTS (SELECT 1 FROM billing.provider_subscriptions WHERE subscription_id = ? AND charge_time > ?)", id, now).Scan(ctx, &later)
	return later, err
}
