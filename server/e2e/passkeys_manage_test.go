package e2e

import (
	"encoding/base64"
	"strings"
	"sync/atomic"
	"testing"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/internal/testkit/fake"
	"github.com/logicspike/manager/store/auth"
)

func TestACredentialIsOfOneAccount(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, q := srv.Register(t), srv.Register(t)
	key, _ := addPasskey(t, srv, p, fake.ES256)
	thief := fake.NewPasskey(t, passkeyOrigin(srv), fake.ES256)
	thief.ID = key.ID
	_, err := tryAddPasskey(t, srv, q, thief)
	refused(t, "another account's credential id", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_PASSKEY_TAKEN)
	_, err = tryAddPasskey(t, srv, p, thief)
	refused(t, "one's own credential id", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_PASSKEY_TAKEN)
	if n := count(t, srv, "SELECT count(*) FROM auth.recovery_codes WHERE user_id = $1", uuidOf(t, q.User.Id)); n != 0 {
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
	racer := fake.NewPasskey(t, passkeyOrigin(srv), fake.ES256)
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
		addPasskey(t, srv, p, fake.EdDSA)
	}
	// Of six at once, two.
	requests := make([]*authv1.RegisterPasskeyRequest, 6)
	for i := range requests {
		start, err := c.StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
		if err != nil {
			t.Fatal(err)
		}
		requests[i] = &authv1.RegisterPasskeyRequest{
			ChallengeId: start.ChallengeId, CredentialJson: fake.NewPasskey(t, passkeyOrigin(srv), fake.EdDSA).Create(t, start.OptionsJson),
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
	key, made := addPasskey(t, srv, p, fake.ES256)
	_, more := addPasskey(t, srv, p, fake.ES256)
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
		return count(t, srv, "SELECT count(*) FROM auth.recovery_codes WHERE user_id = $1", uuidOf(t, p.User.Id))
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
	_, first := addPasskey(t, srv, p, fake.ES256)
	_, second := addPasskey(t, srv, p, fake.ES256)
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
	key, _ := addPasskey(t, srv, p, fake.ES256)
	disable(t, srv, p)
	_, err := passkeySignIn(t, srv, key)
	refused(t, "a disabled account", err, connect.CodePermissionDenied, faultv1.Reason_REASON_ACCOUNT_DISABLED)
	_, err = passkeySignIn(t, srv, key, func(c *fake.Ceremony) { c.RPID = "evil.example" })
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
	err = meanwhile(t, srv, p, endSessions, func() error {
		_, err := c.RegisterPasskey(t.Context(), &authv1.RegisterPasskeyRequest{
			ChallengeId: start.ChallengeId, CredentialJson: fake.NewPasskey(t, passkeyOrigin(srv), fake.ES256).Create(t, start.OptionsJson),
		})
		return err
	})
	refused(t, "a session that ended meanwhile", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
	if n := count(t, srv, "SELECT count(*) FROM auth.passkeys"); n != 0 {
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
	key, made := addPasskey(t, srv, p, fake.ES256)
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
