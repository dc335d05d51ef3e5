package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/testkit"
)

func TestAWorkspaceBuysAPlanByStripe(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	p := s.person(t)
	w := p.Workspace.Id
	s.joins(t, p)
	s.joins(t, p)
	sub := s.stripe.Pay(t, page(t, p))
	if got := subscriptionOf(t, p, w); got.Plan.Plan != "free" {
		t.Errorf("before it was told: %v", got)
	}
	s.tell(t, "checkout.session.completed", sub)
	s.work(t)
	got := subscriptionOf(t, p, w)
	if got.Plan.Plan != "team" || got.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_ACTIVE || got.Currency != "EUR" ||
		got.CurrentPeriodStartTime.AsTime().Unix() != s.stripe.Subs()[sub].Start.Unix() {
		t.Errorf("bought: %v", got)
	}
	// Two of three members are beyond the one that is included.
	if diff := cmp.Diff(map[string]int64{"price_flat": 1, "price_seat": 2}, quantities(s.stripe.Subs()[sub])); diff != "" {
		t.Errorf("what was bought (-want +got):\n%s", diff)
	}
	testkit.Eventually(t, "one event", func() bool { return len(eventsOfWorkspace(t, p, "subscription.bought")) == 1 })
	s.agrees(t, "after it was bought")

	if _, err := checkout(t, p); reasonOf(err) != "PAYMENT_PROVIDER_IN_USE" {
		t.Errorf("bought again: %v", err)
	}
	portal, err := p.Subscriptions.CreatePortalSession(t.Context(), &billingv1.CreatePortalSessionRequest{WorkspaceId: w, ReturnUrl: "/"})
	if err != nil || portal.Url == "" {
		t.Errorf("portal: %v, %v", portal, err)
	}
	if n := s.stripe.Customers(); n != 1 {
		t.Errorf("%d customers", n)
	}
	// What the portal lets customers do is set up once.
	other := s.person(t)
	if _, err := other.Subscriptions.CreatePortalSession(t.Context(), &billingv1.CreatePortalSessionRequest{WorkspaceId: other.Workspace.Id, ReturnUrl: "/"}); err != nil {
		t.Error(err)
	}
	if effects := s.stripe.Effects(); !slices.Equal(effects, []string{"customer", "portal", "customer"}) {
		t.Errorf("at Stripe: %v", effects)
	}
	applyPlans(t, s.Server, soldPlans+`
  - {plan: solo, name: Solo, features: {seats: 1}, prices: [{currency: EUR, interval: month, flat: 5, stripe: {flat: price_solo}}]}
`)
	s.joins(t, other)
	for what, test := range map[string]struct {
		change func(*billingv1.CreateCheckoutSessionRequest)
		reason string
	}{
		"more members":        {func(r *billingv1.CreateCheckoutSessionRequest) { r.Plan = "solo" }, "SEATS_IN_USE"},
		"no such plan":        {func(r *billingv1.CreateCheckoutSessionRequest) { r.Plan = "none" }, "PLAN_NOT_FOR_SALE"},
		"not at Stripe":       {func(r *billingv1.CreateCheckoutSessionRequest) { r.Interval = billingv1.Interval_INTERVAL_YEAR }, "PLAN_NOT_FOR_SALE"},
		"not in the currency": {func(r *billingv1.CreateCheckoutSessionRequest) { r.Currency = "USD" }, "PLAN_NOT_FOR_SALE"},
		"elsewhere":           {func(r *billingv1.CreateCheckoutSessionRequest) { r.SuccessUrl = "https://evil.example.com" }, "RETURN_URL_NOT_ALLOWED"},
		"elsewhere, canceled": {func(r *billingv1.CreateCheckoutSessionRequest) { r.CancelUrl = "//evil.example.com" }, "RETURN_URL_NOT_ALLOWED"},
	} {
		req := &billingv1.CreateCheckoutSessionRequest{
			WorkspaceId: other.Workspace.Id, Plan: "team", Currency: "EUR", Interval: billingv1.Interval_INTERVAL_MONTH, SuccessUrl: "/", CancelUrl: "/",
		}
		test.change(req)
		if _, err := other.Subscriptions.CreateCheckoutSession(t.Context(), req); reasonOf(err) != test.reason {
			t.Errorf("%s: %v, want %s", what, err, test.reason)
		}
	}
	s.stripe.Down(true)
	if _, err := checkout(t, other); reasonOf(err) != "PAYMENT_PROVIDER_UNAVAILABLE" {
		t.Errorf("while it is down: %v", err)
	}
	s.CheckInvariants(t)
}

