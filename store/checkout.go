package store

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// Checkout is what a workspace would buy at the provider.
type Checkout struct {
	billing.Purchase
	Name     string // of the plan
	Customer string // what the provider calls the workspace; "" when it does not know it
	Items    []billing.Item
	// TrialEnd is when the trial of the plan ends that the workspace is in: only then it is
	// charged. Zero for at once.
	TrialEnd time.Time
}

// PrepareCheckout returns what a workspace would buy by a plan and its price.
//
// Errors: fault NOT_FOUND; PLAN_NOT_FOR_SALE; PAYMENT_PROVIDER_IN_USE;
// SUBSCRIPTION_UNPAID while an invoice is open, ours or the provider's; CURRENCY_MISMATCH; SEATS_IN_USE;
// SEAT_LIMIT_EXCEEDED.
func (s *Store) PrepareCheckout(ctx context.Context, workspace ids.Workspace, plan, currency string, interval pricing.Interval) (c *Checkout, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		b, err := t.billing.Subscription(ctx, workspace)
		if err != nil {
			return err
		}
		if b.Provider == billing.Stripe {
			return fault.New(fault.FailedPrecondition, fault.PaymentProviderInUse, "the workspace pays by the payment provider already; change its subscription")
		}
		if err := t.usageEnds(ctx, workspace); err != nil {
			return err
		}
		if err := t.paysFirst(ctx, b); err != nil {
			return err
		}
		p, err := t.billing.Plan(ctx, plan, 0)
		if ignoreMissing(err) != nil {
			return err
		}
		var price *pricing.Price
		if err == nil && p.Offered {
			price = p.Price(currency, interval)
		}
		if price == nil || price.Stripe == nil {
			return fault.New(fault.FailedPrecondition, fault.PlanNotForSale, "the plan is not sold in that currency and interval").WithField("plan")
		}
		if b.Charged() && currency != b.Currency {
			return errCurrency(b)
		}
		if err := t.seatsFit(ctx, b, p, b.SeatCount); err != nil {
			return err
		}
		c = &Checkout{
			Purchase: billing.Purchase{Workspace: workspace, Plan: p.Name, PlanVersion: p.Version, Currency: currency, Interval: string(interval)},
			Name:     p.Definition.DisplayName,
			Items:    Items(price, b.BilledSeats()),
			TrialEnd: trialEnd(b, p.Name),
		}
		if c.Installation, _, err = t.billing.Installation(ctx); err != nil {
			return err
		}
		c.Customer, err = t.billing.Customer(ctx, workspace)
		return err
	})
	return c, err
}

// usageEnds reports whether all has ended at the provider by which it charges a workspace
// for usage: it would charge the same usage by two subscriptions that live at once.
//
// Errors: fault PAYMENT_PROVIDER_IN_USE.
func (t *tx) usageEnds(ctx context.Context, workspace ids.Workspace) error {
	list, err := t.billing.ProviderSubscriptions(ctx, workspace, "", 100)
	for _, p := range list {
		if p.Desired == billing.Ended && slices.ContainsFunc(p.Items, func(i billing.Item) bool { return i.Metered }) {
			return fault.New(fault.FailedPrecondition, fault.PaymentProviderInUse, "what the workspace had at the payment provider has not ended yet; try again later")
		}
	}
	return err
}

// Customer returns what this server is called at the provider, and what the workspace is;
// "" when the provider does not know it.
func (s *Store) Customer(ctx context.Context, workspace ids.Workspace) (installation uuid.UUID, customer string, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.tenant.Workspace(ctx, workspace); err != nil {
			return err
		}
		if installation, _, err = t.billing.Installation(ctx); err != nil {
			return err
		}
		customer, err = t.billing.Customer(ctx, workspace)
		return err
	})
	return installation, customer, err
}

// PutCustomer keeps what the provider calls a workspace, and returns what it was called
// first. With a portal that is kept as what customers may do on the provider's pages; it
// is of no workspace, and so in no log.
//
// Errors: fault NOT_FOUND.
func (s *Store) PutCustomer(ctx context.Context, workspace ids.Workspace, customer, portal string) (first string, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		first = customer
		w, err := t.tenant.LockWorkspace(ctx, workspace)
		if err == nil && w.Deleted() {
			err = fault.NotFoundFault()
		}
		if err != nil {
			return err
		}
		if portal != "" {
			if err := t.billing.SetPortalConfiguration(ctx, portal); err != nil {
				return err
			}
		}
		fresh, err := t.billing.InsertCustomer(ctx, workspace, customer, t.now)
		if err != nil {
			return err
		}
		if fresh {
			return t.record(ctx, audit.Event{WorkspaceID: workspace, Action: "billing.customer_created", TargetID: workspace.String()})
		}
		first, err = t.billing.Customer(ctx, workspace)
		return err
	})
	return first, err
}

// PortalConfiguration returns what customers may do on the provider's pages; "" until
// that is kept.
func (s *Store) PortalConfiguration(ctx context.Context) (string, error) {
	_, id, err := s.Billing.Installation(ctx)
	return id, s.constraints.Fault(err)
}
