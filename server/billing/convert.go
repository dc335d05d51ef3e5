package billing

import (
	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

var (
	states = map[billing.State]billingv1.SubscriptionState{
		billing.Trialing: billingv1.SubscriptionState_SUBSCRIPTION_STATE_TRIALING,
		billing.Active:   billingv1.SubscriptionState_SUBSCRIPTION_STATE_ACTIVE,
		billing.Canceled: billingv1.SubscriptionState_SUBSCRIPTION_STATE_CANCELED,
		billing.PastDue:  billingv1.SubscriptionState_SUBSCRIPTION_STATE_PAST_DUE,
		billing.Paused:   billingv1.SubscriptionState_SUBSCRIPTION_STATE_PAUSED,
	}
	pauseReasons = map[string]billingv1.PauseReason{
		billing.PausedUnpaid:   billingv1.PauseReason_PAUSE_REASON_UNPAID,
		billing.PausedCanceled: billingv1.PauseReason_PAUSE_REASON_CANCELED,
	}
	providers = map[billing.Provider]billingv1.PaymentProvider{
		billing.Manual: billingv1.PaymentProvider_PAYMENT_PROVIDER_MANUAL,
		billing.Stripe: billingv1.PaymentProvider_PAYMENT_PROVIDER_STRIPE,
	}
	chargeKinds = map[pricing.Kind]billingv1.ChargeKind{
		pricing.ForFlat:  billingv1.ChargeKind_CHARGE_KIND_FLAT,
		pricing.ForSeats: billingv1.ChargeKind_CHARGE_KIND_SEATS,
	}
	invoiceStates = map[billing.InvoiceState]billingv1.InvoiceState{
		billing.Open: billingv1.InvoiceState_INVOICE_STATE_OPEN,
		billing.Paid: billingv1.InvoiceState_INVOICE_STATE_PAID,
		billing.Void: billingv1.InvoiceState_INVOICE_STATE_VOID,
	}
	statesOfInvoices = map[billingv1.InvoiceState]billing.InvoiceState{
		billingv1.InvoiceState_INVOICE_STATE_OPEN: billing.Open,
		billingv1.InvoiceState_INVOICE_STATE_PAID: billing.Paid,
		billingv1.InvoiceState_INVOICE_STATE_VOID: billing.Void,
	}
	lineKinds = map[pricing.Kind]billingv1.InvoiceLineKind{
		pricing.ForFlat:  billingv1.InvoiceLineKind_INVOICE_LINE_KIND_FLAT,
		pricing.ForSeats: billingv1.InvoiceLineKind_INVOICE_LINE_KIND_SEATS,
		pricing.ForUsage: billingv1.InvoiceLineKind_INVOICE_LINE_KIND_USAGE,
		pricing.ForTax:   billingv1.InvoiceLineKind_INVOICE_LINE_KIND_TAX,
	}
	intervals = map[pricing.Interval]billingv1.Interval{
		pricing.Month: billingv1.Interval_INTERVAL_MONTH,
		pricing.Year:  billingv1.Interval_INTERVAL_YEAR,
	}
	modes = map[pricing.TierMode]billingv1.TierMode{
		pricing.Graduated: billingv1.TierMode_TIER_MODE_GRADUATED,
		pricing.Volume:    billingv1.TierMode_TIER_MODE_VOLUME,
	}
)

func subscription(s *store.Subscription) *billingv1.Subscription {
	out := &billingv1.Subscription{
		Id:                     s.ID.String(),
		WorkspaceId:            s.WorkspaceID.String(),
		Plan:                   plan(s.Plan),
		State:                  states[s.State],
		Currency:               s.Currency,
		Interval:               intervals[s.Interval],
		TrialEndTime:           convert.Time(s.TrialEndTime),
		CurrentPeriodStartTime: convert.Time(s.Period.Start),
		CurrentPeriodEndTime:   convert.Time(s.Period.End),
		CreateTime:             convert.Time(s.CreateTime),
		CancelTime:             convert.Time(s.CancelTime),
		Seats:                  int32(s.Seats),
		SeatCount:              int32(s.SeatCount),
		BilledSeats:            int32(s.BilledSeats()),
		PastDueTime:            convert.Time(s.PastDueTime),
		PauseReason:            pauseReasons[s.PauseReason],
		Provider:               providers[s.Provider],
		Etag:                   s.ETag(),
	}
	if s.CancelAtPeriodEnd {
		out.ScheduledCancelTime = convert.Time(s.Period.End)
	}
	return out
}

func plan(p *billing.Plan) *billingv1.Plan {
	out := &billingv1.Plan{
		Plan: p.Name, Version: int32(p.Version), DisplayName: p.Definition.DisplayName, Description: p.Definition.Description,
		Offered: p.Offered, Default: p.Default, TrialDays: int32(p.Definition.TrialDays), CreateTime: convert.Time(p.CreateTime),
	}
	for _, price := range p.Definition.Prices {
		out.Prices = append(out.Prices, priceOf(price))
	}
	for _, f := range p.Definition.Features {
		out.Features = append(out.Features, feature(f))
	}
	return out
}

func priceOf(p pricing.Price) *billingv1.Price {
	money := func(amount int64) *billingv1.Money { return &billingv1.Money{Currency: p.Currency, MinorUnits: amount} }
	out := &billingv1.Price{Currency: p.Currency, Interval: intervals[p.Interval], Flat: money(p.Flat)}
	if p.Seat != nil {
		out.Seat = &billingv1.SeatPrice{Amount: money(p.Seat.Amount), Included: int32(p.Seat.Included)}
	}
	for _, u := range p.Usage {
		usage := &billingv1.UsagePrice{Meter: u.Meter, Mode: modes[u.Mode]}
		for _, tier := range u.Tiers {
			usage.Tiers = append(usage.Tiers, &billingv1.Tier{UpTo: tier.UpTo, UnitAmount: tier.Unit, Flat: money(tier.Flat)})
		}
		out.Usage = append(out.Usage, usage)
	}
	return out
}

func feature(f billing.Feature) *billingv1.Feature {
	out := &billingv1.Feature{Feature: f.Name}
	switch {
	case f.Enabled != nil:
		out.Value = &billingv1.Feature_Enabled{Enabled: *f.Enabled}
	case f.Limit != nil:
		out.Value = &billingv1.Feature_Limit{Limit: limit(*f.Limit)}
	case f.Metered != nil:
		out.Value = &billingv1.Feature_Metered{Metered: &billingv1.Metered{Meter: f.Metered.Meter, Limit: limit(f.Metered.Limit), Soft: f.Metered.Soft}}
	}
	return out
}

func limit(l billing.Limit) *billingv1.Limit {
	return &billingv1.Limit{Value: l.Value, Unlimited: l.Unlimited}
}

// invoice writes an invoice; one that is not issued yet has no id.
func invoice(i *billing.Invoice) *billingv1.Invoice {
	money := func(amount int64) *billingv1.Money { return &billingv1.Money{Currency: i.Currency, MinorUnits: amount} }
	out := &billingv1.Invoice{
		WorkspaceId: i.WorkspaceID.String(), Number: i.Number, State: invoiceStates[i.State], Issuer: i.IssuerText, CustomerName: i.CustomerName,
		Subtotal: money(i.Subtotal), Tax: money(i.Tax), Total: money(i.Total),
		PeriodStartTime: convert.Time(i.PeriodStart), PeriodEndTime: convert.Time(i.PeriodEnd),
		IssueTime: convert.Time(i.IssueTime), DueTime: convert.Time(i.DueTime), PaidTime: convert.Time(i.PaidTime), VoidTime: convert.Time(i.VoidTime),
		Note: i.Note, DocumentUrl: i.DocumentURL,
	}
	if !i.ID.IsZero() {
		out.Id = i.ID.String()
	}
	if !i.SubscriptionID.IsZero() {
		out.SubscriptionId = i.SubscriptionID.String()
	}
	for _, l := range i.Lines {
		out.Lines = append(out.Lines, &billingv1.InvoiceLine{
			Kind: lineKinds[l.Kind], Plan: l.Plan, Description: l.Description, Meter: l.Meter, Quantity: l.Quantity, Amount: money(l.Amount),
			StartTime: convert.Time(l.StartTime), EndTime: convert.Time(l.EndTime), Proration: l.Proration,
		})
	}
	return out
}

func invoices(list []billing.Invoice) []*billingv1.Invoice {
	out := make([]*billingv1.Invoice, len(list))
	for i := range list {
		out[i] = invoice(&list[i])
	}
	return out
}
