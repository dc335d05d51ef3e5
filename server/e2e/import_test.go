package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// importUsers imports by messages that hold so many users as they may.
func importUsers(t testing.TB, c *client.Client, users []*authv1.ImportedUser) (*authv1.ImportUsersResponse, error) {
	t.Helper()
	stream, err := c.Operators.ImportUsers(t.Context())
	if err != nil {
		return nil, err
	}
	for len(users) > 0 {
		n := min(25, len(users))
		if stream.Send(&authv1.ImportUsersRequest{Users: users[:n]}) != nil {
			break // CloseAndReceive tells why
		}
		users = users[n:]
	}
	return stream.CloseAndReceive()
}

// importedHashes are hashes of other products for a password.
var importedHashes = map[string]struct{ password, hash string }{
	"argon2id":       {"password", "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"},
	"argon2i":        {"password", "$argon2i$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$wWKIMhR9lyDFvRz9YTZweHKfbftvj+qf+YFY4NeBbtA"},
	"bcrypt 2a":      {"U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
	"bcrypt 2b":      {"U*U", "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
	"bcrypt 2y":      {"U*U", "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},
	"scrypt":         {"password", "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E"},
	"Firebase":       {"user1password", "$firebase-scrypt$ln=14,r=8,sk=jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH0uiiTvC8pVMXAn210wjLNmdZJzxUECKbm0QsEmYUSDzZvpjeJ9WmXA==,ss=Bw==$42xEC+ixf3L2lw==$lSrfV15cpx95/sZS2W9c9Kp6i/LVgQNDNC/qzrCnh1SAyZvqmZqAjTdn3aoItz+VHjoZilo78198JAdRuid5lQ=="},
	"PBKDF2-SHA-1":   {"password", "$pbkdf2-sha1$i=4096$c2FsdA$SwB5AbdlSJq+rUnZJvch0GWkKcE"},
	"PBKDF2-SHA-256": {"password", "$pbkdf2-sha256$i=4096$c2FsdA$xeR41ZKIyEGqUw22hFxMjZYok6ABzk4RpJY4c6qYE0o"},
	"passlib":        {"password", "$pbkdf2-sha256$6400$.6UI/S.nXIk8jcbdHx3Fhg$98jZicV16ODfEsEZeYPGHU3kbrUrvUEXOPimVSQDD44"},
	"PBKDF2-SHA-512": {"password", "$pbkdf2-sha512$i=4096$c2FsdA$0Zexsz2wFD4BixLz0dFHnmzevcyXxcD4f2kC4HL0V7UUPzBgJkGz1VzTNZiMs2uEN2Bg7NUy4Dm3QqI5Q0ry1Q"},
}

// TestImportedPasswordsSignIn and are then hashed as those of this server.
func TestImportedPasswordsSignIn(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: verifyAfter})
	operator := makeOperator(t, srv, provenPerson(t, srv))
	var users []*authv1.ImportedUser
	emails := map[string]string{}
	for name, h := range importedHashes {
		emails[name] = testkit.NewEmail()
		users = append(users, &authv1.ImportedUser{Email: emails[name], EmailVerified: true, PasswordHash: h.hash})
	}
	res, err := importUsers(t, operator.Client, users)
	if err != nil || int(res.CreatedCount) != len(users) || res.FailedCount != 0 {
		t.Fatalf("%v, %v", res, err)
	}
	for name, h := range importedHashes {
		t.Run(name, func(t *testing.T) {
			stored := func() (hash string) {
				t.Helper()
				if err := srv.SQL.QueryRow(t.Context(), "SELECT c.password_hash FROM auth.credentials c JOIN identity.emails e USING (user_id) WHERE e.address = $1", emails[name]).Scan(&hash); err != nil {
					t.Fatal(err)
				}
				return hash
			}
			in := srv.Client("").Authentication
			for _, wrong := range []string{h.password + "x", strings.ToUpper(h.password) + "y", "nobody's password"} {
				_, err := in.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: emails[name], Password: wrong})
				refused(t, wrong, err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
			}
			if stored() != h.hash {
				t.Error("a wrong password changed the hash")
			}
			for range 2 {
				res, err := in.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: emails[name], Password: h.password})
				if err != nil || len(res.Requirements) != 0 {
					t.Fatalf("%v, %v", res, err)
				}
				if !strings.HasPrefix(stored(), "$argon2id$v=19$m=64,t=1,p=1$") {
					t.Fatalf("it is not hashed anew: %s", stored())
				}
			}
			_, err := in.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: emails[name], Password: h.password + "x"})
			refused(t, "a wrong one, then", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
		})
	}
	srv.CheckInvariants(t)
	checkLog(t, srv, "jxspr8Ki0RYycVU8zykbdLGjFQ3McFUH", "CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8")
}

