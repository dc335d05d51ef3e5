package billing_test

import (
	"testing"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/store/billing"
)

// TestEveryTransitionIsAllowedOrRefused goes through all states and all transitions: ""
// is refused.
func TestEveryTransitionIsAllowedOrRefused(t *testing.T) {
	table := map[billing.State]map[billing.Transition]billing.State{
		billing.Trialing: {
			billing.TrialStart: "", billing.TrialEnd: billing.Active, billing.Overdue: "", billing.Settle: "", billing.GraceEnd: "",
			billing.Pause: billing.Paused, billing.Resume: "", billing.Cancel: billing.Canceled,
			billing.WorkspaceDelete: billing.Canceled, billing.WorkspaceUndelete: "",
		},
		billing.Active: {
			billing.TrialStart: billing.Trialing, billing.TrialEnd: "", billing.Overdue: billing.PastDue, billing.Settle: "", billing.GraceEnd: "",
			billing.Pause: billing.Paused, billing.Resume: "", billing.Cancel: billing.Canceled,
			billing.WorkspaceDelete: billing.Canceled, billing.WorkspaceUndelete: "",
		},
		billing.PastDue: {
			billing.TrialStart: "", billing.TrialEnd: "", billing.Overdue: "", billing.Settle: billing.Active, billing.GraceEnd: billing.Paused,
			billing.Pause: billing.Paused, billing.Resume: "", billing.Cancel: billing.Canceled,
			billing.WorkspaceDelete: billing.Canceled, billing.WorkspaceUndelete: "",
		},
		billing.Paused: {
			billing.TrialStart: "", billing.TrialEnd: "", billing.Overdue: "", billing.Settle: billing.Active, billing.GraceEnd: "",
			billing.Pause: "", billing.Resume: billing.Active, billing.Cancel: billing.Canceled,
			billing.WorkspaceDelete: billing.Canceled, billing.WorkspaceUndelete: "",
		},
		billing.Canceled: {
			billing.TrialStart: "", billing.TrialEnd: "", billing.Overdue: "", billing.Settle: "", billing.GraceEnd: "",
			billing.Pause: "", billing.Resume: "", billing.Cancel: "",
			billing.WorkspaceDelete: "", billing.WorkspaceUndelete: billing.Active,
		},
	}
	for _, from := range billing.States() {
		for _, e := range billing.Transitions() {
			want, listed := table[from][e]
			if !listed {
				t.Errorf("%s, %s: it is not in the table", from, e)
			}
			got, err := from.After(e)
			if want == "" {
				if !fault.Has(err, fault.SubscriptionState) || got != from || fault.As(err).Metadata["state"] != string(from) {
					t.Errorf("%s, %s: %s, %v; it is to be refused", from, e, got, err)
				}
			} else if err != nil || got != want {
				t.Errorf("%s, %s: %s, %v, want %s", from, e, got, err, want)
			}
		}
	}
}

func TestASubscriptionRemembersWhyItIsWhatItIs(t *testing.T) {
	s := &billing.Subscription{State: billing.Active}
	apply := func(e billing.Transition, state billing.State, reason string) {
		t.Helper()
		if err := s.Apply(e); err != nil || s.State != state || s.PauseReason != reason {
			t.Errorf("%s: %s %q, %v, want %s %q", e, s.State, s.PauseReason, err, state, reason)
		}
	}
	refused := func(e billing.Transition) {
		t.Helper()
		before := *s
		if err := s.Apply(e); !fault.Has(err, fault.SubscriptionState) || *s != before {
			t.Errorf("%s: %v, and it is %v", e, err, s)
		}
	}
	apply(billing.Pause, billing.Paused, billing.PausedCanceled)
	refused(billing.Settle) // nothing is to be paid
	s.CancelReason = billing.WorkspaceDeleted
	apply(billing.WorkspaceDelete, billing.Canceled, billing.PausedCanceled)
	apply(billing.WorkspaceUndelete, billing.Paused, billing.PausedCanceled)
	apply(billing.Resume, billing.Active, "")
	apply(billing.Overdue, billing.PastDue, "")
	apply(billing.WorkspaceDelete, billing.Canceled, "")
	apply(billing.WorkspaceUndelete, billing.PastDue, "")
	apply(billing.GraceEnd, billing.Paused, billing.PausedUnpaid)
	apply(billing.Settle, billing.Active, "")
	s.CancelReason = billing.Requested
	apply(billing.Cancel, billing.Canceled, "")
	refused(billing.WorkspaceUndelete) // it did not end with its workspace
}
