package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

func TestAChangeChargesExactlyWhatWasPreviewed(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	p := s.person(t)
	for range 3 {
		s.member(t, p, "member")
	}
	// From what costs nothing a period begins, at the time of the preview.
	first, err := previewPlan(t, p, "team", "EUR", monthly)
	if err != nil {
		t.Fatal(err)
	}
	if first.Total.MinorUnits != 2000+2*750 || first.DueNow.MinorUnits != 3500 || first.NextPeriodTotal.MinorUnits != 3500 {
		t.Errorf("previewed: %v", first)
	}
	s.Clock.Advance(10 * time.Minute)
	got, err := changePlan(t, p, "team", "EUR", monthly, first.Etag)
	if err != nil {
		t.Fatal(err)
	}
	is(t, "changed", got, "team ACTIVE")
	if !got.CurrentPeriodEndTime.AsTime().Equal(first.NextPeriodTime.AsTime()) || got.BilledSeats != 4 || got.Provider != billingv1.PaymentProvider_PAYMENT_PROVIDER_MANUAL {
		t.Errorf("changed: %v", got)
	}
	sameLines(t, "the first invoice", charged(first.Charges), s.invoiced(t, p, 1))

	// Within the period what changes is charged, and credited, for its rest.
	s.Clock.Advance(10 * 24 * time.Hour)
	up, err := previewPlan(t, p, "big", "EUR", monthly)
	if err != nil {
		t.Fatal(err)
	}
	if up.DueNow.MinorUnits <= 0 || up.Total.MinorUnits >= 10000 || up.NextPeriodTotal.MinorUnits != 12000 || len(up.Charges) != 4 || !up.Charges[0].Proration {
		t.Errorf("previewed: %v", up)
	}
	_, err = changePlan(t, p, "small", "EUR", monthly, up.Etag)
	because(t, "fewer seats than members", err, "SEATS_IN_USE")
	_, err = changePlan(t, p, "team", "EUR", yearly, up.Etag)
	because(t, "the etag of another choice", err, "ETAG_MISMATCH")
	_, err = changePlan(t, p, "big", "EUR", monthly, "x"+up.Etag)
	because(t, "an etag that is none", err, "ETAG_MISMATCH")
	if _, err := changePlan(t, p, "big", "EUR", monthly, up.Etag); err != nil {
		t.Fatal(err)
	}
	sameLines(t, "the invoice of the change", charged(up.Charges), s.invoiced(t, p, 2))
	// A repeated call, whose answer was lost, finds it done.
	again, err := changePlan(t, p, "big", "EUR", monthly, up.Etag)
	if err != nil || s.invoices(t, p) != 2 {
		t.Errorf("repeated: %v, %v, %d invoices", again, err, s.invoices(t, p))
	}

	// What is credited waits, and lowers the next invoice.
	s.Clock.Advance(15 * 24 * time.Hour)
	stale, err := previewPlan(t, p, "team", "EUR", monthly)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := buySeats(t, p, 5); err != nil {
		t.Fatal(err)
	}
	_, err = changePlan(t, p, "team", "EUR", monthly, stale.Etag)
	because(t, "of a subscription that has changed since", err, "ETAG_MISMATCH")
	waits := s.waiting(t, p)
	down, err := previewPlan(t, p, "team", "EUR", monthly)
	if err != nil {
		t.Fatal(err)
	}
	s.Clock.Advance(16 * time.Minute)
	_, err = changePlan(t, p, "team", "EUR", monthly, down.Etag)
	because(t, "of a preview that is old", err, "ETAG_MISMATCH")
	if down, err = previewPlan(t, p, "team", "EUR", monthly); err != nil || down.DueNow.MinorUnits != 0 || down.Total.MinorUnits >= 0 {
		t.Fatalf("previewed: %v, %v", down, err)
	}
	if got, err = changePlan(t, p, "team", "EUR", monthly, down.Etag); err != nil || s.invoices(t, p) != 2 {
		t.Errorf("to a cheaper plan: %v, %v, %d invoices", got, err, s.invoices(t, p))
	}
	waits = append(waits, charged(down.Charges)...)
	sameLines(t, "what waits", waits, s.waiting(t, p))
	s.Clock.Advance(got.CurrentPeriodEndTime.AsTime().Sub(s.Clock.Now()))
	s.pay(t, p)
	s.billDue(t)
	if third := s.invoiced(t, p, 3); len(third) != 2+len(waits) || third[0].Amount != 2000 || third[1].Amount != 3*750 || len(s.waiting(t, p)) != 0 {
		t.Errorf("the next invoice: %v", third)
	}

	// Another interval begins a period, and what is left of the other one is credited.
	s.Clock.Advance(24 * time.Hour)
	year, err := previewPlan(t, p, "team", "EUR", yearly)
	if err != nil {
		t.Fatal(err)
	}
	got, err = changePlan(t, p, "team", "EUR", yearly, year.Etag)
	if err != nil || got.CurrentPeriodEndTime.AsTime().Sub(s.Clock.Now()) < 364*24*time.Hour {
		t.Errorf("yearly: %v, %v", got, err)
	}
	sameLines(t, "the invoice of a year", charged(year.Charges), s.invoiced(t, p, 4))
	if a := amounts(s.invoiced(t, p, 4)); len(a) != 3 || a[0] >= 0 || a[1] >= 0 || a[2] != 20000 {
		t.Errorf("the invoice of a year: %v", a)
	}
	// To what costs nothing, credit stays for later.
	none, err := previewPlan(t, p, "free", "", 0)
	if err != nil || none.NextPeriodTime != nil || none.Total.MinorUnits > -19000 {
		t.Errorf("previewed: %v, %v", none, err)
	}
	got, err = changePlan(t, p, "free", "", 0, none.GetEtag())
	if err != nil {
		t.Fatal(err)
	}
	is(t, "to what costs nothing", got, "free ACTIVE")
	sameLines(t, "what waits", charged(none.Charges), s.waiting(t, p))
	if n := count(t, s.Server, "SELECT count(*) FROM audit.events WHERE workspace_id = $1 AND action = 'subscription.changed'", uuidOf(t, p.Workspace.Id)); n != 5 {
		t.Errorf("%d events of 5 changes", n)
	}
	s.CheckInvariants(t)
}

