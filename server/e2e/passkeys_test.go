package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
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
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store/auth"
)

const (
	pendingFactor = authv1.AccountRequirement_ACCOUNT_REQUIREMENT_SECOND_FACTOR_REQUIRED
	byPasskey     = authv1.AuthenticationMethod_AUTHENTICATION_METHOD_PASSKEY
)

func TestAPasskeySignsInByItself(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	for _, alg := range []int{testkit.ES256, testkit.EdDSA, testkit.RS256} {
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
	key, _ := addPasskey(t, srv, p, testkit.ES256)
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
	key, _ := addPasskey(t, srv, p, testkit.ES256)
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
	key, _ := addPasskey(t, srv, p, testkit.ES256)
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
	key, _ := addPasskey(t, srv, p, testkit.EdDSA)
	srv.Clock.Advance(11 * time.Minute)
	_, err = start.StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	refused(t, "after eleven minutes", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_REAUTHENTICATION_REQUIRED)
	_, err = passkeyReauthenticate(t, srv, p.Token, key, func(c *testkit.Ceremony) { c.Flags &^= testkit.UserVerified })
	secondPasskeyRefused(t, "an unverified user", err)
	lives(t, "after a wrong answer", p.Client)
	again, err := passkeyReauthenticate(t, srv, p.Token, key, func(c *testkit.Ceremony) { c.Handle = nil })
	if err != nil || again.Session.Id != p.Session.Id {
		t.Fatalf("Reauthenticate = %v, %v", again, err)
	}
	ended(t, "the token before", p.Client)
	p.Token = again.SessionToken
	addPasskey(t, srv, p, testkit.ES256)
}

// forgedPasskeys are answers that are wrong in what the authenticator or the browser
// tells; server/auth/passkey has many more.
var forgedPasskeys = map[string]func(*testkit.Ceremony){
	"another challenge":                           func(c *testkit.Ceremony) { c.ClientData["challenge"] = strings.Repeat("A", 43) },
	"another origin":                              func(c *testkit.Ceremony) { c.ClientData["origin"] = "https://evil.example" },
	"an origin of another port":                   func(c *testkit.Ceremony) { c.ClientData["origin"] = "http://localhost:1" },
	"an allowed origin that is of another domain": func(c *testkit.Ceremony) { c.ClientData["origin"] = "http://app.example.com" },
	"another relying party":                       func(c *testkit.Ceremony) { c.RPID = "evil.example" },
	"another type":                                func(c *testkit.Ceremony) { c.ClientData["type"] = "payment.get" },
	"an absent user":                              func(c *testkit.Ceremony) { c.Flags &^= testkit.UserPresent },
	"an unverified user":                          func(c *testkit.Ceremony) { c.Flags &^= testkit.UserVerified },
	"backed up, and not eligible":                 func(c *testkit.Ceremony) { c.Flags |= testkit.BackedUp },
	"a frame in a page of another site": func(c *testkit.Ceremony) {
		c.ClientData["crossOrigin"], c.ClientData["topOrigin"] = true, "https://evil.example"
	},
}

func TestForgedPasskeyRegistrationsMakeNothing(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	for name, forge := range forgedPasskeys {
		_, err := tryAddPasskey(t, srv, p, testkit.NewPasskey(t, passkeyOrigin(srv), testkit.ES256), forge)
		secondPasskeyRefused(t, name, err)
	}
	c := passkeysOf(srv, p.Token)
	for name, garbage := range garbagePasskeys {
		start, err := c.StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.RegisterPasskey(t.Context(), &authv1.RegisterPasskeyRequest{ChallengeId: start.ChallengeId, CredentialJson: garbage})
		secondPasskeyRefused(t, name, err)
		_, err = c.RegisterPasskey(t.Context(), &authv1.RegisterPasskeyRequest{
			ChallengeId: start.ChallengeId, CredentialJson: testkit.NewPasskey(t, passkeyOrigin(srv), testkit.ES256).Create(t, start.OptionsJson),
		})
		challengeRefused(t, "a right answer after "+name, err)
	}
	list, err := c.ListPasskeys(t.Context(), &authv1.ListPasskeysRequest{})
	if err != nil || len(list.Passkeys) != 0 {
		t.Errorf("ListPasskeys = %v, %v", list, err)
	}
	checkLog(t, srv, "evil.example") // what was wrong may quote the answer: at debug level only, never as an error
}

// garbagePasskeys are answers that are none, each as long as a request may have it.
var garbagePasskeys = map[string]string{
	"null":               "null",
	"an empty object":    "{}",
	"a list":             "[]",
	"no JSON":            "\U0001F600not JSON",
	"two objects":        "{}{}",
	"a thousand lists":   strings.Repeat("[", 16000),
	"a thousand maps":    strings.Repeat(`{"response":`, 1300),
	"a long id":          `{"id":"` + strings.Repeat("A", 16000) + `","type":"public-key"}`,
	"an id of new lines": `{"id":"\r\n\r\n","rawId":"","type":"public-key","response":{}}`,
	"CBOR that claims gigabytes": `{"id":"AAAA","rawId":"AAAA","type":"public-key","response":{"clientDataJSON":"e30","attestationObject":"` +
		base64.RawURLEncoding.EncodeToString([]byte{0xbb, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}) + `","authenticatorData":"` + strings.Repeat("A", 8000) + `","signature":"AA"}}`,
}

func TestForgedPasskeysSignNobodyIn(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, q := srv.Register(t), srv.Register(t)
	key, _ := addPasskey(t, srv, p, testkit.ES256)
	other, _ := addPasskey(t, srv, q, testkit.EdDSA)
	var token string
	all := map[string]func(*testkit.Ceremony){
		"another user's handle":     func(c *testkit.Ceremony) { c.Handle = other.Handle },
		"another user's credential": func(c *testkit.Ceremony) { c.ID = other.ID },
		"another user's both":       func(c *testkit.Ceremony) { c.ID, c.Handle = other.ID, other.Handle },
		"an unknown credential":     func(c *testkit.Ceremony) { c.ID = make([]byte, 32) },
		"an eligibility that is new": func(c *testkit.Ceremony) {
			c.Flags |= testkit.BackupEligible
		},
		"a signature that is altered": func(c *testkit.Ceremony) {
			c.Send = func(_, response map[string]any) {
				s := []byte(response["signature"].(string))
				s[len(s)/2] ^= 1
				response["signature"] = string(s)
			}
		},
	}
	for name, forge := range forgedPasskeys {
		all[name] = forge
	}
	for name, forge := range all {
		_, err := passkeySignIn(t, srv, key, forge)
		passkeyRefused(t, name, err)
		srv.Clock.Advance(15 * time.Minute) // the wait after wrong second factors
		token = passwordSession(t, srv, p)
		_, err = passkeyVerify(t, srv, token, key, forge)
		secondPasskeyRefused(t, name, err)
	}
	_, err := passkeySignIn(t, srv, key, func(c *testkit.Ceremony) { c.Handle = nil })
	passkeyRefused(t, "no handle, where it is not known who answers", err)
	for name, garbage := range garbagePasskeys {
		c := passkeysOf(srv, "")
		start := askPasskey(t, c)
		_, err := c.SignInWithPasskey(t.Context(), &authv1.SignInWithPasskeyRequest{
			Passkey: &authv1.PasskeyAssertion{ChallengeId: start.ChallengeId, CredentialJson: garbage},
		})
		passkeyRefused(t, name, err)
		_, err = c.SignInWithPasskey(t.Context(), &authv1.SignInWithPasskeyRequest{Passkey: answerPasskey(t, key, start)})
		challengeRefused(t, "a right answer after "+name, err)
	}
	_, err = passkeysOf(srv, "").SignInWithPasskey(t.Context(), &authv1.SignInWithPasskeyRequest{
		Passkey: &authv1.PasskeyAssertion{ChallengeId: ids.New[ids.Challenge]().String(), CredentialJson: strings.Repeat("A", 16385)},
	})
	refused(t, "too much", err, connect.CodeInvalidArgument, faultv1.Reason_REASON_FIELD_INVALID)

	srv.Clock.Advance(15 * time.Minute)
	token = passwordSession(t, srv, p)
	_, err = passkeyVerify(t, srv, token, other)
	secondPasskeyRefused(t, "another user's passkey", err)
	if _, err := passkeySignIn(t, srv, key); err != nil {
		t.Errorf("the passkey itself: %v", err)
	}
	if s := lives(t, "the session that owes", srv.Client("", client.WithSession(token))); !s.Session.SecondFactorPending {
		t.Error("a forged answer completed a session")
	}
}

// TestARefusedPasskeyIsInTheLogOfItsOwner is about answers that name a passkey.
func TestARefusedPasskeyIsInTheLogOfItsOwner(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key, _ := addPasskey(t, srv, p, testkit.ES256)
	forge := func(c *testkit.Ceremony) { c.RPID = "evil.example" }
	_, err := passkeySignIn(t, srv, key, forge)
	passkeyRefused(t, "to sign in", err)
	_, err = passkeySignIn(t, srv, key, func(c *testkit.Ceremony) { c.ID = make([]byte, 32) })
	passkeyRefused(t, "an unknown passkey", err)
	_, err = passkeyReauthenticate(t, srv, p.Token, key, forge)
	secondPasskeyRefused(t, "to reauthenticate", err)
	_, err = passkeyVerify(t, srv, passwordSession(t, srv, p), key, forge)
	secondPasskeyRefused(t, "for a second factor", err)
	for action, want := range map[string]int{"sign_in.refused": 2, "reauthentication.refused": 1} {
		testkit.Eventually(t, action, func() bool {
			return countRows(t, srv, "SELECT count(*) FROM audit.events WHERE user_id = $1 AND action = $2 AND details ->> 'method' = 'passkey'", uuidOf(t, p.User.Id), action) == want
		})
	}
}

func TestAChallengeIsForOnePurposeAndOneSessionAndOnce(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key, _ := addPasskey(t, srv, p, testkit.ES256)
	second, err := passkeySignIn(t, srv, key)
	if err != nil {
		t.Fatal(err)
	}
	nobody, mine, other := passkeysOf(srv, ""), passkeysOf(srv, p.Token), passkeysOf(srv, second.SessionToken)
	signInBy := func(a *authv1.PasskeyAssertion) error {
		_, err := nobody.SignInWithPasskey(t.Context(), &authv1.SignInWithPasskeyRequest{Passkey: a})
		return err
	}
	prove := func(c passkeyClients, a *authv1.PasskeyAssertion) error {
		_, err := c.auth.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Passkey: a})
		return err
	}
	register := func(c passkeyClients, id, credential string) error {
		_, err := c.RegisterPasskey(t.Context(), &authv1.RegisterPasskeyRequest{ChallengeId: id, CredentialJson: credential})
		return err
	}

	toSignIn, toProve := askPasskey(t, nobody), askPasskey(t, mine)
	toRegister, err := mine.StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	if err != nil {
		t.Fatal(err)
	}
	asRegister := &authv1.StartPasskeyAssertionResponse{ChallengeId: toRegister.ChallengeId, OptionsJson: toRegister.OptionsJson}
	fresh := testkit.NewPasskey(t, passkeyOrigin(srv), testkit.ES256)
	challengeRefused(t, "a challenge to prove, to sign in", signInBy(answerPasskey(t, key, toProve)))
	challengeRefused(t, "a challenge to register, to sign in", signInBy(answerPasskey(t, key, asRegister)))
	challengeRefused(t, "a challenge to sign in, to prove", prove(mine, answerPasskey(t, key, toSignIn)))
	challengeRefused(t, "a challenge to register, to prove", prove(mine, answerPasskey(t, key, asRegister)))
	challengeRefused(t, "another session's challenge, to prove", prove(other, answerPasskey(t, key, toProve)))
	challengeRefused(t, "another session's challenge, to register", register(other, toRegister.ChallengeId, fresh.Create(t, toRegister.OptionsJson)))
	asOptions := fmt.Sprintf(`{"challenge":%q,"rp":{"id":"localhost"},"user":{"id":""}}`, challengeIn(t, toProve.OptionsJson))
	challengeRefused(t, "a challenge to prove, to register", register(mine, toProve.ChallengeId, fresh.Create(t, asOptions)))
	challengeRefused(t, "a challenge that never was", signInBy(&authv1.PasskeyAssertion{ChallengeId: ids.New[ids.Challenge]().String(), CredentialJson: "{}"}))

	// None of that used them up.
	answer := answerPasskey(t, key, toSignIn)
	if err := signInBy(answer); err != nil {
		t.Errorf("to sign in: %v", err)
	}
	challengeRefused(t, "the same answer again", signInBy(answer))
	challengeRefused(t, "another answer to it", signInBy(answerPasskey(t, key, toSignIn)))
	made := fresh.Create(t, toRegister.OptionsJson)
	if err := register(mine, toRegister.ChallengeId, made); err != nil {
		t.Errorf("to register: %v", err)
	}
	challengeRefused(t, "the same registration again", register(mine, toRegister.ChallengeId, made))
	if err := prove(mine, answerPasskey(t, key, toProve)); err != nil {
		t.Errorf("to prove: %v", err)
	}

	late := askPasskey(t, nobody)
	if got := late.ExpireTime.AsTime().Sub(srv.Clock.Now()); got > 5*time.Minute || got < 4*time.Minute {
		t.Errorf("a challenge lives for %v", got)
	}
	srv.Clock.Advance(5 * time.Minute)
	challengeRefused(t, "after five minutes", signInBy(answerPasskey(t, key, late)))

	ofEnded := askPasskey(t, other)
	if _, err := srv.Client("", client.WithSession(second.SessionToken)).Authentication.SignOut(t.Context(), &authv1.SignOutRequest{}); err != nil {
		t.Fatal(err)
	}
	if n := countRows(t, srv, "SELECT count(*) FROM auth.challenges WHERE id = $1", uuidOf(t, ofEnded.ChallengeId)); n != 0 {
		t.Error("the challenge of a session outlives it")
	}
	for range 20 {
		askPasskey(t, passkeysOf(srv, "")) // left alone
	}
	srv.Clock.Advance(6 * time.Minute)
	if err := srv.Store.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := countRows(t, srv, "SELECT count(*) FROM auth.challenges"); n != 0 {
		t.Errorf("%d challenges are left after their time", n)
	}
}

