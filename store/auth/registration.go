package auth

import (
	"context"
	"time"

	"github.com/google/uuid"
	"github.com/uptrace/bun"

	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/postgres"
)

// MaxAttempts is how many wrong codes void a code that was mailed.
const MaxAttempts = 5

// Registration is a wish for an account, until its address is proven, and for a
// while what came of it.
type Registration struct {
	bun.BaseModel `bun:"table:auth.registrations,alias:r"`

	ID             ids.Registration `bun:"id,pk"`
	Address        string
	AddressKey     string
	DisplayName    string
	WorkspaceName  string
	PasswordHash   string
	RequestID      uuid.NullUUID
	RequestDigest  []byte
	CodeHash       []byte
	TokenHash      []byte
	CodeAttempts   int
	CodeCreateTime time.Time
	CodeExpireTime time.Time
	CodeCount      int
	UserID         ids.User
	WorkspaceID    ids.Workspace
	// InvitationLinkID is the link by which they join a workspace, in place of
	// founding one; zero for none.
	InvitationLinkID ids.InvitationLink
	VerifyTime       time.Time `bun:",nullzero"`
	VerifyRequestID  uuid.NullUUID
	CreateTime       time.Time
	ExpireTime       time.Time
}

// Email returns the address.
func (r *Registration) Email() email.Address {
	return email.Address{Display: r.Address, Key: r.AddressKey}
}

// InsertRegistration stores a new registration. It reports false when another
// one has its request id.
func (r Repository) InsertRegistration(ctx context.Context, reg *Registration) (bool, error) {
	result, err := r.db.NewInsert().Model(reg).On("CONFLICT (request_id) DO NOTHING").Exec(ctx)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n == 1, err
}

// RegistrationOf returns the registration with the request id, or nil.
func (r Repository) RegistrationOf(ctx context.Context, request uuid.UUID) (*Registration, error) {
	return r.registration(ctx, "", "request_id = ?", request)
}

// Registration returns a registration, or nil when there is none.
func (r Repository) Registration(ctx context.Context, id ids.Registration) (*Registration, error) {
	return r.registration(ctx, "", "id = ?", id)
}

// RegistrationByToken returns the registration of a link's token, or nil when
// there is none.
func (r Repository) RegistrationByToken(ctx context.Context, token secret.Hash) (*Registration, error) {
	return r.registration(ctx, "", "token_hash = ?", token[:])
}

// LockRegistration returns a registration, locked until the transaction ends, or
// nil when there is none.
func (r Repository) LockRegistration(ctx context.Context, id ids.Registration) (*Registration, error) {
	return r.registration(ctx, "UPDATE", "id = ?", id)
}

// LockToVerify returns a registration by its id or by its link's token, or nil
// when there is none. It is locked until the transaction ends, with all of its
// address that created nothing, in one order, so that those who verify two of
// them take turns.
func (r Repository) LockToVerify(ctx context.Context, id ids.Registration, token secret.Hash) (*Registration, error) {
	var rows []Registration
	err := r.db.NewRaw(`
		SELECT r.* FROM auth.registrations r
		JOIN auth.registrations asked ON asked.address_key = r.address_key AND (r.user_id IS NULL OR r.id = asked.id)
		WHERE CASE WHEN ?0::uuid IS NULL THEN asked.token_hash = ?1 ELSE asked.id = ?0 END
		ORDER BY r.id FOR UPDATE OF r`, id, token[:]).Scan(ctx, &rows)
	if err != nil {
		return nil, err
	}
	for i := range rows {
		if rows[i].ID == id || token.Equal(rows[i].TokenHash) {
			return &rows[i], nil
		}
	}
	return nil, nil
}

func (r Repository) registration(ctx context.Context, lock, where string, arg any) (*Registration, error) {
	reg := new(Registration)
	q := r.db.NewSelect().Model(reg).Where(where, arg)
	if lock != "" {
		q = q.For(lock)
	}
	return postgres.OrNil(reg, q.Scan(ctx))
}

// UpdateRegistration stores what changed of a locked registration: its code, or
// what came of it.
func (r Repository) UpdateRegistration(ctx context.Context, reg *Registration) error {
	_, err := r.db.NewUpdate().Model(reg).Column(
		"code_hash", "token_hash", "code_attempts", "code_create_time", "code_expire_time", "code_count",
		"user_id", "workspace_id", "verify_time", "verify_request_id").WherePK().Exec(ctx)
	return err
}

// EndRegistrations removes the address's other registrations that created
// nothing.
func (r Repository) EndRegistrations(ctx context.Context, addressKey string, but ids.Registration) error {
	_, err := r.db.NewDelete().Model((*Registration)(nil)).
		Where("address_key = ? AND user_id IS NULL AND id <> ?", addressKey, but).Exec(ctx)
	return err
}
