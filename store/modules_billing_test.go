package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/billing/pricing"
)

func TestBillingNeedsItsOwnSchemaOnly(t *testing.T) {
	t.Parallel()
	m := asModule(t, "billing")
	repository := billing.New(m.Bun)
	e := newExercise(t, repository)
	_, w := m.seed(t, "ann@example.com")
	yes := true

	plan := &billing.Plan{Name: "team", Version: 1, Position: 3, Offered: true, CreateTime: now, Definition: billing.Definition{
		DisplayName: "Team", Features: []billing.Feature{{Name: "seats", Value: billing.Value{Limit: &billing.Limit{Value: 5}}}},
	}}
	tx, err := m.Bun.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	inTx := newExercise(t, billing.New(tx))
	inTx.call("LockPlans")
	inTx.call("PutPlan", plan, now)
	inTx.call("InsertVersion", plan) // which the plan waits for
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"LockPlans", "PutPlan", "InsertVersion"} {
		delete(e.open, name)
	}
	e.want(plan, "Plan", "team", 0)
	e.want(plan, "Plan", "team", 1)
	for _, none := range []struct {
		name    string
		version int
	}{{"team", 2}, {"none", 0}} {
		if _, err := repository.Plan(t.Context(), none.name, none.version); !fault.Has(err, fault.Missing) {
			t.Errorf("plan %s, version %d: %v", none.name, none.version, err)
		}
	}
	if p := e.call("DefaultPlan")[0].(*billing.Plan); p.Name != "free" {
		t.Errorf("the default is %s", p.Name)
	}
	e.call("SetDefault", "team")
	plan.Default = true
	e.want(plan, "DefaultPlan")
	if all := e.call("Plans")[0].([]billing.Plan); len(all) != 2 || all[0].Name != "free" || all[0].Default || all[1].Name != "team" {
		t.Errorf("the plans are %v", all)
	}

	if _, err := repository.Subscription(t.Context(), w); !fault.Has(err, fault.Missing) {
		t.Errorf("without a subscription: %v", err)
	}
	s := &billing.Subscription{
		ID: ids.New[ids.Subscription](), WorkspaceID: w, Plan: "team", PlanVersion: 1, State: billing.Trialing, Seats: 1, Provider: billing.Manual,
		TrialEndTime: now.Add(time.Hour), AnchorTime: now.Add(time.Hour), CreateTime: now, UpdateTime: now,
		PeriodStartTime: now, PeriodEndTime: now.Add(time.Hour), Version: 1,
	}
	e.call("Insert", s)
	e.want(s, "Subscription", w)
	e.want(s, "LockSubscription", w)
	if _, err := repository.LockSubscription(t.Context(), ids.New[ids.Workspace]()); !fault.Has(err, fault.Missing) {
		t.Errorf("without a subscription: %v", err)
	}
	nobody := ids.Workspace{}
	e.want([]ids.Workspace{}, "Due", nobody, now, now)
	e.want([]ids.Workspace{w}, "Due", nobody, now, now.Add(time.Hour))
	s.TrialReminderTime = now
	e.call("Update", s, now)
	if s.Version != 2 {
		t.Errorf("version %d", s.Version)
	}
	e.want(s, "Subscription", w)
	e.want([]ids.Workspace{}, "Due", nobody, now, now.Add(time.Hour))
	e.want([]ids.Workspace{w}, "Due", nobody, now.Add(time.Hour), now.Add(time.Hour))
	e.want([]ids.Workspace{}, "Due", w, now.Add(time.Hour), now.Add(time.Hour))
	s.State, s.PastDueTime, s.DunningTime = billing.PastDue, now, now.Add(time.Minute)
	s.SetPeriod(pricing.Period{})
	e.call("Update", s, now)
	e.want([]ids.Workspace{}, "Due", nobody, now, now)
	e.want([]ids.Workspace{w}, "Due", nobody, now.Add(time.Minute), now)
	s.State, s.CancelTime, s.CancelReason, s.FormerState = billing.Canceled, now.Add(2*time.Hour), billing.WorkspaceDeleted, billing.PastDue
	e.call("Update", s, now.Add(2*time.Hour))
	e.want([]ids.Workspace{}, "Due", nobody, now.Add(time.Hour), now)
	s.State, s.CancelTime, s.CancelReason, s.FormerState = billing.Active, time.Time{}, "", ""
	s.PastDueTime, s.DunningTime = time.Time{}, time.Time{}
	e.call("Update", s, now.Add(2*time.Hour))
	e.want(false, "Overdue", w, now)
	e.want(0, "CountOpenInvoices", w)

	e.want(false, "Tried", w, "team")
	e.call("InsertTrial", w, "team", now)
	e.want(true, "Tried", w, "team")
	e.want([]string{"team"}, "TriedPlans", w)
	e.want((*billing.Period)(nil), "PeriodOf", w, now)
	p := billing.Period{WorkspaceID: w, SubscriptionID: s.ID, StartTime: now, EndTime: now.Add(time.Hour), Plan: "team", PlanVersion: 1}
	e.call("InsertPeriods", []billing.Period{})
	e.call("InsertPeriods", []billing.Period{p})
	e.want(&p, "PeriodOf", w, now)
	e.want(&p, "PeriodOf", w, now.Add(-time.Hour))
	e.want((*billing.Period)(nil), "PeriodOf", w, now.Add(time.Hour))

	exerciseProvider(t, e, repository, s)

	seats := billing.Entitlement{Feature: plan.Definition.Features[0]}
	e.want([]billing.Entitlement{seats}, "Entitlements", w, "", now)
	o := &billing.Override{WorkspaceID: w, Feature: "sso", Value: billing.Value{Enabled: &yes}, Reason: "test", CreateTime: now, ExpireTime: now.Add(time.Hour)}
	e.call("PutOverride", o)
	e.want(o, "Override", w, "sso", now)
	e.want((*billing.Override)(nil), "Override", w, "sso", now.Add(time.Hour))
	e.want((*billing.Override)(nil), "Override", w, "seats", now)
	e.call("PutOverride", o)
	sso := billing.Entitlement{Feature: billing.Feature{Name: "sso", Value: o.Value}, Overridden: true, ExpireTime: o.ExpireTime}
	e.want([]billing.Entitlement{seats, sso}, "Entitlements", w, "", now)
	e.want([]billing.Entitlement{sso}, "Entitlements", w, "sso", now)
	e.want([]billing.Entitlement(nil), "Entitlements", w, "sso", now.Add(time.Hour))
	s.State, s.PauseReason = billing.Paused, billing.PausedCanceled
	e.call("Update", s, now)
	e.want([]billing.Entitlement(nil), "Entitlements", w, "", now)
	s.State, s.PauseReason = billing.Active, ""
	e.call("Update", s, now)
	e.call("DeleteExpiredOverrides", now.Add(time.Minute))
	e.want([]billing.Entitlement{sso}, "Entitlements", w, "sso", now)
	e.call("DeleteExpiredOverrides", now.Add(time.Hour))
	e.want(false, "DeleteOverride", w, "sso")
	e.call("PutOverride", o)
	e.want(true, "DeleteOverride", w, "sso")
	exerciseInvoices(t, m, e, s)
	exerciseUsage(e, w)
	e.call("DeleteOfWorkspace", w)
	e.want([]billing.Entitlement(nil), "Entitlements", w, "", now)
	e.finish()
}

