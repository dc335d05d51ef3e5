package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
)

// gadget is a browser or a program, somewhere. It keeps cookies; as a program it also
// sends its token, and keeps the one that it is given.
type gadget struct {
	*browser
	srv     *testkit.Server
	address string // "" for loopback
	agent   string
	token   string // of the device
	given   string // the token in the last answer
	program bool
}

func newGadget(srv *testkit.Server, address string) *gadget {
	return &gadget{browser: newBrowser(), srv: srv, address: address}
}

// Do sends a request.
func (g *gadget) Do(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	if g.address != "" {
		r.Header.Set("X-Forwarded-For", g.address)
	}
	if g.agent != "" {
		r.Header.Set("User-Agent", g.agent)
	}
	if g.token != "" {
		r.Header.Set("Device-Token", g.token)
	}
	res, err := g.browser.Do(r)
	if err != nil {
		return nil, err
	}
	if g.given = res.Header.Get("Device-Token"); g.program && g.given != "" {
		g.token = g.given
	}
	return res, nil
}

func (g *gadget) client() *client.Client { return g.srv.Client("", client.WithHTTPClient(g)) }

// signIn signs in by password: a program with a token in the answer, a browser by cookie.
func (g *gadget) signIn(t testing.TB, email, password string) (*authv1.SignInWithPasswordResponse, error) {
	t.Helper()
	req := &authv1.SignInWithPasswordRequest{Email: email, Password: password, SessionTransport: authv1.SessionTransport_SESSION_TRANSPORT_COOKIE}
	if g.program {
		req.SessionTransport = authv1.SessionTransport_SESSION_TRANSPORT_BEARER
	}
	return g.client().Authentication.SignInWithPassword(t.Context(), req)
}

// in is signIn with everybody's password, which must not fail.
func (g *gadget) in(t testing.TB, p *testkit.Person) {
	t.Helper()
	if _, err := g.signIn(t, p.Email, testkit.Password); err != nil {
		t.Fatalf("SignInWithPassword: %v", err)
	}
}

func (g *gadget) device() string { return g.cookies["__Host-manager_device"] }

// devicesOf returns how many devices a person is known on.
func devicesOf(t testing.TB, srv *testkit.Server, p *testkit.Person) int {
	t.Helper()
	id, err := ids.Parse[ids.User](p.User.Id)
	if err != nil {
		t.Fatal(err)
	}
	return count(t, srv, "SELECT count(*) FROM auth.devices WHERE user_id = $1", id.UUID())
}

func TestASignInFromANewDeviceIsToldByMail(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	alerts := func(want int) {
		t.Helper()
		testkit.Eventually(t, "all mails to be sent", func() bool {
			return count(t, srv, "SELECT count(*) FROM river.river_job WHERE kind = 'mail' AND state <> 'completed'") == 0
		})
		if got := len(srv.Alerts(t, p.Email)); got != want {
			t.Errorf("%d alerts, want %d", got, want)
		}
	}
	alerts(0) // the registration is no news
	if n := devicesOf(t, srv, p); n != 1 {
		t.Errorf("after the registration %d devices", n)
	}

	home := newGadget(srv, "203.0.113.7")
	home.agent = "Mozilla/5.0 (at home)"
	home.in(t, p)
	alerts(1)
	told := srv.Alerts(t, p.Email)[0].Text
	for _, want := range []string{"203.0.113.7", "(at home)"} {
		if !strings.Contains(told, want) {
			t.Errorf("the mail does not tell %q:\n%s", want, told)
		}
	}
	token := home.device()
	if !strings.HasPrefix(token, "lsmd_") || home.given != "" || strings.Contains(told, token) {
		t.Errorf("cookie %q, header %q", token, home.given)
	}
	for range 3 {
		home.in(t, p)
	}
	home.address = "198.51.100.9" // it travels
	home.in(t, p)
	if home.device() != token {
		t.Error("a known browser was given another token")
	}
	if _, err := home.client().Authentication.SignOut(t.Context(), &authv1.SignOutRequest{}); err != nil {
		t.Fatal(err)
	}
	if home.cookies["__Host-manager_session"] != "" || home.device() != token {
		t.Errorf("after signing out: %v", home.cookies)
	}
	home.in(t, p)
	alerts(1)

	// A program, by a header.
	cron := newGadget(srv, "203.0.113.8")
	cron.program = true
	cron.in(t, p)
	alerts(2)
	if !strings.HasPrefix(cron.given, "lsmd_") || len(cron.cookies) != 0 {
		t.Errorf("header %q, cookies %v", cron.given, cron.cookies)
	}
	cron.in(t, p)
	if cron.given != "" {
		t.Error("a known program was given another token")
	}
	alerts(2)

	// One that keeps no token is new each time; that is told a few times a day.
	for range 8 {
		forgetful := newGadget(srv, "")
		forgetful.in(t, p)
	}
	alerts(5 - 1) // the registration's is one of the five
	srv.Clock.Advance(25 * time.Hour)
	newGadget(srv, "").in(t, p)
	alerts(5)
	srv.CheckInvariants(t)
}