func TestOnlyWhatIsOfferedIsChosen(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	p := s.person(t)
	for _, c := range []struct {
		plan, currency string
		interval       billingv1.Interval
		want           string
	}{
		{"old", "", 0, "PLAN_NOT_OFFERED"}, {"none", "EUR", monthly, "PLAN_NOT_OFFERED"},
		{"team", "", 0, "FIELD_INVALID"}, {"team", "JPY", monthly, "FIELD_INVALID"}, {"team", "USD", yearly, "FIELD_INVALID"},
		{"team", "eur", monthly, "FIELD_INVALID"}, {"free", "EUR", 0, "FIELD_INVALID"}, {"free", "", monthly, "FIELD_INVALID"},
	} {
		what := fmt.Sprint(c.plan, " ", c.currency, " ", c.interval)
		_, err := previewPlan(t, p, c.plan, c.currency, c.interval)
		because(t, what, err, c.want)
		_, err = changePlan(t, p, c.plan, c.currency, c.interval, "x")
		because(t, what, err, c.want)
	}
	if _, err := buySeats(t, p, 5); err != nil {
		t.Fatal(err)
	}
	_, err := previewPlan(t, p, "small", "EUR", monthly)
	because(t, "more seats bought than the plan has", err, "SEAT_LIMIT_EXCEEDED")
	if _, err := buySeats(t, p, 0); err != nil {
		t.Fatal(err)
	}
	s.invite(t, p, testkit.NewEmail(), "")
	s.invite(t, p, testkit.NewEmail(), "")
	_, err = previewPlan(t, p, "small", "EUR", monthly)
	because(t, "more seats reserved than the plan has", err, "SEATS_IN_USE")
	if m := metadataOf(err); m["active"] != "1" || m["reserved"] != "2" || m["limit"] != "2" {
		t.Errorf("it says: %v", m)
	}
	subscribe(t, p, "team", "EUR", monthly)
	_, err = previewPlan(t, p, "team", "USD", monthly)
	because(t, "another currency", err, "CURRENCY_MISMATCH")
	subscribe(t, p, "free", "", 0)
	subscribe(t, p, "team", "USD", monthly)
	s.CheckInvariants(t)
}

