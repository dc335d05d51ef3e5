package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/client"
	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

const pricedPlans = `
plans:
  - {plan: free, name: Free, default: true, features: {seats: 10}}
  - plan: team
    name: Team
    trial_days: 14
    prices:
      - {currency: EUR, interval: month, flat: 20, seat: {amount: 7.50, included: 2}}
      - {currency: EUR, interval: year, flat: 200}
      - {currency: USD, interval: month, flat: 25}
    features: {seats: 20, sso: true}
  - plan: big
    name: Big
    prices: [{currency: EUR, interval: month, flat: 100, seat: {amount: 5}}]
  - plan: small
    name: Small
    prices: [{currency: EUR, interval: month, flat: 5}]
    features: {seats: 2}
  - plan: whole
    name: Whole
    prices: [{currency: JPY, interval: month, flat: 3001, seat: {amount: 7}}, {currency: KWD, interval: month, flat: 1.001, seat: {amount: 0.333}}]
  - {plan: old, name: Old, offered: false}
`

const (
	monthly = billingv1.Interval_INTERVAL_MONTH
	yearly  = billingv1.Interval_INTERVAL_YEAR
)

// newBilled starts a server with plans whose sessions last, and which does by itself only
// what a test asks for.
func newBilled(t *testing.T, more ...func(*config.Settings)) *stage {
	t.Helper()
	s := &stage{testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) {
		s.SessionLifetime, s.SessionIdleTimeout, s.DeletionGrace = 9*365*24*time.Hour, 9*365*24*time.Hour, 60*24*time.Hour
		for _, change := range more {
			change(s)
		}
	}})}
	applyPlans(t, s.Server, pricedPlans)
	return s
}

func previewPlan(t testing.TB, p *testkit.Person, plan, currency string, interval billingv1.Interval) (*billingv1.PreviewChangeSubscriptionResponse, error) {
	t.Helper()
	return p.Subscriptions.PreviewChangeSubscription(t.Context(), &billingv1.PreviewChangeSubscriptionRequest{
		WorkspaceId: p.Workspace.Id, Plan: plan, Currency: currency, Interval: interval,
	})
}

func changePlan(t testing.TB, p *testkit.Person, plan, currency string, interval billingv1.Interval, etag string) (*billingv1.Subscription, error) {
	t.Helper()
	res, err := p.Subscriptions.ChangeSubscription(t.Context(), &billingv1.ChangeSubscriptionRequest{
		WorkspaceId: p.Workspace.Id, Plan: plan, Currency: currency, Interval: interval, Etag: etag,
	})
	return res.GetSubscription(), err
}

// subscribe changes the plan, as it is previewed.
func subscribe(t testing.TB, p *testkit.Person, plan, currency string, interval billingv1.Interval) *billingv1.Subscription {
	t.Helper()
	preview, err := previewPlan(t, p, plan, currency, interval)
	if err != nil {
		t.Fatalf("preview of %s: %v", plan, err)
	}
	s, err := changePlan(t, p, plan, currency, interval, preview.Etag)
	if err != nil {
		t.Fatalf("change to %s: %v", plan, err)
	}
	return s
}

func cancelPlan(t testing.TB, p *testkit.Person, atPeriodEnd bool) *billingv1.Subscription {
	t.Helper()
	res, err := p.Subscriptions.CancelSubscription(t.Context(), &billingv1.CancelSubscriptionRequest{WorkspaceId: p.Workspace.Id, AtPeriodEnd: atPeriodEnd})
	if err != nil {
		t.Fatal(err)
	}
	return res.Subscription
}

func buySeats(t testing.TB, p *testkit.Person, seats int32) (*billingv1.Subscription, error) {
	t.Helper()
	res, err := p.Seats.UpdateSeatCount(t.Context(), &billingv1.UpdateSeatCountRequest{WorkspaceId: p.Workspace.Id, SeatCount: seats})
	return res.GetSubscription(), err
}

