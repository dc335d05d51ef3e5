package stripe

import "github.com/bojanz/currency"

// otherDigits are the currencies whose amounts have another number of decimals at Stripe
// than in ISO 4217 (https://docs.stripe.com/currencies).
var otherDigits = map[string]uint8{"ISK": 2, "MGA": 0, "UGX": 2}

// amountAtStripe returns an amount of minor units as Stripe takes it, rounded towards zero
// where it takes tens of them only.
func amountAtStripe(amount int64, code string) int64 {
	here, _ := currency.GetDigits(code)
	if here == 3 {
		return amount - amount%10
	}
	if there, other := otherDigits[code]; other {
		return shift(amount, here, there)
	}
	return amount
}

// amountHere returns an amount that Stripe has in minor units.
func amountHere(amount int64, code string) int64 {
	if there, other := otherDigits[code]; other {
		here, _ := currency.GetDigits(code)
		return shift(amount, there, here)
	}
	return amount
}

// shift gives an amount other decimals than it has, rounded towards zero.
func shift(amount int64, from, to uint8) int64 {
	for ; from < to; from++ {
		amount *= 10
	}
	for ; from > to; from-- {
		amount /= 10
	}
	return amount
}