func TestAPlanIsTriedOnce(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	p := s.person(t)
	try := func(plan string) (*billingv1.Subscription, error) {
		res, err := p.Subscriptions.StartTrial(t.Context(), &billingv1.StartTrialRequest{WorkspaceId: p.Workspace.Id, Plan: plan, Currency: "EUR", Interval: monthly})
		return res.GetSubscription(), err
	}
	_, err := try("big")
	because(t, "a plan without a trial", err, "TRIAL_NOT_OFFERED")
	for range 2 { // the second one finds it done
		got, err := try("team")
		if err != nil {
			t.Fatal(err)
		}
		is(t, "tried", got, "team TRIALING")
		if d := got.TrialEndTime.AsTime().Sub(s.Clock.Now()); d > 14*24*time.Hour || d < 14*24*time.Hour-time.Minute || !got.CurrentPeriodEndTime.AsTime().Equal(got.TrialEndTime.AsTime()) {
			t.Errorf("tried: %v", got)
		}
	}
	if s.invoices(t, p) != 0 {
		t.Error("a trial costs something")
	}
	end := subscriptionOf(t, p, p.Workspace.Id).TrialEndTime.AsTime()
	s.Clock.Advance(12 * 24 * time.Hour)
	s.billDue(t)
	s.billDue(t)
	if n := count(t, s.Server, "SELECT count(*) FROM audit.events WHERE action = 'subscription.trial_reminded'"); n != 1 {
		t.Errorf("told %d times that the trial ends", n)
	}
	s.Clock.Advance(3 * 24 * time.Hour)
	s.billDue(t)
	got := subscriptionOf(t, p, p.Workspace.Id)
	is(t, "after the trial", got, "team ACTIVE")
	if lines := s.invoiced(t, p, 1); !slices.Equal(amounts(lines), []int64{2000}) || !lines[0].Start.Equal(end) || !got.CurrentPeriodStartTime.AsTime().Equal(end) {
		t.Errorf("after the trial: %v, %v", lines, got)
	}
	subscribe(t, p, "big", "EUR", monthly)
	if _, err = try("team"); reasonOf(err) != "TRIAL_USED" {
		t.Errorf("a second time: %v", err)
	}
	q := s.person(t)
	for account, want := range map[*testkit.Person][]string{p: {"team"}, q: nil} {
		res, err := account.Subscriptions.GetSubscription(t.Context(), &billingv1.GetSubscriptionRequest{WorkspaceId: account.Workspace.Id})
		if err != nil || !slices.Equal(res.TriedPlans, want) {
			t.Errorf("tried: %v, %v; want %v", res.GetTriedPlans(), err, want)
		}
	}
	subscribe(t, q, "big", "EUR", monthly)
	_, err = q.Subscriptions.StartTrial(t.Context(), &billingv1.StartTrialRequest{WorkspaceId: q.Workspace.Id, Plan: "team", Currency: "EUR", Interval: monthly})
	because(t, "from a plan that costs something", err, "SUBSCRIPTION_STATE")

	// A trial that is canceled ends without a charge; one that is changed ends with one.
	for _, changed := range []bool{false, true} {
		r := s.person(t)
		if _, err := r.Subscriptions.StartTrial(t.Context(), &billingv1.StartTrialRequest{WorkspaceId: r.Workspace.Id, Plan: "team", Currency: "EUR", Interval: monthly}); err != nil {
			t.Fatal(err)
		}
		if changed {
			is(t, "changed in its trial", subscribe(t, r, "team", "EUR", yearly), "team ACTIVE")
		} else {
			is(t, "to be canceled with its trial", cancelPlan(t, r, true), "team TRIALING")
			s.Clock.Advance(15 * 24 * time.Hour)
			s.billDue(t)
			is(t, "canceled with its trial", subscriptionOf(t, r, r.Workspace.Id), "free ACTIVE")
		}
		if n := s.invoices(t, r); (n == 1) != changed {
			t.Errorf("changed: %t, and %d invoices", changed, n)
		}
	}
	s.CheckInvariants(t)
}

