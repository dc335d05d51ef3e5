package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/internal/testkit/fake"
)

const (
	pendingFactor = authv1.AccountRequirement_ACCOUNT_REQUIREMENT_SECOND_FACTOR_REQUIRED
	byPasskey     = authv1.AuthenticationMethod_AUTHENTICATION_METHOD_PASSKEY
)

func TestAPasskeySignsInByItself(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	for _, alg := range []int{fake.ES256, fake.EdDSA, fake.RS256} {
		p := srv.Register(t)
		other := signIn(t, srv, p.Email, testkit.Password)
		key, made := addPasskey(t, srv, p, alg)
		if made.Passkey.DisplayName != "Key" || made.Passkey.Aaguid != uuid.UUID(key.AAGUID).String() || made.Passkey.BackedUp ||
			made.Passkey.LastUseTime != nil || !justNow(srv, made.Passkey.CreateTime) || len(made.RecoveryCodes) != 10 {
			t.Errorf("RegisterPasskey = %v", made)
		}
		ended(t, "a session from before the first second factor", other)
		lives(t, "the session that registered it", p.Client)

		srv.Clock.Advance(time.Minute)
		in, err := passkeySignIn(t, srv, key)
		if err != nil {
			t.Fatalf("SignInWithPasskey: %v", err)
		}
		if in.Session.UserId != p.User.Id || in.Session.SecondFactorPending || len(in.Requirements) != 0 || !slices.Equal(in.Session.Methods, []authv1.AuthenticationMethod{byPasskey}) {
			t.Errorf("SignInWithPasskey = %v", in)
		}
		session := lives(t, "the passkey's session", srv.Client("", client.WithSession(in.SessionToken)))
		if session.Session.Id != in.Session.Id {
			t.Errorf("GetSession = %v", session)
		}
		list, err := passkeysOf(srv, in.SessionToken).ListPasskeys(t.Context(), &authv1.ListPasskeysRequest{})
		if err != nil || len(list.Passkeys) != 1 || !justNow(srv, list.Passkeys[0].LastUseTime) || list.Passkeys[0].Id != made.Passkey.Id {
			t.Errorf("ListPasskeys = %v, %v", list, err)
		}
		passkeyMails(t, srv, p.Email, "A passkey was added.", 1)
		logged(t, p, "", "user.registered", "session.created", "passkey.created", "session.created")
	}
	srv.CheckInvariants(t)
}

// justNow reports whether a time is the server's present one, or a little before.
func justNow(srv *testkit.Server, at *timestamppb.Timestamp) bool {
	passed := srv.Clock.Now().Sub(at.AsTime())
	return passed >= 0 && passed < 30*time.Second
}

func TestAPasskeySignsInWithACookie(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key, _ := addPasskey(t, srv, p, fake.ES256)
	page := passkeysBy(srv, "", testkit.Cookies())
	ctx, info := connect.NewClientContext(t.Context())
	in, err := page.SignInWithPasskey(ctx, &authv1.SignInWithPasskeyRequest{
		Passkey: answerPasskey(t, key, askPasskey(t, page)), SessionTransport: authv1.SessionTransport_SESSION_TRANSPORT_COOKIE,
	})
	if err != nil || in.SessionToken != "" {
		t.Fatalf("SignInWithPasskey = %v, %v", in, err)
	}
	first := sessionCookie(t, info)
	ctx, info = connect.NewClientContext(t.Context())
	again, err := page.auth.Reauthenticate(ctx, &authv1.ReauthenticateRequest{Passkey: answerPasskey(t, key, askPasskey(t, page))})
	if err != nil || again.SessionToken != "" || again.Session.Id != in.Session.Id {
		t.Fatalf("Reauthenticate = %v, %v", again, err)
	}
	if sessionCookie(t, info) == first {
		t.Error("reauthentication kept the token")
	}
}

