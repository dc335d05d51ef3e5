package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/pquerna/otp/hotp"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/gen/go/logicspike/auth/v1/authv1connect"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
)

// factors are the clients of the services of this topic, with the token of a session.
type factors struct {
	authv1connect.MfaServiceClient
	authv1connect.EmailChallengeServiceClient
	authv1connect.SecurityServiceClient
}

func factorsOf(srv *testkit.Server, token string) factors {
	return factorsBy(srv, token, http.DefaultClient)
}

func factorsBy(srv *testkit.Server, token string, by connect.HTTPClient) factors {
	var options []connect.ClientOption
	if token != "" {
		options = append(options, connect.WithInterceptors(connect.UnaryInterceptorFunc(func(next connect.UnaryFunc) connect.UnaryFunc {
			return func(ctx context.Context, req connect.AnyRequest) (connect.AnyResponse, error) {
				req.Header().Set("Authorization", "Bearer "+token)
				return next(ctx, req)
			}
		})))
	}
	return factors{
		authv1connect.NewMfaServiceClient(by, srv.URL, options...),
		authv1connect.NewEmailChallengeServiceClient(by, srv.URL, options...),
		authv1connect.NewSecurityServiceClient(by, srv.URL, options...),
	}
}

// app is an authenticator app: a secret, and the server's clock.
type app struct {
	srv    *testkit.Server
	id     string
	secret string
}

// code is what the app shows so many steps of 30 seconds from now.
func (a *app) code(t testing.TB, steps int) string {
	t.Helper()
	code, err := hotp.GenerateCode(a.secret, uint64(a.srv.Clock.Now().Unix()/30+int64(steps)))
	if err != nil {
		t.Fatal(err)
	}
	return code
}

// other is a code that the app does not show around now.
func (a *app) other(t testing.TB) string {
	t.Helper()
	for i := range 100 {
		code := fmt.Sprintf("%06d", i)
		shown := false
		for step := -3; step <= 3; step++ {
			shown = shown || a.code(t, step) == code
		}
		if !shown {
			return code
		}
	}
	t.Fatal("the app shows everything")
	return ""
}

// tick waits until the app shows a code that nobody has used.
func (a *app) tick() { a.srv.Clock.Advance(time.Minute) }

// create begins to enrol an app.
func create(t testing.TB, srv *testkit.Server, token string) *app {
	t.Helper()
	res, err := factorsOf(srv, token).CreateTotpFactor(t.Context(), &authv1.CreateTotpFactorRequest{})
	if err != nil {
		t.Fatalf("CreateTotpFactor: %v", err)
	}
	return &app{srv, res.TotpFactorId, res.Secret}
}

// enrol gives a person an authenticator app, and returns it with the recovery codes.
// The app then shows a code that nobody has used.
func enrol(t testing.TB, srv *testkit.Server, p *testkit.Person) (*app, []string) {
	t.Helper()
	a := create(t, srv, p.Token)
	res, err := factorsOf(srv, p.Token).ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: a.id, Code: a.code(t, 0)})
	if err != nil {
		t.Fatalf("ConfirmTotpFactor: %v", err)
	}
	a.tick()
	return a, res.RecoveryCodes
}

// begin signs somebody in by their password, and returns the session's token.
func begin(t testing.TB, srv *testkit.Server, email string) string {
	t.Helper()
	res, err := srv.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: email, Password: testkit.Password})
	if err != nil {
		t.Fatalf("SignInWithPassword: %v", err)
	}
	return res.SessionToken
}

// owing is begin for a session that then owes its second factor.
func owing(t testing.TB, srv *testkit.Server, email string) string {
	t.Helper()
	token := begin(t, srv, email)
	owes(t, "a sign-in by password", srv, token)
	return token
}

// owes checks that a session owes its second factor, and can do nothing else.
func owes(t testing.TB, what string, srv *testkit.Server, token string) {
	t.Helper()
	c := srv.Client("", client.WithSession(token))
	if s := lives(t, what, c); !s.Session.SecondFactorPending || len(s.Requirements) == 0 ||
		s.Requirements[0] != authv1.AccountRequirement_ACCOUNT_REQUIREMENT_SECOND_FACTOR_REQUIRED {
		t.Errorf("%s: the session owes nothing: %v", what, s)
	}
	_, err := c.Sessions.ListSessions(t.Context(), &authv1.ListSessionsRequest{})
	refused(t, what, err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_SECOND_FACTOR_REQUIRED)
}

func verifyTOTP(t testing.TB, srv *testkit.Server, token, code string) (*authv1.VerifySecondFactorResponse, error) {
	t.Helper()
	return factorsOf(srv, token).VerifySecondFactor(t.Context(), &authv1.VerifySecondFactorRequest{
		Proof: &authv1.VerifySecondFactorRequest_TotpCode{TotpCode: code},
	})
}

func verifyRecovery(t testing.TB, srv *testkit.Server, token, code string) (*authv1.VerifySecondFactorResponse, error) {
	t.Helper()
	return factorsOf(srv, token).VerifySecondFactor(t.Context(), &authv1.VerifySecondFactorRequest{
		Proof: &authv1.VerifySecondFactorRequest_RecoveryCode{RecoveryCode: code},
	})
}

