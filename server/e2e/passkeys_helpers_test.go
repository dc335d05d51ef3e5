package e2e

import (
	"net/http"
	"strings"
	"testing"

	"connectrpc.com/connect"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/internal/testkit/fake"
)

// passkeyClients are the clients that passkeys need.
type passkeyClients struct {
	authv1connect.PasskeyServiceClient
	mfa  authv1connect.MfaServiceClient
	auth authv1connect.AuthenticationServiceClient
}

// passkeysOf returns the clients with the token of a session, or none.
func passkeysOf(srv *testkit.Server, token string) passkeyClients {
	return passkeysBy(srv, token, http.DefaultClient)
}

func passkeysBy(srv *testkit.Server, token string, by connect.HTTPClient) passkeyClients {
	c := srv.Client("", client.WithHTTPClient(by), client.WithSession(token))
	return passkeyClients{c.Passkeys, c.SecondFactors, c.Authentication}
}

// passkeyOrigin is where a server's own pages are: the name of the address that the
// tests call it by.
func passkeyOrigin(srv *testkit.Server) string {
	return strings.Replace(srv.URL, "127.0.0.1", "localhost", 1)
}

// addPasskey gives a person a new passkey, and returns what was answered.
func addPasskey(t testing.TB, srv *testkit.Server, p *testkit.Person, alg int) (*fake.Passkey, *authv1.RegisterPasskeyResponse) {
	t.Helper()
	key := fake.NewPasskey(t, passkeyOrigin(srv), alg)
	res, err := tryAddPasskey(t, srv, p, key)
	if err != nil {
		t.Fatalf("RegisterPasskey: %v", err)
	}
	return key, res
}

func tryAddPasskey(t testing.TB, srv *testkit.Server, p *testkit.Person, key *fake.Passkey, changes ...func(*fake.Ceremony)) (*authv1.RegisterPasskeyResponse, error) {
	t.Helper()
	c := passkeysOf(srv, p.Token)
	start, err := c.StartPasskeyRegistration(t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	if err != nil {
		t.Fatalf("StartPasskeyRegistration: %v", err)
	}
	return c.RegisterPasskey(t.Context(), &authv1.RegisterPasskeyRequest{
		ChallengeId: start.ChallengeId, CredentialJson: key.Create(t, start.OptionsJson, changes...), DisplayName: " Key ",
	})
}

// askPasskey asks for an answer, of the session's user or of anybody.
func askPasskey(t testing.TB, c passkeyClients) *authv1.StartPasskeyAssertionResponse {
	t.Helper()
	start, err := c.StartPasskeyAssertion(t.Context(), &authv1.StartPasskeyAssertionRequest{})
	if err != nil {
		t.Fatalf("StartPasskeyAssertion: %v", err)
	}
	return start
}

// answerPasskey is a passkey's answer to what was asked.
func answerPasskey(t testing.TB, key *fake.Passkey, start *authv1.StartPasskeyAssertionResponse, changes ...func(*fake.Ceremony)) *authv1.PasskeyAssertion {
	t.Helper()
	return &authv1.PasskeyAssertion{ChallengeId: start.ChallengeId, CredentialJson: key.Get(t, start.OptionsJson, changes...)}
}

// passkeySignIn signs in by a passkey.
func passkeySignIn(t testing.TB, srv *testkit.Server, key *fake.Passkey, changes ...func(*fake.Ceremony)) (*authv1.SignInWithPasskeyResponse, error) {
	t.Helper()
	c := passkeysOf(srv, "")
	return c.SignInWithPasskey(t.Context(), &authv1.SignInWithPasskeyRequest{Passkey: answerPasskey(t, key, askPasskey(t, c), changes...)})
}

// passkeyVerify gives a session a passkey for the second factor that it owes.
func passkeyVerify(t testing.TB, srv *testkit.Server, token string, key *fake.Passkey, changes ...func(*fake.Ceremony)) (*authv1.VerifySecondFactorResponse, error) {
	t.Helper()
	c := passkeysOf(srv, token)
	return c.mfa.VerifySecondFactor(t.Context(), &authv1.VerifySecondFactorRequest{
		Proof: &authv1.VerifySecondFactorRequest_Passkey{Passkey: answerPasskey(t, key, askPasskey(t, c), changes...)},
	})
}

// passkeyReauthenticate proves again whose a session is.
func passkeyReauthenticate(t testing.TB, srv *testkit.Server, token string, key *fake.Passkey, changes ...func(*fake.Ceremony)) (*authv1.ReauthenticateResponse, error) {
	t.Helper()
	c := passkeysOf(srv, token)
	return c.auth.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Passkey: answerPasskey(t, key, askPasskey(t, c), changes...)})
}

// passwordSession signs in by password, and returns the session's token.
func passwordSession(t testing.TB, srv *testkit.Server, p *testkit.Person) string {
	t.Helper()
	res, err := srv.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: testkit.Password})
	if err != nil {
		t.Fatalf("SignInWithPassword: %v", err)
	}
	return res.SessionToken
}

// The refusals of a passkey's answer: to sign in, for a session, and of its challenge.

func passkeyRefused(t testing.TB, what string, err error) {
	t.Helper()
	refused(t, what, err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
	if err != nil && !strings.HasSuffix(err.Error(), "the passkey's answer is wrong, or the passkey is not known") {
		t.Errorf("%s: the refusal tells more: %v", what, err)
	}
}

func secondPasskeyRefused(t testing.TB, what string, err error) {
	t.Helper()
	refused(t, what, err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SECOND_FACTOR_INVALID)
	if err != nil && !strings.HasSuffix(err.Error(), "the passkey's answer is wrong, or the passkey is not yours") {
		t.Errorf("%s: the refusal tells more: %v", what, err)
	}
}

func challengeRefused(t testing.TB, what string, err error) {
	t.Helper()
	refused(t, what, err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_CHALLENGE_INVALID)
}

// passkey gives the caller a passkey, and returns its id.
func (w *world) passkey() string {
	w.t.Helper()
	w.prove(w.self())
	_, made := addPasskey(w.t, w.srv, w.self(), fake.EdDSA)
	return made.Passkey.Id
}

// newPasskey begins to register a passkey of the caller.
func (w *world) newPasskey() *authv1.RegisterPasskeyRequest {
	w.t.Helper()
	w.prove(w.self())
	start, err := w.self().Passkeys.StartPasskeyRegistration(w.t.Context(), &authv1.StartPasskeyRegistrationRequest{})
	w.must(err)
	return &authv1.RegisterPasskeyRequest{
		ChallengeId: start.ChallengeId, CredentialJson: fake.NewPasskey(w.t, passkeyOrigin(w.srv), fake.EdDSA).Create(w.t, start.OptionsJson),
	}
}

// passkeyAnswer begins a sign-in of the owner by a passkey.
func (w *world) passkeyAnswer() *authv1.SignInWithPasskeyRequest {
	w.t.Helper()
	key, _ := addPasskey(w.t, w.srv, w.owner, fake.EdDSA)
	return &authv1.SignInWithPasskeyRequest{Passkey: answerPasskey(w.t, key, askPasskey(w.t, passkeysOf(w.srv, "")))}
}
