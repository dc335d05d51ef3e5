package billing

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// Provider is who makes the invoices of a subscription and takes its payments.
type Provider string

// The providers: none but this server, or Stripe.
const (
	Manual Provider = "manual"
	Stripe Provider = "stripe"
)

// Desired is what a subscription at the provider is to be.
type Desired string

// What is desired: that it lives; that nothing is charged, and it ends with the period,
// while its workspace is deleted; that it has ended.
const (
	Live   Desired = "live"
	Ending Desired = "ending"
	Ended  Desired = "canceled"
)

// Item is a part of a subscription at the provider. Metered parts have no quantity.
type Item struct {
	ID       string `json:"-"` // the provider's, of what is there
	Price    string `json:"price"`
	Quantity int64  `json:"quantity,omitempty"`
	Metered  bool   `json:"metered,omitempty"`
}

// ProviderSubscription is what a subscription at the provider is to be, and whether it
// is so.
type ProviderSubscription struct {
	bun.BaseModel `bun:"table:billing.provider_subscriptions,alias:ps"`

	ID                string           `bun:"provider_subscription_id,pk"`
	Customer          string           `bun:"provider_customer_id"`
	WorkspaceID       ids.Workspace    `bun:",nullzero"`
	SubscriptionID    ids.Subscription `bun:",nullzero"`
	Desired           Desired
	Items             []Item `bun:"type:jsonb"`
	CancelAtPeriodEnd bool
	Reason            string `bun:",nullzero"`
	Version           int64
	SyncedVersion     int64
	Ticket            int64
	AppliedTicket     int64
	Attempts          int
	Refusals          int
	NextTryTime       time.Time
	LeaseTime         time.Time `bun:",nullzero"`
	LastError         string    `bun:",nullzero"`
	ChangeTime        time.Time
	CreateTime        time.Time
	// ChargeTime is from when on it is charged, which it is not yet.
	ChargeTime time.Time `bun:",nullzero"`
}

// Waiting reports whether the provider does not have yet what is desired.
func (p *ProviderSubscription) Waiting() bool { return p.Version > p.SyncedVersion }

// Mirror is a subscription as the provider has it.
type Mirror struct {
	ID       string
	Customer string
	Status   ProviderStatus
	Items    []Item
	// CancelAtPeriodEnd tells that it ends with its period, and Paused that nothing is
	// charged.
	CancelAtPeriodEnd bool
	Paused            bool
	// Classic tells that what was used is not charged once its item is removed.
	Classic     bool
	PeriodStart time.Time
	PeriodEnd   time.Time
	TrialEnd    time.Time
	CreateTime  time.Time
	// Bought is what it was made for; nil when this server did not make it.
	Bought *Purchase
}

// Purchase is what a subscription at the provider was made for.
type Purchase struct {
	Installation uuid.UUID
	Workspace    ids.Workspace
	Plan         string
	PlanVersion  int
	Currency     string
	Interval     string
}

// ProviderStatus is what has become of a subscription at the provider, in Stripe's words.
type ProviderStatus string

// The states at the provider.
const (
	StatusIncomplete ProviderStatus = "incomplete" // its first payment is not made
	StatusExpired    ProviderStatus = "incomplete_expired"
	StatusTrialing   ProviderStatus = "trialing"
	StatusActive     ProviderStatus = "active"
	StatusPastDue    ProviderStatus = "past_due"
	StatusUnpaid     ProviderStatus = "unpaid"
	StatusPaused     ProviderStatus = "paused"
	StatusCanceled   ProviderStatus = "canceled"
)

// Over reports whether the subscription has ended for good.
func (m *Mirror) Over() bool { return m.Status == StatusCanceled || m.Status == StatusExpired }

// Installation returns what this server is called at the provider, and what customers
// may do on the provider's pages, "" until that is made.
func (r Repository) Installation(ctx context.Context) (id uuid.UUID, portal string, err error) {
	err = r.db.NewRaw("SELECT id, coalesce(portal_configuration, '') FROM billing.installation").Scan(ctx, &id, &portal)
	return id, portal, err
}

