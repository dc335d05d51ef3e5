package document

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"

	"github.com/go-pdf/fpdf"
	"golang.org/x/image/font/gofont/gobold"
	"golang.org/x/image/font/gofont/goregular"
	"golang.org/x/image/font/sfnt"

	"github.com/logicspike/manager/store/billing"
)

// PDF returns an invoice as a PDF of pages of A4. The same invoice gives the same bytes.
func PDF(i *billing.Invoice) ([]byte, error) { return pdf(i, true) }

// Measures in millimetres, and sizes of letters in points.
const (
	margin    = 20.0
	width     = 210 - 2*margin
	bottom    = 24.0 // below the text, for the number of the page
	quantityW = 28.0
	amountW   = 38.0
	textW     = width - quantityW - amountW
	factsW    = 82.0
	textSize  = 10.0
	smallSize = 8.5
	lineH     = 5.0
	smallH    = 4.2
)

// sheet is a PDF that is being written.
type sheet struct {
	*fpdf.Fpdf
	content
}

func pdf(i *billing.Invoice, compress bool) ([]byte, error) {
	s := sheet{fpdf.New("P", "mm", "A4", ""), contentOf(i)}
	s.SetCompression(compress)
	s.SetCatalogSort(true)
	s.SetCreationDate(i.IssueTime.UTC())
	s.SetModificationDate(i.IssueTime.UTC())
	s.AddUTF8FontFromBytes("go", "", goregular.TTF)
	s.AddUTF8FontFromBytes("go", "B", gobold.TTF)
	s.SetTitle("Invoice "+printable(s.Number), true)
	s.SetMargins(margin, margin, margin)
	s.SetCellMargin(0)
	s.SetAutoPageBreak(false, bottom)
	s.AliasNbPages("{pages}")
	s.SetFooterFunc(s.foot)
	s.AddPage()
	s.head()
	s.table()
	s.sums()
	var out bytes.Buffer
	err := s.Output(&out)
	return out.Bytes(), err
}

func (s sheet) ink()  { s.SetTextColor(28, 36, 48) }
func (s sheet) grey() { s.SetTextColor(91, 102, 118) }

// write writes text into a column, on as many lines as it needs, and returns how high
// they are. The position stays.
func (s sheet) write(x, y, w, h float64, align, text string) float64 {
	lines := s.split(text, w)
	for n, l := range lines {
		s.SetXY(x, y+float64(n)*h)
		s.CellFormat(w, h, l, "", 0, align, false, 0, "")
	}
	return float64(len(lines)) * h
}

// maxLines is how many lines one text may take, so that it fits on a page.
const maxLines = 8

func (s sheet) split(text string, w float64) []string {
	lines := s.SplitText(printable(text), w)
	if len(lines) > maxLines {
		lines = append(lines[:maxLines-1], "…")
	}
	return lines
}

// head writes who, to whom, and when.
func (s sheet) head() {
	s.ink()
	s.SetFont("go", "B", 22)
	s.write(margin, margin, width, 10, "R", "Invoice")
	left := margin
	for n, l := range s.Issuer {
		s.SetFont("go", map[bool]string{true: "B"}[n == 0], textSize)
		left += s.write(margin, left, width-60, lineH, "L", l)
	}
	right := margin + 12
	if s.Stamp != "" {
		s.stamp(right)
		right += 10
	}
	y := max(left, right) + 12

	s.grey()
	s.SetFont("go", "", smallSize)
	s.write(margin, y, width-factsW, lineH, "L", "Billed to")
	s.ink()
	s.SetFont("go", "B", textSize)
	left = y + lineH
	left += s.write(margin, left, width-factsW-8, lineH, "L", s.Customer)
	s.SetFont("go", "", textSize)
	right = y
	for _, f := range s.Facts {
		s.grey()
		s.write(margin+width-factsW, right, 32, lineH, "L", f.Label)
		s.ink()
		right += s.write(margin+width-factsW+32, right, factsW-32, lineH, "R", f.Value)
	}
	s.SetY(max(left, right) + 10)
}

