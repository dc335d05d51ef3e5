package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/logicspike/manager/internal/testkit"
)

// soldUsagePlans is soldPlans with usage that Stripe charges for, and a plan by which it
// costs otherwise.
var soldUsagePlans = `
plans:
  - {plan: big, name: Big, prices: [{currency: EUR, interval: month, flat: 50, usage: [{meter: calls, tiers: [{unit: 0.01}]}], stripe: {flat: price_big, usage: {calls: price_usage_big}}}]}` +
	strings.TrimPrefix(strings.Replace(strings.Replace(soldPlans,
		"stripe: {flat: price_flat, seat: price_seat}", "usage: [{meter: calls, tiers: [{unit: 0.03}]}], stripe: {flat: price_flat, seat: price_seat, usage: {calls: price_usage}}", 1),
		"{plan: free, name: Free, default: true}", "{plan: free, name: Free, default: true, features: {calls: {meter: calls, limit: 1000}}}", 1), "\nplans:")

// reported returns what Stripe was told of the usage of a workspace, in total.
func (s *shop) reported(t testing.TB, p *testkit.Person) (total int64) {
	t.Helper()
	var customer string
	if err := s.SQL.QueryRow(t.Context(), "SELECT provider_customer_id FROM billing.customers WHERE workspace_id = $1", uuidOf(t, p.Workspace.Id)).Scan(&customer); err != nil {
		t.Fatal(err)
	}
	for _, u := range s.stripe.Usage() {
		if u.Customer == customer && u.Meter == "calls" {
			total += u.Value
		}
	}
	return total
}

