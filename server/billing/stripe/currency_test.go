package stripe

import "testing"

// TestAmountsHaveTheDecimalsThatStripeExpects, by its documentation of currencies.
func TestAmountsHaveTheDecimalsThatStripeExpects(t *testing.T) {
	for code, of := range map[string]struct{ here, there, back int64 }{
		"EUR": {1234, 1234, 1234}, "JPY": {500, 500, 500}, // 12.34 EUR, 500 JPY
		"ISK": {5, 500, 5}, "UGX": {5, 500, 5},
		"MGA": {50000, 500, 50000}, // 500 ariary
		"KWD": {5124, 5120, 5120},
	} {
		if got := amountAtStripe(of.here, code); got != of.there {
			t.Errorf("%d %s at Stripe: %d, want %d", of.here, code, got, of.there)
		}
		if got := amountHere(of.there, code); got != of.back {
			t.Errorf("%d %s from Stripe: %d, want %d", of.there, code, got, of.back)
		}
	}
}
