package auth

import (
	"context"

	"github.com/google/uuid"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
	"github.com/logicspike/manager/store/auth"
)

// Register implements RegistrationService.
func (m *Module) Register(ctx context.Context, req *authv1.RegisterRequest) (*authv1.RegisterResponse, error) {
	mail, err := address("email", req.Email)
	if err != nil {
		return nil, err
	}
	request, err := convert.RequestID(req.RequestId)
	if err != nil {
		return nil, err
	}
	wish := store.Registration{
		Email:         mail,
		DisplayName:   req.DisplayName,
		WorkspaceName: req.WorkspaceName,
		RequestID:     request,
		AtOnce:        m.options.VerifyAfter,
		Transport:     transport(req.SessionTransport),
		Client:        client(ctx),
	}
	if wish.DisplayName == "" {
		wish.DisplayName = mail.LocalPart()
	}
	if err := m.judge(ctx, "password", req.Password, mail.Display, wish.DisplayName, wish.WorkspaceName); err != nil {
		return nil, err
	}
	if request.Valid {
		if earlier, err := m.repeated(ctx, request.UUID); err != nil || earlier != nil {
			return m.repeat(ctx, wish, req.Password, earlier, err)
		}
	}
	if err := m.options.LimitMail(ctx, mail); err != nil {
		return nil, err
	}
	if wish.PasswordHash, err = m.options.Hasher.Hash(ctx, req.Password); err != nil {
		return nil, err
	}
	reg, created, err := m.options.Store.Register(ctx, wish)
	if fault.Has(err, fault.RequestIDReused) { // by a call at the same time
		earlier, err := m.repeated(ctx, request.UUID)
		return m.repeat(ctx, wish, req.Password, earlier, err)
	}
	if err != nil {
		return nil, err
	}
	return &authv1.RegisterResponse{Registration: registration(reg), Account: account(ctx, created)}, nil
}

func (m *Module) repeated(ctx context.Context, request uuid.UUID) (*auth.Registration, error) {
	return m.options.Store.Auth.RegistrationOf(ctx, request)
}

// repeat answers a request whose id an earlier one had.
func (m *Module) repeat(ctx context.Context, wish store.Registration, given string, earlier *auth.Registration, err error) (*authv1.RegisterResponse, error) {
	if err != nil {
		return nil, err
	}
	if earlier == nil || !wish.Repeats(earlier) {
		return nil, store.ErrRequestIDReused()
	}
	_, err = m.verify(ctx, earlier.ID.String(), ids.User{}, given, earlier.PasswordHash)
	if fault.Has(err, fault.CredentialsInvalid) {
		return nil, store.ErrRequestIDReused()
	}
	if err != nil {
		return nil, err
	}
	created, err := m.options.Store.RepeatRegistration(ctx, earlier, wish.Transport, wish.Client)
	if err != nil {
		return nil, err
	}
	return &authv1.RegisterResponse{Registration: registration(earlier), Account: account(ctx, created)}, nil
}

// VerifyRegistration implements RegistrationService.
func (m *Module) VerifyRegistration(ctx context.Context, req *authv1.VerifyRegistrationRequest) (*authv1.VerifyRegistrationResponse, error) {
	reg, err := id("registration_id", req.RegistrationId, ids.Parse[ids.Registration])
	if err != nil {
		return nil, err
	}
	request, err := convert.RequestID(req.RequestId)
	if err != nil {
		return nil, err
	}
	if req.Token != "" {
		if err := m.verifyRegistrant(ctx, req); err != nil {
			return nil, err
		}
	}
	created, err := m.options.Store.VerifyRegistration(ctx, store.Verification{
		Registration: reg,
		Proof:        store.Proof{Code: req.Code, Token: req.Token},
		RequestID:    request,
		Transport:    transport(req.SessionTransport),
		Client:       client(ctx),
	})
	if err != nil {
		return nil, err
	}
	return &authv1.VerifyRegistrationResponse{Account: account(ctx, created)}, nil
}

// verifyRegistrant checks that who opened a link is who registered.
//
// Errors: fault CODE_INVALID for a link that leads nowhere, and as verify.
func (m *Module) verifyRegistrant(ctx context.Context, req *authv1.VerifyRegistrationRequest) error {
	reg, err := m.options.Store.RegistrationByToken(ctx, req.Token)
	if err != nil {
		return err
	}
	_, err = m.verify(ctx, reg.ID.String(), ids.User{}, req.Password, reg.PasswordHash)
	return err
}

// ResendRegistrationCode implements RegistrationService.
func (m *Module) ResendRegistrationCode(ctx context.Context, req *authv1.ResendRegistrationCodeRequest) (*authv1.ResendRegistrationCodeResponse, error) {
	reg, err := id("registration_id", req.RegistrationId, ids.Parse[ids.Registration])
	if err != nil {
		return nil, err
	}
	// The limit is that of mails to the address, which a registration has whether or
	// not there is an account.
	found, err := m.options.Store.Auth.Registration(ctx, reg)
	if err != nil {
		return nil, err
	}
	if found != nil {
		if err := m.options.LimitMail(ctx, found.Email()); err != nil {
			return nil, err
		}
	}
	renewed, err := m.options.Store.ResendCode(ctx, reg)
	if err != nil {
		return nil, err
	}
	return &authv1.ResendRegistrationCodeResponse{Registration: registration(renewed)}, nil
}
