package auth

import (
	"context"
	"encoding/hex"
	"time"

	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
)

// ReplaceRecoveryCodes gives a user recovery codes in place of those they have.
func (r Repository) ReplaceRecoveryCodes(ctx context.Context, user ids.User, hashes []secret.Hash, now time.Time) error {
	if _, err := r.db.NewRaw("DELETE FROM auth.recovery_codes WHERE user_id = ?", user).Exec(ctx); err != nil {
		return err
	}
	list := make([]string, len(hashes))
	for i, h := range hashes {
		list[i] = hex.EncodeToString(h[:])
	}
	_, err := r.db.NewRaw(`
		INSERT INTO auth.recovery_codes (user_id, code_hash, create_time)
		SELECT ?0, decode(h, 'hex'), ?1 FROM unnest(?2::text[]) h`, user, now, pgdialect.Array(list)).Exec(ctx)
	return err
}

// UseRecoveryCode removes a recovery code of a user, and reports whether there was
// one.
func (r Repository) UseRecoveryCode(ctx context.Context, user ids.User, hash secret.Hash) (bool, error) {
	result, err := r.db.NewRaw("DELETE FROM auth.recovery_codes WHERE user_id = ? AND code_hash = ?", user, hash[:]).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// RecoveryCodes returns how many recovery codes a user has, and when they were made.
func (r Repository) RecoveryCodes(ctx context.Context, user ids.User) (count int, created time.Time, err error) {
	var since *time.Time
	err = r.db.NewRaw("SELECT count(*), min(create_time) FROM auth.recovery_codes WHERE user_id = ?", user).Scan(ctx, &count, &since)
	if since != nil {
		created = *since
	}
	return count, created, err
}
