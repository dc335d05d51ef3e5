package document

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"golang.org/x/net/html"

	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

func day(s string) time.Time {
	t, err := time.Parse(time.DateOnly, s)
	if err != nil {
		panic(err)
	}
	return t
}

// sample returns an invoice of all that can be on one.
func sample() *billing.Invoice {
	i := &billing.Invoice{
		Number: "INV-000042", Provider: billing.Manual, State: billing.Open, Currency: "EUR",
		IssuerText: "Example Software GmbH\nMüllerstraße 12\n13353 Berlin\nVAT ID DE123456789", CustomerName: "Analytical Engines Ltd.",
		PeriodStart: day("2026-03-01"), PeriodEnd: day("2026-04-01"), IssueTime: day("2026-03-01"), DueTime: day("2026-03-15"),
	}
	line := func(kind pricing.Kind, what string, quantity, amount int64) billing.InvoiceLine {
		return billing.InvoiceLine{
			Kind: kind, Plan: "team", Description: what, Quantity: quantity, Amount: amount, Currency: "EUR", StartTime: i.PeriodStart, EndTime: i.PeriodEnd,
		}
	}
	vat, err := pricing.NewFixedRate("VAT", "19")
	if err != nil {
		panic(err)
	}
	i.SetLines([]billing.InvoiceLine{
		line(pricing.ForFlat, "Team", 1, 123400), line(pricing.ForSeats, "Team, seats", 12, 9000),
		line(pricing.ForUsage, "Team, api calls", 1250000, 61), line(pricing.ForSeats, "Team, seats, unused time", 3, -1234),
	}, vat)
	return i
}

// words is what a person reads of a document.
func words(text string) string {
	return strings.Join(strings.Fields(text), " ")
}

