// Package billing tells what plans there are, and what workspaces are subscribed to.
package billing

import (
	"context"
	"math"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/billing/payments"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
)

// Module implements the services of logicspike.billing.v1.
type Module struct {
	store    *store.Store
	payments *payments.Service
	resolve  func(string) (string, error)
}

// Options are what the module needs.
type Options struct {
	Store    *store.Store
	Payments *payments.Service
	// ReturnURL returns the URL that a request asks browsers to go to in the end, or
	// fails with the fault RETURN_URL_NOT_ALLOWED.
	ReturnURL func(string) (string, error)
}

// New returns the module.
func New(o Options) *Module { return &Module{o.Store, o.Payments, o.ReturnURL} }

// ListPlans implements PlanService.
func (m *Module) ListPlans(ctx context.Context, _ *billingv1.ListPlansRequest) (*billingv1.ListPlansResponse, error) {
	plans, err := m.store.Billing.Plans(ctx)
	if err != nil {
		return nil, err
	}
	res := new(billingv1.ListPlansResponse)
	for i := range plans {
		if plans[i].Offered {
			res.Plans = append(res.Plans, plan(&plans[i]))
		}
	}
	return res, nil
}

// GetPlan implements PlanService.
func (m *Module) GetPlan(ctx context.Context, req *billingv1.GetPlanRequest) (*billingv1.GetPlanResponse, error) {
	p, err := m.store.Billing.Plan(ctx, req.Plan, int(req.Version))
	if err != nil {
		return nil, err
	}
	return &billingv1.GetPlanResponse{Plan: plan(p)}, nil
}

// GetSubscription implements SubscriptionService.
func (m *Module) GetSubscription(ctx context.Context, req *billingv1.GetSubscriptionRequest) (*billingv1.GetSubscriptionResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	s, tried, err := m.store.GetSubscription(ctx, workspace)
	if err != nil {
		return nil, err
	}
	return &billingv1.GetSubscriptionResponse{Subscription: subscription(s), TriedPlans: tried}, nil
}

// GetSeatUsage implements SeatService.
func (m *Module) GetSeatUsage(ctx context.Context, req *billingv1.GetSeatUsageRequest) (*billingv1.GetSeatUsageResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	u, err := m.store.GetSeatUsage(ctx, workspace)
	if err != nil {
		return nil, err
	}
	res := &billingv1.GetSeatUsageResponse{
		Limit: &billingv1.Limit{Value: int64(u.Limit), Unlimited: !u.Limited}, Active: int32(u.Active), Reserved: int32(u.Reserved),
		SeatCount: int32(u.SeatCount), Billed: int32(u.Billed),
	}
	if u.Limited {
		res.Free = int32(min(max(0, u.Limit-u.Active-u.Reserved), math.MaxInt32))
	}
	return res, nil
}

// UpdateSeatCount implements SeatService.
func (m *Module) UpdateSeatCount(ctx context.Context, req *billingv1.UpdateSeatCountRequest) (*billingv1.UpdateSeatCountResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	s, c, err := m.store.UpdateSeatCount(ctx, workspace, int(req.SeatCount), req.ValidateOnly)
	if err != nil {
		return nil, err
	}
	res := &billingv1.UpdateSeatCountResponse{Subscription: subscription(s), Charges: charges(c.Lines)}
	if !c.NextTime.IsZero() {
		res.NextPeriodTime = convert.Time(c.NextTime)
		res.NextPeriodTotal = &billingv1.Money{Currency: c.Currency, MinorUnits: c.NextTotal}
	}
	return res, nil
}

func workspaceID(s string) (ids.Workspace, error) {
	id, err := ids.Parse[ids.Workspace](s)
	if err != nil {
		return id, fault.Invalid("workspace_id", "is not the id of a workspace")
	}
	return id, nil
}
