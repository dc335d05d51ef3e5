package e2e

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/internal/testkit/fake"
)

// forgedPasskeys are answers that are wrong in what the authenticator or the browser
// tells; server/auth/passkey has many more.
var forgedPasskeys = map[string]func(*fake.Ceremony){
	"another challenge":                           func(c *fake.Ceremony) { c.ClientData["challenge"] = strings.Repeat("A", 43) },
	"another origin":                              func(c *fake.Ceremony) { c.ClientData["origin"] = "https://evil.example" },
	"an origin of another port":                   func(c *fake.Ceremony) { c.ClientData["origin"] = "http://localhost:1" },
	"an allowed origin that is of another domain": func(c *fake.Ceremony) { c.ClientData["origin"] = "http://app.example.com" },
	"another relying party":                       func(c *fake.Ceremony) { c.RPID = "evil.example" },
	"another type":                                func(c *fake.Ceremony) { c.ClientData["type"] = "payment.get" },
	"an absent user":                              func(c *fake.Ceremony) { c.Flags &^= fake.UserPresent },
	"an unverified user":                          func(c *fake.Ceremony) { c.Flags &^= fake.UserVerified },
	"backed up, and not eligible":                 func(c *fake.Ceremony) { c.Flags |= fake.BackedUp },
	"a frame in a page of another site": func(c *fake.Ceremony) {
		c.ClientData["crossOrigin"], c.ClientData["topOrigin"] = true, "https://evil.example"
	},
}

