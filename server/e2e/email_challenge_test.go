package e2e

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
)

const (
	emailCookie   = "__Host-manager_email"
	cookieSession = authv1.SessionTransport_SESSION_TRANSPORT_COOKIE
)

func completeEmail(t testing.TB, srv *testkit.Server, req *authv1.CompleteEmailSignInRequest) (*authv1.CompleteEmailSignInResponse, error) {
	t.Helper()
	return factorsOf(srv, "").CompleteEmailSignIn(t.Context(), req)
}

func TestACodeOrLinkThatIsMailedSignsInOnce(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	byCode, byLink := startEmail(t, srv, p.Email)
	m := mailsAbout(t, srv, p.Email, "Sign in to")[0]
	if !strings.Contains(m.Text, srv.URL+"/sign-in-by-email#token=") || !strings.Contains(m.Text, "127.0.0.1") || strings.Contains(m.Subject, byCode.Code) {
		t.Errorf("the mail %q:\n%s", m.Subject, m.Text)
	}

	// A mail scanner opens the link; nothing is used up by that.
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
		for _, at := range []string{"/sign-in-by-email", "/sign-in-by-email?token=" + byLink.Token,
			"/logicspike.auth.v1.EmailChallengeService/CompleteEmailSignIn?encoding=json&message=%7B%22token%22%3A%22" + byLink.Token + "%22%2C%22bindingToken%22%3A%22" + byLink.BindingToken + "%22%7D"} {
			req, err := http.NewRequestWithContext(t.Context(), method, srv.URL+at, nil)
			if err != nil {
				t.Fatal(err)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if body, _ := io.ReadAll(res.Body); strings.Contains(string(body), "lsms_") || res.Header.Get("Set-Cookie") != "" {
				t.Errorf("%s %s signs in", method, at)
			}
			_ = res.Body.Close()
		}
	}

	res, err := completeEmail(t, srv, byLink)
	if err != nil {
		t.Fatal(err)
	}
	if want := []authv1.AuthenticationMethod{authv1.AuthenticationMethod_AUTHENTICATION_METHOD_EMAIL}; !slices.Equal(res.Session.Methods, want) ||
		res.Session.SecondFactorPending || res.Session.UserId != p.User.Id || len(res.Requirements) != 0 {
		t.Errorf("signed in %v", res)
	}
	me := p.As(res.SessionToken)
	lives(t, "the session", me)
	_, err = completeEmail(t, srv, byLink)
	codeInvalid(t, "the link again", err)
	_, err = completeEmail(t, srv, byCode)
	codeInvalid(t, "the code of the same mail", err)

	byCode, byLink = startEmail(t, srv, strings.ToUpper(p.Email[:1])+p.Email[1:])
	if _, err = completeEmail(t, srv, byCode); err != nil {
		t.Errorf("the code: %v", err)
	}
	_, err = completeEmail(t, srv, byLink)
	codeInvalid(t, "the link of the same mail", err)
	logged(t, p, "", "user.registered", "session.created", "session.created")
	for _, secret := range []string{byCode.BindingToken, byLink.Token, res.SessionToken} {
		checkLog(t, srv, secret)
		notStored(t, srv, secret)
	}
	srv.CheckInvariants(t)
}

