package e2e

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
)

func invoiceOf(t testing.TB, p *testkit.Person, id string) *billingv1.Invoice {
	t.Helper()
	res, err := p.Invoices.GetInvoice(t.Context(), &billingv1.GetInvoiceRequest{WorkspaceId: p.Workspace.Id, InvoiceId: id})
	if err != nil {
		t.Fatal(err)
	}
	return res.Invoice
}

func numbersOf(list []*billingv1.Invoice) string {
	var numbers []string
	for _, i := range list {
		numbers = append(numbers, strings.TrimPrefix(i.Number, "INV-00000"))
	}
	return strings.Join(numbers, " ")
}

func TestInvoicesAreListedByPages(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	ann, ben := newPerson(t, srv), newPerson(t, srv)
	operator := makeOperator(t, srv, provenPerson(t, srv))
	var all []string
	for n := range 7 {
		p := ann
		if n == 3 {
			p = ben
		}
		id, _ := srv.Invoice(t, p.Workspace.Id)
		all = append(all, id)
	}
	if _, err := operator.Invoices.MarkInvoicePaid(t.Context(), &billingv1.MarkInvoicePaidRequest{InvoiceId: all[1]}); err != nil {
		t.Fatal(err)
	}
	list := func(what, want string, req *billingv1.ListInvoicesRequest) {
		t.Helper()
		req.WorkspaceId = ann.Workspace.Id
		var pages []string
		for {
			res, err := ann.Invoices.ListInvoices(t.Context(), req)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			pages = append(pages, numbersOf(res.Invoices))
			for _, i := range res.Invoices {
				if len(i.Lines) != 0 || i.WorkspaceId != ann.Workspace.Id {
					t.Errorf("%s: %v", what, i)
				}
			}
			if req.PageToken = res.NextPageToken; req.PageToken == "" {
				break
			}
		}
		if got := strings.Join(pages, ", "); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	list("all", "7 6 5 3 2 1", &billingv1.ListInvoicesRequest{})
	list("by pages", "7 6, 5 3, 2 1", &billingv1.ListInvoicesRequest{PageSize: 2})
	list("open ones", "7 6 5, 3 1", &billingv1.ListInvoicesRequest{PageSize: 3, State: billingv1.InvoiceState_INVOICE_STATE_OPEN})
	list("paid ones", "2", &billingv1.ListInvoicesRequest{State: billingv1.InvoiceState_INVOICE_STATE_PAID})
	list("void ones", "", &billingv1.ListInvoicesRequest{State: billingv1.InvoiceState_INVOICE_STATE_VOID})

	page, err := ann.Invoices.ListInvoices(t.Context(), &billingv1.ListInvoicesRequest{WorkspaceId: ann.Workspace.Id, PageSize: 2})
	if err != nil {
		t.Fatal(err)
	}
	_, err = ann.Invoices.ListInvoices(t.Context(), &billingv1.ListInvoicesRequest{
		WorkspaceId: ann.Workspace.Id, PageToken: page.NextPageToken, State: billingv1.InvoiceState_INVOICE_STATE_OPEN,
	})
	if reasonOf(err) != "PAGE_TOKEN_INVALID" {
		t.Errorf("the token of another list: %v", err)
	}
	_, err = ben.Invoices.ListInvoices(t.Context(), &billingv1.ListInvoicesRequest{WorkspaceId: ben.Workspace.Id, PageToken: page.NextPageToken})
	if reasonOf(err) != "PAGE_TOKEN_INVALID" {
		t.Errorf("the token of another workspace: %v", err)
	}
	_, err = ben.Invoices.GetInvoice(t.Context(), &billingv1.GetInvoiceRequest{WorkspaceId: ben.Workspace.Id, InvoiceId: all[0]})
	because(t, "another workspace's invoice", err, "NOT_FOUND")

	for want, req := range map[string]*billingv1.SearchInvoicesRequest{
		"7 6 5 4 3 2 1": {},
		"4":             {WorkspaceId: ben.Workspace.Id},
		"2":             {State: billingv1.InvoiceState_INVOICE_STATE_PAID},
		"5":             {Number: " INV-000005 "},
		"":              {Number: "INV-00000"},
	} {
		res, err := operator.Invoices.SearchInvoices(t.Context(), req)
		if err != nil || numbersOf(res.Invoices) != want {
			t.Errorf("%v: %v, %v, want %q", req, res, err, want)
		}
	}
	first, err := operator.Invoices.SearchInvoices(t.Context(), &billingv1.SearchInvoicesRequest{PageSize: 6})
	if err != nil {
		t.Fatal(err)
	}
	if rest, err := operator.Invoices.SearchInvoices(t.Context(), &billingv1.SearchInvoicesRequest{PageSize: 6, PageToken: first.NextPageToken}); err != nil ||
		numbersOf(rest.Invoices) != "1" || rest.NextPageToken != "" {
		t.Errorf("the second page: %v, %v", rest, err)
	}
	_, err = operator.Invoices.SearchInvoices(t.Context(), &billingv1.SearchInvoicesRequest{WorkspaceId: "acme"})
	because(t, "no id", err, "FIELD_INVALID")
	srv.CheckInvariants(t)
}

func TestAnInvoiceIsPaidOrVoidOnce(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	ann, operator := srv.Register(t), makeOperator(t, srv, srv.Register(t))
	pay := func(id string) (*billingv1.Invoice, error) {
		res, err := operator.Invoices.MarkInvoicePaid(t.Context(), &billingv1.MarkInvoicePaidRequest{InvoiceId: id, Note: "Transfer of " + srv.Clock.Now().String()})
		return res.GetInvoice(), err
	}
	void := func(id string) (*billingv1.Invoice, error) {
		res, err := operator.Invoices.VoidInvoice(t.Context(), &billingv1.VoidInvoiceRequest{InvoiceId: id, Reason: "A mistake"})
		return res.GetInvoice(), err
	}
	first, number := srv.Invoice(t, ann.Workspace.Id)
	second, _ := srv.Invoice(t, ann.Workspace.Id)

	paid, err := pay(first)
	if err != nil || paid.State != billingv1.InvoiceState_INVOICE_STATE_PAID || paid.PaidTime == nil || !strings.HasPrefix(paid.Note, "Transfer of") || len(paid.Lines) != 1 {
		t.Errorf("paid: %v, %v", paid, err)
	}
	srv.Clock.Advance(time.Minute)
	if again, err := pay(first); err != nil || again.String() != paid.String() {
		t.Errorf("paid again: %v, %v", again, err)
	}
	_, err = void(first)
	because(t, "one that is paid", err, "INVOICE_PAID")

	gone, err := void(second)
	if err != nil || gone.State != billingv1.InvoiceState_INVOICE_STATE_VOID || gone.VoidTime == nil || gone.Note != "A mistake" || gone.PaidTime != nil {
		t.Errorf("void: %v, %v", gone, err)
	}
	if again, err := void(second); err != nil || again.String() != gone.String() {
		t.Errorf("void again: %v, %v", again, err)
	}
	_, err = pay(second)
	because(t, "one that is void", err, "INVOICE_VOID")
	_, err = pay(ids.New[ids.Invoice]().String())
	because(t, "none", err, "NOT_FOUND")
	_, err = ann.Invoices.MarkInvoicePaid(t.Context(), &billingv1.MarkInvoicePaidRequest{InvoiceId: first})
	if reasonOf(err) != "OPERATOR_REQUIRED" {
		t.Errorf("by the owner: %v", err)
	}

	testkit.Eventually(t, "the mail of the payment", func() bool {
		return strings.Contains(srv.Mails(t, ann.Email)[0].Subject, number+" from LogicSpike Manager is paid")
	})
	testkit.Eventually(t, "one event of each", func() bool {
		return len(eventsOfWorkspace(t, ann, "invoice.paid")) == 1 && len(eventsOfWorkspace(t, ann, "invoice.voided")) == 1
	})
	if e := eventsOfWorkspace(t, ann, "invoice.voided")[0]; e.ActorUserId != operator.User.Id || e.TargetId != second || e.Details.AsMap()["reason"] != "A mistake" ||
		e.ActorKind != auditv1.ActorKind_ACTOR_KIND_USER {
		t.Errorf("the event: %v", e)
	}
	srv.CheckInvariants(t)

	// Of many who settle one at once, some in one way and some in the other, one does.
	third, _ := srv.Invoice(t, ann.Workspace.Id)
	got := atOnce(20, func(n int) error {
		settle := pay
		if n%2 == 0 {
			settle = void
		}
		_, err := settle(third)
		return err
	})
	if got[""] != 10 || got["INVOICE_PAID"]+got["INVOICE_VOID"] != 10 {
		t.Errorf("settled at once: %v", got)
	}
	srv.CheckInvariants(t)
}

func TestInvoicesStayUntilThePurgeAndTheRegisterAfterIt(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	ann, operator := srv.Register(t), makeOperator(t, srv, srv.Register(t))
	id, number := srv.Invoice(t, ann.Workspace.Id)
	open, _ := srv.Invoice(t, ann.Workspace.Id)
	etag := preview(t, ann, ann.Workspace.Id).Etag
	if err := remove(t, ann, ann.Workspace.Id, etag); err != nil {
		t.Fatal(err)
	}
	// What is open stays due.
	if got := invoiceOf(t, ann, open); got.State != billingv1.InvoiceState_INVOICE_STATE_OPEN {
		t.Errorf("of a deleted workspace: %v", got)
	}
	if _, err := operator.Invoices.MarkInvoicePaid(t.Context(), &billingv1.MarkInvoicePaidRequest{InvoiceId: id}); err != nil {
		t.Errorf("paid after the deletion: %v", err)
	}
	_, err := ann.Invoices.GetUpcomingInvoice(t.Context(), &billingv1.GetUpcomingInvoiceRequest{WorkspaceId: ann.Workspace.Id})
	because(t, "the next one of a deleted workspace", err, "NOT_FOUND")
	if _, err := ann.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: ann.Workspace.Id, Etag: etag}); err != nil {
		t.Fatal(err)
	}
	srv.CheckPurged(t, ann.Workspace.Id, ann.User.Id)
	for table, want := range map[string]int{"invoices": 0, "invoice_lines": 0, "pending_lines": 0, "invoice_register": 2} {
		if n := count(t, srv, "SELECT count(*) FROM billing."+table); n != want {
			t.Errorf("%s has %d rows, want %d", table, n, want)
		}
	}
	if n := count(t, srv, "SELECT count(*) FROM billing.invoice_register WHERE number = '"+number+"' AND total = 2000 AND currency = 'EUR'"); n != 1 {
		t.Errorf("the register does not have %s", number)
	}
	res, err := operator.Invoices.SearchInvoices(t.Context(), &billingv1.SearchInvoicesRequest{Number: number})
	if err != nil || len(res.Invoices) != 0 {
		t.Errorf("after the purge: %v, %v", res, err)
	}
	srv.CheckInvariants(t)
}