func challengeIn(t testing.TB, options string) string {
	t.Helper()
	var o struct{ Challenge string }
	if err := json.Unmarshal([]byte(options), &o); err != nil {
		t.Fatal(err)
	}
	return o.Challenge
}

func countRows(t testing.TB, srv *testkit.Server, sql string, args ...any) (n int) {
	t.Helper()
	if err := srv.SQL.QueryRow(t.Context(), sql, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestASessionKeepsFewChallenges(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key, _ := addPasskey(t, srv, p, testkit.ES256)
	c := passkeysOf(srv, p.Token)
	var last *authv1.StartPasskeyAssertionResponse
	for range 20 {
		last = askPasskey(t, c)
	}
	if n := countRows(t, srv, "SELECT count(*) FROM auth.challenges WHERE purpose = 'session'"); n != 8 {
		t.Errorf("a session keeps %d challenges", n)
	}
	if _, err := c.auth.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Passkey: answerPasskey(t, key, last)}); err != nil {
		t.Errorf("the newest one: %v", err)
	}
}

func TestOneOfManyAnswersToAChallengeCounts(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key, _ := addPasskey(t, srv, p, testkit.ES256)
	c := passkeysOf(srv, "")
	answer := answerPasskey(t, key, askPasskey(t, c))
	var won atomic.Int32
	together(16, func(int) {
		_, err := c.SignInWithPasskey(t.Context(), &authv1.SignInWithPasskeyRequest{Passkey: answer})
		if err == nil {
			won.Add(1)
			return
		}
		challengeRefused(t, "the same answer at once", err)
	})
	if won.Load() != 1 {
		t.Errorf("%d of 16 same answers signed in", won.Load())
	}
	if n := countRows(t, srv, "SELECT count(*) FROM auth.sessions WHERE user_id = $1", uuidOf(t, p.User.Id)); n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
}

