package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// Subscription is what a workspace is subscribed to, and the version of its plan.
type Subscription struct {
	*billing.Subscription
	Plan   *billing.Plan
	Period pricing.Period // the present one, or that in which it ended
}

// GetSubscription returns the present subscription of a workspace.
//
// Errors: fault NOT_FOUND.
func (s *Store) GetSubscription(ctx context.Context, workspace ids.Workspace) (found *Subscription, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		b, err := t.billing.Subscription(ctx, workspace)
		if err != nil {
			return err
		}
		at := t.now
		if !b.CancelTime.IsZero() {
			at = b.CancelTime
		}
		found = &Subscription{Subscription: b, Period: b.PeriodAt(at)}
		found.Plan, err = t.billing.Plan(ctx, b.Plan, b.PlanVersion)
		return err
	})
	return found, err
}

// openSubscription subscribes a new workspace, with its owner, to the default plan, or
// has it try that.
func (t *tx) openSubscription(ctx context.Context, workspace ids.Workspace) error {
	plan, err := t.billing.DefaultPlan(ctx)
	if err != nil {
		return err
	}
	s := &billing.Subscription{
		ID: ids.New[ids.Subscription](), WorkspaceID: workspace, Plan: plan.Name, PlanVersion: plan.Version,
		State: billing.Active, Provider: billing.Manual, Seats: 1, AnchorTime: t.now, CreateTime: t.now, UpdateTime: t.now,
	}
	if prices := plan.Definition.Prices; len(prices) > 0 {
		s.Currency, s.Interval = prices[0].Currency, prices[0].Interval
	}
	if days := plan.Definition.TrialDays; days > 0 {
		s.State, s.TrialEndTime = billing.Trialing, t.now.AddDate(0, 0, days)
		s.AnchorTime = s.TrialEndTime
	}
	return t.billing.Insert(ctx, s)
}

// seatTaken tells the subscription of a locked workspace that there is one more active
// member, and seatFreed that there is one less.
func (t *tx) seatTaken(ctx context.Context, workspace ids.Workspace) error {
	return t.changeSeats(ctx, workspace, 1)
}

func (t *tx) seatFreed(ctx context.Context, workspace ids.Workspace) error {
	return t.changeSeats(ctx, workspace, -1)
}

func (t *tx) changeSeats(ctx context.Context, workspace ids.Workspace, by int) error {
	if err := t.billing.ChangeSeats(ctx, workspace, by, t.now); err != nil {
		return err
	}
	s, err := t.billing.Subscription(ctx, workspace)
	if err != nil || s.State == billing.Canceled {
		return err
	}
	return t.providerChanged(ctx, s)
}

// endSubscription cancels the subscription of a workspace that is deleted: from now on
// it costs nothing.
func (t *tx) endSubscription(ctx context.Context, workspace ids.Workspace) error {
	s, err := t.billing.Subscription(ctx, workspace)
	if err != nil {
		return err
	}
	s.State, s.CancelTime, s.CancelReason = billing.Canceled, t.now, billing.WorkspaceDeleted
	if err := t.billing.Update(ctx, s, t.now); err != nil {
		return err
	}
	return t.providerWorkspaceDeleted(ctx, workspace)
}

// resumeSubscription lets the subscription of a workspace that is undeleted go on. When
// its period has ended meanwhile, the next one begins now: the time in between costs
// nothing.
func (t *tx) resumeSubscription(ctx context.Context, workspace ids.Workspace) error {
	s, err := t.billing.Subscription(ctx, workspace)
	if err != nil {
		return err
	}
	ended := s.PeriodAt(s.CancelTime).End
	s.State, s.CancelTime, s.CancelReason = billing.Active, time.Time{}, ""
	if t.now.Before(s.TrialEndTime) {
		s.State = billing.Trialing
	} else if !t.now.Before(ended) {
		s.AnchorTime = t.now
	}
	if s.Seats, _, err = t.team.Seats(ctx, workspace, t.now); err != nil {
		return err
	}
	if err := t.billing.Update(ctx, s, t.now); err != nil {
		return err
	}
	if err := t.providerWorkspaceUndeleted(ctx, workspace); err != nil {
		return err
	}
	return t.providerChanged(ctx, s)
}

// EndTrials goes on with the subscriptions whose trial is over.
func (s *Store) EndTrials(ctx context.Context) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		ended, err := t.billing.EndTrials(ctx, t.now)
		if err != nil || len(ended) == 0 {
			return err
		}
		events := make([]audit.Event, len(ended))
		for i, s := range ended {
			events[i] = audit.Event{
				WorkspaceID: s.WorkspaceID, ActorKind: audit.System, Action: "subscription.trial_ended", TargetID: s.ID.String(),
				Details: map[string]any{"plan": s.Plan},
			}
		}
		return t.record(ctx, events...)
	})
}
