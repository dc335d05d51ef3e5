package pricing

import (
	"errors"
	"math/big"
	"regexp"
	"strings"
)

// Tax tells what an invoice is taxed. It is asked within a transaction: it computes, and
// asks nobody.
type Tax interface {
	// Due returns the taxes of all lines of an invoice together, none where there is none.
	// The lines are of one currency, and their sum is above zero.
	Due(lines []Line) []TaxLine
}

// TaxLine is one tax of an invoice.
type TaxLine struct {
	Name   string // as it is printed, for example "VAT 19%"
	Amount int64
}

// FixedRate is one tax of so many percent on everything. It is rounded once for the
// whole invoice, to the nearest minor unit, and half of one away from zero.
type FixedRate struct {
	name    string
	percent *big.Rat
}

var percents = regexp.MustCompile(`^[0-9]{1,3}(\.[0-9]{1,6})?$`)

// NewFixedRate returns the tax of a name and a rate in percent, as a decimal number from
// 0 to 100.
func NewFixedRate(name, percent string) (FixedRate, error) {
	rate, ok := new(big.Rat).SetString(percent)
	switch {
	case strings.TrimSpace(name) == "":
		return FixedRate{}, errors.New("the tax has no name")
	case !percents.MatchString(percent) || !ok || rate.Cmp(big.NewRat(100, 1)) > 0:
		return FixedRate{}, errors.New("a decimal number from 0 to 100 is expected, such as 19 or 7.7")
	}
	return FixedRate{name + " " + percent + "%", rate}, nil
}

// Due implements Tax.
func (f FixedRate) Due(lines []Line) []TaxLine {
	taxed := new(big.Rat)
	for _, l := range lines {
		taxed.Add(taxed, new(big.Rat).SetInt64(l.Amount))
	}
	taxed.Mul(taxed, f.percent).Quo(taxed, big.NewRat(100, 1))
	return []TaxLine{{f.name, round(taxed)}}
}
