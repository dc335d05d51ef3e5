package e2e

import (
	"strings"
	"testing"
	"time"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// dearPlans are those that are sold, and a dear one beside them, which Stripe sells by the
// month.
var dearPlans = strings.Replace(soldPlans, "plans:", `plans:
  - {plan: big, name: Big, prices: [{currency: EUR, interval: month, flat: 500, stripe: {flat: price_big}}]}`, 1)

// pageOf is the page of a checkout of a plan by the month.
func pageOf(t testing.TB, p *testkit.Person, plan string) (string, error) {
	t.Helper()
	res, err := p.Subscriptions.CreateCheckoutSession(t.Context(), &billingv1.CreateCheckoutSessionRequest{
		WorkspaceId: p.Workspace.Id, Plan: plan, Currency: "EUR", Interval: monthly, SuccessUrl: "/paid", CancelUrl: "/",
	})
	return res.GetUrl(), err
}

// complete pays a page, and has that be told.
func (s *shop) complete(t testing.TB, page string) (sub string) {
	t.Helper()
	sub = s.stripe.Pay(t, page)
	s.tell(t, "checkout.session.completed", sub)
	s.work(t)
	return sub
}

// customer is what Stripe calls the workspace of a person.
func (s *shop) customer(t testing.TB, p *testkit.Person) (id string) {
	t.Helper()
	if err := s.SQL.QueryRow(t.Context(), "SELECT provider_customer_id FROM billing.customers WHERE workspace_id = $1", uuidOf(t, p.Workspace.Id)).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestWhatIsNotPaidIsNotGivenByACheckout: a period whose invoice is open comes first, and
// what is paid defers no charge.
func TestWhatIsNotPaidIsNotGivenByACheckout(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	p := s.person(t)
	subscribe(t, p, "team", "EUR", yearly) // 200 EUR, due later
	_, err := checkout(t, p)
	because(t, "while the invoice is open", err, "SUBSCRIPTION_UNPAID")
	s.Clock.Advance(20 * 24 * time.Hour)
	s.billDue(t)
	_, err = checkout(t, p)
	because(t, "while it is overdue", err, "SUBSCRIPTION_UNPAID")
	s.pay(t, p)
	applyPlans(t, s.Server, strings.NewReplacer("{currency: EUR, interval: month", "{currency: USD, interval: month, flat: 20, stripe: {flat: price_usd}}\n      - {currency: EUR, interval: month",
		"name: Team", "name: Team\n    trial_days: 14").Replace(soldPlans))
	_, err = p.Subscriptions.CreateCheckoutSession(t.Context(), &billingv1.CreateCheckoutSessionRequest{
		WorkspaceId: p.Workspace.Id, Plan: "team", Currency: "USD", Interval: monthly, SuccessUrl: "/paid", CancelUrl: "/",
	})
	because(t, "what could not be credited", err, "CURRENCY_MISMATCH")
	paid := s.complete(t, page(t, p))
	if sub := s.stripe.Subs()[paid]; sub.Status != "active" || len(s.stripe.Charges()) != 1 {
		t.Errorf("paid until later: %+v", sub)
	}
	s.agrees(t, "paid until later")

	// A page that was made before is worth no more than what is tried when it is completed.
	q := s.person(t)
	s.try(t, q, "team", monthly)
	deferred := page(t, q)
	subscribe(t, q, "free", "", 0)
	sub := s.complete(t, deferred)
	is(t, "no longer tried", subscriptionOf(t, q, q.Workspace.Id), "free ACTIVE")
	if got := s.stripe.Subs()[sub]; got.Status != "canceled" || len(s.stripe.Charges()) != 1 {
		t.Errorf("no longer tried: %+v", got)
	}
	s.agrees(t, "no longer tried")
	s.CheckInvariants(t)
}

// TestAnotherPlanIsChargedAtOnceAndWhatWasPaidIsCredited: once, wherever anything dies.
func TestAnotherPlanIsChargedAtOnceAndWhatWasPaidIsCredited(t *testing.T) {
	t.Parallel()
	deaths := map[string]func(s *shop){
		"nothing fails": func(s *shop) { s.work(t) },
		"refused":       func(s *shop) { s.stripe.Refuse(true); s.work(t); s.stripe.Refuse(false) },
		"down": func(s *shop) {
			s.stripe.Down(true)
			_ = s.Server.Server.Payments().WorkDue(t.Context())
			s.stripe.Down(false)
		},
	}
	for n, what := range []string{"the look", "the credit"} {
		deaths[what+" dies after its effect, and its key is forgotten"] = func(s *shop) {
			s.stripe.DieAt(n+1, true)
			_ = s.Server.Server.Payments().WorkDue(t.Context())
			s.stripe.Down(false)
			s.stripe.Forget()
		}
	}
	for what, die := range deaths {
		s := newShop(t)
		applyPlans(t, s.Server, dearPlans)
		p := s.person(t)
		subscribe(t, p, "team", "EUR", yearly)
		s.pay(t, p)
		period := subscriptionOf(t, p, p.Workspace.Id)
		start, end := period.CurrentPeriodStartTime.AsTime(), period.CurrentPeriodEndTime.AsTime()
		s.Clock.Advance(end.Sub(start) / 4)
		url, err := pageOf(t, p, "big")
		if err != nil {
			t.Fatal(err)
		}
		sub := s.stripe.Pay(t, url)
		if got := s.stripe.Subs()[sub]; got.Status != "active" || len(s.stripe.Charges()) != 1 {
			t.Errorf("%s: it is not charged at once: %+v", what, got)
		}
		s.tell(t, "checkout.session.completed", sub)
		due, err := s.Store.DueWebhookEvents(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range due {
			if err := s.Server.Server.Payments().Follow(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		is(t, what, subscriptionOf(t, p, p.Workspace.Id), "big ACTIVE")
		s.stripe.Effects()
		die(s)
		for range 3 {
			s.later(t, 3*time.Minute)
		}
		if got := s.stripe.Balance(s.customer(t, p)); got != -15000 {
			t.Errorf("%s: three quarters of 200 EUR are not used, the balance is %d", what, got)
		}
		if n := count(t, s.Server, "SELECT count(*) FROM billing.pending_lines"); n != 0 {
			t.Errorf("%s: %d lines wait for an invoice that is never to come", what, n)
		}
		testkit.Eventually(t, "one event", func() bool { return len(eventsOfWorkspace(t, p, "subscription.credited")) == 1 })
		s.agrees(t, what)
		s.CheckInvariants(t)
		if what == "refused" {
			s.delete(t, p)
			s.purge(t, p)
			s.CheckPurged(t, p.Workspace.Id, p.User.Id)
		}
	}
}

// TestTheTaxOnWhatIsNotUsedIsCreditedToo, since it was paid with it.
func TestTheTaxOnWhatIsNotUsedIsCreditedToo(t *testing.T) {
	t.Parallel()
	s := newShop(t, func(o *config.Settings) { o.TaxName, o.TaxPercent = "VAT", "19" })
	applyPlans(t, s.Server, dearPlans)
	p := s.person(t)
	subscribe(t, p, "team", "EUR", yearly)
	s.pay(t, p)
	period := subscriptionOf(t, p, p.Workspace.Id)
	s.Clock.Advance(period.CurrentPeriodEndTime.AsTime().Sub(period.CurrentPeriodStartTime.AsTime()) / 2)
	url, err := pageOf(t, p, "big")
	if err != nil {
		t.Fatal(err)
	}
	s.complete(t, url)
	if got := s.stripe.Balance(s.customer(t, p)); got != -11900 {
		t.Errorf("half of 200 EUR and 19%% are not used, the balance is %d", got)
	}
	s.CheckInvariants(t)
}

// try has a workspace try a plan.
func (s *shop) try(t testing.TB, p *testkit.Person, plan string, interval billingv1.Interval) {
	t.Helper()
	if _, err := p.Subscriptions.StartTrial(t.Context(), &billingv1.StartTrialRequest{WorkspaceId: p.Workspace.Id, Plan: plan, Currency: "EUR", Interval: interval}); err != nil {
		t.Fatal(err)
	}
}

// TestAPlanThatIsTriedIsNotChangedForNothing while Stripe does not charge yet.
func TestAPlanThatIsTriedIsNotChangedForNothing(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	applyPlans(t, s.Server, strings.Replace(dearPlans, "name: Team", "name: Team\n    trial_days: 14", 1))
	p := s.person(t)
	s.try(t, p, "team", monthly)
	sub := s.complete(t, page(t, p))
	_, err := previewPlan(t, p, "big", "EUR", monthly)
	because(t, "a dear plan until the end of the trial", err, "SUBSCRIPTION_STATE")
	s.Clock.Advance(15 * 24 * time.Hour)
	s.stripe.Run()
	s.tell(t, "customer.subscription.updated", sub)
	s.work(t)
	subscribe(t, p, "big", "EUR", monthly)
	s.work(t)
	is(t, "once it is charged", subscriptionOf(t, p, p.Workspace.Id), "big ACTIVE")
	s.agrees(t, "in the end")
	s.CheckInvariants(t)
}

// TestWhoOwesIsRemindedAlsoOnceTheyPayByStripe: an invoice of our own is owed still, and
// what was paid by it is credited only once it is.
func TestWhoOwesIsRemindedAlsoOnceTheyPayByStripe(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	applyPlans(t, s.Server, dearPlans)
	p := s.person(t)
	w := p.Workspace.Id
	url, err := pageOf(t, p, "big")
	if err != nil {
		t.Fatal(err)
	}
	subscribe(t, p, "team", "EUR", yearly)
	sub := s.complete(t, url)
	is(t, "bought", subscriptionOf(t, p, w), "big ACTIVE")
	tell := func() {
		t.Helper()
		s.tell(t, "customer.subscription.updated", sub)
		s.work(t)
	}
	advance := func(d time.Duration) {
		t.Helper()
		s.Clock.Advance(d)
		s.stripe.Run()
		tell()
		s.billDue(t)
		s.work(t)
	}
	advance(s.Settings.PaymentTerms + time.Hour)
	is(t, "overdue", subscriptionOf(t, p, w), "big PAST_DUE")
	tell()
	is(t, "paid at Stripe", subscriptionOf(t, p, w), "big PAST_DUE")
	s.agrees(t, "overdue")
	if got := s.stripe.Balance(s.customer(t, p)); got != 0 {
		t.Errorf("credited before it was paid: %d", got)
	}
	advance(s.Settings.DunningGrace)
	is(t, "after the grace", subscriptionOf(t, p, w), "big PAUSED")
	tell()
	is(t, "after the grace, paid at Stripe", subscriptionOf(t, p, w), "big PAUSED")
	if got := s.stripe.Subs()[sub]; !got.Paused || got.Status != "active" {
		t.Errorf("what is paused is charged: %+v", got)
	}
	s.agrees(t, "paused")
	s.CheckInvariants(t)
	s.pay(t, p)
	s.work(t)
	is(t, "paid", subscriptionOf(t, p, w), "big ACTIVE")
	if got := s.stripe.Subs()[sub]; got.Paused || got.AtPeriodEnd {
		t.Errorf("paid: %+v", got)
	}
	if got := s.stripe.Balance(s.customer(t, p)); got > -19900 || got < -20000 {
		t.Errorf("of a year that was not used the balance is %d", got)
	}
	s.agrees(t, "paid")
	s.CheckInvariants(t)
}

// TestARefusalOfTheProviderIsNotRepeatedForADay: Stripe repeats what it answered for as long
// as it keeps the key of a request.
func TestARefusalOfTheProviderIsNotRepeatedForADay(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	p, q := s.person(t), s.person(t)
	portal := func() error {
		_, err := q.Subscriptions.CreatePortalSession(t.Context(), &billingv1.CreatePortalSessionRequest{WorkspaceId: q.Workspace.Id, ReturnUrl: "/"})
		return err
	}
	buy := func() error { _, err := checkout(t, p); return err }
	for what, call := range map[string]func() error{"checkout": buy, "portal": portal} {
		s.stripe.Refuse(true)
		if err := call(); reasonOf(err) != "PAYMENT_PROVIDER_UNAVAILABLE" {
			t.Errorf("%s, refused: %v", what, err)
		}
		s.stripe.Refuse(false)
		s.Clock.Advance(10 * time.Second) // as the answer says
		if err := call(); err != nil {
			t.Errorf("%s, later: %v", what, err)
		}
	}
	if n := s.stripe.Customers(); n != 2 {
		t.Errorf("%d customers", n)
	}
	s.buy(t, p)
	s.agrees(t, "in the end")
	s.CheckInvariants(t)
}

// TestSeatsThatAreIncludedAreBought although there is nothing to pay as long as there are no
// more.
func TestSeatsThatAreIncludedAreBought(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	applyPlans(t, s.Server, `
plans:
  - {plan: free, name: Free, default: true}
  - {plan: team, name: Team, prices: [{currency: EUR, interval: month, seat: {amount: 7.50, included: 2}, stripe: {seat: price_seat}}]}
`)
	p := s.person(t)
	sub := s.buy(t, p)
	is(t, "bought", subscriptionOf(t, p, p.Workspace.Id), "team ACTIVE")
	seats := func(what string, want int64) {
		t.Helper()
		s.work(t)
		items := s.stripe.Subs()[sub].Items
		if len(items) != 1 || items[0].Price != "price_seat" || items[0].Quantity != want {
			t.Errorf("%s: %+v, want %d seats", what, items, want)
		}
		s.agrees(t, what)
	}
	seats("one member", 0)
	s.joins(t, p)
	seats("as many as are included", 0)
	m := s.joins(t, p)
	seats("one more", 1)
	because(t, "left", leave(t, m, p.Workspace.Id), "")
	seats("as many again", 0)
	s.CheckInvariants(t)
}

// TestAnotherPlanThanTheOneThatIsTriedIsChargedAtOnce: nothing was paid that could be
// credited.
func TestAnotherPlanThanTheOneThatIsTriedIsChargedAtOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	applyPlans(t, s.Server, strings.Replace(dearPlans, "name: Team", "name: Team\n    trial_days: 14", 1))
	p := s.person(t)
	s.try(t, p, "team", yearly)
	url, err := pageOf(t, p, "big")
	if err != nil {
		t.Fatal(err)
	}
	sub := s.complete(t, url)
	is(t, "bought", subscriptionOf(t, p, p.Workspace.Id), "big ACTIVE")
	if got := s.stripe.Subs()[sub]; got.Status != "active" || len(s.stripe.Charges()) != 1 || s.stripe.Balance(s.customer(t, p)) != 0 {
		t.Errorf("bought: %+v", got)
	}
	s.agrees(t, "bought")
	s.CheckInvariants(t)
}