func reauthenticateTOTP(t testing.TB, srv *testkit.Server, token, code string) (*authv1.ReauthenticateResponse, error) {
	t.Helper()
	return srv.Client("", client.WithSession(token)).Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{TotpCode: code})
}

func factorInvalid(t testing.TB, what string, err error) {
	t.Helper()
	refused(t, what, err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SECOND_FACTOR_INVALID)
}

func factorMissing(t testing.TB, what string, err error) {
	t.Helper()
	refused(t, what, err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_FACTOR_MISSING)
}

// browser is an HTTP client that keeps all cookies of one host, secure ones too,
// though the tests' server speaks plain HTTP.
type browser struct {
	mu      sync.Mutex
	cookies map[string]string
}

func newBrowser() *browser { return &browser{cookies: map[string]string{}} }

// Do sends a request.
func (b *browser) Do(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	b.mu.Lock()
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	b.mu.Unlock()
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range res.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return res, nil
}

// emailSignIn begins a sign-in by mail of the owner, to be completed.
func (w *world) emailSignIn() *authv1.CompleteEmailSignInRequest {
	w.t.Helper()
	w.prove(w.owner)
	res, err := factorsOf(w.srv, "").StartEmailSignIn(w.t.Context(), &authv1.StartEmailSignInRequest{Email: w.owner.Email})
	w.must(err)
	return &authv1.CompleteEmailSignInRequest{
		EmailChallengeId: res.EmailChallengeId, Code: queued(w.t, w.srv, w.owner.Email).Data["code"], BindingToken: res.BindingToken,
	}
}

// unconfirmedFactor begins to enrol an authenticator app of the caller, to be
// confirmed.
func (w *world) unconfirmedFactor() *authv1.ConfirmTotpFactorRequest {
	w.t.Helper()
	w.prove(w.self())
	a := create(w.t, w.srv, w.self().Token)
	return &authv1.ConfirmTotpFactorRequest{TotpFactorId: a.id, Code: a.code(w.t, 0)}
}

// totpFactor gives the caller a confirmed authenticator app, in place of others.
func (w *world) totpFactor() string {
	w.t.Helper()
	w.sql("DELETE FROM auth.totp_factors WHERE user_id = $1 AND confirm_time IS NOT NULL", uuidOf(w.t, w.self().User.Id))
	id := ids.New[ids.Factor]()
	w.sql(`INSERT INTO auth.totp_factors (id, user_id, display_name, secret, confirm_time, expire_time, create_time)
	       VALUES ($1, $2, 'App', '\x00', now(), now(), now())`, id.UUID(), uuidOf(w.t, w.self().User.Id))
	w.sql(`INSERT INTO audit.events (id, user_id, actor_kind, actor_user_id, action, target_id, create_time)
	       VALUES (gen_random_uuid(), $1, 'user', $1, 'totp_factor.created', $2, now())`, uuidOf(w.t, w.self().User.Id), id.String())
	return id.String()
}

// startEmail begins a sign-in by mail, and returns the requests that complete it: by
// the code, and by the link.
func startEmail(t testing.TB, srv *testkit.Server, email string) (byCode, byLink *authv1.CompleteEmailSignInRequest) {
	t.Helper()
	before := len(mailsAbout(t, srv, email, "Sign in to"))
	res, err := factorsOf(srv, "").StartEmailSignIn(t.Context(), &authv1.StartEmailSignInRequest{Email: email})
	if err != nil {
		t.Fatalf("StartEmailSignIn: %v", err)
	}
	m := mailAbout(t, srv, email, "Sign in to", before+1)
	byCode = &authv1.CompleteEmailSignInRequest{EmailChallengeId: res.EmailChallengeId, Code: testkit.CodeIn(t, m), BindingToken: res.BindingToken}
	byLink = &authv1.CompleteEmailSignInRequest{Token: testkit.TokenIn(t, m), BindingToken: res.BindingToken}
	return byCode, byLink
}

// mailsAbout are the mails to an address whose subject begins in a way, the newest
// first.
func mailsAbout(t testing.TB, srv *testkit.Server, email, subject string) []mail.StoredMessage {
	t.Helper()
	return slices.DeleteFunc(srv.Mails(t, email), func(m mail.StoredMessage) bool { return !strings.HasPrefix(m.Subject, subject) })
}

// mailAbout waits until there are so many of them, and returns the last.
func mailAbout(t testing.TB, srv *testkit.Server, email, subject string, count int) mail.StoredMessage {
	t.Helper()
	var list []mail.StoredMessage
	testkit.Eventually(t, fmt.Sprintf("%d mails to %s: %s", count, email, subject), func() bool {
		list = mailsAbout(t, srv, email, subject)
		return len(list) >= count
	})
	return list[0]
}

// What becomes of a user's sessions while a call by one of them waits.
const (
	endSessions = "DELETE FROM auth.sessions WHERE user_id = $1"
	voidTokens  = `
		UPDATE auth.sessions SET token_hash = sha256(token_hash), auth_time = auth_time + interval '1 second', last_use_time = last_use_time + interval '1 second'
		WHERE user_id = $1`
)

// meanwhile holds a person's user until a call of theirs waits for it, does something
// to their sessions, and returns what becomes of the call.
func meanwhile(t *testing.T, srv *testkit.Server, p *testkit.Person, change string, call func() error) error {
	t.Helper()
	return whileItWaits(t, srv, "identity.users", p.User.Id, call, change, p.User.Id)
}
