package payments

import (
	"context"

	"github.com/logicspike/manager/store/billing"
)

// Follow does what an event of the provider asks for, if nobody else does so. What fails
// is tried again by WorkDue.
func (s *Service) Follow(ctx context.Context, event string) error {
	if s.Provider == nil {
		return nil
	}
	e, err := s.Store.LeaseWebhookEvent(ctx, event)
	if err != nil || e == nil {
		return err
	}
	err = s.follow(ctx, e)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteTimeout)
	defer cancel()
	if err != nil {
		s.Logger.WarnContext(ctx, "what the payment provider told cannot be followed", "event", e.ID, "type", e.Type, "attempt", e.Attempts+1, "error", err)
	}
	return s.Store.WebhookFollowed(ctx, e, err != nil)
}

func (s *Service) follow(ctx context.Context, e *billing.WebhookEvent) error {
	ctx, cancel := context.WithTimeout(ctx, workTimeout)
	defer cancel()
	if e.Invoice == "" {
		return s.look(ctx, e.Subscription)
	}
	invoice, err := s.Provider.Invoice(ctx, e.Invoice)
	if err != nil || invoice == nil {
		return err
	}
	if err := s.look(ctx, invoice.Subscription); err != nil {
		return err
	}
	return s.Store.MirrorInvoice(ctx, invoice)
}

// look asks the provider what a subscription is now, and takes over what is the
// provider's to say. What this server did not make it leaves alone.
func (s *Service) look(ctx context.Context, id string) error {
	ticket, err := s.Store.TakeProviderTicket(ctx, id)
	if err != nil {
		return err
	}
	m, err := s.Provider.Subscription(ctx, id)
	if err != nil {
		return err
	}
	if ticket == 0 {
		if ours, err := s.Store.AdoptProviderSubscription(ctx, m); err != nil || !ours {
			return err
		}
		return s.look(ctx, id) // by a ticket
	}
	return s.Store.FollowProvider(ctx, ticket, m)
}
