package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// What a subscription at the payment provider is to be is decided by transactions, which
// write it down as the row of billing.provider_subscriptions and a job, and nothing
// else; the job then makes it so. A row that the provider does not have is never given
// up.

// ProviderJob makes a subscription at the provider what it is to be.
type ProviderJob struct {
	Subscription string `json:"subscription"` // the provider's id
}

// Kind names the job in the queue.
func (ProviderJob) Kind() string { return "provider_push" }

// InsertOpts leaves what fails to the row, which says when it is tried again.
func (ProviderJob) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: ProviderQueue, MaxAttempts: 3}
}

// ProviderQueue is the queue of all jobs that ask the provider: while that does not answer
// they keep each other waiting, and nothing else.
const ProviderQueue = "provider"

const (
	// providerLease is how long who works on a row has it alone: longer than the work may
	// take.
	providerLease = 2 * time.Minute
	// providerBackoff is after what time a failure is tried again: each time twice as long.
	providerBackoff, providerMaxBackoff = 5 * time.Second, time.Hour
)

// backoff returns how long to wait after so many failures in a row.
func backoff(failures int) time.Duration {
	if failures > 10 {
		return providerMaxBackoff
	}
	return min(providerBackoff<<(failures-1), providerMaxBackoff)
}

// providerChanged writes down what a subscription at the provider is to be, after
// anything about its plan, price, seats, state or cancellation changed. It does nothing
// for one that this server charges, and for one of which the provider has it already.
func (t *tx) providerChanged(ctx context.Context, s *billing.Subscription) error {
	if s.Provider != billing.Stripe {
		return nil
	}
	p, err := t.billing.ProviderSubscriptionOf(ctx, s.ID)
	if fault.Has(err, fault.Missing) {
		return nil // it has ended there
	}
	if err != nil {
		return err
	}
	want := *p
	want.CancelAtPeriodEnd = s.CancelAtPeriodEnd
	plan, err := t.billing.Plan(ctx, s.Plan, s.PlanVersion)
	if err != nil {
		return err
	}
	price := priceOf(s, plan)
	switch {
	case s.State == billing.Canceled && s.CancelReason == billing.WorkspaceDeleted:
		want.Desired, want.Reason = billing.Ending, billing.WorkspaceDeleted
	case s.State == billing.Canceled, s.State == billing.Paused && s.PauseReason == billing.PausedCanceled, price == nil:
		want.Desired, want.Reason, want.SubscriptionID = billing.Ended, billing.ByCancellation, ids.Subscription{}
		if s.State.Lives() { // what is charged from now on, if anything, is charged by us
			s.Provider = billing.Manual
			if s.State == billing.PastDue {
				s.DunningTime = t.now // by our own invoices, if any
			}
			if err := t.billing.Update(ctx, s, t.now); err != nil {
				return err
			}
		}
	case s.State == billing.Paused && s.Owed(): // it costs nothing meanwhile
		want.Desired, want.Reason = billing.Ending, billing.PausedUnpaid
	case price.Stripe == nil:
		return errNotForSale()
	default:
		want.Desired, want.Reason, want.Items = billing.Live, "", Items(price, s.BilledSeats())
	}
	if want.Desired == p.Desired && want.CancelAtPeriodEnd == p.CancelAtPeriodEnd && slices.Equal(want.Items, p.Items) {
		return nil
	}
	return t.desire(ctx, &want)
}

// desire stores what is desired as a new version, and queues the job that makes it so.
func (t *tx) desire(ctx context.Context, p *billing.ProviderSubscription) error {
	if !p.Waiting() {
		p.ChangeTime = t.now
	}
	p.Version++
	p.Attempts, p.Refusals, p.NextTryTime = 0, 0, t.now
	if err := t.billing.UpdateProviderSubscription(ctx, p); err != nil {
		return err
	}
	return t.queueProvider(ctx, p.ID)
}

// end desires that one ends that no workspace has.
func (t *tx) end(ctx context.Context, p *billing.ProviderSubscription, reason string) error {
	if p.Desired == billing.Ended && p.WorkspaceID.IsZero() {
		return nil
	}
	p.Desired, p.Reason, p.WorkspaceID, p.SubscriptionID = billing.Ended, reason, ids.Workspace{}, ids.Subscription{}
	return t.desire(ctx, p)
}

func (t *tx) queueProvider(ctx context.Context, list ...string) error {
	for _, id := range list {
		if _, err := t.store.jobs.InsertTx(ctx, t.sql.Tx, ProviderJob{Subscription: id}, nil); err != nil {
			return fmt.Errorf("queue what the provider is to do: %w", err)
		}
	}
	return nil
}

