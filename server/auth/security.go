package auth

import (
	"context"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
)

// GetSecurityOverview implements SecurityService.
func (m *Module) GetSecurityOverview(ctx context.Context, _ *authv1.GetSecurityOverviewRequest) (*authv1.GetSecurityOverviewResponse, error) {
	o, err := m.options.Store.Auth.Overview(ctx, authz.SessionFrom(ctx).User)
	if err != nil {
		return nil, err
	}
	return &authv1.GetSecurityOverviewResponse{
		HasPassword:           o.Password,
		EmailVerified:         o.EmailVerified,
		TotpFactorCount:       int32(o.SecondFactors.TOTP),
		PasskeyCount:          int32(o.SecondFactors.Passkeys),
		ExternalIdentityCount: int32(o.ExternalIdentities),
		RecoveryCodeCount:     int32(o.SecondFactors.RecoveryCodes),
		SecondFactorRequired:  o.SecondFactors.Required(),
	}, nil
}
