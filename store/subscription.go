package store

import (
	"context"
	"fmt"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
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

// view returns a subscription as it is told.
func (t *tx) view(s *billing.Subscription, plan *billing.Plan) *Subscription {
	at := t.now
	if !s.CancelTime.IsZero() {
		at = s.CancelTime
	}
	return &Subscription{Subscription: s, Plan: plan, Period: s.Period(at)}
}

// GetSubscription returns the present subscription of a workspace, and the plans that it
// has tried.
//
// Errors: fault NOT_FOUND.
func (s *Store) GetSubscription(ctx context.Context, workspace ids.Workspace) (found *Subscription, tried []string, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		b, err := t.billing.Subscription(ctx, workspace)
		if err != nil {
			return err
		}
		plan, err := t.billing.Plan(ctx, b.Plan, b.PlanVersion)
		if err != nil {
			return err
		}
		found = t.view(b, plan)
		tried, err = t.billing.TriedPlans(ctx, workspace)
		return err
	})
	return found, tried, err
}

// openSubscription subscribes a new workspace, with its owner, to the default plan, or
// has it try that.
func (t *tx) openSubscription(ctx context.Context, workspace ids.Workspace) error {
	plan, err := t.billing.DefaultPlan(ctx)
	if err != nil {
		return err
	}
	s := t.newSubscription(workspace, plan, 1, t.now)
	if prices := plan.Definition.Prices; len(prices) > 0 {
		s.Currency, s.Interval = prices[0].Currency, prices[0].Interval
	}
	if plan.Definition.TrialDays > 0 {
		s.State = billing.Trialing
		if err := t.beginTrial(ctx, s, plan); err != nil {
			return err
		}
	} else if s.Priced() {
		s.SetPeriod(s.PeriodAt(t.now))
	}
	if err := t.billing.Insert(ctx, s); err != nil || !s.Charged() {
		return err
	}
	return t.beginPeriod(ctx, s, plan, t.now, nil)
}

func (t *tx) newSubscription(workspace ids.Workspace, plan *billing.Plan, seats int, at time.Time) *billing.Subscription {
	return &billing.Subscription{
		ID: ids.New[ids.Subscription](), WorkspaceID: workspace, Plan: plan.Name, PlanVersion: plan.Version, State: billing.Active,
		Seats: seats, AnchorTime: at, CreateTime: at, UpdateTime: t.now, Version: 1, Provider: billing.Manual,
	}
}

// lockSubscription returns the subscription of a locked workspace, locked, and its plan,
// as they are now: what is due by itself has been done, be the job that does it late.
//
// Errors: fault NOT_FOUND.
func (t *tx) lockSubscription(ctx context.Context, workspace ids.Workspace) (*billing.Subscription, *billing.Plan, error) {
	s, plan, err := t.holdSubscription(ctx, workspace)
	for more := true; err == nil && more; {
		s, plan, more, err = t.advance(ctx, s, plan)
	}
	return s, plan, err
}

// holdSubscription is lockSubscription, but leaves what is due.
func (t *tx) holdSubscription(ctx context.Context, workspace ids.Workspace) (*billing.Subscription, *billing.Plan, error) {
	s, err := t.billing.LockSubscription(ctx, workspace)
	if err != nil {
		return nil, nil, err
	}
	plan, err := t.billing.Plan(ctx, s.Plan, s.PlanVersion)
	return s, plan, err
}

// applyState changes the state of a locked subscription, and stores it.
//
// Errors: fault SUBSCRIPTION_STATE when it is not allowed.
func (t *tx) applyState(ctx context.Context, s *billing.Subscription, e billing.Transition) error {
	if err := s.Apply(e); err != nil {
		return err
	}
	switch {
	case e == billing.Overdue:
		s.PastDueTime, s.DunningStep, s.DunningTime = t.now, 0, time.Time{}
		if s.Provider == billing.Manual {
			s.DunningTime = t.nextDunning(s)
		}
	case e == billing.GraceEnd && s.Owed(): // and stays so until that is paid
	case e != billing.WorkspaceDelete && s.State != billing.PastDue:
		s.PastDueTime, s.DunningStep, s.DunningTime = time.Time{}, 0, time.Time{}
	}
	return t.update(ctx, s)
}