// TestUsageThatStripeChargesForIsReportedOnce whatever fails on the way, and nothing else
// is: not what was used before it was bought, nor what has no price there.
func TestUsageThatStripeChargesForIsReportedOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	applyPlans(t, s.Server, soldUsagePlans)
	p, other := s.person(t), s.person(t)
	events := 0
	use := func(p *testkit.Person, meter string, quantity int64, at time.Time) {
		t.Helper()
		events++
		if _, err := record(t, p, used(fmt.Sprint("event", events), meter, quantity, at)); err != nil {
			t.Fatal(err)
		}
	}
	use(p, "calls", 500, time.Time{})
	s.Clock.Advance(time.Hour)
	sub := s.buy(t, p)
	bought := s.Clock.Now()
	use(other, "calls", 7, time.Time{})
	want := int64(0)
	for name, die := range map[string]func(){
		"nothing": func() {},
		"the request, before its effect": func() {
			s.stripe.DieAt(1, false)
			_ = s.Server.Server.Payments().WorkDue(t.Context())
			s.stripe.Down(false)
		},
		"the request, after its effect": func() {
			s.stripe.DieAt(1, true)
			_ = s.Server.Server.Payments().WorkDue(t.Context())
			s.stripe.Down(false)
		},
		"the note of it": func() {
			s.forgetReports(t, true)
			defer s.forgetReports(t, false)
			if err := s.Server.Server.Payments().WorkDue(t.Context()); err == nil {
				t.Error("no failure")
			}
		},
	} {
		use(p, "calls", 30, time.Time{})
		use(p, "storage", 9, time.Time{})
		die()
		use(p, "calls", 4, time.Time{}) // while nobody knows
		want += 34
		s.later(t, time.Minute)
		s.later(t, time.Minute)
		if got := s.reported(t, p); got != want {
			t.Errorf("%s failed: %d were reported, want %d", name, got, want)
		}
	}
	use(p, "calls", 6, bought.Add(-30*time.Minute)) // late, of before
	use(p, "calls", 3, bought.Add(time.Second))     // late, of what is charged
	want += 3
	s.work(t)
	if got := s.reported(t, p); got != want {
		t.Errorf("with what came late: %d were reported, want %d", got, want)
	}

	// What is refused is told again, and counts once.
	use(p, "calls", 8, time.Time{})
	want += 8
	s.stripe.Refuse(true)
	_ = s.Server.Server.Payments().WorkDue(t.Context())
	s.stripe.Refuse(false)
	s.later(t, time.Minute)
	if got := s.reported(t, p); got != want {
		t.Errorf("after a refusal: %d were reported, want %d", got, want)
	}
	// What nobody knows of when Stripe may have forgotten it is not told twice.
	use(p, "calls", 5, time.Time{})
	want += 5
	s.stripe.DieAt(1, true)
	_ = s.Server.Server.Payments().WorkDue(t.Context())
	s.stripe.Down(false)
	s.stripe.Forget()
	s.later(t, 24*time.Hour)
	if got := s.reported(t, p); got != want {
		t.Errorf("after a day: %d were reported, want %d", got, want)
	}
	for _, u := range s.stripe.Usage() {
		if u.Meter != "calls" || u.Value > 34 {
			t.Errorf("reported: %+v", u)
		}
	}

	// The provider's period goes on with another plan, whatever usage costs by it.
	start := s.stripe.Subs()[sub].Start
	change := func(plan string) {
		t.Helper()
		preview, err := previewPlan(t, p, plan, "EUR", monthly)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := changePlan(t, p, plan, "EUR", monthly, preview.Etag); err != nil {
			t.Fatal(err)
		}
		s.work(t)
		s.tell(t, "customer.subscription.updated", sub)
		s.work(t)
	}
	for _, plan := range []string{"big", "team", "big"} {
		change(plan)
		if got := subscriptionOf(t, p, p.Workspace.Id).CurrentPeriodStartTime.AsTime().Truncate(time.Second); !got.Equal(start.Truncate(time.Second)) {
			t.Errorf("with plan %s the period began at %v, want %v", plan, got, start)
		}
		use(p, "calls", 2, time.Time{})
		want += 2
		s.work(t)
	}

	// Just after the end of a period the rest of it is reported as its own; later, as of the
	// present one, since its invoice is made.
	use(p, "calls", 1, time.Time{})
	end := s.stripe.Subs()[sub].End
	s.Clock.Advance(end.Sub(s.Clock.Now()) + 10*time.Minute)
	s.stripe.Run()
	s.tell(t, "customer.subscription.updated", sub)
	s.work(t)
	use(p, "calls", 1, end.Add(-time.Minute))
	s.work(t)
	s.Clock.Advance(time.Hour)
	use(p, "calls", 1, end.Add(-time.Minute))
	s.work(t)
	var of []bool
	for _, u := range s.stripe.Usage() {
		if u.Value == 1 {
			of = append(of, u.Time.Before(end))
		}
	}
	if want := []bool{true, true, false}; !slices.Equal(of, want) {
		t.Errorf("in the period that has ended: %v, want %v", of, want)
	}

	// What a workspace cancels is charged with what was used; what is deleted is not.
	use(p, "calls", 11, time.Time{})
	s.stripe.Effects()
	cancelPlan(t, p, false)
	s.work(t)
	if got := s.stripe.Effects(); !slices.Equal(got, []string{"cancel " + sub + " charged"}) {
		t.Errorf("the effects of a cancellation: %v", got)
	}
	if got := s.reported(t, p); got != want+3+11 {
		t.Errorf("in the end %d were reported, want %d", got, want+14)
	}
	use(p, "calls", 2, time.Time{})
	s.work(t)
	if got := s.reported(t, p); got != want+14 {
		t.Errorf("after the end %d were reported", got)
	}
	sub = s.buy(t, other)
	s.delete(t, other)
	s.work(t)
	s.purge(t, other)
	s.work(t)
	if got := s.stripe.Effects(); slices.Contains(got, "cancel "+sub+" charged") || !slices.Contains(got, "cancel "+sub) {
		t.Errorf("the effects of a deletion: %v", got)
	}
	s.CheckInvariants(t)
}

// forgetReports has the server fail to note what was reported, or lets it be.
func (s *shop) forgetReports(t testing.TB, forget bool) {
	t.Helper()
	sql := `DROP TRIGGER forget ON billing.usage_totals; DROP FUNCTION forget()`
	if forget {
		sql = `CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'died'; END $$;
			CREATE TRIGGER forget BEFORE UPDATE ON billing.usage_totals FOR EACH ROW WHEN (OLD.report_quantity IS NOT NULL AND NEW.report_quantity IS NULL) EXECUTE FUNCTION forget()`
	}
	if _, err := s.SQL.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}
