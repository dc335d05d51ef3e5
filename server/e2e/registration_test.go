package e2e

import (
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
)

// refused checks code and reason of an error.
func refused(t testing.TB, what string, err error, code connect.Code, reason faultv1.Reason) {
	t.Helper()
	if connect.CodeOf(err) != code || client.Reason(err) != reason {
		t.Errorf("%s: %v (%v), want %v (%v)", what, err, client.Reason(err), code, reason)
	}
}

func codeInvalid(t testing.TB, what string, err error) {
	t.Helper()
	refused(t, what, err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_CODE_INVALID)
}

func verifyAfter(s *config.Settings) { s.EmailVerification = config.VerifyAfter }

func wrong(code string) string {
	if code == "000000" {
		return "000001"
	}
	return "000000"
}

func TestRegisteringAKnownAddressLooksTheSameAndTellsItsOwner(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	fresh := testkit.NewEmail()
	c := srv.Client("")
	answer := func(email string) *authv1.RegisterResponse {
		res, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Other"})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	known, unknown := answer(p.Email), answer(fresh)
	if diff := cmp.Diff(known, unknown, protocmp.Transform(),
		protocmp.IgnoreFields(&authv1.Registration{}, "id", "code_expire_time", "expire_time")); diff != "" {
		t.Errorf("the answers differ:\n%s", diff)
	}
	if m := srv.Mail(t, p.Email, 2); m.Subject == srv.Mail(t, fresh, 1).Subject {
		t.Errorf("the owner was mailed %q", m.Subject)
	}
	for _, reg := range []*authv1.Registration{known.Registration, unknown.Registration} {
		_, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{RegistrationId: reg.Id, Code: wrong(srv.Code(t, fresh))})
		codeInvalid(t, "a wrong code", err)
	}
}

func TestACodeIsValidForTenMinutesAndFiveTries(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	c := srv.Client("")
	begin := func() (email, id, code string) {
		email = testkit.NewEmail()
		res, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme"})
		if err != nil {
			t.Fatal(err)
		}
		return email, res.Registration.Id, srv.Code(t, email)
	}
	verify := func(id, code string) error {
		_, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{RegistrationId: id, Code: code})
		return err
	}

	_, id, code := begin()
	for range 4 {
		codeInvalid(t, "a wrong code", verify(id, wrong(code)))
	}
	if err := verify(id, code); err != nil {
		t.Errorf("the right code after four wrong ones: %v", err)
	}

	email, id, code := begin()
	for range 5 {
		codeInvalid(t, "a wrong code", verify(id, wrong(code)))
	}
	codeInvalid(t, "the right code after five wrong ones", verify(id, code))

	_, err := c.Registration.ResendRegistrationCode(t.Context(), &authv1.ResendRegistrationCodeRequest{RegistrationId: id})
	refused(t, "resending at once", err, connect.CodeResourceExhausted, faultv1.Reason_REASON_RATE_LIMITED)
	if client.RetryAfter(err) <= 0 || client.RetryAfter(err) > time.Minute {
		t.Errorf("resending at once: retry after %v", client.RetryAfter(err))
	}
	srv.Clock.Advance(time.Minute)
	if _, err := c.Registration.ResendRegistrationCode(t.Context(), &authv1.ResendRegistrationCodeRequest{RegistrationId: id}); err != nil {
		t.Fatal(err)
	}
	renewed := testkit.CodeIn(t, srv.Mail(t, email, 2))
	if renewed != code {
		codeInvalid(t, "the code before", verify(id, code))
	}
	if err := verify(id, renewed); err != nil {
		t.Errorf("the new code: %v", err)
	}

	_, id, code = begin()
	srv.Clock.Advance(10 * time.Minute)
	codeInvalid(t, "a code after ten minutes", verify(id, code))
	srv.Clock.Advance(24 * time.Hour)
	_, err = c.Registration.ResendRegistrationCode(t.Context(), &authv1.ResendRegistrationCodeRequest{RegistrationId: id})
	refused(t, "resending after a day", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_REGISTRATION_EXPIRED)
}

