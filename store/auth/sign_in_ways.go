package auth

import (
	"context"

	"github.com/logicspike/manager/internal/ids"
)

// SignInWays are the ways in which somebody can sign in to an account.
type SignInWays struct {
	Password   bool
	Email      bool // a proven address: a code can be mailed there
	Passkeys   int
	Identities int // at identity providers
}

// Count is how many ways there are.
func (w SignInWays) Count() int {
	n := w.Passkeys + w.Identities
	if w.Password {
		n++
	}
	if w.Email {
		n++
	}
	return n
}

// SignInWays returns the ways in which a user can sign in.
func (r Repository) SignInWays(ctx context.Context, user ids.User) (SignInWays, error) {
	var w SignInWays
	err := r.db.NewRaw(`
		SELECT EXISTS (SELECT FROM auth.credentials WHERE user_id = ?0),
		       EXISTS (SELECT FROM identity.profiles WHERE user_id = ?0 AND email_verified),
		       (SELECT count(*) FROM auth.passkeys WHERE user_id = ?0),
		       (SELECT count(*) FROM auth.external_identities WHERE user_id = ?0)`, user).
		Scan(ctx, &w.Password, &w.Email, &w.Passkeys, &w.Identities)
	return w, err
}
