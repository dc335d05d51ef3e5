package e2e

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// front is a proxy before the stand-in for Stripe. It sees what is reported of usage, and
// answers as it is told.
type front struct {
	URL string

	mu   sync.Mutex
	keys []string // the idempotency keys of reports
	on   func(meter string, w http.ResponseWriter, pass func(http.ResponseWriter))
}

func newFront(t *testing.T, to string) *front {
	t.Helper()
	target, err := url.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	f, proxy := new(front), httputil.NewSingleHostReverseProxy(target)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		pass := func(w http.ResponseWriter) { proxy.ServeHTTP(w, r) }
		if !strings.HasPrefix(r.URL.Path, "/v1/billing/meter_events") {
			pass(w)
			return
		}
		f.mu.Lock()
		on := f.on
		f.keys = append(f.keys, r.Header.Get("Idempotency-Key"))
		f.mu.Unlock()
		if on == nil {
			pass(w)
			return
		}
		on(form.Get("event_name"), w, pass)
	}))
	t.Cleanup(srv.Close)
	f.URL = srv.URL
	return f
}

// reports has reports answered by a function, or passed on again for nil.
func (f *front) reports(on func(meter string, w http.ResponseWriter, pass func(http.ResponseWriter))) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.on = on
}

// fails answers as Stripe does when something fails.
func fails(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Stripe-Should-Retry", "false")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `{"error": {"type": "api_error", "message": "something went wrong"}}`)
}

// uses has something used of the meter that Stripe charges for.
func uses(t testing.TB, p *testkit.Person, quantity int64, at time.Time) {
	t.Helper()
	if _, err := record(t, p, used(uuid.NewString(), "calls", quantity, at)); err != nil {
		t.Fatal(err)
	}
}

// report runs the jobs once, of which a report may fail.
func (s *shop) report(t testing.TB) error { return s.Server.Server.Payments().WorkDue(t.Context()) }

// TestUsageIsChargedOnceWhateverStripeAnswers, whether it has done what was asked by then or
// not: by an answer that leaves that open the report stays what it is.
func TestUsageIsChargedOnceWhateverStripeAnswers(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	applyPlans(t, s.Server, soldUsagePlans)
	p := s.person(t)
	s.buy(t, p)
	var want int64
	for _, after := range []bool{false, true} {
		for _, status := range []int{500, 502, 503, 504, 408, 409, 429, 400} {
			if status == 400 && after {
				continue // which says that it did nothing
			}
			what := fmt.Sprintf("%d, after the effect: %v", status, after)
			uses(t, p, 100, time.Time{})
			s.stripe.Fail(status, after)
			if err := s.report(t); err == nil {
				t.Errorf("%s: no failure", what)
			}
			uses(t, p, 10, time.Time{})
			s.Clock.Advance(time.Minute)
			if err := s.report(t); err == nil {
				t.Errorf("%s, again: no failure", what)
			}
			// A refusal of what may have arrived before leaves that open, too.
			s.stripe.Fail(400, false)
			s.Clock.Advance(time.Minute)
			if err := s.report(t); err == nil {
				t.Errorf("%s, refused then: no failure", what)
			}
			s.stripe.Fail(0, false)
			s.later(t, time.Minute)
			s.later(t, time.Minute)
			if want += 110; s.reported(t, p) != want {
				t.Fatalf("%s: %d were reported, want %d", what, s.reported(t, p), want)
			}
		}
	}
	s.CheckInvariants(t)
}

