package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// modelPlans are plans of every kind: those of modelOffers.
const modelPlans = `
plans:
  - {plan: free, name: Free, default: true, features: {seats: 3, calls: {meter: calls, limit: 20}}}
  - plan: team
    name: Team
    trial_days: 14
    prices:
      - {currency: EUR, interval: month, flat: 20, seat: {amount: 7.50, included: 2}, usage: [{meter: calls, tiers: [{up_to: 10}, {unit: 0.03}]}]}
      - {currency: EUR, interval: year, flat: 200}
    features: {seats: 6, sso: true}
  - plan: big
    name: Big
    trial_days: 30
    prices: [{currency: EUR, interval: month, flat: 100, seat: {amount: 5}}]
    features: {sso: true}
  - plan: small
    name: Small
    prices: [{currency: EUR, interval: month, flat: 5}]
    features: {seats: 2}
`

// TestADefaultPlanWithAPriceIsInvoicedWithTheRegistration registers, in each way, where
// new workspaces pay at once. A write that fails leaves neither account nor invoice.
func TestADefaultPlanWithAPriceIsInvoicedWithTheRegistration(t *testing.T) {
	t.Parallel()
	for _, op := range accountOperations {
		if !slices.Contains([]string{"Register at once", "VerifyRegistration", "CreateWorkspace"}, op.name) {
			continue
		}
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, op.settings)
			applyPlans(t, s.Server, fmt.Sprintf(paidPlans, "EUR"))
			sabotage := s.sabotage(t)
			a := op.prepare(t, s)
			invoices := func() int {
				t.Helper()
				return count(t, s.Server, "SELECT count(*) FROM billing.invoices WHERE total = 2000 AND state = 'open'")
			}
			before, had := s.contents(t), invoices()
			sabotage.untilSuccess(t, a, "23514", func(error) { s.requireContents(t, before) })
			if n := invoices(); n != had+1 {
				t.Errorf("%d invoices", n-had)
			}
			sabotage.requireDone(t, a)
		})
	}
	t.Run("many at once", func(t *testing.T) {
		t.Parallel()
		s := newStage(t, provenLater)
		applyPlans(t, s.Server, fmt.Sprintf(paidPlans, "EUR"))
		got := atOnce(12, func(int) error {
			_, err := s.Client("").Registration.Register(t.Context(), newRegistration(testkit.NewEmail()))
			return err
		})
		if n := count(t, s.Server, "SELECT count(*) FROM billing.invoices"); got[""] != 12 || n != 12 {
			t.Errorf("%v, and %d invoices", got, n)
		}
		s.CheckInvariants(t)
	})
}

// TestBillingThatDiesAtAnyWriteChargesNothingTwice has a renewal, the end of a trial and a
// cancellation be due, lets the writes of BillDue fail in turn, as sampled, by an error or as when the
// process dies, and runs it again.
func TestBillingThatDiesAtAnyWriteChargesNothingTwice(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"23514", cut} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			s := newBilled(t, func(s *config.Settings) { s.PaymentTerms = 9 * 365 * 24 * time.Hour })
			applyPlans(t, s.Server, modelPlans)
			owner := s.person(t)
			sabotage := s.sabotage(t)
			customer := func(change func(p *testkit.Person)) *testkit.Person {
				t.Helper()
				res, err := owner.Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Acme"})
				if err != nil {
					t.Fatal(err)
				}
				p := *owner
				p.Workspace = res.Workspace
				change(&p)
				if _, err := record(t, &p, used("1", "calls", 20, time.Time{})); err != nil {
					t.Fatal(err)
				}
				return &p
			}
			at, step := sampled()
			for struck := true; struck; at += step {
				paying := customer(func(p *testkit.Person) { subscribe(t, p, "team", "EUR", monthly) })
				trying := customer(func(p *testkit.Person) {
					if _, err := p.Subscriptions.StartTrial(t.Context(), &billingv1.StartTrialRequest{WorkspaceId: p.Workspace.Id, Plan: "team", Currency: "EUR", Interval: monthly}); err != nil {
						t.Fatal(err)
					}
				})
				leaving := customer(func(p *testkit.Person) {
					subscribe(t, p, "team", "EUR", monthly)
					cancelPlan(t, p, true)
				})
				s.Clock.Advance(64 * 24 * time.Hour) // two periods end
				sabotage.strike(t, blow{at, state})
				err := s.Store.BillDue(t.Context())
				if struck = sabotage.rest(t); struck != (err != nil) {
					t.Fatalf("write %d failed: %t, and %v", at, struck, err)
				}
				if struck {
					s.billDue(t)
				}
				s.billDue(t) // nothing is left
				for who, want := range map[*testkit.Person][]int64{
					paying:  {2000, 2000, 30, 2000},
					trying:  {2000, 2000},
					leaving: {2000, 30},
				} {
					var got []int64
					for _, l := range s.billedLines(t, `(SELECT l.* FROM billing.invoice_lines l JOIN billing.invoices i ON i.id = l.invoice_id
						WHERE l.workspace_id = $1 ORDER BY i.number, l.amount DESC) lines`, uuidOf(t, who.Workspace.Id)) {
						got = append(got, l.Amount)
					}
					mails := count(t, s.Server, "SELECT count(*) FROM audit.events WHERE action = 'invoice.issued' AND workspace_id = $1", uuidOf(t, who.Workspace.Id))
					if !slices.Equal(got, want) || len(s.waiting(t, who)) > 0 || mails != s.invoices(t, who) {
						t.Errorf("write %d failed: %v on %d invoices, %v waits; want %v", at, got, s.invoices(t, who), s.waiting(t, who), want)
					}
					s.SignIn(t, owner)
					s.delete(t, owner, who.Workspace.Id)
				}
			}
			if at < 30 {
				t.Errorf("only %d writes were found", at)
			}
			s.CheckInvariants(t)
		})
	}
}