func TestAMailedCodeToSignInIsValidForTenMinutesAndFiveTries(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	bad := func(req *authv1.CompleteEmailSignInRequest) *authv1.CompleteEmailSignInRequest {
		return &authv1.CompleteEmailSignInRequest{EmailChallengeId: req.EmailChallengeId, Code: wrong(req.Code), BindingToken: req.BindingToken}
	}
	byCode, _ := startEmail(t, srv, p.Email)
	for range 4 {
		_, err := completeEmail(t, srv, bad(byCode))
		codeInvalid(t, "a wrong code", err)
	}
	if _, err := completeEmail(t, srv, byCode); err != nil {
		t.Errorf("the code after four wrong ones: %v", err)
	}

	byCode, byLink := startEmail(t, srv, p.Email)
	if got := atOnce(50, func(int) error { _, err := completeEmail(t, srv, bad(byCode)); return err }); got["CODE_INVALID"] != 50 {
		t.Errorf("wrong codes at once: %v", got)
	}
	if n := count(t, srv, "SELECT attempts FROM auth.email_challenges WHERE id = $1", uuidOf(t, byCode.EmailChallengeId)); n != 5 {
		t.Errorf("%d tries were evaluated", n)
	}
	_, err := completeEmail(t, srv, byCode)
	codeInvalid(t, "the code after five wrong ones", err)
	_, err = completeEmail(t, srv, byLink)
	codeInvalid(t, "the link after five wrong codes", err)

	byCode, byLink = startEmail(t, srv, p.Email)
	srv.Clock.Advance(10*time.Minute - 3*time.Second)
	_, err = completeEmail(t, srv, bad(byCode))
	codeInvalid(t, "a wrong code in time", err)
	srv.Clock.Advance(4 * time.Second)
	_, err = completeEmail(t, srv, byCode)
	codeInvalid(t, "the code after ten minutes", err)
	_, err = completeEmail(t, srv, byLink)
	codeInvalid(t, "the link after ten minutes", err)
	if err := srv.Store.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, srv, "SELECT count(*) FROM auth.email_challenges"); n != 0 {
		t.Errorf("%d challenges are left", n)
	}

	// A new one voids the one before, also once it is used itself.
	first, firstLink := startEmail(t, srv, p.Email)
	second, _ := startEmail(t, srv, p.Email)
	_, err = completeEmail(t, srv, first)
	codeInvalid(t, "a code that was replaced", err)
	_, err = completeEmail(t, srv, firstLink)
	codeInvalid(t, "a link that was replaced", err)
	_, err = completeEmail(t, srv, &authv1.CompleteEmailSignInRequest{EmailChallengeId: second.EmailChallengeId, Code: second.Code, BindingToken: first.BindingToken})
	codeInvalid(t, "the code with the binding before", err)
	if _, err := completeEmail(t, srv, second); err != nil {
		t.Errorf("the newest code: %v", err)
	}
	_, err = completeEmail(t, srv, firstLink)
	codeInvalid(t, "a link that was replaced by one that is used", err)

	// Used by many at once, it signs in once.
	byCode, byLink = startEmail(t, srv, p.Email)
	if got := atOnce(20, func(i int) error {
		_, err := completeEmail(t, srv, []*authv1.CompleteEmailSignInRequest{byCode, byLink}[i%2])
		return err
	}); got[""] != 1 || got["CODE_INVALID"] != 19 {
		t.Errorf("one code at once: %v", got)
	}
	// Asked for by many at once, one is valid.
	bindings := make([]*authv1.StartEmailSignInResponse, 8)
	before := len(mailsAbout(t, srv, p.Email, "Sign in to"))
	if got := atOnce(len(bindings), func(i int) (err error) {
		bindings[i], err = factorsOf(srv, "").StartEmailSignIn(t.Context(), &authv1.StartEmailSignInRequest{Email: p.Email})
		return err
	}); got[""] != len(bindings) {
		t.Fatalf("asked for at once: %v", got)
	}
	mailAbout(t, srv, p.Email, "Sign in to", before+len(bindings))
	valid := 0
	for _, m := range mailsAbout(t, srv, p.Email, "Sign in to")[:len(bindings)] {
		for _, b := range bindings {
			if _, err := completeEmail(t, srv, &authv1.CompleteEmailSignInRequest{EmailChallengeId: b.EmailChallengeId, Code: testkit.CodeIn(t, m), BindingToken: b.BindingToken}); err == nil {
				valid++
			}
		}
	}
	if valid > 1 {
		t.Errorf("%d codes of one address were valid", valid)
	}
}

