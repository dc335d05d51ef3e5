package auth

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// APIKey is a key by which programs call the methods of a workspace.
type APIKey struct {
	bun.BaseModel `bun:"table:auth.api_keys,alias:k"`

	ID          ids.APIKey `bun:"id,pk"`
	WorkspaceID ids.Workspace
	// Whose it is: one of the two is set.
	UserID           ids.User
	ServiceAccountID ids.ServiceAccount
	CreatorID        ids.User // zero once they are gone
	DisplayName      string
	Permissions      []string `bun:",array"`
	TokenHash        []byte
	Hint             string // the last characters of the key
	// PreviousHash is the secret before the last rotation, until PreviousExpireTime.
	PreviousHash       []byte    `bun:",nullzero"`
	PreviousExpireTime time.Time `bun:",nullzero"`
	RequestID          uuid.NullUUID
	RequestDigest      []byte `bun:",nullzero"`
	RotateRequestID    uuid.NullUUID
	CreateTime         time.Time
	ExpireTime         time.Time
	LastUseTime        time.Time `bun:",nullzero"`
}

// LiveAt reports whether the key works at a time.
func (k *APIKey) LiveAt(now time.Time) bool { return now.Before(k.ExpireTime) }

// Opens reports whether a secret is the key's at a time.
func (k *APIKey) Opens(hash secret.Hash, now time.Time) bool {
	if !k.LiveAt(now) {
		return false
	}
	return hash.Equal(k.TokenHash) || hash.Equal(k.PreviousHash) && now.Before(k.PreviousExpireTime)
}

// InsertAPIKey stores a new key.
func (r Repository) InsertAPIKey(ctx context.Context, k *APIKey) error {
	_, err := r.db.NewInsert().Model(k).Exec(ctx)
	return err
}

// APIKey returns a key of a workspace.
//
// Errors: fault NOT_FOUND.
func (r Repository) APIKey(ctx context.Context, workspace ids.Workspace, id ids.APIKey) (*APIKey, error) {
	k := new(APIKey)
	return postgres.OrMissing(k, r.db.NewSelect().Model(k).Where("k.workspace_id = ? AND k.id = ?", workspace, id).Scan(ctx))
}

// APIKeyRequested returns the key that a request made, or nil when there is none.
func (r Repository) APIKeyRequested(ctx context.Context, workspace ids.Workspace, request uuid.UUID) (*APIKey, error) {
	k := new(APIKey)
	return postgres.OrNil(k, r.db.NewSelect().Model(k).Where("k.workspace_id = ? AND k.request_id = ?", workspace, request).Scan(ctx))
}

// NoteAPIKeyRequest notes that a request has made a key, whatever becomes of that.
func (r Repository) NoteAPIKeyRequest(ctx context.Context, workspace ids.Workspace, request uuid.UUID, now time.Time) error {
	_, err := r.db.NewRaw("INSERT INTO auth.api_key_requests (workspace_id, request_id, create_time) VALUES (?, ?, ?)", workspace, request, now).Exec(ctx)
	return err
}

// MadeAPIKey reports whether a request is noted to have made a key.
func (r Repository) MadeAPIKey(ctx context.Context, workspace ids.Workspace, request uuid.UUID) (made bool, err error) {
	err = r.db.NewRaw("SELECT EXISTS (SELECT FROM auth.api_key_requests WHERE workspace_id = ? AND request_id = ?)", workspace, request).Scan(ctx, &made)
	return made, err
}

// ForgetAPIKeyRequests removes the notes of requests from before a time.
func (r Repository) ForgetAPIKeyRequests(ctx context.Context, before time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.api_key_requests WHERE create_time < ?", before)
}

// KeyOwner is whose keys are meant: a user's, or a service account's; zero for
// everybody's.
type KeyOwner struct {
	User           ids.User
	ServiceAccount ids.ServiceAccount
}

// CountLiveAPIKeys returns how many keys of an owner work in a workspace.
func (r Repository) CountLiveAPIKeys(ctx context.Context, workspace ids.Workspace, owner KeyOwner, now time.Time) (int, error) {
	n, err := owner.of(r.db.NewSelect().Model((*APIKey)(nil)), workspace).Where("k.expire_time > ?", now).Count(ctx)
	return int(n), err
}

// CountAPIKeysOf returns how many keys of a user work, in all workspaces.
func (r Repository) CountAPIKeysOf(ctx context.Context, user ids.User, now time.Time) (int, error) {
	n, err := r.db.NewSelect().Model((*APIKey)(nil)).Where("k.user_id = ? AND k.expire_time > ?", user, now).Count(ctx)
	return int(n), err
}