func TestALinkProvesTheAddressAsACodeDoes(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	email := testkit.NewEmail()
	c := srv.Client("")
	if _, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme"}); err != nil {
		t.Fatal(err)
	}
	token := testkit.TokenIn(t, srv.Mail(t, email, 1))
	// Whoever opens a link need not be who registered: the owner of the address must
	// not make an account theirs that goes by somebody else's password.
	_, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{Token: token, Password: "what the owner would choose"})
	refused(t, "the link with another password", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
	_, err = c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{Token: token})
	refused(t, "the link alone", err, connect.CodeInvalidArgument, faultv1.Reason_REASON_FIELD_INVALID)
	res, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{Token: token, Password: testkit.Password})
	if err != nil || res.Account.User.Email != email {
		t.Fatalf("VerifyRegistration = %v, %v", res, err)
	}
	_, err = c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{Token: token, Password: testkit.Password})
	codeInvalid(t, "the link again", err)
	_, err = c.Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{Token: token, NewPassword: testkit.Password})
	codeInvalid(t, "the link for another purpose", err)
}

func TestOfSeveralRegistrationsTheFirstVerifiedWins(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	email := testkit.NewEmail()
	c := srv.Client("")
	var list []string
	var codes []string
	for i := range 3 {
		res, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme"})
		if err != nil {
			t.Fatal(err)
		}
		list, codes = append(list, res.Registration.Id), append(codes, testkit.CodeIn(t, srv.Mail(t, email, i+1)))
	}
	verify := func(i int) error {
		_, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{RegistrationId: list[i], Code: codes[i]})
		return err
	}
	if err := verify(1); err != nil {
		t.Fatal(err)
	}
	codeInvalid(t, "the first registration", verify(0))
	codeInvalid(t, "the last registration", verify(2))
	srv.CheckInvariants(t)
}

func TestARegistrationIsSafeToRepeat(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	c := srv.Client("")
	req := &authv1.RegisterRequest{Email: testkit.NewEmail(), Password: testkit.Password, WorkspaceName: "Acme", RequestId: uuid.NewString()}
	first, err := c.Registration.Register(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	again, err := c.Registration.Register(t.Context(), req)
	if err != nil || !cmp.Equal(first, again, protocmp.Transform()) {
		t.Errorf("repeated: %v, %v, want %v", again, err, first)
	}
	for what, other := range map[string]*authv1.RegisterRequest{
		"another password":  {Email: req.Email, Password: testkit.Password + "!", WorkspaceName: "Acme", RequestId: req.RequestId},
		"another name":      {Email: req.Email, Password: testkit.Password, WorkspaceName: "Acme 2", RequestId: req.RequestId},
		"another address":   {Email: "x" + req.Email, Password: testkit.Password, WorkspaceName: "Acme", RequestId: req.RequestId},
		"another user name": {Email: req.Email, Password: testkit.Password, DisplayName: "X", WorkspaceName: "Acme", RequestId: req.RequestId},
	} {
		_, err := c.Registration.Register(t.Context(), other)
		refused(t, what, err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_REQUEST_ID_REUSED)
	}
	verify := &authv1.VerifyRegistrationRequest{RegistrationId: first.Registration.Id, Code: srv.Code(t, req.Email), RequestId: uuid.NewString()}
	one, err := c.Registration.VerifyRegistration(t.Context(), verify)
	if err != nil {
		t.Fatal(err)
	}
	two, err := c.Registration.VerifyRegistration(t.Context(), verify)
	if err != nil || two.Account.User.Id != one.Account.User.Id || two.Account.Workspace.Id != one.Account.Workspace.Id || two.Account.SessionToken == "" {
		t.Errorf("verified again: %v, %v", two, err)
	}
	verify.RequestId = uuid.NewString()
	_, err = c.Registration.VerifyRegistration(t.Context(), verify)
	codeInvalid(t, "verified by another request", err)
	if n := len(srv.Mails(t, req.Email)); n != 1 {
		t.Errorf("%d mails were sent, want 1", n)
	}
	srv.CheckInvariants(t)
}

func TestAfterModeCreatesTheAccountAtOnceAndVerifiesLater(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: verifyAfter})
	c := srv.Client("")
	req := &authv1.RegisterRequest{Email: testkit.NewEmail(), Password: testkit.Password, WorkspaceName: "Acme", RequestId: uuid.NewString()}
	res, err := c.Registration.Register(t.Context(), req)
	if err != nil || res.Account == nil || res.Account.User.EmailVerified {
		t.Fatalf("Register = %v, %v", res, err)
	}
	again, err := c.Registration.Register(t.Context(), req)
	if err != nil || again.Account.User.Id != res.Account.User.Id || again.Account.Workspace.Id != res.Account.Workspace.Id {
		t.Fatalf("repeated: %v, %v", again, err)
	}
	p := srv.Person(req.Email, again.Account)
	session, err := p.Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})
	if err != nil || len(session.Requirements) != 1 || session.Requirements[0] != authv1.AccountRequirement_ACCOUNT_REQUIREMENT_EMAIL_VERIFICATION_REQUIRED {
		t.Fatalf("GetSession = %v, %v", session, err)
	}
	verified, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
		RegistrationId: res.Registration.Id, Code: srv.Code(t, req.Email),
	})
	if err != nil || verified.Account.User.Id != res.Account.User.Id || !verified.Account.User.EmailVerified {
		t.Fatalf("VerifyRegistration = %v, %v", verified, err)
	}
	session, err = p.Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})
	if err != nil || len(session.Requirements) != 0 {
		t.Fatalf("GetSession = %v, %v", session, err)
	}
	srv.CheckInvariants(t)
}

