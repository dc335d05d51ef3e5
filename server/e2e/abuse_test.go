package e2e

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/http"
	"os"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// TestWrongPasswordsOfOneNetworkLockNobodyElseOut counts wrong passwords
// for an account, of each network by itself.
func TestWrongPasswordsOfOneNetworkLockNobodyElseOut(t *testing.T) {
	t.Parallel()
	const failures = 5
	srv := testkit.New(t, testkit.Options{Limited: true, WithoutJobs: true, Settings: func(s *config.Settings) {
		s.EmailVerification = config.VerifyAfter
		s.PasswordFailures = failures
	}})
	p := newPerson(t, srv)
	signIn := func(from, password string) error {
		_, err := srv.Client(from).Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: password})
		return err
	}
	expect := func(what, from, password, want string) {
		t.Helper()
		err := signIn(from, password)
		if got := reasonOf(err); got != want {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
		if wait := client.RetryAfter(err); (want == "RATE_LIMITED") != (wait > 0) || wait > 15*time.Minute {
			t.Errorf("%s: retry after %v", what, wait)
		}
	}
	const attacker, owner = "203.0.113.7", "198.51.100.1"

	// 30 guesses at once are five guesses.
	if got := atOnce(30, func(int) error { return signIn(attacker, "a wrong password") }); got["CREDENTIALS_INVALID"] != failures || got["RATE_LIMITED"] != 30-failures {
		t.Errorf("guesses at once: %v", got)
	}
	expect("the right password after the guesses", attacker, testkit.Password, "RATE_LIMITED")
	expect("the right password, by a forged header", "198.51.100.2, "+attacker, testkit.Password, "RATE_LIMITED")
	expect("the right password from elsewhere", owner, testkit.Password, "")
	expect("the right password after the owner's own sign-in", attacker, testkit.Password, "RATE_LIMITED")

	// Not even so many that the account's own limit would be reached.
	for range 110 {
		if got := reasonOf(signIn(attacker, "a wrong password")); got != "RATE_LIMITED" {
			t.Fatalf("a further guess: %q", got)
		}
	}
	expect("the right password from elsewhere after a flood", owner, testkit.Password, "")

	// What one customer has of IPv6 is one network.
	for i := range failures {
		expect("a guess by IPv6", fmt.Sprintf("2001:db8:1:%x::1", i), "a wrong password", "CREDENTIALS_INVALID")
	}
	expect("the right password from the same /48", "2001:db8:1:ffff::1", testkit.Password, "RATE_LIMITED")
	expect("the right password from another /48", "2001:db8:2::1", testkit.Password, "")

	// An address of nobody is limited in the same way.
	nobody := &authv1.SignInWithPasswordRequest{Email: testkit.NewEmail(), Password: "a wrong password"}
	for range failures {
		if _, err := srv.Client(attacker).Authentication.SignInWithPassword(t.Context(), nobody); reasonOf(err) != "CREDENTIALS_INVALID" {
			t.Errorf("a guess for nobody: %v", err)
		}
	}
	if _, err := srv.Client(attacker).Authentication.SignInWithPassword(t.Context(), nobody); reasonOf(err) != "RATE_LIMITED" {
		t.Errorf("a further guess for nobody: %v", err)
	}

	// So are those who have a session, and not yet the password.
	thief := srv.Client(attacker, client.WithSession(p.Token))
	for range failures {
		if _, err := thief.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: "a wrong password"}); reasonOf(err) != "CREDENTIALS_INVALID" {
			t.Errorf("Reauthenticate: %v", err)
		}
	}
	if _, err := thief.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: testkit.Password}); reasonOf(err) != "RATE_LIMITED" {
		t.Errorf("Reauthenticate after too many guesses: %v", err)
	}
	if _, err := thief.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: "another horse, another staple"}); reasonOf(err) != "RATE_LIMITED" {
		t.Errorf("ChangePassword after too many guesses: %v", err)
	}

	srv.Clock.Advance(15 * time.Minute)
	expect("the right password when its time has come", attacker, testkit.Password, "")
	checkLog(t, srv, testkit.Password, "a wrong password")
}