// TestUsageThatTwoReportAtOnceIsChargedOnce: one report is on its way while Stripe answers
// the same by another server that it is busy with it, or refuses that.
func TestUsageThatTwoReportAtOnceIsChargedOnce(t *testing.T) {
	t.Parallel()
	s, f := newFrontShop(t)
	p := s.person(t)
	s.buy(t, p)
	var want int64
	for _, status := range []int{409, 429, 400} {
		uses(t, p, 100, time.Time{})
		first, second := make(chan struct{}), make(chan struct{})
		goOn := sync.OnceFunc(func() { close(second) })
		defer goOn()
		var once sync.Once
		f.reports(func(_ string, w http.ResponseWriter, pass func(http.ResponseWriter)) {
			isFirst := false
			once.Do(func() { isFirst = true })
			if !isFirst {
				fails(w, status)
				return
			}
			close(first)
			<-second
			pass(w)
		})
		done := make(chan error, 1)
		go func() { done <- s.report(t) }()
		<-first
		if err := s.report(t); err == nil {
			t.Errorf("%d: no failure", status)
		}
		uses(t, p, 10, time.Time{})
		if err := s.report(t); err == nil {
			t.Errorf("%d, again: no failure", status)
		}
		goOn()
		if err := <-done; err != nil {
			t.Errorf("%d, of the first: %v", status, err)
		}
		f.reports(nil)
		s.later(t, time.Minute)
		if want += 110; s.reported(t, p) != want {
			t.Fatalf("%d: %d were reported, want %d", status, s.reported(t, p), want)
		}
	}
	// What failed is not repeated by Stripe: no two calls have the same key.
	f.mu.Lock()
	defer f.mu.Unlock()
	seen := map[string]bool{}
	for _, key := range f.keys {
		if key != "" && seen[key] {
			t.Errorf("the idempotency key %s comes again", key)
		}
		seen[key] = true
	}
}

// TestUsageWhoseReportArrivedIsNotReportedAgain: Stripe refuses what it has, however the
// first answer got lost.
func TestUsageWhoseReportArrivedIsNotReportedAgain(t *testing.T) {
	t.Parallel()
	s, f := newFrontShop(t)
	p := s.person(t)
	s.buy(t, p)
	uses(t, p, 100, time.Time{})
	f.reports(func(_ string, _ http.ResponseWriter, pass func(http.ResponseWriter)) {
		pass(httptest.NewRecorder())
		panic(http.ErrAbortHandler)
	})
	if err := s.report(t); err == nil {
		t.Error("no failure")
	}
	f.reports(nil)
	s.Clock.Advance(time.Minute)
	if err := s.report(t); err != nil {
		t.Error("a report that had arrived:", err)
	}
	s.later(t, 24*time.Hour)
	if got := s.reported(t, p); got != 100 || strings.Contains(s.Log.String(), "nobody knows whether usage was reported") {
		t.Errorf("%d were reported", got)
	}
}

// morePlans are soldUsagePlans and a plan without usage.
var morePlans = soldUsagePlans + `
  - {plan: plain, name: Plain, prices: [{currency: EUR, interval: month, flat: 50, stripe: {flat: price_plain}}]}
`

// change goes over to another plan that Stripe sells by the month.
func (s *shop) change(t testing.TB, p *testkit.Person, plan string) {
	t.Helper()
	preview, err := previewPlan(t, p, plan, "EUR", monthly)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := changePlan(t, p, plan, "EUR", monthly, preview.Etag); err != nil {
		t.Fatal(err)
	}
}

// chargedUsage returns how much was charged by which price, "" for what is open.
func (s *shop) chargedUsage() map[string]int64 {
	charged := map[string]int64{}
	for _, u := range s.stripe.Usage() {
		charged[u.Charged] += u.Value
	}
	return charged
}