func together(n int, do func(int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { do(i) })
	}
	all.Wait()
}

func TestACountThatDoesNotGoOnIsRefusedAndTold(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key := testkit.NewPasskey(t, passkeyOrigin(srv), testkit.ES256)
	key.Count = 7
	if _, err := tryAddPasskey(t, srv, p, key); err != nil {
		t.Fatal(err)
	}
	if _, err := passkeySignIn(t, srv, key); err != nil { // 8
		t.Fatal(err)
	}
	suspected := func(n int) {
		t.Helper()
		if got := countRows(t, srv, "SELECT count(*) FROM audit.events WHERE action = 'passkey.cloned_suspected' AND user_id = $1", uuidOf(t, p.User.Id)); got != n {
			t.Errorf("%d suspicions, want %d", got, n)
		}
	}
	for i, at := range []uint32{8, 7, 1, 0} {
		_, err := passkeySignIn(t, srv, key, func(c *testkit.Ceremony) { c.Count = at })
		passkeyRefused(t, fmt.Sprintf("a count of %d after 8", at), err)
		suspected(i + 1)
	}
	token := passwordSession(t, srv, p)
	_, err := passkeyVerify(t, srv, token, key, func(c *testkit.Ceremony) { c.Count = 8 })
	secondPasskeyRefused(t, "for a second factor", err)
	_, err = passkeyReauthenticate(t, srv, p.Token, key, func(c *testkit.Ceremony) { c.Count = 8 })
	secondPasskeyRefused(t, "to reauthenticate", err)
	suspected(6)
	passkeyMails(t, srv, p.Email, "A passkey was refused", 6)
	_, err = passkeySignIn(t, srv, key, func(c *testkit.Ceremony) { c.Count, c.ID = 1, make([]byte, 32) })
	passkeyRefused(t, "an unknown passkey", err)
	_, err = passkeySignIn(t, srv, key, func(c *testkit.Ceremony) { c.Count, c.RPID = 1, "evil.example" })
	passkeyRefused(t, "a count that nobody signed for", err)
	suspected(6)

	// Two answers with the same count, at once: a copy.
	c := passkeysOf(srv, "")
	answers := make([]*authv1.PasskeyAssertion, 8)
	for i := range answers {
		answers[i] = answerPasskey(t, key, askPasskey(t, c), func(c *testkit.Ceremony) { c.Count = 1000 })
	}
	var won atomic.Int32
	together(len(answers), func(i int) {
		_, err := c.SignInWithPasskey(t.Context(), &authv1.SignInWithPasskeyRequest{Passkey: answers[i]})
		if err == nil {
			won.Add(1)
			return
		}
		passkeyRefused(t, "the same count at once", err)
	})
	if won.Load() != 1 {
		t.Errorf("%d of 8 answers with one count signed in", won.Load())
	}
	suspected(6 + 7)
	key.Count = 1000
	if _, err := passkeySignIn(t, srv, key); err != nil {
		t.Errorf("a count that goes on: %v", err)
	}
	srv.CheckInvariants(t)
}

