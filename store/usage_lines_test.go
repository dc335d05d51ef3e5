package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/server/billing/planfile"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

const usagePlans = `
plans:
  - plan: pay
    name: Pay
    default: true
    prices:
      - currency: EUR
        interval: month
        flat: 10
        usage:
          - meter: calls
            tiers: [{up_to: 100}, {unit: 0.01}]
          - meter: storage
            mode: volume
            tiers: [{up_to: 10, unit: 1}, {unit: 0.50}]
`

// payer is somebody whose workspace pays for usage, and the periods of that.
type payer struct {
	*testkit.Server
	*testkit.Person
	workspace ids.Workspace
	periods   []pricing.Period
	events    int
}

func newPayer(t *testing.T) *payer {
	t.Helper()
	c := new(clock.Manual)
	c.Advance(time.Date(2028, 1, 31, 10, 30, 0, 0, time.UTC).Sub(c.Now()))
	// Without jobs, which would charge, too.
	p := &payer{Server: testkit.New(t, testkit.Options{Clock: c, WithoutJobs: true, Settings: func(s *config.Settings) {
		s.EmailVerification = config.VerifyAfter
		s.SessionLifetime, s.SessionIdleTimeout = 1000*24*time.Hour, 1000*24*time.Hour
	}})}
	p.applyPlans(t, usagePlans)
	email := testkit.NewEmail()
	res, err := p.Server.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme"})
	if err != nil {
		t.Fatal(err)
	}
	p.Person = p.Server.Person(email, res.Account)
	workspace, err := ids.Parse[ids.Workspace](p.Workspace.Id)
	if err != nil {
		t.Fatal(err)
	}
	p.workspace = workspace
	s, _, err := p.Store.GetSubscription(t.Context(), workspace)
	if err != nil {
		t.Fatal(err)
	}
	at := s.Period.Start
	for range 4 {
		period := s.PeriodAt(at)
		p.periods, at = append(p.periods, period), period.End
	}
	return p
}