func TestWhatIsCanceledEndsAndCanBeTakenBack(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	p := s.person(t)
	resume := func() (*billingv1.Subscription, error) {
		res, err := p.Subscriptions.ResumeSubscription(t.Context(), &billingv1.ResumeSubscriptionRequest{WorkspaceId: p.Workspace.Id})
		return res.GetSubscription(), err
	}
	is(t, "what costs nothing", cancelPlan(t, p, true), "free ACTIVE")
	began := subscribe(t, p, "team", "EUR", monthly)
	_, err := p.Subscriptions.CancelSubscription(t.Context(), &billingv1.CancelSubscriptionRequest{WorkspaceId: p.Workspace.Id, Etag: "sub_x.v1"})
	because(t, "another etag", err, "ETAG_MISMATCH")
	for range 2 {
		got := cancelPlan(t, p, true)
		is(t, "scheduled", got, "team ACTIVE")
		if !got.ScheduledCancelTime.AsTime().Equal(began.CurrentPeriodEndTime.AsTime()) {
			t.Errorf("scheduled: %v", got)
		}
	}
	for range 2 {
		if got, err := resume(); err != nil || got.ScheduledCancelTime != nil {
			t.Errorf("taken back: %v, %v", got, err)
		}
	}
	cancelPlan(t, p, true)
	s.pay(t, p)
	s.Clock.Advance(40 * 24 * time.Hour)
	s.billDue(t)
	got := subscriptionOf(t, p, p.Workspace.Id)
	is(t, "ended", got, "free ACTIVE")
	if got.Id == began.Id || !got.CreateTime.AsTime().Equal(began.CurrentPeriodEndTime.AsTime()) || s.invoices(t, p) != 1 {
		t.Errorf("ended: %v, %d invoices", got, s.invoices(t, p))
	}
	subscribe(t, p, "big", "EUR", monthly)
	is(t, "canceled now", cancelPlan(t, p, false), "free ACTIVE")
	is(t, "canceled again", cancelPlan(t, p, false), "free ACTIVE")
	s.CheckInvariants(t)

	// Where no plan costs nothing, it is paused.
	subscribe(t, p, "team", "EUR", monthly)
	m := s.member(t, p, "member")
	applyPlans(t, s.Server, `plans: [{plan: team, name: Team, default: true, prices: [{currency: EUR, interval: month, flat: 20}], features: {sso: true}}]`)
	got = cancelPlan(t, p, false)
	is(t, "without another plan", got, "team PAUSED")
	if got.PauseReason != billingv1.PauseReason_PAUSE_REASON_CANCELED {
		t.Errorf("paused: %v", got)
	}
	is(t, "canceled again", cancelPlan(t, p, true), "team PAUSED")
	check := func(granted bool) {
		t.Helper()
		res, err := m.Entitlements.CheckEntitlement(t.Context(), &billingv1.CheckEntitlementRequest{WorkspaceId: p.Workspace.Id, Feature: "sso"})
		if err != nil || res.Entitlement.Granted != granted {
			t.Errorf("entitled: %v, %v, want %t", res, err, granted)
		}
	}
	check(false)
	_, err = p.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: p.Workspace.Id, Email: testkit.NewEmail()})
	because(t, "invited while it is paused", err, "SEATS_EXHAUSTED")
	_, err = buySeats(t, p, 5)
	because(t, "seats while it is paused", err, "SUBSCRIPTION_STATE")
	because(t, "removed while it is paused", removeMember(t, p, m.Membership.Id), "")
	before := s.invoices(t, p)
	s.Clock.Advance(100 * 24 * time.Hour)
	s.billDue(t)
	if n := s.invoices(t, p); n != before {
		t.Errorf("%d invoices while it is paused", n-before)
	}
	_, err = resume()
	because(t, "resumed without paying", err, "SUBSCRIPTION_UNPAID")
	s.pay(t, p)
	if got, err = resume(); err != nil || s.invoices(t, p) != before+1 || s.Clock.Now().Sub(got.CurrentPeriodStartTime.AsTime()) > time.Minute {
		t.Errorf("resumed: %v, %v, %d invoices", got, err, s.invoices(t, p)-before)
	}
	is(t, "resumed", got, "team ACTIVE")
	s.CheckInvariants(t)
}