func TestAWorkspaceIsOneCustomerHoweverManyAskAtOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	p := s.person(t)
	if got := atOnce(8, func(int) error { _, err := checkout(t, p); return err }); got[""] != 8 {
		t.Errorf("at once: %v", got)
	}
	if n := s.stripe.Customers(); n != 1 {
		t.Errorf("%d customers", n)
	}
	// Two pages that are paid are two subscriptions, of which one ends at once.
	first, second := page(t, p), page(t, p)
	for _, paid := range []string{s.stripe.Pay(t, first), s.stripe.Pay(t, second)} {
		s.tell(t, "checkout.session.completed", paid)
	}
	s.work(t)
	live := 0
	for _, sub := range s.stripe.Subs() {
		if sub.Status == "active" {
			live++
		}
	}
	if live != 1 {
		t.Errorf("%d subscriptions live", live)
	}
	s.agrees(t, "bought twice")
	s.CheckInvariants(t)
}

// TestWhatIsTriedIsChargedAfterwardsAndWhatIsPaidIsCredited: nobody pays twice for the same
// days, nor has seats for nothing since they are paid.
func TestWhatIsTriedIsChargedAfterwardsAndWhatIsPaidIsCredited(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	applyPlans(t, s.Server, strings.Replace(strings.Replace(soldPlans, ", default: true", "", 1), "name: Team", "name: Team\n    default: true\n    trial_days: 14", 1))
	tried, late, paid := s.person(t), s.person(t), s.person(t)
	end := subscriptionOf(t, tried, tried.Workspace.Id).TrialEndTime.AsTime()
	sub := s.buy(t, tried)
	if at := s.stripe.Subs()[sub]; at.TrialEnd.Unix() != end.Unix() || len(s.stripe.Charges()) != 0 {
		t.Errorf("while it is tried: %+v", at)
	}
	if got := subscriptionOf(t, tried, tried.Workspace.Id); got.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_TRIALING {
		t.Errorf("while it is tried: %v", got)
	}
	s.Clock.Advance(13 * 24 * time.Hour) // a day is too soon for Stripe
	lately := s.buy(t, late)
	if sub := s.stripe.Subs()[lately]; sub.Status != "active" {
		t.Errorf("on the last day: %+v", sub)
	}
	if got := subscriptionOf(t, late, late.Workspace.Id); got.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_ACTIVE {
		t.Errorf("on the last day: %v", got)
	}
	s.Clock.Advance(2 * 24 * time.Hour)
	if err := s.Store.BillDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.pay(t, paid)
	at := s.buy(t, paid)
	s.joins(t, paid)
	s.joins(t, paid)
	s.work(t)
	if bought := s.stripe.Subs()[at]; bought.Status != "active" || !bought.Prorated {
		t.Errorf("paid before: %+v", bought)
	}
	if got := s.stripe.Balance(s.customer(t, paid)); got > -1800 || got <= -2000 {
		t.Errorf("paid before: of a month, one day of which is over, the balance is %d", got)
	}
	is(t, "paid before", subscriptionOf(t, paid, paid.Workspace.Id), "team ACTIVE")
	s.Clock.Advance(40 * 24 * time.Hour)
	s.stripe.Run()
	for sub := range s.stripe.Subs() {
		s.tell(t, "customer.subscription.updated", sub)
	}
	s.work(t)
	if got := subscriptionOf(t, tried, tried.Workspace.Id); got.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_ACTIVE {
		t.Errorf("after the trial: %v", got)
	}
	s.agrees(t, "in the end")
	s.CheckInvariants(t)
}