func (s *stage) billDue(t testing.TB) {
	t.Helper()
	if err := s.Store.BillDue(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// billedLine is a line of an invoice, or one that waits for it.
type billedLine struct {
	Kind, Plan, Currency string
	Quantity, Amount     int64
	Start, End           time.Time
	Proration            bool
}

func (s *stage) billedLines(t testing.TB, sql string, args ...any) []billedLine {
	t.Helper()
	rows, err := s.SQL.Query(t.Context(), "SELECT kind, plan, currency, quantity, amount, start_time, end_time, proration FROM "+sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowToStructByPos[billedLine])
	if err != nil {
		t.Fatal(err)
	}
	for i := range lines {
		lines[i].Start, lines[i].End = lines[i].Start.UTC(), lines[i].End.UTC()
	}
	return lines
}

// invoiced are the lines of the n-th invoice of a workspace, from 1, and waiting those
// that no invoice has yet.
func (s *stage) invoiced(t testing.TB, p *testkit.Person, n int) []billedLine {
	t.Helper()
	return s.billedLines(t, `billing.invoice_lines WHERE invoice_id = (
		SELECT id FROM billing.invoices WHERE workspace_id = $1 ORDER BY number LIMIT 1 OFFSET $2) ORDER BY position`, uuidOf(t, p.Workspace.Id), n-1)
}

func (s *stage) waiting(t testing.TB, p *testkit.Person) []billedLine {
	t.Helper()
	return s.billedLines(t, "billing.pending_lines WHERE workspace_id = $1 ORDER BY id", uuidOf(t, p.Workspace.Id))
}

func (s *stage) invoices(t testing.TB, p *testkit.Person) int {
	t.Helper()
	return count(t, s.Server, "SELECT count(*) FROM billing.invoices WHERE workspace_id = $1", uuidOf(t, p.Workspace.Id))
}

// pay notes that all open invoices of a workspace were paid.
func (s *stage) pay(t testing.TB, p *testkit.Person) {
	t.Helper()
	rows, err := s.SQL.Query(t.Context(), "SELECT id::text FROM billing.invoices WHERE workspace_id = $1 AND state = 'open'", uuidOf(t, p.Workspace.Id))
	if err != nil {
		t.Fatal(err)
	}
	open, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range open {
		if _, err := s.Store.MarkInvoicePaid(t.Context(), ids.FromUUID[ids.Invoice](uuid.MustParse(id)), store.Operation{CommandLine: true, Reason: "Paid."}); err != nil {
			t.Fatal(err)
		}
	}
}

// charged are the charges of a preview as lines.
func charged(list []*billingv1.Charge) []billedLine {
	var lines []billedLine
	for _, c := range list {
		lines = append(lines, billedLine{
			Kind: map[billingv1.ChargeKind]string{billingv1.ChargeKind_CHARGE_KIND_FLAT: "flat", billingv1.ChargeKind_CHARGE_KIND_SEATS: "seats"}[c.Kind],
			Plan: c.Plan, Currency: c.Amount.Currency, Quantity: c.Quantity, Amount: c.Amount.MinorUnits,
			Start: c.StartTime.AsTime(), End: c.EndTime.AsTime(), Proration: c.Proration,
		})
	}
	return lines
}

func sameLines(t testing.TB, what string, want, got []billedLine) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func amounts(lines []billedLine) (list []int64) {
	for _, l := range lines {
		list = append(list, l.Amount)
	}
	return list
}

// is checks plan and state of a subscription: "team active".
func is(t testing.TB, what string, s *billingv1.Subscription, want string) {
	t.Helper()
	got := fmt.Sprintf("%s %s", s.Plan.Plan, s.State.String()[len("SUBSCRIPTION_STATE_"):])
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// metadataOf is what an error says beside its reason.
func metadataOf(err error) map[string]string { return client.Metadata(err) }
