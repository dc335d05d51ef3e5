package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
)

func containsLine(log, text string) bool { return strings.Contains(log, text) }

// quantities are the seats and the flat price that a subscription has at Stripe.
func quantities(sub testkit.StripeSub) map[string]int64 {
	out := map[string]int64{}
	for _, i := range sub.Items {
		out[i.Price] = i.Quantity
	}
	return out
}

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
	for what, test := range map[string]struct {
		change func(*billingv1.CreateCheckoutSessionRequest)
		reason string
	}{
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

// TestWhatIsTriedOrPaidIsChargedAfterwards: nobody pays twice for the same days.
func TestWhatIsTriedOrPaidIsChargedAfterwards(t *testing.T) {
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
	period := subscriptionOf(t, paid, paid.Workspace.Id)
	afterwards := s.buy(t, paid)
	if bought := s.stripe.Subs()[afterwards]; bought.TrialEnd.Unix() != period.CurrentPeriodEndTime.AsTime().Unix() {
		t.Errorf("paid until %v: %+v", period.CurrentPeriodEndTime.AsTime(), bought)
	}
	if got := subscriptionOf(t, paid, paid.Workspace.Id); got.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_ACTIVE ||
		!got.CurrentPeriodEndTime.AsTime().Equal(period.CurrentPeriodEndTime.AsTime()) {
		t.Errorf("while it is paid: %v", got)
	}
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
	s.CheckInvariants(t)
}

func TestADeletedWorkspaceIsChargedNothing(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	back, gone, late := s.person(t), s.person(t), s.person(t)
	a, b, c := s.buy(t, back), s.buy(t, gone), s.buy(t, late)
	charged := len(s.stripe.Charges())
	for _, p := range []*testkit.Person{back, gone, late} {
		s.delete(t, p)
	}
	s.work(t)
	for _, sub := range s.stripe.Subs() {
		if !sub.Paused || !sub.AtPeriodEnd || sub.Status != "active" {
			t.Errorf("deleted: %+v", sub)
		}
	}
	s.agrees(t, "deleted")
	s.CheckInvariants(t)

	s.later(t, 10*24*time.Hour)
	s.undelete(t, back)
	s.purge(t, gone)
	s.work(t)
	subs := s.stripe.Subs()
	if sub := subs[a]; sub.Paused || sub.AtPeriodEnd || sub.Status != "active" {
		t.Errorf("undeleted: %+v", sub)
	}
	if got := subscriptionOf(t, back, back.Workspace.Id); got.Plan.Plan != "team" {
		t.Errorf("undeleted: %v", got)
	}
	if sub := subs[b]; sub.Status != "canceled" {
		t.Errorf("purged: %+v", sub)
	}
	s.CheckPurged(t, gone.Workspace.Id, gone.User.Id)
	if n := count(t, s.Server, "SELECT count(*) FROM billing.provider_subscriptions WHERE workspace_id IS NULL"); n != 0 {
		t.Errorf("%d are kept although Stripe has ended them", n)
	}

	// Of what ended with its period meanwhile nothing was charged, and who undeletes it
	// has the default plan.
	s.Clock.Advance(30 * 24 * time.Hour)
	s.stripe.Run()
	s.tell(t, "customer.subscription.updated", a)
	s.tell(t, "customer.subscription.deleted", c)
	s.work(t)
	s.CheckInvariants(t)
	s.undelete(t, late)
	s.work(t)
	if got := subscriptionOf(t, late, late.Workspace.Id); got.Plan.Plan != "free" || got.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_ACTIVE {
		t.Errorf("undeleted after its period: %v", got)
	}
	for _, charge := range s.stripe.Charges()[charged:] {
		if charge.Sub != a {
			t.Errorf("charged for a deleted workspace: %+v", charge)
		}
	}
	s.agrees(t, "in the end")
	s.CheckInvariants(t)
}

// TestNothingIsLostWhileTheProviderIsDownForADay: nobody who uses the product notices.
func TestNothingIsLostWhileTheProviderIsDownForADay(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	people := make([]*testkit.Person, 4)
	subs := make([]string, len(people))
	for i := range people {
		people[i] = s.person(t)
		subs[i] = s.buy(t, people[i])
	}
	bought := s.person(t)
	paid := s.stripe.Pay(t, page(t, bought))
	s.stripe.Down(true)
	s.tell(t, "checkout.session.completed", paid)
	s.joins(t, people[0])
	s.delete(t, people[1])
	s.delete(t, people[2])
	s.undelete(t, people[2])
	s.delete(t, people[3])
	s.purge(t, people[3])
	for range 12 {
		s.later(t, 2*time.Hour)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM billing.provider_subscriptions WHERE version > synced_version AND last_error IS NOT NULL"); n != 4 {
		t.Errorf("%d wait, want 4", n)
	}
	s.CheckPurged(t, people[3].Workspace.Id, people[3].User.Id)
	s.stripe.Down(false)
	s.later(t, time.Hour)
	at := s.stripe.Subs()
	for i, want := range []string{"active charged", "active free", "active charged", "canceled charged"} {
		sub := at[subs[i]]
		if got := sub.Status + map[bool]string{true: " free", false: " charged"}[sub.Paused && sub.AtPeriodEnd]; got != want {
			t.Errorf("%d: %s, want %s", i, got, want)
		}
	}
	if got := quantities(at[subs[0]])["price_seat"]; got != 1 {
		t.Errorf("%d seats", got)
	}
	if got := subscriptionOf(t, bought, bought.Workspace.Id); got.Plan.Plan != "team" {
		t.Errorf("what was paid meanwhile: %v", got)
	}
	s.agrees(t, "after the day")
	if n := count(t, s.Server, "SELECT count(*) FROM billing.provider_subscriptions WHERE version > synced_version"); n != 0 {
		t.Errorf("%d wait", n)
	}
	s.CheckInvariants(t)
}

// TestAPushThatDiesAnywhereHasOneEffect lets the connection or the process die before
// and after each step of giving the provider what is desired.
func TestAPushThatDiesAnywhereHasOneEffect(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	changes := map[string]struct {
		prepare, change func(*testkit.Person)
		effect          string
	}{
		"seats":    {nil, func(p *testkit.Person) { s.joins(t, p) }, "update"},
		"delete":   {nil, func(p *testkit.Person) { s.delete(t, p) }, "update"},
		"undelete": {func(p *testkit.Person) { s.delete(t, p) }, func(p *testkit.Person) { s.undelete(t, p) }, "update"},
		"purge":    {func(p *testkit.Person) { s.delete(t, p) }, func(p *testkit.Person) { s.purge(t, p) }, "cancel"},
	}
	deaths := map[string]func(sub string){
		"refused":           func(string) { s.stripe.Refuse(true); s.work(t); s.stripe.Refuse(false) },
		"before it is sent": func(sub string) { s.lease(t, sub) },
		"before it is noted": func(string) {
			s.forget(t, true)
			defer s.forget(t, false)
			_ = s.Server.Server.Payments().WorkDue(t.Context())
		},
	}
	for n := 1; n <= 2; n++ {
		for _, after := range []bool{false, true} {
			deaths[fmt.Sprintf("request %d, after its effect: %t", n, after)] = func(string) {
				s.stripe.DieAt(n, after)
				s.work(t)
				s.stripe.Down(false)
			}
		}
	}
	for name, c := range changes {
		for when, die := range deaths {
			what := name + ", " + when
			p := s.person(t)
			sub := s.buy(t, p)
			if c.prepare != nil {
				c.prepare(p)
				s.work(t)
			}
			s.stripe.Effects()
			c.change(p)
			die(sub)
			s.later(t, 3*time.Minute) // the lease and the wait are over
			if effects := s.stripe.Effects(); !slices.Equal(effects, []string{c.effect + " " + sub}) {
				t.Errorf("%s: the effects are %v", what, effects)
			}
			if n := count(t, s.Server, "SELECT count(*) FROM billing.provider_subscriptions WHERE version > synced_version"); n != 0 {
				t.Errorf("%s: %d wait", what, n)
			}
			s.agrees(t, what)
		}
	}
	s.CheckInvariants(t)
}

// lease takes a subscription to work on, and dies.
func (s *shop) lease(t testing.TB, sub string) {
	t.Helper()
	if p, err := s.Store.LeaseProviderSubscription(t.Context(), sub); err != nil || p == nil {
		t.Fatalf("lease: %v, %v", p, err)
	}
	if p, err := s.Store.LeaseProviderSubscription(t.Context(), sub); err != nil || p != nil {
		t.Errorf("leased twice: %v, %v", p, err)
	}
}

// forget keeps what came of a push from being noted, as if the process had died.
func (s *shop) forget(t testing.TB, on bool) {
	t.Helper()
	sql := "DROP TRIGGER forget ON billing.provider_subscriptions"
	if on {
		sql = `CREATE OR REPLACE FUNCTION public.forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
				IF TG_OP = 'DELETE' OR NEW.lease_time IS NULL THEN RAISE 'dead'; END IF; RETURN NEW; END $$;
			CREATE TRIGGER forget BEFORE UPDATE OR DELETE ON billing.provider_subscriptions FOR EACH ROW EXECUTE FUNCTION public.forget()`
	}
	if _, err := s.SQL.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// TestEventsOfTheProviderAreFollowedOnceAndInTheirOrder: whoever else sends something,
// and whatever is sent again or late, changes nothing.
func TestEventsOfTheProviderAreFollowedOnceAndInTheirOrder(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	p := s.person(t)
	sub := s.stripe.Pay(t, page(t, p))
	w := p.Workspace.Id
	unchanged := func(what string) {
		t.Helper()
		s.work(t)
		if got := subscriptionOf(t, p, w); got.Plan.Plan != "free" {
			t.Errorf("%s: %v", what, got)
		}
	}
	session := map[string]any{"id": "cs_1", "object": "checkout.session", "mode": "subscription", "subscription": sub}
	const completed = "checkout.session.completed"
	if got := s.stripe.Tell(t, s.Server, "whsec_another", "evt_bad", completed, session); got != http.StatusBadRequest {
		t.Errorf("another signature: %d", got)
	}
	if got := testkit.PostSigned(t, s.Server, testkit.StripeWebhookSecret, []byte("{")); got != http.StatusBadRequest {
		t.Errorf("no JSON: %d", got)
	}
	if got := testkit.PostSigned(t, s.Server, testkit.StripeWebhookSecret, []byte(`{"id": "evt_x"}`)); got != http.StatusBadRequest {
		t.Errorf("an event of nothing: %d", got)
	}
	if got := testkit.PostSigned(t, s.Server, testkit.StripeWebhookSecret, make([]byte, 513<<10)); got != http.StatusRequestEntityTooLarge {
		t.Errorf("too large: %d", got)
	}
	res, err := http.Get(s.URL + "/webhooks/stripe")
	if err != nil || res.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %v, %v", res, err)
	}
	unchanged("refused events")
	if n := count(t, s.Server, "SELECT count(*) FROM billing.webhook_events"); n != 0 {
		t.Errorf("%d events are kept that were refused", n)
	}

	// What this server did not make, or another one.
	foreign := s.stripe.Add(testkit.StripeSub{Customer: "cus_x", Status: "active", Start: s.Clock.Now(), End: s.Clock.Now().AddDate(0, 1, 0)})
	other := s.stripe.Subs()[sub]
	other.Metadata = map[string]string{}
	for key, value := range s.stripe.Subs()[sub].Metadata {
		other.Metadata[key] = value
	}
	other.Metadata["logicspike_installation"] = "00000000-0000-4000-8000-000000000000"
	neighbour := s.stripe.Add(other)
	for _, id := range []string{foreign, neighbour, "sub_none"} {
		s.tell(t, "customer.subscription.updated", id)
	}
	s.tell(t, "payment_intent.succeeded", sub)
	s.tell(t, "customer.updated", sub)
	unchanged("foreign and unknown events")
	if n := count(t, s.Server, "SELECT count(*) FROM billing.provider_subscriptions"); n != 0 {
		t.Errorf("%d subscriptions are known", n)
	}

	// Once, however often and however late it is told.
	for range 3 {
		if got := s.stripe.Tell(t, s.Server, testkit.StripeWebhookSecret, "evt_bought", completed, session); got != http.StatusOK {
			t.Errorf("told: %d", got)
		}
		s.work(t)
	}
	if got := subscriptionOf(t, p, w); got.Plan.Plan != "team" {
		t.Fatalf("bought: %v", got)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM billing.webhook_events WHERE event_id = 'evt_bought'"); n != 1 {
		t.Errorf("it is kept %d times", n)
	}
	testkit.Eventually(t, "one event", func() bool { return len(eventsOfWorkspace(t, p, "subscription.bought")) == 1 })

	// Of two looks the later one counts, in whatever order they end.
	first, err := s.Store.TakeProviderTicket(t.Context(), sub)
	if err != nil {
		t.Fatal(err)
	}
	old := s.mirror(t, sub)
	for status, want := range map[string]string{"past_due": "past_due", "unpaid": "paused", "active": "active", "trialing": "active"} {
		s.stripe.Edit(sub, func(sub *testkit.StripeSub) { sub.Status = status })
		s.tell(t, "customer.subscription.updated", sub)
		s.work(t)
		if got := string(s.state(t, w)); got != want {
			t.Errorf("%s: %s, want %s", status, got, want)
		}
	}
	s.stripe.Edit(sub, func(sub *testkit.StripeSub) { sub.Status = "past_due" })
	s.tell(t, "customer.subscription.updated", sub)
	s.work(t)
	if err := s.Store.FollowProvider(t.Context(), first, old); err != nil {
		t.Error(err)
	}
	if got := s.state(t, w); got != "past_due" {
		t.Errorf("after a look that was late: %s", got)
	}

	// An invoice tells of its subscription as well.
	s.stripe.Edit(sub, func(sub *testkit.StripeSub) { sub.Status = "active" })
	s.told++
	if got := s.stripe.Tell(t, s.Server, testkit.StripeWebhookSecret, fmt.Sprintf("evt_%d", s.told), "invoice.paid",
		map[string]any{"id": s.stripe.Invoice(sub, "paid"), "object": "invoice"}); got != http.StatusOK {
		t.Errorf("invoice: %d", got)
	}
	s.work(t)
	if got := s.state(t, w); got != "active" {
		t.Errorf("paid: %s", got)
	}
	s.stripe.Edit(sub, func(sub *testkit.StripeSub) { sub.Status = "canceled" })
	s.tell(t, "customer.subscription.deleted", sub)
	s.work(t)
	if got := subscriptionOf(t, p, w); got.Plan.Plan != "free" {
		t.Errorf("ended at Stripe: %v", got)
	}
	// Bought again, and deleted before that is told.
	again := s.stripe.Pay(t, page(t, p))
	s.delete(t, p)
	s.tell(t, completed, again)
	s.work(t)
	if got := s.stripe.Subs()[again]; got.Status != "canceled" {
		t.Errorf("bought for a deleted workspace: %+v", got)
	}
	s.Clock.Advance(31 * 24 * time.Hour)
	if err := s.Store.DeleteExpired(t.Context()); err != nil {
		t.Error(err)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM billing.webhook_events"); n != 0 {
		t.Errorf("%d events are kept after a month", n)
	}
	s.CheckInvariants(t)
}

func TestReconciliationFindsWhatDiffersAndRepairsIt(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	p := s.person(t)
	w := p.Workspace.Id
	operator := makeOperator(t, s.Server, s.person(t))
	reconcile := func(repair bool) []string {
		t.Helper()
		res, err := operator.Reconciliations.ReconcileSubscription(t.Context(), &billingv1.ReconcileSubscriptionRequest{WorkspaceId: w, Repair: repair})
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, d := range res.Differences {
			list = append(list, fmt.Sprintf("%s %s repaired=%t", d.Field, strings.ToLower(strings.TrimPrefix(d.Owner.String(), "FIELD_OWNER_")), d.Repaired))
		}
		return list
	}
	if got := reconcile(true); got != nil {
		t.Errorf("nothing was bought: %v", got)
	}
	sub := s.stripe.Pay(t, page(t, p)) // which nobody tells
	for _, test := range []struct {
		what   string
		change func(*testkit.StripeSub)
		want   []string
	}{
		{"bought", func(*testkit.StripeSub) {}, []string{"existence provider"}},
		{"items", func(sub *testkit.StripeSub) { sub.Items[0].Quantity = 7 }, []string{"items server"}},
		{"another item", func(sub *testkit.StripeSub) {
			sub.Items = append(sub.Items, testkit.StripeItem{ID: "si_x", Price: "price_x", Quantity: 1})
		}, []string{"items server"}},
		{"cancellation", func(sub *testkit.StripeSub) { sub.AtPeriodEnd = true }, []string{"cancellation server"}},
		{"collection", func(sub *testkit.StripeSub) { sub.Paused = true }, []string{"collection server"}},
		{"state", func(sub *testkit.StripeSub) { sub.Status = "past_due" }, []string{"state provider"}},
		{"period", func(sub *testkit.StripeSub) { sub.Status, sub.Start = "active", sub.Start.Add(time.Hour) }, []string{"state provider", "period provider"}},
		{"ended", func(sub *testkit.StripeSub) { sub.Status = "canceled" }, []string{"state provider"}},
	} {
		s.stripe.Edit(sub, test.change)
		suffixed := func(end string) (list []string) {
			for _, w := range test.want {
				list = append(list, w+" repaired="+end)
			}
			return list
		}
		if got := reconcile(false); !slices.Equal(got, suffixed("false")) {
			t.Errorf("%s: found %v, want %v", test.what, got, test.want)
		}
		if got := reconcile(true); !slices.Equal(got, suffixed("true")) {
			t.Errorf("%s: repaired %v, want %v", test.what, got, test.want)
		}
		if got := reconcile(false); got != nil {
			t.Errorf("%s: after that %v", test.what, got)
		}
	}
	testkit.Eventually(t, "the events", func() bool { return len(eventsOfWorkspace(t, p, "subscription.reconciled")) == 8 })
	_, err := operator.Reconciliations.ReconcileSubscription(t.Context(), &billingv1.ReconcileSubscriptionRequest{WorkspaceId: ids.New[ids.Workspace]().String()})
	because(t, "no workspace", err, "NOT_FOUND")

	// A ghost: what was bought for a workspace that is no more, and that nobody told.
	ghost := s.stripe.Pay(t, page(t, p))
	s.delete(t, p)
	s.purge(t, p)
	if err := s.Server.Server.Payments().ReconcileAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.work(t)
	if got := s.stripe.Subs()[ghost]; got.Status != "canceled" {
		t.Errorf("a ghost lives: %+v", got)
	}
	s.CheckPurged(t, w, p.User.Id)
	s.agrees(t, "in the end")
	s.CheckInvariants(t)
}

// TestNoWorkspaceIsEverChargedThatIsNotThere does anything in any order, while Stripe
// comes and goes, and looks in the end for money that is taken for nothing.
func TestNoWorkspaceIsEverChargedThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 18))
		type customer struct {
			*testkit.Person
			deleted, purged bool
			pages           []string
		}
		var customers []*customer
		for range 3 {
			customers = append(customers, &customer{Person: s.person(t)})
		}
		var trace []string
		down := false
		for range 40 {
			c := customers[random.IntN(len(customers))]
			step := []string{"page", "pay", "pay untold", "join", "delete", "undelete", "purge", "down", "up", "work", "work", "time"}[random.IntN(12)]
			trace = append(trace, step)
			switch {
			case step == "down" || step == "up":
				down = step == "down"
				s.stripe.Down(down)
			case step == "work" && !down:
				s.work(t)
			case step == "time":
				s.Clock.Advance(time.Duration(random.IntN(100)) * time.Hour)
				s.stripe.Run()
			case strings.HasPrefix(step, "pay") && len(c.pages) > 0 && !down:
				sub := s.stripe.Pay(t, c.pages[0])
				if c.pages = c.pages[1:]; step == "pay" {
					s.tell(t, "checkout.session.completed", sub)
				}
			case c.purged:
			case step == "page" && !c.deleted && !down:
				if res, err := checkout(t, c.Person); err == nil {
					c.pages = append(c.pages, res.Url)
				} else if reasonOf(err) != "PAYMENT_PROVIDER_IN_USE" {
					t.Fatalf("seed %d: %v: %v", seed, trace, err)
				}
			case step == "join" && !c.deleted:
				s.joins(t, c.Person)
			case step == "delete" && !c.deleted:
				s.delete(t, c.Person)
				c.deleted = true
			case step == "undelete" && c.deleted:
				s.undelete(t, c.Person)
				c.deleted = false
			case step == "purge" && c.deleted:
				s.purge(t, c.Person)
				c.purged = true
			}
		}
		s.stripe.Down(false)
		s.later(t, 2*time.Hour)
		if err := s.Server.Server.Payments().ReconcileAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.work(t)
		s.agrees(t, fmt.Sprintf("seed %d: %v", seed, trace))
		for _, c := range customers {
			live := 0
			for _, sub := range s.stripe.Subs() {
				if sub.Metadata["logicspike_workspace"] == c.Workspace.Id && sub.Status != "canceled" && (!sub.Paused || c.purged || !c.deleted) {
					live++
				}
			}
			if live > 1 || live > 0 && c.deleted {
				t.Errorf("seed %d: %v: %d subscriptions are charged of a workspace; deleted: %t, purged: %t", seed, trace, live, c.deleted, c.purged)
			}
		}
		s.CheckInvariants(t)
	}
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
