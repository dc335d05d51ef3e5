package e2e

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
)

// makeOperator makes somebody an operator of the server, as the command line does.
func makeOperator(t testing.TB, srv *testkit.Server, p *testkit.Person) *testkit.Person {
	t.Helper()
	if added, err := srv.Store.AddOperator(t.Context(), userID(t, p)); err != nil || !added {
		t.Fatalf("AddOperator = %t, %v", added, err)
	}
	return p
}

func userID(t testing.TB, p *testkit.Person) ids.User {
	t.Helper()
	id, err := ids.Parse[ids.User](p.User.Id)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// provenPerson registers somebody, whose address is proven, on a server on which
// accounts begin before that.
func provenPerson(t testing.TB, srv *testkit.Server) *testkit.Person {
	t.Helper()
	p := newPerson(t, srv)
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE identity.emails SET verified_time = now() WHERE user_id = $1", uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	return p
}

// eventsOf returns the events of a person's account, the newest first.
func eventsOf(t testing.TB, p *testkit.Person, action string) []*auditv1.Event {
	t.Helper()
	var list []*auditv1.Event
	testkit.Eventually(t, "an event "+action, func() bool {
		res, err := p.Events.ListEvents(t.Context(), &auditv1.ListEventsRequest{Action: action})
		if err != nil {
			t.Fatal(err)
		}
		list = res.Events
		return len(list) > 0
	})
	return list
}

// securityMail waits for the mail of a change to a person.
func securityMail(t testing.TB, srv *testkit.Server, p *testkit.Person, says ...string) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("a mail to %s with %q", p.Email, says), func() bool {
		for _, m := range srv.Mails(t, p.Email) {
			if !slices.ContainsFunc(says, func(s string) bool { return !strings.Contains(m.Text, s) }) {
				return true
			}
		}
		return false
	})
}

func TestAnOperatorDisablesAnAccount(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	operator, ann := makeOperator(t, srv, srv.Register(t)), srv.Register(t)
	second := signIn(t, srv, ann.Email, testkit.Password)
	disable := &authv1.DisableUserRequest{UserId: ann.User.Id, Reason: "Sends spam."}

	res, err := operator.Operators.DisableUser(t.Context(), disable)
	if err != nil {
		t.Fatal(err)
	}
	if u := res.User; u.UserId != ann.User.Id || u.Email != ann.Email || !u.EmailVerified || u.DisableTime == nil || u.DisableReason != "Sends spam." ||
		u.SessionCount != 0 || u.WorkspaceCount != 1 || u.Operator || u.SecondFactorRequired {
		t.Errorf("%v", u)
	}
	ended(t, "a session of the account", ann.Client)
	ended(t, "another one", second)
	securityMail(t, srv, ann, "An operator disabled your account.", "Sends spam.")

	// What is refused is refused after the proof alone.
	in := srv.Client("").Authentication
	_, err = in.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: ann.Email, Password: testkit.Password})
	refused(t, "the right password", err, connect.CodePermissionDenied, faultv1.Reason_REASON_ACCOUNT_DISABLED)
	_, err = in.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: ann.Email, Password: "another horse, another staple"})
	refused(t, "a wrong one", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
	_, err = in.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: testkit.NewEmail(), Password: testkit.Password})
	refused(t, "of nobody", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)

	// A reset answers as before, and lets nobody in.
	before := len(srv.Mails(t, ann.Email))
	reset, err := srv.Client("").Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: ann.Email})
	if err != nil {
		t.Fatal(err)
	}
	const other = "a quite different passphrase"
	if _, err := srv.Client("").Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{
		PasswordResetId: reset.PasswordResetId, Code: testkit.CodeIn(t, srv.Mail(t, ann.Email, before+1)), NewPassword: other,
	}); err != nil {
		t.Fatal(err)
	}
	_, err = in.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: ann.Email, Password: other})
	refused(t, "the new password", err, connect.CodePermissionDenied, faultv1.Reason_REASON_ACCOUNT_DISABLED)

	// Again: nothing changes.
	res, err = operator.Operators.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: ann.User.Id, Reason: "Another."})
	if err != nil || res.User.DisableReason != "Sends spam." {
		t.Errorf("%v, %v", res, err)
	}

	for range 2 { // the second time nothing changes
		enabled, err := operator.Operators.EnableUser(t.Context(), &authv1.EnableUserRequest{UserId: ann.User.Id, Reason: "It was a mistake."})
		if err != nil || enabled.User.DisableTime != nil || enabled.User.DisableReason != "" {
			t.Fatalf("%v, %v", enabled, err)
		}
	}
	securityMail(t, srv, ann, "An operator enabled your account again.", "It was a mistake.")
	ann.Client = signIn(t, srv, ann.Email, other)
	for action, reason := range map[string]string{"user.disabled": "Sends spam.", "user.enabled": "It was a mistake."} {
		events := eventsOf(t, ann, action)
		if len(events) != 1 || events[0].ActorUserId != operator.User.Id || events[0].Details.AsMap()["reason"] != reason {
			t.Errorf("%s: %v", action, events)
		}
	}
	srv.CheckInvariants(t)
	checkLog(t, srv, testkit.Password)
}

