package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/testkit"
)

func TestADeletedWorkspaceIsChargedNothing(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	back, gone, late := s.person(t), s.person(t), s.person(t)
	a, b, c := s.buy(t, back), s.buy(t, gone), s.buy(t, late)
	charged := len(s.stripe.Charges())
	for _, p := range []*testkit.Person{back, gone, late} {
		s.delete(t, p)
	}
	s.work(t)
	for _, sub := range s.stripe.Subs() {
		if !sub.Paused || !sub.AtPeriodEnd || sub.Status != "active" {
			t.Errorf("deleted: %+v", sub)
		}
	}
	s.agrees(t, "deleted")
	s.CheckInvariants(t)

	s.later(t, 10*24*time.Hour)
	s.undelete(t, back)
	s.purge(t, gone)
	s.work(t)
	subs := s.stripe.Subs()
	if sub := subs[a]; sub.Paused || sub.AtPeriodEnd || sub.Status != "active" {
		t.Errorf("undeleted: %+v", sub)
	}
	if got := subscriptionOf(t, back, back.Workspace.Id); got.Plan.Plan != "team" {
		t.Errorf("undeleted: %v", got)
	}
	if sub := subs[b]; sub.Status != "canceled" {
		t.Errorf("purged: %+v", sub)
	}
	s.CheckPurged(t, gone.Workspace.Id, gone.User.Id)
	if n := count(t, s.Server, "SELECT count(*) FROM billing.provider_subscriptions WHERE workspace_id IS NULL"); n != 0 {
		t.Errorf("%d are kept although Stripe has ended them", n)
	}

	// Of what ended with its period meanwhile nothing was charged, and who undeletes it
	// has the default plan.
	s.Clock.Advance(30 * 24 * time.Hour)
	s.stripe.Run()
	s.tell(t, "customer.subscription.updated", a)
	s.tell(t, "customer.subscription.deleted", c)
	s.work(t)
	s.CheckInvariants(t)
	s.undelete(t, late)
	s.work(t)
	if got := subscriptionOf(t, late, late.Workspace.Id); got.Plan.Plan != "free" || got.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_ACTIVE {
		t.Errorf("undeleted after its period: %v", got)
	}
	for _, charge := range s.stripe.Charges()[charged:] {
		if charge.Sub != a {
			t.Errorf("charged for a deleted workspace: %+v", charge)
		}
	}
	s.agrees(t, "in the end")
	s.CheckInvariants(t)
}

// TestNoWorkspaceIsEverChargedThatIsNotThere does anything in any order, while Stripe
// comes and goes, and looks in the end for money that is taken for nothing.
func TestNoWorkspaceIsEverChargedThatIsNotThere(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for seed := range uint64(6) {
		random := rand.New(rand.NewPCG(seed, 18))
		type customer struct {
			*testkit.Person
			deleted, purged bool
			pages           []string
		}
		var customers []*customer
		for range 3 {
			customers = append(customers, &customer{Person: s.person(t)})
		}
		var trace []string
		down := false
		for range 40 {
			c := customers[random.IntN(len(customers))]
			step := []string{"page", "pay", "pay untold", "join", "delete", "undelete", "purge", "down", "up", "work", "work", "time"}[random.IntN(12)]
			trace = append(trace, step)
			switch {
			case step == "down" || step == "up":
				down = step == "down"
				s.stripe.Down(down)
			case step == "work" && !down:
				s.work(t)
			case step == "time":
				s.Clock.Advance(time.Duration(random.IntN(100)) * time.Hour)
				s.stripe.Run()
			case strings.HasPrefix(step, "pay") && len(c.pages) > 0 && !down:
				sub := s.stripe.Pay(t, c.pages[0])
				if c.pages = c.pages[1:]; step == "pay" {
					s.tell(t, "checkout.session.completed", sub)
				}
			case c.purged:
			case step == "page" && !c.deleted && !down:
				if res, err := checkout(t, c.Person); err == nil {
					c.pages = append(c.pages, res.Url)
				} else if reasonOf(err) != "PAYMENT_PROVIDER_IN_USE" {
					t.Fatalf("seed %d: %v: %v", seed, trace, err)
				}
			case step == "join" && !c.deleted:
				s.joins(t, c.Person)
			case step == "delete" && !c.deleted:
				s.delete(t, c.Person)
				c.deleted = true
			case step == "undelete" && c.deleted:
				s.undelete(t, c.Person)
				c.deleted = false
			case step == "purge" && c.deleted:
				s.purge(t, c.Person)
				c.purged = true
			}
		}
		s.stripe.Down(false)
		s.later(t, 2*time.Hour)
		if err := s.Server.Server.Payments().ReconcileAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.work(t)
		s.agrees(t, fmt.Sprintf("seed %d: %v", seed, trace))
		for _, c := range customers {
			live := 0
			for _, sub := range s.stripe.Subs() {
				if sub.Metadata["logicspike_workspace"] == c.Workspace.Id && sub.Status != "canceled" && (!sub.Paused || c.purged || !c.deleted) {
					live++
				}
			}
			if live > 1 || live > 0 && c.deleted {
				t.Errorf("seed %d: %v: %d subscriptions are charged of a workspace; deleted: %t, purged: %t", seed, trace, live, c.deleted, c.purged)
			}
		}
		s.CheckInvariants(t)
	}
}