func TestPublicMethodsAreLimitedByNetwork(t *testing.T) {
	t.Parallel()
	const burst = 6
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) {
		s.EmailVerification = config.VerifyAfter
		s.PublicBurst, s.PublicRate = burst, 60
	}})
	p := newPerson(t, srv) // from loopback, a network of its own
	const from = "203.0.113.7"
	calls := []func(c *client.Client) error{
		func(c *client.Client) error {
			_, err := c.Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: testkit.Password})
			return err
		},
		func(c *client.Client) error {
			_, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: testkit.NewEmail(), Password: testkit.Password, WorkspaceName: "Acme"})
			return err
		},
		func(c *client.Client) error {
			_, err := c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: p.Email})
			return err
		},
	}
	for i := range burst {
		if err := calls[i%len(calls)](srv.Client(from)); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	for _, call := range calls {
		err := call(srv.Client(from))
		if reasonOf(err) != "RATE_LIMITED" || connect.CodeOf(err) != connect.CodeResourceExhausted || client.RetryAfter(err) <= 0 || client.RetryAfter(err) > time.Minute {
			t.Errorf("a call after too many: %v, retry after %v", err, client.RetryAfter(err))
		}
		if err := call(srv.Client("203.0.113.8")); err != nil {
			t.Errorf("a call from another network: %v", err)
		}
	}
	// Those who have signed in are not strangers.
	for range burst + 1 {
		if _, err := srv.Client(from, client.WithSession(p.Token)).Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{}); err != nil {
			t.Errorf("GetSession: %v", err)
		}
	}
	srv.Clock.Advance(time.Second) // one more is free
	if err := calls[0](srv.Client(from)); err != nil {
		t.Errorf("a call when its time has come: %v", err)
	}
}

func TestNobodyIsFloodedWithMail(t *testing.T) {
	t.Parallel()
	const mails = 6 // an hour, to one address, that one network can cause
	srv := testkit.New(t, testkit.Options{Limited: true, WithoutJobs: true})
	known := testkit.NewEmail()
	begin := func(from, email string) error {
		_, err := srv.Client(from).Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme"})
		return err
	}
	reset := func(from, email string) error {
		_, err := srv.Client(from).Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: email})
		return err
	}
	if err := begin("", known); err != nil {
		t.Fatal(err)
	}
	account, err := srv.Client("").Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
		Token: queued(t, srv, known).Data["token"], Password: testkit.Password,
	})
	if err != nil {
		t.Fatal(err)
	}
	// By an owner who deletes the workspace and brings it back again and again.
	owner := &testkit.Person{Client: srv.Client("").As(account.Account.SessionToken)}
	id := account.Account.Workspace.Id
	remove := func(etag string) error {
		_, err := owner.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: id, Etag: etag})
		return err
	}
	etag := preview(t, owner, id).Etag
	for i := range 10 {
		because(t, "by another etag", remove("another"), "ETAG_MISMATCH")
		for range 2 { // repeated, nobody is told again
			if err := remove(etag); err != nil {
				t.Fatalf("deletion %d: %v", i, err)
			}
		}
		if _, err := owner.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: id}); err != nil {
			t.Fatal(err)
		}
	}
	because(t, "the eleventh deletion", remove(etag), "RATE_LIMITED")
	because(t, "to require a second factor besides", requireSecondFactor(t, owner, id, true), "RATE_LIMITED")
	because(t, "to require none", requireSecondFactor(t, owner, id, false), "")
	for what, email := range map[string]string{"an account's address": known, "nobody's address": testkit.NewEmail()} {
		spelled := strings.ToUpper(email[:1]) + email[1:]
		for i := range mails {
			if err := []func(string, string) error{begin, reset}[i%2]("203.0.113.7", []string{email, spelled}[i%2]); err != nil {
				t.Fatalf("%s: mail %d: %v", what, i, err)
			}
		}
		for _, call := range []func(string, string) error{begin, reset} {
			if err := call("203.0.113.7", spelled); reasonOf(err) != "RATE_LIMITED" || client.RetryAfter(err) <= 0 {
				t.Errorf("%s: a further mail: %v", what, err)
			}
			if err := call("203.0.113.8", email); err != nil {
				t.Errorf("%s: a mail that another network asks for: %v", what, err)
			}
		}
	}
}