func TestABackupIsSeen(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key := testkit.NewPasskey(t, passkeyOrigin(srv), testkit.ES256)
	key.Flags |= testkit.BackupEligible
	if _, err := tryAddPasskey(t, srv, p, key); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []byte{testkit.BackedUp, 0} {
		in, err := passkeySignIn(t, srv, key, func(c *testkit.Ceremony) { c.Flags |= flags })
		if err != nil {
			t.Fatal(err)
		}
		list, err := passkeysOf(srv, in.SessionToken).ListPasskeys(t.Context(), &authv1.ListPasskeysRequest{})
		if err != nil || list.Passkeys[0].BackedUp != (flags != 0) {
			t.Errorf("ListPasskeys = %v, %v", list, err)
		}
	}
	_, err := passkeySignIn(t, srv, key, func(c *testkit.Ceremony) { c.Flags &^= testkit.BackupEligible })
	passkeyRefused(t, "an eligibility that is gone", err)
}

func TestACredentialIsOfOneAccount(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, q := srv.Register(t), srv.Register(t)
	key, _ := addPasskey(t, srv, p, testkit.ES256)
	thief := testkit.NewPasskey(t, passkeyOrigin(srv), testkit.ES256)
	thief.ID = key.ID
	_, err := tryAddPasskey(t, srv, q, thief)
	refused(t, "another account's credential id", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_PASSKEY_TAKEN)
	_, err = tryAddPasskey(t, srv, p, thief)
	refused(t, "one's own credential id", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_PASSKEY_TAKEN)
	if n := countRows(t, srv, "SELECT count(*) FROM auth.recovery_codes WHERE user_id = $1", uuidOf(t, q.User.Id)); n != 0 {
		t.Errorf("a refused passkey left %d recovery codes", n)
	}
	in, err := passkeySignIn(t, srv, key)
	if err != nil || in.Session.UserId != p.User.Id {
		t.Errorf("SignInWithPasskey = %v, %v", in, err)
	}
	start, err := passkeysOf(srv, p.Token).StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	if err != nil || !strings.Contains(start.OptionsJson, base64.RawURLEncoding.EncodeToString(key.ID)) {
		t.Errorf("the user's passkeys are not excluded: %v, %v", start, err)
	}

	// At once: one account has it.
	racer := testkit.NewPasskey(t, passkeyOrigin(srv), testkit.ES256)
	requests := make([]*authv1.RegisterPasskeyRequest, 2)
	for i, who := range []*testkit.Person{p, q} {
		start, err := passkeysOf(srv, who.Token).StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
		if err != nil {
			t.Fatal(err)
		}
		requests[i] = &authv1.RegisterPasskeyRequest{ChallengeId: start.ChallengeId, CredentialJson: racer.Create(t, start.OptionsJson)}
	}
	var won atomic.Int32
	together(2, func(i int) {
		if _, err := passkeysOf(srv, []string{p.Token, q.Token}[i]).RegisterPasskey(t.Context(), requests[i]); err == nil {
			won.Add(1)
		} else {
			refused(t, "at once", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_PASSKEY_TAKEN)
		}
	})
	if won.Load() != 1 {
		t.Errorf("%d accounts have one credential", won.Load())
	}
}

