package auth

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// APIKeyOfToken returns the key of a secret that works, or of the one before the last
// rotation while that works, whoever its owner is by now; nil for none.
func (r Repository) APIKeyOfToken(ctx context.Context, token secret.Hash, now time.Time) (*APIKey, error) {
	k := new(APIKey)
	return postgres.OrNil(k, r.db.NewSelect().Model(k).
		Where("(token_hash = ?0 OR previous_hash = ?0 AND previous_expire_time > ?1) AND expire_time > ?1", token[:], now).Scan(ctx))
}
