package store

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// previewAge is for how long the etag of a preview is good.
const previewAge = 15 * time.Minute

// Choice is a plan, in its present version, and one of its prices; none for a plan that
// costs nothing.
type Choice struct {
	Plan     string
	Currency string
	Interval pricing.Interval
}

// ChangePreview is what a change of a subscription would cost.
type ChangePreview struct {
	Lines    []billing.InvoiceLine
	Currency string // of all amounts; "" when neither plan has a price
	Total    int64  // of the lines
	DueNow   int64  // with what waits for an invoice
	// NextTime is when the next period begins, and NextTotal what that will cost; the zero
	// time when the plan costs nothing.
	NextTime  time.Time
	NextTotal int64
	ETag      string
}

// change is what becomes of a subscription by a choice.
type change struct {
	plan  *billing.Plan
	price *pricing.Price // nil for none
	// begins tells that a period begins by it.
	begins bool
	period pricing.Period // the present one, after it
	lines  []billing.InvoiceLine
}

// same reports whether a choice is what a subscription is already.
func (c Choice) same(s *billing.Subscription, plan *billing.Plan) bool {
	return s.Plan == plan.Name && s.PlanVersion == plan.Version && s.Currency == c.Currency && s.Interval == c.Interval && s.State != billing.Paused
}

// PreviewChangeSubscription tells what a change would cost now.
//
// Errors: fault NOT_FOUND, and those of choose.
func (s *Store) PreviewChangeSubscription(ctx context.Context, workspace ids.Workspace, c Choice) (p *ChangePreview, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		b, err := t.billing.Subscription(ctx, workspace)
		if err != nil {
			return err
		}
		from, err := t.billing.Plan(ctx, b.Plan, b.PlanVersion)
		if err != nil {
			return err
		}
		to, err := t.choose(ctx, b, c)
		if err != nil {
			return err
		}
		change, err := t.planChange(ctx, b, from, to, c, t.now)
		if err != nil {
			return err
		}
		if err := t.mayOwe(b, change.price); err != nil {
			return err
		}
		p = &ChangePreview{Lines: change.lines, Currency: c.Currency}
		if p.Currency == "" {
			p.Currency = b.Currency
		}
		if p.ETag, err = t.previewETag(b, change, t.now); err != nil {
			return err
		}
		p.Total = sum(change.lines)
		if p.Total > 0 {
			waiting, err := t.billing.PendingLines(ctx, workspace, p.Currency)
			if err != nil {
				return err
			}
			p.DueNow = p.Total
			for _, l := range waiting {
				p.DueNow += l.Amount
			}
			p.DueNow = max(0, p.DueNow)
		}
		if change.price != nil {
			p.NextTime = change.period.End
			next := pricing.PeriodAt(change.period.End, change.price.Interval, change.period.End)
			p.NextTotal = sum(billing.LinesOf(to, c.Currency, change.price.Charges(b.BilledSeats(), next)))
		}
		return nil
	})
	return p, err
}

func sum(lines []billing.InvoiceLine) (total int64) {
	for _, l := range lines {
		total += l.Amount
	}
	return total
}

// ChangeSubscription goes over to another plan or price, as it was previewed with the
// etag.
//
// Errors: those of lockTeam and choose; fault ETAG_MISMATCH.
func (s *Store) ChangeSubscription(ctx context.Context, workspace ids.Workspace, c Choice, etag string) (*Subscription, error) {
	return s.changeSubscription(ctx, workspace, func(ctx context.Context, t *tx, b *billing.Subscription, from *billing.Plan) error {
		to, err := t.choose(ctx, b, c)
		if err != nil || c.same(b, to) {
			return err
		}
		if err := t.mayOwe(b, to.Price(c.Currency, c.Interval)); err != nil {
			return err
		}
		at, err := t.previewTime(etag)
		if err != nil {
			return err
		}
		change, err := t.planChange(ctx, b, from, to, c, at)
		if err != nil {
			return err
		}
		if !t.isPreview(etag, b, change, at) {
			return errPreview()
		}
		return t.changePlan(ctx, b, from, change, at)
	})
}

