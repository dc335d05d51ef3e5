package store_test

import (
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/auth"
)

// exerciseOperators calls what operators need, with a user who has a workspace and a
// proven address, and no sessions and credentials; and leaves nothing.
func exerciseOperators(e *exercise, user ids.User) {
	e.t.Helper()
	e.want(true, "InsertOperator", user, now)
	e.want(false, "InsertOperator", user, now)
	e.want(true, "HoldOperator", user)
	e.want([]auth.OperatorRow{{UserID: user, Address: "ann@example.com", CreateTime: now}}, "ListOperators")

	e.want(true, "Disable", user, ids.User{}, "spam", now)
	e.want(false, "Disable", user, user, "more spam", now.Add(time.Second))
	session := func(impersonator ids.User, of ids.Session) *auth.Session {
		id := ids.New[ids.Session]()
		hash := id.UUID()
		return &auth.Session{
			ID: id, UserID: user, TokenHash: hash[:], Transport: authz.Bearer, CreateTime: now, AuthTime: now, LastUseTime: now,
			IdleExpireTime: now.Add(time.Hour), ExpireTime: now.Add(time.Hour), Methods: []authz.Method{},
			ImpersonatorID: impersonator, ImpersonatorSessionID: of,
		}
	}
	own := session(ids.User{}, ids.Session{})
	e.call("InsertSession", own)
	e.call("InsertSession", session(user, own.ID))
	e.want(map[ids.User]auth.AccountState{user: {
		UserID: user, DisableTime: now, DisableReason: "spam", SessionCount: 2, WorkspaceCount: 1, Operator: true,
	}}, "AccountStates", []ids.User{user}, now)
	e.want(true, "Enable", user)
	e.want(false, "Enable", user)

	// A session in another's name ends with the operator's own, or by itself.
	e.want(true, "DeleteSession", user, own.ID, now)
	e.want(0, "CountSessions", user, now)
	for _, end := range []string{"DeleteImpersonations", "DeleteImpersonationsOf"} {
		e.call("InsertSession", session(user, ids.Session{}))
		e.call(end, user)
		e.want(0, "CountSessions", user, now)
	}
	e.want(auth.SecondFactors{}, "DeleteSecondFactors", user)
	e.want(true, "SignsInWithoutPasskey", user)
	e.want(true, "DeleteOperator", user)
	e.want(false, "DeleteOperator", user)
	e.want(false, "HoldOperator", user)
}
