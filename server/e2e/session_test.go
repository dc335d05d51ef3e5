package e2e

import (
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// ended checks that a client's session is over.
func ended(t testing.TB, what string, c *client.Client) {
	t.Helper()
	_, err := c.Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})
	refused(t, what, err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
}

// lives checks that a client's session goes on, and returns it.
func lives(t testing.TB, what string, c *client.Client) *authv1.GetSessionResponse {
	t.Helper()
	res, err := c.Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	return res
}

func signIn(t testing.TB, srv *testkit.Server, email, password string) *client.Client {
	t.Helper()
	res, err := srv.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: email, Password: password})
	if err != nil {
		t.Fatalf("SignInWithPassword: %v", err)
	}
	return srv.Client("", client.WithSession(res.SessionToken))
}

func TestASessionEndsWhenIdleAndInAnyCase(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	idle := srv.Register(t)
	srv.Clock.Advance(14*24*time.Hour - time.Minute)
	lives(t, "a session used every fortnight", idle.Client)
	srv.Clock.Advance(14 * 24 * time.Hour)
	ended(t, "a session not used for a fortnight", idle.Client)

	busy := srv.Register(t)
	for range 8 {
		srv.Clock.Advance(10 * 24 * time.Hour)
		lives(t, "a session in use", busy.Client)
	}
	srv.Clock.Advance(10*24*time.Hour + time.Minute)
	ended(t, "a session of 90 days", busy.Client)
}

func TestACookieSessionKeepsItsTokenFromScripts(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	browser := srv.Client("", client.WithHTTPClient(testkit.Cookies()))
	ctx, info := connect.NewClientContext(t.Context())
	in, err := browser.Authentication.SignInWithPassword(ctx, &authv1.SignInWithPasswordRequest{
		Email: p.Email, Password: testkit.Password, SessionTransport: authv1.SessionTransport_SESSION_TRANSPORT_COOKIE,
	})
	if err != nil || in.SessionToken != "" {
		t.Fatalf("SignInWithPassword = %v, %v", in, err)
	}
	set := info.ResponseHeader().Get("Set-Cookie")
	token := cookieToken(t, set)
	session := lives(t, "the browser's session", browser)
	if session.Session.Transport != authv1.SessionTransport_SESSION_TRANSPORT_COOKIE {
		t.Errorf("session %v", session)
	}
	ended(t, "a cookie's token in a header", srv.Client("", client.WithSession(token)))

	ctx, info = connect.NewClientContext(t.Context())
	again, err := browser.Authentication.Reauthenticate(ctx, &authv1.ReauthenticateRequest{Password: testkit.Password})
	if err != nil || again.SessionToken != "" {
		t.Fatalf("Reauthenticate = %v, %v", again, err)
	}
	if renewed := cookieToken(t, info.ResponseHeader().Get("Set-Cookie")); renewed == token {
		t.Error("reauthentication kept the token")
	}
	lives(t, "the browser's session", browser)
	if _, err := browser.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{}); err != nil {
		t.Fatal(err)
	}
	ended(t, "after signing out", browser)
}

func TestReauthenticationIsAskedForAndRenewsTheToken(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	change := func(c *client.Client) error {
		_, err := c.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: testkit.NewEmail()})
		return err
	}
	srv.Clock.Advance(9 * time.Minute)
	if err := change(p.Client); err != nil {
		t.Errorf("within ten minutes: %v", err)
	}
	srv.Clock.Advance(time.Minute)
	refused(t, "after ten minutes", change(p.Client), connect.CodeFailedPrecondition, faultv1.Reason_REASON_REAUTHENTICATION_REQUIRED)
	_, err := p.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: "something else entirely"})
	refused(t, "another password", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
	lives(t, "after a wrong password", p.Client)
	res, err := p.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: testkit.Password})
	if err != nil || res.Session.Id != p.Session.Id {
		t.Fatalf("Reauthenticate = %v, %v", res, err)
	}
	ended(t, "the old token", p.Client)
	if err := change(p.As(res.SessionToken)); err != nil {
		t.Errorf("after reauthentication: %v", err)
	}
}

