package auth

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
)

// Passkey is a credential of WebAuthn.
type Passkey struct {
	bun.BaseModel `bun:"table:auth.passkeys,alias:k"`

	ID           ids.Passkey `bun:"id,pk"`
	UserID       ids.User
	DisplayName  string
	CredentialID []byte
	PublicKey    []byte // a COSE key
	// SignCount is the authenticator's counter when it was last used; 0 where it has
	// none.
	SignCount  int64
	Transports []string `bun:",array"`
	// AAGUID is the model of the authenticator, if it tells.
	AAGUID         uuid.NullUUID `bun:"aaguid"`
	BackupEligible bool
	BackedUp       bool
	CreateTime     time.Time
	LastUseTime    time.Time `bun:",nullzero"`
}

// InsertPasskey stores a new passkey. It reports false when there is one with its
// credential's id.
func (r Repository) InsertPasskey(ctx context.Context, p *Passkey) (bool, error) {
	result, err := r.db.NewInsert().Model(p).On("CONFLICT (credential_id) DO NOTHING").Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// Passkeys returns a user's passkeys, the oldest first.
func (r Repository) Passkeys(ctx context.Context, user ids.User) ([]Passkey, error) {
	var rows []Passkey
	err := r.db.NewSelect().Model(&rows).Where("user_id = ?", user).Order("id").Scan(ctx)
	return rows, err
}

// PasskeyOf returns the passkey with a credential's id, or nil when there is none.
func (r Repository) PasskeyOf(ctx context.Context, credential []byte) (*Passkey, error) {
	p := new(Passkey)
	return postgres.OrNil(p, r.db.NewSelect().Model(p).Where("credential_id = ?", credential).Scan(ctx))
}

// UsePasskey records that a passkey was used, at a count of its authenticator. It
// reports false when the passkey is gone, or its authenticator counts and has told
// this count, or a later one, before (WebAuthn Level 3, 7.2).
func (r Repository) UsePasskey(ctx context.Context, id ids.Passkey, user ids.User, count int64, backedUp bool, now time.Time) (bool, error) {
	result, err := r.db.NewRaw(`
		UPDATE auth.passkeys SET sign_count = ?2, backed_up = ?3, last_use_time = ?4
		WHERE id = ?0 AND user_id = ?1 AND (sign_count < ?2 OR sign_count = 0 AND ?2 = 0)`,
		id, user, count, backedUp, now).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// RenamePasskey gives a passkey of a user another name, and returns it.
//
// Errors: fault NOT_FOUND.
func (r Repository) RenamePasskey(ctx context.Context, user ids.User, id ids.Passkey, name string) (*Passkey, error) {
	p := new(Passkey)
	return postgres.OrMissing(p, r.db.NewRaw("UPDATE auth.passkeys SET display_name = ? WHERE user_id = ? AND id = ? RETURNING *", name, user, id).Scan(ctx, p))
}

// DeletePasskey removes a passkey of a user, and reports whether there was one.
func (r Repository) DeletePasskey(ctx context.Context, user ids.User, id ids.Passkey) (bool, error) {
	result, err := r.db.NewDelete().Model((*Passkey)(nil)).Where("user_id = ? AND id = ?", user, id).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// ChallengePurpose is what the answer to a challenge is good for.
type ChallengePurpose string

// The purposes.
const (
	ToRegister ChallengePurpose = "registration" // of a passkey, by a session
	ToSignIn   ChallengePurpose = "sign_in"      // by any passkey, without a session
	ToProve    ChallengePurpose = "session"      // who a session's user is
)

// maxChallenges is how many challenges for one purpose a session keeps: of many tabs
// each has its own.
const maxChallenges = 8

// Challenge is what a passkey answers, once.
type Challenge struct {
	bun.BaseModel `bun:"table:auth.challenges,alias:h"`

	ID      ids.Challenge `bun:"id,pk"`
	Purpose ChallengePurpose
	// SessionID is the session that it is for; zero to sign in.
	SessionID  ids.Session
	Data       []byte
	CreateTime time.Time
	ExpireTime time.Time
}

// InsertChallenge stores a new challenge. Of a session only the newest few are kept.
func (r Repository) InsertChallenge(ctx context.Context, c *Challenge) error {
	if _, err := r.db.NewInsert().Model(c).Exec(ctx); err != nil || c.SessionID.IsZero() {
		return err
	}
	_, err := r.db.NewRaw(`
		DELETE FROM auth.challenges WHERE session_id = ?0 AND purpose = ?1 AND id NOT IN (
			SELECT id FROM auth.challenges WHERE session_id = ?0 AND purpose = ?1 ORDER BY id DESC LIMIT ?2)`,
		c.SessionID, c.Purpose, maxChallenges).Exec(ctx)
	return err
}

// TakeChallenge removes a challenge, and returns it: nil when there is none, or it is
// for another purpose or session.
func (r Repository) TakeChallenge(ctx context.Context, id ids.Challenge, purpose ChallengePurpose, session ids.Session) (*Challenge, error) {
	c := new(Challenge)
	return postgres.OrNil(c, r.db.NewRaw("DELETE FROM auth.challenges WHERE id = ? AND purpose = ? AND session_id IS NOT DISTINCT FROM ? RETURNING *",
		id, purpose, session).Scan(ctx, c))
}

// DeleteExpiredChallenges removes challenges whose time is over.
func (r Repository) DeleteExpiredChallenges(ctx context.Context, now time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.challenges WHERE expire_time < ?", now)
}