func TestOperatorsCallsAreForOperatorsWhoSignedInRecently(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	operator, ann, ben := makeOperator(t, srv, srv.Register(t)), srv.Register(t), srv.Register(t)
	calls := operatorCalls(ann.User.Id)
	for name, call := range calls {
		refused(t, name+" by nobody", call(t, srv.Client("")), connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
		refused(t, name+" by a user", call(t, ben.Client), connect.CodePermissionDenied, faultv1.Reason_REASON_OPERATOR_REQUIRED)
	}
	nobody := ids.New[ids.User]().String()
	for name, call := range operatorCalls(nobody) {
		if err := call(t, operator.Client); name == "FindUsers" || name == "ImportUsers" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else {
			refused(t, name+" of nobody", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
		}
	}
	srv.Clock.Advance(11 * time.Minute)
	for name, call := range calls {
		if err := call(t, operator.Client); name == "FindUsers" {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		} else {
			refused(t, name+" some time after the sign-in", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_REAUTHENTICATION_REQUIRED)
		}
	}
	srv.SignIn(t, operator)
	if removed, err := srv.Store.RemoveOperator(t.Context(), userID(t, operator)); err != nil || !removed {
		t.Fatalf("RemoveOperator = %t, %v", removed, err)
	}
	for name, call := range calls {
		refused(t, name+" by who is no operator any more", call(t, operator.Client), connect.CodePermissionDenied, faultv1.Reason_REASON_OPERATOR_REQUIRED)
	}
	// A blank reason is none, and nobody disables their own account.
	makeOperator(t, srv, operator)
	_, err := operator.Operators.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: ann.User.Id, Reason: " "})
	refused(t, "a blank reason", err, connect.CodeInvalidArgument, faultv1.Reason_REASON_FIELD_INVALID)
	_, err = operator.Operators.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: operator.User.Id, Reason: "Why not"})
	refused(t, "the own account", err, connect.CodeInvalidArgument, faultv1.Reason_REASON_FIELD_INVALID)
	srv.CheckInvariants(t)
}