func TestAnUnprovenAddressGetsNoPasskey(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: verifyAfter, WithoutJobs: true})
	p := newPerson(t, srv)
	_, err := passkeysOf(srv, p.Token).StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	refused(t, "an unproven address", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
}

func TestAnAccountHasAtMostTwentyPasskeys(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	c := passkeysOf(srv, p.Token)
	for range 18 {
		addPasskey(t, srv, p, testkit.EdDSA)
	}
	// Of six at once, two.
	requests := make([]*authv1.RegisterPasskeyRequest, 6)
	for i := range requests {
		start, err := c.StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
		if err != nil {
			t.Fatal(err)
		}
		requests[i] = &authv1.RegisterPasskeyRequest{
			ChallengeId: start.ChallengeId, CredentialJson: testkit.NewPasskey(t, passkeyOrigin(srv), testkit.EdDSA).Create(t, start.OptionsJson),
		}
	}
	together(len(requests), func(i int) {
		if _, err := c.RegisterPasskey(t.Context(), requests[i]); err != nil {
			refused(t, "one too many", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_TOO_MANY)
		}
	})
	list, err := c.ListPasskeys(t.Context(), &authv1.ListPasskeysRequest{})
	if err != nil || len(list.Passkeys) != 20 || list.Passkeys[0].DisplayName != "Key" || list.Passkeys[19].DisplayName != "Passkey" {
		t.Errorf("%d passkeys, %v", len(list.GetPasskeys()), err)
	}
	_, err = c.StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	refused(t, "with twenty", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_TOO_MANY)
}

