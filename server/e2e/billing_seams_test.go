package e2e

import (
	"testing"
	"time"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// costlyPlans have no plan that costs nothing.
const costlyPlans = `
plans:
  - {plan: team, name: Team, default: true, prices: [{currency: EUR, interval: year, flat: 200}]}
  - {plan: big, name: Big, prices: [{currency: EUR, interval: year, flat: 900}]}
`

func resumePlan(t testing.TB, p *testkit.Person) (*billingv1.Subscription, error) {
	t.Helper()
	res, err := p.Subscriptions.ResumeSubscription(t.Context(), &billingv1.ResumeSubscriptionRequest{WorkspaceId: p.Workspace.Id})
	return res.GetSubscription(), err
}

func upcomingOf(t testing.TB, p *testkit.Person) *billingv1.Invoice {
	t.Helper()
	res, err := p.Invoices.GetUpcomingInvoice(t.Context(), &billingv1.GetUpcomingInvoiceRequest{WorkspaceId: p.Workspace.Id})
	if err != nil {
		t.Fatal(err)
	}
	return res.Invoice
}

// unpaid lets time pass until a workspace's subscription is paused.
func (s *stage) unpaid(t testing.TB, p *testkit.Person) {
	t.Helper()
	for range 4 {
		s.Clock.Advance(15 * 24 * time.Hour)
		s.billDue(t)
	}
	if got := subscriptionOf(t, p, p.Workspace.Id); got.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_PAUSED {
		t.Fatalf("not paid: %v", got)
	}
}

func TestWhoOwesDoesNotGoOnByCanceling(t *testing.T) {
	t.Parallel()
	t.Run("where the default plan costs something", func(t *testing.T) {
		t.Parallel()
		s := newBilled(t)
		applyPlans(t, s.Server, costlyPlans)
		p := s.person(t)
		s.unpaid(t, p)
		cancelPlan(t, p, false)
		_, err := resumePlan(t, p)
		because(t, "resumed without paying", err, "SUBSCRIPTION_UNPAID")
		_, err = previewPlan(t, p, "big", "EUR", yearly)
		because(t, "changed without paying", err, "SUBSCRIPTION_UNPAID")
		s.pay(t, p)
		got, err := resumePlan(t, p)
		if err != nil {
			t.Fatal(err)
		}
		is(t, "paid", got, "team ACTIVE")
		s.CheckInvariants(t)
	})
	t.Run("where it costs nothing", func(t *testing.T) {
		t.Parallel()
		s := newBilled(t)
		p := s.person(t)
		subscribe(t, p, "team", "EUR", yearly)
		s.Clock.Advance(15 * 24 * time.Hour)
		s.billDue(t)
		is(t, "canceled", cancelPlan(t, p, false), "free ACTIVE")
		_, err := previewPlan(t, p, "big", "EUR", monthly)
		because(t, "changed without paying", err, "SUBSCRIPTION_UNPAID")
		// Nor does the time start again in which to pay.
		s.billDue(t)
		since := subscriptionOf(t, p, p.Workspace.Id).PastDueTime.AsTime()
		s.Clock.Advance(24 * time.Hour)
		again := cancelPlan(t, p, false)
		s.billDue(t)
		is(t, "canceled again", again, "free PAST_DUE")
		if got := subscriptionOf(t, p, p.Workspace.Id).PastDueTime.AsTime(); !got.Equal(since) {
			t.Errorf("past due since %v, and then since %v", since, got)
		}
		s.unpaid(t, p)
		is(t, "canceled while it is paused", cancelPlan(t, p, false), "free PAUSED")
		s.pay(t, p)
		is(t, "paid", subscriptionOf(t, p, p.Workspace.Id), "free ACTIVE")
		subscribe(t, p, "big", "EUR", monthly)
		s.CheckInvariants(t)
	})
}
func TestWhatEndsWithItsPeriodDoesNotBeginAnotherOneOncePaid(t *testing.T) {
	t.Parallel()
	s := newBilled(t, func(o *config.Settings) { o.DunningGrace, o.DunningReminders = 24*time.Hour, nil })
	p := s.person(t)
	subscribe(t, p, "team", "EUR", monthly)
	cancelPlan(t, p, true)
	for _, days := range []int{15, 2, 30} { // overdue, paused, and over
		s.Clock.Advance(time.Duration(days) * 24 * time.Hour)
		s.billDue(t)
	}
	is(t, "not paid", subscriptionOf(t, p, p.Workspace.Id), "team PAUSED")
	s.pay(t, p)
	is(t, "paid after its period", subscriptionOf(t, p, p.Workspace.Id), "free ACTIVE")
	if n := s.invoices(t, p); n != 1 {
		t.Errorf("%d invoices of one period", n)
	}
	s.CheckInvariants(t)
}

// TestFewerRemindersThanWereSentStopNobody: who was reminded more often than is usual by now
// is paused in their turn, and the run of what is due does not fail.
func TestFewerRemindersThanWereSentStopNobody(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	p := s.person(t)
	subscribe(t, p, "team", "EUR", yearly)
	s.Clock.Advance(15 * 24 * time.Hour)
	s.billDue(t)
	// As by settings with five reminders, before those of now.
	if _, err := s.SQL.Exec(t.Context(), "UPDATE billing.subscriptions SET dunning_step = 5, dunning_time = past_due_time WHERE workspace_id = $1", uuidOf(t, p.Workspace.Id)); err != nil {
		t.Fatal(err)
	}
	s.billDue(t)
	s.Clock.Advance(14 * 24 * time.Hour)
	s.billDue(t)
	is(t, "after the grace", subscriptionOf(t, p, p.Workspace.Id), "team PAUSED")
	s.CheckInvariants(t)
}

func TestNothingIsUpcomingOfWhatIsPausedOrEnds(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	p := s.person(t)
	subscribe(t, p, "team", "EUR", yearly)
	if got := upcomingOf(t, p); got.GetTotal().GetMinorUnits() != 20000 {
		t.Errorf("of what goes on: %v", got)
	}
	cancelPlan(t, p, true)
	if got := upcomingOf(t, p); got != nil {
		t.Errorf("of what ends with its period: %v", got)
	}
	if _, err := resumePlan(t, p); err != nil {
		t.Fatal(err)
	}
	s.unpaid(t, p)
	if got := upcomingOf(t, p); got != nil {
		t.Errorf("of what is paused: %v", got)
	}
}
func TestWhatStripeWasToBePaidIsNotCreditedHere(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	p := s.person(t)
	sub := s.buy(t, p)
	s.stripe.Edit(sub, func(at *testkit.StripeSub) { at.Status = "past_due" })
	s.tell(t, "customer.subscription.updated", sub)
	s.work(t)
	is(t, "not paid at Stripe", subscriptionOf(t, p, p.Workspace.Id), "team PAST_DUE")
	subscribe(t, p, "free", "", 0)
	s.work(t)
	if got := s.waiting(t, p); len(got) != 0 {
		t.Errorf("of what Stripe charges there waits %v", got)
	}
	// And what is owed to Stripe does not make the free plan past due for ever.
	s.billDue(t)
	is(t, "free", subscriptionOf(t, p, p.Workspace.Id), "free ACTIVE")
	s.agrees(t, "in the end")
	s.CheckInvariants(t)
}

// TestThePeriodsOfWhatStripeChargesAreStripes, also when it is late to begin one.
func TestThePeriodsOfWhatStripeChargesAreStripes(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	p := s.person(t)
	sub := s.buy(t, p)
	s.Clock.Advance(s.stripe.Subs()[sub].End.Sub(s.Clock.Now()) + time.Minute)
	for range 2 {
		s.billDue(t)
		s.tell(t, "customer.subscription.updated", sub)
		s.work(t)
	}
	s.joins(t, p)
	s.stripe.Run()
	s.tell(t, "customer.subscription.updated", sub)
	s.work(t)
	if got, want := subscriptionOf(t, p, p.Workspace.Id).CurrentPeriodEndTime.AsTime(), s.stripe.Subs()[sub].End.Truncate(time.Second); !got.Equal(want) {
		t.Errorf("the period ends at %v, at Stripe at %v", got, want)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM billing.periods WHERE workspace_id = $1 AND plan = 'team'", uuidOf(t, p.Workspace.Id)); n != 1 {
		t.Errorf("%d periods of Stripe's are kept", n)
	}
	s.agrees(t, "in the end")
	s.CheckInvariants(t)
}

// TestUsageIsChargedByThePlanUnderWhichItWas: going over to a plan that does not charge it,
// right before the period ends, does not make it free.
func TestUsageIsChargedByThePlanUnderWhichItWas(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	applyPlans(t, s.Server, modelPlans)
	p := s.person(t)
	subscribe(t, p, "team", "EUR", monthly)
	if _, err := record(t, p, used("a", "calls", 30, time.Time{})); err != nil {
		t.Fatal(err)
	}
	s.Clock.Advance(subscriptionOf(t, p, p.Workspace.Id).CurrentPeriodEndTime.AsTime().Sub(s.Clock.Now()) - time.Minute)
	is(t, "changed", subscribe(t, p, "big", "EUR", monthly), "big ACTIVE")
	s.billDue(t)
	var charged int64
	for _, l := range s.billedLines(t, "billing.invoice_lines WHERE workspace_id = $1 AND kind = 'usage'", uuidOf(t, p.Workspace.Id)) {
		charged += l.Amount
	}
	if charged != 60 { // all but the first ten, 3 cents each
		t.Errorf("usage is charged with %d cents, want 60", charged)
	}
	if got := subscriptionOf(t, p, p.Workspace.Id).CurrentPeriodStartTime.AsTime(); s.Clock.Now().Sub(got) > time.Hour {
		t.Errorf("the period goes on since %v", got)
	}
	s.CheckInvariants(t)
}
