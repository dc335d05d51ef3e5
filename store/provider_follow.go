package store

import (
	"context"
	"fmt"
	"time"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// TakeProviderTicket counts a look at a subscription at the provider, which is to follow.
// Of two looks the one counts whose ticket is the later, in whatever order their results
// come in; what has changed after the last of them is told by another event. It returns
// 0 for what is not known here.
func (s *Store) TakeProviderTicket(ctx context.Context, id string) (ticket int64, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		ticket, err = t.billing.TakeTicket(ctx, id)
		return err
	})
	return ticket, err
}

// AdoptProviderSubscription makes known what was bought for a workspace, and reports
// whether it is this server's at all. What no workspace is there for is to end at once.
func (s *Store) AdoptProviderSubscription(ctx context.Context, m *billing.Mirror) (ours bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		ours = false
		installation, _, err := t.billing.Installation(ctx)
		if err != nil || m.Over() || m.Bought == nil || m.Bought.Installation != installation {
			return err
		}
		ours = true
		p := &billing.ProviderSubscription{
			ID: m.ID, Customer: m.Customer, WorkspaceID: m.Bought.Workspace, Desired: billing.Live, Items: append([]billing.Item{}, m.Items...),
			CancelAtPeriodEnd: m.CancelAtPeriodEnd, Version: 1, SyncedVersion: 1, NextTryTime: t.now, ChangeTime: t.now, CreateTime: t.now,
		}
		if !m.CreateTime.IsZero() {
			p.CreateTime = m.CreateTime
		}
		w, err := t.tenant.LockWorkspace(ctx, m.Bought.Workspace)
		if ignoreMissing(err) != nil {
			return err
		}
		orphan := err != nil || w.Deleted()
		if orphan {
			p.WorkspaceID, p.Desired, p.Reason, p.SyncedVersion = ids.Workspace{}, billing.Ended, "no_workspace", 0
		}
		fresh, err := t.billing.InsertProviderSubscription(ctx, p)
		if err != nil || !fresh || !orphan {
			return err
		}
		return t.queueProvider(ctx, p.ID)
	})
	return ours, err
}

// FollowProvider takes over from the provider what it owns of a known subscription, as
// it was seen by the look of the ticket: that it was bought, whether it is paid, and
// that it has ended. A look that is older than another one changes nothing.
func (s *Store) FollowProvider(ctx context.Context, ticket int64, m *billing.Mirror) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		seen, err := t.billing.ProviderSubscription(ctx, m.ID, false)
		if err != nil {
			return ignoreMissing(err)
		}
		deleted := false
		if !seen.WorkspaceID.IsZero() {
			w, err := t.tenant.LockWorkspace(ctx, seen.WorkspaceID)
			if ignoreMissing(err) != nil {
				return err
			}
			deleted = err == nil && w.Deleted()
		}
		p, err := t.billing.ProviderSubscription(ctx, m.ID, true)
		if err != nil || ticket <= p.AppliedTicket {
			return ignoreMissing(err)
		}
		p.AppliedTicket = ticket
		linked := !p.SubscriptionID.IsZero()
		switch {
		case p.WorkspaceID.IsZero() || p.Desired == billing.Ended:
			if m.Over() {
				return t.billing.DeleteProviderSubscription(ctx, p.ID)
			}
		case deleted && !linked: // bought when it was deleted
			return t.end(ctx, p, "no_workspace")
		case deleted: // and perhaps over: who undeletes it is told so
		case !linked && m.Over():
			return t.billing.DeleteProviderSubscription(ctx, p.ID)
		case !linked && m.Bought != nil && m.Status != billing.StatusIncomplete:
			return t.bought(ctx, p, m)
		case linked:
			b, plan, err := t.holdSubscription(ctx, p.WorkspaceID)
			if err != nil {
				return err
			}
			return t.follow(ctx, p, b, plan, m)
		}
		return t.billing.UpdateProviderSubscription(ctx, p)
	})
}

// trialEnd returns when the trial of a plan ends that a subscription is in; the zero time
// for none. What is paid already defers no charge by the provider, which would have seats
// and usage that come meanwhile be free: it is credited.
func trialEnd(s *billing.Subscription, plan string) time.Time {
	if s.State != billing.Trialing || s.Plan != plan {
		return time.Time{}
	}
	return s.TrialEndTime
}

// unusedLines returns what is credited of the present period of a subscription when it ends
// early. What nobody is to pay is not.
func (t *tx) unusedLines(ctx context.Context, s *billing.Subscription, plan *billing.Plan, period pricing.Period, at time.Time) ([]billing.InvoiceLine, error) {
	price := priceOf(s, plan)
	if price == nil || !s.Charged() {
		return nil, nil
	}
	if void, err := t.billing.Voided(ctx, s.ID, at); void || err != nil {
		return nil, err
	}
	nothing := pricing.Price{Currency: price.Currency, Interval: price.Interval}
	return billing.LinesOf(plan, s.Currency, pricing.Prorate(*price, s.ChargedSeats, nothing, 0, period, at)), nil
}

