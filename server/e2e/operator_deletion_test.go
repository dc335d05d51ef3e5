package e2e

import (
	"testing"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// TestAnOperatorWhoIsDeletedLeavesNoTrace deletes an operator who has done what
// operators do: but for who did it, in the logs of the accounts that they did it to,
// their id is in no row.
func TestAnOperatorWhoIsDeletedLeavesNoTrace(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	operator := makeOperator(t, s.Server, s.person(t))
	disabled, enabled, seen := s.person(t), s.person(t), s.person(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*testkit.Person{disabled, enabled} {
		_, err := operator.Operators.DisableUser(ctx, &authv1.DisableUserRequest{UserId: p.User.Id, Reason: "A test"})
		must(err)
	}
	_, err := operator.Operators.EnableUser(ctx, &authv1.EnableUserRequest{UserId: enabled.User.Id, Reason: "A test"})
	must(err)
	_, err = operator.Operators.SignOutUser(ctx, &authv1.SignOutUserRequest{UserId: seen.User.Id, Reason: "A test"})
	must(err)
	_, err = operator.Operators.ImpersonateUser(ctx, &authv1.ImpersonateUserRequest{UserId: seen.User.Id, Reason: "A test"})
	must(err)
	must(deleteSelf(t, operator))
	s.CheckPurged(t, operator.Workspace.Id, operator.User.Id)
	if n := count(t, s.Server, "SELECT count(*) FROM auth.disablements WHERE user_id = $1", uuidOf(t, disabled.User.Id)); n != 1 {
		t.Errorf("the account that they disabled is disabled %d times", n)
	}
	s.CheckInvariants(t)
}