func (o KeyOwner) of(q *bun.SelectQuery, workspace ids.Workspace) *bun.SelectQuery {
	q = q.Where("k.workspace_id = ?", workspace)
	if !o.User.IsZero() {
		q = q.Where("k.user_id = ?", o.User)
	}
	if !o.ServiceAccount.IsZero() {
		q = q.Where("k.service_account_id = ?", o.ServiceAccount)
	}
	return q
}

// RotateAPIKey stores what a rotation changed of a key of a locked workspace.
func (r Repository) RotateAPIKey(ctx context.Context, k *APIKey) error {
	_, err := r.db.NewUpdate().Model(k).
		Column("token_hash", "hint", "previous_hash", "previous_expire_time", "rotate_request_id", "expire_time").WherePK().Exec(ctx)
	return err
}

// DeleteAPIKey ends a key.
func (r Repository) DeleteAPIKey(ctx context.Context, id ids.APIKey) error {
	_, err := r.db.NewDelete().Model((*APIKey)(nil)).Where("id = ?", id).Exec(ctx)
	return err
}

// DeleteAPIKeysOf ends the keys of a user in a workspace, or in all for the zero one,
// and returns how many.
func (r Repository) DeleteAPIKeysOf(ctx context.Context, user ids.User, workspace ids.Workspace) (int, error) {
	q := r.db.NewDelete().Model((*APIKey)(nil)).Where("user_id = ?", user)
	if !workspace.IsZero() {
		q = q.Where("workspace_id = ?", workspace)
	}
	result, err := q.Exec(ctx)
	if err != nil {
		return 0, err
	}
	n, err := result.RowsAffected()
	return int(n), err
}

// ListAPIKeys returns a page of the keys of an owner in a workspace, or of everybody
// there, the newest first, and the next page's token. Those whose time is over are
// among them until they are removed.
//
// Errors: fault PAGE_TOKEN_INVALID.
func (r Repository) ListAPIKeys(ctx context.Context, workspace ids.Workspace, owner KeyOwner, page postgres.Page) ([]APIKey, string, error) {
	var rows []APIKey
	scope := "keys of " + workspace.String() + " " + owner.User.String() + " " + owner.ServiceAccount.String()
	next, err := postgres.NewestFirst(ctx, r.pager, owner.of(r.db.NewSelect().Model(&rows), workspace), "k.id", scope, page, &rows,
		func(k APIKey) uuid.UUID { return k.ID.UUID() })
	return rows, next, err
}

// DeleteExpiredAPIKeys removes keys whose time was over before a time, and the secrets
// whose overlap is over now.
func (r Repository) DeleteExpiredAPIKeys(ctx context.Context, before, now time.Time) error {
	if err := r.deleteExpired(ctx, "DELETE FROM auth.api_keys WHERE expire_time < ?", before); err != nil {
		return err
	}
	return r.deleteExpired(ctx, "UPDATE auth.api_keys SET previous_hash = NULL, previous_expire_time = NULL WHERE previous_expire_time < ?", now)
}

