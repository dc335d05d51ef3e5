package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// march is a period.
var march = pricing.Period{Start: time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), End: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC)}

func charge(amount int64, currency string) []billing.InvoiceLine {
	return []billing.InvoiceLine{{
		Kind: pricing.ForFlat, Plan: "team", Description: "Team", Quantity: 1, Amount: amount, Currency: currency, StartTime: march.Start, EndTime: march.End,
	}}
}

func workspaceOf(t testing.TB, p *testkit.Person) ids.Workspace {
	t.Helper()
	w, err := ids.Parse[ids.Workspace](p.Workspace.Id)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// issue issues an invoice, nil for none.
func issue(t testing.TB, srv *testkit.Server, p *testkit.Person, lines []billing.InvoiceLine) *billing.Invoice {
	t.Helper()
	i, err := srv.Store.IssueInvoice(t.Context(), workspaceOf(t, p), lines, march)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

func get(t testing.TB, p *testkit.Person, id string) *billingv1.Invoice {
	t.Helper()
	res, err := p.Invoices.GetInvoice(t.Context(), &billingv1.GetInvoiceRequest{WorkspaceId: p.Workspace.Id, InvoiceId: id})
	if err != nil {
		t.Fatal(err)
	}
	return res.Invoice
}

func TestAnInvoiceIsIssuedWithItsTaxNumberEventAndMail(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) {
		s.InvoiceIssuer, s.InvoicePrefix, s.PaymentTerms = "Example GmbH|Berlin \n Germany", "EX/", 10*24*time.Hour
		s.TaxName, s.TaxPercent = "VAT", "19"
	}})
	ann := srv.Register(t)
	i := issue(t, srv, ann, append(charge(2000, "EUR"), charge(1003, "EUR")...))
	got := get(t, ann, i.ID.String())
	if got.Number != "EX/000001" || got.Issuer != "Example GmbH\nBerlin\nGermany" || got.CustomerName != ann.Workspace.Name ||
		got.State != billingv1.InvoiceState_INVOICE_STATE_OPEN || got.DueTime.AsTime().Sub(got.IssueTime.AsTime()) != 10*24*time.Hour ||
		got.Subtotal.MinorUnits != 3003 || got.Tax.MinorUnits != 571 || got.Total.MinorUnits != 3574 || got.Total.Currency != "EUR" ||
		!got.PeriodEndTime.AsTime().Equal(march.End) {
		t.Errorf("the invoice: %v", got)
	}
	if n := len(got.Lines); n != 3 || got.Lines[2].Kind != billingv1.InvoiceLineKind_INVOICE_LINE_KIND_TAX || got.Lines[2].Description != "VAT 19%" {
		t.Errorf("its lines: %v", got.Lines)
	}
	m := srv.Mail(t, ann.Email, 1)
	testkit.Eventually(t, "the mail of the invoice", func() bool {
		m = srv.Mails(t, ann.Email)[0]
		return strings.Contains(m.Subject, "EX/000001")
	})
	if !strings.Contains(m.Text, "Total: EUR 35.74") || !strings.Contains(m.Text, got.DueTime.AsTime().Format("2 January 2006")) {
		t.Errorf("the mail:\n%s", m.Text)
	}
	if n := number(t, srv, "SELECT count(*) FROM audit.events WHERE action = 'invoice.issued' AND target_id = $1 AND details ->> 'number' = 'EX/000001'", i.ID.String()); n != 1 {
		t.Errorf("%d events", n)
	}
	srv.CheckInvariants(t)
}

