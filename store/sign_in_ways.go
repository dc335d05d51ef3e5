package store

import (
	"context"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/auth"
)

// waysToSignIn returns the ways in which a user can sign in. The user is locked
// (LockUsers) where one of them is then removed, so that two removals at once don't
// each count on the other's.
func (t *tx) waysToSignIn(ctx context.Context, user ids.User) (auth.SignInWays, error) {
	return t.auth.SignInWays(ctx, user)
}

// errLastWay is the fault of the removal of the last way to sign in.
func errLastWay() error {
	return fault.New(fault.FailedPrecondition, fault.LastSignInMethod, "it is the last way to sign in; add another one first")
}

// keepWayToSignIn refuses to remove one of a user's ways to sign in if it is the
// last. The user is locked.
//
// Errors: fault LAST_SIGN_IN_METHOD.
func (t *tx) keepWayToSignIn(ctx context.Context, user ids.User) error {
	ways, err := t.waysToSignIn(ctx, user)
	if err == nil && ways.Count() < 2 {
		err = errLastWay()
	}
	return err
}
