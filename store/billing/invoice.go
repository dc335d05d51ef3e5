package billing

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing/pricing"
	"github.com/logicspike/manager/store/postgres"
)

// InvoiceState is what has become of an invoice.
type InvoiceState string

// The states: an invoice is open until it is paid or void.
const (
	Open InvoiceState = "open"
	Paid InvoiceState = "paid"
	Void InvoiceState = "void"
)

// Invoice is what a workspace owes for a period. From when it is issued nothing of it
// changes but State, PaidTime, VoidTime and Note, and these once.
type Invoice struct {
	bun.BaseModel `bun:"table:billing.invoices,alias:i"`

	ID             ids.Invoice `bun:"id,pk"`
	WorkspaceID    ids.Workspace
	SubscriptionID ids.Subscription // zero only of a provider's
	Provider       Provider
	// ProviderInvoiceID and DocumentURL are of a payment provider, whose invoice this is a
	// copy of.
	ProviderInvoiceID string `bun:",nullzero"`
	DocumentURL       string `bun:"document_url,nullzero"`
	// Issuer is by what our own numbers begin; "" of a provider's.
	Issuer string `bun:",nullzero"`
	Number string
	// IssuerText and CustomerName are what is printed, as it was when it was issued.
	IssuerText   string
	CustomerName string
	Currency     string
	Subtotal     int64
	Tax          int64
	Total        int64
	PeriodStart  time.Time `bun:"period_start_time"`
	PeriodEnd    time.Time `bun:"period_end_time"`
	IssueTime    time.Time
	DueTime      time.Time
	State        InvoiceState
	PaidTime     time.Time `bun:",nullzero"`
	VoidTime     time.Time `bun:",nullzero"`
	Note         string

	Lines []InvoiceLine `bun:"-"` // where they are asked for
}

// InvoiceLine is what an amount of an invoice is for.
type InvoiceLine struct {
	Kind        pricing.Kind
	Plan        string
	Description string
	Meter       string // of usage
	Quantity    int64
	// Amount is negative when it is credited.
	Amount    int64
	Currency  string
	StartTime time.Time `bun:",nullzero"`
	EndTime   time.Time `bun:",nullzero"`
	// Proration tells that it is a part of what a whole period costs.
	Proration bool
}

// priced returns the line as the rules of prices see it.
func (l InvoiceLine) priced() pricing.Line {
	return pricing.Line{
		Kind: l.Kind, Meter: l.Meter, Quantity: l.Quantity, Amount: l.Amount,
		Period: pricing.Period{Start: l.StartTime, End: l.EndTime}, Proration: l.Proration,
	}
}

// Share returns what of the amount is for the time from a moment of the line's on.
func (l InvoiceLine) Share(from time.Time) int64 { return l.priced().Share(from) }

// LinesOf returns the lines of an invoice for what is due by a price of the plan.
func LinesOf(plan *Plan, currency string, due []pricing.Line) []InvoiceLine {
	lines := make([]InvoiceLine, len(due))
	for i, d := range due {
		lines[i] = InvoiceLine{
			Kind: d.Kind, Plan: plan.Name, Description: describe(plan, d), Meter: d.Meter, Quantity: d.Quantity, Amount: d.Amount,
			Currency: currency, StartTime: d.Period.Start, EndTime: d.Period.End, Proration: d.Proration,
		}
	}
	return lines
}

func describe(plan *Plan, l pricing.Line) string {
	what := plan.Definition.DisplayName
	switch l.Kind {
	case pricing.ForSeats:
		what += ", seats"
	case pricing.ForUsage:
		what += ", " + strings.ReplaceAll(l.Meter, "_", " ")
	}
	switch {
	case l.Proration && l.Amount < 0:
		what += ", unused time"
	case l.Proration:
		what += ", remaining time"
	}
	return what
}

// SetLines gives an invoice its lines, the sums of them, and the taxes on them, nil for
// none.
func (i *Invoice) SetLines(lines []InvoiceLine, tax pricing.Tax) {
	i.Lines, i.Subtotal, i.Tax = lines, 0, 0
	priced := make([]pricing.Line, len(lines))
	for n, l := range lines {
		i.Subtotal += l.Amount
		priced[n] = l.priced()
	}
	if tax != nil && i.Subtotal > 0 {
		for _, due := range tax.Due(priced) {
			i.Tax += due.Amount
			i.Lines = append(i.Lines, InvoiceLine{
				Kind: pricing.ForTax, Description: due.Name, Quantity: 1, Amount: due.Amount, Currency: i.Currency,
				StartTime: i.PeriodStart, EndTime: i.PeriodEnd,
			})
		}
	}
	i.Total = i.Subtotal + i.Tax
}

// invoiceLine is a line as it is stored.
type invoiceLine struct {
	bun.BaseModel `bun:"table:billing.invoice_lines,alias:l"`

	InvoiceID   ids.Invoice `bun:"invoice_id,pk"`
	Position    int         `bun:"position,pk"`
	WorkspaceID ids.Workspace
	InvoiceLine
}