// TestEachPeriodIsInvoicedOnceAfterALongOutage: on the days of its anchor, 31 January,
// by many at once, and though the database refuses in between.
func TestEachPeriodIsInvoicedOnceAfterALongOutage(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	p, q := s.person(t), s.person(t)
	anchor := time.Date(2028, 1, 31, 22, 30, 0, 0, time.UTC) // of a leap year; in Berlin it is 23:30
	s.Clock.Advance(anchor.Sub(s.Clock.Now()))
	subscribe(t, p, "whole", "JPY", monthly)
	subscribe(t, q, "whole", "KWD", monthly)
	s.Clock.Advance(89 * 24 * time.Hour) // until 29 April
	if _, err := s.SQL.Exec(t.Context(), `
		CREATE FUNCTION billing.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
		BEGIN IF NEW.start_time >= '2028-02-28' AND NEW.currency = 'JPY' THEN RAISE EXCEPTION 'refused'; END IF; RETURN NEW; END $$;
		CREATE TRIGGER refuse BEFORE INSERT ON billing.periods FOR EACH ROW EXECUTE FUNCTION billing.refuse()`); err != nil {
		t.Fatal(err)
	}
	if err := s.Store.BillDue(t.Context()); err == nil {
		t.Error("what the database refused is not told")
	}
	if one, all := s.invoices(t, p), s.invoices(t, q); one != 2 || all != 3 {
		t.Errorf("%d invoices until it was refused, and %d of the other one", one, all)
	}
	if _, err := s.SQL.Exec(t.Context(), "DROP TRIGGER refuse ON billing.periods"); err != nil {
		t.Fatal(err)
	}
	if got := atOnce(8, func(int) error { return s.Store.BillDue(t.Context()) }); got[""] != 8 {
		t.Errorf("at once: %v", got)
	}
	day := func(month time.Month, day int) time.Time { return time.Date(2028, month, day, 22, 30, 0, 0, time.UTC) }
	for who, want := range map[*testkit.Person][2]int64{p: {3001, 7}, q: {1001, 333}} {
		ends := []time.Time{day(1, 31), day(2, 29), day(3, 31), day(4, 30)}
		if n := s.invoices(t, who); n != 3 {
			t.Fatalf("%d invoices", n)
		}
		for i := range 3 {
			lines := s.invoiced(t, who, i+1)
			if !slices.Equal(amounts(lines), want[:]) {
				t.Fatalf("invoice %d: %v", i+1, lines)
			}
			// The clock goes on while the test runs: the first period began then.
			if off := lines[0].Start.Sub(ends[i]); off < 0 || off > time.Minute || lines[0].End.Sub(ends[i+1]) != off {
				t.Errorf("invoice %d: %v", i+1, lines)
			}
		}
	}
	s.CheckInvariants(t)
}

