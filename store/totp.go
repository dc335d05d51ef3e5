package store

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/base32"
	"fmt"
	"time"

	"github.com/pquerna/otp/hotp"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/auth"
)

// Authenticator apps follow RFC 6238 with what all of them can: HMAC-SHA-1, six
// digits, a new code every 30 seconds.
const (
	// TOTPPeriod is how long a code of an authenticator app is shown.
	TOTPPeriod = 30 * time.Second
	// TOTPDigits is how many digits it has.
	TOTPDigits = 6

	// totpSecretSize is the size of a secret in bytes: what RFC 4226, 4 (R6)
	// recommends, and the size of the hash.
	totpSecretSize = 20
	// totpDrift is how many steps the app's clock may be off, either way: RFC 6238,
	// 5.2 recommends to allow for one.
	totpDrift = 1
)

// base32Secret is how people and apps write secrets.
var base32Secret = base32.StdEncoding.WithPadding(base32.NoPadding)

// newTOTPSecret returns the secret of a new authenticator app.
func newTOTPSecret() []byte {
	b := make([]byte, totpSecretSize)
	_, _ = rand.Read(b) // never fails: crypto/rand
	return b
}

// totpStep is the time step that a time falls into (RFC 6238, 4.2).
func totpStep(t time.Time) int64 { return t.Unix() / int64(TOTPPeriod/time.Second) }

// totpCode is the code of a time step.
func totpCode(secret []byte, step int64) (string, error) {
	return hotp.GenerateCode(base32Secret.EncodeToString(secret), uint64(step))
}

// totpMatch returns the newest step around the present one of which the code is, and
// whether there is one.
func totpMatch(secret []byte, code string, now time.Time) (step int64, found bool, err error) {
	present := totpStep(now)
	for at := present - totpDrift; at <= present+totpDrift; at++ {
		want, err := totpCode(secret, at)
		if err != nil {
			return 0, false, err
		}
		if subtle.ConstantTimeCompare([]byte(want), []byte(code)) == 1 {
			step, found = at, true
		}
	}
	return step, found, nil
}

// sealTOTP seals the secret of a factor, and binds it to that factor.
func (s *Store) sealTOTP(id ids.Factor, secret []byte) []byte {
	return s.totp.Seal(secret, id.String())
}

// matchTOTP returns the step of which a factor's code is, and whether there is one.
func (s *Store) matchTOTP(f *auth.TOTPFactor, code string, now time.Time) (int64, bool, error) {
	secret, err := s.totp.Open(f.Secret, f.ID.String())
	if err != nil {
		return 0, false, fmt.Errorf("secret of %s: %w", f.ID, err)
	}
	return totpMatch(secret, code, now)
}

// totpProof is a factor with the step of which its code was given.
type totpProof struct {
	factor ids.Factor
	step   int64
}

// proveTOTP finds the confirmed factors of a user whose code is given. There may be
// several, by chance.
//
// Errors: fault FACTOR_MISSING when the user has no factor; SECOND_FACTOR_INVALID
// when the code is none's.
func (s *Store) proveTOTP(ctx context.Context, user ids.User, code string) ([]totpProof, error) {
	factors, err := s.Auth.TOTPFactors(ctx, user)
	if err != nil {
		return nil, s.constraints.Fault(err)
	}
	if len(factors) == 0 {
		return nil, errNoFactor("the account has no authenticator app")
	}
	var proofs []totpProof
	now := s.options.Clock.Now()
	for i := range factors {
		step, found, err := s.matchTOTP(&factors[i], code, now)
		if err != nil {
			return nil, err
		}
		if found {
			proofs = append(proofs, totpProof{factors[i].ID, step})
		}
	}
	if len(proofs) == 0 {
		return nil, errSecondFactor()
	}
	return proofs, nil
}

// acceptTOTP uses up the code that was found right.
//
// Errors: fault SECOND_FACTOR_INVALID when it was used up before, or the factor is
// gone.
func (t *tx) acceptTOTP(ctx context.Context, user ids.User, proofs []totpProof) (ids.Factor, error) {
	for _, p := range proofs {
		if accepted, err := t.auth.AcceptTOTPStep(ctx, user, p.factor, p.step, t.now); err != nil || accepted {
			return p.factor, err
		}
	}
	return ids.Factor{}, errSecondFactor()
}

func errNoFactor(message string) error {
	return fault.New(fault.FailedPrecondition, fault.FactorMissing, message)
}

// errSecondFactor is the fault of a second factor that is not right, whatever is
// wrong with it.
func errSecondFactor() error {
	return fault.New(fault.Unauthenticated, fault.SecondFactorInvalid, "the code is wrong, or was used before")
}
