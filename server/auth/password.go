package auth

import (
	"context"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
)

// ChangePassword implements PasswordService.
func (m *Module) ChangePassword(ctx context.Context, req *authv1.ChangePasswordRequest) (*authv1.ChangePasswordResponse, error) {
	caller := authz.SessionFrom(ctx)
	old, err := m.verifyCaller(ctx, caller, req.CurrentPassword)
	if err != nil {
		return nil, err
	}
	about, err := m.options.Store.WordsAbout(ctx, caller.User)
	if err != nil {
		return nil, err
	}
	if err := m.judge(ctx, "new_password", req.NewPassword, about...); err != nil {
		return nil, err
	}
	hash, err := m.options.Hasher.Hash(ctx, req.NewPassword)
	if err != nil {
		return nil, err
	}
	session, token, revoked, err := m.options.Store.ChangePassword(ctx, caller, old, hash)
	if err != nil {
		return nil, err
	}
	return &authv1.ChangePasswordResponse{
		Session: convert.Session(session, true), SessionToken: issue(ctx, session, token), RevokedCount: int32(revoked),
	}, nil
}

// RequestPasswordReset implements PasswordService.
func (m *Module) RequestPasswordReset(ctx context.Context, req *authv1.RequestPasswordResetRequest) (*authv1.RequestPasswordResetResponse, error) {
	mail, err := address("email", req.Email)
	if err != nil {
		return nil, err
	}
	if err := m.options.LimitMail(ctx, mail); err != nil {
		return nil, err
	}
	reset, err := m.options.Store.RequestPasswordReset(ctx, mail)
	if err != nil {
		return nil, err
	}
	return &authv1.RequestPasswordResetResponse{PasswordResetId: reset.ID.String(), ExpireTime: convert.Time(reset.ExpireTime)}, nil
}

// ResetPassword implements PasswordService. The password is judged and hashed
// before the code is looked at: a password that is refused leaves the code valid,
// and every answer takes the same time.
func (m *Module) ResetPassword(ctx context.Context, req *authv1.ResetPasswordRequest) (*authv1.ResetPasswordResponse, error) {
	reset, err := id("password_reset_id", req.PasswordResetId, ids.Parse[ids.PasswordReset])
	if err != nil {
		return nil, err
	}
	proof := store.Proof{Code: req.Code, Token: req.Token}
	about, err := m.options.Store.WordsOfReset(ctx, reset, proof)
	if err != nil {
		return nil, err
	}
	if err := m.judge(ctx, "new_password", req.NewPassword, about...); err != nil {
		return nil, err
	}
	hash, err := m.options.Hasher.Hash(ctx, req.NewPassword)
	if err != nil {
		return nil, err
	}
	addressKey, err := m.options.Store.ResetPassword(ctx, reset, proof, hash)
	if err != nil {
		return nil, err
	}
	// Who has proven the address need not wait for others' wrong passwords. The
	// password is set, whatever becomes of this: an error here would belie that.
	_ = m.options.Store.Failures.Succeed(ctx, accountKey(addressKey))
	return &authv1.ResetPasswordResponse{}, nil
}
