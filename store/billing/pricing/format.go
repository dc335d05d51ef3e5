package pricing

import (
	"strconv"

	"github.com/bojanz/currency"
)

// Format writes an amount of minor units for people: the currency's code, and the number
// with its decimals and with groups of thousands.
func Format(amount int64, code string) string { return code + " " + FormatNumber(amount, code) }

// FormatNumber is Format without the currency's code. Of a currency that is not known it
// writes the minor units.
func FormatNumber(amount int64, code string) string {
	a, err := currency.NewAmountFromInt64(amount, code)
	if err != nil {
		return strconv.FormatInt(amount, 10)
	}
	f := currency.NewFormatter(currency.NewLocale("en"))
	f.CurrencyDisplay = currency.DisplayNone
	return f.Format(a)
}
