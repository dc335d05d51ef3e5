package store_test

import (
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/billing"
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
		ID: ids.New[ids.Subscription](), WorkspaceID: w, Plan: "team", PlanVersion: 1, State: billing.Trialing, Seats: 1,
		TrialEndTime: now.Add(time.Hour), AnchorTime: now.Add(time.Hour), CreateTime: now, UpdateTime: now,
	}
	e.call("Insert", s)
	e.want(s, "Subscription", w)
	e.call("ChangeSeats", w, 2, now)
	e.call("ChangeSeats", w, -1, now)
	s.Seats = 2
	e.want(s, "Subscription", w)
	e.want([]billing.Subscription(nil), "EndTrials", now)
	s.State, s.UpdateTime = billing.Active, now.Add(time.Hour)
	e.want([]billing.Subscription{*s}, "EndTrials", now.Add(time.Hour))
	s.State, s.CancelTime, s.CancelReason = billing.Canceled, now.Add(2*time.Hour), billing.WorkspaceDeleted
	e.call("Update", s, now.Add(2*time.Hour))
	e.call("ChangeSeats", w, 1, now) // of none
	e.want(s, "Subscription", w)
	s.State, s.CancelTime, s.CancelReason = billing.Active, time.Time{}, ""
	e.call("Update", s, now.Add(2*time.Hour))

	e.call("Installation")
	e.call("SetPortalConfiguration", "bpc_1")
	if got := e.call("Installation"); got[0] == (uuid.UUID{}) || got[1] != "bpc_1" {
		t.Errorf("the installation is %v", got)
	}
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
	e.want([]billing.ProviderSubscription{*p}, "ProviderSubscriptions", w, "", 10)
	e.want([]billing.ProviderSubscription(nil), "ProviderSubscriptions", ids.Workspace{}, "sub_1", 10)
	e.want([]string(nil), "DueProviderSubscriptions", now, 10)
	e.want(0, "WaitingProviderSubscriptions")
	e.want([]string(nil), "DesireOfWorkspace", w, billing.Ending, billing.Live, now)
	e.want([]string{"sub_1"}, "DesireOfWorkspace", w, billing.Live, billing.Ending, now)
	e.want([]string{"sub_1"}, "DueProviderSubscriptions", now, 10)
	e.want(1, "WaitingProviderSubscriptions")
	e.want(int64(1), "TakeTicket", "sub_1")
	e.want(int64(0), "TakeTicket", "sub_2")
	p.Desired, p.Reason, p.Version, p.Ticket, p.LeaseTime = billing.Ending, billing.WorkspaceDeleted, 2, 2, now.Add(time.Minute)
	e.want(p, "LeaseProviderSubscription", "sub_1", now, now.Add(time.Minute))
	e.want((*billing.ProviderSubscription)(nil), "LeaseProviderSubscription", "sub_1", now, now.Add(time.Minute))
	e.want([]string(nil), "DueProviderSubscriptions", now, 10)
	p.LeaseTime, p.LastError = time.Time{}, "test"
	e.call("UpdateProviderSubscription", p)
	e.want(p, "ProviderSubscription", "sub_1", false)
	e.want([]string{"sub_1"}, "OrphanOfWorkspace", w, now)
	e.want([]billing.ProviderSubscription(nil), "ProviderSubscriptions", w, "", 10)
	e.call("DeleteProviderSubscription", "sub_1")
	if _, err := repository.ProviderSubscription(t.Context(), "sub_1", false); !fault.Has(err, fault.Missing) {
		t.Errorf("forgotten: %v", err)
	}

	told := &billing.WebhookEvent{ID: "evt_1", Type: "test", Subscription: "sub_1", NextTryTime: now, ReceiveTime: now}
	e.want(true, "InsertWebhookEvent", told)
	e.want(false, "InsertWebhookEvent", told)
	e.want([]string{"evt_1"}, "DueWebhookEvents", now, 10)
	told.NextTryTime = now.Add(time.Minute)
	e.want(told, "LeaseWebhookEvent", "evt_1", now, now.Add(time.Minute))
	e.want((*billing.WebhookEvent)(nil), "LeaseWebhookEvent", "evt_1", now, now.Add(time.Minute))
	told.ProcessTime = now
	e.call("UpdateWebhookEvent", told)
	e.want([]string(nil), "DueWebhookEvents", now.Add(time.Hour), 10)
	e.call("DeleteWebhookEvents", now.Add(time.Second))
	e.want(true, "InsertWebhookEvent", told)

	seats := billing.Entitlement{Feature: plan.Definition.Features[0]}
	e.want([]billing.Entitlement{seats}, "Entitlements", w, "", now)
	o := &billing.Override{WorkspaceID: w, Feature: "sso", Value: billing.Value{Enabled: &yes}, Reason: "test", CreateTime: now, ExpireTime: now.Add(time.Hour)}
	e.call("PutOverride", o)
	e.call("PutOverride", o)
	sso := billing.Entitlement{Feature: billing.Feature{Name: "sso", Value: o.Value}, Overridden: true, ExpireTime: o.ExpireTime}
	e.want([]billing.Entitlement{seats, sso}, "Entitlements", w, "", now)
	e.want([]billing.Entitlement{sso}, "Entitlements", w, "sso", now)
	e.want([]billing.Entitlement(nil), "Entitlements", w, "sso", now.Add(time.Hour))
	e.call("DeleteExpiredOverrides", now.Add(time.Minute))
	e.want([]billing.Entitlement{sso}, "Entitlements", w, "sso", now)
	e.call("DeleteExpiredOverrides", now.Add(time.Hour))
	e.want(false, "DeleteOverride", w, "sso")
	e.call("PutOverride", o)
	e.want(true, "DeleteOverride", w, "sso")
	e.call("DeleteOfWorkspace", w)
	e.want([]billing.Entitlement(nil), "Entitlements", w, "", now)
	e.finish()
}