// TestAnImportTellsWhichAccountsItCouldNotCreate, and leaves none of them half.
func TestAnImportTellsWhichAccountsItCouldNotCreate(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: verifyAfter})
	operator := makeOperator(t, srv, provenPerson(t, srv))
	known := newPerson(t, srv)
	good := testkit.NewEmail()
	users := []*authv1.ImportedUser{
		{Email: good, DisplayName: "Ann", WorkspaceName: "Ann's"}, // 0
		{Email: strings.ToUpper(good)},                            // 1: the same
		{Email: known.Email},                                      // 2
		{Email: "no address"},                                     // 3
		{Email: ""},                                               // 4
		{Email: testkit.NewEmail(), DisplayName: strings.Repeat("x", 101)},                                                                   // 5
		{Email: testkit.NewEmail(), WorkspaceName: strings.Repeat("ä", 101)},                                                                 // 6
		{Email: testkit.NewEmail(), PasswordHash: "5f4dcc3b5aa765d61d8327deb882cf99"},                                                        // 7
		{Email: testkit.NewEmail(), PasswordHash: "$2b$20$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"},                            // 8
		{Email: testkit.NewEmail(), PasswordHash: "$argon2id$v=19$m=300000,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"}, // 9
		{Email: testkit.NewEmail(), DisplayName: strings.Repeat("ä", 100), WorkspaceName: strings.Repeat("ö", 100)},                          // 10
	}
	for len(users) < 30 {
		users = append(users, &authv1.ImportedUser{Email: testkit.NewEmail()})
	}
	users = append(users, &authv1.ImportedUser{Email: good}) // 30: in the second message
	res, err := importUsers(t, operator.Client, users)
	if err != nil {
		t.Fatal(err)
	}
	want := map[int32]string{
		1: "EMAIL_TAKEN", 2: "EMAIL_TAKEN", 3: "FIELD_INVALID", 4: "FIELD_INVALID", 5: "FIELD_INVALID", 6: "FIELD_INVALID",
		7: "PASSWORD_HASH_UNSUPPORTED", 8: "PASSWORD_HASH_UNSUPPORTED", 9: "PASSWORD_HASH_UNSUPPORTED", 30: "EMAIL_TAKEN",
	}
	if int(res.CreatedCount) != len(users)-len(want) || int(res.FailedCount) != len(want) || len(res.Failures) != len(want) {
		t.Errorf("%v", res)
	}
	for _, f := range res.Failures {
		if want[f.Index] != f.Reason || f.Message == "" {
			t.Errorf("%v, want %s", f, want[f.Index])
		}
	}
	var count int
	if err := srv.SQL.QueryRow(t.Context(), "SELECT count(*) FROM identity.users").Scan(&count); err != nil || count != 2+len(users)-len(want) {
		t.Errorf("%d users, %v", count, err)
	}
	// Nobody is mailed.
	if mails, err := readQueue(t.Context(), srv, good, 1000); err != nil || len(mails) != 0 {
		t.Errorf("%v, %v", mails, err)
	}
	// Imported again, all are there.
	again, err := importUsers(t, operator.Client, users[10:30])
	if err != nil || again.CreatedCount != 0 || again.FailedCount != 20 {
		t.Errorf("%v, %v", again, err)
	}
	srv.CheckInvariants(t)
	checkLog(t, srv, testkit.Password)
}

// TestAnImportedAccountIsWhole: it has what a registered one has, and its owner gets
// in by a reset where there is no hash.
func TestAnImportedAccountIsWhole(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	operator := makeOperator(t, srv, srv.Register(t))
	email := testkit.NewEmail()
	if _, err := importUsers(t, operator.Client, []*authv1.ImportedUser{{Email: email, EmailVerified: true, DisplayName: "Ann", WorkspaceName: "Ann's"}}); err != nil {
		t.Fatal(err)
	}
	_, err := srv.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: email, Password: testkit.Password})
	refused(t, "no password", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
	reset, err := srv.Client("").Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: email})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Client("").Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{
		PasswordResetId: reset.PasswordResetId, Code: testkit.CodeIn(t, srv.Mail(t, email, 1)), NewPassword: testkit.Password,
	}); err != nil {
		t.Fatal(err)
	}
	ann := signIn(t, srv, email, testkit.Password)
	me, err := ann.Users.GetMe(t.Context(), &identityv1.GetMeRequest{})
	if err != nil || me.User.DisplayName != "Ann" || !me.User.EmailVerified {
		t.Fatalf("%v, %v", me, err)
	}
	workspaces, err := ann.Workspaces.ListWorkspaces(t.Context(), &tenantv1.ListWorkspacesRequest{})
	if err != nil || len(workspaces.Workspaces) != 1 || workspaces.Workspaces[0].Workspace.Name != "Ann's" {
		t.Fatalf("%v, %v", workspaces, err)
	}
	if events := eventsOf(t, &testkit.Person{Client: ann}, "user.imported"); len(events) != 1 || events[0].ActorUserId != operator.User.Id {
		t.Errorf("%v", events)
	}
	if _, err := ann.Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: workspaces.Workspaces[0].Workspace.Id}); err != nil {
		t.Errorf("not its owner: %v", err)
	}
	srv.CheckInvariants(t)
}