// Items returns what a price consists of at the provider for so many seats: of seats
// those beyond the ones that are included. The price must be sold there.
func Items(price *pricing.Price, seats int) []billing.Item {
	items := []billing.Item{}
	if id := price.Stripe.Flat; id != "" {
		items = append(items, billing.Item{Price: id, Quantity: 1})
	}
	if id := price.Stripe.Seat; id != "" {
		items = append(items, billing.Item{Price: id, Quantity: price.PaidSeats(seats)})
	}
	for _, u := range price.Usage {
		if id := price.Stripe.Usage[u.Meter]; id != "" {
			items = append(items, billing.Item{Price: id, Metered: true})
		}
	}
	return items
}

// providerWorkspaceDeleted has nothing more charged to a workspace that is deleted: what
// it has at the provider is paused, and ends with its period.
func (t *tx) providerWorkspaceDeleted(ctx context.Context, workspace ids.Workspace) error {
	list, err := t.billing.DesireOfWorkspace(ctx, workspace, billing.Live, billing.Ending, t.now)
	if err != nil {
		return err
	}
	return t.queueProvider(ctx, list...)
}

// providerWorkspaceUndeleted lets go on what a workspace that is undeleted has at the
// provider.
func (t *tx) providerWorkspaceUndeleted(ctx context.Context, workspace ids.Workspace) error {
	list, err := t.billing.DesireOfWorkspace(ctx, workspace, billing.Ending, billing.Live, t.now)
	if err != nil {
		return err
	}
	return t.queueProvider(ctx, list...)
}

// providerWorkspacePurged ends at once what a workspace that is purged has at the
// provider. What is left of it until the provider has confirmed that does not name the
// workspace.
func (t *tx) providerWorkspacePurged(ctx context.Context, workspace ids.Workspace) error {
	list, err := t.billing.OrphanOfWorkspace(ctx, workspace, t.now)
	if err != nil {
		return err
	}
	return t.queueProvider(ctx, list...)
}

// DueProviderSubscriptions returns what the provider does not have as desired, and is
// to be tried now: 100 at most.
func (s *Store) DueProviderSubscriptions(ctx context.Context) ([]string, error) {
	due, err := s.Billing.DueProviderSubscriptions(ctx, s.options.Clock.Now(), 100)
	return due, s.constraints.Fault(err)
}

// LeaseProviderSubscription gives one to the caller alone, for as long as the work may
// take, if the provider does not have it as desired and it is time to try; else it
// returns nil.
func (s *Store) LeaseProviderSubscription(ctx context.Context, id string) (p *billing.ProviderSubscription, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		p, err = t.billing.LeaseProviderSubscription(ctx, id, t.now, t.now.Add(providerLease))
		return err
	})
	return p, err
}

// ProviderSynced notes that the provider has what was desired in the leased version. What
// has ended there is forgotten.
func (s *Store) ProviderSynced(ctx context.Context, leased *billing.ProviderSubscription) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		p, err := t.billing.ProviderSubscription(ctx, leased.ID, true)
		if err != nil {
			return ignoreMissing(err)
		}
		if p.Version == leased.Version && p.Desired == billing.Ended {
			return t.billing.DeleteProviderSubscription(ctx, p.ID)
		}
		p.SyncedVersion = max(p.SyncedVersion, leased.Version)
		p.LeaseTime, p.LastError = time.Time{}, ""
		p.Attempts, p.Refusals, p.NextTryTime = 0, 0, t.now
		if err := t.billing.UpdateProviderSubscription(ctx, p); err != nil || !p.Waiting() {
			return err
		}
		return t.queueProvider(ctx, p.ID) // something else is desired since
	})
}

// ProviderFailed notes that the provider could not be given what is desired in the leased
// version, and why; refused when that was an answer which it repeats.
func (s *Store) ProviderFailed(ctx context.Context, leased *billing.ProviderSubscription, refused bool, why string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		p, err := t.billing.ProviderSubscription(ctx, leased.ID, true)
		if err != nil {
			return ignoreMissing(err)
		}
		p.LeaseTime, p.LastError = time.Time{}, why
		p.Attempts++
		if refused {
			p.Refusals++
		}
		p.NextTryTime = t.now.Add(backoff(p.Attempts))
		return t.billing.UpdateProviderSubscription(ctx, p)
	})
}

func ignoreMissing(err error) error {
	if fault.Has(err, fault.Missing) {
		return nil
	}
	return err
}
