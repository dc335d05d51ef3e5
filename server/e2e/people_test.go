package e2e

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// TestPasswordsThatFollowFromWhoSomebodyIsAreRefused wherever one is chosen.
func TestPasswordsThatFollowFromWhoSomebodyIsAreRefused(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) { s.ProductName = "Zephyr Ledger" }})
	owner := srv.RegisterAs(t, "ottoline.quimby@vanterpool.example", "Brackenfell Works")
	invited := (&stage{Server: srv}).invite(t, owner, "peregrine.oxley@vanterpool.example", "member")
	reset, err := srv.Client("").Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: owner.Email})
	if err != nil {
		t.Fatal(err)
	}
	choices := map[string]struct {
		choose func(password string) error
		words  []string
	}{
		"Register": {func(password string) error {
			_, err := srv.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{
				Email: "thessaly.marchbanks@hollowell.example", DisplayName: "Araminta Fotheringay", WorkspaceName: "Tanglewood Forge", Password: password,
			})
			return err
		}, []string{"thessaly.marchbanks@hollowell.example", "thessalymarchbanks", "hollowell.example", "Araminta Fotheringay", "TanglewoodForge1"}},
		"ChangePassword": {func(password string) error {
			_, err := owner.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: password})
			return err
		}, []string{"ottoline.quimby@vanterpool.example", "Ottoline-Quimby", "quimby.vanterpool", "brackenfellworks", "Br4ck3nf3ll-99"}},
		"ResetPassword": {func(password string) error {
			_, err := srv.Client("").Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{
				PasswordResetId: reset.PasswordResetId, Code: "000000", NewPassword: password,
			})
			return err
		}, []string{"ottoline.quimby@vanterpool.example", "Ottoline-Quimby", "quimby.vanterpool"}},
		"RegisterWithInvitation": {func(password string) error {
			_, err := srv.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{
				Token: invited.token, DisplayName: "Araminta Fotheringay", Password: password,
			})
			return err
		}, []string{"peregrine.oxley@vanterpool.example", "peregrineoxley1", "Araminta Fotheringay", "brackenfell-works"}},
	}
	for method, choice := range choices {
		for _, password := range append(choice.words, "Zephyr Ledger", "zephyrledger99", "Z3phyrL3dg3r!", "qwerty123456", "1QAZ2WSX3EDC", "passwordpassword") {
			if err := choice.choose(password); reasonOf(err) != "PASSWORD_COMMON" || connect.CodeOf(err) != connect.CodeInvalidArgument {
				t.Errorf("%s of %q: %v", method, password, err)
			}
		}
	}
	// A reset tells nothing of the account but the address that was typed.
	for _, password := range []string{"brackenfellworks", "Br4ck3nf3ll-99"} {
		if err := choices["ResetPassword"].choose(password); reasonOf(err) != "CODE_INVALID" {
			t.Errorf("ResetPassword of %q: %v", password, err)
		}
	}
	if _, err := srv.Client("").Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{
		Token: "lsmp_" + strings.Repeat("A", 43), NewPassword: "Ottoline-Quimby",
	}); reasonOf(err) != "CODE_INVALID" {
		t.Errorf("ResetPassword by nobody's token: %v", err)
	}
}

// TestLeakedPasswordsAreRefusedEverywhere asks a service on this machine.
func TestLeakedPasswordsAreRefusedEverywhere(t *testing.T) {
	t.Parallel()
	const leaked = "leaked horse battery staple"
	sum := sha1.Sum([]byte(leaked))
	digits := strings.ToUpper(hex.EncodeToString(sum[:]))
	var down atomic.Bool
	var mu sync.Mutex
	var asked []string
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked = append(asked, r.URL.String())
		mu.Unlock()
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintf(w, "0018A45C4D1DEF81644B54AB7F969B88D65:1\r\n%s:3\r\n", digits[5:])
	}))
	t.Cleanup(service.Close)
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) { s.LeakedPasswordsURL = service.URL }})
	p := srv.Register(t)
	reset, err := srv.Client("").Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: p.Email})
	if err != nil {
		t.Fatal(err)
	}
	code := testkit.CodeIn(t, srv.Mail(t, p.Email, 2))
	calls := map[string]func(string) error{
		"Register": func(password string) error {
			_, err := srv.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{Email: testkit.NewEmail(), WorkspaceName: "Acme", Password: password})
			return err
		},
		"ChangePassword": func(password string) error {
			_, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: password})
			return err
		},
		"ResetPassword": func(password string) error {
			_, err := srv.Client("").Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{PasswordResetId: reset.PasswordResetId, Code: code, NewPassword: password})
			return err
		},
	}
	for method, call := range calls {
		if err := call(leaked); reasonOf(err) != "PASSWORD_LEAKED" || connect.CodeOf(err) != connect.CodeInvalidArgument {
			t.Errorf("%s: %v", method, err)
		}
	}
	mu.Lock()
	for _, url := range asked {
		if len(url) != len("/12345") {
			t.Errorf("the service was told %q", url)
		}
	}
	asked = nil
	mu.Unlock()
	// Signing in asks nobody: who has the password already keeps it.
	srv.SignIn(t, p)
	mu.Lock()
	if len(asked) != 0 {
		t.Errorf("signing in asked %v", asked)
	}
	mu.Unlock()
	// While the service is away everybody can go on. The code is still good.
	down.Store(true)
	if err := calls["ResetPassword"](leaked); err != nil {
		t.Errorf("while the service is away: %v", err)
	}
	if log := srv.Log.String(); !strings.Contains(log, "not looked up among leaked ones") || strings.Contains(log, digits[:5]) {
		t.Error("the log does not tell that the service was away, or tells of the password")
	}
}