func TestPasskeysAreRenamedAndRemoved(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, q := srv.Register(t), srv.Register(t)
	key, made := addPasskey(t, srv, p, testkit.ES256)
	_, more := addPasskey(t, srv, p, testkit.ES256)
	if len(more.RecoveryCodes) != 0 {
		t.Errorf("the second passkey came with recovery codes: %v", more.RecoveryCodes)
	}
	c, stranger := passkeysOf(srv, p.Token), passkeysOf(srv, q.Token)
	_, err := stranger.UpdatePasskey(t.Context(), &authv1.UpdatePasskeyRequest{PasskeyId: made.Passkey.Id, DisplayName: "Mine"})
	refused(t, "another user's name", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
	_, err = stranger.DeletePasskey(t.Context(), &authv1.DeletePasskeyRequest{PasskeyId: made.Passkey.Id})
	refused(t, "another user's passkey", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
	_, err = c.UpdatePasskey(t.Context(), &authv1.UpdatePasskeyRequest{PasskeyId: made.Passkey.Id, DisplayName: "  "})
	refused(t, "a blank name", err, connect.CodeInvalidArgument, faultv1.Reason_REASON_FIELD_INVALID)
	renamed, err := c.UpdatePasskey(t.Context(), &authv1.UpdatePasskeyRequest{PasskeyId: made.Passkey.Id, DisplayName: "Phone"})
	if err != nil || renamed.Passkey.DisplayName != "Phone" || renamed.Passkey.Id != made.Passkey.Id {
		t.Errorf("UpdatePasskey = %v, %v", renamed, err)
	}

	left := func() int {
		return countRows(t, srv, "SELECT count(*) FROM auth.recovery_codes WHERE user_id = $1", uuidOf(t, p.User.Id))
	}
	waiting := askPasskey(t, c)
	for i, id := range []string{made.Passkey.Id, more.Passkey.Id} {
		if _, err := c.DeletePasskey(t.Context(), &authv1.DeletePasskeyRequest{PasskeyId: id}); err != nil {
			t.Fatal(err)
		}
		_, err := c.DeletePasskey(t.Context(), &authv1.DeletePasskeyRequest{PasskeyId: id})
		refused(t, "a passkey that is gone", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
		if got := left(); got != 10-10*i {
			t.Errorf("%d recovery codes after %d passkeys are gone", got, i+1)
		}
	}
	_, err = passkeySignIn(t, srv, key)
	passkeyRefused(t, "a passkey that is gone", err)
	_, err = c.auth.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Passkey: answerPasskey(t, key, waiting)})
	refused(t, "a passkey that is gone, to reauthenticate", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_FACTOR_MISSING)
	passkeyMails(t, srv, p.Email, "A passkey was removed.", 2)
	if s := lives(t, "a password's session", srv.Client("", client.WithSession(passwordSession(t, srv, p)))); s.Session.SecondFactorPending {
		t.Error("an account without a second factor owes one")
	}
	logged(t, p, "", "user.registered", "passkey.created", "passkey.created", "passkey.updated", "passkey.deleted", "passkey.deleted", "session.created")
}

// TestAPasskeyThatIsTheLastWayToSignInStays takes the other ways away by hand: every account that the
// product makes has a proven address.
func TestAPasskeyThatIsTheLastWayToSignInStays(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	_, first := addPasskey(t, srv, p, testkit.ES256)
	_, second := addPasskey(t, srv, p, testkit.ES256)
	for _, sql := range []string{
		"DELETE FROM auth.credentials WHERE user_id = $1", "UPDATE identity.emails SET verified_time = NULL WHERE user_id = $1",
	} {
		if _, err := srv.SQL.Exec(t.Context(), sql, uuidOf(t, p.User.Id)); err != nil {
			t.Fatal(err)
		}
	}
	// Both at once: each would count on the other.
	var won atomic.Int32
	together(2, func(i int) {
		_, err := passkeysOf(srv, p.Token).DeletePasskey(t.Context(), &authv1.DeletePasskeyRequest{PasskeyId: []string{first.Passkey.Id, second.Passkey.Id}[i]})
		if err == nil {
			won.Add(1)
			return
		}
		refused(t, "the last way", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_LAST_SIGN_IN_METHOD)
	})
	if won.Load() != 1 {
		t.Errorf("%d of 2 ways were removed", won.Load())
	}
}

func TestADisabledAccountsPasskeyIsRefused(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key, _ := addPasskey(t, srv, p, testkit.ES256)
	disable(t, srv, p)
	_, err := passkeySignIn(t, srv, key)
	refused(t, "a disabled account", err, connect.CodePermissionDenied, faultv1.Reason_REASON_ACCOUNT_DISABLED)
	_, err = passkeySignIn(t, srv, key, func(c *testkit.Ceremony) { c.RPID = "evil.example" })
	passkeyRefused(t, "a wrong answer for a disabled account", err)
}

// disable disables an account, as an operator does.
func disable(t testing.TB, srv *testkit.Server, p *testkit.Person) {
	t.Helper()
	if _, err := srv.SQL.Exec(t.Context(), `
		INSERT INTO auth.disablements (user_id, reason, create_time) VALUES ($1, 'test', $2)`, uuidOf(t, p.User.Id), srv.Clock.Now()); err != nil {
		t.Fatal(err)
	}
}

// TestASessionThatEndedAddsNoPasskey holds the user while a session of theirs is ended,
// and then lets a registration that began before go on.
func TestASessionThatEndedAddsNoPasskey(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	c := passkeysOf(srv, p.Token)
	start, err := c.StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	if err != nil {
		t.Fatal(err)
	}
	tx, err := srv.SQL.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), "SELECT 1 FROM identity.users WHERE id = $1 FOR NO KEY UPDATE", uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := c.RegisterPasskey(t.Context(), &authv1.RegisterPasskeyRequest{
			ChallengeId: start.ChallengeId, CredentialJson: testkit.NewPasskey(t, passkeyOrigin(srv), testkit.ES256).Create(t, start.OptionsJson),
		})
		done <- err
	}()
	testkit.Eventually(t, "the registration to wait for the user", func() bool {
		return countRows(t, srv, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") > 0
	})
	if _, err := tx.Exec(t.Context(), "DELETE FROM auth.sessions WHERE user_id = $1", uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	refused(t, "a session that ended meanwhile", <-done, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
	if n := countRows(t, srv, "SELECT count(*) FROM auth.passkeys"); n != 0 {
		t.Errorf("%d passkeys were added", n)
	}
	user, err := ids.Parse[ids.User](p.User.Id)
	if err != nil {
		t.Fatal(err)
	}
	_, err = srv.Store.StartChallenge(t.Context(), auth.ToProve, &authz.Session{ID: ids.New[ids.Session](), User: user}, []byte("{}"))
	if !fault.Has(err, fault.SessionRequired) {
		t.Errorf("a session that ended is asked: %v", err)
	}
}

// TestWhoActsForAUserLeavesTheirPasskeysAlone makes a session an operator's, in the
// user's name.
func TestWhoActsForAUserLeavesTheirPasskeysAlone(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, operator := srv.Register(t), srv.Register(t)
	key, made := addPasskey(t, srv, p, testkit.ES256)
	start := askPasskey(t, passkeysOf(srv, p.Token))
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE auth.sessions SET impersonator_id = $2, impersonation_reason = 'test' WHERE id = $1",
		uuidOf(t, p.Session.Id), uuidOf(t, operator.User.Id)); err != nil {
		t.Fatal(err)
	}
	c := passkeysOf(srv, p.Token)
	if asked := askPasskey(t, c); strings.Contains(asked.OptionsJson, "allowCredentials") {
		t.Errorf("who acts for a user is told their passkeys: %s", asked.OptionsJson)
	}
	no := func(what string, err error) {
		t.Helper()
		refused(t, what, err, connect.CodePermissionDenied, faultv1.Reason_REASON_IMPERSONATION_NOT_ALLOWED)
	}
	_, err := c.auth.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Passkey: answerPasskey(t, key, start)})
	no("to reauthenticate", err)
	_, err = c.UpdatePasskey(t.Context(), &authv1.UpdatePasskeyRequest{PasskeyId: made.Passkey.Id, DisplayName: "Mine"})
	no("to rename", err)
	_, err = c.DeletePasskey(t.Context(), &authv1.DeletePasskeyRequest{PasskeyId: made.Passkey.Id})
	no("to remove", err)
	_, err = c.StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	no("to begin one", err)
	_, err = c.RegisterPasskey(t.Context(), &authv1.RegisterPasskeyRequest{ChallengeId: start.ChallengeId, CredentialJson: "{}"})
	no("to add one", err)
}

// TestAPasskeyOwesNothingBesideAnAuthenticatorApp is about an account that has both.
func TestAPasskeyOwesNothingBesideAnAuthenticatorApp(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	a, codes := enrol(t, srv, p)
	key, made := addPasskey(t, srv, p, testkit.EdDSA)
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
	if n := countRows(t, srv, "SELECT count(*) FROM auth.recovery_codes"); n != 10 {
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
		made := testkit.NewPasskey(t, passkeyOrigin(srv), testkit.EdDSA).Create(t, start.OptionsJson)
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
		if n := countRows(t, srv, "SELECT count(*) FROM auth.sessions WHERE user_id = $1 AND NOT second_factor_pending", uuidOf(t, p.User.Id)); n != 1 {
			t.Errorf("%d sessions owe nothing, want 1", n)
		}
	}
}

func TestWrongPasskeysWaitAsOtherSecondFactorsDo(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key, _ := addPasskey(t, srv, p, testkit.ES256)
	forge := func(c *testkit.Ceremony) { c.Flags &^= testkit.UserVerified }
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
		key := testkit.NewPasskey(t, origin, testkit.EdDSA)
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