// TestASignInByMailIsBoundToWhoAskedForIt: who reads the mail, or the screen of the one
// who asked, and is not both, cannot sign in.
func TestASignInByMailIsBoundToWhoAskedForIt(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, q := srv.Register(t), srv.Register(t)
	other, _ := startEmail(t, srv, q.Email)
	byCode, byLink := startEmail(t, srv, p.Email)
	for what, binding := range map[string]string{
		"no binding": "", "another binding": other.BindingToken, "the link's token as binding": byLink.Token, "a changed binding": byCode.BindingToken + "x",
	} {
		_, err := completeEmail(t, srv, &authv1.CompleteEmailSignInRequest{EmailChallengeId: byCode.EmailChallengeId, Code: byCode.Code, BindingToken: binding})
		codeInvalid(t, what, err)
	}
	// Each of these was a try: it says nothing about the code, and there is one left.
	if n := count(t, srv, "SELECT attempts FROM auth.email_challenges WHERE id = $1", uuidOf(t, byCode.EmailChallengeId)); n != 4 {
		t.Errorf("%d tries were counted", n)
	}
	_, err := completeEmail(t, srv, &authv1.CompleteEmailSignInRequest{Token: byLink.Token, BindingToken: other.BindingToken})
	codeInvalid(t, "the link elsewhere", err)
	_, err = completeEmail(t, srv, byLink)
	codeInvalid(t, "after five tries elsewhere", err)

	// A browser is bound by a cookie that no script can read.
	ann, eve := newBrowser(), newBrowser()
	const planted = "lsmb_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	ann.cookies[emailCookie] = planted // by somebody who had the browser before
	start := func(b *browser, email string) (*authv1.StartEmailSignInResponse, string, string) {
		t.Helper()
		before := len(mailsAbout(t, srv, email, "Sign in to"))
		ctx, info := connect.NewClientContext(t.Context())
		res, err := factorsBy(srv, "", b).StartEmailSignIn(ctx, &authv1.StartEmailSignInRequest{Email: email, SessionTransport: cookieSession})
		if err != nil {
			t.Fatal(err)
		}
		c, err := http.ParseSetCookie(info.ResponseHeader().Get("Set-Cookie"))
		if err != nil || c.Name != emailCookie || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" ||
			c.Value == "" || c.Expires.Sub(res.ExpireTime.AsTime()).Abs() > time.Second || res.BindingToken != "" {
			t.Errorf("the cookie %v, the answer %v", c, res)
		}
		m := mailAbout(t, srv, email, "Sign in to", before+1)
		return res, testkit.CodeIn(t, m), testkit.TokenIn(t, m)
	}
	complete := func(b *browser, req *authv1.CompleteEmailSignInRequest) (*authv1.CompleteEmailSignInResponse, error) {
		return factorsBy(srv, "", b).CompleteEmailSignIn(t.Context(), req)
	}
	res, code, link := start(ann, p.Email)
	bound := ann.cookies[emailCookie]
	if bound == planted {
		t.Error("a planted cookie binds the sign-in")
	}
	eve.cookies[emailCookie] = planted
	_, err = complete(eve, &authv1.CompleteEmailSignInRequest{EmailChallengeId: res.EmailChallengeId, Code: code})
	codeInvalid(t, "who planted a cookie", err)
	_, err = complete(newBrowser(), &authv1.CompleteEmailSignInRequest{Token: link})
	codeInvalid(t, "the link in another browser", err)
	_, err = complete(newBrowser(), &authv1.CompleteEmailSignInRequest{Token: link, BindingToken: bound})
	codeInvalid(t, "the cookie in the body", err)
	in, err := complete(ann, &authv1.CompleteEmailSignInRequest{Token: link})
	if err != nil || in.SessionToken != "" || in.Session.Transport != cookieSession {
		t.Fatalf("the link in the same browser: %v, %v", in, err)
	}
	if ann.cookies[emailCookie] != "" || ann.cookies["__Host-manager_session"] == "" {
		t.Errorf("the browser's cookies are %v", ann.cookies)
	}
	lives(t, "the browser's session", srv.Client("", client.WithHTTPClient(ann)))

	// A client without cookies is not bound by one.
	before := len(mailsAbout(t, srv, p.Email, "Sign in to"))
	bearer, err := factorsOf(srv, "").StartEmailSignIn(t.Context(), &authv1.StartEmailSignInRequest{Email: p.Email})
	if err != nil {
		t.Fatal(err)
	}
	code = testkit.CodeIn(t, mailAbout(t, srv, p.Email, "Sign in to", before+1))
	eve.cookies[emailCookie] = bearer.BindingToken
	_, err = complete(eve, &authv1.CompleteEmailSignInRequest{EmailChallengeId: bearer.EmailChallengeId, Code: code})
	codeInvalid(t, "the binding as a cookie", err)
	if _, err = complete(eve, &authv1.CompleteEmailSignInRequest{EmailChallengeId: bearer.EmailChallengeId, Code: code, BindingToken: bearer.BindingToken}); err != nil {
		t.Errorf("the binding in the body: %v", err)
	}
	// The session that somebody has in the browser is left alone until then: a new token
	// is set by the answer, and none is taken over.
	if ann.cookies["__Host-manager_session"] == eve.cookies["__Host-manager_session"] {
		t.Error("two browsers have one session")
	}
}

