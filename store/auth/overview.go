package auth

import (
	"context"

	"github.com/logicspike/manager/internal/ids"
)

// Overview is by what a user can sign in.
type Overview struct {
	Password           bool
	EmailVerified      bool
	ExternalIdentities int
	SecondFactors      SecondFactors
}

// Overview returns by what a user can sign in.
func (r Repository) Overview(ctx context.Context, user ids.User) (Overview, error) {
	var o Overview
	err := r.db.NewRaw(`
		SELECT EXISTS (SELECT FROM auth.credentials WHERE user_id = ?0),
		       EXISTS (SELECT FROM identity.profiles WHERE user_id = ?0 AND email_verified),
		       (SELECT count(*) FROM auth.external_identities WHERE user_id = ?0),
		       (SELECT count(*) FROM auth.totp_factors WHERE user_id = ?0 AND confirm_time IS NOT NULL),
		       (SELECT count(*) FROM auth.passkeys WHERE user_id = ?0),
		       (SELECT count(*) FROM auth.recovery_codes WHERE user_id = ?0)`, user).
		Scan(ctx, &o.Password, &o.EmailVerified, &o.ExternalIdentities,
			&o.SecondFactors.TOTP, &o.SecondFactors.Passkeys, &o.SecondFactors.RecoveryCodes)
	return o, err
}