func TestWhatIsNotPaidIsRemindedOfPausedAndGoesOnOncePaid(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	p := s.person(t)
	subscribe(t, p, "team", "EUR", yearly)
	const day = 24 * time.Hour
	events := func() map[string]int {
		t.Helper()
		found := map[string]int{}
		for _, action := range []string{"past_due", "payment_reminded", "paused", "recovered"} {
			found[action] = count(t, s.Server, "SELECT count(*) FROM audit.events WHERE workspace_id = $1 AND action = $2", uuidOf(t, p.Workspace.Id), "subscription."+action)
		}
		return found
	}
	after := func(d time.Duration, state string, want map[string]int) {
		t.Helper()
		s.Clock.Advance(d)
		s.billDue(t)
		s.billDue(t)
		is(t, fmt.Sprint("after ", d), subscriptionOf(t, p, p.Workspace.Id), "team "+state)
		if diff := cmp.Diff(want, events()); diff != "" {
			t.Errorf("after %v (-want +got):\n%s", d, diff)
		}
		s.CheckInvariants(t)
	}
	after(13*day, "ACTIVE", map[string]int{"past_due": 0, "payment_reminded": 0, "paused": 0, "recovered": 0})
	after(2*day, "PAST_DUE", map[string]int{"past_due": 1, "payment_reminded": 0, "paused": 0, "recovered": 0})
	after(3*day, "PAST_DUE", map[string]int{"past_due": 1, "payment_reminded": 1, "paused": 0, "recovered": 0})
	after(5*day, "PAST_DUE", map[string]int{"past_due": 1, "payment_reminded": 2, "paused": 0, "recovered": 0})
	// While the workspace is deleted nobody is reminded, and the time does not count.
	s.SignIn(t, p)
	because(t, "deleted", remove(t, p, p.Workspace.Id, preview(t, p, p.Workspace.Id).Etag), "")
	s.Clock.Advance(30 * day)
	s.billDue(t)
	if _, err := p.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id}); err != nil {
		t.Fatal(err)
	}
	after(5*day, "PAST_DUE", map[string]int{"past_due": 1, "payment_reminded": 2, "paused": 0, "recovered": 0})
	after(2*day, "PAUSED", map[string]int{"past_due": 1, "payment_reminded": 2, "paused": 1, "recovered": 0})
	_, err := p.Subscriptions.ResumeSubscription(t.Context(), &billingv1.ResumeSubscriptionRequest{WorkspaceId: p.Workspace.Id})
	because(t, "resumed without paying", err, "SUBSCRIPTION_UNPAID")
	_, err = previewPlan(t, p, "big", "EUR", monthly)
	because(t, "changed without paying", err, "SUBSCRIPTION_UNPAID")
	s.pay(t, p)
	after(0, "ACTIVE", map[string]int{"past_due": 1, "payment_reminded": 2, "paused": 1, "recovered": 1})
	if s.invoices(t, p) != 1 {
		t.Error("the rest of a period that was paid is charged again")
	}
	// When the period has ended meanwhile, the next one begins with the payment.
	s.Clock.Advance(400 * day)
	for range 3 {
		s.billDue(t)
		s.Clock.Advance(15 * day)
	}
	is(t, "not paid again", subscriptionOf(t, p, p.Workspace.Id), "team PAUSED")
	s.Clock.Advance(800 * day)
	s.billDue(t)
	before := s.invoices(t, p)
	s.pay(t, p)
	got := subscriptionOf(t, p, p.Workspace.Id)
	is(t, "paid again", got, "team ACTIVE")
	if s.invoices(t, p) != before+1 || s.Clock.Now().Sub(got.CurrentPeriodStartTime.AsTime()) > time.Minute {
		t.Errorf("paid after the period: %v, %d invoices more", got, s.invoices(t, p)-before)
	}
	s.CheckInvariants(t)
}