// choose returns the plan of a choice for a subscription, if it may be chosen: also if it
// has it already.
//
// Errors: fault FIELD_INVALID, PLAN_NOT_OFFERED, SEATS_IN_USE, SEAT_LIMIT_EXCEEDED,
// CURRENCY_MISMATCH, SUBSCRIPTION_UNPAID, SUBSCRIPTION_STATE.
func (t *tx) choose(ctx context.Context, s *billing.Subscription, c Choice) (*billing.Plan, error) {
	plan, err := t.billing.Plan(ctx, c.Plan, 0)
	if err != nil && !fault.Has(err, fault.Missing) {
		return nil, err
	}
	if err == nil && c.same(s, plan) {
		return plan, nil
	}
	if err != nil || !plan.Offered {
		return nil, fault.New(fault.FailedPrecondition, fault.PlanNotOffered, "the plan is not offered").WithField("plan")
	}
	if err := priceExists(plan, c); err != nil {
		return nil, err
	}
	if s.State == billing.Paused && s.PauseReason == billing.PausedUnpaid {
		return nil, errUnpaid()
	}
	if err := t.chargedLater(ctx, s, plan); err != nil {
		return nil, err
	}
	if !plan.Free() && !s.Charged() { // nor by canceling and beginning anew
		if err := t.owesNothing(ctx, s); err != nil {
			return nil, err
		}
	}
	if s.Charged() && c.Currency != "" && c.Currency != s.Currency {
		return nil, errCurrency(s)
	}
	return plan, t.seatsFit(ctx, s, plan, s.SeatCount)
}

// mayOwe reports whether a subscription may go over to a price, nil for none, where it is
// paid now.
//
// Errors: fault PAYMENT_REQUIRED, PLAN_NOT_FOR_SALE.
func (t *tx) mayOwe(s *billing.Subscription, price *pricing.Price) error {
	switch {
	case price == nil:
		return nil
	case s.Provider != billing.Manual && price.Stripe == nil:
		return errNotForSale()
	case s.Provider == billing.Manual && price.Stripe != nil && t.store.options.SoldAtProvider:
		return fault.New(fault.FailedPrecondition, fault.PaymentRequired, "the plan is bought at the payment provider: CreateCheckoutSession")
	}
	return nil
}

func errCurrency(s *billing.Subscription) error {
	return fault.New(fault.FailedPrecondition, fault.CurrencyMismatch, "the subscription is paid in "+s.Currency).WithField("currency")
}

func errNotForSale() error {
	return fault.New(fault.FailedPrecondition, fault.PlanNotForSale, "the payment provider does not sell the plan at this price")
}

// priceExists reports whether a plan has the price of a choice.
//
// Errors: fault FIELD_INVALID.
func priceExists(plan *billing.Plan, c Choice) error {
	if plan.Free() {
		if c.Currency != "" {
			return fault.Invalid("currency", "the plan costs nothing")
		}
		if c.Interval != "" {
			return fault.Invalid("interval", "the plan costs nothing")
		}
		return nil
	}
	if plan.Price(c.Currency, c.Interval) != nil {
		return nil
	}
	for _, p := range plan.Definition.Prices {
		if p.Currency == c.Currency {
			return fault.Invalid("interval", "the plan has no price in this currency and interval")
		}
	}
	return fault.Invalid("currency", "the plan has no price in this currency")
}

// planChange computes what becomes of a subscription by a choice at a time.
func (t *tx) planChange(ctx context.Context, s *billing.Subscription, from, to *billing.Plan, c Choice, at time.Time) (out change, err error) {
	out = planChange(s, from, to, c, at)
	out.lines, err = t.withoutVoid(ctx, s, out.lines)
	return out, err
}

// planChange computes what becomes of a subscription by a choice at a time. What was paid
// for the rest of the period, by a price that it has no more, is credited.
func planChange(s *billing.Subscription, from, to *billing.Plan, c Choice, at time.Time) change {
	out := change{plan: to, price: to.Price(c.Currency, c.Interval), period: s.Period(maxTime(at, s.AnchorTime))}
	if c.same(s, to) {
		return out
	}
	var paid *pricing.Price
	if s.Charged() {
		paid = priceOf(s, from)
	}
	// Usage is charged by the price that a period ends with: by us, another one begins another
	// period, or what was used would be free, or dearer than it was said. The provider goes on
	// with its period, and charges what was used by the price until then, of which it is told
	// before the change.
	sameUsage := s.Provider != billing.Manual || paid != nil && out.price != nil && reflect.DeepEqual(paid.Usage, out.price.Usage)
	if paid != nil && out.price != nil && paid.Interval == out.price.Interval && sameUsage {
		for _, l := range pricing.Prorate(*paid, s.ChargedSeats, *out.price, s.BilledSeats(), out.period, at) {
			of := to
			if l.Amount < 0 {
				of = from
			}
			out.lines = append(out.lines, billing.LinesOf(of, s.Currency, []pricing.Line{l})...)
		}
		return out
	}
	if paid != nil {
		nothing := pricing.Price{Currency: paid.Currency, Interval: paid.Interval}
		out.lines = billing.LinesOf(from, s.Currency, pricing.Prorate(*paid, s.ChargedSeats, nothing, 0, out.period, at))
	}
	// One plan that costs nothing follows another without a new period.
	out.begins = paid != nil || out.price != nil || s.State == billing.Trialing || s.State == billing.Paused
	if out.price != nil {
		out.period = pricing.PeriodAt(at, out.price.Interval, at)
		out.lines = append(out.lines, billing.LinesOf(to, c.Currency, out.price.Charges(s.BilledSeats(), out.period))...)
	}
	return out
}

