package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

// What the lines of a void invoice were for is neither charged again nor credited: nobody
// paid for it. Credit that was given before is taken back, by lines that wait for the next
// invoice; none is given afterwards.

// takeBackCredit has what was credited for the time of a void invoice's lines be charged
// again.
func (t *tx) takeBackCredit(ctx context.Context, i *billing.Invoice) error {
	whole, err := t.billing.Invoice(ctx, i.WorkspaceID, i.ID)
	if err != nil {
		return err
	}
	_, others, err := t.billing.LinesOfSubscription(ctx, i.SubscriptionID)
	if err != nil {
		return err
	}
	var back []billing.InvoiceLine
	for _, v := range whole.Lines {
		back = append(back, creditOf(v, others)...)
	}
	return t.addPendingLines(ctx, &billing.Subscription{ID: i.SubscriptionID, WorkspaceID: i.WorkspaceID}, back)
}

// creditOf returns what takes back the credit for the time of a line, among the lines of
// its subscription: what the changes credited that came before anything was charged anew.
func creditOf(v billing.InvoiceLine, lines []billing.InvoiceLine) (back []billing.InvoiceLine) {
	if v.Amount <= 0 || v.Kind != pricing.ForFlat && v.Kind != pricing.ForSeats {
		return nil
	}
	nets := map[int64]int64{} // by when the change was
	for _, l := range lines {
		if ofTime(l, v) && l.StartTime.After(v.StartTime) {
			nets[l.StartTime.UnixMicro()] += l.Amount
		}
	}
	for at, net := range nets {
		anew := false
		for before, other := range nets {
			anew = anew || other > 0 && before < at
		}
		if net < 0 && !anew {
			l := v
			l.StartTime, l.Proration = time.UnixMicro(at).UTC(), true
			l.Amount = min(-net, v.Share(l.StartTime))
			l.Description += ", credit taken back"
			back = append(back, l)
		}
	}
	return back
}

// withoutVoid returns lines of a change of a subscription without the credit for what a
// void invoice was for.
func (t *tx) withoutVoid(ctx context.Context, s *billing.Subscription, lines []billing.InvoiceLine) ([]billing.InvoiceLine, error) {
	credits := false
	for _, l := range lines {
		credits = credits || l.Amount < 0
	}
	if !credits {
		return lines, nil
	}
	void, _, err := t.billing.LinesOfSubscription(ctx, s.ID)
	if err != nil || len(void) == 0 {
		return lines, err
	}
	var rest []billing.InvoiceLine
	for _, l := range lines {
		for _, v := range void {
			if l.Amount < 0 && v.Amount > 0 && ofTime(l, v) && !l.StartTime.Before(v.StartTime) {
				l.Amount = min(0, l.Amount+v.Share(l.StartTime))
			}
		}
		if l.Amount != 0 {
			rest = append(rest, l)
		}
	}
	return rest, nil
}

// ofTime reports whether two lines are for the same thing until the same time.
func ofTime(l, v billing.InvoiceLine) bool {
	return l.Kind == v.Kind && l.Plan == v.Plan && l.Currency == v.Currency && l.EndTime.Equal(v.EndTime)
}