// bought makes the subscription of a workspace what was bought for it at the provider.
// Of two that were bought at once the second one ends. So does what is charged only later
// although the plan is not tried until then any more: nothing was paid for it.
func (t *tx) bought(ctx context.Context, p *billing.ProviderSubscription, m *billing.Mirror) error {
	s, present, err := t.lockSubscription(ctx, p.WorkspaceID)
	if err != nil {
		return err
	}
	if s.Provider == billing.Stripe {
		return t.end(ctx, p, "bought_twice")
	}
	if m.Status == billing.StatusTrialing {
		until := trialEnd(s, m.Bought.Plan)
		if until.IsZero() || !until.Truncate(time.Second).Equal(m.TrialEnd) { // the provider knows whole seconds only
			return t.end(ctx, p, "not_paid")
		}
	}
	// What was used until now is charged by us, in the last invoice of our own, and what was
	// paid but goes on no more is credited.
	ended, at := s.Period(t.now), t.now
	if m.PeriodStart.Before(at) && !m.PeriodStart.IsZero() { // it is known here later than it was bought
		at = maxTime(m.PeriodStart, ended.Start)
	}
	lines, err := t.closePeriods(ctx, s, present, at)
	if err != nil {
		return err
	}
	unused, err := t.unusedLines(ctx, s, present, ended, at)
	if err != nil {
		return err
	}
	if err := t.invoice(ctx, s, present, append(lines, unused...), ended); err != nil {
		return err
	}
	plan, err := t.billing.Plan(ctx, m.Bought.Plan, m.Bought.PlanVersion)
	if err != nil {
		return fmt.Errorf("what was bought as %s: %w", p.ID, err)
	}
	s.Plan, s.PlanVersion, s.Provider = plan.Name, plan.Version, billing.Stripe
	s.Currency, s.Interval = m.Bought.Currency, pricing.Interval(m.Bought.Interval)
	s.CancelAtPeriodEnd = false
	if s.State == billing.Trialing { // which goes on until its end
		s.SetPeriod(pricing.Period{Start: at, End: ended.End})
	} else {
		s.AnchorTime = at
		s.SetPeriod(s.PeriodAt(at))
	}
	p.SubscriptionID = s.ID
	if err := t.record(ctx, audit.Event{
		WorkspaceID: s.WorkspaceID, ActorKind: audit.System, Action: "subscription.bought", TargetID: s.ID.String(),
		Details: map[string]any{
			"plan": s.Plan, "plan_version": s.PlanVersion, "currency": s.Currency, "interval": string(s.Interval), "provider": string(s.Provider),
		},
	}); err != nil {
		return err
	}
	if err := t.follow(ctx, p, s, plan, m); err != nil {
		return err
	}
	return t.carryCredit(ctx, s)
}

// follow takes over state and period of a subscription that lives, and has the provider
// given again what is otherwise there although it is not the provider's to say.
func (t *tx) follow(ctx context.Context, p *billing.ProviderSubscription, s *billing.Subscription, plan *billing.Plan, m *billing.Mirror) error {
	before, period := s.State, pricing.Period{Start: s.PeriodStartTime, End: s.PeriodEndTime}
	if p.ChargeTime = (time.Time{}); m.Status == billing.StatusTrialing {
		p.ChargeTime = m.TrialEnd
	}
	followPeriod(s, m)
	if s.PeriodStartTime.After(period.Start) { // the one before has ended
		ended := *s
		ended.SetPeriod(period)
		if _, err := t.closePeriods(ctx, &ended, plan, minTime(period.End, s.PeriodStartTime)); err != nil {
			return err
		}
	}
	for _, step := range transitionsTo(s, m.Status) {
		if err := t.applyState(ctx, s, step); err != nil {
			return err
		}
	}
	if m.Over() || s.State != before {
		if err := t.record(ctx, audit.Event{
			WorkspaceID: s.WorkspaceID, ActorKind: audit.System, Action: "subscription.provider_reported", TargetID: s.ID.String(),
			Details: map[string]any{"status": string(m.Status), "state": string(s.State)},
		}); err != nil {
			return err
		}
	}
	if m.Over() {
		if err := t.billing.DeleteProviderSubscription(ctx, p.ID); err != nil {
			return err
		}
		after, _, err := t.cancel(ctx, s, plan, t.now)
		if err != nil || after.Provider == billing.Manual {
			return err
		}
		after.Provider = billing.Manual
		return t.billing.Update(ctx, after, t.now)
	}
	// Also what the provider is to have, should it be otherwise now.
	if err := t.billing.UpdateProviderSubscription(ctx, p); err != nil {
		return err
	}
	if err := t.update(ctx, s); err != nil {
		return err
	}
	p, err := t.billing.ProviderSubscription(ctx, p.ID, true)
	if err != nil || p.Waiting() || p.Change(m) == nil {
		return err
	}
	return t.desire(ctx, p)
}