func number(t testing.TB, srv *testkit.Server, sql string, args ...any) (n int) {
	t.Helper()
	if err := srv.SQL.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestWhatIsCreditedIsOnTheNextInvoice: as long as nothing is to be paid there is none.
func TestWhatIsCreditedIsOnTheNextInvoice(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	ann, ben := srv.Register(t), srv.Register(t)
	pending := func(want int) {
		t.Helper()
		if n := number(t, srv, "SELECT count(*) FROM billing.pending_lines"); n != want {
			t.Errorf("%d lines wait, want %d", n, want)
		}
		srv.CheckInvariants(t)
	}
	if err := srv.Store.AddPendingLines(t.Context(), workspaceOf(t, ann), slices.Concat(charge(-4500, "EUR"), charge(0, "EUR"), charge(-700, "JPY"))); err != nil {
		t.Fatal(err)
	}
	pending(2)
	if i := issue(t, srv, ann, charge(2000, "EUR")); i != nil {
		t.Errorf("while more is credited: %+v", i)
	}
	pending(3)
	if i := issue(t, srv, ann, charge(2500, "EUR")); i != nil {
		t.Errorf("of nothing: %+v", i)
	}
	pending(4)
	if i := issue(t, srv, ann, nil); i != nil {
		t.Errorf("without a line: %+v", i)
	}
	if i := issue(t, srv, ben, charge(1, "EUR")); i == nil || i.Total != 1 || i.Number != "INV-000001" {
		t.Errorf("somebody else's: %+v", i)
	}
	pending(4)
	i := issue(t, srv, ann, charge(1999, "EUR"))
	if i == nil || i.Total != 1999 || i.Number != "INV-000002" {
		t.Fatalf("the next one: %+v", i)
	}
	var amounts []int64
	for _, l := range get(t, ann, i.ID.String()).Lines {
		amounts = append(amounts, l.Amount.MinorUnits)
	}
	if diff := cmp.Diff([]int64{1999, -4500, 2000, 2500}, amounts); diff != "" {
		t.Errorf("its lines (-want +got):\n%s", diff)
	}
	pending(1) // in another currency
	if i := issue(t, srv, ann, charge(1000, "JPY")); i == nil || i.Total != 300 || i.Currency != "JPY" {
		t.Errorf("in yen: %+v", i)
	}
	pending(0)
	if _, err := srv.Store.IssueInvoice(t.Context(), workspaceOf(t, ann), append(charge(1, "EUR"), charge(1, "USD")...), march); err == nil {
		t.Error("an invoice in two currencies")
	}
	srv.CheckInvariants(t)
}

// TestNumbersOfInvoicesHaveNoGaps: whoever issues at once, and whatever fails meanwhile.
func TestNumbersOfInvoicesHaveNoGaps(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	if _, err := srv.SQL.Exec(t.Context(), `
		CREATE FUNCTION billing.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken' USING ERRCODE = '23514'; END $$;
		CREATE TRIGGER fails AFTER INSERT ON billing.invoices FOR EACH ROW WHEN (NEW.total = 13) EXECUTE FUNCTION billing.fail()`); err != nil {
		t.Fatal(err)
	}
	var people []*testkit.Person
	for range 5 {
		people = append(people, srv.Register(t))
	}
	const each = 12
	var wg sync.WaitGroup
	var mu sync.Mutex
	var got []string
	failed := 0
	for n := range each * len(people) { // 50 that succeed, and 10 that do not
		w := workspaceOf(t, people[n%len(people)])
		wg.Go(func() {
			amount := int64(100 + n)
			if n%6 == 0 {
				amount = 13
			}
			i, err := srv.Store.IssueInvoice(t.Context(), w, charge(amount, "EUR"), march)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil && amount == 13:
				failed++
			case err != nil:
				t.Error(err)
			default:
				got = append(got, i.Number)
			}
		})
	}
	wg.Wait()
	slices.Sort(got)
	for n, have := range got {
		if want := fmt.Sprintf("INV-%06d", n+1); have != want {
			t.Fatalf("%s, want %s, among %v", have, want, got)
		}
	}
	if len(got) != 50 || failed != 10 {
		t.Errorf("%d were issued, and %d failed", len(got), failed)
	}
	if n := number(t, srv, "SELECT count(*) FROM billing.invoice_register"); n != 50 {
		t.Errorf("%d are in the register", n)
	}
	if i := issue(t, srv, people[0], charge(5, "EUR")); i.Number != "INV-000051" {
		t.Errorf("the next one is %s", i.Number)
	}
	srv.CheckInvariants(t)
}