// operatorCalls are the calls of operators.
func operatorCalls(user string) map[string]func(testing.TB, *client.Client) error {
	return map[string]func(testing.TB, *client.Client) error{
		"FindUsers": func(t testing.TB, c *client.Client) error {
			_, err := c.Operators.FindUsers(t.Context(), &authv1.FindUsersRequest{})
			return err
		},
		"DisableUser": func(t testing.TB, c *client.Client) error {
			_, err := c.Operators.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: user, Reason: "A test"})
			return err
		},
		"EnableUser": func(t testing.TB, c *client.Client) error {
			_, err := c.Operators.EnableUser(t.Context(), &authv1.EnableUserRequest{UserId: user, Reason: "A test"})
			return err
		},
		"SignOutUser": func(t testing.TB, c *client.Client) error {
			_, err := c.Operators.SignOutUser(t.Context(), &authv1.SignOutUserRequest{UserId: user, Reason: "A test"})
			return err
		},
		"ResetSecondFactors": func(t testing.TB, c *client.Client) error {
			_, err := c.Operators.ResetSecondFactors(t.Context(), &authv1.ResetSecondFactorsRequest{UserId: user, Reason: "A test"})
			return err
		},
		"ImpersonateUser": func(t testing.TB, c *client.Client) error {
			_, err := c.Operators.ImpersonateUser(t.Context(), &authv1.ImpersonateUserRequest{UserId: user, Reason: "A test"})
			return err
		},
		"ImportUsers": func(t testing.TB, c *client.Client) error {
			_, err := importUsers(t, c, []*authv1.ImportedUser{{Email: testkit.NewEmail()}})
			return err
		},
	}
}

func TestAnOperatorEndsSessions(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	operator, ann := makeOperator(t, srv, srv.Register(t)), srv.Register(t)
	second := signIn(t, srv, ann.Email, testkit.Password)
	res, err := operator.Operators.SignOutUser(t.Context(), &authv1.SignOutUserRequest{UserId: ann.User.Id, Reason: "A laptop was stolen."})
	if err != nil || res.User.SessionCount != 0 {
		t.Fatalf("%v, %v", res, err)
	}
	ended(t, "a session", ann.Client)
	ended(t, "another one", second)
	securityMail(t, srv, ann, "An operator ended all your sessions.", "A laptop was stolen.")
	srv.SignIn(t, ann)
	if events := eventsOf(t, ann, "user.signed_out"); len(events) != 1 || events[0].ActorUserId != operator.User.Id || events[0].Details.AsMap()["revoked_sessions"] != 2.0 {
		t.Errorf("%v", events)
	}
	lives(t, "the operator's own", operator.Client)
	srv.CheckInvariants(t)
}

