package store

import (
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/secret"
)

// CodeLifetime is how long a code or link that was mailed is valid.
const CodeLifetime = 10 * time.Minute

// Proof is what was mailed and is now given back: a code, or a link's token.
type Proof struct {
	Code  string
	Token string
}

// mailed is a code with its link's token, made together.
type mailed struct{ code, token string }

// The purposes of codes and tokens, which are part of their hashes, and the
// prefixes of the tokens.
const (
	forRegistration  = "registration"
	forPasswordReset = "password reset"
	forEmailChange   = "email change"
	forSession       = "session"
	forInvitation    = "invitation"
	forLink          = "invitation link"
	forAPIKey        = "api key" // behind authz.KeyPrefix

	prefixRegistration  = "lsmr_"
	prefixPasswordReset = "lsmp_"
	prefixEmailChange   = "lsme_"
	prefixSession       = "lsms_"
	prefixInvitation    = "lsmi_"
	prefixLink          = "lsml_"
)

func newMailed(prefix string) mailed {
	return mailed{code: secret.NewCode(), token: secret.NewToken(prefix)}
}

// hashes returns the forms in which they are stored. The code's is bound to the
// token, so that a million hashes don't serve to read all codes in a stolen
// database.
func (m mailed) hashes(purpose string) (code, token []byte) {
	t := secret.HashOf(purpose, m.token)
	c := hashOfCode(purpose, t[:], m.code)
	return c[:], t[:]
}

func hashOfCode(purpose string, token []byte, code string) secret.Hash {
	return secret.HashOf(purpose+" code "+string(token), code)
}

// proves reports whether the proof is what was mailed. A token has been compared
// already: by its hash the row was found.
func (p Proof) proves(purpose string, codeHash, tokenHash []byte) bool {
	return p.Token != "" || hashOfCode(purpose, tokenHash, p.Code).Equal(codeHash)
}

// tokenHash is the hash by which a token's row is found.
func (p Proof) tokenHash(purpose string) secret.Hash { return secret.HashOf(purpose, p.Token) }

func errCode() error {
	return fault.New(fault.FailedPrecondition, fault.CodeInvalid,
		"the code or link is wrong, expired, used or replaced; ask for a new one")
}
