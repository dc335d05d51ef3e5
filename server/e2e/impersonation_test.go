package e2e

import (
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// impersonate starts a session in a person's name.
func impersonate(t testing.TB, srv *testkit.Server, operator, p *testkit.Person) (*client.Client, *authv1.Session) {
	t.Helper()
	res, err := operator.Operators.ImpersonateUser(t.Context(), &authv1.ImpersonateUserRequest{UserId: p.User.Id, Reason: "A question of theirs"})
	if err != nil {
		t.Fatalf("ImpersonateUser: %v", err)
	}
	return srv.Client("", client.WithSession(res.SessionToken)), res.Session
}

func TestTheUserSeesWhoActsInTheirName(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	operator, ann := makeOperator(t, srv, srv.Register(t)), srv.Register(t)
	before := srv.Clock.Now()
	as, session := impersonate(t, srv, operator, ann)
	if session.UserId != ann.User.Id || session.ImpersonatorUserId != operator.User.Id || session.ExpireTime.AsTime().Sub(before) > 31*time.Minute ||
		!session.IdleExpireTime.AsTime().Equal(session.ExpireTime.AsTime()) || len(session.Methods) != 1 || session.Methods[0] != authv1.AuthenticationMethod_AUTHENTICATION_METHOD_PASSWORD {
		t.Errorf("%v", session)
	}
	me, err := as.Users.GetMe(t.Context(), &identityv1.GetMeRequest{})
	if err != nil || me.User.Id != ann.User.Id {
		t.Fatalf("%v, %v", me, err)
	}
	securityMail(t, srv, ann, "An operator signed in to your account in your name", "A question of theirs")
	list, err := ann.Sessions.ListSessions(t.Context(), &authv1.ListSessionsRequest{})
	if err != nil || len(list.Sessions) != 2 || list.Sessions[0].ImpersonatorUserId != operator.User.Id || list.Sessions[1].ImpersonatorUserId != "" {
		t.Errorf("%v, %v", list, err)
	}
	began := eventsOf(t, ann, "user.impersonated")
	if len(began) != 1 || began[0].ActorUserId != operator.User.Id || began[0].TargetId != session.Id || began[0].Details.AsMap()["reason"] != "A question of theirs" {
		t.Errorf("%v", began)
	}
	// What is done in their name says so.
	if _, err := as.Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: ann.Workspace.Id, Name: "Renamed"}); err != nil {
		t.Fatal(err)
	}
	if _, err := as.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{}); err != nil {
		t.Fatal(err)
	}
	ended(t, "the session, signed out", as)
	lives(t, "the user's own", ann.Client)
	lives(t, "the operator's own", operator.Client)
	over := eventsOf(t, ann, "session.ended")
	if len(over) != 1 || over[0].ActorUserId != ann.User.Id || over[0].ImpersonatorUserId != operator.User.Id {
		t.Errorf("%v", over)
	}
	var renamed []*auditv1.Event
	testkit.Eventually(t, "the event", func() bool {
		res, err := ann.Events.ListEvents(t.Context(), &auditv1.ListEventsRequest{WorkspaceId: ann.Workspace.Id, Action: "workspace.updated"})
		if err != nil {
			t.Fatal(err)
		}
		renamed = res.Events
		return len(renamed) == 1
	})
	if renamed[0].ActorUserId != ann.User.Id || renamed[0].ImpersonatorUserId != operator.User.Id {
		t.Errorf("%v", renamed)
	}
	srv.CheckInvariants(t)
}