func TestAnOperatorResetsSecondFactors(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	operator, ann := makeOperator(t, srv, srv.Register(t)), srv.Register(t)
	id := uuidOf(t, ann.User.Id)
	addFactors := func() {
		t.Helper()
		now := srv.Clock.Now()
		for _, sql := range []string{
			"INSERT INTO auth.totp_factors (id, user_id, display_name, secret, confirm_time, expire_time, create_time) VALUES (gen_random_uuid(), $1, 'App', '\\x00', $2, $2, $2)",
			"INSERT INTO auth.recovery_codes (user_id, code_hash, create_time) VALUES ($1, '\\x00', $2)",
			"INSERT INTO auth.passkeys (id, user_id, display_name, credential_id, public_key, sign_count, transports, backup_eligible, backed_up, create_time) VALUES (gen_random_uuid(), $1, 'Key', '\\x01', '\\x02', 0, '{}', false, false, $2)",
		} {
			if _, err := srv.SQL.Exec(t.Context(), sql, id, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	addFactors()
	in, err := srv.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: ann.Email, Password: testkit.Password})
	if err != nil || !in.Session.SecondFactorPending {
		t.Fatalf("%v, %v", in, err)
	}
	reset := &authv1.ResetSecondFactorsRequest{UserId: ann.User.Id, Reason: "Lost the phone."}
	res, err := operator.Operators.ResetSecondFactors(t.Context(), reset)
	if err != nil || res.User.SecondFactorRequired || res.User.SessionCount != 0 {
		t.Fatalf("%v, %v", res, err)
	}
	ended(t, "a session", ann.Client)
	ended(t, "one that owed the factor", srv.Client("", client.WithSession(in.SessionToken)))
	securityMail(t, srv, ann, "An operator removed all second factors", "Lost the phone.")
	srv.SignIn(t, ann)
	if ann.Session.SecondFactorPending {
		t.Error("the sign-in owes a factor still")
	}
	details := eventsOf(t, ann, "user.second_factors_reset")[0].Details.AsMap()
	for what, count := range map[string]float64{"totp_factors": 1, "passkeys": 1, "recovery_codes": 1, "revoked_sessions": 2} {
		if details[what] != count {
			t.Errorf("%s: %v", what, details)
		}
	}

	// The last way to sign in stays, and with it all else.
	addFactors()
	sql := func(statement string) {
		t.Helper()
		if _, err := srv.SQL.Exec(t.Context(), statement, id); err != nil {
			t.Fatal(err)
		}
	}
	sql("DELETE FROM auth.credentials WHERE user_id = $1")
	sql("UPDATE identity.emails SET verified_time = NULL WHERE user_id = $1")
	_, err = operator.Operators.ResetSecondFactors(t.Context(), reset)
	refused(t, "the last way to sign in", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_LAST_SIGN_IN_METHOD)
	var left int
	if err := srv.SQL.QueryRow(t.Context(), "SELECT (SELECT count(*) FROM auth.totp_factors) + (SELECT count(*) FROM auth.passkeys) + (SELECT count(*) FROM auth.recovery_codes)").Scan(&left); err != nil || left != 3 {
		t.Errorf("%d factors are left, %v", left, err)
	}
	sql("UPDATE identity.emails SET verified_time = now() WHERE user_id = $1") // who can prove the address resets the password
	if _, err = operator.Operators.ResetSecondFactors(t.Context(), reset); err != nil {
		t.Error(err)
	}
}

func TestUsersAreFound(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	operator := makeOperator(t, srv, srv.Register(t))
	var people []*testkit.Person
	for i := range 5 {
		people = append(people, srv.RegisterAs(t, fmt.Sprintf("Zoë.Finder%d@findable.example", i), "Acme"))
	}
	if _, err := people[3].Users.UpdateMe(t.Context(), &identityv1.UpdateMeRequest{DisplayName: `100% Ångström_\ O'Neil`}); err != nil {
		t.Fatal(err)
	}
	find := func(query string, size int32, token string) *authv1.FindUsersResponse {
		t.Helper()
		res, err := operator.Operators.FindUsers(t.Context(), &authv1.FindUsersRequest{Query: query, PageSize: size, PageToken: token})
		if err != nil {
			t.Fatalf("%q: %v", query, err)
		}
		return res
	}
	of := func(res *authv1.FindUsersResponse) (list []string) {
		for _, u := range res.Users {
			list = append(list, u.UserId)
		}
		return list
	}
	id := func(i int) string { return people[i].User.Id }
	for query, want := range map[string][]string{
		"FINDABLE.example":               {id(4), id(3), id(2), id(1), id(0)},
		"zoë.finder2":                    {id(2)},
		"finder3@":                       {id(3)},
		"  finder3@  ":                   {id(3)},
		"ångström":                       {id(3)},
		"ÅNGSTRÖM":                       {id(3)},
		`m_\ O'`:                         {id(3)},
		"100%%":                          nil,
		"nder_":                          nil,
		"no such thing":                  nil,
		id(1):                            {id(1)},
		"usr_nobody":                     nil,
		ids.New[ids.User]().String():     nil,
		"findable.example' OR '1'='1":    nil,
		strings.ToUpper(people[0].Email): {id(0)},
		people[0].Email[:len(people[0].Email)-1] + "\u0301": nil,
	} {
		if got := of(find(query, 0, "")); !slices.Equal(got, want) {
			t.Errorf("%q finds %v, want %v", query, got, want)
		}
	}
	for _, short := range []string{"a", "ab", " ab "} {
		_, err := operator.Operators.FindUsers(t.Context(), &authv1.FindUsersRequest{Query: short})
		refused(t, short, err, connect.CodeInvalidArgument, faultv1.Reason_REASON_FIELD_INVALID)
	}
	// By pages, of all and of some.
	for query, want := range map[string]int{"": 6, "findable": 5} {
		var got []string
		for token, pages := "", 0; token != "" || pages == 0; pages++ {
			res := find(query, 2, token)
			got, token = append(got, of(res)...), res.NextPageToken
		}
		if len(got) != want || !slices.IsSortedFunc(got, func(a, b string) int { return strings.Compare(b, a) }) {
			t.Errorf("%q: %v", query, got)
		}
	}
	_, err := operator.Operators.FindUsers(t.Context(), &authv1.FindUsersRequest{Query: "findable", PageToken: find("", 2, "").NextPageToken})
	refused(t, "a token of another query", err, connect.CodeInvalidArgument, faultv1.Reason_REASON_PAGE_TOKEN_INVALID)
	if u := find(operator.User.Id, 0, "").Users[0]; !u.Operator || u.SessionCount != 1 || u.WorkspaceCount != 1 || u.CreateTime == nil || u.Email != operator.Email {
		t.Errorf("the operator: %v", u)
	}
}

// TestNoSessionSurvivesThatTheAccountIsDisabled: whatever comes first, sign-in or
// disablement.
func TestNoSessionSurvivesThatTheAccountIsDisabled(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: verifyAfter})
	operator := makeOperator(t, srv, provenPerson(t, srv))
	const rounds, signIns = 8, 6
	for range rounds {
		ann := provenPerson(t, srv)
		var all sync.WaitGroup
		var tokens sync.Map
		var began atomic.Int64
		for i := range signIns {
			all.Go(func() {
				res, err := srv.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: ann.Email, Password: testkit.Password})
				switch {
				case err == nil:
					tokens.Store(i, res.SessionToken)
					began.Add(1)
				case client.Reason(err) != faultv1.Reason_REASON_ACCOUNT_DISABLED && client.Reason(err) != faultv1.Reason_REASON_CREDENTIALS_INVALID:
					t.Errorf("sign-in: %v", err)
				}
			})
		}
		all.Go(func() {
			if _, err := operator.Operators.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: ann.User.Id, Reason: "A test"}); err != nil {
				t.Errorf("DisableUser: %v", err)
			}
		})
		all.Wait()
		tokens.Range(func(_, token any) bool {
			ended(t, "a session that began meanwhile", srv.Client("", client.WithSession(token.(string))))
			return true
		})
		var left int
		if err := srv.SQL.QueryRow(t.Context(), "SELECT count(*) FROM auth.sessions WHERE user_id = $1", uuidOf(t, ann.User.Id)).Scan(&left); err != nil || left != 0 {
			t.Errorf("%d sessions are left, %v; %d began", left, err, began.Load())
		}
	}
	srv.CheckInvariants(t)
}