// TestAFloodOfSignInsCostsBoundedMemory sends them with the parameters of
// the defaults: those who find no place in the queue are told so, and meanwhile
// other calls go on.
//
// It is not parallel, since it measures memory.
func TestAFloodOfSignInsCostsBoundedMemory(t *testing.T) {
	const many, megabyte = 500, 1 << 20
	debug.SetGCPercent(100) // as the product is
	defer debug.SetGCPercent(gcPercent)
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Hashing: testkit.Hashing(t), Settings: func(s *config.Settings) {
		s.EmailVerification = config.VerifyAfter
		s.Argon2Memory, s.Argon2Iterations, s.HashConcurrency, s.HashQueue = 19456, 2, 1, 32
	}})
	p := newPerson(t, srv)
	crowd := srv.Client("", client.WithHTTPClient(&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: many}}))
	debug.FreeOSMemory()
	idle := residentBytes(t)

	var over atomic.Bool
	var highest atomic.Int64
	var answered, slowest atomic.Int64
	var watchers sync.WaitGroup
	watchers.Go(func() {
		for ; !over.Load(); time.Sleep(2 * time.Millisecond) {
			highest.Store(max(highest.Load(), residentBytes(t)))
		}
	})
	watchers.Go(func() {
		for !over.Load() {
			began := time.Now()
			if _, err := p.Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{}); err != nil {
				t.Errorf("GetSession: %v", err)
			}
			answered.Add(1)
			slowest.Store(max(slowest.Load(), int64(time.Since(began))))
		}
	})
	got := atOnce(many, func(int) error {
		_, err := crowd.Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: testkit.Password})
		if reasonOf(err) == "OVERLOADED" && (connect.CodeOf(err) != connect.CodeResourceExhausted || client.RetryAfter(err) <= 0) {
			return fmt.Errorf("no word on when to try again: %w", err)
		}
		return err
	})
	over.Store(true)
	watchers.Wait()
	t.Logf("%v; idle %d MB, at most %d MB; %d calls of GetSession, the slowest %v",
		got, idle/megabyte, highest.Load()/megabyte, answered.Load(), time.Duration(slowest.Load()))
	if got[""]+got["OVERLOADED"] != many || got[""] < 32 || got["OVERLOADED"] < many/4 {
		t.Errorf("sign-ins: %v", got)
	}
	// The memory of a few hashes is garbage before it is collected.
	if grown := highest.Load() - idle; grown > 350*megabyte && !detectsRaces() {
		t.Errorf("memory grew by %d MB", grown/megabyte)
	}
	if answered.Load() < 10 || time.Duration(slowest.Load()) > 5*time.Second { // far above what it is: machines differ
		t.Errorf("meanwhile %d calls of GetSession were answered, the slowest after %v", answered.Load(), time.Duration(slowest.Load()))
	}
}

// detectsRaces reports whether the test was built with the race detector, which
// takes several times the memory of the program itself.
func detectsRaces() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}

// residentBytes is how much memory this process, and so the server, has, and what hashes
// passwords for it.
func residentBytes(t testing.TB) (sum int64) {
	for _, pid := range append(testkit.HashingPIDs(t), os.Getpid()) {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Error(err)
			return 0
		}
		_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
		kilobytes, err := strconv.ParseInt(string(bytes.Fields(rest)[0]), 10, 64)
		if err != nil {
			t.Error(err)
		}
		sum += kilobytes << 10
	}
	return sum
}

