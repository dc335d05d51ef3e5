package auth

import (
	"context"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// EmailChallenge is a code with its link, mailed to sign in, or without a link to
// reauthenticate. One to sign in is stored for every address that it is asked for,
// known or not, so that nobody can tell which is.
type EmailChallenge struct {
	bun.BaseModel `bun:"table:auth.email_challenges,alias:c"`

	ID         ids.EmailChallenge `bun:"id,pk"`
	AddressKey string
	// SessionID is the session that is to be reauthenticated; zero to sign in.
	SessionID ids.Session
	CodeHash  []byte
	TokenHash []byte
	// BindingHash is of what the browser or client keeps that asked; nil where a
	// session binds the challenge.
	BindingHash []byte
	Transport   authz.Transport
	Attempts    int
	CreateTime  time.Time
	ExpireTime  time.Time
}

// InsertEmailChallenge stores a challenge. Those before it, of the same address and
// session, are void from then on.
func (r Repository) InsertEmailChallenge(ctx context.Context, c *EmailChallenge) error {
	_, err := r.db.NewInsert().Model(c).Exec(ctx)
	return err
}

// TryEmailChallenge counts a try of the challenge of a session (zero: one to sign in)
// with an id or, when that is zero, with a link's token, and returns it. It returns
// nil when there is none, or it is over, replaced by a newer one, or was tried
// MaxAttempts times.
//
// A try is counted before it is evaluated: parallel ones are no more than those one
// after the other.
func (r Repository) TryEmailChallenge(ctx context.Context, id ids.EmailChallenge, token secret.Hash, session ids.Session, now time.Time) (*EmailChallenge, error) {
	c := new(EmailChallenge)
	q := r.db.NewUpdate().Model(c).Set("attempts = attempts + 1").
		Where("c.session_id IS NOT DISTINCT FROM ?", session).
		Where("c.expire_time > ?", now).Where("c.attempts < ?", MaxAttempts).
		Where(`NOT EXISTS (SELECT FROM auth.email_challenges newer WHERE newer.address_key = c.address_key
		       AND newer.session_id IS NOT DISTINCT FROM c.session_id AND newer.id > c.id)`).
		Returning("*")
	if id.IsZero() {
		q = q.Where("c.token_hash = ?", token[:])
	} else {
		q = q.Where("c.id = ?", id)
	}
	return postgres.OrNil(c, q.Scan(ctx))
}

// ConsumeEmailChallenge removes a challenge, with the others of the same address
// and session, and reports whether it was still there: of parallel calls one finds
// it.
func (r Repository) ConsumeEmailChallenge(ctx context.Context, c *EmailChallenge) (bool, error) {
	var gone []uuid.UUID
	err := r.db.NewRaw(`
		DELETE FROM auth.email_challenges WHERE address_key = ? AND session_id IS NOT DISTINCT FROM ? RETURNING id`,
		c.AddressKey, c.SessionID).Scan(ctx, &gone)
	return slices.Contains(gone, c.ID.UUID()), err
}

// DeleteEmailChallenges removes the challenges of an address: what was mailed is void.
func (r Repository) DeleteEmailChallenges(ctx context.Context, addressKey string) error {
	_, err := r.db.NewDelete().Model((*EmailChallenge)(nil)).Where("address_key = ?", addressKey).Exec(ctx)
	return err
}

// DeleteExpiredEmailChallenges removes challenges whose time is over.
func (r Repository) DeleteExpiredEmailChallenges(ctx context.Context, now time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.email_challenges WHERE expire_time < ?", now)
}