func TestAnInvoiceIsRendered(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	ann := newPerson(t, srv)
	name := `<script>alert("1")</script> 🚀 שלום ` + strings.Repeat("W", 50)
	if _, err := ann.Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: ann.Workspace.Id, Name: name}); err != nil {
		t.Fatal(err)
	}
	id, _ := srv.Invoice(t, ann.Workspace.Id)
	if got := invoiceOf(t, ann, id).CustomerName; got != name {
		t.Errorf("the customer is %q", got)
	}
	render := func(format billingv1.InvoiceFormat) (*billingv1.RenderInvoiceResponse, error) {
		return ann.Invoices.RenderInvoice(t.Context(), &billingv1.RenderInvoiceRequest{WorkspaceId: ann.Workspace.Id, InvoiceId: id, Format: format})
	}
	page, err := render(billingv1.InvoiceFormat_INVOICE_FORMAT_HTML)
	if err != nil || page.FileName != "INV-000001.html" || page.ContentType != "text/html; charset=utf-8" ||
		!bytes.Contains(page.Content, []byte("&lt;script&gt;alert(&#34;1&#34;)&lt;/script&gt; 🚀 שלום")) || bytes.Contains(page.Content, []byte("<script")) {
		t.Errorf("the page: %v, %v", page, err)
	}
	file, err := render(billingv1.InvoiceFormat_INVOICE_FORMAT_PDF)
	if err != nil || file.FileName != "INV-000001.pdf" || file.ContentType != "application/pdf" ||
		!bytes.HasPrefix(file.Content, []byte("%PDF-")) || !bytes.HasSuffix(bytes.TrimSpace(file.Content), []byte("%%EOF")) {
		t.Errorf("the PDF: %.200v, %v", file, err)
	}
	_, err = render(billingv1.InvoiceFormat_INVOICE_FORMAT_UNSPECIFIED)
	because(t, "in no form", err, "FIELD_INVALID")

	// What a payment provider issued is there.
	if _, err := srv.SQL.Exec(t.Context(), `
		INSERT INTO billing.invoices (id, workspace_id, provider, provider_invoice_id, document_url, number, issuer_text, customer_name, currency,
			subtotal, tax, total, period_start_time, period_end_time, issue_time, due_time, state, note)
		SELECT $1, workspace_id, 'stripe', 'in_1', 'https://example.com/in_1', 'S-1', '', '', currency,
			subtotal, tax, total, period_start_time, period_end_time, issue_time, due_time, state, note FROM billing.invoices`,
		ids.New[ids.Invoice]().UUID()); err != nil {
		t.Fatal(err)
	}
	operator := makeOperator(t, srv, provenPerson(t, srv))
	found, err := operator.Invoices.SearchInvoices(t.Context(), &billingv1.SearchInvoicesRequest{Number: "S-1"})
	if err != nil || len(found.Invoices) != 1 || found.Invoices[0].DocumentUrl != "https://example.com/in_1" {
		t.Fatalf("the provider's: %v, %v", found, err)
	}
	id = found.Invoices[0].Id
	_, err = render(billingv1.InvoiceFormat_INVOICE_FORMAT_PDF)
	because(t, "the provider's", err, "INVOICE_OF_PROVIDER")
	_, err = operator.Invoices.MarkInvoicePaid(t.Context(), &billingv1.MarkInvoicePaidRequest{InvoiceId: id})
	because(t, "the provider's, paid", err, "INVOICE_OF_PROVIDER")
	_, err = operator.Invoices.VoidInvoice(t.Context(), &billingv1.VoidInvoiceRequest{InvoiceId: id, Reason: "A test"})
	because(t, "the provider's, void", err, "INVOICE_OF_PROVIDER")
}

