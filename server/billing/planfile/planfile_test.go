package planfile

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

const team = `
plans:
  - plan: free
    name: Free
    default: true
    features: {seats: 3, sso: false}
  - plan: team
    name: Team
    description: For teams that grow.
    trial_days: 14
    prices:
      - currency: EUR
        interval: month
        flat: 20
        seat: {amount: 7.50, included: 5}
        usage:
          - meter: api_calls
            tiers:
              - {up_to: 10000}
              - {unit: 0.0005, flat: 1}
        stripe: {flat: price_a, seat: price_b, usage: {api_calls: price_c}}
      - {currency: JPY, interval: year, flat: 30000}
      - {currency: KWD, interval: month, flat: 6.125}
    features:
      sso: true
      seats: unlimited
      api_calls: {meter: api_calls, limit: 1000000, soft: true}
  - {plan: old, name: Old, offered: false}
`

func TestAFileOfPlans(t *testing.T) {
	plans, err := Read(strings.NewReader(team))
	if err != nil {
		t.Fatal(err)
	}
	yes, no := true, false
	want := []billing.Plan{
		{Name: "free", Offered: true, Default: true, Definition: billing.Definition{DisplayName: "Free", Features: []billing.Feature{
			{Name: "seats", Value: billing.Value{Limit: &billing.Limit{Value: 3}}},
			{Name: "sso", Value: billing.Value{Enabled: &no}},
		}}},
		{Name: "team", Offered: true, Definition: billing.Definition{
			DisplayName: "Team", Description: "For teams that grow.", TrialDays: 14,
			Prices: []pricing.Price{
				{Currency: "EUR", Interval: pricing.Month, Flat: 2000, Seat: &pricing.SeatPrice{Amount: 750, Included: 5}, Usage: []pricing.UsagePrice{{
					Meter: "api_calls", Mode: pricing.Graduated, Tiers: []pricing.Tier{{UpTo: 10000}, {Unit: "0.05", Flat: 100}},
				}}, Stripe: &pricing.StripePrices{Flat: "price_a", Seat: "price_b", Usage: map[string]string{"api_calls": "price_c"}}},
				{Currency: "JPY", Interval: pricing.Year, Flat: 30000},
				{Currency: "KWD", Interval: pricing.Month, Flat: 6125},
			},
			Features: []billing.Feature{
				{Name: "api_calls", Value: billing.Value{Metered: &billing.Metered{Meter: "api_calls", Limit: billing.Limit{Value: 1000000}, Soft: true}}},
				{Name: "seats", Value: billing.Value{Limit: &billing.Limit{Unlimited: true}}},
				{Name: "sso", Value: billing.Value{Enabled: &yes}},
			},
		}},
		{Name: "old", Definition: billing.Definition{DisplayName: "Old"}},
	}
	if diff := cmp.Diff(want, plans); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWhatIsWrongWithAFileIsSaid(t *testing.T) {
	price := func(s string) string {
		return "plans: [{plan: a, name: A, default: true, prices: [{currency: EUR, interval: month, " + s + "}]}]"
	}
	feature := func(s string) string { return "plans: [{plan: a, name: A, default: true, features: {" + s + "}}]" }
	for file, want := range map[string]string{
		"":                            "EOF",
		"plans: []":                   "0 plans",
		"plans: [{plan: a, name: A}]": "0 plans are the default",
		"plans: [{plan: A, name: A, default: true}]":                                                       "begins with a letter",
		"plans: [{plan: a, name: A, default: true, offered: false}]":                                       "it is the default, and so it is offered",
		"plans: [{plan: a, default: true}]":                                                                "name: 1 to 100",
		"plans: [{plan: a, name: A, default: true, pirces: []}]":                                           "field pirces not found",
		"plans: [{plan: a, name: A, default: true}, {plan: a, name: A}]":                                   "there twice",
		"plans: [{plan: a, name: A, default: true}, {plan: b, name: A, default: true}]":                    "2 plans are the default",
		"plans: [{plan: a, name: A, default: true, trial_days: -1}]":                                       "trial_days",
		"plans: [{plan: a, name: A, default: true}]\n---\nplans: []":                                       "more than one document",
		"plans: [{plan: a, name: A, default: true, prices: [{currency: XYZ, interval: month}]}]":           "ISO 4217",
		"plans: [{plan: a, name: A, default: true, prices: [{currency: EUR, interval: week}]}]":            "not month or year",
		"plans: [{plan: a, name: A, default: true, prices: [{currency: JPY, interval: year, flat: 1.5}]}]": "more than 0 decimals",
		price("flat: 1.005"): "more than 2 decimals",
		price("flat: -1"):    "not an amount",
		price("flat: 1e3"):   "not an amount",
		price("flat: 1}, {currency: EUR, interval: month"):                                 "there twice",
		price("seat: {amount: 1, included: -1}"):                                           "included",
		price("usage: [{meter: m}]"):                                                       "1 to 50 tiers",
		price("usage: [{meter: m, mode: cubic, tiers: [{}]}]"):                             "not graduated or volume",
		price("usage: [{meter: m, tiers: [{up_to: 5}]}]"):                                  "the last tier has no up_to",
		price("usage: [{meter: m, tiers: [{up_to: 5}, {up_to: 5}, {}]}]"):                  "order of their up_to",
		price("flat: 1, stripe: {}"):                                                       "it names no price",
		price("flat: 1, stripe: {flat: prod_1}"):                                           "no id of a price",
		price("flat: 1, stripe: {flat: price_1, seat: price_2}"):                           "seat costs nothing here",
		price("flat: 1, seat: {amount: 1}, stripe: {flat: price_1}"):                       "seat has no price there",
		price("flat: 1, seat: {amount: 1}, stripe: {flat: price_1, seat: price_1}"):        "there twice",
		price("flat: 1, usage: [{meter: m, tiers: [{unit: 1}]}], stripe: {flat: price_1}"): "usage of m has no price there",
		price("flat: 1, stripe: {flat: price_1, usage: {m: price_2}}"):                     "usage of m costs nothing here",
		feature("SSO: true"):                                    "other characters",
		feature("sso: true, sso: true"):                         "there twice",
		feature("sso: maybe"):                                   "a number or unlimited",
		feature("seats: true"):                                  "how many may belong",
		feature("seats: -1"):                                    "a number or unlimited",
		feature("calls: {limit: 3}"):                            "names no meter",
		feature("calls: {meter: calls, limit: 3, sofft: true}"): "field sofft is unknown",
	} {
		if _, err := Read(strings.NewReader(file)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n%v, want %q", file, err, want)
		}
	}
}