func (p *payer) applyPlans(t *testing.T, file string) {
	t.Helper()
	plans, err := planfile.Read(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Store.ApplyPlans(t.Context(), plans, false); err != nil {
		t.Fatal(err)
	}
}

// use records usage in a period, which may have ended.
func (p *payer) use(t *testing.T, period int, meter string, quantity int64) {
	t.Helper()
	at := p.periods[period].End.Add(-time.Microsecond)
	if now := p.Clock.Now(); now.Before(at) {
		at = now
	}
	p.events++
	if _, err := p.Usage.RecordUsage(t.Context(), &billingv1.RecordUsageRequest{WorkspaceId: p.Workspace.Id, Event: &billingv1.UsageEvent{
		EventId: fmt.Sprint(p.events), Meter: meter, Quantity: quantity, EventTime: timestamppb.New(at),
	}}); err != nil {
		t.Fatal(err)
	}
}

// end lets a period end.
func (p *payer) end(period int) {
	p.Clock.Advance(p.periods[period].End.Add(time.Hour).Sub(p.Clock.Now()))
}

func (p *payer) line(period int, meter string, quantity, amount int64) billing.InvoiceLine {
	return billing.InvoiceLine{
		Kind: pricing.ForUsage, Plan: "pay", Description: "Usage of " + meter, Meter: meter, Quantity: quantity, Amount: amount, Currency: "EUR",
		StartTime: p.periods[period].Start, EndTime: p.periods[period].End,
	}
}

// charges checks the lines of a period, as they are foreseen and as they are charged;
// asked for again there is nothing more.
func (p *payer) charges(t *testing.T, what string, period int, want ...billing.InvoiceLine) {
	t.Helper()
	foreseen, err := p.Store.UpcomingUsageLines(t.Context(), p.workspace, p.periods[period])
	if err != nil {
		t.Fatal(err)
	}
	all, err := p.Store.UsageLines(t.Context(), p.workspace, p.periods[period], 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	order := func(a, b billing.InvoiceLine) int {
		return strings.Compare(a.Meter+a.StartTime.String(), b.Meter+b.StartTime.String())
	}
	slices.SortFunc(foreseen, order)
	slices.SortFunc(want, order)
	if diff := cmp.Diff(want, foreseen); diff != "" {
		t.Errorf("%s, foreseen (-want +got):\n%s", what, diff)
	}
	if diff := cmp.Diff(want, all[0]); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
	if len(all[1]) != 0 {
		t.Errorf("%s, asked for again: %v", what, all[1])
	}
	p.CheckInvariants(t)
}

func TestUsageIsChargedWhenItsPeriodHasEnded(t *testing.T) {
	t.Parallel()
	p := newPayer(t)
	p.use(t, 0, "calls", 150)
	p.use(t, 0, "storage", 10)
	p.use(t, 0, "unpriced", 1000)
	p.end(0)
	p.use(t, 1, "calls", 40)

	// A transaction that fails has charged nothing.
	undo := errors.New("undo")
	if _, err := p.Store.UsageLines(t.Context(), p.workspace, p.periods[0], 1, undo); !errors.Is(err, undo) {
		t.Fatal(err)
	}
	p.charges(t, "the first period", 0, p.line(0, "calls", 150, 50), p.line(0, "storage", 10, 1000))
	p.charges(t, "again", 0)

	// What comes late is the difference, by the price of its own period: in a volume price
	// more may cost less, and in a tier that is free nothing. What had no price stays free.
	p.use(t, 0, "calls", 10)
	p.use(t, 0, "storage", 1)
	p.use(t, 0, "unpriced", 1000)
	p.use(t, 1, "calls", 59)
	p.applyPlans(t, strings.NewReplacer("unit: 0.01", "unit: 5", "- meter: storage", "- {meter: unpriced, tiers: [{unit: 1}]}\n          - meter: storage").Replace(usagePlans))
	if _, err := p.SQL.Exec(t.Context(), "UPDATE billing.subscriptions SET plan_version = 2"); err != nil {
		t.Fatal(err)
	}
	p.end(1)
	p.charges(t, "the second period", 1, p.line(0, "calls", 10, 10), p.line(0, "storage", 1, -450))
	p.use(t, 1, "calls", 1)
	p.charges(t, "the last free unit", 2)
	p.use(t, 1, "calls", 1)
	p.use(t, 1, "storage", 2) // of which nothing was used until it was charged
	p.charges(t, "the first one after it", 2, p.line(1, "calls", 1, 500), p.line(1, "storage", 2, 200))
}

// TestUsageIsChargedOnceHoweverManyChargeAtOnce, while others record: in the end all
// that was used is charged, by lines that add up to what is due.
func TestUsageIsChargedOnceHoweverManyChargeAtOnce(t *testing.T) {
	t.Parallel()
	p := newPayer(t)
	p.end(0)
	lines := make(chan []billing.InvoiceLine, 100)
	failures := make(chan error, 100)
	charge := func(ctx context.Context) {
		all, err := p.Store.UsageLines(ctx, p.workspace, p.periods[0], 1, nil)
		failures <- err
		if err == nil {
			lines <- all[0]
		} else {
			lines <- nil
		}
	}
	const chargers, recorders = 10, 40
	for range chargers {
		go charge(t.Context())
	}
	for i := range recorders {
		go func() {
			_, err := p.Usage.RecordUsage(t.Context(), &billingv1.RecordUsageRequest{WorkspaceId: p.Workspace.Id, Event: &billingv1.UsageEvent{
				EventId: fmt.Sprint("at-once", i), Meter: "calls", Quantity: 5, EventTime: timestamppb.New(p.periods[0].End.Add(-time.Hour)),
			}})
			failures <- err
		}()
	}
	for range chargers + recorders {
		if err := <-failures; err != nil {
			t.Error(err)
		}
	}
	charge(t.Context())
	var quantity, amount int64
	for range chargers + 1 {
		for _, l := range <-lines {
			quantity, amount = quantity+l.Quantity, amount+l.Amount
		}
	}
	// The units that are free may be on no line.
	if amount != 100 || quantity > 200 || quantity < 100 {
		t.Errorf("%d units were charged with %d, want 200 with 100", quantity, amount)
	}
	p.CheckInvariants(t)
}