// TestWhatWasMailedToSignInIsVoidOnceTheAccountChanges goes through what ends it.
func TestWhatWasMailedToSignInIsVoidOnceTheAccountChanges(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	const password = "another horse, another staple"
	operator := makeOperator(t, srv, srv.Register(t)).Operators
	for what, change := range map[string]func(p *testkit.Person) string{
		"another address": func(p *testkit.Person) string {
			address := testkit.NewEmail()
			res, err := p.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: address})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Users.ConfirmEmailChange(t.Context(), &identityv1.ConfirmEmailChangeRequest{
				EmailChangeId: res.EmailChangeId, Code: testkit.CodeIn(t, srv.Mail(t, address, 1)),
			}); err != nil {
				t.Fatal(err)
			}
			return "CODE_INVALID"
		},
		"a password that is reset": func(p *testkit.Person) string {
			res, err := srv.Client("").Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: p.Email})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := srv.Client("").Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{
				PasswordResetId: res.PasswordResetId, Code: testkit.CodeIn(t, mailAbout(t, srv, p.Email, "Choose a new password", 1)), NewPassword: password,
			}); err != nil {
				t.Fatal(err)
			}
			return "CODE_INVALID"
		},
		"a password that is changed": func(p *testkit.Person) string {
			if _, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: password}); err != nil {
				t.Fatal(err)
			}
			return "CODE_INVALID"
		},
		"a disabled account": func(p *testkit.Person) string {
			if _, err := srv.SQL.Exec(t.Context(), "INSERT INTO auth.disablements (user_id, reason, create_time) VALUES ($1, 'test', now())", uuidOf(t, p.User.Id)); err != nil {
				t.Fatal(err)
			}
			return "ACCOUNT_DISABLED"
		},
		"an account that was disabled for a while": func(p *testkit.Person) string {
			if _, err := operator.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: p.User.Id, Reason: "test"}); err != nil {
				t.Fatal(err)
			}
			if _, err := operator.EnableUser(t.Context(), &authv1.EnableUserRequest{UserId: p.User.Id, Reason: "test"}); err != nil {
				t.Fatal(err)
			}
			return "CODE_INVALID"
		},
		"sessions that an operator ended": func(p *testkit.Person) string {
			if _, err := operator.SignOutUser(t.Context(), &authv1.SignOutUserRequest{UserId: p.User.Id, Reason: "test"}); err != nil {
				t.Fatal(err)
			}
			return "CODE_INVALID"
		},
		"an address that is no longer proven": func(p *testkit.Person) string {
			if _, err := srv.SQL.Exec(t.Context(), "UPDATE identity.emails SET verified_time = NULL WHERE user_id = $1", uuidOf(t, p.User.Id)); err != nil {
				t.Fatal(err)
			}
			return "CODE_INVALID"
		},
		"a deleted account": func(p *testkit.Person) string {
			if err := deleteSelf(t, p); err != nil {
				t.Fatal(err)
			}
			return "CODE_INVALID"
		},
	} {
		p := srv.Register(t)
		byCode, byLink := startEmail(t, srv, p.Email)
		want := change(p)
		if _, err := completeEmail(t, srv, byCode); reasonOf(err) != want {
			t.Errorf("%s: the code: %v, want %s", what, err, want)
		}
		if _, err := srv.SQL.Exec(t.Context(), "DELETE FROM auth.disablements WHERE user_id = $1", uuidOf(t, p.User.Id)); err != nil {
			t.Fatal(err)
		}
		_, err := completeEmail(t, srv, byLink)
		codeInvalid(t, what+": the link", err)
	}
}

