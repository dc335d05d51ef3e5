package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// InvoiceOptions says how invoices are issued.
type InvoiceOptions struct {
	// Issuer is who issues them, as it is printed: lines of name and address.
	Issuer string
	// Prefix is by what the numbers begin. It ends by no digit. Default: INV-.
	Prefix string
	// Terms is how long after its issue an invoice is due; 0 for at once.
	Terms time.Duration
	// Tax tells what is taxed. Default: nothing.
	Tax pricing.Tax
}

// FixedTax returns the tax of a name, and of so many percent as a decimal number, on
// everything; nil without a name and a number.
func FixedTax(name, percent string) (pricing.Tax, error) {
	if name == "" && percent == "" {
		return nil, nil
	}
	return pricing.NewFixedRate(name, percent)
}

// issueInvoice issues an invoice to the locked workspace of a subscription: for the lines,
// which are of one currency, and for those that wait for it; with taxes, the next number,
// the event and the mails to the owners. When the total is not above zero it issues none
// and returns nil: then the lines wait for the next one, with what is credited.
//
// All that issue invoices wait for each other from here on, until their transactions end:
// call it last, and once in a transaction.
func (t *tx) issueInvoice(ctx context.Context, s *billing.Subscription, plan *billing.Plan, lines []billing.InvoiceLine, period pricing.Period) (*billing.Invoice, error) {
	currency := s.Currency
	if len(lines) > 0 {
		currency = lines[0].Currency
	}
	for i := range lines {
		if lines[i].Currency != currency {
			return nil, fmt.Errorf("an invoice in %s has a line in %s", currency, lines[i].Currency)
		}
		if lines[i].Plan == "" {
			lines[i].Plan = plan.Name
		}
	}
	pending, err := t.billing.PendingLines(ctx, s.WorkspaceID, currency)
	if err != nil {
		return nil, err
	}
	i := t.draftInvoice(s, currency, period, lines, pending)
	if i.Total <= 0 {
		return nil, t.addPendingLines(ctx, s, lines)
	}
	w, err := t.tenant.Workspace(ctx, s.WorkspaceID)
	if err != nil {
		return nil, err
	}
	if err := t.billing.DeletePendingLines(ctx, pending); err != nil {
		return nil, err
	}
	i.ID, i.CustomerName, i.State = ids.New[ids.Invoice](), w.Name, billing.Open
	i.IssueTime, i.DueTime = t.now, t.now.Add(t.store.options.Invoices.Terms)
	if i.Number, err = t.billing.TakeInvoiceNumber(ctx, i.Issuer); err != nil {
		return nil, err
	}
	if err := t.billing.InsertInvoice(ctx, i); err != nil {
		return nil, err
	}
	if err := t.record(ctx, audit.Event{WorkspaceID: i.WorkspaceID, Action: "invoice.issued", TargetID: i.ID.String(), Details: invoiceDetails(i)}); err != nil {
		return nil, err
	}
	return i, t.mailInvoice(ctx, mail.InvoiceIssued, i)
}

// draftInvoice returns what an invoice says before it is issued.
func (t *tx) draftInvoice(s *billing.Subscription, currency string, period pricing.Period, lines []billing.InvoiceLine, pending []billing.PendingLine) *billing.Invoice {
	o := t.store.options.Invoices
	i := &billing.Invoice{
		WorkspaceID: s.WorkspaceID, SubscriptionID: s.ID, Provider: billing.Manual, Issuer: o.Prefix, IssuerText: o.Issuer,
		Currency: currency, PeriodStart: period.Start, PeriodEnd: period.End,
	}
	all := append([]billing.InvoiceLine{}, lines...)
	for _, p := range pending {
		all = append(all, p.InvoiceLine)
	}
	i.SetLines(all, o.Tax)
	return i
}

