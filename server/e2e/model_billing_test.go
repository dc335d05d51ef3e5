package e2e

import (
	"math/big"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
)

// modelOffer is a plan by one of its prices, in cents.
type modelOffer struct {
	plan                 string
	months               int // of a period that is charged; 0 for what costs nothing
	flat, seat, included int64
	call, freeCalls      int64
	seats, calls         int // the limits; 0 for none
	trial                int // days
	sso                  bool
}

var modelOffers = []*modelOffer{
	{plan: "free", seats: 3, calls: 20},
	{plan: "team", months: 1, flat: 2000, seat: 750, included: 2, call: 3, freeCalls: 10, seats: 6, trial: 14, sso: true},
	{plan: "team", months: 12, flat: 20000, seats: 6, trial: 14, sso: true},
	{plan: "big", months: 1, flat: 10000, seat: 500, trial: 30, sso: true},
	{plan: "small", months: 1, flat: 500, seats: 2},
}

// choice is the price that a call asks for.
func (o *modelOffer) choice() (currency string, interval billingv1.Interval) {
	switch o.months {
	case 0:
		return "", 0
	case 1:
		return "EUR", monthly
	}
	return "EUR", yearly
}

// billed is a workspace that somebody pays for, and what its subscription should be. Its
// times are whole hours after the run's beginning; the server's are the seconds later that
// the run itself takes, which cost less than a tenth of a cent.
type billed struct {
	*model
	*stage
	owner *testkit.Person // in the workspace
	mates []*testkit.Person

	at      time.Time
	offer   *modelOffer
	state   string
	ending  bool                       // with its period
	members map[*testkit.Person]string // beside the owner
	bought  int
	tried   map[string]bool // by plan
	pastDue time.Time       // since when
	deleted time.Time       // when; zero while it lives

	anchor, start, end time.Time // of the present period
	number             int       // of it, since the anchor
	used               []int64   // in each period; in the present one last

	// rate is what the present period costs as a whole, from since on. Before, it has cost
	// what spent has.
	rate  int64
	since time.Time
	spent *big.Rat
}

// TestBillingDoesWhatAPlainModelDoes lets an owner do random things with a subscription
// while time goes by. After each, what the server says is what the model says, and all
// lines, of invoices and those that wait for one, are what each second cost.
func TestBillingDoesWhatAPlainModelDoes(t *testing.T) {
	t.Parallel()
	s := newBilled(t, func(s *config.Settings) {
		modelSettings(s)
		s.SessionLifetime, s.SessionIdleTimeout = 90*365*24*time.Hour, 90*365*24*time.Hour
		s.ReauthenticationAge, s.DeletionGrace = s.SessionLifetime, s.SessionLifetime
	})
	applyPlans(t, s.Server, modelPlans)
	owner := s.person(t)
	var mates []*testkit.Person
	for range 6 {
		mates = append(mates, s.person(t))
	}
	var last *billed
	runModelOn(t, s.Server, 1, billingMeets, func(m *model, rt *rapid.T) map[string]func(*rapid.T) {
		if last != nil && last.lives() {
			s.delete(t, last.owner, last.owner.Workspace.Id) // nobody renews it any more
		}
		b := &billed{model: m, stage: s, mates: mates}
		last = b
		b.begin(rt, owner)
		return map[string]func(*rapid.T){
			"":             b.compare,
			"change":       b.change,
			"try":          b.try,
			"cancel":       b.cancelNow,
			"cancel later": b.cancelLater,
			"resume":       b.resume,
			"buy seats":    b.buySeats,
			"join":         b.join,
			"leave":        b.leave,
			"use":          b.use,
			"pay":          b.payAll,
			"delete":       b.delete,
			"undelete":     b.undelete,
			"bring back":   b.undelete,
			"time goes by": b.advance,
			"more time":    b.advance,
			"still more":   b.advance,
		}
	})
}

var billingMeets = []string{
	"ChangeSubscription", "ChangeSubscription SEATS_IN_USE", "ChangeSubscription SEAT_LIMIT_EXCEEDED", "ChangeSubscription SUBSCRIPTION_UNPAID",
	"StartTrial", "StartTrial TRIAL_NOT_OFFERED", "StartTrial TRIAL_USED", "StartTrial SUBSCRIPTION_STATE",
	"CancelSubscription", "CancelSubscription later", "ResumeSubscription", "ResumeSubscription SUBSCRIPTION_UNPAID",
	"UpdateSeatCount", "UpdateSeatCount SEATS_IN_USE", "UpdateSeatCount SEAT_LIMIT_EXCEEDED", "UpdateSeatCount SUBSCRIPTION_STATE",
	"CreateInvitation", "CreateInvitation SEATS_EXHAUSTED", "RemoveMembership",
	"RecordUsage", "RecordUsage USAGE_LIMIT_REACHED", "RecordUsage SUBSCRIPTION_PAUSED",
	"renewed", "trial ended", "ended with its period", "past due", "paused", "recovered",
	"DeleteWorkspace", "UndeleteWorkspace",
}