func TestForgedPasskeyRegistrationsMakeNothing(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	for name, forge := range forgedPasskeys {
		_, err := tryAddPasskey(t, srv, p, fake.NewPasskey(t, passkeyOrigin(srv), fake.ES256), forge)
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
			ChallengeId: start.ChallengeId, CredentialJson: fake.NewPasskey(t, passkeyOrigin(srv), fake.ES256).Create(t, start.OptionsJson),
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
	key, _ := addPasskey(t, srv, p, fake.ES256)
	other, _ := addPasskey(t, srv, q, fake.EdDSA)
	var token string
	all := map[string]func(*fake.Ceremony){
		"another user's handle":     func(c *fake.Ceremony) { c.Handle = other.Handle },
		"another user's credential": func(c *fake.Ceremony) { c.ID = other.ID },
		"another user's both":       func(c *fake.Ceremony) { c.ID, c.Handle = other.ID, other.Handle },
		"an unknown credential":     func(c *fake.Ceremony) { c.ID = make([]byte, 32) },
		"an eligibility that is new": func(c *fake.Ceremony) {
			c.Flags |= fake.BackupEligible
		},
		"a signature that is altered": func(c *fake.Ceremony) {
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
	_, err := passkeySignIn(t, srv, key, func(c *fake.Ceremony) { c.Handle = nil })
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
	key, _ := addPasskey(t, srv, p, fake.ES256)
	forge := func(c *fake.Ceremony) { c.RPID = "evil.example" }
	_, err := passkeySignIn(t, srv, key, forge)
	passkeyRefused(t, "to sign in", err)
	_, err = passkeySignIn(t, srv, key, func(c *fake.Ceremony) { c.ID = make([]byte, 32) })
	passkeyRefused(t, "an unknown passkey", err)
	_, err = passkeyReauthenticate(t, srv, p.Token, key, forge)
	secondPasskeyRefused(t, "to reauthenticate", err)
	_, err = passkeyVerify(t, srv, passwordSession(t, srv, p), key, forge)
	secondPasskeyRefused(t, "for a second factor", err)
	for action, want := range map[string]int{"sign_in.refused": 2, "reauthentication.refused": 1} {
		testkit.Eventually(t, action, func() bool {
			return count(t, srv, "SELECT count(*) FROM audit.events WHERE user_id = $1 AND action = $2 AND details ->> 'method' = 'passkey'", uuidOf(t, p.User.Id), action) == want
		})
	}
}

func TestAChallengeIsForOnePurposeAndOneSessionAndOnce(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key, _ := addPasskey(t, srv, p, fake.ES256)
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
	fresh := fake.NewPasskey(t, passkeyOrigin(srv), fake.ES256)
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
	if n := count(t, srv, "SELECT count(*) FROM auth.challenges WHERE id = $1", uuidOf(t, ofEnded.ChallengeId)); n != 0 {
		t.Error("the challenge of a session outlives it")
	}
	for range 20 {
		askPasskey(t, passkeysOf(srv, "")) // left alone
	}
	srv.Clock.Advance(6 * time.Minute)
	if err := srv.Store.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := count(t, srv, "SELECT count(*) FROM auth.challenges"); n != 0 {
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

func TestASessionKeepsFewChallenges(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	key, _ := addPasskey(t, srv, p, fake.ES256)
	c := passkeysOf(srv, p.Token)
	var last *authv1.StartPasskeyAssertionResponse
	for range 20 {
		last = askPasskey(t, c)
	}
	if n := count(t, srv, "SELECT count(*) FROM auth.challenges WHERE purpose = 'session'"); n != 8 {
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
	key, _ := addPasskey(t, srv, p, fake.ES256)
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
	if n := count(t, srv, "SELECT count(*) FROM auth.sessions WHERE user_id = $1", uuidOf(t, p.User.Id)); n != 2 {
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
	key := fake.NewPasskey(t, passkeyOrigin(srv), fake.ES256)
	key.Count = 7
	if _, err := tryAddPasskey(t, srv, p, key); err != nil {
		t.Fatal(err)
	}
	if _, err := passkeySignIn(t, srv, key); err != nil { // 8
		t.Fatal(err)
	}
	suspected := func(n int) {
		t.Helper()
		if got := count(t, srv, "SELECT count(*) FROM audit.events WHERE action = 'passkey.cloned_suspected' AND user_id = $1", uuidOf(t, p.User.Id)); got != n {
			t.Errorf("%d suspicions, want %d", got, n)
		}
	}
	for i, at := range []uint32{8, 7, 1, 0} {
		_, err := passkeySignIn(t, srv, key, func(c *fake.Ceremony) { c.Count = at })
		passkeyRefused(t, fmt.Sprintf("a count of %d after 8", at), err)
		suspected(i + 1)
	}
	token := passwordSession(t, srv, p)
	_, err := passkeyVerify(t, srv, token, key, func(c *fake.Ceremony) { c.Count = 8 })
	secondPasskeyRefused(t, "for a second factor", err)
	_, err = passkeyReauthenticate(t, srv, p.Token, key, func(c *fake.Ceremony) { c.Count = 8 })
	secondPasskeyRefused(t, "to reauthenticate", err)
	suspected(6)
	passkeyMails(t, srv, p.Email, "A passkey was refused", 6)
	_, err = passkeySignIn(t, srv, key, func(c *fake.Ceremony) { c.Count, c.ID = 1, make([]byte, 32) })
	passkeyRefused(t, "an unknown passkey", err)
	_, err = passkeySignIn(t, srv, key, func(c *fake.Ceremony) { c.Count, c.RPID = 1, "evil.example" })
	passkeyRefused(t, "a count that nobody signed for", err)
	suspected(6)

	// Two answers with the same count, at once: a copy.
	c := passkeysOf(srv, "")
	answers := make([]*authv1.PasskeyAssertion, 8)
	for i := range answers {
		answers[i] = answerPasskey(t, key, askPasskey(t, c), func(c *fake.Ceremony) { c.Count = 1000 })
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
	key := fake.NewPasskey(t, passkeyOrigin(srv), fake.ES256)
	key.Flags |= fake.BackupEligible
	if _, err := tryAddPasskey(t, srv, p, key); err != nil {
		t.Fatal(err)
	}
	for _, flags := range []byte{fake.BackedUp, 0} {
		in, err := passkeySignIn(t, srv, key, func(c *fake.Ceremony) { c.Flags |= flags })
		if err != nil {
			t.Fatal(err)
		}
		list, err := passkeysOf(srv, in.SessionToken).ListPasskeys(t.Context(), &authv1.ListPasskeysRequest{})
		if err != nil || list.Passkeys[0].BackedUp != (flags != 0) {
			t.Errorf("ListPasskeys = %v, %v", list, err)
		}
	}
	_, err := passkeySignIn(t, srv, key, func(c *fake.Ceremony) { c.Flags &^= fake.BackupEligible })
	passkeyRefused(t, "an eligibility that is gone", err)
}