// SetPortalConfiguration stores what customers may do on the provider's pages.
func (r Repository) SetPortalConfiguration(ctx context.Context, id string) error {
	_, err := r.db.NewRaw("UPDATE billing.installation SET portal_configuration = ?", id).Exec(ctx)
	return err
}

// Customer returns what the provider calls a workspace; "" when it knows none.
func (r Repository) Customer(ctx context.Context, workspace ids.Workspace) (id string, err error) {
	err = r.db.NewRaw("SELECT provider_customer_id FROM billing.customers WHERE workspace_id = ?", workspace).Scan(ctx, &id)
	if postgres.NotFound(err) {
		return "", nil
	}
	return id, err
}

// InsertCustomer stores what the provider calls a workspace, unless it is known, and
// reports whether it was not.
func (r Repository) InsertCustomer(ctx context.Context, workspace ids.Workspace, id string, now time.Time) (bool, error) {
	return changed(r.db.NewRaw(`
		INSERT INTO billing.customers (workspace_id, provider_customer_id, create_time) VALUES (?, ?, ?)
		ON CONFLICT (workspace_id) DO NOTHING`, workspace, id, now).Exec(ctx))
}

// InsertProviderSubscription stores one that is not known, and reports whether it was
// not.
func (r Repository) InsertProviderSubscription(ctx context.Context, p *ProviderSubscription) (bool, error) {
	return changed(r.db.NewInsert().Model(p).On("CONFLICT DO NOTHING").Exec(ctx))
}

// ProviderSubscription returns one by the provider's id; with lock it is the
// transaction's until that ends.
//
// Errors: fault NOT_FOUND.
func (r Repository) ProviderSubscription(ctx context.Context, id string, lock bool) (*ProviderSubscription, error) {
	return r.providerSubscription(ctx, lock, "ps.provider_subscription_id = ?", id)
}

// ProviderSubscriptionOf returns, locked, the one that a subscription is.
//
// Errors: fault NOT_FOUND.
func (r Repository) ProviderSubscriptionOf(ctx context.Context, id ids.Subscription) (*ProviderSubscription, error) {
	return r.providerSubscription(ctx, true, "ps.subscription_id = ?", id)
}

// BoughtTime returns since when a subscription has been charged by the provider.
//
// Errors: fault.NotFoundFault.
func (r Repository) BoughtTime(ctx context.Context, id ids.Subscription) (time.Time, error) {
	p, err := r.providerSubscription(ctx, false, "ps.subscription_id = ?", id)
	if err != nil {
		return time.Time{}, err
	}
	return p.CreateTime, nil
}

func (r Repository) providerSubscription(ctx context.Context, lock bool, where string, arg any) (*ProviderSubscription, error) {
	p := new(ProviderSubscription)
	q := r.db.NewSelect().Model(p).Where(where, arg)
	if lock {
		q = q.For("UPDATE")
	}
	return postgres.OrMissing(p, q.Scan(ctx))
}

// ProviderSubscriptions returns those of a workspace, or all of them for the zero id,
// after one of them, in the order of their ids.
func (r Repository) ProviderSubscriptions(ctx context.Context, workspace ids.Workspace, after string, limit int) ([]ProviderSubscription, error) {
	var list []ProviderSubscription
	q := r.db.NewSelect().Model(&list).Where("ps.provider_subscription_id > ?", after).OrderExpr("ps.provider_subscription_id").Limit(int64(limit))
	if !workspace.IsZero() {
		q = q.Where("ps.workspace_id = ?", workspace)
	}
	err := q.Scan(ctx)
	return list, err
}

// UpdateProviderSubscription stores what is desired, and how far that has come.
func (r Repository) UpdateProviderSubscription(ctx context.Context, p *ProviderSubscription) error {
	_, err := r.db.NewUpdate().Model(p).WherePK().Exec(ctx)
	return err
}

// DeleteProviderSubscription forgets one that has ended.
func (r Repository) DeleteProviderSubscription(ctx context.Context, id string) error {
	_, err := r.db.NewRaw("DELETE FROM billing.provider_subscriptions WHERE provider_subscription_id = ?", id).Exec(ctx)
	return err
}

