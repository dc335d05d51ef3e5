package e2e

import (
	"testing"
	"time"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// voidNewest makes the newest open invoice of somebody's workspace void, as an operator does.
func (s *stage) voidNewest(t *testing.T, p *testkit.Person) {
	t.Helper()
	list, err := p.Invoices.ListInvoices(t.Context(), &billingv1.ListInvoicesRequest{
		WorkspaceId: p.Workspace.Id, State: billingv1.InvoiceState_INVOICE_STATE_OPEN, PageSize: 1,
	})
	if err != nil || len(list.Invoices) == 0 {
		t.Fatalf("open invoices: %v, %v", list, err)
	}
	id, err := ids.Parse[ids.Invoice](list.Invoices[0].Id)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Store.VoidInvoice(t.Context(), id, store.Operation{Reason: "A mistake", CommandLine: true}); err != nil {
		t.Fatal(err)
	}
}

// TestWhatIsVoidIsNotCredited: nobody has paid for it, so that there is nothing to give
// back, whether the plan or the seats change before an invoice is void or after it.
func TestWhatIsVoidIsNotCredited(t *testing.T) {
	t.Parallel()
	s := newBilled(t)
	half := 365 * 12 * time.Hour
	nothing := func(what string, p *testkit.Person) {
		t.Helper()
		var rest int64
		for _, amount := range amounts(s.waiting(t, p)) {
			rest += amount
		}
		if rest != 0 {
			t.Errorf("%s: %d wait for the next invoice: %v", what, rest, s.waiting(t, p))
		}
	}

	before := s.person(t)
	subscribe(t, before, "team", "EUR", yearly)
	s.Clock.Advance(half)
	subscribe(t, before, "free", "", 0)
	if got := amounts(s.waiting(t, before)); len(got) != 1 || got[0] > -9900 || got[0] < -10100 {
		t.Fatalf("credit for half of the year: %v", got)
	}
	s.voidNewest(t, before)
	nothing("changed, then void", before)
	subscribe(t, before, "team", "EUR", yearly)
	if got := s.invoiced(t, before, 1); amounts(got)[0] != 20000 {
		t.Errorf("the next year: %v", got)
	}

	after := s.person(t)
	subscribe(t, after, "team", "EUR", yearly)
	s.voidNewest(t, after)
	s.Clock.Advance(half)
	preview, err := previewPlan(t, after, "free", "", 0)
	if err != nil || len(preview.Charges) != 0 {
		t.Errorf("preview after it was void: %v, %v", preview, err)
	}
	subscribe(t, after, "free", "", 0)
	nothing("void, then changed", after)

	// What was paid of another plan's time is credited as ever.
	paid := s.person(t)
	subscribe(t, paid, "team", "EUR", yearly)
	s.pay(t, paid)
	s.Clock.Advance(half)
	subscribe(t, paid, "big", "EUR", monthly)
	credited := s.waiting(t, paid)
	subscribe(t, paid, "free", "", 0)
	if got := s.waiting(t, paid); len(got) <= len(credited) {
		t.Errorf("credit after what was paid: %v, then %v", credited, got)
	}

	// Seats.
	seats := s.person(t)
	if _, err := buySeats(t, seats, 6); err != nil {
		t.Fatal(err)
	}
	subscribe(t, seats, "team", "EUR", monthly) // four seats are charged
	s.voidNewest(t, seats)
	if _, err := buySeats(t, seats, 3); err != nil {
		t.Fatal(err)
	}
	nothing("fewer seats of what is void", seats)
	s.CheckInvariants(t)
}
