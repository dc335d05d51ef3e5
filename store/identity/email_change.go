package identity

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// MaxAttempts is how many wrong codes void a change of address.
const MaxAttempts = 5

// EmailChange is an address that waits to be proven by a user.
type EmailChange struct {
	bun.BaseModel `bun:"table:identity.email_changes,alias:c"`

	ID         ids.EmailChange `bun:"id,pk"`
	UserID     ids.User
	Address    string
	AddressKey string
	CodeHash   []byte
	TokenHash  []byte
	Attempts   int
	CreateTime time.Time
	ExpireTime time.Time
}

// Email returns the new address.
func (c *EmailChange) Email() email.Address {
	return email.Address{Display: c.Address, Key: c.AddressKey}
}

// InsertEmailChange stores a change in place of the user's earlier ones.
func (r Repository) InsertEmailChange(ctx context.Context, c *EmailChange) error {
	if err := r.DeleteEmailChanges(ctx, c.UserID); err != nil {
		return err
	}
	_, err := r.db.NewInsert().Model(c).Exec(ctx)
	return err
}

// LockEmailChange returns the user's change by its id or by its token, locked
// until the transaction ends, or nil when there is none.
func (r Repository) LockEmailChange(ctx context.Context, user ids.User, id ids.EmailChange, token secret.Hash) (*EmailChange, error) {
	c := new(EmailChange)
	q := r.db.NewSelect().Model(c).Where("user_id = ?", user).For("UPDATE")
	if id.IsZero() {
		q = q.Where("token_hash = ?", token[:])
	} else {
		q = q.Where("id = ?", id)
	}
	return postgres.OrNil(c, q.Scan(ctx))
}

// CountEmailChangeAttempt counts a wrong code.
func (r Repository) CountEmailChangeAttempt(ctx context.Context, id ids.EmailChange) error {
	_, err := r.db.NewRaw("UPDATE identity.email_changes SET attempts = attempts + 1 WHERE id = ?", id).Exec(ctx)
	return err
}

// DeleteEmailChanges removes a user's changes.
func (r Repository) DeleteEmailChanges(ctx context.Context, user ids.User) error {
	_, err := r.db.NewDelete().Model((*EmailChange)(nil)).Where("user_id = ?", user).Exec(ctx)
	return err
}

// DeleteExpired removes changes that can no longer be confirmed.
func (r Repository) DeleteExpired(ctx context.Context, now time.Time) error {
	_, err := r.db.NewDelete().Model((*EmailChange)(nil)).Where("expire_time < ?", now).Exec(ctx)
	return err
}
