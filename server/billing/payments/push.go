package payments

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/billing/provider"
	"github.com/logicspike/manager/store/billing"
)

const (
	// workTimeout is how long the work on one subscription may take: less than it is leased.
	workTimeout = time.Minute
	// noteTimeout is how long it may take to note what came of it.
	noteTimeout = 10 * time.Second
)

// Push makes a subscription at the provider what it is to be, if it is time for that and
// nobody else does so. What fails is tried again by WorkDue.
func (s *Service) Push(ctx context.Context, id string) error {
	if s.Provider == nil {
		return nil
	}
	leased, err := s.Store.LeaseProviderSubscription(ctx, id)
	if err != nil || leased == nil {
		return err
	}
	err = s.push(ctx, leased)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	if err != nil {
		s.Logger.WarnContext(ctx, "the payment provider does not have what it should", "subscription", id, "attempt", leased.Attempts+1, "error", err)
		return s.Store.ProviderFailed(ctx, leased, provider.Repeated(err), err.Error())
	}
	return s.Store.ProviderSynced(ctx, leased)
}

// push asks what is there, and changes what differs. Died before the change or after
// it, it is done again: either way there is one change. What was used is reported before a
// change by which it is charged for the last time; that waits while nobody knows whether a
// report arrived. What has ended at the provider ends here.
func (s *Service) push(ctx context.Context, p *billing.ProviderSubscription) error {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	m, err := s.Provider.Subscription(ctx, p.ID)
	if err != nil {
		return err
	}
	if m.Over() {
		return s.Store.FollowProvider(ctx, p.Ticket, m)
	}
	change := p.Change(m)
	if change == nil {
		return nil
	}
	if change.LastUsage() {
		if _, err := s.reportUsage(ctx, p.WorkspaceID); err != nil {
			return err
		}
	}
	if m, err = s.Provider.Change(ctx, p.ID, change, idempotencyKey(p, change)); err != nil {
		return err
	}
	if p.Change(m) != nil {
		return errors.New("it is not as it should be after the change, either")
	}
	return nil
}

// idempotencyKey is the same for the same change of a version, but a new one after an
// answer that it failed which the provider repeats.
func idempotencyKey(p *billing.ProviderSubscription, c *billing.Change) string {
	data, _ := json.Marshal(c)
	sum := sha256.Sum256(data)
	return fmt.Sprintf("%s:%d:%d:%s", p.ID, p.Version, p.Refusals, hex.EncodeToString(sum[:8]))
}

// WorkDue works on all that is due: what the provider does not have, what it told, and usage
// to report.
func (s *Service) WorkDue(ctx context.Context) error {
	if s.Provider == nil {
		return nil
	}
	var failures []error
	for _, kind := range []struct {
		due  func(context.Context) ([]string, error)
		work func(context.Context, string) error
	}{
		{s.Store.DueWebhookEvents, s.Follow},
		{s.Store.DueProviderSubscriptions, s.Push},
		{s.Store.DueProviderCredits, s.Credit},
	} {
		due, err := kind.due(ctx)
		failures = append(failures, err)
		for _, id := range due {
			failures = append(failures, kind.work(ctx, id))
		}
	}
	refused, unknown := s.reportUsage(ctx, ids.Workspace{})
	return errors.Join(append(failures, refused, unknown)...)
}
