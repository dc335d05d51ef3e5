// Package auth stores how people prove who they are, in the schema auth:
// credentials, sessions, registrations, password resets, tokens with the keys that
// sign them, and throttles.
package auth

import (
	"context"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// Repository reads and writes the schema through one connection, pool or
// transaction.
type Repository struct {
	db    bun.IDB
	pager *postgres.Pager
}

// New returns a repository.
func New(db bun.IDB, pager *postgres.Pager) Repository { return Repository{db, pager} }

// Credential is a user's password.
type Credential struct {
	bun.BaseModel `bun:"table:auth.credentials,alias:c"`

	UserID       ids.User `bun:"user_id,pk"`
	PasswordHash string   // a PHC string
	CreateTime   time.Time
	UpdateTime   time.Time
}

// PasswordHash returns a user's password hash, or "" when there is none.
func (r Repository) PasswordHash(ctx context.Context, user ids.User) (string, error) {
	var hash string
	err := r.db.NewSelect().Model((*Credential)(nil)).Column("password_hash").Where("user_id = ?", user).Scan(ctx, &hash)
	if postgres.NotFound(err) {
		return "", nil
	}
	return hash, err
}

const passwordHashAt = postgres.Prepared(`
	SELECT p.user_id, c.password_hash
	FROM identity.profiles p JOIN auth.credentials c ON c.user_id = p.user_id
	WHERE p.address_key = $1`)

// PasswordHashAt returns the user of an address and their password hash; zero
// and "" when there is none.
func (r Repository) PasswordHashAt(ctx context.Context, addressKey string) (ids.User, string, error) {
	var user ids.User
	var hash string
	err := passwordHashAt.QueryRow(ctx, r.db, addressKey).Scan(&user, &hash)
	if postgres.NotFound(err) {
		return ids.User{}, "", nil
	}
	return user, hash, err
}

const holdPassword = postgres.Prepared("SELECT 1 FROM auth.credentials WHERE user_id = $1 AND password_hash = $2 FOR SHARE")

// HoldPassword reports whether the hash is still the user's, and keeps it so
// until the transaction ends.
func (r Repository) HoldPassword(ctx context.Context, user ids.User, hash string) (bool, error) {
	rows, err := holdPassword.Exec(ctx, r.db, user, hash)
	return rows == 1, err
}

// SetPassword gives a user a password, in place of the one they had.
func (r Repository) SetPassword(ctx context.Context, user ids.User, hash string, now time.Time) error {
	_, err := r.db.NewInsert().Model(&Credential{UserID: user, PasswordHash: hash, CreateTime: now, UpdateTime: now}).
		On("CONFLICT (user_id) DO UPDATE").Set("password_hash = EXCLUDED.password_hash, update_time = EXCLUDED.update_time").
		Exec(ctx)
	return err
}

// ReplacePassword gives a user a password in place of the one with the hash
// given, and reports whether they had that.
func (r Repository) ReplacePassword(ctx context.Context, user ids.User, old, hash string, now time.Time) (bool, error) {
	result, err := r.db.NewRaw(`
		UPDATE auth.credentials SET password_hash = ?, update_time = ? WHERE user_id = ? AND password_hash = ?`,
		hash, now, user, old).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// DeletePassword leaves a user without a password.
func (r Repository) DeletePassword(ctx context.Context, user ids.User) error {
	_, err := r.db.NewDelete().Model((*Credential)(nil)).Where("user_id = ?", user).Exec(ctx)
	return err
}

// DeleteUsers removes all that this schema has of users.
func (r Repository) DeleteUsers(ctx context.Context, users []ids.User) error {
	set := pgdialect.Array(ids.UUIDs(users))
	if _, err := r.db.NewRaw("DELETE FROM auth.sessions WHERE impersonator_id IN (SELECT unnest(?::uuid[]))", set).Exec(ctx); err != nil {
		return err
	}
	if _, err := r.db.NewRaw("UPDATE auth.disablements SET operator_id = NULL WHERE operator_id IN (SELECT unnest(?::uuid[]))", set).Exec(ctx); err != nil {
		return err
	}
	for _, table := range []string{
		"sessions", "credentials", "registrations", "disablements", "operators", "totp_factors", "recovery_codes", "passkeys",
		"external_identities", "devices", "api_keys",
	} {
		if _, err := r.db.NewRaw("DELETE FROM auth."+table+" WHERE user_id IN (SELECT unnest(?::uuid[]))", set).Exec(ctx); err != nil {
			return err
		}
	}
	return r.forgetCreators(ctx, users)
}

// ForgetWorkspace removes a workspace's id from the registrations that created it:
// their users may still have to prove their address.
func (r Repository) ForgetWorkspace(ctx context.Context, workspace ids.Workspace) error {
	_, err := r.db.NewRaw("UPDATE auth.registrations SET workspace_id = NULL WHERE workspace_id = ?", workspace).Exec(ctx)
	return err
}

// DeleteExpiredSessions removes sessions that have ended.
func (r Repository) DeleteExpiredSessions(ctx context.Context, now time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.sessions WHERE idle_expire_time < ?", now)
}

// DeleteExpiredRegistrations removes registrations whose time is over.
func (r Repository) DeleteExpiredRegistrations(ctx context.Context, now time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.registrations WHERE expire_time < ?", now)
}

// DeleteExpiredPasswordResets removes resets whose time is over.
func (r Repository) DeleteExpiredPasswordResets(ctx context.Context, now time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.password_resets WHERE expire_time < ?", now)
}

// DeleteExpiredThrottles removes counters that count nothing any more.
func (r Repository) DeleteExpiredThrottles(ctx context.Context, now time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.throttles WHERE free_time < ?", now)
}

func (r Repository) deleteExpired(ctx context.Context, statement string, now time.Time) error {
	_, err := r.db.NewRaw(statement, now).Exec(ctx)
	return err
}
