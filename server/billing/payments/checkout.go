package payments

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/billing/provider"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// soonestCharge is how far away a first charge must be that is not at once: the provider
// asks for 48 hours, from when it gets to know of it.
const soonestCharge = 48*time.Hour + 10*time.Minute

// Purchase is what a workspace is to buy, and where the browser goes then.
type Purchase struct {
	Workspace             ids.Workspace
	Plan, Currency        string
	Interval              pricing.Interval
	SuccessURL, CancelURL string
}

// Checkout makes a page of the provider by which a workspace buys a plan.
//
// Errors: fault PAYMENT_PROVIDER_MISSING; PAYMENT_PROVIDER_UNAVAILABLE;
// PLAN_NOT_FOR_SALE; PAYMENT_PROVIDER_IN_USE; NOT_FOUND.
func (s *Service) Checkout(ctx context.Context, p Purchase) (*provider.Page, error) {
	if err := s.available(); err != nil {
		return nil, err
	}
	c, err := s.Store.PrepareCheckout(ctx, p.Workspace, p.Plan, p.Currency, p.Interval)
	if fault.Has(err, fault.SubscriptionUnpaid) {
		if err := s.lookAtInvoices(ctx, p.Workspace); err != nil {
			return nil, err
		}
		c, err = s.Store.PrepareCheckout(ctx, p.Workspace, p.Plan, p.Currency, p.Interval)
	}
	if err != nil {
		return nil, err
	}
	if c.Customer == "" {
		if c.Customer, err = s.customer(ctx, c.Installation, p.Workspace); err != nil {
			return nil, err
		}
		if c.Customer, err = s.Store.PutCustomer(ctx, p.Workspace, c.Customer, ""); err != nil {
			return nil, err
		}
	}
	o := provider.Checkout{Purchase: c.Purchase, Name: c.Name, Customer: c.Customer, Items: c.Items, SuccessURL: p.SuccessURL, CancelURL: p.CancelURL}
	if c.TrialEnd.Sub(s.Clock.Now()) > soonestCharge {
		o.ChargeTime = c.TrialEnd
	}
	page, err := s.Provider.CreateCheckout(ctx, o)
	if err != nil {
		return nil, unavailable(err)
	}
	return page, nil
}

// lookAtInvoices asks the provider what has become of its invoices of a workspace that were
// open when it was asked last.
func (s *Service) lookAtInvoices(ctx context.Context, workspace ids.Workspace) error {
	open, err := s.Store.Billing.Invoices(ctx, billing.InvoiceFilter{Workspace: workspace, State: billing.Open}, 100)
	if err != nil {
		return s.Store.Fault(err)
	}
	for _, known := range open {
		if known.Provider == billing.Manual {
			continue
		}
		i, err := s.Provider.Invoice(ctx, known.ProviderInvoiceID)
		if err != nil {
			return unavailable(err)
		}
		if i == nil {
			continue
		}
		if err := s.Store.MirrorInvoice(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

// Portal makes a page of the provider where a workspace's means of payment are changed.
//
// Errors: as Checkout's.
func (s *Service) Portal(ctx context.Context, workspace ids.Workspace, returnURL string) (*provider.Page, error) {
	if err := s.available(); err != nil {
		return nil, err
	}
	installation, customer, err := s.Store.Customer(ctx, workspace)
	if err != nil {
		return nil, err
	}
	configuration, err := s.Store.PortalConfiguration(ctx)
	if err != nil {
		return nil, err
	}
	if customer == "" || configuration == "" {
		fresh := ""
		if customer == "" {
			if customer, err = s.customer(ctx, installation, workspace); err != nil {
				return nil, err
			}
		}
		if configuration == "" {
			if fresh, err = s.once("portal:"+installation.String(), func(key string) (string, error) {
				return s.Provider.CreatePortalConfiguration(ctx, key)
			}); err != nil {
				return nil, err
			}
			configuration = fresh
		}
		if customer, err = s.Store.PutCustomer(ctx, workspace, customer, fresh); err != nil {
			return nil, err
		}
	}
	page, err := s.Provider.CreatePortal(ctx, customer, configuration, returnURL)
	if err != nil {
		return nil, unavailable(err)
	}
	return page, nil
}

// customer makes a workspace known to the provider, and returns what that calls it: the
// same, however many ask at the same time.
func (s *Service) customer(ctx context.Context, installation uuid.UUID, workspace ids.Workspace) (string, error) {
	return s.once("customer:"+installation.String()+":"+workspace.String(), func(key string) (string, error) {
		return s.Provider.CreateCustomer(ctx, installation, workspace, key)
	})
}

// once makes something by a key, so that it is made once however often it is asked for. What
// the provider answers it repeats for that key, failures too, for a day and longer: after
// one it is tried by a key of the present moment, which is another one whenever callers may
// try again. Thereby there may be a second one, which is used by nobody.
func (s *Service) once(key string, make func(key string) (string, error)) (string, error) {
	id, err := make(key)
	if provider.Answered(err) {
		id, err = make(fmt.Sprintf("%s:%d", key, s.Clock.Now().Unix()/int64(retryAfter/time.Second)))
	}
	if err != nil {
		return "", unavailable(err)
	}
	return id, nil
}
