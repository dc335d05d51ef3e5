package auth

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
)

// SigningKey is a key that signs access tokens: published from CreateTime on, used
// from ActivateTime until RetireTime, published until ExpireTime.
type SigningKey struct {
	bun.BaseModel `bun:"table:auth.signing_keys,alias:k"`

	ID           ids.SigningKey `bun:"id,pk"`
	PublicKey    []byte
	PrivateKey   []byte // sealed
	CreateTime   time.Time
	ActivateTime time.Time
	RetireTime   time.Time `bun:",nullzero"`
	ExpireTime   time.Time `bun:",nullzero"`
}

// SigningKeys returns the keys that are published, the first to be used first.
func (r Repository) SigningKeys(ctx context.Context, now time.Time) ([]SigningKey, error) {
	var rows []SigningKey
	err := r.db.NewSelect().Model(&rows).Where("expire_time IS NULL OR expire_time > ?", now).Order("activate_time", "id").Scan(ctx)
	return rows, err
}

// signingKeyLock is the advisory lock under which signing keys are changed
// ("lsmansgk").
const signingKeyLock = 0x6c736d616e73676b

// LockSigningKeys keeps others from changing the keys until the transaction ends.
func (r Repository) LockSigningKeys(ctx context.Context) error {
	_, err := r.db.NewRaw("SELECT pg_advisory_xact_lock(?)", int64(signingKeyLock)).Exec(ctx)
	return err
}

// InsertSigningKey stores a new key.
func (r Repository) InsertSigningKey(ctx context.Context, k *SigningKey) error {
	_, err := r.db.NewInsert().Model(k).Exec(ctx)
	return err
}

// UpdateSigningKey stores the times of a key.
func (r Repository) UpdateSigningKey(ctx context.Context, k *SigningKey) error {
	_, err := r.db.NewUpdate().Model(k).Column("activate_time", "retire_time", "expire_time").WherePK().Exec(ctx)
	return err
}

// DeleteExpiredSigningKeys removes keys that are not published any more.
func (r Repository) DeleteExpiredSigningKeys(ctx context.Context, now time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.signing_keys WHERE expire_time <= ?", now)
}
