// Package identity serves the module identity: the caller's own account.
package identity

import (
	"context"
	"errors"
	"slices"
	"time"

	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
)

// Options are what the module needs.
type Options struct {
	Store *store.Store
	// Mails limits the mails that one user can cause by asking for other
	// addresses.
	Mails store.Limit
	// LimitMail counts a mail to an address that anybody can cause. It returns a
	// fault RATE_LIMITED when there were too many.
	LimitMail func(context.Context, email.Address) error
	// ClearCookie removes the session's cookie from the browser that called, when
	// the account is deleted.
	ClearCookie func(context.Context)
}

// Module implements UserService.
type Module struct{ options Options }

// New returns the module.
func New(o Options) *Module { return &Module{o} }

// GetMe implements UserService.
func (m *Module) GetMe(ctx context.Context, _ *identityv1.GetMeRequest) (*identityv1.GetMeResponse, error) {
	user, err := m.options.Store.Identity.User(ctx, authz.SessionFrom(ctx).User)
	if err != nil {
		return nil, err
	}
	return &identityv1.GetMeResponse{User: convert.User(user)}, nil
}

// UpdateMe implements UserService.
func (m *Module) UpdateMe(ctx context.Context, req *identityv1.UpdateMeRequest) (*identityv1.UpdateMeResponse, error) {
	paths := req.UpdateMask.GetPaths()
	if len(paths) == 0 && req.DisplayName != "" {
		paths = []string{"display_name"}
	}
	for _, path := range paths {
		if path != "display_name" {
			return nil, fault.Invalid("update_mask", "names a field that cannot be changed; display_name can")
		}
	}
	version, err := convert.Version(req.Etag)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(paths, "display_name") {
		return nil, fault.Invalid("update_mask", "names nothing to change")
	}
	if req.DisplayName == "" {
		return nil, fault.Invalid("display_name", "must have 1 to 100 characters")
	}
	user, err := m.options.Store.UpdateUser(ctx, authz.SessionFrom(ctx).User, req.DisplayName, version)
	if err != nil {
		return nil, err
	}
	return &identityv1.UpdateMeResponse{User: convert.User(user)}, nil
}

// RequestEmailChange implements UserService.
func (m *Module) RequestEmailChange(ctx context.Context, req *identityv1.RequestEmailChangeRequest) (*identityv1.RequestEmailChangeResponse, error) {
	user := authz.SessionFrom(ctx).User
	address, err := email.Parse(req.NewEmail)
	if err != nil {
		return nil, fault.Invalid("new_email", err.Error())
	}
	if err := m.options.Store.Throttle.Take(ctx, "email change "+user.String(), m.options.Mails); err != nil {
		return nil, err
	}
	if err := m.options.LimitMail(ctx, address); err != nil {
		return nil, err
	}
	change, err := m.options.Store.RequestEmailChange(ctx, user, address)
	if err != nil {
		return nil, err
	}
	return &identityv1.RequestEmailChangeResponse{EmailChangeId: change.ID.String(), ExpireTime: convert.Time(change.ExpireTime)}, nil
}

// confirmations limits the codes that one user tries. A failure of the server counts
// against nobody.
var confirmations = store.PerWindow(30, time.Hour)

// ConfirmEmailChange implements UserService.
func (m *Module) ConfirmEmailChange(ctx context.Context, req *identityv1.ConfirmEmailChangeRequest) (*identityv1.ConfirmEmailChangeResponse, error) {
	caller := authz.SessionFrom(ctx)
	var change ids.EmailChange
	if req.EmailChangeId != "" {
		var err error
		if change, err = ids.Parse[ids.EmailChange](req.EmailChangeId); err != nil {
			return nil, fault.Invalid("email_change_id", err.Error())
		}
	}
	throttle, tries := m.options.Store.Throttle, "email confirmation "+caller.User.String()
	if err := throttle.Take(ctx, tries, confirmations); err != nil {
		return nil, err
	}
	changed, err := m.options.Store.ConfirmEmailChange(ctx, caller, change, store.Proof{Code: req.Code, Token: req.Token})
	if f := fault.As(err); err != nil && (f == nil || f.Kind == fault.Unavailable) {
		return nil, errors.Join(err, throttle.Return(context.WithoutCancel(ctx), tries, confirmations))
	}
	if err != nil {
		return nil, err
	}
	return &identityv1.ConfirmEmailChangeResponse{User: convert.User(changed)}, nil
}