// TestDebtsStayWhenAPlanIsCanceled: the free plan that follows is past due and then paused
// in its turn, until the invoice is paid; canceling that begins no new grace.
func TestDebtsStayWhenAPlanIsCanceled(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	p := s.person(t)
	subscribe(t, p, "team", "EUR", monthly)
	const day = 24 * time.Hour
	for _, step := range []struct {
		after  time.Duration
		cancel bool
		want   string
	}{
		{15 * day, false, "team PAST_DUE"}, {0, true, "free ACTIVE"}, {day, false, "free PAST_DUE"}, {15 * day, false, "free PAUSED"},
		{0, true, "free PAUSED"}, {0, false, "free PAUSED"}, {60 * day, false, "free PAUSED"},
	} {
		s.Clock.Advance(step.after)
		what := fmt.Sprintf("after %v", step.after)
		if step.cancel {
			is(t, what+", canceled", cancelPlan(t, p, false), step.want)
		} else {
			s.billDue(t)
			is(t, what, subscriptionOf(t, p, p.Workspace.Id), step.want)
		}
	}
	if open := count(t, s.Server, "SELECT count(*) FROM billing.invoices WHERE workspace_id = $1 AND state = 'open'", uuidOf(t, p.Workspace.Id)); open != 1 || s.invoices(t, p) != 1 {
		t.Errorf("%d of %d invoices are open", open, s.invoices(t, p))
	}
	_, err := previewPlan(t, p, "big", "EUR", monthly)
	because(t, "another plan, without paying", err, "SUBSCRIPTION_UNPAID")
	s.pay(t, p)
	is(t, "paid", subscriptionOf(t, p, p.Workspace.Id), "free ACTIVE")
	s.CheckInvariants(t)
}

// TestACancellationThatIsScheduledHoldsThoughThePaymentIsLate: who pays what they owed
// after the period has ended, is not charged for another one.
func TestACancellationThatIsScheduledHoldsThoughThePaymentIsLate(t *testing.T) {
	t.Parallel()
	s := newBilled(t, func(s *config.Settings) { s.DunningGrace = 5 * 24 * time.Hour })
	p := s.person(t)
	subscribe(t, p, "team", "EUR", monthly)
	cancelPlan(t, p, true)
	for _, step := range []struct {
		days int
		want string
	}{{15, "team PAST_DUE"}, {6, "team PAUSED"}, {40, "team PAUSED"}} {
		s.Clock.Advance(time.Duration(step.days) * 24 * time.Hour)
		s.billDue(t)
		is(t, fmt.Sprintf("after %d days", step.days), subscriptionOf(t, p, p.Workspace.Id), step.want)
	}
	s.pay(t, p)
	is(t, "paid", subscriptionOf(t, p, p.Workspace.Id), "free ACTIVE")
	if n := s.invoices(t, p); n != 1 {
		t.Errorf("%d invoices", n)
	}
	s.CheckInvariants(t)
}

// TestOwnersAreMailedBeforeATrialEndsAndWhileNobodyPays: all of them, and nobody else.
func TestOwnersAreMailedBeforeATrialEndsAndWhileNobodyPays(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: longSessions})
	applyPlans(t, srv, pricedPlans)
	ann, ben, mia := srv.Register(t), srv.Register(t), srv.Register(t)
	srv.Join(t, ben, ann.Workspace.Id, authz.Owner)
	srv.Join(t, mia, ann.Workspace.Id, authz.Admin)
	if _, err := ann.Subscriptions.StartTrial(t.Context(), &billingv1.StartTrialRequest{WorkspaceId: ann.Workspace.Id, Plan: "team", Currency: "EUR", Interval: monthly}); err != nil {
		t.Fatal(err)
	}
	about := func(p *testkit.Person, subject string) (n int) {
		for _, m := range srv.Mails(t, p.Email) {
			if strings.Contains(m.Subject, subject) {
				n++
			}
		}
		return n
	}
	const ending, invoice, overdue, paused = "ends soon", "Invoice ", "is overdue", "paused"
	const day = 24 * time.Hour
	for _, step := range []struct {
		after                            time.Duration
		ending, invoice, overdue, paused int
	}{
		{10 * day, 0, 0, 0, 0}, {2 * day, 1, 0, 0, 0}, {2 * day, 1, 1, 0, 0}, {14 * day, 1, 1, 1, 0}, {3 * day, 1, 1, 2, 0}, {4 * day, 1, 1, 3, 0}, {7 * day, 1, 1, 3, 1},
	} {
		srv.Clock.Advance(step.after)
		if err := srv.Store.BillDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []int{step.ending, step.invoice, step.overdue, step.paused}
		for _, p := range []*testkit.Person{ann, ben} {
			testkit.Eventually(t, fmt.Sprintf("mails after %v: %v", step.after, want), func() bool {
				return slices.Equal([]int{about(p, ending), about(p, invoice), about(p, overdue), about(p, paused)}, want)
			})
		}
	}
	if n := about(mia, ending) + about(mia, invoice) + about(mia, overdue) + about(mia, paused); n != 0 {
		t.Errorf("%d mails to who is no owner", n)
	}
	srv.CheckInvariants(t)
}
