package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/billing"
)

// trialNotice is how long before the end of a trial the owners are told.
const trialNotice = 3 * 24 * time.Hour

// BillDue does with the subscriptions of live workspaces all that is due now: trials and
// periods end, the next ones begin and are invoiced, cancellations take effect, and
// payment is asked for. Each step is a transaction of its own, so that after a long time
// each period is invoiced once. What fails of one workspace does not keep the others.
func (s *Store) BillDue(ctx context.Context) error {
	var failures []error
	for after := (ids.Workspace{}); ; {
		now := s.options.Clock.Now()
		due, err := s.Billing.Due(ctx, after, now, now.Add(trialNotice))
		if err != nil {
			return errors.Join(append(failures, s.constraints.Fault(err))...)
		}
		for _, workspace := range due {
			after = workspace
			for more := true; more && err == nil; {
				err = contained(func() error {
					return s.write(ctx, func(ctx context.Context, t *tx) (err error) {
						more, err = t.billNext(ctx, workspace)
						return err
					})
				})
			}
			if err != nil {
				failures = append(failures, fmt.Errorf("bill %s: %w", workspace, err))
			}
			if err = ctx.Err(); err != nil {
				return errors.Join(failures...)
			}
		}
		if len(due) == 0 {
			return errors.Join(failures...)
		}
	}
}

// billNext does the next thing that is due of a workspace's subscription, and reports
// whether there was one.
func (t *tx) billNext(ctx context.Context, workspace ids.Workspace) (bool, error) {
	_, err := t.lockLive(ctx, workspace)
	if fault.Has(err, fault.Missing) {
		return false, nil // deleted meanwhile
	}
	if err != nil {
		return false, err
	}
	s, plan, err := t.holdSubscription(ctx, workspace)
	if err != nil {
		return false, err
	}
	if _, _, done, err := t.advance(ctx, s, plan); done || err != nil {
		return done, err
	}
	if done, err := t.dun(ctx, s, plan); done || err != nil {
		return done, err
	}
	return t.remindOfTrial(ctx, s, plan)
}

// advance ends the present period or trial of a locked subscription, if its time has
// come, and begins the next one. Those of a provider end when it says so. It returns what the workspace is subscribed to then, and
// whether anything was done.
func (t *tx) advance(ctx context.Context, s *billing.Subscription, plan *billing.Plan) (*billing.Subscription, *billing.Plan, bool, error) {
	end := s.PeriodEndTime
	if !s.State.Lives() || s.State == billing.Paused || s.Provider != billing.Manual || end.IsZero() || t.now.Before(end) {
		return s, plan, false, nil
	}
	if s.CancelAtPeriodEnd {
		s, plan, err := t.cancel(ctx, s, plan, end)
		return s, plan, err == nil, err
	}
	lines, err := t.closePeriods(ctx, s, plan, end)
	if err != nil {
		return s, plan, false, err
	}
	action := "subscription.renewed"
	if s.State == billing.Trialing {
		action = "subscription.trial_ended"
		if err := s.Apply(billing.TrialEnd); err != nil {
			return s, plan, false, err
		}
	}
	if err := t.recordSubscription(ctx, s, action, audit.System, map[string]any{"time": end.Format(time.RFC3339)}); err != nil {
		return s, plan, false, err
	}
	return s, plan, true, t.beginPeriod(ctx, s, plan, end, lines)
}

// remindOfTrial tells the owners once that the trial ends soon.
func (t *tx) remindOfTrial(ctx context.Context, s *billing.Subscription, plan *billing.Plan) (bool, error) {
	if s.State != billing.Trialing || !s.TrialReminderTime.IsZero() || s.CancelAtPeriodEnd || t.now.Before(s.TrialEndTime.Add(-trialNotice)) {
		return false, nil
	}
	s.TrialReminderTime = t.now
	if err := t.billing.Update(ctx, s, t.now); err != nil {
		return false, err
	}
	if err := t.recordSubscription(ctx, s, "subscription.trial_reminded", audit.System, nil); err != nil {
		return false, err
	}
	return true, t.mailSubscription(ctx, s, mail.TrialEnding, map[string]string{
		"plan": plan.Definition.DisplayName, "end_time": s.TrialEndTime.Format(time.RFC3339),
	})
}
