package store

import (
	"context"
	"time"

	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/identity"
	"github.com/logicspike/manager/store/tenant"
)

// ImportedUser is an account that was elsewhere until now.
type ImportedUser struct {
	Email         email.Address
	Verified      bool // whether the address is proven
	DisplayName   string
	WorkspaceName string
	PasswordHash  string // "" for none; it is not looked at
}

// ImportUser creates an account: user, address, credential, workspace, owner
// membership and events, in one transaction. Nobody is mailed. Where the domain of the
// address enrols its users, it does at the first sign-in.
//
// Errors: fault EMAIL_TAKEN, OPERATOR_REQUIRED.
func (s *Store) ImportUser(ctx context.Context, in ImportedUser) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if err := t.mayOperate(ctx, false); err != nil {
			return err
		}
		user := &identity.User{
			ID: ids.New[ids.User](), DisplayName: in.DisplayName, Version: 1, CreateTime: t.now, UpdateTime: t.now,
		}
		verified := time.Time{}
		if in.Verified {
			verified = t.now
		}
		user.Email = &identity.Email{UserID: user.ID, Address: in.Email.Display, AddressKey: in.Email.Key, VerifiedTime: verified}
		if err := t.identity.InsertUser(ctx, user); err != nil {
			return err
		}
		if in.PasswordHash != "" {
			if err := t.auth.SetPassword(ctx, user.ID, in.PasswordHash, t.now); err != nil {
				return err
			}
		}
		workspace := &tenant.Workspace{
			ID: ids.New[ids.Workspace](), Name: in.WorkspaceName, Version: 1, CreateTime: t.now, UpdateTime: t.now, CreatorID: user.ID,
		}
		if _, err := t.foundWorkspace(ctx, workspace, user); err != nil {
			return err
		}
		return t.recordImport(ctx, user.ID, workspace.ID)
	})
}

// recordImport records what an import created. The workspace's founder is the user, as
// it would be had they registered; who imported them is told by the account's log.
func (t *tx) recordImport(ctx context.Context, user ids.User, workspace ids.Workspace) error {
	if err := t.recordBy(ctx, Operation{}, audit.Event{UserID: user, Action: "user.imported", TargetID: user.String()}); err != nil {
		return err
	}
	return t.record(ctx, audit.Event{
		WorkspaceID: workspace, ActorUserID: user, Action: "workspace.created", TargetID: workspace.String(),
		Details: map[string]any{"imported": true},
	})
}
