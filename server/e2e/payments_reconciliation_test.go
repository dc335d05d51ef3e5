package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
)

func TestReconciliationFindsWhatDiffersAndRepairsIt(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	p := s.person(t)
	w := p.Workspace.Id
	operator := makeOperator(t, s.Server, s.person(t))
	reconcile := func(repair bool) []string {
		t.Helper()
		res, err := operator.Reconciliations.ReconcileSubscription(t.Context(), &billingv1.ReconcileSubscriptionRequest{WorkspaceId: w, Repair: repair})
		if err != nil {
			t.Fatal(err)
		}
		var list []string
		for _, d := range res.Differences {
			list = append(list, fmt.Sprintf("%s %s repaired=%t", d.Field, strings.ToLower(strings.TrimPrefix(d.Owner.String(), "FIELD_OWNER_")), d.Repaired))
		}
		return list
	}
	if got := reconcile(true); got != nil {
		t.Errorf("nothing was bought: %v", got)
	}
	sub := s.stripe.Pay(t, page(t, p)) // which nobody tells
	for _, test := range []struct {
		what   string
		change func(*testkit.StripeSub)
		want   []string
	}{
		{"bought", func(*testkit.StripeSub) {}, []string{"existence provider"}},
		{"items", func(sub *testkit.StripeSub) { sub.Items[0].Quantity = 7 }, []string{"items server"}},
		{"another item", func(sub *testkit.StripeSub) {
			sub.Items = append(sub.Items, testkit.StripeItem{ID: "si_x", Price: "price_x", Quantity: 1})
		}, []string{"items server"}},
		{"cancellation", func(sub *testkit.StripeSub) { sub.AtPeriodEnd = true }, []string{"cancellation server"}},
		{"collection", func(sub *testkit.StripeSub) { sub.Paused = true }, []string{"collection server"}},
		{"state", func(sub *testkit.StripeSub) { sub.Status = "past_due" }, []string{"state provider"}},
		{"period", func(sub *testkit.StripeSub) { sub.Status, sub.Start = "active", sub.Start.Add(time.Hour) }, []string{"state provider", "period provider"}},
		{"ended", func(sub *testkit.StripeSub) { sub.Status = "canceled" }, []string{"state provider"}},
	} {
		s.stripe.Edit(sub, test.change)
		suffixed := func(end string) (list []string) {
			for _, w := range test.want {
				list = append(list, w+" repaired="+end)
			}
			return list
		}
		if got := reconcile(false); !slices.Equal(got, suffixed("false")) {
			t.Errorf("%s: found %v, want %v", test.what, got, test.want)
		}
		if got := reconcile(true); !slices.Equal(got, suffixed("true")) {
			t.Errorf("%s: repaired %v, want %v", test.what, got, test.want)
		}
		if got := reconcile(false); got != nil {
			t.Errorf("%s: after that %v", test.what, got)
		}
	}
	testkit.Eventually(t, "the events", func() bool { return len(eventsOfWorkspace(t, p, "subscription.reconciled")) == 8 })
	_, err := operator.Reconciliations.ReconcileSubscription(t.Context(), &billingv1.ReconcileSubscriptionRequest{WorkspaceId: ids.New[ids.Workspace]().String()})
	because(t, "no workspace", err, "NOT_FOUND")

	// A ghost: what was bought for a workspace that is no more, and that nobody told.
	ghost := s.stripe.Pay(t, page(t, p))
	s.delete(t, p)
	s.purge(t, p)
	if err := s.Server.Server.Payments().ReconcileAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.work(t)
	if got := s.stripe.Subs()[ghost]; got.Status != "canceled" {
		t.Errorf("a ghost lives: %+v", got)
	}
	s.CheckPurged(t, w, p.User.Id)
	s.agrees(t, "in the end")
	s.CheckInvariants(t)
}
