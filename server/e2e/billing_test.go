package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/server/billing/planfile"
	"github.com/logicspike/manager/store"
)

// applyPlans makes the plans of a file those that are offered, as the program does.
func applyPlans(t testing.TB, srv *testkit.Server, file string) []store.PlanChange {
	t.Helper()
	plans, err := planfile.Read(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	changes, err := srv.Store.ApplyPlans(t.Context(), plans, false)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func subscriptionOf(t testing.TB, p *testkit.Person, workspace string) *billingv1.Subscription {
	t.Helper()
	res, err := p.Subscriptions.GetSubscription(t.Context(), &billingv1.GetSubscriptionRequest{WorkspaceId: workspace})
	if err != nil {
		t.Fatal(err)
	}
	return res.Subscription
}

// eventsOfWorkspace returns the events of a person's first workspace, the newest first.
func eventsOfWorkspace(t testing.TB, p *testkit.Person, action string) []*auditv1.Event {
	t.Helper()
	res, err := p.Events.ListEvents(t.Context(), &auditv1.ListEventsRequest{WorkspaceId: p.Workspace.Id, Action: action})
	if err != nil {
		t.Fatal(err)
	}
	return res.Events
}

const trialPlans = `
plans:
  - {plan: free, name: Free, features: {seats: 2}}
  - plan: team
    name: Team
    default: true
    trial_days: 14
    prices:
      - {currency: EUR, interval: month, flat: 20, seat: {amount: 7.50, included: 5}}
      - {currency: EUR, interval: year, flat: 200}
    features: {seats: 3, sso: true, api_calls: {meter: api_calls, limit: 1000, soft: true}}
`

func TestAWorkspaceBeginsWithTheDefaultPlan(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	ann := srv.Register(t)
	s := subscriptionOf(t, ann, ann.Workspace.Id)
	if s.Plan.Plan != "free" || s.Plan.Version != 1 || s.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_ACTIVE ||
		s.Currency != "" || s.TrialEndTime != nil || s.WorkspaceId != ann.Workspace.Id {
		t.Errorf("at first: %v", s)
	}

	applyPlans(t, srv, trialPlans)
	began := srv.Clock.Now()
	ben := srv.Register(t)
	s = subscriptionOf(t, ben, ben.Workspace.Id)
	end := s.TrialEndTime.AsTime()
	if s.Plan.Plan != "team" || s.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_TRIALING ||
		s.Currency != "EUR" || s.Interval != billingv1.Interval_INTERVAL_MONTH ||
		end.Sub(began) < 14*24*time.Hour || end.Sub(began) > 14*24*time.Hour+time.Minute ||
		!s.CurrentPeriodEndTime.AsTime().Equal(end) || !s.CurrentPeriodStartTime.AsTime().Equal(s.CreateTime.AsTime()) {
		t.Errorf("with a trial: %v", s)
	}
	another, err := ben.Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Another"})
	if err != nil {
		t.Fatal(err)
	}
	if s := subscriptionOf(t, ben, another.Workspace.Id); s.Plan.Plan != "team" {
		t.Errorf("another workspace: %v", s)
	}
	if s := subscriptionOf(t, ann, ann.Workspace.Id); s.Plan.Plan != "free" || s.Plan.Version != 1 || len(s.Plan.Features) != 0 {
		t.Errorf("who was there before keeps: %v", s)
	}

	// The trial ends by itself, once, and with an event; then come the periods.
	srv.Clock.Advance(14*24*time.Hour - time.Hour)
	for _, tried := range []bool{true, false, false} {
		if err := srv.Store.BillDue(t.Context()); err != nil {
			t.Fatal(err)
		}
		srv.SignIn(t, ben)
		s = subscriptionOf(t, ben, ben.Workspace.Id)
		if (s.State == billingv1.SubscriptionState_SUBSCRIPTION_STATE_TRIALING) != tried {
			t.Errorf("tried: %t, and it is %v", tried, s)
		}
		srv.Clock.Advance(2 * time.Hour)
	}
	testkit.Eventually(t, "one event of the trial's end", func() bool { return len(eventsOfWorkspace(t, ben, "subscription.trial_ended")) == 1 })
	if !s.CurrentPeriodStartTime.AsTime().Equal(end) || s.CurrentPeriodEndTime.AsTime().Before(end.AddDate(0, 0, 28)) {
		t.Errorf("after the trial: %v", s)
	}
	srv.CheckInvariants(t)
}

func TestAPlanThatIsChangedIsANewVersion(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true})
	c := srv.Client("").Plans
	said := func(changes []store.PlanChange) (list []string) {
		for _, change := range changes {
			what := change.After.Name
			if change.NewVersion() {
				what += " anew"
			}
			list = append(list, what)
		}
		return list
	}
	if got := said(applyPlans(t, srv, trialPlans)); !slices.Equal(got, []string{"free anew", "team anew"}) {
		t.Errorf("at first: %v", got)
	}
	if got := said(applyPlans(t, srv, trialPlans)); len(got) != 0 {
		t.Errorf("applied again: %v", got)
	}
	list, err := c.ListPlans(t.Context(), &billingv1.ListPlansRequest{})
	if err != nil || len(list.Plans) != 2 || list.Plans[0].Version != 2 || list.Plans[1].Prices[0].Seat.Amount.MinorUnits != 750 || !list.Plans[1].Default {
		t.Fatalf("ListPlans = %v, %v", list, err)
	}
	// Another price, another default, and one that is withdrawn.
	changed := strings.NewReplacer("amount: 7.50", "amount: 8", "{plan: free,", "{plan: basic, name: Basic}\n  - {plan: free, offered: false,").Replace(trialPlans)
	plans, err := planfile.Read(strings.NewReader(changed))
	if err != nil {
		t.Fatal(err)
	}
	dry, err := srv.Store.ApplyPlans(t.Context(), plans, true)
	if want := []string{"basic anew", "free", "team anew"}; err != nil || !slices.Equal(said(dry), want) {
		t.Errorf("tried: %v, %v, want %v", said(dry), err, want)
	}
	if again, err := c.ListPlans(t.Context(), &billingv1.ListPlansRequest{}); err != nil || len(again.Plans) != 2 {
		t.Errorf("after a try: %v, %v", again, err)
	}
	applyPlans(t, srv, changed)
	if list, err = c.ListPlans(t.Context(), &billingv1.ListPlansRequest{}); err != nil || len(list.Plans) != 2 ||
		list.Plans[0].Plan != "basic" || list.Plans[1].Prices[0].Seat.Amount.MinorUnits != 800 {
		t.Errorf("ListPlans = %v, %v", list, err)
	}
	for _, v := range []struct {
		plan          string
		version, want int32
		offered       bool
	}{{"team", 1, 1, true}, {"team", 0, 2, true}, {"free", 0, 2, false}, {"free", 1, 1, false}} {
		p, err := c.GetPlan(t.Context(), &billingv1.GetPlanRequest{Plan: v.plan, Version: v.version})
		if err != nil || p.Plan.Version != v.want || p.Plan.Offered != v.offered {
			t.Errorf("%s %d: %v, %v", v.plan, v.version, p, err)
		}
	}
	_, err = c.GetPlan(t.Context(), &billingv1.GetPlanRequest{Plan: "none"})
	because(t, "a plan that is none", err, "NOT_FOUND")
	srv.CheckInvariants(t)
}