func TestAnAddressIsVerifiedThoughTheFirstWorkspaceIsGone(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: func(s *config.Settings) { verifyAfter(s); s.DeletionGrace = 0 }})
	c := srv.Client("")
	email := testkit.NewEmail()
	res, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "First"})
	if err != nil {
		t.Fatal(err)
	}
	p := srv.Person(email, res.Account)
	if _, err := p.Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Second"}); err != nil {
		t.Fatal(err)
	}
	if err := remove(t, p, p.Workspace.Id, preview(t, p, p.Workspace.Id).Etag); err != nil {
		t.Fatal(err)
	}
	verified, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
		RegistrationId: res.Registration.Id, Code: srv.Code(t, email),
	})
	if err != nil || !verified.Account.User.EmailVerified || verified.Account.Workspace != nil || verified.Account.Membership != nil {
		t.Fatalf("VerifyRegistration = %v, %v", verified, err)
	}
	srv.CheckInvariants(t)
}

const squattersPassword = "the squatter's own password"

// squat makes an account of somebody else's address, never verified.
func squat(t *testing.T, srv *testkit.Server, email, password string) *testkit.Person {
	t.Helper()
	res, err := srv.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: password, WorkspaceName: "Squat"})
	if err != nil || res.Account == nil {
		t.Fatalf("Register = %v, %v", res, err)
	}
	srv.Mail(t, email, 1) // so that what is mailed later is the newest
	return srv.Person(email, res.Account)
}