// TestAnImpersonationEnds whatever happens first.
func TestAnImpersonationEnds(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*testkit.Server, *testkit.Person, *testkit.Person, *authv1.Session) error{
		"after 30 minutes, though used": func(srv *testkit.Server, operator, ann *testkit.Person, s *authv1.Session) error {
			srv.Clock.Advance(30 * time.Minute)
			return nil
		},
		"by the user": func(srv *testkit.Server, operator, ann *testkit.Person, s *authv1.Session) error {
			_, err := ann.Sessions.RevokeSession(t.Context(), &authv1.RevokeSessionRequest{SessionId: s.Id})
			return err
		},
		"by the user, with all others": func(srv *testkit.Server, operator, ann *testkit.Person, s *authv1.Session) error {
			_, err := ann.Sessions.RevokeOtherSessions(t.Context(), &authv1.RevokeOtherSessionsRequest{})
			return err
		},
		"with the operator's session": func(srv *testkit.Server, operator, ann *testkit.Person, s *authv1.Session) error {
			_, err := operator.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{})
			return err
		},
		"with that being revoked": func(srv *testkit.Server, operator, ann *testkit.Person, s *authv1.Session) error {
			other := signIn(t, srv, operator.Email, testkit.Password)
			_, err := other.Sessions.RevokeOtherSessions(t.Context(), &authv1.RevokeOtherSessionsRequest{})
			return err
		},
		"when the operator is none any more": func(srv *testkit.Server, operator, ann *testkit.Person, s *authv1.Session) error {
			_, err := srv.Store.RemoveOperator(t.Context(), userID(t, operator))
			return err
		},
		"when the operator is disabled": func(srv *testkit.Server, operator, ann *testkit.Person, s *authv1.Session) error {
			second := makeOperator(t, srv, srv.Register(t))
			_, err := second.Operators.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: operator.User.Id, Reason: "A test"})
			return err
		},
		"when the user is disabled": func(srv *testkit.Server, operator, ann *testkit.Person, s *authv1.Session) error {
			_, err := operator.Operators.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: ann.User.Id, Reason: "A test"})
			return err
		},
		"when the user becomes an operator": func(srv *testkit.Server, operator, ann *testkit.Person, s *authv1.Session) error {
			_, err := srv.Store.AddOperator(t.Context(), userID(t, ann))
			return err
		},
		"with the operator's account": func(srv *testkit.Server, operator, ann *testkit.Person, s *authv1.Session) error {
			return deleteSelf(t, operator)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := testkit.New(t, testkit.Options{})
			operator, ann := makeOperator(t, srv, srv.Register(t)), srv.Register(t)
			as, session := impersonate(t, srv, operator, ann)
			onCommandLine, token, err := srv.Store.ImpersonateUser(t.Context(), store.Impersonation{
				Operation: store.Operation{User: userID(t, ann), Reason: "A test", CommandLine: true}, Operator: userID(t, operator), Transport: "bearer",
			})
			if err != nil {
				t.Fatal(err)
			}
			local := srv.Client("", client.WithSession(token))
			lives(t, "the session", as)
			lives(t, "the one of the command line", local)
			for range 3 { // use does not make it longer
				srv.Clock.Advance(9 * time.Minute)
				lives(t, "the session, used", as)
				lives(t, "the other, used", local)
			}
			srv.SignIn(t, ann)
			again, err := operator.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: testkit.Password})
			if err != nil {
				t.Fatal(err)
			}
			operator.Client = srv.Client("", client.WithSession(again.SessionToken))
			lives(t, "the session, of an operator who reauthenticated", as)
			if err := end(srv, operator, ann, session); err != nil {
				t.Fatal(err)
			}
			ended(t, "the session", as)
			switch name {
			case "by the user", "with the operator's session", "with that being revoked": // what the command line began has no session of the operator's
				if _, err := ann.Sessions.RevokeSession(t.Context(), &authv1.RevokeSessionRequest{SessionId: onCommandLine.ID.String()}); err != nil {
					t.Error(err)
				}
			}
			ended(t, "the one of the command line", local)
			srv.CheckInvariants(t)
		})
	}
}