// TestUsageIsChargedAtStripeByThePlanUnderWhichItWas also when Stripe does not take a report
// at once, and in a subscription of the billing mode in which it would be free.
func TestUsageIsChargedAtStripeByThePlanUnderWhichItWas(t *testing.T) {
	t.Parallel()
	for _, classic := range []bool{false, true} {
		s, f := newFrontShop(t)
		applyPlans(t, s.Server, morePlans)
		p := s.person(t)
		sub := s.buy(t, p)
		if !s.stripe.Subs()[sub].Flexible {
			t.Error("it was bought in the classic billing mode")
		}
		s.stripe.Edit(sub, func(sub *testkit.StripeSub) { sub.Flexible = !classic })
		charged := func(what string, want map[string]int64) {
			t.Helper()
			if diff := cmp.Diff(want, s.chargedUsage()); diff != "" {
				t.Errorf("classic: %v, %s: charged (-want +got):\n%s", classic, what, diff)
			}
		}
		uses(t, p, 100, time.Time{})
		f.reports(func(_ string, w http.ResponseWriter, _ func(http.ResponseWriter)) { fails(w, http.StatusBadGateway) })
		s.change(t, p, "big")
		for range 3 {
			if err := s.report(t); err == nil {
				t.Error("no failure")
			}
			s.Clock.Advance(time.Minute)
		}
		if got := quantities(s.stripe.Subs()[sub]); !maps.Equal(got, map[string]int64{"price_flat": 1, "price_seat": 0, "price_usage": 0}) && !maps.Equal(got, map[string]int64{"price_flat": 1, "price_usage": 0}) {
			t.Errorf("it was changed before the usage was reported: %v", got)
		}
		if effects := s.stripe.Effects(); len(effects) > 0 {
			t.Errorf("while nobody knows what was reported: %v", effects)
		}
		f.reports(nil)
		s.later(t, time.Hour)
		want := []string{"update " + sub}
		if classic {
			want = []string{"migrate " + sub, "update " + sub}
		}
		if got := s.stripe.Effects(); !slices.Equal(got, want) {
			t.Errorf("the effects are %v, want %v", got, want)
		}
		charged("another price", map[string]int64{"price_usage": 100})
		uses(t, p, 10, time.Time{})
		s.change(t, p, "plain")
		s.work(t)
		charged("none any more", map[string]int64{"price_usage": 100, "price_usage_big": 10})
		s.change(t, p, "team")
		s.work(t)
		uses(t, p, 1, time.Time{})
		s.work(t)
		charged("open", map[string]int64{"price_usage": 100, "price_usage_big": 10, "": 1})
		s.agrees(t, "in the end")
		s.Clock.Advance(s.stripe.Subs()[sub].End.Sub(s.Clock.Now()))
		s.stripe.Run()
		charged("the period's end", map[string]int64{"price_usage": 101, "price_usage_big": 10})
		s.CheckInvariants(t)
	}
}

// TestUsageOfATrialIsNotReported, however late it is recorded.
func TestUsageOfATrialIsNotReported(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	applyPlans(t, s.Server, strings.Replace(soldUsagePlans, "name: Team", "name: Team\n    trial_days: 14", 1))
	p := s.person(t)
	if _, err := p.Subscriptions.StartTrial(t.Context(), &billingv1.StartTrialRequest{WorkspaceId: p.Workspace.Id, Plan: "team", Currency: "EUR", Interval: monthly}); err != nil {
		t.Fatal(err)
	}
	s.Clock.Advance(time.Hour)
	sub := s.buy(t, p)
	s.Clock.Advance(time.Hour)
	tried, end := s.Clock.Now(), s.stripe.Subs()[sub].End
	uses(t, p, 1, time.Time{})
	s.work(t)
	s.Clock.Advance(end.Sub(tried) + 2*time.Hour)
	s.stripe.Run()
	s.tell(t, "customer.subscription.updated", sub)
	s.work(t)
	uses(t, p, 10, tried)
	s.work(t)
	if got := s.reported(t, p); got != 0 {
		t.Errorf("of the trial %d were reported", got)
	}
	uses(t, p, 100, end.Add(time.Minute))
	s.work(t)
	if got := s.reported(t, p); got != 100 {
		t.Errorf("of what is charged %d were reported, want 100", got)
	}
}

// TestUsageIsReportedAfterADayWithoutStripe: given up is only what was sent, and may have
// arrived.
func TestUsageIsReportedAfterADayWithoutStripe(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	applyPlans(t, s.Server, soldUsagePlans)
	var people []*testkit.Person
	for range 8 {
		p := s.person(t)
		s.buy(t, p)
		people = append(people, p)
	}
	for _, p := range people {
		uses(t, p, 100, time.Time{})
	}
	s.stripe.Down(true)
	for range 3 {
		if err := s.report(t); err == nil {
			t.Error("no failure")
		}
		s.Clock.Advance(time.Minute)
	}
	s.Clock.Advance(24 * time.Hour)
	s.stripe.Down(false)
	s.work(t)
	reported, lost := 0, strings.Count(s.Log.String(), "nobody knows whether usage was reported")
	for _, p := range people {
		switch s.reported(t, p) {
		case 100:
			reported++
		case 0:
		default:
			t.Errorf("100 were used, %d reported", s.reported(t, p))
		}
	}
	if reported != 3 || lost != 5 {
		t.Errorf("of 8 reports, 5 of which were sent, %d were made and %d given up", reported, lost)
	}
}