// TestPeopleSolveACaptcha where the server asks for it.
func TestPeopleSolveACaptcha(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	var used sync.Map // an answer can be given once
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := r.PostFormValue("response")
		_, again := used.LoadOrStore(answer, true)
		switch {
		case down.Load():
			w.WriteHeader(http.StatusBadGateway)
		case r.PostFormValue("secret") != "the secret of this server":
			fmt.Fprint(w, `{"success":false,"error-codes":["invalid-input-secret"]}`)
		case again:
			fmt.Fprint(w, `{"success":false,"error-codes":["timeout-or-duplicate"]}`)
		default:
			fmt.Fprintf(w, `{"success":%t,"hostname":"app.example.com"}`, strings.HasPrefix(answer, "solved"))
		}
	}))
	t.Cleanup(provider.Close)
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) {
		s.EmailVerification = config.VerifyAfter
		s.CaptchaProvider, s.CaptchaSecret, s.CaptchaVerifyURL = config.CaptchaTurnstile, "the secret of this server", provider.URL
		s.CaptchaHostnames = []string{"app.example.com"}
	}})
	srv.Secret("the secret of this server", "solved by a person")
	c := srv.Client("")
	email := testkit.NewEmail()
	var token string
	calls := []struct {
		name string
		call func(context.Context) error
	}{
		{"Register", func(ctx context.Context) error {
			res, err := c.Registration.Register(ctx, &authv1.RegisterRequest{Email: email, WorkspaceName: "Acme", Password: testkit.Password})
			if err == nil {
				token = res.Account.SessionToken
			}
			return err
		}},
		{"SignInWithPassword", func(ctx context.Context) error {
			_, err := c.Authentication.SignInWithPassword(ctx, &authv1.SignInWithPasswordRequest{Email: email, Password: testkit.Password})
			return err
		}},
		{"RequestPasswordReset", func(ctx context.Context) error {
			_, err := c.Passwords.RequestPasswordReset(ctx, &authv1.RequestPasswordResetRequest{Email: email})
			return err
		}},
		{"StartEmailSignIn", func(ctx context.Context) error {
			_, err := c.EmailChallenges.StartEmailSignIn(ctx, &authv1.StartEmailSignInRequest{Email: email})
			return err
		}},
	}
	with := func(answer string) context.Context {
		ctx, info := connect.NewClientContext(t.Context())
		if answer != "" {
			info.RequestHeader().Set("Captcha-Response", answer)
		}
		return ctx
	}
	for i, method := range calls {
		for _, answer := range []string{"", "made up", fmt.Sprint("wrong ", i)} {
			if err := method.call(with(answer)); reasonOf(err) != "CAPTCHA_REQUIRED" || connect.CodeOf(err) != connect.CodeFailedPrecondition {
				t.Errorf("%s with %q: %v", method.name, answer, err)
			}
		}
		solved := fmt.Sprint("solved by a person ", i)
		if err := method.call(with(solved)); err != nil {
			t.Errorf("%s: %v", method.name, err)
		}
		if err := method.call(with(solved)); reasonOf(err) != "CAPTCHA_REQUIRED" {
			t.Errorf("%s again: %v", method.name, err)
		}
		// While the provider is away, nobody passes.
		down.Store(true)
		if err := method.call(with(fmt.Sprint("solved later ", i))); reasonOf(err) != "CAPTCHA_UNAVAILABLE" || connect.CodeOf(err) != connect.CodeUnavailable || client.RetryAfter(err) <= 0 {
			t.Errorf("%s while the provider is away: %v", method.name, err)
		}
		down.Store(false)
	}
	// Whoever is signed in is not asked.
	if _, err := c.As(token).Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{}); err != nil {
		t.Error(err)
	}
	if _, err := c.As(token).Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: testkit.Password}); err != nil {
		t.Error(err)
	}
}