func TestSessionsAreListedAndRevoked(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	var others []*client.Client
	for range 4 {
		others = append(others, signIn(t, srv, p.Email, testkit.Password))
	}
	var listed []*authv1.Session
	for token := ""; ; {
		page, err := p.Sessions.ListSessions(t.Context(), &authv1.ListSessionsRequest{PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		listed = append(listed, page.Sessions...)
		if token = page.NextPageToken; token == "" {
			break
		}
	}
	if len(listed) != 5 || !listed[4].Current || listed[0].Current || listed[0].ClientAddress != "127.0.0.1" || listed[0].UserAgent == "" {
		t.Fatalf("listed %v", listed)
	}
	if _, err := p.Sessions.RevokeSession(t.Context(), &authv1.RevokeSessionRequest{SessionId: listed[0].Id}); err != nil {
		t.Fatal(err)
	}
	ended(t, "a revoked session", others[3])
	_, err := p.Sessions.RevokeSession(t.Context(), &authv1.RevokeSessionRequest{SessionId: listed[0].Id})
	refused(t, "a session that has ended", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
	_, err = srv.Register(t).Sessions.RevokeSession(t.Context(), &authv1.RevokeSessionRequest{SessionId: listed[1].Id})
	refused(t, "somebody else's session", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
	rest, err := p.Sessions.RevokeOtherSessions(t.Context(), &authv1.RevokeOtherSessionsRequest{})
	if err != nil || rest.RevokedCount != 3 {
		t.Fatalf("RevokeOtherSessions = %v, %v", rest, err)
	}
	for _, other := range others {
		ended(t, "another session", other)
	}
	lives(t, "the caller's session", p.Client)

	idle := signIn(t, srv, p.Email, testkit.Password)
	id := lives(t, "another one", idle).Session.Id
	for range 2 {
		srv.Clock.Advance(13 * 24 * time.Hour)
		lives(t, "the caller's session", p.Client)
	}
	_, err = p.Sessions.RevokeSession(t.Context(), &authv1.RevokeSessionRequest{SessionId: id})
	refused(t, "a session that was idle too long", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
}

func TestChangingThePasswordEndsAllOtherSessions(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	other := signIn(t, srv, p.Email, testkit.Password)
	const changed = "a wholly different passphrase"
	_, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{CurrentPassword: changed, NewPassword: changed})
	refused(t, "a wrong present password", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
	res, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: changed})
	if err != nil || res.RevokedCount != 1 {
		t.Fatalf("ChangePassword = %v, %v", res, err)
	}
	ended(t, "another session", other)
	ended(t, "the old token", p.Client)
	lives(t, "the new token", p.As(res.SessionToken))
	signIn(t, srv, p.Email, changed)
	_, err = srv.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: testkit.Password})
	refused(t, "the old password", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
	srv.Mail(t, p.Email, 2)
}

func TestAResetSetsThePasswordAndEndsAllSessions(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	c := srv.Client("")
	const changed = "a wholly different passphrase"
	begin := func(mails int) (string, string) {
		res, err := c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: p.Email})
		if err != nil {
			t.Fatal(err)
		}
		return res.PasswordResetId, testkit.CodeIn(t, srv.Mail(t, p.Email, mails))
	}
	reset := func(id, code, password string) error {
		_, err := c.Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{PasswordResetId: id, Code: code, NewPassword: password})
		return err
	}
	id, code := begin(2)
	refused(t, "a common password", reset(id, code, "password1234"), connect.CodeInvalidArgument, faultv1.Reason_REASON_PASSWORD_COMMON)
	codeInvalid(t, "a wrong code", reset(id, wrong(code), changed))
	if err := reset(id, code, changed); err != nil {
		t.Fatal(err)
	}
	codeInvalid(t, "the code again", reset(id, code, changed))
	ended(t, "a session from before", p.Client)
	signIn(t, srv, p.Email, changed)
	srv.Mail(t, p.Email, 3) // that it was changed; the next one is the newest then

	id, code = begin(4)
	for range 5 {
		codeInvalid(t, "a wrong code", reset(id, wrong(code), changed))
	}
	codeInvalid(t, "the right code after five wrong ones", reset(id, code, changed))
	id, code = begin(5)
	srv.Clock.Advance(10 * time.Minute)
	codeInvalid(t, "a code after ten minutes", reset(id, code, changed))

	// Of an address without an account nothing can be told.
	res, err := c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: testkit.NewEmail()})
	if err != nil {
		t.Fatal(err)
	}
	codeInvalid(t, "a code for nobody", reset(res.PasswordResetId, "123456", changed))
}

func TestAnAddressIsChangedOnceItIsProven(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, taken := srv.Register(t), srv.Register(t)
	email := testkit.NewEmail()
	begin := func(email string) string {
		res, err := p.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: email})
		if err != nil {
			t.Fatal(err)
		}
		return res.EmailChangeId
	}
	confirm := func(p *testkit.Person, id, code string) error {
		_, err := p.Users.ConfirmEmailChange(t.Context(), &identityv1.ConfirmEmailChangeRequest{EmailChangeId: id, Code: code})
		return err
	}
	id := begin(email)
	code := srv.Code(t, email)
	codeInvalid(t, "a wrong code", confirm(p, id, wrong(code)))
	codeInvalid(t, "somebody else with the code", confirm(taken, id, code))
	if err := confirm(p, id, code); err != nil {
		t.Fatal(err)
	}
	codeInvalid(t, "the code again", confirm(p, id, code))
	srv.Mail(t, p.Email, 2) // the notice to the old address
	signIn(t, srv, email, testkit.Password)
	_, err := srv.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: testkit.Password})
	refused(t, "the old address", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)

	// An address of somebody else is asked for like any other; they are told.
	id = begin(taken.Email)
	if m := srv.Mail(t, taken.Email, 2); m.Subject == srv.Mail(t, email, 1).Subject {
		t.Errorf("the owner was mailed %q", m.Subject)
	}
	codeInvalid(t, "an address of somebody else", confirm(p, id, "123456"))
	srv.CheckInvariants(t)
}