// TestOnlyProvenAddressesOfAccountsThatCanSignInAreMailed, and all are answered alike.
func TestOnlyProvenAddressesOfAccountsThatCanSignInAreMailed(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: verifyAfter})
	proven, disabled := srv.Register(t), srv.Register(t)
	unproven := squat(t, srv, testkit.NewEmail(), testkit.Password)
	if _, err := srv.SQL.Exec(t.Context(), "INSERT INTO auth.disablements (user_id, reason, create_time) VALUES ($1, 'test', now())", uuidOf(t, disabled.User.Id)); err != nil {
		t.Fatal(err)
	}
	nobody := testkit.NewEmail()
	var answers []string
	for _, email := range []string{disabled.Email, unproven.Email, nobody, proven.Email} {
		res, err := factorsOf(srv, "").StartEmailSignIn(t.Context(), &authv1.StartEmailSignInRequest{Email: email})
		if err != nil {
			t.Fatal(err)
		}
		if len(res.BindingToken) != 48 {
			t.Errorf("the binding %q", res.BindingToken)
		}
		res.BindingToken = ""
		answers = append(answers, anonymous(res, nil))
	}
	if len(slices.Compact(answers)) != 1 {
		t.Errorf("the answers differ: %q", answers)
	}
	mailAbout(t, srv, proven.Email, "Sign in to", 1) // the last one: the others would have come before
	for _, email := range []string{disabled.Email, unproven.Email, nobody} {
		if n := len(mailsAbout(t, srv, email, "Sign in to")); n != 0 {
			t.Errorf("%d mails to %s", n, email)
		}
	}
	_, err := factorsOf(srv, "").StartEmailSignIn(t.Context(), &authv1.StartEmailSignInRequest{Email: "nobody at all"})
	refused(t, "what is no address", err, connect.CodeInvalidArgument, faultv1.Reason_REASON_FIELD_INVALID)
}

// TestOtherTokensDoNotSignInByMail tries every kind of token at every field.
func TestOtherTokensDoNotSignInByMail(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	byCode, byLink := startEmail(t, srv, p.Email)
	if _, err := srv.Client("").Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: p.Email}); err != nil {
		t.Fatal(err)
	}
	resetToken := testkit.TokenIn(t, mailAbout(t, srv, p.Email, "Choose a new password", 1))
	registration := testkit.NewEmail()
	if _, err := srv.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{Email: registration, Password: testkit.Password, WorkspaceName: "Acme"}); err != nil {
		t.Fatal(err)
	}
	registrationToken := testkit.TokenIn(t, srv.Mail(t, registration, 1))
	for what, token := range map[string]string{
		"a session's": p.Token, "a reset's": resetToken, "a registration's": registrationToken, "a binding": byCode.BindingToken,
		"a reset's with the prefix": strings.Replace(resetToken, "lsmp_", "lsmc_", 1), "nothing like one": "x",
	} {
		_, err := completeEmail(t, srv, &authv1.CompleteEmailSignInRequest{Token: token, BindingToken: byCode.BindingToken})
		codeInvalid(t, what, err)
	}
	_, err := srv.Client("").Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{Token: byLink.Token, NewPassword: "another horse, another staple"})
	codeInvalid(t, "a new password by the link to sign in", err)
	ended(t, "the link's token as a session", srv.Client("", client.WithSession(byLink.Token)))
	ended(t, "the binding as a session", srv.Client("", client.WithSession(byLink.BindingToken)))
	_, err = completeEmail(t, srv, &authv1.CompleteEmailSignInRequest{EmailChallengeId: ids.New[ids.EmailChallenge]().String(), Code: byCode.Code, BindingToken: byCode.BindingToken})
	codeInvalid(t, "a challenge of nobody", err)
	if _, err := completeEmail(t, srv, byLink); err != nil {
		t.Errorf("the link: %v", err)
	}
}