// sessionCookie returns the session's token of the cookies that were set.
func sessionCookie(t testing.TB, info connect.CallInfo) string {
	t.Helper()
	for _, line := range info.ResponseHeader().Values("Set-Cookie") {
		if strings.HasPrefix(line, authz.CookieName+"=") {
			return cookieToken(t, line)
		}
	}
	t.Fatal("no cookie of a session was set")
	return ""
}

// passkeyMails waits until so many mails to an address say something.
func passkeyMails(t testing.TB, srv *testkit.Server, email, text string, want int) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d mails that say %q", want, text), func() bool {
		n := 0
		for _, m := range srv.Mails(t, email) {
			if strings.Contains(m.Text, text) {
				n++
			}
		}
		return n == want
	})
}

// TestAnotherSitesPageCannotSignABrowserIn is about the challenge to sign in, which is
// bound to no browser: a page of another site that has an answer of its own cannot give
// it in the browser's name.
func TestAnotherSitesPageCannotSignABrowserIn(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key, _ := addPasskey(t, srv, p, fake.ES256)
	answer := answerPasskey(t, key, askPasskey(t, passkeysOf(srv, "")))
	body, err := json.Marshal(map[string]any{
		"passkey":          map[string]string{"challengeId": answer.ChallengeId, "credentialJson": answer.CredentialJson},
		"sessionTransport": "SESSION_TRANSPORT_COOKIE",
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, headers := range []map[string]string{
		{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "same-site"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+"/logicspike.auth.v1.PasskeyService/SignInWithPasskey", strings.NewReader(string(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for name, value := range headers {
			req.Header.Set(name, value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusForbidden || res.Header.Get("Set-Cookie") != "" {
			t.Errorf("%v: %s, cookie %q", headers, res.Status, res.Header.Get("Set-Cookie"))
		}
	}
	if _, err := passkeysOf(srv, "").SignInWithPasskey(t.Context(), &authv1.SignInWithPasskeyRequest{Passkey: answer}); err != nil {
		t.Errorf("the answer that was given for the browser: %v", err)
	}
}

func TestAPasskeyIsTheSecondFactorOfAPassword(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key, _ := addPasskey(t, srv, p, fake.ES256)
	token := passwordSession(t, srv, p)
	session := lives(t, "a session that owes", srv.Client("", client.WithSession(token)))
	if !session.Session.SecondFactorPending || !slices.Contains(session.Requirements, pendingFactor) ||
		!slices.Contains(session.SecondFactors, authv1.SecondFactorKind_SECOND_FACTOR_KIND_PASSKEY) {
		t.Fatalf("GetSession = %v", session)
	}
	_, err := passkeysOf(srv, token).ListPasskeys(t.Context(), &authv1.ListPasskeysRequest{})
	refused(t, "a call that owes", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_SECOND_FACTOR_REQUIRED)
	_, err = passkeysOf(srv, token).StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	refused(t, "a passkey of one's own", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_SECOND_FACTOR_REQUIRED)

	start := askPasskey(t, passkeysOf(srv, token))
	if !strings.Contains(start.OptionsJson, base64.RawURLEncoding.EncodeToString(key.ID)) {
		t.Errorf("the user's passkeys are not asked: %s", start.OptionsJson)
	}
	done, err := passkeyVerify(t, srv, token, key)
	if err != nil || done.SessionToken == token || done.Session.SecondFactorPending || len(done.Requirements) != 0 || done.Session.Id != session.Session.Id {
		t.Fatalf("VerifySecondFactor = %v, %v", done, err)
	}
	ended(t, "the token before", srv.Client("", client.WithSession(token)))
	c := srv.Client("", client.WithSession(done.SessionToken))
	if s := lives(t, "the completed session", c); !slices.Contains(s.Session.Methods, byPasskey) || s.Session.ExpireTime.AsTime().Sub(srv.Clock.Now()) < 89*24*time.Hour {
		t.Errorf("GetSession = %v", s)
	}
	_, err = passkeyVerify(t, srv, done.SessionToken, key)
	refused(t, "a session that owes nothing", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_FACTOR_MISSING)
	logged(t, p, "", "user.registered", "passkey.created", "session.created", "session.second_factor_verified")
}

func TestAPasskeyReauthenticates(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	start := passkeysOf(srv, p.Token)
	_, err := start.StartPasskeyAssertion(t.Context(), &authv1.StartPasskeyAssertionRequest{})
	refused(t, "without a passkey", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_FACTOR_MISSING)
	key, _ := addPasskey(t, srv, p, fake.EdDSA)
	srv.Clock.Advance(11 * time.Minute)
	_, err = start.StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	refused(t, "after eleven minutes", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_REAUTHENTICATION_REQUIRED)
	_, err = passkeyReauthenticate(t, srv, p.Token, key, func(c *fake.Ceremony) { c.Flags &^= fake.UserVerified })
	secondPasskeyRefused(t, "an unverified user", err)
	lives(t, "after a wrong answer", p.Client)
	again, err := passkeyReauthenticate(t, srv, p.Token, key, func(c *fake.Ceremony) { c.Handle = nil })
	if err != nil || again.Session.Id != p.Session.Id {
		t.Fatalf("Reauthenticate = %v, %v", again, err)
	}
	ended(t, "the token before", p.Client)
	p.Token = again.SessionToken
	addPasskey(t, srv, p, fake.ES256)
}

// TestAPasskeyOwesNothingBesideAnAuthenticatorApp is about an account that has both.
func TestAPasskeyOwesNothingBesideAnAuthenticatorApp(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	a, codes := enrol(t, srv, p)
	key, made := addPasskey(t, srv, p, fake.EdDSA)
	if len(codes) != 10 || len(made.RecoveryCodes) != 0 {
		t.Errorf("%d recovery codes with the first factor, %d with the second one", len(codes), len(made.RecoveryCodes))
	}
	in, err := passkeySignIn(t, srv, key)
	if err != nil || in.Session.SecondFactorPending || len(in.Requirements) != 0 {
		t.Fatalf("SignInWithPasskey = %v, %v", in, err)
	}
	token := owing(t, srv, p.Email)
	if _, err := passkeyVerify(t, srv, token, key); err != nil {
		t.Errorf("the passkey for a password's session: %v", err)
	}
	token = owing(t, srv, p.Email)
	if _, err := verifyTOTP(t, srv, token, a.code(t, 0)); err != nil {
		t.Errorf("the app for a password's session: %v", err)
	}
	// The app stays, and with it the recovery codes.
	if _, err := passkeysOf(srv, in.SessionToken).DeletePasskey(t.Context(), &authv1.DeletePasskeyRequest{PasskeyId: made.Passkey.Id}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, srv, "SELECT count(*) FROM auth.recovery_codes"); n != 10 {
		t.Errorf("%d recovery codes are left", n)
	}
	owing(t, srv, p.Email)
}

// TestASignInBesideTheFirstPasskeyOwesOrEnds runs sign-ins by password beside the
// registration of the first second factor: no session that owes nothing is left but
// the one that registered it.
func TestASignInBesideTheFirstPasskeyOwesOrEnds(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	for range 5 {
		p := srv.Register(t)
		c := passkeysOf(srv, p.Token)
		start, err := c.StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
		if err != nil {
			t.Fatal(err)
		}
		made := fake.NewPasskey(t, passkeyOrigin(srv), fake.EdDSA).Create(t, start.OptionsJson)
		together(9, func(i int) {
			if i == 4 {
				if _, err := c.RegisterPasskey(t.Context(), &authv1.RegisterPasskeyRequest{ChallengeId: start.ChallengeId, CredentialJson: made}); err != nil {
					t.Errorf("RegisterPasskey: %v", err)
				}
				return
			}
			if _, err := srv.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: testkit.Password}); err != nil {
				refused(t, "a sign-in that ended at once", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
			}
		})
		if n := count(t, srv, "SELECT count(*) FROM auth.sessions WHERE user_id = $1 AND NOT second_factor_pending", uuidOf(t, p.User.Id)); n != 1 {
			t.Errorf("%d sessions owe nothing, want 1", n)
		}
	}
}

func TestWrongPasskeysWaitAsOtherSecondFactorsDo(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key, _ := addPasskey(t, srv, p, fake.ES256)
	forge := func(c *fake.Ceremony) { c.Flags &^= fake.UserVerified }
	token := passwordSession(t, srv, p)
	c := passkeysOf(srv, token)
	for range 20 { // what is not judged does not count
		_, err := c.mfa.VerifySecondFactor(t.Context(), &authv1.VerifySecondFactorRequest{Proof: &authv1.VerifySecondFactorRequest_Passkey{
			Passkey: &authv1.PasskeyAssertion{ChallengeId: ids.New[ids.Challenge]().String(), CredentialJson: "{}"},
		}})
		challengeRefused(t, "no challenge", err)
	}
	for range 5 {
		_, err := passkeyVerify(t, srv, token, key, forge)
		secondPasskeyRefused(t, "a wrong answer", err)
	}
	_, err := passkeyVerify(t, srv, token, key)
	refused(t, "a sixth try", err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
	for range 5 { // they count by themselves, and do not have a passkey wait
		_, err = c.mfa.VerifySecondFactor(t.Context(), &authv1.VerifySecondFactorRequest{Proof: &authv1.VerifySecondFactorRequest_RecoveryCode{RecoveryCode: "x"}})
		refused(t, "a wrong recovery code", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SECOND_FACTOR_INVALID)
	}
	_, err = c.mfa.VerifySecondFactor(t.Context(), &authv1.VerifySecondFactorRequest{Proof: &authv1.VerifySecondFactorRequest_RecoveryCode{RecoveryCode: "x"}})
	refused(t, "a sixth recovery code", err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
	if _, err := passkeySignIn(t, srv, key); err != nil {
		t.Errorf("a sign-in by the passkey alone, which nobody can guess: %v", err)
	}
	srv.Clock.Advance(2 * time.Second)
	if _, err := passkeyVerify(t, srv, token, key); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}

func TestPasskeysAreOfTheDomainThatIsSet(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) {
		s.PublicURL, s.PasskeyRPID = "https://accounts.example.com", "example.com"
		s.AllowedOrigins = []config.Origin{"https://app.example.com", "https://app.example.org", "http://plain.example.com"}
	}})
	p := srv.Register(t)
	for origin, works := range map[string]bool{
		"https://accounts.example.com": true, "https://app.example.com": true, "https://other.example.com": false,
		"https://app.example.org": false, "http://plain.example.com": false, "https://example.com": false,
	} {
		key := fake.NewPasskey(t, origin, fake.EdDSA)
		if _, err := tryAddPasskey(t, srv, p, key); (err == nil) != works {
			t.Errorf("%s: %v", origin, err)
		}
		if works && key.RPID != "example.com" {
			t.Errorf("the passkey is of %q", key.RPID)
		}
	}

	// Without a name there is none.
	srv = testkit.New(t, testkit.Options{Settings: func(s *config.Settings) { s.PublicURL = "https://192.0.2.1" }})
	p = srv.Register(t)
	_, err := passkeysOf(srv, p.Token).StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	refused(t, "a server without a name", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_ORIGIN_FORBIDDEN)
	_, err = passkeysOf(srv, "").StartPasskeyAssertion(t.Context(), &authv1.StartPasskeyAssertionRequest{})
	refused(t, "a server without a name, to sign in", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_ORIGIN_FORBIDDEN)
}

func TestWhoAsksForPasskeysIsLimitedByNetwork(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) { s.PublicBurst, s.PublicRate = 5, 1 }})
	c := passkeysOf(srv, "")
	for range 5 {
		askPasskey(t, c)
	}
	_, err := c.StartPasskeyAssertion(t.Context(), &authv1.StartPasskeyAssertionRequest{})
	refused(t, "a sixth question", err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
}
