package e2e

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/server/billing/stripe"
	"github.com/logicspike/manager/store/billing"
)

// soldPlans are a plan that costs nothing, and one that Stripe sells by the month.
const soldPlans = `
plans:
  - {plan: free, name: Free, default: true}
  - plan: team
    name: Team
    prices:
      - {currency: EUR, interval: month, flat: 20, seat: {amount: 7.50, included: 1}, stripe: {flat: price_flat, seat: price_seat}}
      - {currency: EUR, interval: year, flat: 200}
`

// shop is a server that sells by a stand-in for Stripe. Its jobs run when a test says
// so.
type shop struct {
	*stage
	stripe *testkit.Stripe
	told   int
}

func newShop(t *testing.T, settings ...func(*config.Settings)) *shop {
	t.Helper()
	c := new(clock.Manual)
	s := newShopBehind(t, testkit.NewStripe(t, c), c, "", settings...)
	applyPlans(t, s.Server, soldPlans)
	return s
}

// newFrontShop is one that sells usage, and knows Stripe by a front before it.
func newFrontShop(t *testing.T) (*shop, *front) {
	t.Helper()
	c := new(clock.Manual)
	stripe := testkit.NewStripe(t, c)
	f := newFront(t, stripe.URL)
	s := newShopBehind(t, stripe, c, f.URL)
	applyPlans(t, s.Server, soldUsagePlans)
	return s, f
}

func newShopBehind(t *testing.T, stripe *testkit.Stripe, c *clock.Manual, url string, settings ...func(*config.Settings)) *shop {
	t.Helper()
	s := &shop{stripe: stripe}
	s.stage = &stage{testkit.New(t, testkit.Options{Clock: c, WithoutJobs: true, Settings: func(o *config.Settings) {
		o.SessionLifetime, o.SessionIdleTimeout, o.ReauthenticationAge = 1000*24*time.Hour, 1000*24*time.Hour, 1000*24*time.Hour
		o.DeletionGrace = 60 * 24 * time.Hour
		s.stripe.Settings(o)
		if url != "" {
			o.StripeURL = url
		}
		for _, set := range settings {
			set(o)
		}
	}})}
	s.Secret(testkit.StripeKey, testkit.StripeWebhookSecret)
	return s
}

// work runs the jobs that are due, also those that come of them.
func (s *shop) work(t testing.TB) {
	t.Helper()
	for range 3 {
		if err := s.Server.Server.Payments().WorkDue(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// later runs the jobs again after a time.
func (s *shop) later(t testing.TB, d time.Duration) {
	t.Helper()
	s.Clock.Advance(d)
	s.work(t)
}

func checkout(t testing.TB, p *testkit.Person) (*billingv1.CreateCheckoutSessionResponse, error) {
	t.Helper()
	return p.Subscriptions.CreateCheckoutSession(t.Context(), &billingv1.CreateCheckoutSessionRequest{
		WorkspaceId: p.Workspace.Id, Plan: "team", Currency: "EUR", Interval: billingv1.Interval_INTERVAL_MONTH, SuccessUrl: "/paid", CancelUrl: "/",
	})
}

// page is the page of a checkout.
func page(t testing.TB, p *testkit.Person) string {
	t.Helper()
	res, err := checkout(t, p)
	if err != nil {
		t.Fatal(err)
	}
	return res.Url
}

// tell sends an event about a subscription.
func (s *shop) tell(t testing.TB, kind, sub string) {
	t.Helper()
	object := map[string]any{"id": sub, "object": "subscription"}
	if kind == "checkout.session.completed" {
		object = map[string]any{"id": "cs_1", "object": "checkout.session", "mode": "subscription", "subscription": sub}
	}
	s.told++
	if status := s.stripe.Tell(t, s.Server, testkit.StripeWebhookSecret, fmt.Sprintf("evt_%d", s.told), kind, object); status != 200 {
		t.Fatalf("%s: status %d", kind, status)
	}
}

// buy has a person buy for their workspace, and returns what Stripe calls it.
func (s *shop) buy(t testing.TB, p *testkit.Person) string {
	t.Helper()
	sub := s.stripe.Pay(t, page(t, p))
	s.tell(t, "checkout.session.completed", sub)
	s.work(t)
	s.stripe.Effects()
	return sub
}

func (s *shop) delete(t testing.TB, p *testkit.Person) {
	t.Helper()
	if err := remove(t, p, p.Workspace.Id, preview(t, p, p.Workspace.Id).Etag); err != nil {
		t.Fatal(err)
	}
}

func (s *shop) undelete(t testing.TB, p *testkit.Person) {
	t.Helper()
	if _, err := p.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id}); err != nil {
		t.Fatal(err)
	}
}

func (s *shop) purge(t testing.TB, p *testkit.Person) {
	t.Helper()
	if _, err := p.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{
		WorkspaceId: p.Workspace.Id, Etag: preview(t, p, p.Workspace.Id).Etag,
	}); err != nil {
		t.Fatal(err)
	}
}

// agrees fails when a comparison of everything finds something.
func (s *shop) agrees(t testing.TB, what string) {
	t.Helper()
	before := len(s.Log.String())
	if err := s.Server.Server.Payments().ReconcileAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if log := s.Log.String()[before:]; strings.Contains(log, "the payment provider had something otherwise") {
		t.Errorf("%s: here and at Stripe it differs: %s", what, log)
	}
}

// quantities are the seats and the flat price that a subscription has at Stripe.
func quantities(sub testkit.StripeSub) map[string]int64 {
	out := map[string]int64{}
	for _, i := range sub.Items {
		out[i.Price] = i.Quantity
	}
	return out
}

// mirror is what Stripe has now, as the server sees it.
func (s *shop) mirror(t testing.TB, sub string) *billing.Mirror {
	t.Helper()
	c, err := stripe.New(stripe.Options{SecretKey: testkit.StripeKey, WebhookSecret: testkit.StripeWebhookSecret, URL: s.stripe.URL, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Subscription(t.Context(), sub)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// state is that of the subscription which a workspace has.
func (s *shop) state(t testing.TB, workspace string) billing.State {
	t.Helper()
	id, err := ids.Parse[ids.Workspace](workspace)
	if err != nil {
		t.Fatal(err)
	}
	sub, err := s.Store.Billing.Subscription(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return sub.State
}

// joins has somebody join the workspace of a person.
func (s *shop) joins(t *testing.T, owner *testkit.Person) *testkit.Person {
	t.Helper()
	p := s.person(t)
	mustAccept(t, p, s.invite(t, owner, p.Email, "").token)
	return p
}