// addPendingLines has lines wait for the next invoice of the subscription's workspace.
// What costs nothing is not worth waiting for.
func (t *tx) addPendingLines(ctx context.Context, s *billing.Subscription, lines []billing.InvoiceLine) error {
	var rows []billing.PendingLine
	for _, l := range lines {
		if l.Amount != 0 {
			rows = append(rows, billing.PendingLine{WorkspaceID: s.WorkspaceID, SubscriptionID: s.ID, InvoiceLine: l, CreateTime: t.now})
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return t.billing.InsertPendingLines(ctx, rows)
}

func invoiceDetails(i *billing.Invoice) map[string]any {
	return map[string]any{"number": i.Number, "total": i.Total, "currency": i.Currency}
}

// mailInvoice tells the owners of a workspace of an invoice.
func (t *tx) mailInvoice(ctx context.Context, template mail.Template, i *billing.Invoice) error {
	owners, err := t.team.Owners(ctx, i.WorkspaceID)
	if err != nil {
		return err
	}
	var letters []letter
	for _, owner := range owners {
		if owner.Address == "" {
			continue
		}
		data := map[string]string{
			"workspace": i.CustomerName, "number": i.Number, "total": pricing.Format(i.Total, i.Currency), "due_time": i.DueTime.Format(time.RFC3339),
		}
		if !i.PaidTime.IsZero() {
			data["paid_time"] = i.PaidTime.Format(time.RFC3339)
		}
		letters = append(letters, letter{Message: mail.Message{Template: template, To: owner.Address, Data: data}})
	}
	return t.mail(ctx, letters...)
}

// MarkInvoicePaid notes that an invoice was paid, and mails it to the owners. One that is
// paid already stays as it is.
//
// Errors: fault NOT_FOUND; INVOICE_VOID; INVOICE_OF_PROVIDER; OPERATOR_REQUIRED.
func (s *Store) MarkInvoicePaid(ctx context.Context, id ids.Invoice, o Operation) (*billing.Invoice, error) {
	return s.settleInvoice(ctx, id, billing.Paid, o)
}

// VoidInvoice notes that an invoice need not be paid: it was wrong, say. Its number stays
// taken, and what it was for is neither charged again nor credited. One that is void already stays as it
// is.
//
// Errors: fault NOT_FOUND; INVOICE_PAID; INVOICE_OF_PROVIDER; OPERATOR_REQUIRED.
func (s *Store) VoidInvoice(ctx context.Context, id ids.Invoice, o Operation) (*billing.Invoice, error) {
	return s.settleInvoice(ctx, id, billing.Void, o)
}

func (s *Store) settleInvoice(ctx context.Context, id ids.Invoice, to billing.InvoiceState, o Operation) (i *billing.Invoice, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		workspace, err := t.billing.WorkspaceOfInvoice(ctx, id)
		if err != nil {
			return err
		}
		if _, err := t.tenant.LockWorkspace(ctx, workspace); err != nil {
			return err
		}
		if err := t.mayOperate(ctx, o.CommandLine); err != nil {
			return err
		}
		if i, err = t.billing.LockInvoice(ctx, id); err != nil {
			return err
		}
		if i.State != to {
			if err := t.settle(ctx, i, to, o); err != nil {
				return err
			}
		}
		i, err = t.billing.Invoice(ctx, workspace, id)
		return err
	})
	return i, err
}

// settle makes a locked invoice, which is not yet, paid or void.
func (t *tx) settle(ctx context.Context, i *billing.Invoice, to billing.InvoiceState, o Operation) error {
	refused := func(reason fault.Reason, why string) error { return fault.New(fault.FailedPrecondition, reason, why) }
	switch {
	case i.Provider != billing.Manual:
		return refused(fault.InvoiceOfProvider, "the invoice is the payment provider's: settle it there")
	case i.State == billing.Paid:
		return refused(fault.InvoicePaid, "the invoice is paid")
	case i.State == billing.Void:
		return refused(fault.InvoiceVoid, "the invoice is void")
	}
	action := "invoice.voided"
	i.State, i.Note = to, o.Reason
	if to == billing.Paid {
		action, i.PaidTime = "invoice.paid", t.now
	} else {
		i.VoidTime = t.now
	}
	if err := t.billing.SettleInvoice(ctx, i); err != nil {
		return err
	}
	err := t.recordBy(ctx, o, audit.Event{WorkspaceID: i.WorkspaceID, Action: action, TargetID: i.ID.String(), Details: invoiceDetails(i)})
	if err != nil {
		return err
	}
	if to == billing.Paid {
		err = t.mailInvoice(ctx, mail.InvoicePaid, i)
	} else {
		err = t.takeBackCredit(ctx, i)
	}
	if err != nil {
		return err
	}
	return t.invoicePaid(ctx, i.WorkspaceID, i) // one that is void is owed no more, either
}

