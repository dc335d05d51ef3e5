package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/billing"
)

// changeSubscription runs fn on the subscription of a live workspace whose team is
// locked, and returns what the workspace is subscribed to then.
func (s *Store) changeSubscription(ctx context.Context, workspace ids.Workspace, fn func(context.Context, *tx, *billing.Subscription, *billing.Plan) error) (changed *Subscription, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		changed = nil
		if _, err := t.lockTeam(ctx, workspace); err != nil {
			return err
		}
		b, plan, err := t.lockSubscription(ctx, workspace)
		if err != nil {
			return err
		}
		if err := fn(ctx, t, b, plan); err != nil {
			return err
		}
		if b, plan, err = t.holdSubscription(ctx, workspace); err != nil {
			return err
		}
		changed = t.view(b, plan)
		return nil
	})
	return changed, err
}

// CancelSubscription ends the subscription of a workspace, now or with its period or
// trial. An etag other than "" must be the subscription's.
//
// Errors: those of lockTeam; fault ETAG_MISMATCH.
func (s *Store) CancelSubscription(ctx context.Context, workspace ids.Workspace, atPeriodEnd bool, etag string) (*Subscription, error) {
	return s.changeSubscription(ctx, workspace, func(ctx context.Context, t *tx, b *billing.Subscription, plan *billing.Plan) error {
		if etag != "" && etag != t.view(b, plan).ETag() {
			return errSubscriptionETag()
		}
		if b.State == billing.Paused && b.PauseReason == billing.PausedCanceled {
			return nil
		}
		if b.State != billing.Trialing && !b.Priced() && plan.Default {
			return nil
		}
		if b.State == billing.Paused || b.PeriodEndTime.IsZero() || !atPeriodEnd {
			_, _, err := t.cancel(ctx, b, plan, t.now)
			return err
		}
		if b.CancelAtPeriodEnd {
			return nil
		}
		b.CancelAtPeriodEnd = true
		if err := t.update(ctx, b); err != nil {
			return err
		}
		details := map[string]any{"end_time": b.PeriodEndTime.Format(time.RFC3339)}
		if err := t.recordSubscription(ctx, b, "subscription.cancellation_scheduled", "", details); err != nil {
			return err
		}
		return t.mailSubscription(ctx, b, mail.SubscriptionCanceled, map[string]string{
			"plan": plan.Definition.DisplayName, "end_time": b.PeriodEndTime.Format(time.RFC3339),
		})
	})
}

// cancel ends a locked subscription as at a time. The workspace has the default plan from
// then on, if that costs nothing; otherwise the subscription is paused. It returns what
// the workspace is subscribed to then. What was used until then is invoiced.
func (t *tx) cancel(ctx context.Context, s *billing.Subscription, plan *billing.Plan, at time.Time) (*billing.Subscription, *billing.Plan, error) {
	lines, err := t.closePeriods(ctx, s, plan, at)
	if err != nil {
		return nil, nil, err
	}
	ended := s.Period(at)
	next, err := t.billing.DefaultPlan(ctx)
	if err != nil {
		return nil, nil, err
	}
	kind := audit.ActorKind("")
	if s.CancelAtPeriodEnd && !at.Before(ended.End) {
		kind = audit.System
	}
	s.CancelAtPeriodEnd = false
	after, details := s, map[string]any{}
	switch {
	case next.Free():
		s.CancelTime, s.CancelReason = at, billing.Requested
		if err := t.applyState(ctx, s, billing.Cancel); err != nil {
			return nil, nil, err
		}
		after = t.newSubscription(s.WorkspaceID, next, s.Seats, at)
		details["next_plan"] = next.Name
		if err := t.billing.Insert(ctx, after); err != nil {
			return nil, nil, err
		}
	case s.State == billing.Paused:
		next, s.PauseReason = plan, billing.PausedCanceled
		s.PastDueTime, s.DunningStep, s.DunningTime = time.Time{}, 0, time.Time{}
		err = t.update(ctx, s)
	default:
		next = plan
		err = t.applyState(ctx, s, billing.Pause)
	}
	if err != nil {
		return nil, nil, err
	}
	if err := t.recordSubscription(ctx, s, "subscription.canceled", kind, details); err != nil {
		return nil, nil, err
	}
	if err := t.mailSubscription(ctx, s, mail.SubscriptionCanceled, map[string]string{"plan": plan.Definition.DisplayName, "end_time": ""}); err != nil {
		return nil, nil, err
	}
	return after, next, t.invoice(ctx, s, plan, lines, ended)
}

// ResumeSubscription takes back a scheduled cancellation, or has a paused subscription go
// on with a period that begins now.
//
// Errors: those of lockTeam; fault SUBSCRIPTION_UNPAID.
func (s *Store) ResumeSubscription(ctx context.Context, workspace ids.Workspace) (*Subscription, error) {
	return s.changeSubscription(ctx, workspace, func(ctx context.Context, t *tx, b *billing.Subscription, plan *billing.Plan) error {
		switch {
		case b.CancelAtPeriodEnd:
			b.CancelAtPeriodEnd = false
			if err := t.update(ctx, b); err != nil {
				return err
			}
			return t.recordSubscription(ctx, b, "subscription.cancellation_withdrawn", "", nil)
		case b.State != billing.Paused:
			return nil
		case b.PauseReason == billing.PausedUnpaid:
			if err := t.recover(ctx, b, plan); err != nil || b.State == billing.Active {
				return err
			}
			return errUnpaid()
		}
		if err := t.mayOwe(b, priceOf(b, plan)); err != nil {
			return err
		}
		if err := t.owesNothing(ctx, b); err != nil {
			return err
		}
		if err := t.recordSubscription(ctx, b, "subscription.resumed", "", nil); err != nil {
			return err
		}
		return t.restart(ctx, b, plan, t.now)
	})
}

func errUnpaid() error {
	return fault.New(fault.FailedPrecondition, fault.SubscriptionUnpaid, "invoices are overdue; pay them first")
}
