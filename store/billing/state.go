package billing

import "github.com/logicspike/manager/internal/fault"

// State is what has become of a subscription.
type State string

// The states. All but the last one live.
const (
	Trialing State = "trialing"
	Active   State = "active"
	PastDue  State = "past_due" // an invoice is overdue
	Paused   State = "paused"   // it costs nothing, and entitles to nothing
	Canceled State = "canceled"
)

// States are all states.
func States() []State { return []State{Trialing, Active, PastDue, Paused, Canceled} }

// Transition is something that happens to a subscription.
type Transition string

// The transitions.
const (
	TrialStart        Transition = "trial_start"
	TrialEnd          Transition = "trial_end"
	Overdue           Transition = "overdue"   // an invoice is
	Settle            Transition = "paid"      // nothing is overdue any more
	GraceEnd          Transition = "grace_end" // and nobody has paid
	Pause             Transition = "pause"     // it was canceled, and nothing takes its place
	Resume            Transition = "resume"
	Cancel            Transition = "cancel"
	WorkspaceDelete   Transition = "workspace_delete"
	WorkspaceUndelete Transition = "workspace_undelete" // back to what it was, which Apply remembers
)

// Transitions are all transitions.
func Transitions() []Transition {
	return []Transition{TrialStart, TrialEnd, Overdue, Settle, GraceEnd, Pause, Resume, Cancel, WorkspaceDelete, WorkspaceUndelete}
}

// transitions are those that each state allows.
var transitions = map[State]map[Transition]State{
	Trialing: {TrialEnd: Active, Pause: Paused, Cancel: Canceled, WorkspaceDelete: Canceled},
	Active:   {TrialStart: Trialing, Overdue: PastDue, Pause: Paused, Cancel: Canceled, WorkspaceDelete: Canceled},
	PastDue:  {Settle: Active, GraceEnd: Paused, Pause: Paused, Cancel: Canceled, WorkspaceDelete: Canceled},
	Paused:   {Settle: Active, Resume: Active, Cancel: Canceled, WorkspaceDelete: Canceled},
	Canceled: {WorkspaceUndelete: Active},
}

// After returns the state that follows.
//
// Errors: fault SUBSCRIPTION_STATE when it is not allowed.
func (s State) After(e Transition) (State, error) {
	next, ok := transitions[s][e]
	if !ok {
		return s, ErrState(s)
	}
	return next, nil
}

// Lives reports whether a subscription of the state goes on.
func (s State) Lives() bool { return s != Canceled }

// Why a subscription is paused.
const (
	PausedUnpaid   = "unpaid"
	PausedCanceled = "canceled"
)

// Why a subscription was canceled: with its workspace, whose undeletion it goes on
// with, or because somebody asked for it.
const (
	WorkspaceDeleted = "workspace_deleted"
	Requested        = "requested"
)

// Apply changes the state, and what belongs to it. Of what was paused because it was
// canceled nothing is to be paid, and only what ended with its workspace goes on with
// it.
//
// Errors: fault SUBSCRIPTION_STATE when it is not allowed.
func (s *Subscription) Apply(e Transition) error {
	next, err := s.State.After(e)
	if err != nil {
		return err
	}
	switch {
	case e == Settle && s.State == Paused && s.PauseReason != PausedUnpaid,
		e == WorkspaceUndelete && s.CancelReason != WorkspaceDeleted:
		return ErrState(s.State)
	case e == WorkspaceUndelete:
		next = s.FormerState
	}
	s.FormerState = ""
	switch e {
	case GraceEnd:
		s.PauseReason = PausedUnpaid
	case Pause:
		s.PauseReason = PausedCanceled
	case WorkspaceDelete:
		s.FormerState = s.State
	case Settle, Resume, Cancel:
		s.PauseReason = ""
	}
	s.State = next
	return nil
}

// ErrState is the fault of a change that the state of the subscription does not allow.
func ErrState(s State) *fault.Fault {
	return fault.New(fault.FailedPrecondition, fault.SubscriptionState, "a subscription that is "+string(s)+" does not allow it").
		WithMetadata("state", string(s))
}