func TestTheCookieOfADevice(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: after})
	p := newPerson(t, srv)
	body := fmt.Appendf(nil, `{"email":%q,"password":%q,"sessionTransport":"SESSION_TRANSPORT_COOKIE"}`, p.Email, testkit.Password)
	r, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/logicspike.auth.v1.AuthenticationService/SignInWithPassword", strings.NewReader(string(body)))
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	cookies := res.Header["Set-Cookie"]
	if len(cookies) != 2 {
		t.Fatalf("Set-Cookie: %q", cookies)
	}
	cookieToken(t, cookies[0])
	c, err := http.ParseSetCookie(cookies[1])
	if err != nil || c.Name != "__Host-manager_device" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" ||
		c.MaxAge != 365*24*60*60 || len(c.Value) != len("lsmd_")+43 {
		t.Errorf("Set-Cookie: %q (%v)", cookies[1], err)
	}
	if n := count(t, srv, "SELECT count(*) FROM auth.devices WHERE encode(token_hash, 'escape') LIKE '%lsmd_%' OR token_hash = convert_to($1, 'UTF8')", c.Value); n != 0 {
		t.Error("the database holds a token")
	}
}

// TestATokenOfADeviceIsNoSession, nor the other way round, nor any other token.
func TestATokenOfADeviceIsNoSession(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: after})
	p := newPerson(t, srv)
	g := newGadget(srv, "")
	g.program = true
	g.in(t, p)
	device := g.token
	for what, by := range map[string]*client.Client{
		"as a session":         srv.Client("", client.WithSession(device)),
		"with its prefix":      srv.Client("", client.WithSession("lsms_"+strings.TrimPrefix(device, "lsmd_"))),
		"as an API key":        srv.Client("", client.WithSession("lsmk_"+strings.TrimPrefix(device, "lsmd_"))),
		"by its header, alone": srv.Client("", client.WithHTTPClient(g)),
	} {
		if _, err := by.Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{}); reasonOf(err) != "SESSION_REQUIRED" {
			t.Errorf("%s: %v", what, err)
		}
	}
	as := newGadget(srv, "")
	as.cookies["__Host-manager_session"] = device
	if _, err := as.client().Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{}); reasonOf(err) != "SESSION_REQUIRED" {
		t.Errorf("as a session's cookie: %v", err)
	}
	// What is no device's token, or nobody's, is not taken: another one is given.
	made := "lsmd_" + strings.Repeat("A", 43)
	for _, token := range []string{p.Token, made, "lsmd_short", strings.ToUpper(device), device + "x"} {
		before := devicesOf(t, srv, p)
		other := newGadget(srv, "")
		other.program, other.token = true, token
		other.in(t, p)
		if other.token == token || other.token == device || devicesOf(t, srv, p) != before+1 {
			t.Errorf("taken for a device: %q", token)
		}
	}
}

func TestOneBrowserIsKnownForSeveralAccounts(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	ann, bob := srv.Register(t), srv.Register(t)
	shared := newGadget(srv, "")
	shared.in(t, ann)
	token := shared.device()
	shared.in(t, bob)
	if shared.device() != token {
		t.Error("the second account has another token")
	}
	for _, p := range []*testkit.Person{ann, bob} {
		testkit.Eventually(t, "an alert", func() bool { return len(srv.Alerts(t, p.Email)) == 1 })
		if n := devicesOf(t, srv, p); n != 2 {
			t.Errorf("%d devices", n)
		}
	}
	// An account that is deleted takes its own row along.
	if err := deleteSelf(t, ann); err != nil {
		t.Fatal(err)
	}
	if devicesOf(t, srv, ann) != 0 || devicesOf(t, srv, bob) != 2 {
		t.Errorf("%d and %d devices", devicesOf(t, srv, ann), devicesOf(t, srv, bob))
	}
}