// update stores a subscription, and has the provider told.
func (t *tx) update(ctx context.Context, s *billing.Subscription) error {
	if err := t.billing.Update(ctx, s, t.now); err != nil {
		return err
	}
	return t.providerChanged(ctx, s)
}

// periodOf returns the period of a workspace that a time is in, also of one that has
// ended, and of an earlier subscription. A time before all of them is in the first one.
func (t *tx) periodOf(ctx context.Context, s *billing.Subscription, at time.Time) (pricing.Period, error) {
	present := s.Period(maxTime(at, s.AnchorTime))
	if !at.Before(present.Start) {
		if at.Before(present.End) {
			return present, nil
		}
		return s.PeriodAt(at), nil // the next one has begun, and nobody has noticed
	}
	ended, err := t.billing.PeriodOf(ctx, s.WorkspaceID, at)
	if err != nil || ended == nil {
		return present, err
	}
	return pricing.Period{Start: ended.StartTime, End: ended.EndTime}, nil
}

func maxTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}

func minTime(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// closePeriods keeps the periods of a locked subscription until a time, at which the
// present one ends if it has not yet, and returns the last of them and what was used
// in it and is not charged yet.
func (t *tx) closePeriods(ctx context.Context, s *billing.Subscription, plan *billing.Plan, at time.Time) ([]billing.InvoiceLine, error) {
	if s.State == billing.Paused && s.PauseReason == billing.PausedCanceled {
		return nil, nil // it was closed when it was paused
	}
	var list []billing.Period
	last := s.Period(s.AnchorTime)
	for {
		ends := !last.End.Before(at)
		if ends {
			last.End = at
		}
		if last.Start.Before(last.End) {
			list = append(list, billing.Period{
				WorkspaceID: s.WorkspaceID, SubscriptionID: s.ID, StartTime: last.Start, EndTime: last.End,
				Plan: s.Plan, PlanVersion: s.PlanVersion, Currency: s.Currency, Interval: s.Interval,
			})
		}
		if ends || !s.PeriodStartTime.IsZero() {
			break
		}
		last = s.PeriodAt(last.End)
	}
	if err := t.billing.InsertPeriods(ctx, list); err != nil || s.Provider != billing.Manual || len(list) == 0 {
		return nil, err
	}
	return t.usageLines(ctx, s, plan, last)
}

// beginPeriod begins the period of a locked subscription that its anchor has at a time,
// stores it, and invoices what is due in advance, with other lines. What costs nothing
// has no period that is stored.
func (t *tx) beginPeriod(ctx context.Context, s *billing.Subscription, plan *billing.Plan, start time.Time, lines []billing.InvoiceLine) error {
	period := s.PeriodAt(start)
	s.SetPeriod(pricing.Period{})
	if price := priceOf(s, plan); price != nil {
		s.SetPeriod(period)
		s.ChargedSeats = s.BilledSeats()
		lines = append(lines, billing.LinesOf(plan, s.Currency, price.Charges(s.ChargedSeats, period))...)
	}
	if err := t.update(ctx, s); err != nil {
		return err
	}
	return t.invoice(ctx, s, plan, lines, period)
}

// invoice invoices lines, with those that wait, if it is us who do that.
func (t *tx) invoice(ctx context.Context, s *billing.Subscription, plan *billing.Plan, lines []billing.InvoiceLine, period pricing.Period) error {
	if s.Provider != billing.Manual || len(lines) == 0 && !s.Priced() {
		return nil
	}
	_, err := t.issueInvoice(ctx, s, plan, lines, period)
	return err
}

// wait has lines wait for the next invoice, if it is us who make it.
func (t *tx) wait(ctx context.Context, s *billing.Subscription, lines []billing.InvoiceLine) error {
	if s.Provider != billing.Manual || len(lines) == 0 {
		return nil
	}
	return t.addPendingLines(ctx, s, lines)
}

// priceOf returns the price of a subscription; nil when it costs nothing.
func priceOf(s *billing.Subscription, plan *billing.Plan) *pricing.Price {
	return plan.Price(s.Currency, s.Interval)
}

// endSubscription cancels the subscription of a workspace that is deleted: from now on
// it costs nothing. What is due and was not charged yet never is, unless it goes on.
func (t *tx) endSubscription(ctx context.Context, workspace ids.Workspace) error {
	s, err := t.billing.LockSubscription(ctx, workspace)
	if err != nil {
		return err
	}
	s.CancelTime, s.CancelReason = t.now, billing.WorkspaceDeleted
	if err := t.applyState(ctx, s, billing.WorkspaceDelete); err != nil {
		return err
	}
	return t.providerWorkspaceDeleted(ctx, workspace)
}

// resumeSubscription lets the subscription of a workspace that is undeleted go on, as
// what it was. When its period has ended meanwhile, the next one begins now: the time in
// between costs nothing, and nobody is reminded of it. A provider's goes on as that says.
func (t *tx) resumeSubscription(ctx context.Context, workspace ids.Workspace) error {
	s, plan, err := t.holdSubscription(ctx, workspace)
	if err != nil {
		return err
	}
	deleted := s.CancelTime
	if err := s.Apply(billing.WorkspaceUndelete); err != nil {
		return err
	}
	s.CancelTime, s.CancelReason = time.Time{}, ""
	if err := t.providerWorkspaceUndeleted(ctx, workspace); err != nil {
		return err
	}
	if s.State == billing.PastDue {
		s.PastDueTime = s.PastDueTime.Add(t.now.Sub(deleted))
		if !s.DunningTime.IsZero() {
			s.DunningTime = s.DunningTime.Add(t.now.Sub(deleted))
		}
	}
	if s.Seats, _, err = t.team.Seats(ctx, workspace, t.now); err != nil {
		return err
	}
	switch over := !t.now.Before(s.Period(deleted).End); {
	case s.State == billing.Paused:
		err = t.update(ctx, s)
	case over && s.CancelAtPeriodEnd:
		s, plan, err = t.cancel(ctx, s, plan, deleted)
	case over && s.Provider == billing.Manual:
		err = t.restart(ctx, s, plan, deleted)
	default:
		err = t.seatsChanged(ctx, s, plan)
	}
	if err != nil {
		return err
	}
	return t.recover(ctx, s, plan)
}

// restart ends the periods of a locked subscription at a time, and has a new one begin
// now. A trial is over thereby.
func (t *tx) restart(ctx context.Context, s *billing.Subscription, plan *billing.Plan, ended time.Time) error {
	lines, err := t.closePeriods(ctx, s, plan, ended)
	if err != nil {
		return err
	}
	switch s.State {
	case billing.Trialing:
		err = s.Apply(billing.TrialEnd)
	case billing.Paused:
		err = s.Apply(billing.Resume)
	}
	if err != nil {
		return err
	}
	s.AnchorTime = t.now
	if t.now.Before(s.TrialEndTime) {
		s.TrialEndTime = t.now
	}
	return t.beginPeriod(ctx, s, plan, t.now, lines)
}

// mailSubscription tells the owners of a workspace something about its subscription.
func (t *tx) mailSubscription(ctx context.Context, s *billing.Subscription, template mail.Template, data map[string]string) error {
	w, err := t.tenant.Workspace(ctx, s.WorkspaceID)
	if err != nil {
		return err
	}
	owners, err := t.team.Owners(ctx, s.WorkspaceID)
	if err != nil {
		return err
	}
	data["workspace"] = w.Name
	var letters []letter
	for _, owner := range owners {
		if owner.Address != "" {
			letters = append(letters, letter{Message: mail.Message{Template: template, To: owner.Address, Data: data}})
		}
	}
	return t.mail(ctx, letters...)
}

// recordSubscription writes an event of a subscription: by whoever calls, or by the
// system for what happens by itself.
func (t *tx) recordSubscription(ctx context.Context, s *billing.Subscription, action string, kind audit.ActorKind, details map[string]any) error {
	if details == nil {
		details = map[string]any{}
	}
	details["plan"] = s.Plan
	return t.record(ctx, audit.Event{
		WorkspaceID: s.WorkspaceID, ActorKind: kind, Action: action, TargetID: s.ID.String(), Details: details,
	})
}

// ETag changes whenever the subscription does.
func (s *Subscription) ETag() string { return fmt.Sprintf("%s.v%d", s.ID, s.Version) }

func errSubscriptionETag() error {
	return fault.New(fault.Aborted, fault.ETagMismatch, "etag: the subscription has changed since; look at it again").WithField("etag")
}
