package e2e

import (
	"testing"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
)

// TestFailureOfAnyWriteOfASecondFactorLeavesNothing lets each write fail in turn of
// what proves or changes a factor. But for the counts of tries, which are to stay, the
// database is as before, and the same code works in the end.
func TestFailureOfAnyWriteOfASecondFactorLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, s *stage) func() error{
		"ConfirmTotpFactor": func(t *testing.T, s *stage) func() error {
			p := s.person(t)
			begin(t, s.Server, p.Email) // a session that is to end
			a := create(t, s.Server, p.Token)
			return func() error {
				_, err := factorsOf(s.Server, p.Token).ConfirmTotpFactor(t.Context(), &authv1.ConfirmTotpFactorRequest{TotpFactorId: a.id, Code: a.code(t, 0)})
				return err
			}
		},
		"VerifySecondFactor by an app": func(t *testing.T, s *stage) func() error {
			p := s.person(t)
			a, _ := enrol(t, s.Server, p)
			token := owing(t, s.Server, p.Email)
			return func() error { _, err := verifyTOTP(t, s.Server, token, a.code(t, 0)); return err }
		},
		"VerifySecondFactor by a recovery code": func(t *testing.T, s *stage) func() error {
			p := s.person(t)
			_, codes := enrol(t, s.Server, p)
			token := owing(t, s.Server, p.Email)
			return func() error { _, err := verifyRecovery(t, s.Server, token, codes[3]); return err }
		},
		"Reauthenticate by an app": func(t *testing.T, s *stage) func() error {
			p := s.person(t)
			a, _ := enrol(t, s.Server, p)
			return func() error { _, err := reauthenticateTOTP(t, s.Server, p.Token, a.code(t, 0)); return err }
		},
		"DeleteTotpFactor": func(t *testing.T, s *stage) func() error {
			p := s.person(t)
			a, _ := enrol(t, s.Server, p)
			return func() error {
				_, err := factorsOf(s.Server, p.Token).DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: a.id})
				return err
			}
		},
		"RegenerateRecoveryCodes": func(t *testing.T, s *stage) func() error {
			p := s.person(t)
			enrol(t, s.Server, p)
			return func() error {
				_, err := factorsOf(s.Server, p.Token).RegenerateRecoveryCodes(t.Context(), &authv1.RegenerateRecoveryCodesRequest{})
				return err
			}
		},
		"CompleteEmailSignIn": func(t *testing.T, s *stage) func() error {
			req := (&world{t: t, srv: s.Server, owner: s.person(t)}).emailSignIn()
			return func() error { _, err := completeEmail(t, s.Server, req); return err }
		},
		"Reauthenticate by mail": func(t *testing.T, s *stage) func() error {
			p := s.person(t)
			res, err := factorsOf(s.Server, p.Token).StartEmailReauthentication(t.Context(), &authv1.StartEmailReauthenticationRequest{})
			if err != nil {
				t.Fatal(err)
			}
			code := &authv1.EmailCode{EmailChallengeId: res.EmailChallengeId, Code: queued(t, s.Server, p.Email).Data["code"]}
			return func() error {
				_, err := p.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{EmailCode: code})
				return err
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, nil)
			sabotage := s.sabotage(t)
			call := prepare(t, s)
			// The use of all sessions is noted by then: it is a write of each call.
			if _, err := s.SQL.Exec(t.Context(), "UPDATE auth.sessions SET last_use_time = $1", s.Clock.Now()); err != nil {
				t.Fatal(err)
			}
			before := s.contents(t)
			failed := 0
			for at := 1; ; at++ {
				sabotage.strike(t, blow{at, "23514"})
				err := call()
				sabotage.rest(t)
				if err == nil {
					break
				}
				failed++
				s.requireInternal(t, err)
				if _, err := s.SQL.Exec(t.Context(), "DELETE FROM auth.failures; UPDATE auth.email_challenges SET attempts = 0"); err != nil {
					t.Fatal(err)
				}
				s.requireContents(t, before)
			}
			t.Logf("failed at each of %d writes", failed)
			if failed < 3 {
				t.Errorf("only %d writes were found", failed)
			}
			if err := call(); err == nil && name != "RegenerateRecoveryCodes" {
				t.Error("it can be done again")
			}
			s.CheckInvariants(t)
		})
	}
}