// TestAFullMessageFits into a request, in each of the encodings and protocols.
func TestAFullMessageFits(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: verifyAfter})
	operator := makeOperator(t, srv, provenPerson(t, srv))
	for name, o := range map[string][]client.Option{
		"connect": nil,
		"json":    {client.WithConnect(connect.WithProtoJSON())},
		"grpc":    {client.WithGRPC()},
		"gzip":    {client.WithConnect(connect.WithSendGzip())},
		"web":     {client.WithConnect(connect.WithGRPCWeb())},
	} {
		t.Run(name, func(t *testing.T) {
			var users []*authv1.ImportedUser
			for i := range 25 {
				users = append(users, &authv1.ImportedUser{
					Email:       fmt.Sprintf("%s%d%s@%s.example.com", name, i, strings.Repeat("x", 50), strings.Repeat("y.", 80)+"z"),
					DisplayName: strings.Repeat("👩", 100), WorkspaceName: strings.Repeat("👩", 100), PasswordHash: strings.Repeat("x", 512),
				})
			}
			c := srv.Client("", append(o, client.WithSession(operator.Token))...)
			res, err := importUsers(t, c, users)
			if err != nil || res.FailedCount != 25 || res.Failures[24].Reason != "PASSWORD_HASH_UNSUPPORTED" {
				t.Fatalf("%v, %v", res, err)
			}
			for _, u := range users {
				u.PasswordHash = ""
			}
			if res, err = importUsers(t, c, users); err != nil || res.CreatedCount != 25 {
				t.Fatalf("%v, %v", res, err)
			}
		})
	}
	srv.CheckInvariants(t)
}

// TestAStreamKeepsTheRulesOfRequests: each message of it.
func TestAStreamKeepsTheRulesOfRequests(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: verifyAfter})
	operator := makeOperator(t, srv, provenPerson(t, srv))
	path := "/logicspike.auth.v1.OperatorService/ImportUsers"
	message := func(users ...*authv1.ImportedUser) []byte {
		data, err := protojson.Marshal(&authv1.ImportUsersRequest{Users: users})
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	many := make([]*authv1.ImportedUser, 26)
	for i := range many {
		many[i] = &authv1.ImportedUser{Email: testkit.NewEmail()}
	}
	for name, test := range map[string]struct {
		second []byte
		want   string
	}{
		"no users":            {[]byte("{}"), "invalid_argument FIELD_INVALID"},
		"too many":            {message(many...), "invalid_argument FIELD_INVALID"},
		"a control character": {message(&authv1.ImportedUser{Email: testkit.NewEmail(), DisplayName: "a\x00"}), "invalid_argument FIELD_INVALID"},
		"far too long":        {message(&authv1.ImportedUser{Email: strings.Repeat("x", 500)}), "invalid_argument FIELD_INVALID"},
		"no JSON":             {[]byte("{"), "invalid_argument FIELD_INVALID"},
		"too large":           {[]byte(`{"x":"` + strings.Repeat("x", 70000) + `"}`), "resource_exhausted REQUEST_TOO_LARGE"},
	} {
		first := testkit.NewEmail()
		a := postStream(t, srv, path, operator.Token, "application/connect+json", message(&authv1.ImportedUser{Email: first}), test.second)
		if got := a.outcome(); got != test.want {
			t.Errorf("%s: %s, want %s: %s", name, got, test.want, a.body)
		}
		var there bool
		if err := srv.SQL.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM identity.emails WHERE address = $1)", first).Scan(&there); err != nil || !there {
			t.Errorf("%s: what came before is gone: %v", name, err)
		}
	}
	// What is no stream.
	if a := post(t, srv, path, operator.Token, "application/json", []byte("{}")); a.status != 415 {
		t.Errorf("%d %s", a.status, a.body)
	}
	// A stream that breaks off is no whole one.
	whole := message(&authv1.ImportedUser{Email: testkit.NewEmail()})
	a := post(t, srv, path, operator.Token, "application/connect+json", append([]byte{0, 0, 0, 0, byte(len(whole) + 1)}, whole...))
	if !strings.Contains(string(a.body), "invalid_argument") {
		t.Errorf("%d %s", a.status, a.body)
	}
	// Compression that nobody knows.
	a = post(t, srv, path, operator.Token, "application/connect+proto", nil)
	_ = a
	checkLog(t, srv, testkit.Password)
	for _, line := range strings.Split(strings.TrimSpace(srv.Log.String()), "\n") {
		if strings.Contains(line, "ImportUsers") && strings.Contains(line, "@example.com") {
			t.Errorf("the log tells an address: %s", line)
		}
	}
}