// TestASessionThatEndedChangesNoAddress lets a confirmation wait while its session is
// ended, or gets another token: who takes the address takes the account.
func TestASessionThatEndedChangesNoAddress(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	for what, change := range map[string]string{"ended": endSessions, "has another token": voidTokens} {
		p, email := srv.Register(t), testkit.NewEmail()
		res, err := p.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: email})
		if err != nil {
			t.Fatal(err)
		}
		code := srv.Code(t, email)
		err = meanwhile(t, srv, p, change, func() error {
			_, err := p.Users.ConfirmEmailChange(t.Context(), &identityv1.ConfirmEmailChangeRequest{EmailChangeId: res.EmailChangeId, Code: code})
			return err
		})
		refused(t, "by a session that "+what, err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
		signIn(t, srv, p.Email, testkit.Password)
	}
}

// TestANewPasswordVoidsChangesOfTheAddress that a session asked for which ends with it.
func TestANewPasswordVoidsChangesOfTheAddress(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	const password = "another horse, another staple"
	for what, change := range map[string]func(p *testkit.Person){
		"changed": func(p *testkit.Person) {
			if _, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: password}); err != nil {
				t.Fatal(err)
			}
		},
		"reset": func(p *testkit.Person) {
			res, err := p.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: p.Email})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{
				PasswordResetId: res.PasswordResetId, Code: testkit.CodeIn(t, mailAbout(t, srv, p.Email, "Choose a new password", 1)), NewPassword: password,
			}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		p, email := srv.Register(t), testkit.NewEmail()
		res, err := p.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: email})
		if err != nil {
			t.Fatal(err)
		}
		code := srv.Code(t, email)
		srv.SignIn(t, p)
		change(p)
		_, err = signIn(t, srv, p.Email, password).Users.ConfirmEmailChange(t.Context(), &identityv1.ConfirmEmailChangeRequest{EmailChangeId: res.EmailChangeId, Code: code})
		codeInvalid(t, "after the password was "+what, err)
	}
}

func TestAUserWithoutAWorkspaceIsToldAndCanMakeOne(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	preview, err := p.Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: preview.Etag}); err != nil {
		t.Fatal(err)
	}
	if res := lives(t, "the owner's session", p.Client); len(res.Requirements) != 1 || res.Requirements[0] != authv1.AccountRequirement_ACCOUNT_REQUIREMENT_WORKSPACE_REQUIRED {
		t.Fatalf("requirements %v", res.Requirements)
	}
	if _, err := p.Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Again"}); err != nil {
		t.Fatal(err)
	}
	if res := lives(t, "the owner's session", p.Client); len(res.Requirements) != 0 {
		t.Fatalf("requirements %v", res.Requirements)
	}
	srv.Clock.Advance(14 * 24 * time.Hour)
	if _, err := srv.Store.PurgeDue(t.Context()); err != nil {
		t.Fatal(err)
	}
	srv.CheckPurged(t, p.Workspace.Id)
	signIn(t, srv, p.Email, testkit.Password)
}

// TestAHashIsMadeAnewWhenItsParametersChange also has several sign-ins do so at
// once.
func TestAHashIsMadeAnewWhenItsParametersChange(t *testing.T) {
	t.Parallel()
	before := testkit.New(t, testkit.Options{})
	p := before.Register(t)
	hash := func() (hash string) {
		if err := before.SQL.QueryRow(t.Context(), "SELECT password_hash FROM auth.credentials").Scan(&hash); err != nil {
			t.Fatal(err)
		}
		return hash
	}
	old := hash()
	after := testkit.New(t, testkit.Options{URL: before.Database, Key: before.Key, Settings: func(s *config.Settings) { s.Argon2Memory = 128 }})
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			if _, err := after.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{
				Email: p.Email, Password: testkit.Password,
			}); err != nil {
				t.Errorf("SignInWithPassword: %v", err)
			}
		})
	}
	group.Wait()
	renewed := hash()
	if renewed == old || !strings.Contains(renewed, "m=128,") {
		t.Errorf("the hash is %s, before %s", renewed, old)
	}
	signIn(t, after, p.Email, testkit.Password)
	if hash() != renewed {
		t.Error("a hash with the present parameters was made anew")
	}
}
