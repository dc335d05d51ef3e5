package e2e

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/logicspike/manager/internal/testkit"
)

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
	// What is owed there comes first, also when it is told only after the end; that it was
	// paid is seen although nobody tells.
	owed := s.stripe.Invoice(sub, "open")
	s.told++
	if got := s.stripe.Tell(t, s.Server, testkit.StripeWebhookSecret, fmt.Sprintf("evt_%d", s.told), "invoice.finalized",
		map[string]any{"id": owed, "object": "invoice"}); got != http.StatusOK {
		t.Errorf("invoice: %d", got)
	}
	s.work(t)
	_, err = checkout(t, p)
	because(t, "bought again while an invoice of Stripe is open", err, "SUBSCRIPTION_UNPAID")
	s.stripe.Settle(owed, "paid")
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