// TestUsageOfAMeterWithALongNameIsReported, and told from that of one like it.
func TestUsageOfAMeterWithALongNameIsReported(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	a, b := strings.Repeat("m", 59)+"a", strings.Repeat("m", 59)+"b"
	applyPlans(t, s.Server, strings.NewReplacer("{meter: calls, tiers: [{unit: 0.03}]}", fmt.Sprintf("{meter: %s, tiers: [{unit: 0.03}]}, {meter: %s, tiers: [{unit: 0.03}]}", a, b),
		"{calls: price_usage}", fmt.Sprintf("{%s: price_usage, %s: price_usage_b}", a, b)).Replace(soldUsagePlans))
	p := s.person(t)
	s.buy(t, p)
	for meter, quantity := range map[string]int64{a: 100, b: 10} {
		if _, err := record(t, p, used(meter, meter, quantity, time.Time{})); err != nil {
			t.Fatal(err)
		}
	}
	s.work(t)
	got := map[string]int64{}
	for _, u := range s.stripe.Usage() {
		got[u.Meter] += u.Value
	}
	if diff := cmp.Diff(map[string]int64{a: 100, b: 10}, got); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
}

// TestAnEndThatIsChargedWaitsForAllUsage: that one report is refused does not have the end
// come before another one, of which nobody knows yet.
func TestAnEndThatIsChargedWaitsForAllUsage(t *testing.T) {
	t.Parallel()
	s, f := newFrontShop(t)
	applyPlans(t, s.Server, strings.NewReplacer("{meter: calls, tiers: [{unit: 0.03}]}", "{meter: calls, tiers: [{unit: 0.03}]}, {meter: sent, tiers: [{unit: 0.03}]}",
		"{calls: price_usage}", "{calls: price_usage, sent: price_usage_sent}").Replace(soldUsagePlans))
	p := s.person(t)
	sub := s.buy(t, p)
	for _, meter := range []string{"calls", "sent"} {
		if _, err := record(t, p, used(meter, meter, 100, time.Time{})); err != nil {
			t.Fatal(err)
		}
	}
	cancelPlan(t, p, false)
	for _, unknown := range []string{"calls", "sent"} {
		f.reports(func(meter string, w http.ResponseWriter, _ func(http.ResponseWriter)) {
			if meter == unknown {
				fails(w, http.StatusServiceUnavailable)
				return
			}
			fails(w, http.StatusBadRequest)
		})
		if err := s.report(t); err == nil {
			t.Error("no failure")
		}
		if got := s.stripe.Effects(); len(got) > 0 {
			t.Errorf("before the usage of %s is known: %v", unknown, got)
		}
		// Two at once would be charged for the same usage.
		_, err := checkout(t, p)
		because(t, "bought again before the end", err, "PAYMENT_PROVIDER_IN_USE")
		s.Clock.Advance(time.Minute)
	}
	f.reports(nil)
	s.later(t, time.Minute)
	if got := s.stripe.Effects(); !slices.Equal(got, []string{"cancel " + sub + " charged"}) {
		t.Errorf("in the end: %v", got)
	}
	if diff := cmp.Diff(map[string]int64{"price_usage": 200}, s.chargedUsage()); diff != "" {
		t.Errorf("charged (-want +got):\n%s", diff)
	}
}

// TestUsageIsReportedInItsPeriodAfterAnEarlierSubscription, whatever periods that had.
func TestUsageIsReportedInItsPeriodAfterAnEarlierSubscription(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	applyPlans(t, s.Server, soldUsagePlans)
	p := s.person(t)
	s.buy(t, p)
	cancelPlan(t, p, false)
	s.work(t)
	s.Clock.Advance(10 * time.Minute)
	sub := s.buy(t, p)
	end := s.stripe.Subs()[sub].End
	s.Clock.Advance(end.Sub(s.Clock.Now()) + time.Second)
	s.stripe.Run()
	s.tell(t, "customer.subscription.updated", sub)
	s.work(t)
	s.Clock.Advance(time.Minute)
	uses(t, p, 100, time.Time{})
	s.work(t)
	if got := s.stripe.Usage(); len(got) != 1 || got[0].Value != 100 || got[0].Time.Before(end) {
		t.Errorf("the period began at %v, and reported is %+v", end, got)
	}
}