func TestWhoProvesAnAddressVoidsAnAccountThatNeverDid(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: verifyAfter})
	voided := func(p *testkit.Person) {
		t.Helper()
		_, err := p.Users.GetMe(t.Context(), &identityv1.GetMeRequest{})
		refused(t, "the squatter's session", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
		_, err = srv.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{
			Email: p.Email, Password: squattersPassword,
		})
		refused(t, "the squatter's password", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
	}

	t.Run("by registering", func(t *testing.T) {
		email := testkit.NewEmail()
		squatter := squat(t, srv, email, squattersPassword)
		c := srv.Client("")
		res, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Mine"})
		if err != nil || res.Account != nil {
			t.Fatalf("Register = %v, %v", res, err)
		}
		verified, err := c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
			RegistrationId: res.Registration.Id, Code: testkit.CodeIn(t, srv.Mail(t, email, 2)),
		})
		if err != nil || verified.Account.User.Id == squatter.User.Id {
			t.Fatalf("VerifyRegistration = %v, %v", verified, err)
		}
		voided(squatter)
		owner := srv.Person(email, verified.Account)
		// Perhaps the squatter was oneself: the workspace can be brought back.
		if w, err := get(t, owner, squatter.Workspace.Id); err != nil || w.State != tenantv1.WorkspaceState_WORKSPACE_STATE_DELETED {
			t.Fatalf("the squatter's workspace: %v, %v", w, err)
		}
		srv.Mail(t, email, 3)
		srv.Clock.Advance(15 * 24 * time.Hour)
		if n, err := srv.Store.PurgeDue(t.Context()); err != nil || n != 1 {
			t.Fatalf("PurgeDue = %d, %v", n, err)
		}
		srv.CheckPurged(t, squatter.Workspace.Id, squatter.User.Id)
	})
	t.Run("by a password reset", func(t *testing.T) {
		email := testkit.NewEmail()
		squatter := squat(t, srv, email, squattersPassword)
		c := srv.Client("")
		res, err := c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: email})
		if err != nil {
			t.Fatal(err)
		}
		if _, err = c.Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{
			PasswordResetId: res.PasswordResetId, Code: testkit.CodeIn(t, srv.Mail(t, email, 2)), NewPassword: testkit.Password,
		}); err != nil {
			t.Fatal(err)
		}
		voided(squatter)
		srv.SignIn(t, squatter)
		if me, err := squatter.Users.GetMe(t.Context(), &identityv1.GetMeRequest{}); err != nil || !me.User.EmailVerified {
			t.Errorf("GetMe = %v, %v", me, err)
		}
	})
	t.Run("by a change of address", func(t *testing.T) {
		email := testkit.NewEmail()
		squatter := squat(t, srv, email, squattersPassword)
		other := squat(t, srv, testkit.NewEmail(), testkit.Password)
		res, err := other.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: email})
		if err != nil {
			t.Fatal(err)
		}
		changed, err := other.Users.ConfirmEmailChange(t.Context(), &identityv1.ConfirmEmailChangeRequest{
			EmailChangeId: res.EmailChangeId, Code: testkit.CodeIn(t, srv.Mail(t, email, 2)),
		})
		if err != nil || changed.User.Email != email || !changed.User.EmailVerified {
			t.Fatalf("ConfirmEmailChange = %v, %v", changed, err)
		}
		voided(squatter)
	})
	srv.CheckInvariants(t)
}

func TestNewPasswordsAreJudged(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	for password, reason := range map[string]faultv1.Reason{
		"short":                          faultv1.Reason_REASON_PASSWORD_LENGTH,
		"elevenchars":                    faultv1.Reason_REASON_PASSWORD_LENGTH,
		"password1234":                   faultv1.Reason_REASON_PASSWORD_COMMON,
		"aaaaaaaaaaaaaaaa":               faultv1.Reason_REASON_PASSWORD_COMMON,
		"123456789012":                   faultv1.Reason_REASON_PASSWORD_COMMON,
		"qwertyuiop12":                   faultv1.Reason_REASON_PASSWORD_COMMON,
		"marymiller@example.com":         faultv1.Reason_REASON_PASSWORD_COMMON,
		"Globex Corporation":             faultv1.Reason_REASON_PASSWORD_COMMON,
		"logicspike manager":             faultv1.Reason_REASON_PASSWORD_COMMON,
		"ÄÖÜ äöü ñ 漢字 🙂🙂 x7":             0,
		"correct horse battery staple 9": 0,
	} {
		_, err := srv.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{
			Email: "marymiller@example.com", Password: password, WorkspaceName: "Globex Corporation",
		})
		if client.Reason(err) != reason {
			t.Errorf("password %q: %v, want %v", password, err, reason)
		}
		if _, named := client.InvalidFields(err)["password"]; err != nil && !named {
			t.Errorf("password %q: the error does not name the field: %v", password, client.InvalidFields(err))
		}
	}
}