// TestASessionIsReauthenticatedByMail: only where nothing better is there.
func TestASessionIsReauthenticatedByMail(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, q := srv.Register(t), srv.Register(t)
	other := *p
	srv.SignIn(t, &other)
	start := func(p *testkit.Person) *authv1.EmailCode {
		t.Helper()
		before := len(mailsAbout(t, srv, p.Email, "Confirm that it is you"))
		res, err := factorsOf(srv, p.Token).StartEmailReauthentication(t.Context(), &authv1.StartEmailReauthenticationRequest{})
		if err != nil {
			t.Fatal(err)
		}
		m := mailAbout(t, srv, p.Email, "Confirm that it is you", before+1)
		if strings.Contains(m.Text, "#token=") {
			t.Errorf("the mail has a link:\n%s", m.Text)
		}
		return &authv1.EmailCode{EmailChallengeId: res.EmailChallengeId, Code: testkit.CodeIn(t, m)}
	}
	reauthenticate := func(token string, code *authv1.EmailCode) (*authv1.ReauthenticateResponse, error) {
		return srv.Client("", client.WithSession(token)).Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{EmailCode: code})
	}
	code := start(p)
	_, err := reauthenticate(other.Token, code)
	codeInvalid(t, "another session of the same user", err)
	_, err = reauthenticate(q.Token, code)
	codeInvalid(t, "a session of another user", err)
	_, err = completeEmail(t, srv, &authv1.CompleteEmailSignInRequest{EmailChallengeId: code.EmailChallengeId, Code: code.Code})
	codeInvalid(t, "a sign-in by a code to reauthenticate", err)
	byCode, _ := startEmail(t, srv, p.Email)
	_, err = reauthenticate(p.Token, &authv1.EmailCode{EmailChallengeId: byCode.EmailChallengeId, Code: byCode.Code})
	codeInvalid(t, "a code to sign in", err)
	_, err = reauthenticate(p.Token, &authv1.EmailCode{EmailChallengeId: code.EmailChallengeId, Code: wrong(code.Code)})
	codeInvalid(t, "a wrong code", err)

	srv.Clock.Advance(9 * time.Minute)
	var tokens [8]string
	if got := atOnce(len(tokens), func(i int) error {
		res, err := reauthenticate(p.Token, code)
		tokens[i] = res.GetSessionToken()
		return err
	}); got[""] != 1 {
		t.Fatalf("one code at once: %v", got)
	}
	p.Token = strings.Join(tokens[:], "")
	p.Client = p.As(p.Token)
	s := lives(t, "the session", p.Client).Session
	if srv.Clock.Now().Sub(s.AuthenticateTime.AsTime()) > time.Minute || s.Methods[len(s.Methods)-1] != authv1.AuthenticationMethod_AUTHENTICATION_METHOD_EMAIL {
		t.Errorf("the session %v", s)
	}
	_, err = reauthenticate(p.Token, code)
	codeInvalid(t, "the code again", err)

	replaced, present := start(p), start(p)
	_, err = reauthenticate(p.Token, replaced)
	codeInvalid(t, "a code that was replaced", err)
	for range 5 {
		_, err = reauthenticate(p.Token, &authv1.EmailCode{EmailChallengeId: present.EmailChallengeId, Code: wrong(present.Code)})
		codeInvalid(t, "a wrong code", err)
	}
	_, err = reauthenticate(p.Token, present)
	codeInvalid(t, "the code after five wrong ones", err)
	late := start(p)
	srv.Clock.Advance(10 * time.Minute)
	_, err = reauthenticate(p.Token, late)
	codeInvalid(t, "the code after ten minutes", err)

	// The address of the code is no longer the user's.
	stale := start(p)
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE identity.emails SET address = 'else@example.com', address_key = 'else@example.com' WHERE user_id = $1", uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	_, err = reauthenticate(p.Token, stale)
	codeInvalid(t, "a code mailed to another address", err)

	// Who has a second factor is to use it.
	again, err := q.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: testkit.Password})
	if err != nil {
		t.Fatal(err)
	}
	q.Token = again.SessionToken
	waiting := start(q)
	a, _ := enrol(t, srv, q)
	_, err = factorsOf(srv, q.Token).StartEmailReauthentication(t.Context(), &authv1.StartEmailReauthenticationRequest{})
	factorMissing(t, "a code for who has a second factor", err)
	_, err = reauthenticate(q.Token, waiting)
	factorMissing(t, "a code mailed before the second factor", err)
	if _, err := reauthenticateTOTP(t, srv, q.Token, a.code(t, 0)); err != nil {
		t.Errorf("the second factor: %v", err)
	}
	// Whose address is not proven has nothing that could be mailed.
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE identity.emails SET verified_time = NULL WHERE user_id = $1", uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	_, err = factorsOf(srv, p.Token).StartEmailReauthentication(t.Context(), &authv1.StartEmailReauthenticationRequest{})
	factorMissing(t, "a code for an address that is not proven", err)
}

// TestASignInByMailEnrolsAsOneByPasswordDoes by the domain of the address.
func TestASignInByMailEnrolsAsOneByPasswordDoes(t *testing.T) {
	t.Parallel()
	s, owner, _ := newEnrolment(t, testkit.Options{}, "acme.com", automatic)
	p := s.at(t, "ann@acme.com")
	if err := s.forget(t, p.Email, owner.Workspace.Id); err != nil {
		t.Fatal(err)
	}
	if got := s.belongs(t, p.Email, owner.Workspace.Id); got != "" {
		t.Fatalf("before: %q", got)
	}
	w := &world{t: t, srv: s.Server, owner: p}
	if _, err := completeEmail(t, s.Server, w.emailSignIn()); err != nil {
		t.Fatal(err)
	}
	if got := s.belongs(t, p.Email, owner.Workspace.Id); got != "member" {
		t.Errorf("after: %q", got)
	}
	s.CheckInvariants(t)
}