// TestAFileOfPlansAppliedByManyAtOnceIsAppliedOnce: replicas start at once.
func TestAFileOfPlansAppliedByManyAtOnceIsAppliedOnce(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true})
	plans, err := planfile.Read(strings.NewReader(trialPlans))
	if err != nil {
		t.Fatal(err)
	}
	got := atOnce(8, func(int) error {
		_, err := srv.Store.ApplyPlans(t.Context(), plans, false)
		return err
	})
	if got[""] != 8 {
		t.Errorf("applied at once: %v", got)
	}
	if n := count(t, srv, "SELECT count(*) FROM billing.plan_versions"); n != 3 {
		t.Errorf("%d versions, want 3", n)
	}
	srv.CheckInvariants(t)
}

func TestTheSubscriptionEndsAndGoesOnWithItsWorkspace(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) {
		s.DeletionGrace, s.SessionLifetime, s.SessionIdleTimeout = 60*24*time.Hour, 90*24*time.Hour, 90*24*time.Hour
	}})
	s := &stage{srv}
	for what, test := range map[string]struct {
		deleted time.Duration
		same    bool // whether the period is the one of before
	}{"within the period": {time.Hour, true}, "after it": {40 * 24 * time.Hour, false}} {
		p := s.person(t)
		w := p.Workspace.Id
		s.member(t, p, "member")
		before := subscriptionOf(t, p, w)
		if err := remove(t, p, w, preview(t, p, w).Etag); err != nil {
			t.Fatal(err)
		}
		if got := subscriptionOf(t, p, w); got.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_CANCELED || got.CancelTime == nil {
			t.Errorf("%s: deleted: %v", what, got)
		}
		srv.CheckInvariants(t)
		srv.Clock.Advance(test.deleted)
		if _, err := p.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: w}); err != nil {
			t.Fatal(err)
		}
		got := subscriptionOf(t, p, w)
		if got.Id != before.Id || got.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_ACTIVE || got.CancelTime != nil ||
			got.CurrentPeriodStartTime.AsTime().Equal(before.CurrentPeriodStartTime.AsTime()) != test.same {
			t.Errorf("%s: undeleted: %v, before: %v", what, got, before)
		}
		srv.CheckInvariants(t)
	}

	// With the purge it is gone.
	p := s.person(t)
	srv.SignIn(t, p)
	etag := preview(t, p, p.Workspace.Id).Etag
	if err := remove(t, p, p.Workspace.Id, etag); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: etag}); err != nil {
		t.Fatal(err)
	}
	srv.CheckPurged(t, p.Workspace.Id, p.User.Id)
	srv.CheckInvariants(t)
}