// DeleteProgramsOf removes the service accounts of a workspace, and all keys, with the
// notes of the requests that made them.
func (r Repository) DeleteProgramsOf(ctx context.Context, workspace ids.Workspace) error {
	for _, table := range []string{"api_keys", "api_key_requests", "service_accounts"} {
		if _, err := r.db.NewRaw("DELETE FROM auth."+table+" WHERE workspace_id = ?", workspace).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}

// CountPrograms returns how many keys of a workspace work, and how many service
// accounts it has.
func (r Repository) CountPrograms(ctx context.Context, workspace ids.Workspace, now time.Time) (keys, accounts int, err error) {
	err = r.db.NewRaw(`
		SELECT (SELECT count(*) FROM auth.api_keys WHERE workspace_id = ?0 AND expire_time > ?1),
		       (SELECT count(*) FROM auth.service_accounts WHERE workspace_id = ?0)`, workspace, now).Scan(ctx, &keys, &accounts)
	return keys, accounts, err
}

// forgetCreators removes users' names from what they made and is not their own.
func (r Repository) forgetCreators(ctx context.Context, users []ids.User) error {
	_, err := r.db.NewRaw(`
		WITH gone AS MATERIALIZED (SELECT unnest(?::uuid[]) AS id),
		     keys AS (UPDATE auth.api_keys SET creator_id = NULL WHERE creator_id IN (SELECT id FROM gone))
		UPDATE auth.service_accounts SET creator_id = NULL WHERE creator_id IN (SELECT id FROM gone)`,
		pgdialect.Array(ids.UUIDs(users))).Exec(ctx)
	return err
}

// Keys finds API keys by their secrets: what every call with one does. It shares the
// round trips of Sessions.
type Keys struct {
	pool    *pgxpool.Pool
	lookups *lookups
}

// NewKeys returns the finder of keys beside that of sessions.
func NewKeys(s Sessions) Keys { return Keys(s) }

// FoundKey is a live key whose owner is live, too.
type FoundKey struct {
	authz.Key // Permissions are those that the key names, whatever the owner holds

	// Role and Custom are what a user who owns the key is in the workspace now.
	Role        authz.Role
	Custom      []string
	LastUseTime time.Time // zero for never
	ExpireTime  time.Time // of the secret by which it was found
}

// A key is live while its workspace is, and a user's while they are an active member of
// that and not disabled. Joins alone, and few tables: each costs every call something.
const (
	aKey = `
		SELECT q.place, f.*
		FROM unnest($1::bytea[], $2::timestamptz[]) WITH ORDINALITY q (hash, now, place)
		CROSS JOIN LATERAL (
			SELECT k.id, k.workspace_id, k.user_id, k.service_account_id, k.permissions, k.last_use_time,
			       coalesce(a.role, ''), coalesce(a.permissions, '{}'), coalesce(p.email_verified, k.user_id IS NULL),
			       CASE WHEN d.second_factor_required AND k.user_id IS NOT NULL THEN
			           NOT EXISTS (SELECT FROM auth.totp_factors o WHERE o.user_id = k.user_id AND o.confirm_time IS NOT NULL)
			           AND NOT EXISTS (SELECT FROM auth.passkeys o WHERE o.user_id = k.user_id)
			       ELSE false END, `
	ofWhoIsLive = `
			FROM auth.api_keys k
			JOIN tenant.directory d ON d.workspace_id = k.workspace_id
			LEFT JOIN team.authority a ON a.user_id = k.user_id AND a.workspace_id = k.workspace_id
			LEFT JOIN identity.proofs p ON p.user_id = k.user_id
			LEFT JOIN auth.disablements x ON x.user_id = k.user_id
			WHERE k.expire_time > q.now AND d.delete_time IS NULL AND x.user_id IS NULL AND (k.user_id IS NULL OR a.role IS NOT NULL)
			  AND `
)

var (
	findKey = &question{
		name: "find_api_keys",
		sql:  aKey + `k.expire_time` + ofWhoIsLive + `k.token_hash = q.hash LIMIT 1) f`,
		scan: scanKey,
	}
	// By the secret before the last rotation, which works until its own time.
	findRotatedKey = &question{
		name: "find_rotated_api_keys",
		sql: aKey + `least(k.expire_time, k.previous_expire_time)` + ofWhoIsLive +
			`k.previous_hash = q.hash AND k.previous_expire_time > q.now LIMIT 1) f`,
		scan: scanKey,
	}
)

// Find returns the live key of a secret, or nil: by its present secret, or by the one
// before, which is looked for only when no key has it as its present one.
func (f Keys) Find(ctx context.Context, token secret.Hash, now time.Time) (*FoundKey, error) {
	found, err := f.lookups.find(ctx, findKey, token, now)
	if err == nil && found == nil {
		found, err = f.lookups.find(ctx, findRotatedKey, token, now)
	}
	if err != nil || found == nil {
		return nil, err
	}
	k := found.(*FoundKey)
	k.Hash = token
	return k, nil
}

// scanKey reads a key.
func scanKey(row pgx.Rows) (place int, found any, err error) {
	var k FoundKey
	var id, workspace pgUUID
	var user, account *pgUUID
	var role string
	var used pgtype.Timestamptz
	if err := row.Scan(&place, &id, &workspace, &user, &account, &k.Permissions, &used, &role, &k.Custom, &k.EmailVerified,
		&k.SecondFactorMissing, &k.ExpireTime); err != nil {
		return 0, nil, err
	}
	k.ID, k.Workspace, k.Role, k.LastUseTime = ids.FromUUID[ids.APIKey](id), ids.FromUUID[ids.Workspace](workspace), authz.Role(role), used.Time
	if user != nil {
		k.User = ids.FromUUID[ids.User](*user)
	}
	if account != nil {
		k.ServiceAccount = ids.FromUUID[ids.ServiceAccount](*account)
	}
	return place, &k, nil
}

// Touch records that a key was used.
func (f Keys) Touch(ctx context.Context, id ids.APIKey, now time.Time) error {
	_, err := f.pool.Exec(ctx, "UPDATE auth.api_keys SET last_use_time = $2 WHERE id = $1 AND (last_use_time IS NULL OR last_use_time < $2)",
		pgx.QueryExecModeCacheStatement, pgUUID(id.UUID()), now)
	return err
}
