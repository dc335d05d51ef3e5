package auth

import (
	"context"
	"time"

	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// KnownKey is an API key as its token tells of it.
type KnownKey struct {
	ID               ids.APIKey
	WorkspaceID      ids.Workspace
	UserID           ids.User           // whose key it is; zero for a service account's
	ServiceAccountID ids.ServiceAccount // whose key it is; zero for a user's
	Permissions      []string
	ExpireTime       time.Time // zero for never
}

// keyOfToken finds the key whose token, or whose token before the last rotation,
// works now. A key of an account that is disabled does not.
const keyOfToken = `
	FROM auth.api_keys k
	WHERE (k.token_hash = ?0 OR k.previous_hash = ?0 AND k.previous_expire_time > ?1)
	  AND (k.expire_time IS NULL OR k.expire_time > ?1)`

// KeyOfToken returns the API key of a token that has not expired and whose account
// is not disabled, or nil.
func (r Repository) KeyOfToken(ctx context.Context, token secret.Hash, now time.Time) (*KnownKey, error) {
	var k KnownKey
	var expires *time.Time
	err := r.db.NewRaw(`
		SELECT k.id, k.workspace_id, k.user_id, k.service_account_id, k.permissions, k.expire_time `+keyOfToken+`
		  AND NOT EXISTS (SELECT FROM auth.disablements d WHERE d.user_id = k.user_id)`, token[:], now).
		Scan(ctx, &k.ID, &k.WorkspaceID, &k.UserID, &k.ServiceAccountID, pgdialect.Array(&k.Permissions), &expires)
	if postgres.NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if expires != nil {
		k.ExpireTime = *expires
	}
	return &k, nil
}

// EndKeyOfToken removes the API key of a token that has not expired, and returns it
// without its permissions, or nil.
func (r Repository) EndKeyOfToken(ctx context.Context, token secret.Hash, now time.Time) (*KnownKey, error) {
	var k KnownKey
	err := r.db.NewRaw(`
		DELETE FROM auth.api_keys WHERE id = (SELECT k.id `+keyOfToken+`)
		RETURNING id, workspace_id, user_id, service_account_id`, token[:], now).
		Scan(ctx, &k.ID, &k.WorkspaceID, &k.UserID, &k.ServiceAccountID)
	if postgres.NotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &k, nil
}