// TestAnIssuedInvoiceNeverChanges tries every column of it, and of what belongs to it.
func TestAnIssuedInvoiceNeverChanges(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	ann := srv.Register(t)
	i := issue(t, srv, ann, charge(2000, "EUR"))
	refused := func(what, sql, constraint string, args ...any) {
		t.Helper()
		_, err := srv.SQL.Exec(t.Context(), sql, args...)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.ConstraintName != constraint {
			t.Errorf("%s: %v", what, err)
		}
	}
	another := map[string]string{ // another value of a type
		"uuid": "gen_random_uuid()", "text": "coalesce(%[1]s, '') || 'x'", "bigint": "%[1]s + 1", "integer": "%[1]s + 1",
		"timestamp with time zone": "coalesce(%[1]s, now()) + interval '1 second'", "boolean": "NOT %[1]s",
	}
	may := []string{"state", "paid_time", "void_time", "note"}
	walk := func(when string, allowed []string) {
		t.Helper()
		tried := 0
		for table, constraint := range map[string]string{"invoices": "invoice_kept", "invoice_lines": "invoice_kept", "invoice_register": "invoice_register_kept"} {
			rows, err := srv.SQL.Query(t.Context(), "SELECT column_name, data_type FROM information_schema.columns WHERE table_schema = 'billing' AND table_name = $1", table)
			if err != nil {
				t.Fatal(err)
			}
			var column, kind string
			if _, err := pgx.ForEachRow(rows, []any{&column, &kind}, func() error {
				if table == "invoices" && slices.Contains(allowed, column) {
					return nil
				}
				value := another[kind]
				if value == "" {
					return fmt.Errorf("%s.%s is of an unknown type, %s", table, column, kind)
				}
				if strings.Contains(value, "%") {
					value = fmt.Sprintf(value, column)
				}
				tried++
				refused(when+": "+table+"."+column, fmt.Sprintf("UPDATE billing.%s SET %s = %s", table, column, value), constraint)
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			refused(when+": "+table, "DELETE FROM billing."+table, constraint)
		}
		if tried < 35 {
			t.Errorf("only %d columns were tried", tried)
		}
		refused(when+": another line", `
			INSERT INTO billing.invoice_lines SELECT invoice_id, 99, workspace_id, kind, plan, description, meter, quantity, amount, currency, start_time, end_time, proration
			FROM billing.invoice_lines`, "invoice_kept")
	}
	before := get(t, ann, i.ID.String())
	walk("open", may)
	if diff := cmp.Diff(before.String(), get(t, ann, i.ID.String()).String()); diff != "" {
		t.Errorf("it changed (-before +after):\n%s", diff)
	}
	// Of another workspace that is purged it stays, too.
	err := pgx.BeginFunc(t.Context(), srv.SQL, func(tx pgx.Tx) error {
		if _, err := tx.Exec(t.Context(), "SELECT set_config('billing.purged', gen_random_uuid()::text, true)"); err != nil {
			return err
		}
		_, err := tx.Exec(t.Context(), "DELETE FROM billing.invoice_lines")
		return err
	})
	if err == nil {
		t.Error("the purge of another workspace removed its lines")
	}
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE billing.invoices SET state = 'paid', paid_time = now(), note = 'x'"); err != nil {
		t.Errorf("it cannot be paid: %v", err)
	}
	walk("paid", nil)
}

func TestACopyOfAProvidersInvoiceIsKeptOnce(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	ann := srv.Register(t)
	copied := func() *billing.Invoice {
		i := &billing.Invoice{
			ID: ids.New[ids.Invoice](), WorkspaceID: workspaceOf(t, ann), Provider: billing.Stripe, ProviderInvoiceID: "in_1", Number: "A1B2-0001",
			DocumentURL: "https://invoice.example.com/in_1", Currency: "EUR", PeriodStart: march.Start, PeriodEnd: march.End, IssueTime: march.Start, DueTime: march.Start,
			State: billing.Open,
		}
		i.SetLines(charge(1000, "EUR"), nil)
		return i
	}
	put := func(i *billing.Invoice, want bool) *billing.Invoice {
		t.Helper()
		if changed, err := srv.Store.PutMirroredInvoice(t.Context(), i); err != nil || changed != want {
			t.Errorf("changed: %t, %v, want %t", changed, err, want)
		}
		srv.CheckInvariants(t)
		return i
	}
	first := put(copied(), true)
	if again := put(copied(), false); again.ID != first.ID {
		t.Errorf("it is %s, and then %s", first.ID, again.ID)
	}
	paid := copied()
	paid.State, paid.PaidTime, paid.Number, paid.Total = billing.Paid, march.End, "other", 7
	put(paid, true)
	put(copied(), false) // an old message about it
	got := get(t, ann, first.ID.String())
	if got.State != billingv1.InvoiceState_INVOICE_STATE_PAID || got.Number != "A1B2-0001" || got.Total.MinorUnits != 1000 || len(got.Lines) != 1 ||
		got.DocumentUrl != "https://invoice.example.com/in_1" || got.SubscriptionId != "" {
		t.Errorf("the copy: %v", got)
	}
	if i := issue(t, srv, ann, charge(5, "EUR")); i.Number != "INV-000001" {
		t.Errorf("our own first one is %s", i.Number)
	}
	if n := number(t, srv, "SELECT count(*) FROM billing.invoice_register"); n != 1 {
		t.Errorf("%d are in the register, want our own alone", n)
	}
}
