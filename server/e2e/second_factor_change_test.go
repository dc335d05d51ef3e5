package e2e

import (
	"encoding/base32"
	"fmt"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
)

// TestEnrollingNeedsAProvenAddressAndARecentSignIn keeps whoever registers with an
// address of somebody else from staying in the account.
func TestEnrollingNeedsAProvenAddressAndARecentSignIn(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) { s.EmailVerification = config.VerifyAfter }})
	p := newPerson(t, srv)
	_, err := factorsOf(srv, p.Token).CreateTotpFactor(t.Context(), &authv1.CreateTotpFactorRequest{})
	refused(t, "before the address is proven", err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
	(&world{t: t, srv: srv}).prove(p)
	a, _ := enrol(t, srv, p)
	srv.Clock.Advance(11 * time.Minute)
	f := factorsOf(srv, p.Token)
	for what, call := range map[string]func() error{
		"CreateTotpFactor": func() error { _, err := f.CreateTotpFactor(t.Context(), &authv1.CreateTotpFactorRequest{}); return err },
		"DeleteTotpFactor": func() error {
			_, err := f.DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id})
			return err
		},
		"RegenerateRecoveryCodes": func() error {
			_, err := f.RegenerateRecoveryCodes(t.Context(), &authv1.RegenerateRecoveryCodesRequest{})
			return err
		},
	} {
		refused(t, what, call(), connect.CodeFailedPrecondition, faultv1.Reason_REASON_REAUTHENTICATION_REQUIRED)
	}
	again, err := reauthenticateTOTP(t, srv, p.Token, a.code(t, 0))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := factorsOf(srv, again.SessionToken).DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id}); err != nil {
		t.Errorf("after reauthentication by the app: %v", err)
	}
}

// TestASignInWhileAFactorIsAddedOwesItOrEnds races the two.
func TestASignInWhileAFactorIsAddedOwesItOrEnds(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) { s.EmailVerification = config.VerifyAfter }})
	for range 5 {
		p := newPerson(t, srv)
		(&world{t: t, srv: srv}).prove(p)
		a := create(t, srv, p.Token)
		code := a.code(t, 0)
		tokens := make([]string, 8)
		atOnce(len(tokens), func(i int) error {
			if i == 0 {
				_, err := factorsOf(srv, p.Token).ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: a.id, Code: code})
				return err
			}
			res, err := srv.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: testkit.Password})
			tokens[i] = res.GetSessionToken()
			return err
		})
		for _, token := range tokens {
			if token == "" {
				continue
			}
			res, err := srv.Client("", client.WithSession(token)).Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{})
			if err == nil && !res.Session.SecondFactorPending {
				t.Error("a session goes on that has no second factor")
			}
		}
	}
}

// TestSecondFactorsOfOthersAreAnsweredLikeNone for what takes an id.
func TestSecondFactorsOfOthersAreAnsweredLikeNone(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, q := srv.Register(t), srv.Register(t)
	a, _ := enrol(t, srv, p)
	f := factorsOf(srv, q.Token)
	for _, id := range []string{a.id, ids.New[ids.Factor]().String()} {
		_, err := f.UpdateTotpFactor(t.Context(), &authv1.UpdateTotpFactorRequest{TotpFactorId: id, DisplayName: "Mine"})
		refused(t, "renamed", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
		_, err = f.DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: id})
		refused(t, "deleted", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
		_, err = f.ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: id, Code: a.code(t, 0)})
		refused(t, "confirmed", err, connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
	}
	_, err := verifyTOTP(t, srv, owing(t, srv, p.Email), "000000")
	factorInvalid(t, "a code of nobody", err)
}

// TestTheOverviewTellsByWhatOneSignsIn follows an account.
func TestTheOverviewTellsByWhatOneSignsIn(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: func(s *config.Settings) { s.EmailVerification = config.VerifyAfter }})
	p := newPerson(t, srv)
	expect := func(want *authv1.GetSecurityOverviewResponse) {
		t.Helper()
		got, err := factorsOf(srv, p.Token).GetSecurityOverview(t.Context(), &authv1.GetSecurityOverviewRequest{})
		if err != nil || !proto.Equal(got, want) {
			t.Errorf("overview %v, %v, want %v", got, err, want)
		}
	}
	expect(&authv1.GetSecurityOverviewResponse{HasPassword: true})
	(&world{t: t, srv: srv}).prove(p)
	expect(&authv1.GetSecurityOverviewResponse{HasPassword: true, EmailVerified: true})
	create(t, srv, p.Token)
	enrol(t, srv, p)
	expect(&authv1.GetSecurityOverviewResponse{
		HasPassword: true, EmailVerified: true, TotpFactorCount: 1, RecoveryCodeCount: 10, SecondFactorRequired: true,
	})
}

