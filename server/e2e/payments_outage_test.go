package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/logicspike/manager/internal/testkit"
)

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
