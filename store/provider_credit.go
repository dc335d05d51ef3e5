package store

import (
	"context"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// carryCredit has the provider credit the customer of a locked subscription, that it
// charges, with what is credited on an invoice of our own that is never to come: once all
// of our invoices are paid, and never more than was paid by them. Like what the provider is
// to be given otherwise it is only written down here.
func (t *tx) carryCredit(ctx context.Context, s *billing.Subscription) error {
	if s.Provider != billing.Stripe || !s.Priced() {
		return nil
	}
	if owes, err := t.billing.Owes(ctx, s.WorkspaceID); owes || err != nil {
		return err
	}
	pending, err := t.billing.PendingLines(ctx, s.WorkspaceID, s.Currency)
	if err != nil {
		return err
	}
	amount := -t.draftInvoice(s, s.Currency, s.Period(t.now), nil, pending).Total
	if amount <= 0 {
		return nil
	}
	if tax := t.store.options.Invoices.Tax; tax != nil { // which was paid with it
		lines := make([]pricing.Line, len(pending))
		for i, p := range pending {
			lines[i] = pricing.Line{Kind: p.Kind, Meter: p.Meter, Quantity: p.Quantity, Amount: -p.Amount, Period: pricing.Period{Start: p.StartTime, End: p.EndTime}, Proration: p.Proration}
		}
		for _, due := range tax.Due(lines) {
			amount += due.Amount
		}
	}
	paid, err := t.billing.Creditable(ctx, s.WorkspaceID, s.Currency)
	if err != nil {
		return err
	}
	if amount = min(amount, paid); amount <= 0 {
		return nil
	}
	p, err := t.billing.ProviderSubscriptionOf(ctx, s.ID)
	if err != nil {
		return ignoreMissing(err) // it has ended there
	}
	if err := t.billing.DeletePendingLines(ctx, pending); err != nil {
		return err
	}
	c := &billing.ProviderCredit{
		ID: uuid.Must(uuid.NewV7()), WorkspaceID: s.WorkspaceID, Customer: p.Customer, Currency: s.Currency, Amount: amount,
		NextTryTime: t.now, CreateTime: t.now,
	}
	if err := t.billing.InsertProviderCredit(ctx, c); err != nil {
		return err
	}
	return t.recordSubscription(ctx, s, "subscription.credited", audit.System, map[string]any{"amount": amount, "currency": s.Currency})
}

// DueProviderCredits returns what the provider is still to credit customers with, and is to
// be tried now: 100 at most.
func (s *Store) DueProviderCredits(ctx context.Context) ([]string, error) {
	due, err := s.Billing.DueProviderCredits(ctx, s.options.Clock.Now(), 100)
	return due, s.constraints.Fault(err)
}

// LeaseProviderCredit gives one to the caller alone, for as long as the work may take, if
// the provider does not have it and it is time to try; else it returns nil.
func (s *Store) LeaseProviderCredit(ctx context.Context, id string) (c *billing.ProviderCredit, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		c, err = t.billing.LeaseProviderCredit(ctx, id, t.now, t.now.Add(providerLease))
		return err
	})
	return c, err
}

// ProviderCredited notes that the provider has a leased credit.
func (s *Store) ProviderCredited(ctx context.Context, leased *billing.ProviderCredit) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		c := *leased
		c.CreditTime, c.LastError = t.now, ""
		return t.billing.UpdateProviderCredit(ctx, &c)
	})
}

// ProviderCreditFailed notes that the provider could not be given a leased credit, and why;
// refused when that was an answer which it repeats.
func (s *Store) ProviderCreditFailed(ctx context.Context, leased *billing.ProviderCredit, refused bool, why string) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		c := *leased
		c.LastError = why
		c.Attempts++
		if refused {
			c.Refusals++
		}
		c.NextTryTime = t.now.Add(backoff(c.Attempts))
		return t.billing.UpdateProviderCredit(ctx, &c)
	})
}

// chargedLater reports whether a subscription may have another plan that costs something
// although the provider does not charge it yet: that would be for nothing until then.
//
// Errors: fault SUBSCRIPTION_STATE.
func (t *tx) chargedLater(ctx context.Context, s *billing.Subscription, plan *billing.Plan) error {
	if s.Provider != billing.Stripe || plan.Name == s.Plan || plan.Free() {
		return nil
	}
	later, err := t.billing.ChargedLater(ctx, s.ID, t.now)
	if err == nil && later {
		err = fault.New(fault.FailedPrecondition, fault.SubscriptionState,
			"the trial comes first: choose another plan then, or cancel this one and buy the other").WithMetadata("state", string(s.State))
	}
	return err
}