const paidPlans = `
plans:
  - plan: team
    name: Team
    default: true
    prices:
      - {currency: %s, interval: month, flat: 20, seat: {amount: 7, included: 1}}
`

func TestTheUpcomingInvoiceIsOfTheNextPeriod(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) {
		s.EmailVerification, s.TaxName, s.TaxPercent = config.VerifyAfter, "VAT", "10"
	}})
	if got := upcomingOf(t, newPerson(t, srv)); got != nil {
		t.Errorf("of a plan that costs nothing: %v", got)
	}
	for currency, unit := range map[string]int64{"EUR": 100, "JPY": 1, "KWD": 1000} {
		applyPlans(t, srv, fmt.Sprintf(paidPlans, currency))
		ann := newPerson(t, srv)
		srv.Join(t, newPerson(t, srv), ann.Workspace.Id, "member")
		srv.Join(t, newPerson(t, srv), ann.Workspace.Id, "member")
		s, got := subscriptionOf(t, ann, ann.Workspace.Id), upcomingOf(t, ann)
		want := 34 * unit
		tax := (34*unit + 5) / 10
		if got == nil || got.Id != "" || got.Number != "" || got.Total.Currency != currency || got.Subtotal.MinorUnits != want ||
			got.Tax.MinorUnits != tax || got.Total.MinorUnits != want+tax || len(got.Lines) != 3 || got.Lines[1].Quantity != 2 ||
			!got.IssueTime.AsTime().Equal(s.CurrentPeriodEndTime.AsTime()) || !got.PeriodStartTime.AsTime().Equal(s.CurrentPeriodEndTime.AsTime()) {
			t.Errorf("in %s: %v", currency, got)
		}
		// What waits is on it, and may be more than it costs.
		for _, waits := range []int64{-10 * unit, -30 * unit} {
			if _, err := srv.SQL.Exec(t.Context(), `
				INSERT INTO billing.pending_lines (workspace_id, subscription_id, kind, plan, description, meter, quantity, amount, currency, proration, create_time)
				SELECT workspace_id, id, 'seats', 'team', 'Team', '', 1, $2, $3, true, now() FROM billing.subscriptions WHERE workspace_id = $1`,
				uuidOf(t, ann.Workspace.Id), waits, currency); err != nil {
				t.Fatal(err)
			}
			want += waits
			if got := upcomingOf(t, ann); got.Subtotal.MinorUnits != want || (want < 0) != (got.Total.MinorUnits == want) {
				t.Errorf("with what waits, in %s: %v, want %d", currency, got, want)
			}
		}
	}
	srv.CheckInvariants(t)
}