func TestBoughtSeatsAreALimitAndAPrice(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	p := s.person(t)
	subscribe(t, p, "team", "EUR", monthly)
	half := func() {
		now := subscriptionOf(t, p, p.Workspace.Id)
		middle := now.CurrentPeriodStartTime.AsTime().Add(now.CurrentPeriodEndTime.AsTime().Sub(now.CurrentPeriodStartTime.AsTime()) / 2)
		s.Clock.Advance(middle.Sub(s.Clock.Now()))
	}
	half()
	before4 := subscriptionOf(t, p, p.Workspace.Id)
	preview, err := p.Seats.UpdateSeatCount(t.Context(), &billingv1.UpdateSeatCountRequest{WorkspaceId: p.Workspace.Id, SeatCount: 4, ValidateOnly: true})
	if err != nil || len(preview.Charges) != 1 || preview.Charges[0].Quantity != 2 || !preview.Charges[0].Proration ||
		!preview.NextPeriodTime.AsTime().Equal(before4.CurrentPeriodEndTime.AsTime()) || preview.NextPeriodTotal.GetMinorUnits() != 2000+2*750 {
		t.Errorf("preview: %v, %v", preview, err)
	}
	if got := subscriptionOf(t, p, p.Workspace.Id); got.Etag != before4.Etag || got.SeatCount != 0 || preview.Subscription.Etag != got.Etag || len(s.waiting(t, p)) != 0 {
		t.Errorf("a preview changes: %v, %v", got, s.waiting(t, p))
	}
	got, err := buySeats(t, p, 4)
	if err != nil || got.SeatCount != 4 || got.BilledSeats != 4 || got.Seats != 1 {
		t.Errorf("bought: %v, %v", got, err)
	}
	if w := s.waiting(t, p); len(w) != 1 || w[0].Amount != preview.Charges[0].Amount.MinorUnits || w[0].Quantity != 2 || w[0].Amount > 750 || w[0].Amount < 749 || !w[0].Proration {
		t.Errorf("what waits: %v", w)
	}
	if _, err := buySeats(t, p, 4); err != nil || len(s.waiting(t, p)) != 1 {
		t.Errorf("bought again: %v, %v", err, s.waiting(t, p))
	}
	u, err := p.Seats.GetSeatUsage(t.Context(), &billingv1.GetSeatUsageRequest{WorkspaceId: p.Workspace.Id})
	if err != nil || u.Limit.Value != 4 || u.Limit.Unlimited || u.SeatCount != 4 || u.Billed != 4 || u.Free != 3 {
		t.Errorf("usage: %v, %v", u, err)
	}
	m := s.member(t, p, "member")
	s.invite(t, p, testkit.NewEmail(), "")
	if len(s.waiting(t, p)) != 1 {
		t.Errorf("a seat that was bought is charged again: %v", s.waiting(t, p))
	}
	_, err = buySeats(t, p, 2)
	because(t, "fewer than are in use", err, "SEATS_IN_USE")
	if m := metadataOf(err); m["active"] != "2" || m["reserved"] != "1" || m["limit"] != "2" {
		t.Errorf("it says: %v", m)
	}
	_, err = buySeats(t, p, 21)
	because(t, "more than the plan has", err, "SEAT_LIMIT_EXCEEDED")
	if _, err := buySeats(t, p, 3); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "a fourth one", "SEATS_EXHAUSTED", func() error {
		_, err := p.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: p.Workspace.Id, Email: testkit.NewEmail()})
		return err
	})
	if _, err := buySeats(t, p, 0); err != nil {
		t.Fatal(err)
	}
	// As many as there are members: each change is a line, and a removal is never refused.
	for range 2 {
		q := s.person(t)
		mustAccept(t, q, s.invite(t, p, q.Email, "").token)
	}
	before := len(s.waiting(t, p))
	because(t, "removed", removeMember(t, p, m.Membership.Id), "")
	if w := s.waiting(t, p); len(w) <= before || w[before].Amount >= 0 {
		t.Errorf("removed: %v", w[before:])
	}
	total := int64(0)
	for _, l := range s.waiting(t, p) {
		total += l.Amount
	}
	if total < 370 || total > 378 { // one seat more than those included, for half a month
		t.Errorf("%d wait for the next invoice", total)
	}
	s.CheckInvariants(t)
}