// changePlan makes a change of a locked subscription as at a time, with its event, mail
// and invoice.
func (t *tx) changePlan(ctx context.Context, s *billing.Subscription, from *billing.Plan, c change, at time.Time) error {
	var used []billing.InvoiceLine
	ended := pricing.Period{Start: s.Period(maxTime(at, s.AnchorTime)).Start, End: at}
	if c.begins {
		var err error
		if used, err = t.closePeriods(ctx, s, from, at); err != nil {
			return err
		}
		s.AnchorTime = at
		s.SetPeriod(pricing.Period{})
	}
	transition := map[billing.State]billing.Transition{billing.Trialing: billing.TrialEnd, billing.Paused: billing.Resume}[s.State]
	if transition != "" {
		if err := s.Apply(transition); err != nil {
			return err
		}
	}
	if at.Before(s.TrialEndTime) {
		s.TrialEndTime = at
	}
	details := map[string]any{"before": planDetails(s)}
	s.Plan, s.PlanVersion, s.Currency, s.Interval = c.plan.Name, c.plan.Version, "", ""
	if c.price != nil {
		s.Currency, s.Interval, s.ChargedSeats = c.price.Currency, c.price.Interval, s.BilledSeats()
		s.SetPeriod(c.period)
	}
	s.CancelAtPeriodEnd = false
	details["after"] = planDetails(s)
	provider := s.Provider
	if err := t.update(ctx, s); err != nil {
		return err
	}
	if err := t.recordSubscription(ctx, s, "subscription.changed", "", details); err != nil {
		return err
	}
	if err := t.mailSubscription(ctx, s, mail.SubscriptionChanged, map[string]string{
		"plan": c.plan.Definition.DisplayName, "previous_plan": from.Definition.DisplayName, "trial_end_time": "",
	}); err != nil {
		return err
	}
	if provider != billing.Manual {
		return nil // what is due, and credited, is the provider's
	}
	// Usage first, which is of the period before. That of a trial may be in another currency
	// than what follows, and is an invoice of its own then.
	if len(used) > 0 && len(c.lines) > 0 && used[0].Currency != c.lines[0].Currency {
		if err := t.invoice(ctx, s, from, used, ended); err != nil {
			return err
		}
		used = nil
	}
	lines := append(used, c.lines...)
	if sum(lines) <= 0 {
		return t.wait(ctx, s, lines)
	}
	return t.invoice(ctx, s, c.plan, lines, c.period)
}

func planDetails(s *billing.Subscription) map[string]any {
	return map[string]any{"plan": s.Plan, "version": s.PlanVersion, "currency": s.Currency, "interval": string(s.Interval)}
}

// preview is what the etag of a preview seals: when it was made, and of what.
type preview struct {
	At   time.Time `json:"at"`
	Hash []byte    `json:"hash"`
}

// previewContext is what etags of previews are bound to.
const previewContext = "preview of a subscription"

// hashOf is the same wherever the server runs: all times are in UTC.
func hashOf(s *billing.Subscription, c change, at time.Time) ([]byte, error) {
	lines := slices.Clone(c.lines)
	for i, l := range lines {
		lines[i].StartTime, lines[i].EndTime = l.StartTime.UTC(), l.EndTime.UTC()
	}
	data, err := json.Marshal([]any{
		s.ID, s.Version, c.plan.Name, c.plan.Version, c.price, c.begins, c.period.Start.UTC(), c.period.End.UTC(), lines, at.UTC(),
	})
	hash := sha256.Sum256(data)
	return hash[:16], err
}

// previewETag returns the etag of a preview that was made at a time. It is sealed: nobody
// chooses the time from which they pay.
func (t *tx) previewETag(s *billing.Subscription, c change, at time.Time) (string, error) {
	hash, err := hashOf(s, c, at)
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(preview{at, hash})
	return base64.RawURLEncoding.EncodeToString(t.store.previews.Seal(data, previewContext)), err
}

// previewTime returns when a preview was made.
//
// Errors: fault ETAG_MISMATCH when it is none, or too old.
func (t *tx) previewTime(etag string) (time.Time, error) {
	p, ok := t.openPreview(etag)
	if !ok || p.At.After(t.now) || t.now.Sub(p.At) > previewAge {
		return time.Time{}, errPreview()
	}
	return p.At, nil
}