// TestAnImpersonatorCannotUseFactors of the user in whose name they act.
func TestAnImpersonatorCannotUseFactors(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, operator := srv.Register(t), srv.Register(t)
	a, _ := enrol(t, srv, p)
	token := completed(t, srv, p, a)
	session := lives(t, "a session", srv.Client("", client.WithSession(token))).Session
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE auth.sessions SET impersonator_id = $1 WHERE id = $2", uuidOf(t, operator.User.Id), uuidOf(t, session.Id)); err != nil {
		t.Fatal(err)
	}
	f := factorsOf(srv, token)
	forbidden := func(what string, err error) {
		t.Helper()
		refused(t, what, err, connect.CodePermissionDenied, faultv1.Reason_REASON_IMPERSONATION_NOT_ALLOWED)
	}
	_, err := reauthenticateTOTP(t, srv, token, a.code(t, 0))
	forbidden("reauthentication", err)
	_, err = f.StartEmailReauthentication(t.Context(), &authv1.StartEmailReauthenticationRequest{})
	forbidden("a code to reauthenticate", err)
	_, err = f.UpdateTotpFactor(t.Context(), &authv1.UpdateTotpFactorRequest{TotpFactorId: a.id, DisplayName: "x"})
	forbidden("a rename", err)
	_, err = f.DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id})
	forbidden("a deletion", err)
	_, err = f.CreateTotpFactor(t.Context(), &authv1.CreateTotpFactorRequest{})
	forbidden("an enrolment", err)
}

// TestADeletedUserLeavesNoFactor looks for every trace.
func TestADeletedUserLeavesNoFactor(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	host := srv.Register(t)
	srv.Join(t, host, p.Workspace.Id, authz.Owner)
	enrol(t, srv, p)
	p.Client = srv.Client("", client.WithSession(p.Token))
	preview, err := p.Users.PreviewDeleteMe(t.Context(), &identityv1.PreviewDeleteMeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.Users.DeleteMe(t.Context(), &identityv1.DeleteMeRequest{Etag: preview.Etag}); err != nil {
		t.Fatal(err)
	}
	srv.CheckPurged(t, "", p.User.Id)
	for _, table := range []string{"totp_factors", "recovery_codes"} {
		if n := count(t, srv, "SELECT count(*) FROM auth."+table); n != 0 {
			t.Errorf("%d rows are left in %s", n, table)
		}
	}
}

func hexOf(t testing.TB, secret string) string {
	t.Helper()
	raw, err := base32.StdEncoding.DecodeString(secret)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", raw)
}

// TestASessionThatEndedChangesNoFactor lets a call wait while its session is ended, or
// gets another token: a thief whom the owner has just shut out must not lock the owner
// out in turn.
func TestASessionThatEndedChangesNoFactor(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	const factors = `
		SELECT concat((SELECT jsonb_agg(f ORDER BY id) FROM auth.totp_factors f), (SELECT jsonb_agg(c ORDER BY code_hash) FROM auth.recovery_codes c))`
	stored := func(t *testing.T) (all string) {
		if err := srv.SQL.QueryRow(t.Context(), factors).Scan(&all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	for name, prepare := range map[string]func(t *testing.T, p *testkit.Person) func() error{
		"CreateTotpFactor": func(t *testing.T, p *testkit.Person) func() error {
			return func() error {
				_, err := factorsOf(srv, p.Token).CreateTotpFactor(t.Context(), &authv1.CreateTotpFactorRequest{})
				return err
			}
		},
		"ConfirmTotpFactor": func(t *testing.T, p *testkit.Person) func() error {
			a := create(t, srv, p.Token)
			req := &authv1.ConfirmTotpFactorRequest{TotpFactorId: a.id, Code: a.code(t, 0)}
			return func() error { _, err := factorsOf(srv, p.Token).ConfirmTotpFactor(t.Context(), req); return err }
		},
		"DeleteTotpFactor": func(t *testing.T, p *testkit.Person) func() error {
			a, _ := enrol(t, srv, p)
			return func() error {
				_, err := factorsOf(srv, p.Token).DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id})
				return err
			}
		},
		"RegenerateRecoveryCodes": func(t *testing.T, p *testkit.Person) func() error {
			enrol(t, srv, p)
			return func() error {
				_, err := factorsOf(srv, p.Token).RegenerateRecoveryCodes(t.Context(), &authv1.RegenerateRecoveryCodesRequest{})
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			for what, change := range map[string]string{"ended": endSessions, "has another token": voidTokens} {
				p := srv.Register(t)
				call := prepare(t, p)
				before := stored(t)
				refused(t, "by a session that "+what, meanwhile(t, srv, p, change, call), connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
				if stored(t) != before {
					t.Errorf("by a session that %s the factors were changed", what)
				}
			}
		})
	}
}
