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

// nextDunning returns when the owners are reminded next that a subscription is past due,
// or when it is paused. It counts from when that was noticed, so that nobody misses a
// reminder because the server was down.
func (t *tx) nextDunning(s *billing.Subscription) time.Time {
	grace := t.store.options.DunningGrace
	if reminders := t.store.options.DunningReminders; s.DunningStep < len(reminders) && reminders[s.DunningStep] < grace {
		return s.PastDueTime.Add(reminders[s.DunningStep])
	}
	return s.PastDueTime.Add(grace)
}

// dun does the next thing that is due of a locked subscription because an invoice is
// overdue, and reports whether there was one.
func (t *tx) dun(ctx context.Context, s *billing.Subscription, plan *billing.Plan) (bool, error) {
	if s.State != billing.Active && s.State != billing.PastDue || s.Provider != billing.Manual && s.State == billing.PastDue && !s.Owed() {
		return false, nil // or past due at the provider, which says what becomes of it
	}
	overdue, err := t.billing.Overdue(ctx, s.WorkspaceID, t.now)
	switch {
	case err != nil:
		return false, err
	case s.State == billing.Active && overdue:
		if err := t.applyState(ctx, s, billing.Overdue); err != nil {
			return false, err
		}
		if s.Provider != billing.Manual {
			s.DunningTime = t.nextDunning(s)
			if err := t.billing.Update(ctx, s, t.now); err != nil {
				return false, err
			}
		}
		return true, t.askForPayment(ctx, s, "subscription.past_due")
	case s.State == billing.PastDue && !overdue:
		return true, t.recover(ctx, s, plan)
	case s.State == billing.Active || t.now.Before(s.DunningTime):
		return false, nil
	case t.now.Before(s.PastDueTime.Add(t.store.options.DunningGrace)):
		// There may be fewer than were sent already, by other settings.
		for reminders := t.store.options.DunningReminders; s.DunningStep < len(reminders); s.DunningStep++ {
			if t.now.Before(s.PastDueTime.Add(reminders[s.DunningStep])) {
				break
			}
		}
		s.DunningTime = t.nextDunning(s)
		if err := t.billing.Update(ctx, s, t.now); err != nil {
			return false, err
		}
		return true, t.askForPayment(ctx, s, "subscription.payment_reminded")
	}
	if err := t.applyState(ctx, s, billing.GraceEnd); err != nil {
		return false, err
	}
	if err := t.recordSubscription(ctx, s, "subscription.paused", audit.System, map[string]any{"reason": s.PauseReason}); err != nil {
		return false, err
	}
	return true, t.mailSubscription(ctx, s, mail.SubscriptionPaused, map[string]string{"plan": plan.Definition.DisplayName})
}

// askForPayment tells the owners that an invoice is overdue, and until when it is to be
// paid.
func (t *tx) askForPayment(ctx context.Context, s *billing.Subscription, action string) error {
	if err := t.recordSubscription(ctx, s, action, audit.System, nil); err != nil {
		return err
	}
	return t.mailSubscription(ctx, s, mail.PaymentOverdue, map[string]string{
		"pause_time": s.PastDueTime.Add(t.store.options.DunningGrace).Format(time.RFC3339),
	})
}

// paysFirst reports whether no invoice of a subscription's workspace is open, overdue or not,
// nor one of what it had at the provider.
//
// Errors: fault SUBSCRIPTION_UNPAID.
func (t *tx) paysFirst(ctx context.Context, s *billing.Subscription) error {
	open, err := t.billing.CountOpenInvoices(ctx, s.WorkspaceID)
	if err == nil && open > 0 {
		err = fault.New(fault.FailedPrecondition, fault.SubscriptionUnpaid, "invoices are open; pay them first")
	}
	return err
}

// owesNothing reports whether no invoice of a subscription's workspace is overdue.
//
// Errors: fault SUBSCRIPTION_UNPAID.
func (t *tx) owesNothing(ctx context.Context, s *billing.Subscription) error {
	overdue, err := t.billing.Overdue(ctx, s.WorkspaceID, t.now)
	if err == nil && overdue {
		err = errUnpaid()
	}
	return err
}

// invoicePaid lets the subscription of a locked workspace go on that was past due, or
// paused for it, when no invoice is overdue any more: one was paid, or is void. What was
// paid and is not used is the provider's to credit, if that charges the workspace since.
func (t *tx) invoicePaid(ctx context.Context, workspace ids.Workspace, i *billing.Invoice) error {
	s, plan, err := t.lockSubscription(ctx, workspace)
	if err != nil {
		return err
	}
	if err := t.recover(ctx, s, plan); err != nil || i.State != billing.Paid {
		return err
	}
	return t.carryCredit(ctx, s)
}

// recover is invoicePaid for a locked subscription. When its period has ended while it was
// paused, the next one begins now: the time in between costs nothing. What was to end with
// that period ends. A provider's goes on as that says.
func (t *tx) recover(ctx context.Context, s *billing.Subscription, plan *billing.Plan) error {
	paused := s.State == billing.Paused && s.PauseReason == billing.PausedUnpaid
	if s.Provider != billing.Manual && !s.Owed() || s.State != billing.PastDue && !paused {
		return nil
	}
	if overdue, err := t.billing.Overdue(ctx, s.WorkspaceID, t.now); overdue || err != nil {
		return err
	}
	if err := t.applyState(ctx, s, billing.Settle); err != nil {
		return err
	}
	if err := t.recordSubscription(ctx, s, "subscription.recovered", audit.System, nil); err != nil || !paused || s.Provider != billing.Manual {
		return err
	}
	switch over := s.Period(t.now).End; {
	case t.now.Before(over):
		return t.seatsChanged(ctx, s, plan)
	case s.CancelAtPeriodEnd:
		_, _, err := t.cancel(ctx, s, plan, over)
		return err
	default:
		return t.restart(ctx, s, plan, over)
	}
}