// isPreview reports whether an etag is that of a preview of a change.
func (t *tx) isPreview(etag string, s *billing.Subscription, c change, at time.Time) bool {
	p, ok := t.openPreview(etag)
	hash, err := hashOf(s, c, at)
	return ok && err == nil && string(p.Hash) == string(hash)
}

func (t *tx) openPreview(etag string) (p preview, ok bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(etag)
	if err != nil {
		return p, false
	}
	data, err := t.store.previews.Open(sealed, previewContext)
	if err != nil {
		return p, false
	}
	return p, json.Unmarshal(data, &p) == nil
}

// StartTrial has a workspace try a plan.
//
// Errors: those of lockTeam and choose; fault TRIAL_NOT_OFFERED, TRIAL_USED,
// SUBSCRIPTION_STATE when the present plan costs something, is tried, past due or paused.
func (s *Store) StartTrial(ctx context.Context, workspace ids.Workspace, c Choice) (*Subscription, error) {
	return s.changeSubscription(ctx, workspace, func(ctx context.Context, t *tx, b *billing.Subscription, from *billing.Plan) error {
		plan, err := t.choose(ctx, b, c)
		if err != nil {
			return err
		}
		if b.State == billing.Trialing && c.same(b, plan) {
			return nil
		}
		if plan.Definition.TrialDays == 0 {
			return fault.New(fault.FailedPrecondition, fault.TrialNotOffered, "the plan cannot be tried").WithField("plan")
		}
		tried, err := t.billing.Tried(ctx, workspace, plan.Name)
		if err != nil {
			return err
		}
		if tried {
			return errTrialUsed()
		}
		if b.Priced() {
			return billing.ErrState(b.State)
		}
		details := map[string]any{"before": planDetails(b)}
		if err := b.Apply(billing.TrialStart); err != nil {
			return err
		}
		used, err := t.closePeriods(ctx, b, from, t.now)
		if err != nil {
			return err
		}
		b.Plan, b.PlanVersion, b.Currency, b.Interval = plan.Name, plan.Version, c.Currency, c.Interval
		if err := t.beginTrial(ctx, b, plan); err != nil {
			return err
		}
		if err := t.update(ctx, b); err != nil {
			return err
		}
		details["after"] = planDetails(b)
		if err := t.recordSubscription(ctx, b, "subscription.trial_started", "", details); err != nil {
			return err
		}
		if err := t.mailSubscription(ctx, b, mail.SubscriptionChanged, map[string]string{
			"plan": plan.Definition.DisplayName, "previous_plan": from.Definition.DisplayName, "trial_end_time": b.TrialEndTime.Format(time.RFC3339),
		}); err != nil {
			return err
		}
		return t.wait(ctx, b, used)
	})
}

// beginTrial sets the times of a subscription whose trial begins now, and notes it.
func (t *tx) beginTrial(ctx context.Context, s *billing.Subscription, plan *billing.Plan) error {
	s.TrialEndTime, s.TrialReminderTime = t.now.AddDate(0, 0, plan.Definition.TrialDays), time.Time{}
	s.AnchorTime = s.TrialEndTime
	s.SetPeriod(pricing.Period{Start: t.now, End: s.TrialEndTime})
	return t.billing.InsertTrial(ctx, s.WorkspaceID, plan.Name, t.now)
}

func errTrialUsed() *fault.Fault {
	return fault.New(fault.FailedPrecondition, fault.TrialUsed, "the workspace has tried the plan before").WithField("plan")
}

// seatsFit reports whether the seats of a workspace that are taken, reserved or bought are
// no more than a plan has, or an operator gave.
//
// Errors: fault SEATS_IN_USE, SEAT_LIMIT_EXCEEDED.
func (t *tx) seatsFit(ctx context.Context, s *billing.Subscription, plan *billing.Plan, bought int) error {
	limit, limited, err := t.planSeats(ctx, s.WorkspaceID, plan)
	if err != nil {
		return err
	}
	if limited && bought > limit {
		return fault.New(fault.FailedPrecondition, fault.SeatLimitExceeded, "the plan has fewer seats").WithMetadata("limit", strconv.Itoa(limit))
	}
	if bought > 0 {
		limit, limited = bought, true
	}
	active, reserved, err := t.team.Seats(ctx, s.WorkspaceID, t.now)
	if err != nil || !limited || active+reserved <= limit {
		return err
	}
	return fault.New(fault.FailedPrecondition, fault.SeatsInUse, "members and invitations have more seats than there would be").
		WithMetadata("active", strconv.Itoa(active)).WithMetadata("reserved", strconv.Itoa(reserved)).WithMetadata("limit", strconv.Itoa(limit))
}