// stamp says that nothing is to be paid any more.
func (s sheet) stamp(y float64) {
	r, g, b := 23, 113, 60
	if s.State == billing.Void {
		r, g, b = 179, 38, 30
	}
	s.SetDrawColor(r, g, b)
	s.SetTextColor(r, g, b)
	s.SetLineWidth(0.6)
	s.SetFont("go", "B", 12)
	s.SetXY(margin+width-24, y)
	s.CellFormat(24, 8, s.Stamp, "1", 0, "C", false, 0, "")
	s.ink()
}

// columns writes the heading of the table.
func (s sheet) columns() {
	y := s.GetY()
	s.ink()
	s.SetFont("go", "B", smallSize)
	s.write(margin, y, textW, lineH, "L", "Description")
	s.write(margin+textW, y, quantityW, lineH, "R", "Quantity")
	s.write(margin+textW+quantityW, y, amountW, lineH, "R", "Amount ("+s.Currency+")")
	s.rule(y+lineH+1.5, 0.5, 28, 36, 48)
	s.SetY(y + lineH + 3.5)
}

func (s sheet) rule(y, thick float64, r, g, b int) {
	s.SetLineWidth(thick)
	s.SetDrawColor(r, g, b)
	s.Line(margin, y, margin+width, y)
}

// room begins another page when there is less room than so much, and reports whether it
// did.
func (s sheet) room(h float64) bool {
	_, page := s.GetPageSize()
	if s.GetY()+h <= page-bottom {
		return false
	}
	s.AddPage()
	return true
}

// table writes the lines.
func (s sheet) table() {
	s.columns()
	for _, l := range s.Lines {
		s.SetFont("go", "", textSize)
		h := float64(len(s.split(l.Description, textW))) * lineH
		if l.Period != "" {
			h += smallH
		}
		if s.room(h + 3) {
			s.columns()
		}
		y := s.GetY()
		s.SetFont("go", "", textSize)
		below := y + s.write(margin, y, textW, lineH, "L", l.Description)
		s.write(margin+textW, y, quantityW, lineH, "R", l.Quantity)
		s.write(margin+textW+quantityW, y, amountW, lineH, "R", l.Amount)
		if l.Period != "" {
			s.grey()
			s.SetFont("go", "", smallSize)
			s.write(margin, below, textW, smallH, "L", l.Period)
			s.ink()
		}
		s.rule(y+h+1.5, 0.2, 217, 222, 229)
		s.SetY(y + h + 3)
	}
}

// sums writes what the lines come to. They stay on one page.
func (s sheet) sums() {
	s.room(float64(len(s.Sums))*(lineH+1) + 14)
	s.SetY(s.GetY() + 2)
	s.SetFont("go", "", textSize)
	for _, f := range s.Sums {
		y := s.GetY()
		s.write(margin, y, textW+quantityW, lineH, "R", f.Label)
		s.write(margin+textW+quantityW, y, amountW, lineH, "R", f.Value)
		s.SetY(y + lineH + 1)
	}
	y := s.GetY() + 1
	s.SetFont("go", "B", 13)
	w := s.GetStringWidth(s.Total) + 4
	s.write(margin, y, width-max(w, amountW), 7, "R", "Total")
	s.write(margin+width-w, y, w, 7, "R", s.Total)
}

// foot writes the number of the page.
func (s sheet) foot() {
	_, page := s.GetPageSize()
	s.grey()
	s.SetFont("go", "", smallSize)
	s.SetXY(margin, page-16)
	s.CellFormat(width, lineH, fmt.Sprintf("Invoice %s, page %d of {pages}", printable(s.Number), s.PageNo()), "", 0, "C", false, 0, "")
	s.ink()
}

// fonts are asked which letters they have.
var fonts = func() (list []*sfnt.Font) {
	for _, ttf := range [][]byte{goregular.TTF, gobold.TTF} {
		f, err := sfnt.Parse(ttf)
		if err != nil {
			panic(err) // the library's own
		}
		list = append(list, f)
	}
	return list
}()

// missing stands for letters that the fonts do not have.
const missing = '□'

// printable returns a text without what the fonts cannot show.
func printable(text string) string {
	var buffer sfnt.Buffer
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsControl(r), unicode.Is(unicode.Cf, r), unicode.Is(unicode.Variation_Selector, r):
			return -1
		}
		for _, f := range fonts {
			if glyph, err := f.GlyphIndex(&buffer, r); err != nil || glyph == 0 {
				return missing
			}
		}
		return r
	}, text)
}