// TestRenewalsRaceWithChangesAndDeletions runs all that changes a subscription at its
// period's end.
func TestRenewalsRaceWithChangesAndDeletions(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	var people []*testkit.Person
	for range 6 {
		p := s.person(t)
		subscribe(t, p, "team", "EUR", monthly)
		people = append(people, p)
	}
	s.Clock.Advance(65 * 24 * time.Hour)
	for _, p := range people {
		s.SignIn(t, p)
	}
	work := []func(ctx context.Context, p *testkit.Person, n int) error{
		func(ctx context.Context, p *testkit.Person, n int) error { return s.Store.BillDue(ctx) },
		func(ctx context.Context, p *testkit.Person, n int) error {
			_, err := p.Seats.UpdateSeatCount(ctx, &billingv1.UpdateSeatCountRequest{WorkspaceId: p.Workspace.Id, SeatCount: int32(2 + n%7)})
			return err
		},
		func(ctx context.Context, p *testkit.Person, n int) error {
			req := &billingv1.PreviewChangeSubscriptionRequest{WorkspaceId: p.Workspace.Id, Plan: []string{"team", "big"}[n%2], Currency: "EUR", Interval: monthly}
			res, err := p.Subscriptions.PreviewChangeSubscription(ctx, req)
			if err == nil {
				_, err = p.Subscriptions.ChangeSubscription(ctx, &billingv1.ChangeSubscriptionRequest{
					WorkspaceId: req.WorkspaceId, Plan: req.Plan, Currency: req.Currency, Interval: req.Interval, Etag: res.Etag,
				})
			}
			return err
		},
		func(ctx context.Context, p *testkit.Person, n int) error {
			if n%3 > 0 {
				return nil
			}
			res, err := p.Workspaces.PreviewDeleteWorkspace(ctx, &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id})
			if err == nil {
				_, err = p.Workspaces.DeleteWorkspace(ctx, &tenantv1.DeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: res.Etag})
			}
			if err == nil && n%2 == 0 {
				_, err = p.Workspaces.UndeleteWorkspace(ctx, &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id})
			}
			return err
		},
	}
	got := atOnce(6*len(work)*2, func(i int) error {
		return work[i%len(work)](t.Context(), people[i/len(work)%6], i)
	})
	delete(got, "")
	for _, lost := range []string{"ETAG_MISMATCH", "NOT_FOUND", "WORKSPACE_DELETED", "WORKSPACE_NOT_DELETED"} {
		delete(got, lost)
	}
	if len(got) > 0 {
		t.Errorf("refused: %v", got)
	}
	s.billDue(t)
	if n := count(t, s.Server, `
		SELECT count(*) FROM (SELECT 1 FROM billing.invoice_lines WHERE kind = 'flat' AND NOT proration GROUP BY workspace_id, start_time HAVING count(*) > 1) twice`); n != 0 {
		t.Errorf("%d periods are invoiced twice", n)
	}
	s.CheckInvariants(t)
}

func TestAPreviewOfADeletionTellsWhatIsPaid(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	p := s.person(t)
	if got := preview(t, p, p.Workspace.Id); got.SubscriptionEndTime != nil || got.OpenInvoiceCount != 0 {
		t.Errorf("what costs nothing: %v", got)
	}
	paid := subscribe(t, p, "team", "EUR", monthly)
	if got := preview(t, p, p.Workspace.Id); !got.SubscriptionEndTime.AsTime().Equal(paid.CurrentPeriodEndTime.AsTime()) || got.OpenInvoiceCount != 1 {
		t.Errorf("with an invoice: %v", got)
	}
}