// TestTheUpcomingInvoiceIsWhatWillBeIssued: of a trial, of what ends with its period, and
// of none while the subscription is paused.
func TestTheUpcomingInvoiceIsWhatWillBeIssued(t *testing.T) {
	t.Parallel()
	s := newBilled(t, func(s *config.Settings) { s.PaymentTerms = 60 * 24 * time.Hour })
	applyPlans(t, s.Server, modelPlans)
	customer := func(try bool) *testkit.Person {
		t.Helper()
		s.Clock.Advance(time.Hour)
		p := s.person(t)
		if try {
			if _, err := p.Subscriptions.StartTrial(t.Context(), &billingv1.StartTrialRequest{WorkspaceId: p.Workspace.Id, Plan: "team", Currency: "EUR", Interval: monthly}); err != nil {
				t.Fatal(err)
			}
		} else {
			subscribe(t, p, "team", "EUR", monthly)
		}
		return p
	}
	use := func(p *testkit.Person) {
		t.Helper()
		if _, err := record(t, p, used("1", "calls", 20, time.Time{})); err != nil {
			t.Fatal(err)
		}
	}
	trying, paying, leaving, quitting := customer(true), customer(false), customer(false), customer(true)
	cancelPlan(t, leaving, true)
	cancelPlan(t, quitting, true)
	for what, p := range map[string]*testkit.Person{"leaves without usage": leaving, "leaves in its trial": quitting} {
		if got := upcomingOf(t, p); got != nil {
			t.Errorf("of who %s: %v", what, got)
		}
	}
	for _, p := range []*testkit.Person{trying, paying, leaving, quitting} {
		use(p)
	}
	for _, c := range []struct {
		who     *testkit.Person
		amounts []int64
		next    bool // the invoice is of the period that comes
	}{{trying, []int64{2000}, true}, {paying, []int64{2000, 30}, true}, {leaving, []int64{30}, false}, {quitting, nil, false}} {
		end := subscriptionOf(t, c.who, c.who.Workspace.Id).CurrentPeriodEndTime.AsTime()
		got := upcomingOf(t, c.who)
		var lines []int64
		for _, l := range got.GetLines() {
			lines = append(lines, l.Amount.MinorUnits)
		}
		if !slices.Equal(lines, c.amounts) {
			t.Errorf("upcoming: %v, want %v", got, c.amounts)
		}
		issued := s.invoices(t, c.who)
		s.Clock.Advance(end.Sub(s.Clock.Now()))
		s.billDue(t)
		if n := s.invoices(t, c.who) - issued; got == nil {
			if n != 0 {
				t.Errorf("%d invoices were to come, and none was told", n)
			}
			continue
		} else if n != 1 {
			t.Errorf("%d invoices were issued of what was to come: %v", n, got)
			continue
		}
		if !got.IssueTime.AsTime().Equal(end) || c.next != got.PeriodStartTime.AsTime().Equal(end) || c.next == got.PeriodEndTime.AsTime().Equal(end) {
			t.Errorf("the time of what was to come: %v, want %v", got, end)
		}
		made := amounts(s.invoiced(t, c.who, issued+1))
		slices.Sort(made)
		slices.Sort(lines)
		if !slices.Equal(made, lines) {
			t.Errorf("issued: %v, and told before: %v", made, lines)
		}
	}
	// Nobody has paid: of what is paused none is to come.
	for range 2 {
		s.Clock.Advance(40 * 24 * time.Hour)
		s.billDue(t)
	}
	is(t, "not paid", subscriptionOf(t, paying, paying.Workspace.Id), "team PAUSED")
	if got := upcomingOf(t, paying); got != nil {
		t.Errorf("of what is paused: %v", got)
	}
	s.CheckInvariants(t)
}
