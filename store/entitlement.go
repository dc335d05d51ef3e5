package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/billing"
)

// Entitlements returns what a workspace may use, by name; with a feature that one
// alone.
func (s *Store) Entitlements(ctx context.Context, workspace ids.Workspace, feature string) ([]billing.Entitlement, error) {
	return s.Billing.Entitlements(ctx, workspace, feature, s.options.Clock.Now())
}

// Override is what an operator gives a workspace, or takes from it, and why.
type Override struct {
	Workspace  ids.Workspace
	Feature    string
	Value      *billing.Value // nil ends an override
	ExpireTime time.Time      // zero for never
	Reason     string
}

// OverrideEntitlement gives a workspace a feature otherwise than its plan does, and
// returns what it may use of it now, nil for nothing.
//
// Errors: fault NOT_FOUND; FIELD_INVALID for a time that is past; OPERATOR_REQUIRED.
func (s *Store) OverrideEntitlement(ctx context.Context, o Override) (given *billing.Entitlement, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		given = nil
		if _, err := t.tenant.LockWorkspace(ctx, o.Workspace); err != nil {
			return err
		}
		if err := t.mayOperate(ctx, false); err != nil {
			return err
		}
		if !o.ExpireTime.IsZero() && !t.now.Before(o.ExpireTime) {
			return fault.Invalid("expire_time", "is past")
		}
		details := map[string]any{"feature": o.Feature}
		action := "entitlement.overridden"
		if o.Value == nil {
			action = "entitlement.override_ended"
			if there, err := t.billing.DeleteOverride(ctx, o.Workspace, o.Feature); err != nil || !there {
				return err
			}
		} else {
			details["value"] = o.Value
			if !o.ExpireTime.IsZero() {
				details["expire_time"] = o.ExpireTime.Format(time.RFC3339)
			}
			if err := t.billing.PutOverride(ctx, &billing.Override{
				WorkspaceID: o.Workspace, Feature: o.Feature, Value: *o.Value, Reason: o.Reason, CreateTime: t.now, ExpireTime: o.ExpireTime,
			}); err != nil {
				return err
			}
		}
		return t.recordBy(ctx, Operation{Reason: o.Reason}, audit.Event{
			WorkspaceID: o.Workspace, Action: action, TargetID: o.Workspace.String(), Details: details,
		})
	})
	if err != nil {
		return nil, err
	}
	list, err := s.Entitlements(ctx, o.Workspace, o.Feature)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	return &list[0], nil
}
