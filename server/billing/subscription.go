package billing

import (
	"context"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/billing"
)

// choosing is what a request says that chooses a plan.
type choosing interface {
	GetWorkspaceId() string
	GetPlan() string
	GetCurrency() string
	GetInterval() billingv1.Interval
}

func choice(req choosing) (workspace ids.Workspace, c store.Choice, err error) {
	c = store.Choice{Plan: req.GetPlan(), Currency: req.GetCurrency()}
	for interval, name := range intervals {
		if name == req.GetInterval() {
			c.Interval = interval
		}
	}
	workspace, err = workspaceID(req.GetWorkspaceId())
	return workspace, c, err
}

// PreviewChangeSubscription implements SubscriptionService.
func (m *Module) PreviewChangeSubscription(ctx context.Context, req *billingv1.PreviewChangeSubscriptionRequest) (*billingv1.PreviewChangeSubscriptionResponse, error) {
	workspace, c, err := choice(req)
	if err != nil {
		return nil, err
	}
	p, err := m.store.PreviewChangeSubscription(ctx, workspace, c)
	if err != nil {
		return nil, err
	}
	res := &billingv1.PreviewChangeSubscriptionResponse{Charges: charges(p.Lines), Etag: p.ETag, NextPeriodTime: convert.Time(p.NextTime)}
	money := func(amount int64) *billingv1.Money {
		return &billingv1.Money{Currency: p.Currency, MinorUnits: amount}
	}
	if p.Currency != "" {
		res.Total, res.DueNow = money(p.Total), money(p.DueNow)
	}
	if !p.NextTime.IsZero() {
		res.NextPeriodTotal = money(p.NextTotal)
	}
	return res, nil
}

func charges(lines []billing.InvoiceLine) (all []*billingv1.Charge) {
	for _, l := range lines {
		all = append(all, &billingv1.Charge{
			Kind: chargeKinds[l.Kind], Plan: l.Plan, Quantity: l.Quantity, Amount: &billingv1.Money{Currency: l.Currency, MinorUnits: l.Amount},
			StartTime: convert.Time(l.StartTime), EndTime: convert.Time(l.EndTime), Proration: l.Proration,
		})
	}
	return all
}

// ChangeSubscription implements SubscriptionService.
func (m *Module) ChangeSubscription(ctx context.Context, req *billingv1.ChangeSubscriptionRequest) (*billingv1.ChangeSubscriptionResponse, error) {
	workspace, c, err := choice(req)
	if err != nil {
		return nil, err
	}
	s, err := m.store.ChangeSubscription(ctx, workspace, c, req.Etag)
	if err != nil {
		return nil, err
	}
	return &billingv1.ChangeSubscriptionResponse{Subscription: subscription(s)}, nil
}

// StartTrial implements SubscriptionService.
func (m *Module) StartTrial(ctx context.Context, req *billingv1.StartTrialRequest) (*billingv1.StartTrialResponse, error) {
	workspace, c, err := choice(req)
	if err != nil {
		return nil, err
	}
	s, err := m.store.StartTrial(ctx, workspace, c)
	if err != nil {
		return nil, err
	}
	return &billingv1.StartTrialResponse{Subscription: subscription(s)}, nil
}

// CancelSubscription implements SubscriptionService.
func (m *Module) CancelSubscription(ctx context.Context, req *billingv1.CancelSubscriptionRequest) (*billingv1.CancelSubscriptionResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	s, err := m.store.CancelSubscription(ctx, workspace, req.AtPeriodEnd, req.Etag)
	if err != nil {
		return nil, err
	}
	return &billingv1.CancelSubscriptionResponse{Subscription: subscription(s)}, nil
}

// ResumeSubscription implements SubscriptionService.
func (m *Module) ResumeSubscription(ctx context.Context, req *billingv1.ResumeSubscriptionRequest) (*billingv1.ResumeSubscriptionResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	s, err := m.store.ResumeSubscription(ctx, workspace)
	if err != nil {
		return nil, err
	}
	return &billingv1.ResumeSubscriptionResponse{Subscription: subscription(s)}, nil
}
