package auth

import (
	"context"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/auth"
)

// GetSession implements SessionService.
func (m *Module) GetSession(ctx context.Context, _ *authv1.GetSessionRequest) (*authv1.GetSessionResponse, error) {
	s := authz.SessionFrom(ctx)
	res := &authv1.GetSessionResponse{
		Session: &authv1.Session{
			Id:               s.ID.String(),
			UserId:           s.User.String(),
			Transport:        convert.Transport(s.Transport),
			CreateTime:       convert.Time(s.CreateTime),
			AuthenticateTime: convert.Time(s.AuthTime),
			LastUseTime:      convert.Time(s.LastUseTime),
			IdleExpireTime:   convert.Time(s.IdleExpireTime),
			ExpireTime:       convert.Time(s.ExpireTime),
			ClientAddress:    s.ClientAddress,
			UserAgent:        s.UserAgent,
			Current:          true,

			Methods:             convert.Methods(s.Methods),
			SecondFactorPending: s.SecondFactorPending,
			SecondFactorProven:  s.SecondFactorProven,
			ImpersonatorUserId:  s.Impersonator.String(),
		},
		Requirements: requirements(s),
	}
	if !s.SecondFactorPending {
		return res, nil
	}
	kinds, err := m.options.Store.Auth.SecondFactors(ctx, s.User)
	if err != nil {
		return nil, err
	}
	res.SecondFactors = secondFactors(kinds)
	return res, nil
}

// secondFactors are the kinds of second factors that an account has.
func secondFactors(f auth.SecondFactors) []authv1.SecondFactorKind {
	var list []authv1.SecondFactorKind
	if f.TOTP > 0 {
		list = append(list, authv1.SecondFactorKind_SECOND_FACTOR_KIND_TOTP)
	}
	if f.Passkeys > 0 {
		list = append(list, authv1.SecondFactorKind_SECOND_FACTOR_KIND_PASSKEY)
	}
	if f.RecoveryCodes > 0 {
		list = append(list, authv1.SecondFactorKind_SECOND_FACTOR_KIND_RECOVERY_CODE)
	}
	return list
}

// ListSessions implements SessionService.
func (m *Module) ListSessions(ctx context.Context, req *authv1.ListSessionsRequest) (*authv1.ListSessionsResponse, error) {
	caller := authz.SessionFrom(ctx)
	rows, next, err := m.options.Store.ListSessions(ctx, caller.User, store.Page{Size: int(req.PageSize), Token: req.PageToken})
	if err != nil {
		return nil, err
	}
	res := &authv1.ListSessionsResponse{NextPageToken: next}
	for i := range rows {
		res.Sessions = append(res.Sessions, convert.Session(&rows[i], rows[i].ID == caller.ID))
	}
	return res, nil
}

// RevokeSession implements SessionService.
func (m *Module) RevokeSession(ctx context.Context, req *authv1.RevokeSessionRequest) (*authv1.RevokeSessionResponse, error) {
	caller := authz.SessionFrom(ctx)
	session, err := id("session_id", req.SessionId, ids.Parse[ids.Session])
	if err != nil {
		return nil, err
	}
	if err := m.options.Store.RevokeSession(ctx, caller.User, session); err != nil {
		return nil, err
	}
	if session == caller.ID && caller.Transport == authz.Cookie {
		ClearCookie(ctx)
	}
	return &authv1.RevokeSessionResponse{}, nil
}

// RevokeOtherSessions implements SessionService.
func (m *Module) RevokeOtherSessions(ctx context.Context, _ *authv1.RevokeOtherSessionsRequest) (*authv1.RevokeOtherSessionsResponse, error) {
	count, err := m.options.Store.RevokeOtherSessions(ctx, authz.SessionFrom(ctx))
	if err != nil {
		return nil, err
	}
	return &authv1.RevokeOtherSessionsResponse{RevokedCount: int32(count)}, nil
}
