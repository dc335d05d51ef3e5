package auth

import (
	"context"
	"strings"
	"unicode/utf8"

	"connectrpc.com/connect"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/auth/password"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
)

// operation reads what operators' calls have in common.
func operation(userID, reason string) (store.Operation, error) {
	user, err := ids.Parse[ids.User](userID)
	if err != nil {
		return store.Operation{}, fault.Invalid("user_id", err.Error())
	}
	if strings.TrimSpace(reason) == "" {
		return store.Operation{}, fault.Invalid("reason", "must not be blank")
	}
	return store.Operation{User: user, Reason: reason}, nil
}

// operate makes an operator's call.
func operate(ctx context.Context, userID, reason string, do func(context.Context, store.Operation) (*store.OperatedUser, error)) (*authv1.OperatedUser, error) {
	o, err := operation(userID, reason)
	if err != nil {
		return nil, err
	}
	user, err := do(ctx, o)
	if err != nil {
		return nil, err
	}
	return operatedUser(*user), nil
}

func operatedUser(u store.OperatedUser) *authv1.OperatedUser {
	m := &authv1.OperatedUser{
		UserId:               u.ID.String(),
		DisplayName:          u.DisplayName,
		CreateTime:           convert.Time(u.CreateTime),
		DisableTime:          convert.Time(u.DisableTime),
		DisableReason:        u.DisableReason,
		SessionCount:         int32(u.SessionCount),
		WorkspaceCount:       int32(u.WorkspaceCount),
		SecondFactorRequired: u.SecondFactorRequired,
		Operator:             u.Operator,
	}
	if u.Email != nil {
		m.Email, m.EmailVerified = u.Email.Address, u.Email.Verified()
	}
	return m
}

// FindUsers implements OperatorService.
func (m *Module) FindUsers(ctx context.Context, req *authv1.FindUsersRequest) (*authv1.FindUsersResponse, error) {
	users, next, err := m.options.Store.FindUsers(ctx, req.Query, store.Page{Size: int(req.PageSize), Token: req.PageToken})
	if err != nil {
		return nil, err
	}
	res := &authv1.FindUsersResponse{NextPageToken: next}
	for _, u := range users {
		res.Users = append(res.Users, operatedUser(u))
	}
	return res, nil
}

// DisableUser implements OperatorService.
func (m *Module) DisableUser(ctx context.Context, req *authv1.DisableUserRequest) (*authv1.DisableUserResponse, error) {
	user, err := operate(ctx, req.UserId, req.Reason, func(ctx context.Context, o store.Operation) (*store.OperatedUser, error) {
		if o.User == authz.SessionFrom(ctx).User {
			return nil, fault.Invalid("user_id", "is your own account: another operator disables that")
		}
		return m.options.Store.DisableUser(ctx, o)
	})
	if err != nil {
		return nil, err
	}
	return &authv1.DisableUserResponse{User: user}, nil
}

// EnableUser implements OperatorService.
func (m *Module) EnableUser(ctx context.Context, req *authv1.EnableUserRequest) (*authv1.EnableUserResponse, error) {
	user, err := operate(ctx, req.UserId, req.Reason, m.options.Store.EnableUser)
	if err != nil {
		return nil, err
	}
	return &authv1.EnableUserResponse{User: user}, nil
}

// SignOutUser implements OperatorService.
func (m *Module) SignOutUser(ctx context.Context, req *authv1.SignOutUserRequest) (*authv1.SignOutUserResponse, error) {
	user, err := operate(ctx, req.UserId, req.Reason, m.options.Store.SignOutUser)
	if err != nil {
		return nil, err
	}
	return &authv1.SignOutUserResponse{User: user}, nil
}

// ResetSecondFactors implements OperatorService.
func (m *Module) ResetSecondFactors(ctx context.Context, req *authv1.ResetSecondFactorsRequest) (*authv1.ResetSecondFactorsResponse, error) {
	user, err := operate(ctx, req.UserId, req.Reason, m.options.Store.ResetSecondFactors)
	if err != nil {
		return nil, err
	}
	return &authv1.ResetSecondFactorsResponse{User: user}, nil
}

// ImpersonateUser implements OperatorService.
func (m *Module) ImpersonateUser(ctx context.Context, req *authv1.ImpersonateUserRequest) (*authv1.ImpersonateUserResponse, error) {
	o, err := operation(req.UserId, req.Reason)
	if err != nil {
		return nil, err
	}
	session, token, err := m.options.Store.ImpersonateUser(ctx, store.Impersonation{
		Operation: o, Transport: transport(req.SessionTransport), Client: client(ctx),
	})
	if err != nil {
		return nil, err
	}
	return &authv1.ImpersonateUserResponse{Session: convert.Session(session, false), SessionToken: issue(ctx, session, token)}, nil
}

const (
	// maxImported is how many accounts one call may bring.
	maxImported = 100_000
	// maxImportFailures is how many of those that could not be created are named.
	maxImportFailures = 1000
	// maxImportedName is how long names are, in characters.
	maxImportedName = 100
)

// ImportUsers implements OperatorService. It takes one account after the other, so
// that an import is no load for others and needs the memory of one message.
func (m *Module) ImportUsers(ctx context.Context, stream *connect.ClientStream[authv1.ImportUsersRequest]) (*authv1.ImportUsersResponse, error) {
	res := &authv1.ImportUsersResponse{}
	index := 0
	for stream.Receive() {
		if index+len(stream.Msg().Users) > maxImported {
			return nil, fault.New(fault.ResourceExhausted, fault.RequestTooLarge, "one call may bring 100000 accounts; bring the others by another one")
		}
		for _, u := range stream.Msg().Users {
			err := m.importUser(ctx, u)
			f := fault.As(err)
			switch {
			case err == nil:
				res.CreatedCount++
			case f == nil || f.Kind != fault.InvalidArgument && f.Kind != fault.AlreadyExists:
				return nil, err // of the server, or of the caller: not of this account
			default:
				res.FailedCount++
				if len(res.Failures) < maxImportFailures {
					res.Failures = append(res.Failures, &authv1.ImportFailure{Index: int32(index), Reason: string(f.Reason), Message: f.Message})
				}
			}
			index++
		}
	}
	return res, stream.Err()
}

// importUser creates one account.
//
// Errors: fault EMAIL_TAKEN, FIELD_INVALID, PASSWORD_HASH_UNSUPPORTED, and others that
// are not the account's.
func (m *Module) importUser(ctx context.Context, u *authv1.ImportedUser) error {
	address, err := email.Parse(u.GetEmail())
	if err != nil {
		return fault.Invalid("email", err.Error())
	}
	in := store.ImportedUser{
		Email: address, Verified: u.GetEmailVerified(), DisplayName: u.GetDisplayName(), WorkspaceName: u.GetWorkspaceName(), PasswordHash: u.GetPasswordHash(),
	}
	if in.DisplayName == "" {
		in.DisplayName = address.LocalPart()
	}
	if in.WorkspaceName == "" {
		in.WorkspaceName = in.DisplayName
	}
	for field, name := range map[string]string{"display_name": in.DisplayName, "workspace_name": in.WorkspaceName} {
		if utf8.RuneCountInString(name) > maxImportedName {
			return fault.Invalid(field, "must be at most 100 characters")
		}
	}
	if in.PasswordHash != "" {
		if err := password.CheckFormat("password_hash", in.PasswordHash); err != nil {
			return err
		}
	}
	return m.options.Store.ImportUser(ctx, in)
}