// PendingLine is a line that waits for the next invoice of its workspace.
type PendingLine struct {
	bun.BaseModel `bun:"table:billing.pending_lines,alias:p"`

	ID             int64 `bun:"id,pk,autoincrement"`
	WorkspaceID    ids.Workspace
	SubscriptionID ids.Subscription
	InvoiceLine
	CreateTime time.Time
}

// TakeInvoiceNumber returns the next number of an issuer: what its numbers begin by, and
// six digits at least. Others wait for theirs until the transaction ends, so take it
// last, and once in a transaction.
func (r Repository) TakeInvoiceNumber(ctx context.Context, issuer string) (string, error) {
	var last int64
	err := r.db.NewRaw(`
		INSERT INTO billing.invoice_numbers AS n (issuer, last) VALUES (?, 1)
		ON CONFLICT (issuer) DO UPDATE SET last = n.last + 1 RETURNING last`, issuer).Scan(ctx, &last)
	return fmt.Sprintf("%s%06d", issuer, last), err
}

// InsertInvoice stores a new invoice of our own with its lines, and enters it into the
// register.
func (r Repository) InsertInvoice(ctx context.Context, i *Invoice) error {
	if _, err := r.db.NewRaw(`
		INSERT INTO billing.invoice_register (issuer, number, issue_time, currency, total, tax) VALUES (?, ?, ?, ?, ?, ?)`,
		i.Issuer, i.Number, i.IssueTime, i.Currency, i.Total, i.Tax).Exec(ctx); err != nil {
		return err
	}
	if err := r.insertLines(ctx, i); err != nil {
		return err
	}
	_, err := r.db.NewInsert().Model(i).Exec(ctx)
	return err
}

func (r Repository) insertLines(ctx context.Context, i *Invoice) error {
	if len(i.Lines) == 0 {
		return nil
	}
	rows := make([]invoiceLine, len(i.Lines))
	for n, l := range i.Lines {
		rows[n] = invoiceLine{InvoiceID: i.ID, Position: n + 1, WorkspaceID: i.WorkspaceID, InvoiceLine: l}
	}
	_, err := r.db.NewInsert().Model(&rows).Exec(ctx)
	return err
}

// PutMirroredInvoice stores a copy of a payment provider's invoice, in a transaction. One
// that is there is known by ProviderInvoiceID, and can only become paid or void, once:
// what else the provider says of it later is passed over. It reports whether that changed
// anything, and sets the ID to that of the copy.
func (r Repository) PutMirroredInvoice(ctx context.Context, i *Invoice) (bool, error) {
	var there []struct {
		ID    ids.Invoice
		State InvoiceState
	}
	const known = "SELECT id, state FROM billing.invoices WHERE provider = ? AND provider_invoice_id = ? FOR UPDATE"
	if err := r.db.NewRaw(known, i.Provider, i.ProviderInvoiceID).Scan(ctx, &there); err != nil {
		return false, err
	}
	if len(there) == 0 {
		if err := r.insertLines(ctx, i); err != nil {
			return false, err
		}
		_, err := r.db.NewInsert().Model(i).Exec(ctx)
		return err == nil, err
	}
	i.ID = there[0].ID
	if there[0].State != Open || i.State == Open {
		return false, nil
	}
	return true, r.SettleInvoice(ctx, i)
}

// SettleInvoice stores that an invoice, which is open until now, is paid or void.
func (r Repository) SettleInvoice(ctx context.Context, i *Invoice) error {
	_, err := r.db.NewUpdate().Model(i).Column("state", "paid_time", "void_time", "note").WherePK().Exec(ctx)
	return err
}

// Invoice returns an invoice of a workspace with its lines.
//
// Errors: fault NOT_FOUND.
func (r Repository) Invoice(ctx context.Context, workspace ids.Workspace, id ids.Invoice) (*Invoice, error) {
	i, err := r.oneInvoice(ctx, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("i.id = ? AND i.workspace_id = ?", id, workspace)
	})
	if err != nil {
		return nil, err
	}
	err = r.db.NewSelect().TableExpr("billing.invoice_lines AS l").
		ColumnExpr("kind, plan, description, meter, quantity, amount, currency, start_time, end_time, proration").
		Where("l.invoice_id = ?", id).OrderExpr("l.position").Scan(ctx, &i.Lines)
	return i, err
}

