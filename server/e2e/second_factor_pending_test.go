package e2e

import (
	"slices"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	authzv1 "github.com/logicspike/manager/gen/go/logicspike/authz/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// completed signs a person in with both factors.
func completed(t testing.TB, srv *testkit.Server, p *testkit.Person, a *app) string {
	t.Helper()
	res, err := verifyTOTP(t, srv, owing(t, srv, p.Email), a.code(t, 0))
	if err != nil {
		t.Fatalf("VerifySecondFactor: %v", err)
	}
	a.tick()
	return res.SessionToken
}

// TestAPendingSessionCanDoNothingElse calls every method of the API with a session
// that owes its second factor, by both transports.
func TestAPendingSessionCanDoNothingElse(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	methods := methodsByName(t, srv)
	w := newWorld(t, srv, "owner")
	w.totpFactor()
	allowed := []string{}
	for name, method := range methods {
		rule := proto.GetExtension(method.Options(), authzv1.E_Rule).(*authzv1.Rule)
		pending := rule.GetAuthenticated().GetSecondFactorPending() || rule.GetPublic().GetSecondFactorPending()
		if pending {
			allowed = append(allowed, name)
			continue
		}
		token := begin(t, srv, w.owner.Email)
		if rule.GetPublic() == nil {
			// Even an empty request, before anything in it is looked at.
			a := callJSON(t, srv, method, token, dynamicpb.NewMessage(method.Input()))
			if got := a.outcome(); got != "failed_precondition SECOND_FACTOR_REQUIRED" {
				t.Errorf("%s: %s", name, got)
			}
			continue
		}
		if !rule.GetPublic().GetSession() {
			continue // it looks at no session
		}
		pendingAnswer := callJSON(t, srv, method, token, dynamicpb.NewMessage(method.Input()))
		without := callJSON(t, srv, method, "", dynamicpb.NewMessage(method.Input()))
		if diff := cmp.Diff(without.comparable(), pendingAnswer.comparable()); diff != "" {
			t.Errorf("%s looks at a pending session (-without +with):\n%s", name, diff)
		}
	}
	slices.Sort(allowed)
	for _, name := range allowed {
		if !slices.Contains([]string{
			"AuthenticationService/SignOut", "MfaService/VerifySecondFactor", "PasskeyService/StartPasskeyAssertion", "SessionService/GetSession",
		}, name) {
			t.Errorf("%s may be called before the second factor", name)
		}
	}
	if len(allowed) < 3 {
		t.Errorf("may be called: %v", allowed)
	}

	// In a public method that looks at sessions it is none: the invitation by id needs one.
	invitation := w.invitation(newPersonWithProof(w), w.owner.Email)
	c := srv.Client("", client.WithSession(begin(t, srv, w.owner.Email)))
	_, err := c.Invitations.DeclineInvitation(t.Context(), &teamv1.DeclineInvitationRequest{InvitationId: invitation})
	refused(t, "an invitation declined by a pending session", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
}

func newPersonWithProof(w *world) *testkit.Person {
	p := newPerson(w.t, w.srv)
	w.prove(p)
	return p
}

// TestAPendingSessionLivesForTenMinutes, and is listed and revoked as any other.
func TestAPendingSessionLivesForTenMinutes(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	a, _ := enrol(t, srv, p)
	full := srv.Client("", client.WithSession(completed(t, srv, p, a)))
	token := owing(t, srv, p.Email)
	pending := srv.Client("", client.WithSession(token))
	s := lives(t, "a pending session", pending).Session
	if life := s.ExpireTime.AsTime().Sub(s.CreateTime.AsTime()); life != 10*time.Minute || s.IdleExpireTime.AsTime().After(s.ExpireTime.AsTime()) {
		t.Errorf("a pending session lives for %v", life)
	}
	list, err := full.Sessions.ListSessions(t.Context(), &authv1.ListSessionsRequest{})
	if err != nil || list.Sessions[0].Id != s.Id || !list.Sessions[0].SecondFactorPending || list.Sessions[1].SecondFactorPending {
		t.Errorf("listed %v, %v", list, err)
	}
	if _, err := full.Sessions.RevokeSession(t.Context(), &authv1.RevokeSessionRequest{SessionId: s.Id}); err != nil {
		t.Fatal(err)
	}
	ended(t, "a pending session that was revoked", pending)
	_, err = verifyTOTP(t, srv, token, a.code(t, 0))
	refused(t, "a second factor of a session that was revoked", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)

	token = owing(t, srv, p.Email)
	srv.Clock.Advance(10*time.Minute - time.Second)
	lives(t, "for almost ten minutes, used", srv.Client("", client.WithSession(token)))
	srv.Clock.Advance(time.Second)
	ended(t, "after ten minutes", srv.Client("", client.WithSession(token)))
	_, err = verifyTOTP(t, srv, token, a.code(t, 0))
	refused(t, "after ten minutes", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)

	signedOut := srv.Client("", client.WithSession(owing(t, srv, p.Email)))
	if _, err := signedOut.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{}); err != nil {
		t.Fatal(err)
	}
	ended(t, "a pending session that signed out", signedOut)
}

// TestARemovedFactorIsNotOwed: whoever waits at the second step signs in anew.
func TestARemovedFactorIsNotOwed(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	a, codes := enrol(t, srv, p)
	token := owing(t, srv, p.Email)
	if _, err := factorsOf(srv, p.Token).DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id}); err != nil {
		t.Fatal(err)
	}
	_, err := verifyTOTP(t, srv, token, a.code(t, 0))
	factorMissing(t, "a code of a factor that was removed", err)
	_, err = verifyRecovery(t, srv, token, codes[0])
	factorMissing(t, "a recovery code without a factor", err)
	owes(t, "the session", srv, token)
	if s := lives(t, "a new sign-in", signIn(t, srv, p.Email, testkit.Password)); s.Session.SecondFactorPending {
		t.Error("a new sign-in owes a factor that was removed")
	}
}

