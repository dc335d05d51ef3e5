// Package document writes invoices for people: as an HTML page, and as a PDF with the
// same content.
package document

import (
	"strings"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// content is what a document says, in its words.
type content struct {
	Number   string
	State    billing.InvoiceState
	Stamp    string // of what is settled
	Currency string
	Issuer   []string // lines
	Customer string
	Facts    []fact
	Lines    []line
	Sums     []fact // before the total
	Total    string
}

type fact struct{ Label, Value string }

type line struct{ Description, Period, Quantity, Amount string }

// contentOf says what is in an invoice.
func contentOf(i *billing.Invoice) content {
	c := content{
		Number: i.Number, State: i.State, Currency: i.Currency, Issuer: strings.Split(i.IssuerText, "\n"), Customer: i.CustomerName,
		Facts: []fact{
			{"Invoice number", i.Number}, {"Date of issue", date(i.IssueTime)}, {"Due date", date(i.DueTime)},
			{"Period", period(i.PeriodStart, i.PeriodEnd)},
		},
		Total: pricing.Format(i.Total, i.Currency),
	}
	switch i.State {
	case billing.Paid:
		c.Stamp = "PAID"
		c.Facts = append(c.Facts, fact{"Paid", date(i.PaidTime)})
	case billing.Void:
		c.Stamp = "VOID"
		c.Facts = append(c.Facts, fact{"Void since", date(i.VoidTime)})
	}
	var taxes []fact
	for _, l := range i.Lines {
		if l.Kind == pricing.ForTax {
			taxes = append(taxes, fact{l.Description, pricing.FormatNumber(l.Amount, l.Currency)})
			continue
		}
		c.Lines = append(c.Lines, line{
			l.Description, period(l.StartTime, l.EndTime), numbers.Sprint(l.Quantity), pricing.FormatNumber(l.Amount, l.Currency),
		})
	}
	if len(taxes) > 0 {
		c.Sums = append([]fact{{"Subtotal", pricing.FormatNumber(i.Subtotal, i.Currency)}}, taxes...)
	}
	return c
}

var numbers = message.NewPrinter(language.English)

func date(t time.Time) string { return t.UTC().Format("2 January 2006") }

func period(start, end time.Time) string {
	if start.IsZero() || end.IsZero() {
		return ""
	}
	return start.UTC().Format("2 Jan 2006") + " – " + end.UTC().Format("2 Jan 2006")
}

// FileName returns a name for the file of an invoice's document.
func FileName(i *billing.Invoice, extension string) string {
	return strings.Map(func(r rune) rune {
		if r == '/' || r == '.' {
			return '-'
		}
		return r
	}, i.Number) + "." + extension
}