// DesireOfWorkspace changes what is desired of those of a workspace of which something
// else is, and returns them.
func (r Repository) DesireOfWorkspace(ctx context.Context, workspace ids.Workspace, from, to Desired, now time.Time) (changed []string, err error) {
	err = r.db.NewRaw(`
		UPDATE billing.provider_subscriptions SET desired = ?2, reason = CASE WHEN ?2 = 'live' THEN NULL ELSE 'workspace_deleted' END,
		       version = version + 1, attempts = 0, refusals = 0, next_try_time = ?3,
		       change_time = CASE WHEN version > synced_version THEN change_time ELSE ?3 END
		WHERE workspace_id = ?0 AND desired = ?1 RETURNING provider_subscription_id`, workspace, from, to, now).Scan(ctx, &changed)
	return changed, err
}

// OrphanOfWorkspace ends those of a workspace that is purged, without naming it any
// more, and returns them.
func (r Repository) OrphanOfWorkspace(ctx context.Context, workspace ids.Workspace, now time.Time) (changed []string, err error) {
	err = r.db.NewRaw(`
		UPDATE billing.provider_subscriptions SET desired = 'canceled', reason = 'workspace_purged', workspace_id = NULL, subscription_id = NULL,
		       version = version + 1, attempts = 0, refusals = 0, next_try_time = ?1,
		       change_time = CASE WHEN version > synced_version THEN change_time ELSE ?1 END
		WHERE workspace_id = ?0 RETURNING provider_subscription_id`, workspace, now).Scan(ctx, &changed)
	return changed, err
}

// TakeTicket counts a look at the provider's side. It returns 0 for what is not known.
func (r Repository) TakeTicket(ctx context.Context, id string) (ticket int64, err error) {
	err = r.db.NewRaw("UPDATE billing.provider_subscriptions SET ticket = ticket + 1 WHERE provider_subscription_id = ? RETURNING ticket", id).Scan(ctx, &ticket)
	if postgres.NotFound(err) {
		return 0, nil
	}
	return ticket, err
}

// LeaseProviderSubscription gives one whose time has come to the caller until a time,
// with a ticket; nil when
// there is nothing to do, or somebody else works on it.
func (r Repository) LeaseProviderSubscription(ctx context.Context, id string, now, until time.Time) (*ProviderSubscription, error) {
	p := new(ProviderSubscription)
	return postgres.OrNil(p, r.db.NewRaw(`
		UPDATE billing.provider_subscriptions SET lease_time = ?2, ticket = ticket + 1
		WHERE provider_subscription_id = ?0 AND version > synced_version AND next_try_time <= ?1
		  AND (lease_time IS NULL OR lease_time <= ?1) RETURNING *`, id, now, until).Scan(ctx, p))
}

// DueProviderSubscriptions returns those whose time has come, the longest due first.
func (r Repository) DueProviderSubscriptions(ctx context.Context, now time.Time, limit int) (due []string, err error) {
	err = r.db.NewRaw(`
		SELECT provider_subscription_id FROM billing.provider_subscriptions
		WHERE version > synced_version AND next_try_time <= ?0 AND (lease_time IS NULL OR lease_time <= ?0)
		ORDER BY next_try_time LIMIT ?1`, now, limit).Scan(ctx, &due)
	return due, err
}

// WaitingForProvider returns how many subscriptions the provider does not have as desired,
// credits it does not have, and events of it were not followed, and since when the first one
// waits; the zero time when there is none.
func (r Repository) WaitingForProvider(ctx context.Context) (count int, since time.Time, err error) {
	var oldest bun.NullTime
	err = r.db.NewRaw(`
		SELECT count(*), min(since) FROM (
			SELECT change_time AS since FROM billing.provider_subscriptions WHERE version > synced_version
			UNION ALL
			SELECT create_time FROM billing.provider_credits WHERE credit_time IS NULL
			UNION ALL
			SELECT receive_time FROM billing.webhook_events WHERE process_time IS NULL
		) w`).Scan(ctx, &count, &oldest)
	return count, oldest.Time, err
}
