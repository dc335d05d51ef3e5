package auth

import (
	"context"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/ids"
)

// AccountState is what operators see of an account beside its user.
type AccountState struct {
	UserID         ids.User
	DisableTime    time.Time // zero when it is not disabled
	DisableReason  string
	SessionCount   int // live sessions
	WorkspaceCount int
	// SecondFactorRequired is whether a session that begins by one factor alone owes a
	// second one.
	SecondFactorRequired bool
	Operator             bool
}

// AccountStates returns the states of accounts, by their users.
func (r Repository) AccountStates(ctx context.Context, users []ids.User, now time.Time) (map[ids.User]AccountState, error) {
	var rows []struct {
		UserID               ids.User
		DisableTime          bun.NullTime
		DisableReason        string
		SessionCount         int
		WorkspaceCount       int
		SecondFactorRequired bool
		Operator             bool
	}
	err := r.db.NewRaw(`
		SELECT u.id AS user_id, d.create_time AS disable_time, coalesce(d.reason, '') AS disable_reason,
		       (SELECT count(*) FROM auth.sessions s WHERE s.user_id = u.id AND s.idle_expire_time > ?1) AS session_count,
		       (SELECT count(*) FROM team.roster r WHERE r.user_id = u.id) AS workspace_count,
		       EXISTS (SELECT FROM auth.totp_factors f WHERE f.user_id = u.id AND f.confirm_time IS NOT NULL)
		           OR EXISTS (SELECT FROM auth.passkeys p WHERE p.user_id = u.id) AS second_factor_required,
		       EXISTS (SELECT FROM auth.operators o WHERE o.user_id = u.id) AS operator
		FROM unnest(?0::uuid[]) u (id) LEFT JOIN auth.disablements d ON d.user_id = u.id`,
		pgdialect.Array(ids.UUIDs(users)), now).Scan(ctx, &rows)
	if err != nil {
		return nil, err
	}
	states := make(map[ids.User]AccountState, len(rows))
	for _, row := range rows {
		states[row.UserID] = AccountState{
			UserID: row.UserID, DisableTime: row.DisableTime.Time, DisableReason: row.DisableReason,
			SessionCount: row.SessionCount, WorkspaceCount: row.WorkspaceCount,
			SecondFactorRequired: row.SecondFactorRequired, Operator: row.Operator,
		}
	}
	return states, nil
}

// Disable keeps a locked user from signing in, and reports whether they could until
// now. The operator is zero for the command line.
func (r Repository) Disable(ctx context.Context, user, operator ids.User, reason string, now time.Time) (bool, error) {
	result, err := r.db.NewRaw(`
		INSERT INTO auth.disablements (user_id, operator_id, reason, create_time) VALUES (?, ?, ?, ?)
		ON CONFLICT DO NOTHING`, user, operator, reason, now).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// Enable lets a user sign in again, and reports whether they could not until now.
func (r Repository) Enable(ctx context.Context, user ids.User) (bool, error) {
	return r.deleteOne(ctx, "DELETE FROM auth.disablements WHERE user_id = ?", user)
}

func (r Repository) deleteOne(ctx context.Context, statement string, user ids.User) (bool, error) {
	result, err := r.db.NewRaw(statement, user).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

// DeleteSecondFactors removes the second factors and recovery codes of a user, and
// returns how many there were of each kind, those that were never confirmed among
// them.
func (r Repository) DeleteSecondFactors(ctx context.Context, user ids.User) (SecondFactors, error) {
	var f SecondFactors
	err := r.db.NewRaw(`
		WITH totp AS (DELETE FROM auth.totp_factors WHERE user_id = ?0 RETURNING 1),
		     passkeys AS (DELETE FROM auth.passkeys WHERE user_id = ?0 RETURNING 1),
		     codes AS (DELETE FROM auth.recovery_codes WHERE user_id = ?0 RETURNING 1)
		SELECT (SELECT count(*) FROM totp), (SELECT count(*) FROM passkeys), (SELECT count(*) FROM codes)`, user).
		Scan(ctx, &f.TOTP, &f.Passkeys, &f.RecoveryCodes)
	return f, err
}

// SignsInWithoutPasskey reports whether a user has another way to sign in than a
// passkey: a password, an identity at a provider, or an address that is proven.
func (r Repository) SignsInWithoutPasskey(ctx context.Context, user ids.User) (bool, error) {
	var has bool
	err := r.db.NewRaw(`
		SELECT EXISTS (SELECT FROM auth.credentials WHERE user_id = ?0)
		    OR EXISTS (SELECT FROM auth.external_identities WHERE user_id = ?0)
		    OR EXISTS (SELECT FROM identity.profiles WHERE user_id = ?0 AND email_verified)`, user).Scan(ctx, &has)
	return has, err
}

// DeleteImpersonations ends the sessions that an operator has in the names of users.
func (r Repository) DeleteImpersonations(ctx context.Context, operator ids.User) error {
	_, err := r.db.NewRaw("DELETE FROM auth.sessions WHERE impersonator_id = ?", operator).Exec(ctx)
	return err
}

// DeleteImpersonationsOf ends the sessions that operators have in the name of a user.
func (r Repository) DeleteImpersonationsOf(ctx context.Context, user ids.User) error {
	_, err := r.db.NewRaw("DELETE FROM auth.sessions WHERE user_id = ? AND impersonator_id IS NOT NULL", user).Exec(ctx)
	return err
}

// HoldOperator reports whether a user is an operator of the server, and keeps it so
// until the transaction ends.
func (r Repository) HoldOperator(ctx context.Context, user ids.User) (bool, error) {
	result, err := r.db.NewRaw("SELECT 1 FROM auth.operators WHERE user_id = ? FOR SHARE", user).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// InsertOperator makes a user an operator of the server, and reports whether they were
// none.
func (r Repository) InsertOperator(ctx context.Context, user ids.User, now time.Time) (bool, error) {
	result, err := r.db.NewRaw("INSERT INTO auth.operators (user_id, create_time) VALUES (?, ?) ON CONFLICT DO NOTHING", user, now).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// DeleteOperator ends that a user is an operator of the server, and reports whether
// they were one.
func (r Repository) DeleteOperator(ctx context.Context, user ids.User) (bool, error) {
	return r.deleteOne(ctx, "DELETE FROM auth.operators WHERE user_id = ?", user)
}

// OperatorRow is an operator of the server.
type OperatorRow struct {
	UserID     ids.User
	Address    string // "" when they have none
	CreateTime time.Time
}

// ListOperators returns the operators of the server, the first of them first.
func (r Repository) ListOperators(ctx context.Context) ([]OperatorRow, error) {
	var rows []OperatorRow
	err := r.db.NewRaw(`
		SELECT o.user_id, coalesce(p.address, '') AS address, o.create_time
		FROM auth.operators o JOIN identity.profiles p ON p.user_id = o.user_id ORDER BY o.create_time, o.user_id`).Scan(ctx, &rows)
	return rows, err
}
