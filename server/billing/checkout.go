package billing

import (
	"context"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/server/billing/payments"
	"github.com/logicspike/manager/server/convert"
)

// CreateCheckoutSession implements SubscriptionService.
func (m *Module) CreateCheckoutSession(ctx context.Context, req *billingv1.CreateCheckoutSessionRequest) (*billingv1.CreateCheckoutSessionResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	p := payments.Purchase{Workspace: workspace, Plan: req.Plan, Currency: req.Currency}
	for interval, value := range intervals {
		if value == req.Interval {
			p.Interval = interval
		}
	}
	if p.SuccessURL, err = m.returnURL("success_url", req.SuccessUrl); err != nil {
		return nil, err
	}
	if p.CancelURL, err = m.returnURL("cancel_url", req.CancelUrl); err != nil {
		return nil, err
	}
	page, err := m.payments.Checkout(ctx, p)
	if err != nil {
		return nil, err
	}
	return &billingv1.CreateCheckoutSessionResponse{Url: page.URL, ExpireTime: convert.Time(page.ExpireTime)}, nil
}

// CreatePortalSession implements SubscriptionService.
func (m *Module) CreatePortalSession(ctx context.Context, req *billingv1.CreatePortalSessionRequest) (*billingv1.CreatePortalSessionResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	back, err := m.returnURL("return_url", req.ReturnUrl)
	if err != nil {
		return nil, err
	}
	page, err := m.payments.Portal(ctx, workspace, back)
	if err != nil {
		return nil, err
	}
	return &billingv1.CreatePortalSessionResponse{Url: page.URL}, nil
}

// returnURL returns the URL that a field asks for, if browsers may go there.
//
// Errors: fault RETURN_URL_NOT_ALLOWED.
func (m *Module) returnURL(field, asked string) (string, error) {
	url, err := m.resolve(asked)
	if f := fault.As(err); f != nil {
		f = f.WithField(field)
		f.Message = field + ": is neither one of the server's setting return-urls nor a path on its public URL"
		return "", f
	}
	return url, err
}

// owner is whose word on a difference counts.
func owner(providerOwns bool) billingv1.FieldOwner {
	if providerOwns {
		return billingv1.FieldOwner_FIELD_OWNER_PROVIDER
	}
	return billingv1.FieldOwner_FIELD_OWNER_SERVER
}

// maxDifferences is how many are answered with.
const maxDifferences = 100

// ReconcileSubscription implements ReconciliationService.
func (m *Module) ReconcileSubscription(ctx context.Context, req *billingv1.ReconcileSubscriptionRequest) (*billingv1.ReconcileSubscriptionResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	list, err := m.payments.Reconcile(ctx, workspace, req.Repair)
	if err != nil {
		return nil, err
	}
	res := new(billingv1.ReconcileSubscriptionResponse)
	for _, d := range list[:min(len(list), maxDifferences)] {
		res.Differences = append(res.Differences, &billingv1.Difference{
			ProviderSubscriptionId: d.Subscription, Field: d.Field, Ours: d.Ours, Theirs: d.Theirs, Owner: owner(d.ProviderOwns), Repaired: d.Repaired,
		})
	}
	return res, nil
}
