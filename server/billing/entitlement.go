package billing

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"time"

	"google.golang.org/protobuf/proto"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/billing"
)

// CheckEntitlement implements EntitlementService.
func (m *Module) CheckEntitlement(ctx context.Context, req *billingv1.CheckEntitlementRequest) (*billingv1.CheckEntitlementResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	list, err := m.store.Entitlements(ctx, workspace, req.Feature)
	if err != nil {
		return nil, err
	}
	given := notGranted(req.Feature)
	if len(list) > 0 {
		given = entitlement(&list[0])
	}
	res := &billingv1.CheckEntitlementResponse{Entitlement: given, Etag: etag(given)}
	if res.Etag == req.Etag {
		res.Entitlement = nil
	}
	return res, nil
}

// ListEntitlements implements EntitlementService.
func (m *Module) ListEntitlements(ctx context.Context, req *billingv1.ListEntitlementsRequest) (*billingv1.ListEntitlementsResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	list, err := m.store.Entitlements(ctx, workspace, "")
	if err != nil {
		return nil, err
	}
	res := new(billingv1.ListEntitlementsResponse)
	for i := range list {
		res.Entitlements = append(res.Entitlements, entitlement(&list[i]))
	}
	if res.Etag = etag(res.Entitlements...); res.Etag == req.Etag {
		res.Entitlements = nil
	}
	return res, nil
}

// OverrideEntitlement implements EntitlementService.
func (m *Module) OverrideEntitlement(ctx context.Context, req *billingv1.OverrideEntitlementRequest) (*billingv1.OverrideEntitlementResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	o := store.Override{Workspace: workspace, Feature: req.Feature, Reason: req.Reason}
	if req.ExpireTime != nil {
		o.ExpireTime = req.ExpireTime.AsTime().Truncate(time.Microsecond)
	}
	switch v := req.Value.(type) {
	case *billingv1.OverrideEntitlementRequest_Enabled:
		o.Value = &billing.Value{Enabled: &v.Enabled}
	case *billingv1.OverrideEntitlementRequest_Limit:
		o.Value = &billing.Value{Limit: &billing.Limit{Value: v.Limit.GetValue(), Unlimited: v.Limit.GetUnlimited()}}
	}
	given, err := m.store.OverrideEntitlement(ctx, o)
	if err != nil {
		return nil, err
	}
	if given == nil {
		return &billingv1.OverrideEntitlementResponse{Entitlement: notGranted(req.Feature)}, nil
	}
	return &billingv1.OverrideEntitlementResponse{Entitlement: entitlement(given)}, nil
}

func notGranted(name string) *billingv1.Entitlement {
	return &billingv1.Entitlement{Feature: &billingv1.Feature{Feature: name, Value: &billingv1.Feature_Enabled{}}}
}

func entitlement(e *billing.Entitlement) *billingv1.Entitlement {
	return &billingv1.Entitlement{
		Feature: feature(e.Feature), Granted: e.Granted(), Overridden: e.Overridden, OverrideExpireTime: convert.Time(e.ExpireTime),
		Used: e.Used,
	}
}

// etag changes with what is given.
func etag(list ...*billingv1.Entitlement) string {
	data, _ := proto.MarshalOptions{Deterministic: true}.Marshal(&billingv1.ListEntitlementsResponse{Entitlements: list})
	sum := sha256.Sum256(data)
	return base64.RawURLEncoding.EncodeToString(sum[:12])
}