func TestSeatsAreTheProvidersToo(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	p := s.person(t)
	sub := s.buy(t, p)
	if got := quantities(s.stripe.Subs()[sub])["price_seat"]; got != 0 {
		t.Errorf("one member: %d seats are charged", got)
	}
	m := s.joins(t, p)
	s.joins(t, p)
	s.work(t)
	if got := quantities(s.stripe.Subs()[sub])["price_seat"]; got != 2 {
		t.Errorf("three members: %d seats are charged, want 2", got)
	}
	because(t, "left", leave(t, m, p.Workspace.Id), "")
	s.work(t)
	if got := quantities(s.stripe.Subs()[sub])["price_seat"]; got != 1 {
		t.Errorf("two members: %d seats are charged, want 1", got)
	}
	// What is changed at Stripe by hand comes back.
	s.stripe.Edit(sub, func(sub *testkit.StripeSub) { sub.Items[len(sub.Items)-1].Quantity = 40 })
	s.tell(t, "customer.subscription.updated", sub)
	s.work(t)
	if got := quantities(s.stripe.Subs()[sub])["price_seat"]; got != 1 {
		t.Errorf("changed by hand: %d seats are charged, want 1", got)
	}
	s.agrees(t, "in the end")
	// Seats that came within the period are not for nothing because it ends early.
	charged := len(s.stripe.Charges())
	cancelPlan(t, p, false)
	s.work(t)
	if got := s.stripe.Charges()[charged:]; len(got) != 1 || got[0].Sub != sub {
		t.Errorf("canceled: the charges are %v, want that of a seat", got)
	}
	s.CheckInvariants(t)
}

// TestAPlanThatStripeSellsIsBoughtThere: it is not given on an invoice, and what was bought
// and is changed to something else ends there, so that it can be bought again.
func TestAPlanThatStripeSellsIsBoughtThere(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	p := s.person(t)
	w := p.Workspace.Id
	month, year := billingv1.Interval_INTERVAL_MONTH, billingv1.Interval_INTERVAL_YEAR
	yearly, err := previewPlan(t, p, "team", "EUR", year) // which Stripe does not sell
	if err != nil {
		t.Fatal(err)
	}
	_, err = previewPlan(t, p, "team", "EUR", month)
	because(t, "a preview of what is sold", err, "PAYMENT_REQUIRED")
	_, err = changePlan(t, p, "team", "EUR", month, yearly.Etag)
	because(t, "a change to what is sold", err, "PAYMENT_REQUIRED")

	for round := range 2 {
		sub := s.buy(t, p)
		is(t, "bought", subscriptionOf(t, p, w), "team ACTIVE")
		_, err = previewPlan(t, p, "team", "EUR", year)
		because(t, "to what is not sold", err, "PLAN_NOT_FOR_SALE")
		if round == 0 {
			subscribe(t, p, "free", "", 0)
		} else {
			cancelPlan(t, p, false)
		}
		s.work(t)
		if got := s.stripe.Subs()[sub].Status; got != "canceled" {
			t.Errorf("round %d: at Stripe it is %s", round, got)
		}
		if got := subscriptionOf(t, p, w); got.Plan.Plan != "free" || got.Provider != billingv1.PaymentProvider_PAYMENT_PROVIDER_MANUAL {
			t.Errorf("round %d: %v", round, got)
		}
		s.agrees(t, "after it ended")
		s.CheckInvariants(t)
	}
	if n := s.invoices(t, p); n != 0 {
		t.Errorf("%d invoices of our own", n)
	}
}