// LinesOfSubscription returns the lines of a subscription's invoices: of those that are
// void, and of all others with what waits for the next one.
func (r Repository) LinesOfSubscription(ctx context.Context, id ids.Subscription) (void, others []InvoiceLine, err error) {
	const columns = "kind, plan, description, meter, quantity, amount, l.currency, start_time, end_time, proration"
	invoiced := func(state string) *bun.SelectQuery {
		return r.db.NewSelect().TableExpr("billing.invoice_lines AS l").ColumnExpr(columns).
			Join("JOIN billing.invoices AS i ON i.id = l.invoice_id").
			Where("i.subscription_id = ? AND i.state "+state, id).OrderExpr("i.id, l.position")
	}
	if err := invoiced("= 'void'").Scan(ctx, &void); err != nil {
		return nil, nil, err
	}
	if err := invoiced("<> 'void'").Scan(ctx, &others); err != nil {
		return nil, nil, err
	}
	var waiting []InvoiceLine
	err = r.db.NewSelect().TableExpr("billing.pending_lines AS l").ColumnExpr(columns).
		Where("l.subscription_id = ?", id).OrderExpr("l.id").Scan(ctx, &waiting)
	return void, append(others, waiting...), err
}

// WorkspaceOfInvoice returns the workspace of an invoice.
//
// Errors: fault NOT_FOUND.
func (r Repository) WorkspaceOfInvoice(ctx context.Context, id ids.Invoice) (ids.Workspace, error) {
	i, err := r.oneInvoice(ctx, func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("i.id = ?", id) })
	if err != nil {
		return ids.Workspace{}, err
	}
	return i.WorkspaceID, nil
}

// LockInvoice returns an invoice, locked and without its lines.
//
// Errors: fault NOT_FOUND.
func (r Repository) LockInvoice(ctx context.Context, id ids.Invoice) (*Invoice, error) {
	return r.oneInvoice(ctx, func(q *bun.SelectQuery) *bun.SelectQuery { return q.Where("i.id = ?", id).For("UPDATE") })
}

// InvoiceNumbered returns our own invoice of a number, without its lines.
//
// Errors: fault NOT_FOUND.
func (r Repository) InvoiceNumbered(ctx context.Context, number string) (*Invoice, error) {
	return r.oneInvoice(ctx, func(q *bun.SelectQuery) *bun.SelectQuery {
		return q.Where("i.number = ? AND i.provider = ?", number, Manual)
	})
}

func (r Repository) oneInvoice(ctx context.Context, which func(*bun.SelectQuery) *bun.SelectQuery) (*Invoice, error) {
	i := new(Invoice)
	return postgres.OrMissing(i, which(r.db.NewSelect().Model(i)).Scan(ctx))
}

// InvoiceFilter says which invoices are asked for: by default all.
type InvoiceFilter struct {
	Workspace ids.Workspace
	State     InvoiceState
	Number    string
	// Before is the invoice after which the list goes on: its time and id.
	BeforeTime time.Time
	BeforeID   ids.Invoice
}

// Invoices returns invoices without their lines, the newest first.
func (r Repository) Invoices(ctx context.Context, f InvoiceFilter, limit int) ([]Invoice, error) {
	var list []Invoice
	q := r.db.NewSelect().Model(&list).OrderExpr("i.issue_time DESC, i.id DESC").Limit(int64(limit))
	if !f.Workspace.IsZero() {
		q = q.Where("i.workspace_id = ?", f.Workspace)
	}
	if f.State != "" {
		q = q.Where("i.state = ?", f.State)
	}
	if f.Number != "" {
		q = q.Where("i.number = ?", f.Number)
	}
	if !f.BeforeID.IsZero() {
		q = q.Where("(i.issue_time, i.id) < (?, ?)", f.BeforeTime, f.BeforeID)
	}
	return list, q.Scan(ctx)
}

// InsertPendingLines stores lines that wait for the next invoice.
func (r Repository) InsertPendingLines(ctx context.Context, lines []PendingLine) error {
	_, err := r.db.NewInsert().Model(&lines).Exec(ctx)
	return err
}

// PendingLines returns the lines of a workspace in a currency that wait for the next
// invoice, in the order in which they came.
func (r Repository) PendingLines(ctx context.Context, workspace ids.Workspace, currency string) ([]PendingLine, error) {
	var lines []PendingLine
	err := r.db.NewSelect().Model(&lines).Where("p.workspace_id = ? AND p.currency = ?", workspace, currency).OrderExpr("p.id").Scan(ctx)
	return lines, err
}

// DeletePendingLines removes lines that wait no more.
func (r Repository) DeletePendingLines(ctx context.Context, lines []PendingLine) error {
	if len(lines) == 0 {
		return nil
	}
	all := make([]int64, len(lines))
	for i, l := range lines {
		all[i] = l.ID
	}
	_, err := r.db.NewRaw("DELETE FROM billing.pending_lines WHERE id IN (SELECT unnest(?::bigint[]))", pgdialect.Array(all)).Exec(ctx)
	return err
}

// deleteInvoices removes the invoices of a workspace that is purged.
func (r Repository) deleteInvoices(ctx context.Context, workspace ids.Workspace) error {
	if _, err := r.db.NewRaw("SELECT set_config('billing.purged', ?::text, true)", workspace.UUID()).Exec(ctx); err != nil {
		return err
	}
	for _, table := range []string{"pending_lines", "invoice_lines", "invoices"} {
		if _, err := r.db.NewRaw("DELETE FROM billing."+table+" WHERE workspace_id = ?", workspace).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