// TestAStreamEndsWithItsSession: also when that ends, or its user is no operator any
// more, between two messages.
func TestAStreamEndsWithItsSession(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: verifyAfter})
	for name, end := range map[string]struct {
		do     func(*testkit.Person) error
		code   connect.Code
		reason faultv1.Reason
	}{
		"sign-out": {func(p *testkit.Person) error {
			_, err := p.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{})
			return err
		}, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED},
		"removal": {func(p *testkit.Person) error {
			_, err := srv.Store.RemoveOperator(t.Context(), userID(t, p))
			return err
		}, connect.CodePermissionDenied, faultv1.Reason_REASON_OPERATOR_REQUIRED},
	} {
		t.Run(name, func(t *testing.T) {
			operator := makeOperator(t, srv, provenPerson(t, srv))
			stream, err := operator.Operators.ImportUsers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			first, second := testkit.NewEmail(), testkit.NewEmail()
			if err := stream.Send(&authv1.ImportUsersRequest{Users: []*authv1.ImportedUser{{Email: first}}}); err != nil {
				t.Fatal(err)
			}
			there := func(email string) (is bool) {
				if err := srv.SQL.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM identity.emails WHERE address = $1)", email).Scan(&is); err != nil {
					t.Fatal(err)
				}
				return is
			}
			testkit.Eventually(t, "the first account", func() bool { return there(first) })
			if err := end.do(operator); err != nil {
				t.Fatal(err)
			}
			_ = stream.Send(&authv1.ImportUsersRequest{Users: []*authv1.ImportedUser{{Email: second}}})
			_, err = stream.CloseAndReceive()
			refused(t, "the second message", err, end.code, end.reason)
			if there(second) {
				t.Error("the second account was created")
			}
		})
	}
	srv.CheckInvariants(t)
}

// importing begins a stream of accounts, the first of which is created.
func importing(ctx context.Context, t testing.TB, srv *testkit.Server, c *client.Client) *connect.ClientStreamForClientSimple[authv1.ImportUsersRequest, authv1.ImportUsersResponse] {
	t.Helper()
	stream, err := c.Operators.ImportUsers(ctx)
	if err != nil {
		t.Fatal(err)
	}
	email := testkit.NewEmail()
	if err := stream.Send(&authv1.ImportUsersRequest{Users: []*authv1.ImportedUser{{Email: email}}}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the account", func() (is bool) {
		_ = srv.SQL.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM identity.emails WHERE address = $1)", email).Scan(&is)
		return is
	})
	return stream
}

// TestAStreamThatIsGivenUpStops, and what was created stays.
func TestAStreamThatIsGivenUpStops(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: verifyAfter})
	operator := makeOperator(t, srv, provenPerson(t, srv))
	for name, o := range map[string][]client.Option{"HTTP/1.1": nil, "HTTP/2": {client.WithGRPC()}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			importing(ctx, t, srv, srv.Client("", append(o, client.WithSession(operator.Token))...))
			before := strings.Count(srv.Log.String(), "OperatorService/ImportUsers code=")
			cancel()
			testkit.Eventually(t, "the end of the call", func() bool {
				return strings.Count(srv.Log.String(), "OperatorService/ImportUsers code=") > before
			})
		})
	}
	if n := strings.Count(srv.Log.String(), "OperatorService/ImportUsers code=ok"); n != 0 {
		t.Errorf("%d streams that were given up ended well", n)
	}
	srv.CheckInvariants(t)
	checkLog(t, srv, testkit.Password)
}

// TestAStreamEndsWhenTheServerStops, at once: it would last longer than a server may
// take to end.
func TestAStreamEndsWhenTheServerStops(t *testing.T) {
	t.Parallel()
	for name, o := range map[string][]client.Option{"HTTP/1.1": nil, "HTTP/2": {client.WithGRPC()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: verifyAfter})
			operator := makeOperator(t, srv, provenPerson(t, srv))
			stream := importing(t.Context(), t, srv, srv.Client("", append(o, client.WithSession(operator.Token))...))
			srv.Server.Drain()
			testkit.Eventually(t, "the end of the call", func() bool {
				return strings.Contains(srv.Log.String(), "OperatorService/ImportUsers code=unavailable")
			})
			_, err := stream.CloseAndReceive()
			refused(t, "a stream", err, connect.CodeUnavailable, faultv1.Reason_REASON_UNAVAILABLE)
		})
	}
}
