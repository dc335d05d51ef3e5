// Package planfile reads the file of plans that whoever runs the server writes.
package planfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/big"
	"regexp"
	"slices"
	"strings"

	"github.com/bojanz/currency"
	"go.yaml.in/yaml/v3"

	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// The bounds of what a file may say.
const (
	maxPlans     = 100
	maxPrices    = 40
	maxFeatures  = 200
	maxTiers     = 50
	maxTrialDays = 730
	maxAmount    = 1_000_000_000_000 // minor units
	maxSeats     = 1_000_000
)

var (
	planNames    = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,39}$`)
	featureNames = regexp.MustCompile(`^[a-z][a-z0-9_]{0,59}$`)
)

type file struct {
	Plans []plan `yaml:"plans"`
}

type plan struct {
	Plan        string    `yaml:"plan"`
	Name        string    `yaml:"name"`
	Description string    `yaml:"description"`
	Offered     *bool     `yaml:"offered"`
	Default     bool      `yaml:"default"`
	TrialDays   int       `yaml:"trial_days"`
	Prices      []price   `yaml:"prices"`
	Features    yaml.Node `yaml:"features"`
}

type price struct {
	Currency string  `yaml:"currency"`
	Interval string  `yaml:"interval"`
	Flat     amount  `yaml:"flat"`
	Seat     *seat   `yaml:"seat"`
	Usage    []usage `yaml:"usage"`
	Stripe   *sold   `yaml:"stripe"`
}

// sold is Stripe's ids of what a price consists of.
type sold struct {
	Flat  string            `yaml:"flat"`
	Seat  string            `yaml:"seat"`
	Usage map[string]string `yaml:"usage"`
}

type seat struct {
	Amount   amount `yaml:"amount"`
	Included int    `yaml:"included"`
}

type usage struct {
	Meter string `yaml:"meter"`
	Mode  string `yaml:"mode"`
	Tiers []tier `yaml:"tiers"`
}

type tier struct {
	UpTo int64  `yaml:"up_to"`
	Unit amount `yaml:"unit"`
	Flat amount `yaml:"flat"`
}

// amount is a decimal number of a currency's main unit, as it is written: never a
// float.
type amount string

// UnmarshalYAML reads it.
func (a *amount) UnmarshalYAML(n *yaml.Node) error {
	if n.Kind != yaml.ScalarNode || !decimals.MatchString(n.Value) {
		return fmt.Errorf("line %d: %q is not an amount, such as 20 or 7.50", n.Line, n.Value)
	}
	*a = amount(n.Value)
	return nil
}

var decimals = regexp.MustCompile(`^[0-9]{1,12}(\.[0-9]{1,12})?$`)

// minor returns the amount in minor units.
func (a amount) minor(digits uint8) *big.Rat {
	if a == "" {
		return new(big.Rat)
	}
	r, _ := new(big.Rat).SetString(string(a))
	return r.Mul(r, new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)))
}

// Read reads and checks a file of plans.
//
// Errors: all that is wrong with it, by plan.
func Read(r io.Reader) ([]billing.Plan, error) {
	data, err := io.ReadAll(io.LimitReader(r, 1<<20))
	if err != nil {
		return nil, err
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	var f file
	if err := decoder.Decode(&f); err != nil {
		return nil, err
	}
	if err := decoder.Decode(new(file)); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is more than one document in it")
	}
	if len(f.Plans) == 0 || len(f.Plans) > maxPlans {
		return nil, fmt.Errorf("it has %d plans; 1 to %d are expected", len(f.Plans), maxPlans)
	}
	var problems []error
	var plans []billing.Plan
	names, defaults := map[string]bool{}, 0
	for _, p := range f.Plans {
		c := &check{plan: p.Plan}
		if !planNames.MatchString(p.Plan) {
			c.fail("its name begins with a letter; small letters, digits, - and _ are expected, 40 at most")
		}
		if names[p.Plan] {
			c.fail("it is there twice")
		}
		names[p.Plan] = true
		if p.Default {
			defaults++
			if p.Offered != nil && !*p.Offered {
				c.fail("it is the default, and so it is offered")
			}
		}
		plans = append(plans, billing.Plan{
			Name: p.Plan, Offered: p.Offered == nil || *p.Offered, Default: p.Default, Definition: c.definition(p),
		})
		problems = append(problems, c.problems...)
	}
	if defaults != 1 {
		problems = append(problems, fmt.Errorf("%d plans are the default; exactly one is expected", defaults))
	}
	return plans, errors.Join(problems...)
}

// check collects what is wrong with a plan.
type check struct {
	plan     string
	problems []error
}

func (c *check) fail(format string, args ...any) {
	c.problems = append(c.problems, fmt.Errorf("plan %q: %s", c.plan, fmt.Sprintf(format, args...)))
}

func (c *check) definition(p plan) billing.Definition {
	d := billing.Definition{DisplayName: strings.TrimSpace(p.Name), Description: strings.TrimSpace(p.Description), TrialDays: p.TrialDays}
	if d.DisplayName == "" || len(d.DisplayName) > 100 {
		c.fail("name: 1 to 100 bytes are expected")
	}
	if len(d.Description) > 500 {
		c.fail("description: 500 bytes are the most")
	}
	if p.TrialDays < 0 || p.TrialDays > maxTrialDays {
		c.fail("trial_days: 0 to %d are expected", maxTrialDays)
	}
	if len(p.Prices) > maxPrices {
		c.fail("prices: %d are the most", maxPrices)
	}
	seen := map[string]bool{}
	for _, from := range p.Prices {
		key := from.Currency + " each " + from.Interval
		if seen[key] {
			c.fail("prices: %s is there twice", key)
		}
		seen[key] = true
		d.Prices = append(d.Prices, c.price(key, from))
	}
	d.Features = c.features(&p.Features)
	return d
}

func (c *check) price(key string, p price) pricing.Price {
	digits, known := currency.GetDigits(p.Currency)
	if !known {
		c.fail("prices: %q is not a currency of ISO 4217", p.Currency)
	}
	out := pricing.Price{Currency: p.Currency, Interval: pricing.Interval(p.Interval), Flat: c.whole(key+": flat", p.Flat, digits)}
	if out.Interval != pricing.Month && out.Interval != pricing.Year {
		c.fail("prices: the interval %q is not month or year", p.Interval)
	}
	if p.Seat != nil {
		out.Seat = &pricing.SeatPrice{Amount: c.whole(key+": seat", p.Seat.Amount, digits), Included: p.Seat.Included}
		if p.Seat.Included < 0 || p.Seat.Included > maxSeats {
			c.fail("%s: included: 0 to %d seats are expected", key, maxSeats)
		}
	}
	meters := map[string]bool{}
	for _, u := range p.Usage {
		what := key + ": usage of " + u.Meter
		if !featureNames.MatchString(u.Meter) || meters[u.Meter] {
			c.fail("%s: the meter has no proper name, or is there twice", what)
		}
		meters[u.Meter] = true
		out.Usage = append(out.Usage, c.usage(what, u, digits))
	}
	if p.Stripe != nil {
		out.Stripe = c.sold(key, *p.Stripe, out)
	}
	return out
}

var stripePrices = regexp.MustCompile(`^price_[0-9A-Za-z_]{1,200}$`)

// sold reads what a price is at Stripe: each part that costs something has a price
// there, and nothing else has.
func (c *check) sold(key string, s sold, p pricing.Price) *pricing.StripePrices {
	seen := map[string]bool{}
	part := func(what, id string, costs bool) {
		switch {
		case costs && id == "":
			c.fail("%s: stripe: %s has no price there", key, what)
		case !costs && id != "":
			c.fail("%s: stripe: %s costs nothing here", key, what)
		case id != "" && (!stripePrices.MatchString(id) || seen[id]):
			c.fail("%s: stripe: %s: %q is no id of a price, or is there twice", key, what, id)
		}
		seen[id] = true
	}
	part("flat", s.Flat, p.Flat != 0)
	part("seat", s.Seat, p.Seat != nil && p.Seat.Amount != 0)
	left := maps.Clone(s.Usage)
	for _, u := range p.Usage {
		part("usage of "+u.Meter, s.Usage[u.Meter], true)
		delete(left, u.Meter)
	}
	for meter := range left {
		part("usage of "+meter, left[meter], false)
	}
	if len(seen) == 0 || len(seen) == 1 && seen[""] {
		c.fail("%s: stripe: it names no price", key)
	}
	return &pricing.StripePrices{Flat: s.Flat, Seat: s.Seat, Usage: s.Usage}
}

func (c *check) usage(what string, u usage, digits uint8) pricing.UsagePrice {
	out := pricing.UsagePrice{Meter: u.Meter, Mode: pricing.TierMode(u.Mode)}
	if out.Mode == "" {
		out.Mode = pricing.Graduated
	}
	if out.Mode != pricing.Graduated && out.Mode != pricing.Volume {
		c.fail("%s: the mode %q is not graduated or volume", what, u.Mode)
	}
	if len(u.Tiers) == 0 || len(u.Tiers) > maxTiers {
		c.fail("%s: 1 to %d tiers are expected", what, maxTiers)
	}
	last := int64(0)
	for i, t := range u.Tiers {
		switch end := i == len(u.Tiers)-1; {
		case end && t.UpTo != 0:
			c.fail("%s: the last tier has no up_to", what)
		case !end && t.UpTo <= last:
			c.fail("%s: the tiers are not in the order of their up_to", what)
		}
		last = t.UpTo
		unit := t.Unit.minor(digits)
		if unit.Cmp(big.NewRat(maxAmount, 1)) > 0 {
			c.fail("%s: a unit costs too much", what)
		}
		out.Tiers = append(out.Tiers, pricing.Tier{UpTo: t.UpTo, Unit: decimal(unit), Flat: c.whole(what+": flat", t.Flat, digits)})
	}
	return out
}

// decimal writes a number as a decimal one without zeros at its end: "" for none.
func decimal(r *big.Rat) string {
	if r.Sign() == 0 {
		return ""
	}
	s := r.FloatString(12)
	return strings.TrimSuffix(strings.TrimRight(s, "0"), ".")
}

// whole returns an amount in minor units, of which it must be a whole number.
func (c *check) whole(what string, a amount, digits uint8) int64 {
	r := a.minor(digits)
	if !r.IsInt() || r.Cmp(big.NewRat(maxAmount, 1)) > 0 {
		c.fail("%s: %s has more than %d decimals, or is too much", what, a, digits)
		return 0
	}
	return r.Num().Int64()
}

// features reads what a plan gives, by name: true or false, a number or `unlimited`, or
// a meter with its limit.
func (c *check) features(n *yaml.Node) []billing.Feature {
	if n.Kind == 0 {
		return nil
	}
	if n.Kind != yaml.MappingNode {
		c.fail("features: a name for each is expected")
		return nil
	}
	if len(n.Content)/2 > maxFeatures {
		c.fail("features: %d are the most", maxFeatures)
	}
	var list []billing.Feature
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		name := n.Content[i].Value
		if !featureNames.MatchString(name) || seen[name] {
			c.fail("features: %q is there twice, or has other characters than small letters, digits and _", name)
		}
		seen[name] = true
		value, err := featureValue(n.Content[i+1])
		if err != nil {
			c.fail("features: %s: %v", name, err)
		}
		if name == billing.SeatFeature && value.Limit == nil {
			c.fail("features: %s is how many may belong to a workspace: a number, or unlimited", name)
		}
		list = append(list, billing.Feature{Name: name, Value: value})
	}
	slices.SortFunc(list, func(a, b billing.Feature) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func featureValue(n *yaml.Node) (billing.Value, error) {
	var enabled bool
	if n.Tag == "!!bool" && n.Decode(&enabled) == nil {
		return billing.Value{Enabled: &enabled}, nil
	}
	if n.Kind == yaml.ScalarNode {
		l, err := limitOf(n)
		return billing.Value{Limit: &l}, err
	}
	var m struct {
		Meter string    `yaml:"meter"`
		Limit yaml.Node `yaml:"limit"`
		Soft  bool      `yaml:"soft"`
	}
	if err := n.Decode(&m); err != nil {
		return billing.Value{}, err
	}
	for i := 0; i < len(n.Content); i += 2 {
		if key := n.Content[i].Value; key != "meter" && key != "limit" && key != "soft" {
			return billing.Value{}, fmt.Errorf("line %d: field %s is unknown", n.Content[i].Line, key)
		}
	}
	if !featureNames.MatchString(m.Meter) {
		return billing.Value{}, errors.New("it names no meter")
	}
	l, err := limitOf(&m.Limit)
	return billing.Value{Metered: &billing.Metered{Meter: m.Meter, Limit: l, Soft: m.Soft}}, err
}

func limitOf(n *yaml.Node) (billing.Limit, error) {
	if n.Value == "unlimited" {
		return billing.Limit{Unlimited: true}, nil
	}
	var l billing.Limit
	if n.Tag != "!!int" || n.Decode(&l.Value) != nil || l.Value < 0 {
		return l, fmt.Errorf("line %d: true, false, a number or unlimited is expected", n.Line)
	}
	return l, nil
}