// TestAnOperatorWhoIsDisabledDoesNotUndoIt lets calls of an operator about their own
// account wait while another one disables it.
func TestAnOperatorWhoIsDisabledDoesNotUndoIt(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	for _, what := range []string{"EnableUser", "SignOutUser", "ResetSecondFactors"} {
		operator := makeOperator(t, srv, srv.Register(t))
		call := operatorCalls(operator.User.Id)[what]
		err := meanwhile(t, srv, operator, endSessions, func() error { return call(t, operator.Client) })
		if client.Reason(err) != faultv1.Reason_REASON_SESSION_REQUIRED {
			t.Errorf("%s: %v", what, err)
		}
	}

	// Two who disable each other: one of them succeeds.
	ann, bob := makeOperator(t, srv, srv.Register(t)), makeOperator(t, srv, srv.Register(t))
	var all sync.WaitGroup
	var done atomic.Int64
	for _, p := range [][2]*testkit.Person{{ann, bob}, {bob, ann}} {
		all.Go(func() {
			_, err := p[0].Operators.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: p[1].User.Id, Reason: "A test"})
			switch {
			case err == nil:
				done.Add(1)
			case client.Reason(err) != faultv1.Reason_REASON_SESSION_REQUIRED:
				t.Errorf("DisableUser: %v", err)
			}
		})
	}
	all.Wait()
	if done.Load() != 1 {
		t.Errorf("%d of them succeeded", done.Load())
	}
	srv.CheckInvariants(t)
}