func pageText(t *testing.T, i *billing.Invoice) (string, *html.Node) {
	t.Helper()
	content, err := HTML(i)
	if err != nil {
		t.Fatal(err)
	}
	root, err := html.Parse(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for node := range root.Descendants() {
		if node.Type == html.TextNode && node.Parent.Data != "style" && node.Parent.Data != "title" {
			text.WriteString(node.Data + " ")
		}
	}
	return words(text.String()), root
}

var shown = regexp.MustCompile(`(?s)\(((?:[^()\\]|\\.)*)\) ?Tj`)

// pdfText returns the texts of a PDF, each page by itself, in the order in which they are
// written.
func pdfText(t *testing.T, i *billing.Invoice) (pages []string) {
	t.Helper()
	content, err := pdf(i, false)
	if err != nil {
		t.Fatal(err)
	}
	for stream := range bytes.SplitSeq(content, []byte("endstream")) {
		var text strings.Builder
		for _, match := range shown.FindAllSubmatch(stream, -1) {
			var units []uint16
			raw := unescape(match[1])
			for n := 0; n+1 < len(raw); n += 2 {
				units = append(units, uint16(raw[n])<<8|uint16(raw[n+1]))
			}
			text.WriteString(string(utf16.Decode(units)) + " ")
		}
		if text.Len() > 0 {
			pages = append(pages, words(text.String()))
		}
	}
	return pages
}

func unescape(s []byte) (out []byte) {
	for n := 0; n < len(s); n++ {
		if s[n] == '\\' {
			n++
			if s[n] == 'r' {
				out = append(out, '\r')
				continue
			}
		}
		out = append(out, s[n])
	}
	return out
}

func TestBothFormsSayTheSame(t *testing.T) {
	i := sample()
	htmlText, _ := pageText(t, i)
	pages := pdfText(t, i)
	if len(pages) != 1 {
		t.Fatalf("%d pages: %q", len(pages), pages)
	}
	for form, text := range map[string]string{"HTML": htmlText, "PDF": pages[0]} {
		for _, want := range []string{
			"Invoice", "Example Software GmbH", "Müllerstraße 12", "VAT ID DE123456789", "Billed to Analytical Engines Ltd.",
			"Invoice number INV-000042", "Date of issue 1 March 2026", "Due date 15 March 2026", "Period 1 Mar 2026 – 1 Apr 2026", "Amount (EUR)",
			"Team 1 1,234.00", "seats 12 90.00", "api calls 1,250,000 0.61", "unused time 3 -12.34", "Subtotal 1,312.27", "VAT 19% 249.33", "Total EUR 1,561.60",
		} {
			// In the page a line's period comes before its numbers, in the PDF after them.
			plain := strings.ReplaceAll(text, " 1 Mar 2026 – 1 Apr 2026", "")
			if strings.HasPrefix(want, "Period") {
				plain = text
			}
			if !strings.Contains(plain, want) {
				t.Errorf("the %s does not say %q:\n%s", form, want, text)
			}
		}
		for _, not := range []string{"PAID", "VOID"} {
			if strings.Contains(text, not) {
				t.Errorf("the %s says %s", form, not)
			}
		}
	}
}

func TestADocumentSaysWhatBecameOfTheInvoice(t *testing.T) {
	paid, void := sample(), sample()
	paid.State, paid.PaidTime = billing.Paid, day("2026-03-09")
	void.State, void.VoidTime = billing.Void, day("2026-03-10")
	for want, i := range map[string]*billing.Invoice{"PAID": paid, "VOID": void} {
		htmlText, _ := pageText(t, i)
		for form, text := range map[string]string{"HTML": htmlText, "PDF": strings.Join(pdfText(t, i), " ")} {
			if !strings.Contains(text, want) || !strings.Contains(text, map[string]string{"PAID": "Paid 9 March 2026", "VOID": "Void since 10 March 2026"}[want]) {
				t.Errorf("%s, %s:\n%s", want, form, text)
			}
		}
	}
}

func TestAmountsHaveTheDecimalsOfTheirCurrency(t *testing.T) {
	for currency, want := range map[string][]string{
		"EUR": {"Team 1 1,234,567.89", "Total EUR 1,234,567.89"},
		"JPY": {"Team 1 123,456,789", "Total JPY 123,456,789"},
		"KWD": {"Team 1 123,456.789", "Total KWD 123,456.789"},
	} {
		i := sample()
		i.Currency = currency
		i.SetLines([]billing.InvoiceLine{{Kind: pricing.ForFlat, Description: "Team", Quantity: 1, Amount: 123456789, Currency: currency}}, nil)
		htmlText, _ := pageText(t, i)
		for form, text := range map[string]string{"HTML": htmlText, "PDF": strings.Join(pdfText(t, i), " ")} {
			for _, want := range want {
				if !strings.Contains(text, want) {
					t.Errorf("the %s does not say %q:\n%s", form, want, text)
				}
			}
			if strings.Contains(text, "Subtotal") {
				t.Errorf("the %s has a subtotal without a tax", form)
			}
		}
	}
}

func TestManyLinesTakeManyPages(t *testing.T) {
	i := sample()
	var lines []billing.InvoiceLine
	for n := range 200 {
		l := i.Lines[0]
		l.Description = fmt.Sprintf("Line %03d.", n+1)
		lines = append(lines, l)
	}
	i.SetLines(lines, nil)
	pages := pdfText(t, i)
	all := strings.Join(pages, " ")
	for n := range lines {
		if strings.Count(all, lines[n].Description) != 1 {
			t.Errorf("%s is there %d times", lines[n].Description, strings.Count(all, lines[n].Description))
		}
	}
	for n, page := range pages {
		if !strings.Contains(page, "Description Quantity Amount (EUR)") || !strings.Contains(page, fmt.Sprintf("page %d of", n+1)) {
			t.Errorf("page %d: %s", n+1, page)
		}
	}
	if len(pages) < 5 || len(pages) > 12 || !strings.Contains(pages[len(pages)-1], "Total EUR 246,800.00") {
		t.Errorf("%d pages, the last one: %s", len(pages), pages[len(pages)-1])
	}
}

func TestHostileNamesAreTextAndNothingElse(t *testing.T) {
	for what, name := range map[string]string{
		"script":     `</p><script>alert(1)</script><img src=x onerror=alert(2)>{{.Number}}`,
		"RTL":        "\u202Eevil\u202C שלום العربية",
		"emoji":      "Rocket 🚀👩\u200d🚀 Labs",
		"long":       strings.Repeat("W", 3000),
		"long words": strings.Repeat("Donaudampfschifffahrt ", 100),
		"PDF":        `(x) Tj ET \) endstream endobj /JS (app.alert(1))`,
		"controls":   "a\x00b\x1b[31m\r\nc",
		"none":       "",
	} {
		t.Run(what, func(t *testing.T) {
			i := sample()
			i.CustomerName, i.IssuerText, i.Lines[0].Description = name, name, name
			text, root := pageText(t, i)
			for node := range root.Descendants() {
				if node.Type == html.ElementNode && (node.Data == "script" || node.Data == "img") {
					t.Errorf("the page has a <%s>", node.Data)
				}
			}
			if what != "controls" && strings.Count(text, words(name)) < 3 {
				t.Errorf("the page does not show the name:\n%s", text)
			}
			content, err := PDF(i)
			if err != nil {
				t.Fatal(err)
			}
			if len(content) > 300_000 {
				t.Errorf("%d bytes", len(content))
			}
			pages := pdfText(t, i)
			all := strings.Join(pages, " ")
			if len(pages) != 1 || !strings.Contains(all, "Total EUR 1,561.60") || !strings.Contains(all, "INV-000042") {
				t.Errorf("the PDF: %q", pages)
			}
			for _, control := range []string{"\u202e", "\u200d", "\x00", "\x1b"} {
				if strings.Contains(all, control) {
					t.Errorf("the PDF has %q", control)
				}
			}
		})
	}
	i := sample()
	i.CustomerName = "Rocket 🚀 Ωμέγα Привет 日本"
	if text := pdfText(t, i)[0]; !strings.Contains(text, "Rocket □ Ωμέγα Привет □□") {
		t.Errorf("letters that the font has not: %s", text)
	}
}

func TestADocumentIsTheSameEachTime(t *testing.T) {
	first, err := PDF(sample())
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if again, err := PDF(sample()); err != nil || !bytes.Equal(first, again) {
			t.Fatalf("another PDF, %v", err)
		}
	}
	if name := FileName(&billing.Invoice{Number: "A/B.7-000001"}, "pdf"); name != "A-B-7-000001.pdf" {
		t.Errorf("%s", name)
	}
}