// TestDevicesAreForgotten when somebody else may have known the password; but for the
// device that calls.
func TestDevicesAreForgotten(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	for what, test := range map[string]struct {
		do   func(t *testing.T, srv *testkit.Server, p *testkit.Person, mine *gadget)
		left int
	}{
		"when the password is changed": {func(t *testing.T, _ *testkit.Server, _ *testkit.Person, mine *gadget) {
			if _, err := mine.client().Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{
				CurrentPassword: testkit.Password, NewPassword: "another horse, another staple",
			}); err != nil {
				t.Fatal(err)
			}
		}, 1},
		"when it is reset": {func(t *testing.T, srv *testkit.Server, p *testkit.Person, mine *gadget) {
			resetPassword(t, srv, mine.client(), p)
		}, 1},
		"when it is reset from elsewhere": {func(t *testing.T, srv *testkit.Server, p *testkit.Person, _ *gadget) {
			resetPassword(t, srv, srv.Client(""), p)
		}, 0},
		"when an operator disables the account": {func(t *testing.T, srv *testkit.Server, p *testkit.Person, _ *gadget) {
			if _, err := makeOperator(t, srv, srv.Register(t)).Operators.DisableUser(t.Context(), &authv1.DisableUserRequest{UserId: p.User.Id, Reason: "stolen"}); err != nil {
				t.Fatal(err)
			}
		}, 0},
		"not when other sessions are revoked": {func(t *testing.T, _ *testkit.Server, _ *testkit.Person, mine *gadget) {
			if _, err := mine.client().Sessions.RevokeOtherSessions(t.Context(), &authv1.RevokeOtherSessionsRequest{}); err != nil {
				t.Fatal(err)
			}
		}, 3},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := srv.Register(t)
			mine, thief := newGadget(srv, ""), newGadget(srv, "203.0.113.7")
			mine.in(t, p)
			thief.in(t, p)
			test.do(t, srv, p, mine)
			if n := devicesOf(t, srv, p); n != test.left {
				t.Errorf("%d devices are left, want %d", n, test.left)
			}
		})
	}
}

// TestAForgottenDeviceGetsAnotherToken, so that a copy of the old one is worth nothing.
func TestAForgottenDeviceGetsAnotherToken(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	mine := newGadget(srv, "")
	mine.in(t, p)
	stolen := mine.device()
	resetPassword(t, srv, srv.Client(""), p)
	if _, err := mine.signIn(t, p.Email, "another horse, another staple"); err != nil {
		t.Fatal(err)
	}
	if mine.device() == stolen || mine.device() == "" {
		t.Error("the browser keeps the forgotten token")
	}
}

func TestADeviceThatIsNotUsedForAYearIsForgotten(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: after})
	p := newPerson(t, srv)
	g := newGadget(srv, "")
	g.in(t, p)
	token := g.device()
	srv.Clock.Advance(364 * 24 * time.Hour)
	g.in(t, p)
	if g.device() != token {
		t.Error("a device was forgotten within the year")
	}
	srv.Clock.Advance(366 * 24 * time.Hour)
	if err := srv.Store.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := devicesOf(t, srv, p); n != 0 {
		t.Errorf("%d devices after a year", n)
	}
	g.in(t, p)
	if g.device() == token {
		t.Error("a device is known after a year")
	}
}

// TestADeviceIsKnownOnceTheSecondFactorIsProven, not by the password alone.
func TestADeviceIsKnownOnceTheSecondFactorIsProven(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	a, _ := enrol(t, srv, p)
	before := devicesOf(t, srv, p)
	g := newGadget(srv, "203.0.113.7")
	g.in(t, p)
	if g.device() != "" || devicesOf(t, srv, p) != before {
		t.Error("the password alone makes a device known")
	}
	_, err := factorsBy(srv, "", g).VerifySecondFactor(t.Context(), &authv1.VerifySecondFactorRequest{Proof: &authv1.VerifySecondFactorRequest_TotpCode{TotpCode: a.code(t, 0)}})
	if err != nil {
		t.Fatal(err)
	}
	if g.device() == "" || devicesOf(t, srv, p) != before+1 {
		t.Error("both factors do not make a device known")
	}
	testkit.Eventually(t, "an alert", func() bool { return len(srv.Alerts(t, p.Email)) == 1 })
}

// TestAnImpersonationIsNoDeviceOfTheUser, nor told as one.
func TestAnImpersonationIsNoDeviceOfTheUser(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	operator, p := makeOperator(t, srv, srv.Register(t)), srv.Register(t)
	before := devicesOf(t, srv, p)
	impersonate(t, srv, operator, p)
	if devicesOf(t, srv, p) != before || len(srv.Alerts(t, p.Email)) != 0 {
		t.Error("an impersonation made a device known")
	}
}

