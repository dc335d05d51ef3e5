// Package identity stores users and their mail addresses, in the schema
// identity.
package identity

import (
	"context"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// Constraints are the faults that violations of this schema mean.
var Constraints = postgres.Constraints{
	"emails_address_key_unique": fault.New(fault.AlreadyExists, fault.EmailTaken, "the address belongs to another account"),
}

// Repository reads and writes the schema through one connection, pool or
// transaction.
type Repository struct{ db bun.IDB }

// New returns a repository.
func New(db bun.IDB) Repository { return Repository{db} }

// User is a person, with their address if they have one.
type User struct {
	bun.BaseModel `bun:"table:identity.users,alias:u"`

	ID          ids.User `bun:"id,pk"`
	DisplayName string
	NameKey     string // what they are found by; the repository keeps it
	Version     int64
	CreateTime  time.Time
	UpdateTime  time.Time

	Email *Email `bun:"rel:has-one,join:id=user_id"`
}

// Email is a user's mail address.
type Email struct {
	bun.BaseModel `bun:"table:identity.emails,alias:e"`

	UserID       ids.User `bun:"user_id,pk"`
	Address      string
	AddressKey   string
	VerifiedTime time.Time `bun:",nullzero"`
}

// Verified reports whether the address was proven.
func (e *Email) Verified() bool { return !e.VerifiedTime.IsZero() }

// User returns a user.
//
// Errors: fault NOT_FOUND.
func (r Repository) User(ctx context.Context, id ids.User) (*User, error) {
	u := new(User)
	if err := r.db.NewSelect().Model(u).Relation("Email").Where("u.id = ?", id).Scan(ctx); err != nil {
		if postgres.NotFound(err) {
			return nil, fault.NotFoundFault()
		}
		return nil, err
	}
	if u.Email != nil && u.Email.UserID.IsZero() {
		u.Email = nil
	}
	return u, nil
}

// LockUser returns a user, and keeps others from changing them until the
// transaction ends.
//
// Errors: fault NOT_FOUND.
func (r Repository) LockUser(ctx context.Context, id ids.User) (*User, error) {
	// Two statements: one alone would see the address as it was before it had waited.
	if _, err := r.db.NewSelect().Model((*User)(nil)).ColumnExpr("1").Where("u.id = ?", id).For("NO KEY UPDATE").Exec(ctx); err != nil {
		return nil, err
	}
	return r.User(ctx, id)
}

const holdUser = postgres.Prepared("SELECT 1 FROM identity.users WHERE id = $1 FOR KEY SHARE")

// HoldUser keeps a user from being deleted until the transaction ends, while
// others may change them. An id of nobody is passed over.
func (r Repository) HoldUser(ctx context.Context, id ids.User) error {
	_, err := holdUser.Exec(ctx, r.db, id)
	return err
}

// Address returns the address with the key, or nil when nobody has it.
func (r Repository) Address(ctx context.Context, key string) (*Email, error) {
	return r.address(ctx, key, "")
}

// LockAddress returns the address with the key, locked until the transaction
// ends, or nil when nobody has it.
func (r Repository) LockAddress(ctx context.Context, key string) (*Email, error) {
	return r.address(ctx, key, "UPDATE")
}

func (r Repository) address(ctx context.Context, key, lock string) (*Email, error) {
	e := new(Email)
	q := r.db.NewSelect().Model(e).Where("address_key = ?", key)
	if lock != "" {
		q = q.For(lock)
	}
	return postgres.OrNil(e, q.Scan(ctx))
}

// InsertUser stores a new user with their address.
//
// Errors: fault EMAIL_TAKEN when the transaction's errors are mapped.
func (r Repository) InsertUser(ctx context.Context, u *User) error {
	u.NameKey = fold(u.DisplayName)
	if _, err := r.db.NewInsert().Model(u).Exec(ctx); err != nil {
		return err
	}
	_, err := r.db.NewInsert().Model(u.Email).Exec(ctx)
	return err
}

// Rename gives a user another display name. u is a locked user, and is changed
// with the row.
func (r Repository) Rename(ctx context.Context, u *User, displayName string, now time.Time) error {
	u.DisplayName = displayName
	return r.touch(ctx, u, now)
}

// SetAddress gives a user an address, proven at the time given (or not, when
// that is zero), in place of the one they had. u is a locked user, and is
// changed with the row.
func (r Repository) SetAddress(ctx context.Context, u *User, a email.Address, verified, now time.Time) error {
	u.Email = &Email{UserID: u.ID, Address: a.Display, AddressKey: a.Key, VerifiedTime: verified}
	if _, err := r.db.NewInsert().Model(u.Email).
		On("CONFLICT (user_id) DO UPDATE").
		Set("address = EXCLUDED.address, address_key = EXCLUDED.address_key, verified_time = EXCLUDED.verified_time").
		Exec(ctx); err != nil {
		return err
	}
	return r.touch(ctx, u, now)
}

// MarkVerified records that the user's address was proven.
func (r Repository) MarkVerified(ctx context.Context, u *User, now time.Time) error {
	u.Email.VerifiedTime = now
	if _, err := r.db.NewUpdate().Model(u.Email).Column("verified_time").WherePK().Exec(ctx); err != nil {
		return err
	}
	return r.touch(ctx, u, now)
}

// TakeAddress leaves a user without an address.
func (r Repository) TakeAddress(ctx context.Context, user ids.User) error {
	_, err := r.db.NewDelete().Model((*Email)(nil)).Where("user_id = ?", user).Exec(ctx)
	return err
}

func (r Repository) touch(ctx context.Context, u *User, now time.Time) error {
	u.Version++
	u.UpdateTime = now
	u.NameKey = fold(u.DisplayName)
	_, err := r.db.NewUpdate().Model(u).Column("display_name", "name_key", "version", "update_time").WherePK().Exec(ctx)
	return err
}

// LockMembers keeps others from deleting users, or from deciding whether to, until
// the transaction ends. Ids of nobody are passed over.
func (r Repository) LockMembers(ctx context.Context, users []ids.User) error {
	_, err := r.db.NewRaw(`
		SELECT 1 FROM identity.users WHERE id IN (SELECT unnest(?::uuid[])) ORDER BY id FOR NO KEY UPDATE`,
		pgdialect.Array(ids.UUIDs(users))).Exec(ctx)
	return err
}

// LockUsers locks users against every change, and against new rows that refer
// to them, until the transaction ends. Ids of nobody are passed over.
func (r Repository) LockUsers(ctx context.Context, users []ids.User) error {
	_, err := r.db.NewRaw(`
		SELECT 1 FROM identity.users WHERE id IN (SELECT unnest(?::uuid[])) ORDER BY id FOR UPDATE`,
		pgdialect.Array(ids.UUIDs(users))).Exec(ctx)
	return err
}

// DeleteUsers removes users with all that this schema has of them.
func (r Repository) DeleteUsers(ctx context.Context, users []ids.User) error {
	set := pgdialect.Array(ids.UUIDs(users))
	for _, q := range []string{
		"DELETE FROM identity.email_changes WHERE user_id IN (SELECT unnest(?::uuid[]))",
		"DELETE FROM identity.emails WHERE user_id IN (SELECT unnest(?::uuid[]))",
		"DELETE FROM identity.users WHERE id IN (SELECT unnest(?::uuid[]))",
	} {
		if _, err := r.db.NewRaw(q, set).Exec(ctx); err != nil {
			return err
		}
	}
	return nil
}
