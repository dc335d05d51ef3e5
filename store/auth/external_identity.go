package auth

import (
	"context"
	"time"

	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// MaxExternalIdentities is how many identities an account can have.
const MaxExternalIdentities = 20

// ErrIdentityTaken is the fault of an identity that is linked to another account.
var ErrIdentityTaken = fault.New(fault.FailedPrecondition, fault.IdentityTaken, "the identity is linked to another account")

// ExternalConstraints are the faults that violations by external identities mean.
var ExternalConstraints = postgres.Constraints{
	"external_identities_subject_unique": ErrIdentityTaken,
}

// ExternalIdentity is who a user is at an identity provider. Issuer and subject
// together name one person for ever (OpenID Connect Core 1.0, 5.7); an address does
// not.
type ExternalIdentity struct {
	bun.BaseModel `bun:"table:auth.external_identities,alias:x"`

	ID          ids.ExternalIdentity `bun:"id,pk"`
	UserID      ids.User
	Provider    string
	Issuer      string
	Subject     string
	Email       string // when it was last used, as the provider told; may be ""
	CreateTime  time.Time
	LastUseTime time.Time `bun:",nullzero"`
}

// ExternalPurpose is what an external sign-in is for.
type ExternalPurpose string

// The purposes.
const (
	ExternalToSignIn         ExternalPurpose = "sign_in"
	ExternalToLink           ExternalPurpose = "link"
	ExternalToReauthenticate ExternalPurpose = "reauthenticate"
)

// ExternalSignIn is a sign-in on its way to an identity provider and back.
type ExternalSignIn struct {
	bun.BaseModel `bun:"table:auth.external_sign_ins,alias:i"`

	ID          ids.ExternalSignIn `bun:"id,pk"`
	Provider    string
	Purpose     ExternalPurpose
	SessionID   ids.Session // that links or reauthenticates; zero for none
	Transport   authz.Transport
	StateHash   []byte
	BindingHash []byte
	Sealed      []byte    // nonce and code verifier
	ReturnURL   string    `bun:"return_url"`
	ReturnTime  time.Time `bun:",nullzero"`
	ResultHash  []byte    // nil before the provider has told who it is
	Result      []byte
	CreateTime  time.Time
	ExpireTime  time.Time
}

// InsertExternalSignIn stores a new sign-in.
func (r Repository) InsertExternalSignIn(ctx context.Context, s *ExternalSignIn) error {
	_, err := r.db.NewInsert().Model(s).Exec(ctx)
	return err
}

// ReturnExternalSignIn notes that a provider has sent the browser back with a state,
// and returns the sign-in. It returns nil when there is none of that state and
// provider, when its time is over, and each time but the first.
func (r Repository) ReturnExternalSignIn(ctx context.Context, state secret.Hash, provider string, now time.Time) (*ExternalSignIn, error) {
	return r.externalSignIn(ctx, `
		UPDATE auth.external_sign_ins SET return_time = ?2
		WHERE state_hash = ?0 AND provider = ?1 AND return_time IS NULL AND expire_time > ?2
		RETURNING *`, state[:], provider, now)
}

// SetExternalResult stores who the provider says it is, once.
func (r Repository) SetExternalResult(ctx context.Context, id ids.ExternalSignIn, hash secret.Hash, result []byte) error {
	_, err := r.db.NewRaw(`
		UPDATE auth.external_sign_ins SET result_hash = ?, result = ?
		WHERE id = ? AND return_time IS NOT NULL AND result_hash IS NULL`, hash[:], result, id).Exec(ctx)
	return err
}

// ExternalSignIn returns a sign-in whose time is not over, or nil.
func (r Repository) ExternalSignIn(ctx context.Context, id ids.ExternalSignIn, now time.Time) (*ExternalSignIn, error) {
	return r.externalSignIn(ctx, "SELECT * FROM auth.external_sign_ins WHERE id = ? AND expire_time > ?", id, now)
}

func (r Repository) externalSignIn(ctx context.Context, query string, args ...any) (*ExternalSignIn, error) {
	s := new(ExternalSignIn)
	return postgres.OrNil(s, r.db.NewRaw(query, args...).Scan(ctx, s))
}

// DeleteExternalSignIn removes a sign-in, and reports whether it was there: of those
// who complete it at once, one is told so.
func (r Repository) DeleteExternalSignIn(ctx context.Context, id ids.ExternalSignIn) (bool, error) {
	return r.changesOne(ctx, "DELETE FROM auth.external_sign_ins WHERE id = ?", id)
}

// DeleteExpiredExternalSignIns removes sign-ins whose time is over.
func (r Repository) DeleteExpiredExternalSignIns(ctx context.Context, now time.Time) error {
	return r.deleteExpired(ctx, "DELETE FROM auth.external_sign_ins WHERE expire_time < ?", now)
}

// InsertExternalIdentity links an identity to a user.
//
// Errors: the violation that means fault IDENTITY_TAKEN.
func (r Repository) InsertExternalIdentity(ctx context.Context, x *ExternalIdentity) error {
	_, err := r.db.NewInsert().Model(x).Exec(ctx)
	return err
}

// ExternalIdentityOf returns the identity that an issuer calls by a subject, or nil
// when it is linked to nobody.
func (r Repository) ExternalIdentityOf(ctx context.Context, issuer, subject string) (*ExternalIdentity, error) {
	return r.externalIdentity(ctx, "issuer = ? AND subject = ?", issuer, subject)
}

// UseExternalIdentity records that a user's identity was used, with what the provider
// told and how it is named now, and reports whether it is still linked to the user.
func (r Repository) UseExternalIdentity(ctx context.Context, x *ExternalIdentity) (bool, error) {
	return r.changesOne(ctx, `
		UPDATE auth.external_identities SET last_use_time = ?, email = ?, provider = ? WHERE id = ? AND user_id = ?`,
		x.LastUseTime, x.Email, x.Provider, x.ID, x.UserID)
}

// ExternalIdentities returns the identities of a user, the oldest first.
func (r Repository) ExternalIdentities(ctx context.Context, user ids.User) ([]ExternalIdentity, error) {
	var rows []ExternalIdentity
	err := r.db.NewSelect().Model(&rows).Where("user_id = ?", user).Order("id").Limit(MaxExternalIdentities).Scan(ctx)
	return rows, err
}

// ExternalIdentity returns an identity of a user, or nil.
func (r Repository) ExternalIdentity(ctx context.Context, user ids.User, id ids.ExternalIdentity) (*ExternalIdentity, error) {
	return r.externalIdentity(ctx, "user_id = ? AND id = ?", user, id)
}

func (r Repository) externalIdentity(ctx context.Context, where string, args ...any) (*ExternalIdentity, error) {
	x := new(ExternalIdentity)
	return postgres.OrNil(x, r.db.NewSelect().Model(x).Where(where, args...).Scan(ctx))
}

// DeleteExternalIdentity removes an identity of a user.
func (r Repository) DeleteExternalIdentity(ctx context.Context, user ids.User, id ids.ExternalIdentity) error {
	_, err := r.db.NewDelete().Model((*ExternalIdentity)(nil)).Where("user_id = ? AND id = ?", user, id).Exec(ctx)
	return err
}

// changesOne runs a statement, and reports whether it found its one row.
func (r Repository) changesOne(ctx context.Context, statement string, args ...any) (bool, error) {
	result, err := r.db.NewRaw(statement, args...).Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}
