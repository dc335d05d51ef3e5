package auth

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// PasswordReset is a wish for a new password. One is stored for every address
// that it is asked for, known or not, so that nobody can tell which is.
type PasswordReset struct {
	bun.BaseModel `bun:"table:auth.password_resets,alias:p"`

	ID         ids.PasswordReset `bun:"id,pk"`
	AddressKey string
	CodeHash   []byte
	TokenHash  []byte
	Attempts   int
	CreateTime time.Time
	ExpireTime time.Time
}

// InsertPasswordReset stores a reset.
func (r Repository) InsertPasswordReset(ctx context.Context, p *PasswordReset) error {
	_, err := r.db.NewInsert().Model(p).Exec(ctx)
	return err
}

// PasswordResetAddress returns the address of a reset by its id or by its link's token;
// "" when there is none.
func (r Repository) PasswordResetAddress(ctx context.Context, id ids.PasswordReset, token secret.Hash) (string, error) {
	var address string
	err := r.db.NewRaw("SELECT address_key FROM auth.password_resets WHERE CASE WHEN ?0::uuid IS NULL THEN token_hash = ?1 ELSE id = ?0 END",
		id, token[:]).Scan(ctx, &address)
	if postgres.NotFound(err) {
		return "", nil
	}
	return address, err
}

// LockPasswordReset returns a reset by its id or by its link's token, or nil when
// there is none. It is locked until the transaction ends, with all of its
// address, in one order, so that those who complete two of them take turns.
func (r Repository) LockPasswordReset(ctx context.Context, id ids.PasswordReset, token secret.Hash) (*PasswordReset, error) {
	var rows []PasswordReset
	err := r.db.NewRaw(`
		SELECT p.* FROM auth.password_resets p
		JOIN auth.password_resets asked ON asked.address_key = p.address_key
		WHERE CASE WHEN ?0::uuid IS NULL THEN asked.token_hash = ?1 ELSE asked.id = ?0 END
		ORDER BY p.id FOR UPDATE OF p`, id, token[:]).Scan(ctx, &rows)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].ID == id || token.Equal(rows[i].TokenHash) {
			return &rows[i], nil
		}
	}
	return nil, nil
}

// CountPasswordResetAttempt counts a wrong code.
func (r Repository) CountPasswordResetAttempt(ctx context.Context, id ids.PasswordReset) error {
	_, err := r.db.NewRaw("UPDATE auth.password_resets SET attempts = attempts + 1 WHERE id = ?", id).Exec(ctx)
	return err
}

// DeletePasswordResets removes the resets of an address.
func (r Repository) DeletePasswordResets(ctx context.Context, addressKey string) error {
	_, err := r.db.NewDelete().Model((*PasswordReset)(nil)).Where("address_key = ?", addressKey).Exec(ctx)
	return err
}
