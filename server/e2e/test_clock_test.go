package e2e

import (
	"context"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

func advance(t testing.TB, operator *testkit.Person, by time.Duration) (*billingv1.AdvanceTestClockResponse, error) {
	t.Helper()
	return operator.TestClock.AdvanceTestClock(t.Context(), &billingv1.AdvanceTestClockRequest{By: durationpb.New(by)})
}

func TestTheTestClockIsThereForTryingOutAlone(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) { s.EmailVerification = config.VerifyAfter }})
	operator := makeOperator(t, srv, provenPerson(t, srv))
	_, err := operator.TestClock.GetTestClock(t.Context(), &billingv1.GetTestClockRequest{})
	because(t, "the time of a real server", err, "TEST_CLOCK_OFF")
	before := srv.Clock.Ahead()
	_, err = advance(t, operator, time.Hour)
	because(t, "to move it", err, "TEST_CLOCK_OFF")
	if srv.Clock.Ahead() != before || count(t, srv, "SELECT count(*) FROM manager.facts WHERE name LIKE 'test clock%'") != 0 {
		t.Error("the time has moved")
	}
}

// TestTheTestClockMovesTimeForAllAndDoesWhatIsDue: two servers on one database, and one
// that starts later.
func TestTheTestClockMovesTimeForAllAndDoesWhatIsDue(t *testing.T) {
	t.Parallel()
	settings := func(s *config.Settings) { s.EmailVerification, s.TestClock = config.VerifyAfter, true }
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: settings})
	replica := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: settings, URL: srv.Database, Key: srv.Key, Clock: new(clock.Manual)})
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	go replica.Store.FollowTestClock(ctx)
	applyPlans(t, srv, trialPlans)
	operator, tries, leaves := makeOperator(t, srv, provenPerson(t, srv)), newPerson(t, srv), newPerson(t, srv)
	if err := remove(t, leaves, leaves.Workspace.Id, preview(t, leaves, leaves.Workspace.Id).Etag); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []time.Duration{0, -time.Hour, 101 * 24 * time.Hour} {
		_, err := advance(t, operator, wrong)
		because(t, wrong.String(), err, "FIELD_INVALID")
	}
	const days = 13*24*time.Hour + time.Hour
	res, err := advance(t, operator, days)
	if err != nil || res.Ahead.AsDuration() != days || time.Until(res.Time.AsTime()) < days-time.Minute {
		t.Fatalf("AdvanceTestClock = %v, %v", res, err)
	}
	if s := subscriptionOf(t, tries, tries.Workspace.Id); s.State != billingv1.SubscriptionState_SUBSCRIPTION_STATE_TRIALING {
		t.Errorf("before the trial has ended: %v", s.State)
	}
	if n := count(t, srv, "SELECT count(*) FROM tenant.workspaces WHERE delete_time IS NOT NULL"); n != 1 {
		t.Errorf("%d deleted workspaces within the grace", n)
	}
	testkit.Eventually(t, "the other server follows", func() bool { return replica.Clock.Ahead() == days })

	// Sessions end after 14 days without use, and this goes on.
	if res, err = advance(t, operator, 2*24*time.Hour); err != nil || res.Ahead.AsDuration() != days+2*24*time.Hour {
		t.Fatalf("AdvanceTestClock = %v, %v", res, err)
	}
	srv.SignIn(t, tries)
	if s := subscriptionOf(t, tries, tries.Workspace.Id); s.State == billingv1.SubscriptionState_SUBSCRIPTION_STATE_TRIALING {
		t.Errorf("after the trial: %v", s.State)
	}
	srv.CheckPurged(t, leaves.Workspace.Id, leaves.User.Id)

	later := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: settings, URL: srv.Database, Key: srv.Key, Clock: new(clock.Manual)})
	if got := later.Store.Ahead(); got != days+2*24*time.Hour {
		t.Errorf("a server that starts later is ahead by %v", got)
	}
	srv.SignIn(t, operator)
	if got, err := operator.TestClock.GetTestClock(t.Context(), &billingv1.GetTestClockRequest{}); err != nil || got.Ahead.AsDuration() != days+2*24*time.Hour {
		t.Errorf("GetTestClock = %v, %v", got, err)
	}
	testkit.Eventually(t, "an event of each advance", func() bool { return len(eventsOf(t, operator, "test_clock.advanced")) == 2 })
	srv.CheckInvariants(t)
}