// followPeriod takes over the present period, and until when nothing is charged. While
// that is so although nothing is tried here, the periods go on as they were.
func followPeriod(s *billing.Subscription, m *billing.Mirror) {
	switch {
	case m.Over():
	case m.Status == billing.StatusTrialing && s.State == billing.Trialing:
		s.TrialEndTime, s.AnchorTime, s.PeriodEndTime = m.TrialEnd, m.TrialEnd, m.TrialEnd
	case m.Status == billing.StatusTrialing || m.PeriodStart.IsZero() || !m.PeriodStart.Before(m.PeriodEnd):
	default:
		start := m.PeriodStart
		if s.PeriodStartTime.Truncate(time.Second).Equal(start) {
			start = s.PeriodStartTime // the provider knows whole seconds only
		}
		s.AnchorTime = start
		s.SetPeriod(pricing.Period{Start: start, End: m.PeriodEnd})
		if s.State == billing.Trialing || s.TrialEndTime.After(start) {
			s.TrialEndTime = start // it has been tried until then
		}
	}
}

// transitionsTo returns what makes the state of a subscription what the provider reports.
// What has ended there is canceled otherwise.
func transitionsTo(s *billing.Subscription, status billing.ProviderStatus) []billing.Transition {
	if s.Owed() && (status == billing.StatusActive || status == billing.StatusTrialing) {
		return nil // by an invoice of our own
	}
	var active []billing.Transition
	switch {
	case s.State == billing.Trialing:
		active = []billing.Transition{billing.TrialEnd}
	case s.State == billing.PastDue, s.State == billing.Paused && s.PauseReason == billing.PausedUnpaid:
		active = []billing.Transition{billing.Settle}
	case s.State == billing.Paused:
		active = []billing.Transition{billing.Resume}
	}
	switch status {
	case billing.StatusTrialing:
		if s.State != billing.Trialing {
			return active
		}
	case billing.StatusActive:
		return active
	case billing.StatusPastDue:
		if s.State != billing.PastDue {
			return append(active, billing.Overdue)
		}
	case billing.StatusUnpaid:
		switch s.State {
		case billing.PastDue:
			return []billing.Transition{billing.GraceEnd}
		case billing.Trialing, billing.Active:
			return append(active, billing.Overdue, billing.GraceEnd)
		}
	case billing.StatusPaused:
		if s.State != billing.Paused {
			return append(active, billing.Overdue, billing.GraceEnd)
		}
	}
	return nil
}

// MirrorInvoice keeps what the provider says of an invoice of a subscription that was bought
// here, be it over, and whose workspace is there.
func (s *Store) MirrorInvoice(ctx context.Context, i *billing.MirroredInvoice) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		installation, _, err := t.billing.Installation(ctx)
		if err != nil || i.Bought == nil || i.Bought.Installation != installation {
			return err
		}
		if _, err := t.tenant.LockWorkspace(ctx, i.Bought.Workspace); err != nil {
			return ignoreMissing(err)
		}
		return t.mirrorInvoice(ctx, i.Bought.Workspace, i)
	})
}

// mirrorInvoice stores a copy of an invoice of the provider.
func (t *tx) mirrorInvoice(ctx context.Context, workspace ids.Workspace, m *billing.MirroredInvoice) error {
	state := map[string]billing.InvoiceState{"open": billing.Open, "paid": billing.Paid, "void": billing.Void, "uncollectible": billing.Void}[m.State]
	if state == "" {
		return nil // a draft
	}
	w, err := t.tenant.Workspace(ctx, workspace)
	if err != nil {
		return err
	}
	i := &billing.Invoice{
		ID: ids.New[ids.Invoice](), WorkspaceID: workspace, Provider: billing.Stripe, ProviderInvoiceID: m.ID, DocumentURL: m.URL,
		Number: m.Number, CustomerName: w.Name, Currency: m.Currency, Subtotal: m.Total - m.Tax, Tax: m.Tax, Total: m.Total,
		PeriodStart: m.Period[0], PeriodEnd: m.Period[1], IssueTime: m.IssueTime, DueTime: m.DueTime, State: state,
	}
	switch state {
	case billing.Paid:
		i.PaidTime = m.PaidTime
		if i.PaidTime.IsZero() {
			i.PaidTime = t.now
		}
	case billing.Void:
		i.VoidTime, i.Note = t.now, m.State
	}
	if i.DueTime.IsZero() {
		i.DueTime = i.IssueTime
	}
	for _, l := range m.Lines {
		i.Lines = append(i.Lines, billing.InvoiceLine{
			Kind: pricing.ForFlat, Description: l.Description, Quantity: l.Quantity, Amount: l.Amount, Currency: m.Currency,
			StartTime: l.Period[0], EndTime: l.Period[1], Proration: l.Proration,
		})
	}
	_, err = t.billing.PutMirroredInvoice(ctx, i)
	return err
}