// TestAnswersAreTheSameForKnownAndUnknownAddresses compares what is answered,
// and how long that takes, for an address that has an account and for one that has
// none.
//
// Time is noisy. So the two calls of a round follow each other, in turns, which
// cancels what slows the machine down for longer; of their ratios the median is
// taken, which no outlier moves; and a median that is off is measured anew, since
// a real difference would stay. The hash takes several times as long as all the
// rest of a call, so that one more or less could not be missed. The test is not
// parallel.
func TestAnswersAreTheSameForKnownAndUnknownAddresses(t *testing.T) {
	const rounds, batches, tolerance = 100, 4, 0.15
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) {
		s.Argon2Memory, s.Argon2Iterations = 4096, 2
	}})
	c := srv.Client("")
	register := func(email string) (proto.Message, error) {
		return c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme"})
	}
	known := testkit.NewEmail()
	if _, err := register(known); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
		Token: queued(t, srv, known).Data["token"], Password: testkit.Password,
	}); err != nil {
		t.Fatal(err)
	}
	unknown := testkit.NewEmail
	// A reset for each call to come, since each counts a wrong code, and all of one
	// address.
	resets := func(email string) func() string {
		var list []string
		return func() string {
			if len(list) == 0 {
				for range rounds {
					res, err := c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: email})
					if err != nil {
						t.Fatal(err)
					}
					list = append(list, res.PasswordResetId)
				}
			}
			id := list[0]
			list = list[1:]
			return id
		}
	}
	resetOfKnown, resetOfUnknown := resets(known), resets(unknown())
	for _, method := range []struct {
		name    string
		prepare func(isKnown bool) string // what the call is about, made before its time is taken
		call    func(about string) (proto.Message, error)
		want    string
	}{
		{"SignInWithPassword", nil, func(email string) (proto.Message, error) {
			return c.Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: email, Password: "a wrong password"})
		}, "CREDENTIALS_INVALID"},
		{"Register", nil, register, ""},
		{"RequestPasswordReset", nil, func(email string) (proto.Message, error) {
			return c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: email})
		}, ""},
		{"ResetPassword", func(isKnown bool) string {
			if isKnown {
				return resetOfKnown()
			}
			return resetOfUnknown()
		}, func(id string) (proto.Message, error) {
			return c.Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{PasswordResetId: id, Code: "000000", NewPassword: "another horse, another staple"})
		}, "CODE_INVALID"},
	} {
		prepare := method.prepare
		if prepare == nil {
			prepare = func(isKnown bool) string {
				if isKnown {
					return known
				}
				return unknown()
			}
		}
		body := func(isKnown bool) string {
			message, err := method.call(prepare(isKnown))
			if got := reasonOf(err); got != method.want {
				t.Errorf("%s: %q, want %q", method.name, got, method.want)
			}
			return anonymous(message, err)
		}
		if of, than := body(true), body(false); of != than {
			t.Errorf("%s tells an account: %s, and %s without", method.name, of, than)
		}
		var medians []float64
		for range batches {
			medians = append(medians, medianRatio(rounds, func(isKnown bool) time.Duration {
				about := prepare(isKnown)
				began := time.Now()
				_, _ = method.call(about)
				return time.Since(began)
			}))
			if math.Abs(medians[len(medians)-1]-1) < tolerance {
				break
			}
		}
		t.Logf("%s: with an account it takes %.3f times as long", method.name, medians)
		if math.Abs(medians[len(medians)-1]-1) >= tolerance {
			t.Errorf("%s tells an account by the time it takes: %.3f times as long", method.name, medians)
		}
	}
}

// medianRatio takes both times, in turns, and returns the median of their ratios.
func medianRatio(rounds int, took func(isKnown bool) time.Duration) float64 {
	ratios := make([]float64, rounds)
	for i := range rounds {
		var with, without time.Duration
		if i%2 == 0 {
			with = took(true)
			without = took(false)
		} else {
			without = took(false)
			with = took(true)
		}
		ratios[i] = float64(with) / float64(without)
	}
	slices.Sort(ratios)
	return (ratios[rounds/2-1] + ratios[rounds/2]) / 2
}

var ids26 = regexp.MustCompile(`_[0-7][0-9a-hjkmnp-tv-z]{25}|(seconds|nanos):[0-9]+`)

