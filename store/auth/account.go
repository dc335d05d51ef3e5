package auth

import (
	"context"

	"github.com/google/uuid"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// SecondFactors is how many second factors of each kind an account has.
type SecondFactors struct {
	TOTP          int
	Passkeys      int
	RecoveryCodes int
}

// Required reports whether a session that begins by one factor alone owes a second
// one.
func (f SecondFactors) Required() bool { return f.TOTP+f.Passkeys > 0 }

const secondFactors = postgres.Prepared(`
	SELECT (SELECT count(*) FROM auth.totp_factors WHERE user_id = $1 AND confirm_time IS NOT NULL),
	       (SELECT count(*) FROM auth.passkeys WHERE user_id = $1),
	       (SELECT count(*) FROM auth.recovery_codes WHERE user_id = $1)`)

// SecondFactors returns how many second factors a user has.
func (r Repository) SecondFactors(ctx context.Context, user ids.User) (SecondFactors, error) {
	var f SecondFactors
	err := secondFactors.QueryRow(ctx, r.db, user).Scan(&f.TOTP, &f.Passkeys, &f.RecoveryCodes)
	return f, err
}

// HaveSecondFactor returns which of the users have a second factor.
func (r Repository) HaveSecondFactor(ctx context.Context, users []ids.User) (map[ids.User]bool, error) {
	var list []uuid.UUID
	err := r.db.NewRaw(`
		SELECT u.id FROM unnest(?::uuid[]) u (id)
		WHERE EXISTS (SELECT FROM auth.totp_factors WHERE user_id = u.id AND confirm_time IS NOT NULL)
		   OR EXISTS (SELECT FROM auth.passkeys WHERE user_id = u.id)`, pgdialect.Array(ids.UUIDs(users))).Scan(ctx, &list)
	found := make(map[ids.User]bool, len(list))
	for _, id := range list {
		found[ids.FromUUID[ids.User](id)] = true
	}
	return found, err
}

const isDisabled = postgres.Prepared("SELECT EXISTS (SELECT FROM auth.disablements WHERE user_id = $1)")

// Disabled reports whether an operator has disabled the account.
func (r Repository) Disabled(ctx context.Context, user ids.User) (bool, error) {
	var disabled bool
	err := isDisabled.QueryRow(ctx, r.db, user).Scan(&disabled)
	return disabled, err
}

// Operator reports whether the user is an operator of the server.
func (r Repository) Operator(ctx context.Context, user ids.User) (bool, error) {
	var is bool
	err := r.db.NewRaw("SELECT EXISTS (SELECT FROM auth.operators WHERE user_id = ?)", user).Scan(ctx, &is)
	return is, err
}
