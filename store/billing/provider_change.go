package billing

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// ByCancellation is the reason of what ends because the workspace canceled its plan.
const ByCancellation = "canceled"

// Change is what makes a subscription at the provider what is desired. What is nil or
// empty stays as it is.
type Change struct {
	Cancel bool // at once
	// Charge has charged with the cancellation what is not yet: what was used, and what was
	// changed within the period.
	Charge            bool `json:",omitempty"`
	CancelAtPeriodEnd *bool
	Paused            *bool
	// Migrate has, before the items change, what was used charged also of those that are
	// removed.
	Migrate bool `json:",omitempty"`
	Items   []ItemChange
}

// LastUsage reports whether by the change the provider charges what was used until then:
// what it is told later is charged otherwise, or not at all.
func (c *Change) LastUsage() bool { return c.Charge || endsUsage(c.Items) }

func endsUsage(items []ItemChange) bool {
	return slices.ContainsFunc(items, func(i ItemChange) bool { return i.Remove && i.Metered })
}

// ItemChange adds an item, changes the one with an id, or removes it.
type ItemChange struct {
	Item
	Remove bool
}

// Change returns what is to be done at the provider: nil when all is as desired. Of what
// is ending nothing is charged, so its items may be as they are.
func (p *ProviderSubscription) Change(m *Mirror) *Change {
	if m.Over() {
		return nil
	}
	if p.Desired == Ended {
		// Of a workspace that is gone nothing more is charged.
		return &Change{Cancel: true, Charge: p.Reason == ByCancellation}
	}
	c := new(Change)
	end, paused := p.CancelAtPeriodEnd || p.Desired == Ending, p.Desired == Ending
	if m.CancelAtPeriodEnd != end {
		c.CancelAtPeriodEnd = &end
	}
	if m.Paused != paused {
		c.Paused = &paused
	}
	if p.Desired == Live {
		c.Items = itemChanges(p.Items, m.Items)
		c.Migrate = m.Classic && endsUsage(c.Items)
	}
	if c.CancelAtPeriodEnd == nil && c.Paused == nil && len(c.Items) == 0 {
		return nil
	}
	return c
}

// itemChanges makes items of others. One that is not there is the same as one of which
// there are none; but a subscription has one item at least.
func itemChanges(want, have []Item) []ItemChange {
	var list []ItemChange
	for _, w := range want {
		i := slices.IndexFunc(have, func(h Item) bool { return h.Price == w.Price })
		switch {
		case i < 0 && (w.Metered || w.Quantity > 0):
			list = append(list, ItemChange{Item: w})
		case i >= 0 && !w.Metered && have[i].Quantity != w.Quantity:
			w.ID = have[i].ID
			list = append(list, ItemChange{Item: w})
		}
	}
	kept := len(list) > 0
	for i, h := range have {
		first := slices.IndexFunc(have, func(o Item) bool { return o.Price == h.Price }) == i
		if !first || !slices.ContainsFunc(want, func(w Item) bool { return w.Price == h.Price }) {
			list = append(list, ItemChange{Item: h, Remove: true})
		} else {
			kept = true
		}
	}
	if !kept && len(want) > 0 {
		list = append([]ItemChange{{Item: want[0]}}, list...)
	}
	return list
}

// Difference is something that is one way here and another at the provider.
type Difference struct {
	Subscription string // the provider's id
	Field        string
	Ours, Theirs string
	// Theirs counts when ProviderOwns, else ours.
	ProviderOwns bool
	Repaired     bool
}

// Differences returns how what is at the provider differs from what is desired.
func (p *ProviderSubscription) Differences(m *Mirror) []Difference {
	c := p.Change(m)
	if c == nil {
		return nil
	}
	var list []Difference
	add := func(field, ours, theirs string) {
		list = append(list, Difference{Subscription: p.ID, Field: field, Ours: ours, Theirs: theirs})
	}
	if c.Cancel {
		add("cancellation", "canceled", string(m.Status))
	}
	if c.CancelAtPeriodEnd != nil {
		add("cancellation", endOf(*c.CancelAtPeriodEnd), endOf(m.CancelAtPeriodEnd))
	}
	if c.Paused != nil {
		add("collection", collectionOf(*c.Paused), collectionOf(m.Paused))
	}
	if len(c.Items) > 0 {
		add("items", itemsOf(p.Items), itemsOf(m.Items))
	}
	return list
}

func endOf(atPeriodEnd bool) string {
	if atPeriodEnd {
		return "ends with its period"
	}
	return "goes on"
}

func collectionOf(paused bool) string {
	if paused {
		return "nothing is charged"
	}
	return "charged"
}

// itemsOf lists items by price, as in "price_1 × 5, price_2".
func itemsOf(items []Item) string {
	var list []string
	for _, i := range items {
		if i.Metered {
			list = append(list, i.Price)
		} else if i.Quantity > 0 {
			list = append(list, fmt.Sprintf("%s × %d", i.Price, i.Quantity))
		}
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// MirroredInvoice is an invoice that the provider made.
type MirroredInvoice struct {
	ID           string
	Subscription string // the provider's id
	// Bought is what the subscription was made for; nil when this server did not make it.
	Bought     *Purchase
	Number     string
	State      string // in Stripe's words: open, paid, void, uncollectible
	Currency   string
	Total, Tax int64
	IssueTime  time.Time
	DueTime    time.Time
	PaidTime   time.Time
	URL        string // where it is seen and paid
	Period     [2]time.Time
	Lines      []MirroredLine
}

// MirroredLine is a line of an invoice that the provider made.
type MirroredLine struct {
	Description string
	Quantity    int64
	Amount      int64
	Period      [2]time.Time
	Proration   bool
}
