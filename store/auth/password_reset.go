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

// LockPasswordReset returns a reset by its id or by its link's token, locked
// until the transaction ends, or nil when there is none.
func (r Repository) LockPasswordReset(ctx context.Context, id ids.PasswordReset, token secret.Hash) (*PasswordReset, error) {
	p := new(PasswordReset)
	q := r.db.NewSelect().Model(p).For("UPDATE")
	if id.IsZero() {
		q = q.Where("token_hash = ?", token[:])
	} else {
		q = q.Where("id = ?", id)
	}
	err := q.Scan(ctx)
	if postgres.NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return p, nil
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