// exerciseInvoices calls what there is of invoices, in a transaction, and removes them.
func exerciseInvoices(t *testing.T, m module, all *exercise, s *billing.Subscription) {
	t.Helper()
	tx, err := m.Bun.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	repository := billing.New(tx)
	e := newExercise(t, repository)
	e.want("A-000001", "TakeInvoiceNumber", "A-")
	e.want("B-000001", "TakeInvoiceNumber", "B-")
	e.want("A-000002", "TakeInvoiceNumber", "A-")
	charged := billing.InvoiceLine{Kind: pricing.ForSeats, Plan: "team", Description: "Team, seats", Quantity: 2, Amount: 900, Currency: "EUR", StartTime: now, EndTime: now.Add(time.Hour)}
	credited := billing.InvoiceLine{Kind: pricing.ForUsage, Plan: "team", Description: "Calls", Meter: "calls", Quantity: 7, Amount: -100, Currency: "EUR", Proration: true}

	line := billing.PendingLine{WorkspaceID: s.WorkspaceID, SubscriptionID: s.ID, InvoiceLine: credited, CreateTime: now}
	e.call("InsertPendingLines", []billing.PendingLine{line, line})
	e.want([]billing.PendingLine(nil), "PendingLines", s.WorkspaceID, "USD")
	waiting := e.call("PendingLines", s.WorkspaceID, "EUR")[0].([]billing.PendingLine)
	if len(waiting) != 2 || waiting[1].InvoiceLine != credited {
		t.Fatalf("there wait: %v", waiting)
	}
	e.call("DeletePendingLines", waiting[:1])
	e.want(waiting[1:], "PendingLines", s.WorkspaceID, "EUR")
	e.call("DeletePendingLines", []billing.PendingLine(nil))

	i := &billing.Invoice{
		ID: ids.New[ids.Invoice](), WorkspaceID: s.WorkspaceID, SubscriptionID: s.ID, Provider: billing.Manual, Issuer: "A-", Number: "A-000001",
		IssuerText: "Issuer", CustomerName: "Acme", Currency: "EUR", PeriodStart: now, PeriodEnd: now.Add(time.Hour), IssueTime: now, DueTime: now, State: billing.Open,
	}
	i.SetLines([]billing.InvoiceLine{charged, credited}, nil)
	e.call("InsertInvoice", i)
	e.want(i, "Invoice", s.WorkspaceID, i.ID)
	if out := e.call("LinesOfSubscription", s.ID); len(out[0].([]billing.InvoiceLine)) != 0 || len(out[1].([]billing.InvoiceLine)) != 3 {
		t.Errorf("lines of the subscription: %v", out)
	}
	if _, err := repository.Invoice(t.Context(), ids.New[ids.Workspace](), i.ID); !fault.Has(err, fault.Missing) {
		t.Errorf("an invoice of another workspace: %v", err)
	}
	e.want(s.WorkspaceID, "WorkspaceOfInvoice", i.ID)
	bare := *i
	bare.Lines = nil
	e.want(&bare, "LockInvoice", i.ID)
	e.want(&bare, "InvoiceNumbered", "A-000001")
	bare.State, bare.PaidTime, bare.Note = billing.Paid, now, "Paid."
	e.call("SettleInvoice", &bare)
	e.want(&bare, "LockInvoice", i.ID)

	copied := &billing.Invoice{
		ID: ids.New[ids.Invoice](), WorkspaceID: s.WorkspaceID, Provider: billing.Stripe, ProviderInvoiceID: "in_1", DocumentURL: "https://example.com", Number: "1",
		Currency: "EUR", PeriodStart: now, PeriodEnd: now, IssueTime: now.Add(time.Minute), DueTime: now, State: billing.Open,
	}
	e.want(true, "PutMirroredInvoice", copied)
	e.want(false, "PutMirroredInvoice", copied)
	for _, list := range []struct {
		filter billing.InvoiceFilter
		limit  int
		want   []billing.Invoice
	}{
		{billing.InvoiceFilter{}, 10, []billing.Invoice{*copied, bare}},
		{billing.InvoiceFilter{}, 1, []billing.Invoice{*copied}},
		{billing.InvoiceFilter{Workspace: s.WorkspaceID, BeforeTime: copied.IssueTime, BeforeID: copied.ID}, 10, []billing.Invoice{bare}},
		{billing.InvoiceFilter{State: billing.Open}, 10, []billing.Invoice{*copied}},
		{billing.InvoiceFilter{Number: "A-000001"}, 10, []billing.Invoice{bare}},
		{billing.InvoiceFilter{Workspace: ids.New[ids.Workspace]()}, 10, nil},
	} {
		e.want(list.want, "Invoices", list.filter, list.limit)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if tx, err = m.Bun.BeginTx(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if err := billing.New(tx).DeleteOfWorkspace(t.Context(), s.WorkspaceID); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	for name := range all.open {
		if !e.open[name] {
			delete(all.open, name)
		}
	}
}

// exerciseUsage uses something in an hour, and charges for it.
func exerciseUsage(e *exercise, w ids.Workspace) {
	hour := now.Truncate(time.Hour)
	at := hour.Add(time.Minute)
	a, b := billing.UsageEvent{ID: "a", Meter: "calls", Quantity: 3, EventTime: at}, billing.UsageEvent{ID: "b", Meter: "calls", Quantity: 4, EventTime: at}
	e.want([]string{"a"}, "InsertUsage", w, []billing.UsageEvent{a}, now)
	e.want([]string{"b"}, "InsertUsage", w, []billing.UsageEvent{b, a}, now)
	e.want([]billing.UsageEvent{b}, "UsageEvents", w, []string{"b", "c"})
	e.call("AddHours", w, []billing.HourUsage{{Meter: "calls", Hour: hour, Quantity: 7}})
	e.want([]billing.BucketUsage{{Start: hour, Quantity: 7}}, "Usage", w, "calls", hour, hour.Add(time.Hour), billing.ByHour)
	e.want([]billing.BucketUsage{{Start: hour, Quantity: 7}}, "Usage", w, "calls", at, at.Add(time.Microsecond), billing.ByHour)
	e.want([]billing.BucketUsage(nil), "Usage", w, "calls", hour, at, billing.ByHour)

	period := pricing.Period{Start: hour, End: hour.AddDate(0, 1, 0)}
	e.want([]billing.PeriodUsage{{Meter: "calls", PeriodStart: hour, Quantity: 7}}, "AddTotals", w, []billing.PeriodUsage{{Meter: "calls", PeriodStart: hour, Quantity: 7}})
	e.want([]billing.PeriodUsage{{Meter: "calls", PeriodStart: hour, Quantity: 7}}, "AddTotals", w, []billing.PeriodUsage{{Meter: "calls", PeriodStart: hour}})
	e.want((*billing.UsageReport)(nil), "BeginUsageReport", w, billing.UsageReport{}, now)
	report := billing.UsageReport{WorkspaceID: w, Meter: "calls", PeriodStartTime: hour}
	e.call("UsageReportRefused", report)
	e.call("UsageReportArrived", report)
	e.want(map[string]int64{"calls": 7}, "UsageIn", w, period)
	price := pricing.UsagePrice{Meter: "calls", Mode: pricing.Graduated, Tiers: []pricing.Tier{{Unit: "2"}}}
	e.call("OpenCharges", w, "EUR", []pricing.UsagePrice{price, {Meter: "storage", Mode: pricing.Graduated, Tiers: price.Tiers}}, period)
	e.want(map[string]int64{}, "UsageIn", w, period)
	due := []billing.ChargedUsage{{Meter: "calls", Period: period, Price: price, Quantity: 7}}
	e.want(due, "UnchargedUsage", w, "EUR")
	e.want(due, "LateUsage", w, "EUR")
	e.want([]billing.ChargedUsage{}, "LateUsage", w, "USD")
	e.call("MarkCharged", w, due)
	e.want([]billing.ChargedUsage{}, "UnchargedUsage", w, "EUR")
	e.want([]billing.PeriodUsage{{Meter: "calls", PeriodStart: hour, Quantity: 8}}, "AddTotals", w, []billing.PeriodUsage{{Meter: "calls", PeriodStart: hour, Quantity: 1}})
	due[0].Quantity, due[0].ChargedQuantity, due[0].ChargedAmount = 8, 7, 14
	e.want(due, "UnchargedUsage", w, "EUR")
	e.want(0, "DeleteUsageBefore", at)
	e.want(2, "DeleteUsageBefore", at.Add(time.Microsecond))
}

// exerciseProvider calls what there is of the payment provider.
func exerciseProvider(t *testing.T, e *exercise, repository billing.Repository, s *billing.Subscription) {
	t.Helper()
	e.call("Installation")
	e.call("SetPortalConfiguration", "bpc_1")
	if got := e.call("Installation"); got[0] == (uuid.UUID{}) || got[1] != "bpc_1" {
		t.Errorf("the installation is %v", got)
	}
	w := s.WorkspaceID
	e.want("", "Customer", w)
	e.want(true, "InsertCustomer", w, "cus_1", now)
	e.want(false, "InsertCustomer", w, "cus_2", now)
	e.want("cus_1", "Customer", w)
	p := &billing.ProviderSubscription{
		ID: "sub_1", Customer: "cus_1", WorkspaceID: w, SubscriptionID: s.ID, Desired: billing.Live, Items: []billing.Item{{Price: "price_1", Quantity: 2}},
		Version: 1, SyncedVersion: 1, NextTryTime: now, ChangeTime: now, CreateTime: now,
	}
	e.want(true, "InsertProviderSubscription", p)
	e.want(false, "InsertProviderSubscription", p)
	e.want(p, "ProviderSubscription", "sub_1", true)
	e.want(p, "ProviderSubscriptionOf", s.ID)
	e.call("BoughtTime", s.ID)
	e.want([]billing.ProviderSubscription{*p}, "ProviderSubscriptions", w, "", 10)
	e.want([]billing.ProviderSubscription(nil), "ProviderSubscriptions", ids.Workspace{}, "sub_1", 10)
	e.want([]string(nil), "DueProviderSubscriptions", now, 10)
	e.want(0, "WaitingForProvider")
	e.want([]string(nil), "DesireOfWorkspace", w, billing.Ending, billing.Live, now)
	e.want([]string{"sub_1"}, "DesireOfWorkspace", w, billing.Live, billing.Ending, now)
	e.want([]string{"sub_1"}, "DueProviderSubscriptions", now, 10)
	e.want(1, "WaitingForProvider")
	e.want(int64(1), "TakeTicket", "sub_1")
	e.want(int64(0), "TakeTicket", "sub_2")
	p.Desired, p.Reason, p.Version, p.Ticket, p.LeaseTime = billing.Ending, billing.WorkspaceDeleted, 2, 2, now.Add(time.Minute)
	e.want(p, "LeaseProviderSubscription", "sub_1", now, now.Add(time.Minute))
	e.want((*billing.ProviderSubscription)(nil), "LeaseProviderSubscription", "sub_1", now, now.Add(time.Minute))
	e.want([]string(nil), "DueProviderSubscriptions", now, 10)
	p.LeaseTime, p.LastError = time.Time{}, "test"
	e.call("UpdateProviderSubscription", p)
	e.want(p, "ProviderSubscription", "sub_1", false)
	e.want(false, "ChargedLater", s.ID, now)
	p.ChargeTime = now.Add(time.Minute)
	e.call("UpdateProviderSubscription", p)
	e.want(true, "ChargedLater", s.ID, now)
	e.want(false, "ChargedLater", s.ID, p.ChargeTime)
	e.want([]string{"sub_1"}, "OrphanOfWorkspace", w, now)
	e.want([]billing.ProviderSubscription(nil), "ProviderSubscriptions", w, "", 10)
	e.call("DeleteProviderSubscription", "sub_1")
	e.want(false, "Owes", w)
	e.want(false, "Voided", s.ID, now)
	e.want(int64(0), "Creditable", w, "EUR")
	credit := &billing.ProviderCredit{ID: uuid.New(), WorkspaceID: w, Customer: "cus_1", Currency: "EUR", Amount: 500, NextTryTime: now, CreateTime: now}
	e.call("InsertProviderCredit", credit)
	e.want(int64(-500), "Creditable", w, "EUR")
	e.want([]string{credit.ID.String()}, "DueProviderCredits", now, 10)
	e.want(1, "WaitingForProvider")
	credit.NextTryTime = now.Add(time.Minute)
	e.want(credit, "LeaseProviderCredit", credit.ID.String(), now, now.Add(time.Minute))
	e.want((*billing.ProviderCredit)(nil), "LeaseProviderCredit", credit.ID.String(), now, now.Add(time.Minute))
	credit.CreditTime = now
	e.call("UpdateProviderCredit", credit)
	e.want([]string(nil), "DueProviderCredits", now.Add(time.Hour), 10)
	if _, err := repository.ProviderSubscription(t.Context(), "sub_1", false); !fault.Has(err, fault.Missing) {
		t.Errorf("forgotten: %v", err)
	}

	told := &billing.WebhookEvent{ID: "evt_1", Type: "test", Subscription: "sub_1", NextTryTime: now, ReceiveTime: now}
	e.want(true, "InsertWebhookEvent", told)
	e.want(false, "InsertWebhookEvent", told)
	e.want([]string{"evt_1"}, "DueWebhookEvents", now, 10)
	e.want(1, "WaitingForProvider")
	told.NextTryTime = now.Add(time.Minute)
	e.want(told, "LeaseWebhookEvent", "evt_1", now, now.Add(time.Minute))
	e.want((*billing.WebhookEvent)(nil), "LeaseWebhookEvent", "evt_1", now, now.Add(time.Minute))
	told.ProcessTime = now
	e.call("UpdateWebhookEvent", told)
	e.want([]string(nil), "DueWebhookEvents", now.Add(time.Hour), 10)
	e.call("DeleteWebhookEvents", now.Add(time.Second))
	e.want(true, "InsertWebhookEvent", told)
}