// GetInvoice returns an invoice of a workspace with its lines.
//
// Errors: fault NOT_FOUND.
func (s *Store) GetInvoice(ctx context.Context, workspace ids.Workspace, id ids.Invoice) (i *billing.Invoice, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		i, err = t.billing.Invoice(ctx, workspace, id)
		return err
	})
	return i, err
}

// ListInvoices returns a page of the invoices of a workspace, of a state if one is given,
// without their lines and the newest first, and the next page's token.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (s *Store) ListInvoices(ctx context.Context, workspace ids.Workspace, state billing.InvoiceState, page Page) ([]billing.Invoice, string, error) {
	return s.invoices(ctx, billing.InvoiceFilter{Workspace: workspace, State: state}, page)
}

// SearchInvoices is ListInvoices of all workspaces, or of one, and of a number if one is
// given.
func (s *Store) SearchInvoices(ctx context.Context, f billing.InvoiceFilter, page Page) ([]billing.Invoice, string, error) {
	f.Number = strings.TrimSpace(f.Number)
	return s.invoices(ctx, f, page)
}

func (s *Store) invoices(ctx context.Context, f billing.InvoiceFilter, page Page) ([]billing.Invoice, string, error) {
	scope := fmt.Sprintf("invoices of %s in %q numbered %q", f.Workspace, f.State, f.Number)
	var at struct {
		Time time.Time
		ID   string
	}
	if found, err := s.pager.Position(page, scope, &at); err != nil {
		return nil, "", err
	} else if found {
		f.BeforeTime = at.Time
		if f.BeforeID, err = ids.Parse[ids.Invoice](at.ID); err != nil {
			return nil, "", err
		}
	}
	list, err := s.Billing.Invoices(ctx, f, page.Limit()+1)
	if err != nil || len(list) <= page.Limit() {
		return list, "", err
	}
	list = list[:page.Limit()]
	last := list[len(list)-1]
	at.Time, at.ID = last.IssueTime, last.ID.String()
	return list, s.pager.Token(scope, at), nil
}

// GetUpcomingInvoice returns what the next invoice of a workspace would say if its period
// ended now: the next period's price, unless the subscription ends with this one, usage so
// far, and what waits for it. It has no number, and is issued at the time that it has. Nil
// when none is to come, as while the subscription is paused.
//
// Errors: fault NOT_FOUND.
func (s *Store) GetUpcomingInvoice(ctx context.Context, workspace ids.Workspace) (i *billing.Invoice, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		i = nil
		b, err := t.billing.Subscription(ctx, workspace)
		if err != nil {
			return err
		}
		if b.State == billing.Canceled || b.State == billing.Paused || !b.Priced() {
			return nil
		}
		plan, err := t.billing.Plan(ctx, b.Plan, b.PlanVersion)
		if err != nil {
			return err
		}
		w, err := t.tenant.Workspace(ctx, workspace)
		if err != nil {
			return err
		}
		present := b.Period(t.now)
		end, period := present.End, present
		var lines []billing.InvoiceLine
		if !b.CancelAtPeriodEnd {
			period = b.PeriodAt(end)
			if price := priceOf(b, plan); price != nil {
				lines = billing.LinesOf(plan, b.Currency, price.Charges(b.BilledSeats(), period))
			}
		}
		usage, err := t.upcomingUsageLines(ctx, b, plan, present)
		if err != nil {
			return err
		}
		pending, err := t.billing.PendingLines(ctx, workspace, b.Currency)
		if err != nil || len(lines)+len(usage)+len(pending) == 0 {
			return err
		}
		i = t.draftInvoice(b, b.Currency, period, append(lines, usage...), pending)
		i.CustomerName, i.IssueTime, i.DueTime = w.Name, end, end.Add(s.options.Invoices.Terms)
		return nil
	})
	return i, err
}