func TestEntitlementsAreThePlansAndTheOperators(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	applyPlans(t, srv, trialPlans)
	operator, p := makeOperator(t, srv, srv.Register(t)), srv.Register(t)
	w := p.Workspace.Id
	check := func(feature, etag string) *billingv1.CheckEntitlementResponse {
		t.Helper()
		res, err := p.Entitlements.CheckEntitlement(t.Context(), &billingv1.CheckEntitlementRequest{WorkspaceId: w, Feature: feature, Etag: etag})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	override := func(change func(*billingv1.OverrideEntitlementRequest)) (*billingv1.OverrideEntitlementResponse, error) {
		req := &billingv1.OverrideEntitlementRequest{WorkspaceId: w, Feature: "sso", Reason: "A favour."}
		change(req)
		return operator.Entitlements.OverrideEntitlement(t.Context(), req)
	}
	sso := check("sso", "")
	if !sso.Entitlement.Granted || !sso.Entitlement.Feature.GetEnabled() || sso.Entitlement.Overridden {
		t.Errorf("the plan's: %v", sso)
	}
	if again := check("sso", sso.Etag); again.Entitlement != nil || again.Etag != sso.Etag {
		t.Errorf("with its etag: %v", again)
	}
	if e := check("api_calls", "").Entitlement; !e.Granted || e.Feature.GetMetered().GetLimit().GetValue() != 1000 || !e.Feature.GetMetered().GetSoft() {
		t.Errorf("metered: %v", e)
	}
	if e := check("teleport", "").Entitlement; e.Granted || e.Feature.GetEnabled() || e.Feature.Feature != "teleport" {
		t.Errorf("what no plan names: %v", e)
	}

	end := srv.Clock.Now().Add(5 * time.Minute)
	res, err := override(func(r *billingv1.OverrideEntitlementRequest) {
		r.Value, r.ExpireTime = &billingv1.OverrideEntitlementRequest_Enabled{}, timestamppb.New(end)
	})
	if err != nil || res.Entitlement.Granted || !res.Entitlement.Overridden || res.Entitlement.OverrideExpireTime == nil {
		t.Errorf("taken away: %v, %v", res, err)
	}
	if now := check("sso", sso.Etag); now.Entitlement == nil || now.Entitlement.Granted || now.Etag == sso.Etag {
		t.Errorf("after that: %v", now)
	}
	srv.Clock.Advance(6 * time.Minute)
	if back := check("sso", ""); !back.Entitlement.Granted || back.Etag != sso.Etag {
		t.Errorf("when that has ended: %v", back)
	}
	if _, err := override(func(r *billingv1.OverrideEntitlementRequest) {
		r.Value, r.ExpireTime = &billingv1.OverrideEntitlementRequest_Enabled{}, timestamppb.New(end)
	}); reasonOf(err) != "FIELD_INVALID" {
		t.Errorf("until a time that is past: %v", err)
	}
	if _, err := override(func(r *billingv1.OverrideEntitlementRequest) {
		r.Feature, r.Value = "seats", &billingv1.OverrideEntitlementRequest_Limit{Limit: &billingv1.Limit{Value: 50}}
	}); err != nil {
		t.Error(err)
	}
	all, err := p.Entitlements.ListEntitlements(t.Context(), &billingv1.ListEntitlementsRequest{WorkspaceId: w})
	var names []string
	for _, e := range all.GetEntitlements() {
		names = append(names, e.Feature.Feature)
	}
	if err != nil || !slices.Equal(names, []string{"api_calls", "seats", "sso"}) || all.Entitlements[1].Feature.GetLimit().GetValue() != 50 {
		t.Errorf("all: %v, %v", all, err)
	}
	if none, err := p.Entitlements.ListEntitlements(t.Context(), &billingv1.ListEntitlementsRequest{WorkspaceId: w, Etag: all.GetEtag()}); err != nil || len(none.Entitlements) != 0 {
		t.Errorf("all, with their etag: %v, %v", none, err)
	}
	for range 2 { // the second one finds none
		if res, err = override(func(r *billingv1.OverrideEntitlementRequest) { r.Feature = "seats" }); err != nil || res.Entitlement.Overridden || res.Entitlement.Feature.GetLimit().GetValue() != 3 {
			t.Errorf("ended: %v, %v", res, err)
		}
	}
	_, err = override(func(r *billingv1.OverrideEntitlementRequest) { r.WorkspaceId = ids.New[ids.Workspace]().String() })
	because(t, "no workspace", err, "NOT_FOUND")
	_, err = p.Entitlements.OverrideEntitlement(t.Context(), &billingv1.OverrideEntitlementRequest{WorkspaceId: w, Feature: "sso", Reason: "Mine."})
	if reasonOf(err) != "OPERATOR_REQUIRED" {
		t.Errorf("one's own: %v", err)
	}
	testkit.Eventually(t, "the events of overrides", func() bool { return len(eventsOfWorkspace(t, p, "entitlement.overridden")) == 2 })
	if events := eventsOfWorkspace(t, p, "entitlement.overridden"); events[0].ActorUserId != operator.User.Id || events[0].Details.AsMap()["reason"] != "A favour." {
		t.Errorf("the events: %v", events)
	}
	testkit.Eventually(t, "one event of the end", func() bool { return len(eventsOfWorkspace(t, p, "entitlement.override_ended")) == 1 })
	srv.CheckInvariants(t)
}

func TestSeatsAreThePlans(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true})
	applyPlans(t, srv, trialPlans)
	s := &stage{srv}
	owner := s.person(t)
	w := owner.Workspace.Id
	usage := func(what string, active, reserved, free int32) {
		t.Helper()
		got, err := owner.Seats.GetSeatUsage(t.Context(), &billingv1.GetSeatUsageRequest{WorkspaceId: w})
		if err != nil || got.Limit.Value != 3 || got.Limit.Unlimited || got.Active != active || got.Reserved != reserved || got.Free != free {
			t.Errorf("%s: %v, %v", what, got, err)
		}
		srv.CheckInvariants(t)
	}
	usage("at first", 1, 0, 2)
	p := s.person(t)
	first := s.invite(t, owner, p.Email, "")
	s.invite(t, owner, testkit.NewEmail(), "")
	usage("two are invited", 1, 2, 0)
	s.refuses(t, "a third one", "SEATS_EXHAUSTED", func() error {
		_, err := owner.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: w, Email: testkit.NewEmail()})
		return err
	})
	m := mustAccept(t, p, first.token)
	usage("one has accepted", 2, 1, 0)
	because(t, "deactivated", deactivate(t, owner, m.Id), "")
	usage("deactivated", 1, 1, 1)
	because(t, "reactivated", reactivate(t, owner, m.Id), "")
	usage("reactivated", 2, 1, 0)
	because(t, "removed", removeMember(t, owner, m.Id), "")
	usage("removed", 1, 1, 1)

	// Who was there before has no limit: their plan names none.
	free := newSeatless(t, srv)
	got, err := free.Seats.GetSeatUsage(t.Context(), &billingv1.GetSeatUsageRequest{WorkspaceId: free.Workspace.Id})
	if err != nil || !got.Limit.Unlimited || got.Active != 1 {
		t.Errorf("without a limit: %v, %v", got, err)
	}
}

// newSeatless registers somebody by a plan that limits nothing.
func newSeatless(t *testing.T, srv *testkit.Server) *testkit.Person {
	t.Helper()
	applyPlans(t, srv, "plans: [{plan: open, name: Open, default: true}]")
	return (&stage{srv}).person(t)
}