func TestWhoCannotBeImpersonated(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	operator, other, ann, ben := makeOperator(t, srv, srv.Register(t)), makeOperator(t, srv, srv.Register(t)), srv.Register(t), srv.Register(t)
	if _, err := operator.Operators.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: ben.User.Id, Reason: "A test"}); err != nil {
		t.Fatal(err)
	}
	try := func(c *client.Client, user string) error {
		_, err := c.Operators.ImpersonateUser(t.Context(), &authv1.ImpersonateUserRequest{UserId: user, Reason: "A test"})
		return err
	}
	for what, p := range map[string]*testkit.Person{"oneself": operator, "another operator": other, "a disabled account": ben} {
		refused(t, what, try(operator.Client, p.User.Id), connect.CodePermissionDenied, faultv1.Reason_REASON_IMPERSONATION_NOT_ALLOWED)
	}
	refused(t, "nobody", try(operator.Client, ids.New[ids.User]().String()), connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
	as, _ := impersonate(t, srv, operator, ann)
	refused(t, "by an impersonated session", try(as, other.User.Id), connect.CodePermissionDenied, faultv1.Reason_REASON_OPERATOR_REQUIRED)
	// Also on the command line.
	for what, in := range map[string]store.Impersonation{
		"oneself":         {Operation: store.Operation{User: userID(t, operator)}, Operator: userID(t, operator)},
		"by no operator":  {Operation: store.Operation{User: userID(t, operator)}, Operator: userID(t, ann)},
		"a disabled one":  {Operation: store.Operation{User: userID(t, ben)}, Operator: userID(t, operator)},
		"by nobody":       {Operation: store.Operation{User: userID(t, ann)}},
		"nobody, by none": {},
	} {
		in.CommandLine, in.Reason, in.Transport = true, "A test", "bearer"
		if _, _, err := srv.Store.ImpersonateUser(t.Context(), in); err == nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	srv.CheckInvariants(t)
}

// TestAnImpersonatedSessionNeverBecomesMore: the attacks one by one, beside the walk of
// TestAnImpersonatedSessionReads.
func TestAnImpersonatedSessionNeverBecomesMore(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	operator, ann := makeOperator(t, srv, srv.Register(t)), srv.Register(t)
	// Ann asks for another address; the operator reads the code over her shoulder.
	address := testkit.NewEmail()
	change, err := ann.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: address})
	if err != nil {
		t.Fatal(err)
	}
	code := testkit.CodeIn(t, srv.Mail(t, address, 1))
	as, _ := impersonate(t, srv, operator, ann)
	list, err := as.Sessions.ListSessions(t.Context(), &authv1.ListSessionsRequest{})
	if err != nil || len(list.Sessions) != 2 {
		t.Fatalf("%v, %v", list, err)
	}
	for what, call := range map[string]func() error{
		"ConfirmEmailChange": func() error {
			_, err := as.Users.ConfirmEmailChange(t.Context(), &identityv1.ConfirmEmailChangeRequest{EmailChangeId: change.EmailChangeId, Code: code})
			return err
		},
		"Reauthenticate with the right password": func() error {
			_, err := as.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: testkit.Password})
			return err
		},
		"ChangePassword": func() error {
			_, err := as.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: "another horse, another staple"})
			return err
		},
		"RequestEmailChange": func() error {
			_, err := as.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: testkit.NewEmail()})
			return err
		},
		"UpdateMe": func() error {
			_, err := as.Users.UpdateMe(t.Context(), &identityv1.UpdateMeRequest{DisplayName: "Eve"})
			return err
		},
		"RevokeSession": func() error {
			_, err := as.Sessions.RevokeSession(t.Context(), &authv1.RevokeSessionRequest{SessionId: list.Sessions[1].Id})
			return err
		},
		"RevokeOtherSessions": func() error {
			_, err := as.Sessions.RevokeOtherSessions(t.Context(), &authv1.RevokeOtherSessionsRequest{})
			return err
		},
	} {
		refused(t, what, call(), connect.CodePermissionDenied, faultv1.Reason_REASON_IMPERSONATION_NOT_ALLOWED)
	}
	lives(t, "the user's session", ann.Client)
	me, err := ann.Users.GetMe(t.Context(), &identityv1.GetMeRequest{})
	if err != nil || me.User.Email != ann.Email {
		t.Errorf("%v, %v", me, err)
	}
	if _, err := ann.Users.ConfirmEmailChange(t.Context(), &identityv1.ConfirmEmailChangeRequest{EmailChangeId: change.EmailChangeId, Code: code}); err != nil {
		t.Errorf("the user's own: %v", err)
	}
	srv.CheckInvariants(t)
	checkLog(t, srv, testkit.Password)
}