// What there is.

func (b *billed) lives() bool { return b.deleted.IsZero() }
func (b *billed) seats() int  { return 1 + len(b.members) }

func (b *billed) billedSeats() int {
	if b.bought > 0 {
		return b.bought
	}
	return b.seats()
}

func (b *billed) charged() bool {
	return b.offer.months > 0 && (b.state == "active" || b.state == "past_due")
}

// cost is what a whole period costs as it is now.
func (b *billed) cost() int64 {
	if !b.charged() {
		return 0
	}
	return b.offer.flat + max(int64(b.billedSeats())-b.offer.included, 0)*b.offer.seat
}

// seatLimit is how many seats there are now; 0 for no limit, and -1 for none.
func (b *billed) seatLimit() int {
	switch {
	case b.state == "paused":
		return -1
	case b.bought > 0:
		return b.bought // which is no more than the plan has
	}
	return b.offer.seats
}

// fits is what an offer with so many seats bought meets.
func (b *billed) fits(o *modelOffer, bought int) string {
	limit := o.seats
	if bought > 0 {
		limit = bought
	}
	switch {
	case o.seats > 0 && bought > o.seats:
		return "SEAT_LIMIT_EXCEEDED"
	case limit > 0 && b.seats() > limit:
		return "SEATS_IN_USE"
	}
	return ""
}

func (b *billed) overdue() bool {
	return count(b.t, b.Server, "SELECT count(*) FROM billing.invoices WHERE workspace_id = $1 AND state = 'open' AND due_time <= $2", uuidOf(b.t, b.owner.Workspace.Id), b.Clock.Now()) > 0
}

// What time does.

// spend counts what the present period has cost until a time.
func (b *billed) spend(until time.Time) {
	b.spent.Add(b.spent, b.costs(b.since, until))
	b.since = until
}

func (b *billed) costs(from, to time.Time) *big.Rat {
	return new(big.Rat).Mul(big.NewRat(b.rate, 1), big.NewRat(int64(to.Sub(from)), int64(b.end.Sub(b.start))))
}

// reprice has the rest of the present period cost what it does as things are now.
func (b *billed) reprice() {
	if b.charged() {
		b.spend(b.at)
		b.rate = b.cost()
	}
}

// close counts what was used in the present period. Of what was paid in advance until its
// end nothing is given back.
func (b *billed) close() {
	b.spend(b.end)
	if b.state != "trialing" {
		b.spent.Add(b.spent, big.NewRat(b.offer.call*max(b.used[len(b.used)-1]-b.offer.freeCalls, 0), 1))
	}
}

// restart has periods begin at a time, the first of them then.
func (b *billed) restart(at time.Time) {
	b.anchor, b.number = at, -1
	b.next()
}

func (b *billed) next() {
	months := max(b.offer.months, 1)
	b.number++
	b.start, b.end = monthAfter(b.anchor, b.number*months), monthAfter(b.anchor, (b.number+1)*months)
	b.used, b.since, b.rate = append(b.used, 0), b.start, b.cost()
}

// cancel ends what there is as at a time.
func (b *billed) cancel(at time.Time) {
	b.close()
	b.offer, b.state, b.bought, b.ending, b.pastDue = modelOffers[0], "active", 0, false, time.Time{}
	b.restart(at)
}

// settle does what is due of periods.
func (b *billed) settle() {
	for b.lives() && !b.at.Before(b.end) {
		switch {
		case b.offer.months == 0:
			b.next()
		case b.state == "paused":
			return
		case b.ending:
			b.seen["ended with its period"]++
			b.cancel(b.end)
		default:
			b.close()
			b.seen["renewed"]++
			if b.state == "trialing" {
				b.seen["trial ended"]++
				b.state = "active"
			}
			b.next()
		}
	}
}