// TestEachWayOfSigningInNotesTheDevice goes through them.
func TestEachWayOfSigningInNotesTheDevice(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	known := func(what string, g *gadget, want int) {
		t.Helper()
		if !strings.HasPrefix(g.given, "lsmd_") || devicesOf(t, srv, p) != want {
			t.Errorf("%s: header %q, %d devices, want %d", what, g.given, devicesOf(t, srv, p), want)
		}
	}
	byMail := newGadget(srv, "")
	mail, before := factorsBy(srv, "", byMail), len(srv.Mails(t, p.Email))
	began, err := mail.StartEmailSignIn(t.Context(), &authv1.StartEmailSignInRequest{Email: p.Email})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := mail.CompleteEmailSignIn(t.Context(), &authv1.CompleteEmailSignInRequest{
		EmailChallengeId: began.EmailChallengeId, BindingToken: began.BindingToken, Code: testkit.CodeIn(t, srv.Mail(t, p.Email, before+1)),
	}); err != nil {
		t.Fatal(err)
	}
	known("by mail", byMail, 2)

	key, _ := addPasskey(t, srv, p, -7)
	byPasskey := newGadget(srv, "")
	passkeys := passkeysBy(srv, "", byPasskey)
	if _, err := passkeys.SignInWithPasskey(t.Context(), &authv1.SignInWithPasskeyRequest{
		Passkey: answerPasskey(t, key, askPasskey(t, passkeys)),
	}); err != nil {
		t.Fatal(err)
	}
	known("by passkey", byPasskey, 3)

	invited := srv.Register(t)
	created := newGadget(srv, "")
	c := created.client()
	email := testkit.NewEmail()
	reg, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
		RegistrationId: reg.Registration.Id, Code: srv.Code(t, email),
	}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(created.given, "lsmd_") || devicesOf(t, srv, invited) != 1 {
		t.Error("a registration notes no device")
	}
}

// TestASignInThatCannotNoteItsDeviceIsNone breaks the table.
func TestASignInThatCannotNoteItsDeviceIsNone(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: after})
	p := newPerson(t, srv)
	if _, err := srv.SQL.Exec(t.Context(), "ALTER TABLE auth.devices ADD CONSTRAINT broken CHECK (user_agent = 'x') NOT VALID"); err != nil {
		t.Fatal(err)
	}
	before := count(t, srv, "SELECT count(*) FROM auth.sessions")
	if _, err := newGadget(srv, "").signIn(t, p.Email, testkit.Password); reasonOf(err) != "INTERNAL" {
		t.Errorf("SignInWithPassword: %v", err)
	}
	if n := count(t, srv, "SELECT count(*) FROM auth.sessions"); n != before {
		t.Error("a session without its device is left")
	}
}

func TestDevicesInParallel(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: after})
	p := newPerson(t, srv)
	one := newGadget(srv, "")
	one.program = true
	one.in(t, p)
	got := atOnce(60, func(i int) error {
		g := newGadget(srv, "")
		g.program = true
		if i%2 == 0 {
			g.token = one.token
		}
		_, err := g.signIn(t, p.Email, testkit.Password)
		if err == nil && (g.given == "") != (i%2 == 0) {
			return errors.New("a known one was given a token, or a new one none")
		}
		return err
	})
	if diff := cmp.Diff(map[string]int{"": 60}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Those that come at once may see one less of each other.
	newGadget(srv, "").in(t, p)
	if n := devicesOf(t, srv, p); n != 20 {
		t.Errorf("%d devices", n)
	}
	if one.in(t, p); one.given != "" {
		t.Error("the one that came back was dropped")
	}
	srv.CheckInvariants(t)
}

// after creates accounts at once.
func after(s *config.Settings) { s.EmailVerification = config.VerifyAfter }

// resetPassword gives a person another password, by mail.
func resetPassword(t testing.TB, srv *testkit.Server, c *client.Client, p *testkit.Person) {
	t.Helper()
	before := len(srv.Mails(t, p.Email))
	reset, err := c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: p.Email})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{
		PasswordResetId: reset.PasswordResetId, Code: testkit.CodeIn(t, srv.Mail(t, p.Email, before+1)), NewPassword: "another horse, another staple",
	}); err != nil {
		t.Fatal(err)
	}
}
