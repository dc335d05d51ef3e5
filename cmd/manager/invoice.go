package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// invoiceCmd are the commands about invoices, as operators have them in the API. They
// work while the server runs, too; mails are sent by it, or by its next start.
type invoiceCmd struct {
	List invoiceListCmd `cmd:"" help:"List invoices, the newest first."`
	Paid invoicePaidCmd `cmd:"" help:"Note that an invoice was paid."`
	Void invoiceVoidCmd `cmd:"" help:"Note that an invoice need not be paid."`
}

type invoiceListCmd struct {
	Open       bool `name:"open" help:"Only those that are to be paid."`
	Limit      int  `name:"limit" default:"50" placeholder:"N" help:"How many to list at most. Default: 50."`
	storeFlags `embed:""`
}

// Run lists invoices.
func (l *invoiceListCmd) Run(c console) error {
	if l.Limit < 1 {
		return errors.New("--limit must be at least 1")
	}
	var f billing.InvoiceFilter
	if l.Open {
		f.State = billing.Open
	}
	return withStore(l.storeFlags, c, func(ctx context.Context, st *store.Store) error {
		table := tabwriter.NewWriter(c.out, 0, 0, 2, ' ', 0)
		fmt.Fprintln(table, "NUMBER\tSTATE\tTOTAL\tISSUED\tDUE\tCUSTOMER\tWORKSPACE")
		count, next := 0, ""
		for first := true; count < l.Limit && (first || next != ""); first = false {
			var list []billing.Invoice
			var err error
			if list, next, err = st.SearchInvoices(ctx, f, store.Page{Size: min(200, l.Limit-count), Token: next}); err != nil {
				return err
			}
			for _, i := range list {
				fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", i.Number, i.State, pricing.Format(i.Total, i.Currency),
					i.IssueTime.UTC().Format(time.DateOnly), i.DueTime.UTC().Format(time.DateOnly), i.CustomerName, i.WorkspaceID)
			}
			count += len(list)
		}
		more := ""
		if next != "" {
			more = ", and more"
		}
		fmt.Fprintf(table, "%s%s\n", counted(count, "invoice"), more)
		return table.Flush()
	})
}

// settled is what commands have in common that end that an invoice is open.
type settled struct {
	Number     string `arg:"" name:"number" help:"The number of the invoice."`
	storeFlags `embed:""`
}

// run settles an invoice, and tells it.
func (s settled) run(c console, flag, text string, least int, what string, do func(*store.Store) func(context.Context, ids.Invoice, store.Operation) (*billing.Invoice, error)) error {
	if n := utf8.RuneCountInString(strings.TrimSpace(text)); n < least || n > maxReason || strings.ContainsFunc(text, unicode.IsControl) {
		return fmt.Errorf("--%s must be a line of %d to %d characters", flag, least, maxReason)
	}
	return withStore(s.storeFlags, c, func(ctx context.Context, st *store.Store) error {
		i, err := st.Billing.InvoiceNumbered(ctx, s.Number)
		if fault.Has(err, fault.Missing) {
			return fmt.Errorf("there is no invoice %s", s.Number)
		}
		if err != nil {
			return err
		}
		if i, err = do(st)(ctx, i.ID, store.Operation{Reason: text, CommandLine: true}); err != nil {
			return err
		}
		return done(c, "%s over %s is %s", i.Number, pricing.Format(i.Total, i.Currency), what)
	})
}

type invoicePaidCmd struct {
	Note    string `name:"note" placeholder:"TEXT" help:"How it was paid: shown to the workspace's owners."`
	settled `embed:""`
}

// Run marks an invoice as paid.
func (p *invoicePaidCmd) Run(c console) error {
	return p.run(c, "note", p.Note, 0, "paid", func(st *store.Store) func(context.Context, ids.Invoice, store.Operation) (*billing.Invoice, error) {
		return st.MarkInvoicePaid
	})
}

type invoiceVoidCmd struct {
	Reason  string `name:"reason" required:"" placeholder:"TEXT" help:"Why: shown to the workspace's owners."`
	settled `embed:""`
}

// Run voids an invoice.
func (v *invoiceVoidCmd) Run(c console) error {
	return v.run(c, "reason", v.Reason, 1, "void", func(st *store.Store) func(context.Context, ids.Invoice, store.Operation) (*billing.Invoice, error) {
		return st.VoidInvoice
	})
}