// dun does what is due because nobody has paid.
func (b *billed) dun() {
	switch {
	case b.state == "active" && b.overdue():
		b.seen["past due"]++
		b.state, b.pastDue = "past_due", b.at
	case b.state == "past_due" && !b.at.Before(b.pastDue.Add(b.Settings.DunningGrace)):
		b.seen["paused"]++
		b.state = "paused"
	}
}

// recover lets go on what was not paid, and is. The time for which it was paused, and not
// paid for before, costs nothing.
func (b *billed) recover() {
	if b.state != "past_due" && b.state != "paused" || b.overdue() {
		return
	}
	paused := b.state == "paused"
	b.seen["recovered"]++
	if paused && !b.at.Before(b.end) {
		b.seen["recovered in another period"]++
		if b.ending {
			b.cancel(b.end)
			b.settle()
			return
		}
		b.close()
		b.state, b.pastDue = "active", time.Time{}
		b.restart(b.at)
		return
	}
	b.state, b.pastDue = "active", time.Time{}
	if paused {
		b.reprice()
	}
}

// What people do.

// refused is what a call meets first.
func (b *billed) refused() string {
	if !b.lives() {
		return unknownHere
	}
	return ""
}

// chosen is what an offer meets that is chosen.
func (b *billed) chosen(o *modelOffer) string {
	switch {
	case !b.lives():
		return unknownHere
	case o == b.offer && b.state != "paused":
		return ""
	case b.state == "paused", o.months > 0 && !b.charged() && b.overdue():
		return "SUBSCRIPTION_UNPAID"
	}
	return b.fits(o, b.bought)
}

// billedState is what can be seen of a subscription.
type billedState struct {
	Plan          string
	Months        int
	State         string
	Seats, Bought int
	Ending        bool
	Used          []int64 // in the periods in which anything was
}

// compare compares the database, and what the workspace may do, with the model.
func (b *billed) compare(rt *rapid.T) {
	id := uuidOf(b.t, b.owner.Workspace.Id)
	rows, err := b.SQL.Query(b.t.Context(), `
		SELECT plan, CASE due_interval WHEN 'month' THEN 1 WHEN 'year' THEN 12 ELSE 0 END, coalesce(former_state, state), seats, seat_count, cancel_at_period_end,
		       ARRAY(SELECT quantity FROM billing.usage_totals WHERE workspace_id = $1 AND quantity > 0 ORDER BY period_start_time)
		FROM billing.subscriptions WHERE workspace_id = $1 ORDER BY cancel_time DESC NULLS FIRST, id DESC LIMIT 1`, id)
	if err != nil {
		rt.Fatal(err)
	}
	got, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[billedState])
	if err != nil {
		rt.Fatal(err)
	}
	same(rt, "the subscription", got, billedState{
		b.offer.plan, b.offer.months, b.state, b.seats(), b.bought, b.ending,
		slices.DeleteFunc(slices.Clone(b.used), func(n int64) bool { return n == 0 }),
	})

	var lines, total int64
	if err := b.SQL.QueryRow(b.t.Context(), `
		SELECT count(*), coalesce(sum(amount), 0) FROM (
			SELECT amount FROM billing.invoice_lines WHERE workspace_id = $1
			UNION ALL SELECT amount FROM billing.pending_lines WHERE workspace_id = $1) l`, id).Scan(&lines, &total); err != nil {
		rt.Fatal(err)
	}
	want := new(big.Rat).Add(b.spent, b.costs(b.since, b.end))
	if off := new(big.Rat).Sub(big.NewRat(total, 1), want); off.Abs(off).Cmp(big.NewRat(lines, 1)) > 0 {
		rt.Fatalf("%d lines are %d, and want %s", lines, total, want.FloatString(3))
	}

	if !b.lives() {
		return
	}
	workspace, err := ids.Parse[ids.Workspace](b.owner.Workspace.Id)
	if err != nil {
		rt.Fatal(err)
	}
	usage, err := b.Store.GetSeatUsage(b.t.Context(), workspace)
	if err != nil {
		rt.Fatal(err)
	}
	limit := b.seatLimit()
	same(rt, "the seats (limit, active, billed)", []int{usage.Limit, usage.Active, usage.Billed}, []int{max(limit, 0), b.seats(), b.billedSeats()})
	same(rt, "whether seats are limited", usage.Limited, limit != 0)
	sso, err := b.Store.Entitlements(b.t.Context(), workspace, "sso")
	if err != nil {
		rt.Fatal(err)
	}
	same(rt, "whether it is entitled", len(sso) == 1 && sso[0].Granted(), b.offer.sso && b.state != "paused")
}