// anonymous is what came back, less ids and times.
func anonymous(message proto.Message, err error) string {
	if err == nil {
		return strings.ReplaceAll(ids26.ReplaceAllString(fmt.Sprint(message), "_"), "  ", " ")
	}
	text := err.Error()
	if e, ok := err.(*connect.Error); ok {
		for _, d := range e.Details() {
			text += fmt.Sprintf(" %s %x", d.Type(), d.Bytes())
		}
	}
	return text
}

// TestNoSecretIsLogged goes through all that handles secrets, rightly, wrongly,
// and with a broken database, and looks for them in the log.
func TestNoSecretIsLogged(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	const wrong, new, last = "Tr0ub4dor&3 is wrong", "another horse, another staple", "yet another horse and staple"
	secrets := []string{testkit.Password, wrong, new, last, srv.Key.Encode()}
	keep := func(s string) string {
		secrets = append(secrets, s)
		return s
	}
	mailed := func(email string, count int) (code, token string) {
		m := srv.Mail(t, email, count)
		return keep(testkit.CodeIn(t, m)), keep(testkit.TokenIn(t, m))
	}
	c := srv.Client("")
	ctx := t.Context()
	ignore := func(any, error) {}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	email := testkit.NewEmail()
	reg, err := c.Registration.Register(ctx, &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme"})
	must(err)
	code, token := mailed(email, 1)
	ignore(c.Registration.VerifyRegistration(ctx, &authv1.VerifyRegistrationRequest{RegistrationId: reg.Registration.Id, Code: keep(otherCode(code))}))
	ignore(c.Registration.VerifyRegistration(ctx, &authv1.VerifyRegistrationRequest{Token: keep(token + "x"), Password: testkit.Password}))
	ignore(c.Registration.VerifyRegistration(ctx, &authv1.VerifyRegistrationRequest{Token: token, Password: wrong}))
	verified, err := c.Registration.VerifyRegistration(ctx, &authv1.VerifyRegistrationRequest{Token: token, Password: testkit.Password})
	must(err)
	ignore(c.Registration.VerifyRegistration(ctx, &authv1.VerifyRegistrationRequest{RegistrationId: reg.Registration.Id, Code: code}))
	me := c.As(keep(verified.Account.SessionToken))

	ignore(c.Authentication.SignInWithPassword(ctx, &authv1.SignInWithPasswordRequest{Email: email, Password: wrong}))
	signedIn, err := c.Authentication.SignInWithPassword(ctx, &authv1.SignInWithPasswordRequest{Email: email, Password: testkit.Password})
	must(err)
	keep(signedIn.SessionToken)
	browser := srv.Client("", client.WithHTTPClient(testkit.Cookies()))
	withCookie, info := connect.NewClientContext(ctx)
	_, err = browser.Authentication.SignInWithPassword(withCookie, &authv1.SignInWithPasswordRequest{
		Email: email, Password: testkit.Password, SessionTransport: authv1.SessionTransport_SESSION_TRANSPORT_COOKIE,
	})
	must(err)
	keep(cookieToken(t, info.ResponseHeader().Get("Set-Cookie")))
	ignore(me.Authentication.Reauthenticate(ctx, &authv1.ReauthenticateRequest{Password: wrong}))
	reauthenticated, err := me.Authentication.Reauthenticate(ctx, &authv1.ReauthenticateRequest{Password: testkit.Password})
	must(err)
	ignore(me.Sessions.GetSession(ctx, &authv1.GetSessionRequest{})) // the old token
	me = c.As(keep(reauthenticated.SessionToken))
	ignore(c.As(keep("lsms_that-is-not-a-token")).Sessions.GetSession(ctx, &authv1.GetSessionRequest{}))
	ignore(c.As(keep("not even like one: ü")).Sessions.GetSession(ctx, &authv1.GetSessionRequest{}))

	ignore(me.Passwords.ChangePassword(ctx, &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: keep("password1234")}))
	changed, err := me.Passwords.ChangePassword(ctx, &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: new})
	must(err)
	me = c.As(keep(changed.SessionToken))
	srv.Mail(t, email, 2) // that it was changed; the next one is the newest then
	reset, err := c.Passwords.RequestPasswordReset(ctx, &authv1.RequestPasswordResetRequest{Email: email})
	must(err)
	code, _ = mailed(email, 3)
	ignore(c.Passwords.ResetPassword(ctx, &authv1.ResetPasswordRequest{PasswordResetId: reset.PasswordResetId, Code: otherCode(code), NewPassword: last}))

	address := testkit.NewEmail()
	change, err := me.Users.RequestEmailChange(ctx, &identityv1.RequestEmailChangeRequest{NewEmail: address})
	must(err)
	changeCode, _ := mailed(address, 1)
	ignore(me.Users.ConfirmEmailChange(ctx, &identityv1.ConfirmEmailChangeRequest{EmailChangeId: change.EmailChangeId, Code: otherCode(changeCode)}))
	_, err = me.Users.ConfirmEmailChange(ctx, &identityv1.ConfirmEmailChangeRequest{EmailChangeId: change.EmailChangeId, Code: changeCode})
	must(err)

	// What cannot be read, and what would be read where it does not belong.
	for _, body := range []string{`{"email":"` + email + `","password":{"is":"` + wrong + `"}}`, `{"email":"` + email + `","password":"` + wrong, `{"password":"` + wrong + `","password":"` + last + `"}`} {
		post(t, srv, "/logicspike.auth.v1.AuthenticationService/SignInWithPassword", "", "application/json", []byte(body))
	}
	post(t, srv, "/logicspike.auth.v1.AuthenticationService/SignInWithPassword?password="+keep("in-the-address"), "", "application/json", []byte(`{}`))
	post(t, srv, "/"+keep("a-token-for-a-path"), keep("lsms_to-nowhere"), "application/json", []byte(`{}`))

	// A broken database: the cause of each failure goes to the log.
	_, err = srv.SQL.Exec(ctx, "ALTER TABLE auth.sessions ADD CONSTRAINT broken CHECK (transport = 'cookie') NOT VALID")
	must(err)
	_, err = c.Authentication.SignInWithPassword(ctx, &authv1.SignInWithPasswordRequest{Email: address, Password: new})
	if reasonOf(err) != "INTERNAL" {
		t.Errorf("a broken database: %v", err)
	}
	_, err = srv.SQL.Exec(ctx, "ALTER TABLE auth.credentials RENAME COLUMN password_hash TO hash; ALTER TABLE auth.registrations RENAME COLUMN code_hash TO code")
	must(err)
	for _, call := range []func(context.Context) error{
		func(ctx context.Context) error {
			_, err := c.Authentication.SignInWithPassword(ctx, &authv1.SignInWithPasswordRequest{Email: address, Password: new})
			return err
		},
		func(ctx context.Context) error {
			_, err := me.Passwords.ChangePassword(ctx, &authv1.ChangePasswordRequest{CurrentPassword: new, NewPassword: last})
			return err
		},
		func(ctx context.Context) error {
			_, err := c.Registration.Register(ctx, &authv1.RegisterRequest{Email: testkit.NewEmail(), Password: last, WorkspaceName: "Acme"})
			return err
		},
	} {
		if err := call(ctx); reasonOf(err) != "INTERNAL" {
			t.Errorf("a broken database: %v", err)
		}
	}
	ignore(me.Workspaces.ListWorkspaces(ctx, &tenantv1.ListWorkspacesRequest{PageToken: keep("a-page-token")}))

	log := srv.Log.String()
	for _, line := range []string{"SignInWithPassword", "ResetPassword", "level=ERROR", "does not exist", "broken"} {
		if !strings.Contains(log, line) {
			t.Errorf("the log does not contain %q: it is not whole", line)
		}
	}
	for _, s := range secrets {
		// Six digits may be part of a time: whole words are looked for.
		if regexp.MustCompile(`(^|[^0-9A-Za-z.:+-])` + regexp.QuoteMeta(s) + `($|[^0-9A-Za-z])`).MatchString(log) {
			t.Errorf("the log contains the secret %q", s)
		}
	}
	if hash := regexp.MustCompile(`\$argon2id\$|lsm[a-z]_`).FindString(log); hash != "" {
		t.Errorf("the log contains a hash or a token: %s", hash)
	}
}
