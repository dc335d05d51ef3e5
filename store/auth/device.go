package auth

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

const (
	// maxDevices is how many devices a user has at most. When one more comes, one of
	// those that were used only once goes, or else the one not used for the longest.
	maxDevices = 20
	// deviceLifetime is after how long without a sign-in a device is forgotten.
	deviceLifetime = 365 * 24 * time.Hour
)

// Device is a browser or a program from which a user has signed in.
type Device struct {
	bun.BaseModel `bun:"table:auth.devices,alias:d"`

	ID          ids.Device `bun:"id,pk"`
	UserID      ids.User
	TokenHash   []byte
	UserAgent   string // as it called itself last
	CreateTime  time.Time
	LastUseTime time.Time // when somebody signed in from it last
}

// DeviceKnown reports whether a user has signed in from the device.
func (r Repository) DeviceKnown(ctx context.Context, user ids.User, token secret.Hash, now time.Time) (bool, error) {
	var known bool
	err := r.db.NewRaw("SELECT EXISTS (SELECT FROM auth.devices WHERE token_hash = ? AND user_id = ? AND last_use_time > ?)",
		token[:], user, now.Add(-deviceLifetime)).Scan(ctx, &known)
	return known, err
}

// TouchDevice records that a user signed in from a device that they have used before,
// and reports whether there is one.
func (r Repository) TouchDevice(ctx context.Context, user ids.User, token secret.Hash, userAgent string, now time.Time) (bool, error) {
	result, err := r.db.NewRaw(`
		UPDATE auth.devices SET last_use_time = ?3, user_agent = ?2 WHERE token_hash = ?0 AND user_id = ?1 AND last_use_time > ?4`,
		token[:], user, userAgent, now, now.Add(-deviceLifetime)).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// DeviceIssued reports whether the device is known at all: to other users.
func (r Repository) DeviceIssued(ctx context.Context, token secret.Hash) (bool, error) {
	var issued bool
	err := r.db.NewRaw("SELECT EXISTS (SELECT FROM auth.devices WHERE token_hash = ?)", token[:]).Scan(ctx, &issued)
	return issued, err
}

const (
	deleteOldestDevices = postgres.Prepared(`
		DELETE FROM auth.devices WHERE id IN (
			SELECT id FROM auth.devices WHERE user_id = $1 AND token_hash <> $2
			ORDER BY last_use_time > create_time DESC, last_use_time DESC, id DESC OFFSET $3)`)
	countDevices = postgres.Prepared("SELECT count(*) FROM auth.devices WHERE user_id = $1 AND create_time >= $2")
)

// InsertDevice stores a new device of a user, and makes room for it. It returns how
// many of the user's devices, this one included, are not older than since.
func (r Repository) InsertDevice(ctx context.Context, d *Device, since time.Time) (recent int, err error) {
	if _, err := r.db.NewInsert().Model(d).
		// By a sign-in from the same device at the same time, or a year ago.
		On("CONFLICT ON CONSTRAINT devices_token_unique DO UPDATE").
		Set("last_use_time = EXCLUDED.last_use_time").Set("user_agent = EXCLUDED.user_agent").Exec(ctx); err != nil {
		return 0, err
	}
	if _, err := deleteOldestDevices.Exec(ctx, r.db, d.UserID, d.TokenHash, maxDevices-1); err != nil {
		return 0, err
	}
	err = countDevices.QueryRow(ctx, r.db, d.UserID, since).Scan(&recent)
	return recent, err
}

// DeleteDevices forgets the devices of a user but one, which may be none.
func (r Repository) DeleteDevices(ctx context.Context, user ids.User, but secret.Hash) error {
	_, err := r.db.NewRaw("DELETE FROM auth.devices WHERE user_id = ? AND token_hash <> ?", user, but[:]).Exec(ctx)
	return err
}

// DeleteUnusedDevices forgets devices that were not used for long.
func (r Repository) DeleteUnusedDevices(ctx context.Context, now time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.devices WHERE last_use_time < ?", now.Add(-deviceLifetime))
}