// TestTheSecondFactorIsAskedForWhateverWayOneComesIn walks all ways to a session that
// begin with one factor.
func TestTheSecondFactorIsAskedForWhateverWayOneComesIn(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{Settings: verifyAfter})
	email := testkit.NewEmail()
	c := srv.Client("")
	register := &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Acme", RequestId: uuid.NewString()}
	began, err := c.Registration.Register(t.Context(), register)
	if err != nil {
		t.Fatal(err)
	}
	p := srv.Person(email, began.Account)
	verify := &authv1.VerifyRegistrationRequest{RegistrationId: began.Registration.Id, Code: testkit.CodeIn(t, srv.Mail(t, email, 1)), RequestId: uuid.NewString()}
	if _, err := c.Registration.VerifyRegistration(t.Context(), verify); err != nil {
		t.Fatal(err)
	}
	a, _ := enrol(t, srv, p)

	owing(t, srv, email) // by password

	again, err := c.Registration.VerifyRegistration(t.Context(), verify)
	if err != nil {
		t.Fatal(err)
	}
	owes(t, "a verification that is repeated", srv, again.Account.SessionToken)
	repeated, err := c.Registration.Register(t.Context(), register)
	if err != nil {
		t.Fatal(err)
	}
	owes(t, "a registration that is repeated", srv, repeated.Account.SessionToken)

	byCode, _ := startEmail(t, srv, email)
	res, err := factorsOf(srv, "").CompleteEmailSignIn(t.Context(), byCode)
	if err != nil {
		t.Fatal(err)
	}
	owes(t, "a mailed code", srv, res.SessionToken)
	if len(res.Requirements) != 1 || !res.Session.SecondFactorPending {
		t.Errorf("a mailed code: %v", res)
	}
	_, byLink := startEmail(t, srv, email)
	if res, err = factorsOf(srv, "").CompleteEmailSignIn(t.Context(), byLink); err != nil {
		t.Fatal(err)
	}
	owes(t, "a mailed link", srv, res.SessionToken)

	// An invitation is accepted by a session, and a pending one cannot.
	host := srv.Register(t)
	invited, err := host.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: host.Workspace.Id, Email: email, Role: "member"})
	if err != nil {
		t.Fatal(err)
	}
	pending := srv.Client("", client.WithSession(res.SessionToken))
	_, err = pending.Invitations.AcceptInvitation(t.Context(), &teamv1.AcceptInvitationRequest{InvitationId: invited.Invitation.Id})
	refused(t, "an invitation accepted by a pending session", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_SECOND_FACTOR_REQUIRED)

	// A new password by mail ends all sessions, and the factor stays.
	before := len(mailsAbout(t, srv, email, "Choose a new password"))
	reset, err := c.Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: email})
	if err != nil {
		t.Fatal(err)
	}
	const password = "another horse, another staple"
	if _, err := c.Passwords.ResetPassword(t.Context(), &authv1.ResetPasswordRequest{
		PasswordResetId: reset.PasswordResetId, Code: testkit.CodeIn(t, mailAbout(t, srv, email, "Choose a new password", before+1)), NewPassword: password,
	}); err != nil {
		t.Fatal(err)
	}
	ended(t, "a pending session after a reset", pending)
	in, err := c.Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: email, Password: password})
	if err != nil {
		t.Fatal(err)
	}
	owes(t, "a sign-in after a reset", srv, in.SessionToken)
	if _, err := verifyTOTP(t, srv, in.SessionToken, a.code(t, 0)); err != nil {
		t.Errorf("the factor after a reset: %v", err)
	}
}
