package auth

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// TOTPFactor is an authenticator app of a user, by RFC 6238. It counts once it is
// confirmed.
type TOTPFactor struct {
	bun.BaseModel `bun:"table:auth.totp_factors,alias:f"`

	ID          ids.Factor `bun:"id,pk"`
	UserID      ids.User
	DisplayName string
	Secret      []byte    // sealed
	ConfirmTime time.Time `bun:",nullzero"`
	// ExpireTime is until when it can be confirmed.
	ExpireTime time.Time
	// LastStep is the newest time step of which a code was accepted.
	LastStep    int64
	CreateTime  time.Time
	LastUseTime time.Time `bun:",nullzero"`
}

// Confirmed reports whether a code has proven that the app has the secret.
func (f *TOTPFactor) Confirmed() bool { return !f.ConfirmTime.IsZero() }

// InsertTOTPFactor stores a factor that is to be confirmed. Of the others of its user
// which are not confirmed the newest ones stay, as many as given.
func (r Repository) InsertTOTPFactor(ctx context.Context, f *TOTPFactor, stay int) error {
	if _, err := r.db.NewRaw(`
		DELETE FROM auth.totp_factors WHERE id IN (
			SELECT id FROM auth.totp_factors WHERE user_id = ?0 AND confirm_time IS NULL ORDER BY id DESC OFFSET ?1)`,
		f.UserID, stay).Exec(ctx); err != nil {
		return err
	}
	_, err := r.db.NewInsert().Model(f).Exec(ctx)
	return err
}

// TOTPFactor returns a factor of a user, confirmed or not, or nil.
func (r Repository) TOTPFactor(ctx context.Context, user ids.User, id ids.Factor) (*TOTPFactor, error) {
	f := new(TOTPFactor)
	return postgres.OrNil(f, r.db.NewSelect().Model(f).Where("user_id = ? AND id = ?", user, id).Scan(ctx))
}

// TOTPFactors returns the confirmed factors of a user, the oldest first.
func (r Repository) TOTPFactors(ctx context.Context, user ids.User) ([]TOTPFactor, error) {
	var rows []TOTPFactor
	err := r.db.NewSelect().Model(&rows).Where("user_id = ? AND confirm_time IS NOT NULL", user).Order("confirm_time", "id").Scan(ctx)
	return rows, err
}

// ConfirmTOTPFactor makes a factor count, whose code of a time step was right, and
// returns it. It returns nil when the factor is confirmed already, or its time over.
func (r Repository) ConfirmTOTPFactor(ctx context.Context, user ids.User, id ids.Factor, step int64, now time.Time) (*TOTPFactor, error) {
	f := new(TOTPFactor)
	return postgres.OrNil(f, r.db.NewRaw(`
		UPDATE auth.totp_factors SET confirm_time = ?3, last_step = ?2
		WHERE user_id = ?0 AND id = ?1 AND confirm_time IS NULL AND expire_time > ?3 RETURNING *`, user, id, step, now).Scan(ctx, f))
}

// RenameTOTPFactor gives a confirmed factor another name, and returns it, or nil when
// the user has none such.
func (r Repository) RenameTOTPFactor(ctx context.Context, user ids.User, id ids.Factor, displayName string) (*TOTPFactor, error) {
	f := new(TOTPFactor)
	return postgres.OrNil(f, r.db.NewRaw(`
		UPDATE auth.totp_factors SET display_name = ?2 WHERE user_id = ?0 AND id = ?1 AND confirm_time IS NOT NULL RETURNING *`,
		user, id, displayName).Scan(ctx, f))
}

// DeleteTOTPFactor removes a confirmed factor, and reports whether the user had it.
func (r Repository) DeleteTOTPFactor(ctx context.Context, user ids.User, id ids.Factor) (bool, error) {
	result, err := r.db.NewRaw("DELETE FROM auth.totp_factors WHERE user_id = ? AND id = ? AND confirm_time IS NOT NULL", user, id).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// AcceptTOTPStep uses up a time step of which a factor's code was right, and reports
// whether that could be: not when a code of this step or of a later one was accepted
// before, of this or another factor of the user (RFC 6238, 5.2), nor when the factor
// is gone. Parallel calls take turns.
func (r Repository) AcceptTOTPStep(ctx context.Context, user ids.User, id ids.Factor, step int64, now time.Time) (bool, error) {
	var rows []TOTPFactor
	if err := r.db.NewSelect().Model(&rows).Column("id", "last_step").
		Where("user_id = ? AND confirm_time IS NOT NULL", user).Order("id").For("UPDATE").Scan(ctx); err != nil {
		return false, err
	}
	there := false
	for i := range rows {
		there = there || rows[i].ID == id
		if rows[i].LastStep >= step {
			return false, nil
		}
	}
	if !there {
		return false, nil
	}
	_, err := r.db.NewRaw(`
		UPDATE auth.totp_factors SET last_step = ?2, last_use_time = CASE WHEN id = ?1 THEN ?3 ELSE last_use_time END
		WHERE user_id = ?0 AND confirm_time IS NOT NULL`, user, id, step, now).Exec(ctx)
	return true, err
}

// DeleteExpiredTOTPFactors removes factors that were not confirmed in time.
func (r Repository) DeleteExpiredTOTPFactors(ctx context.Context, now time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.totp_factors WHERE confirm_time IS NULL AND expire_time < ?", now)
}
