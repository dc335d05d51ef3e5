package store

import (
	"context"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/identity"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// voidAccount takes the address, the password and the sessions from an account
// that never proved its address, when somebody else did. The workspaces that
// nobody can enter any more are deleted, with the usual time until the purge, and
// returned.
func (t *tx) voidAccount(ctx context.Context, user ids.User) ([]*tenant.Workspace, error) {
	if err := t.identity.LockUsers(ctx, []ids.User{user}); err != nil { // nor do they join or create anything now
		return nil, err
	}
	// The password first: whoever signs in with it at this moment is waited for, so
	// that their session is seen.
	if err := t.auth.DeletePassword(ctx, user); err != nil {
		return nil, err
	}
	if _, err := t.auth.DeleteSessions(ctx, user, ids.Session{}); err != nil {
		return nil, err
	}
	if err := t.identity.TakeAddress(ctx, user); err != nil {
		return nil, err
	}
	if err := t.identity.DeleteEmailChanges(ctx, user); err != nil {
		return nil, err
	}
	events := []audit.Event{{UserID: user, ActorKind: audit.System, Action: "user.voided", TargetID: user.String()}}
	alone, err := t.team.AloneIn(ctx, user)
	if err != nil {
		return nil, err
	}
	var left []*tenant.Workspace
	for _, id := range alone {
		w, err := t.tenant.LockWorkspace(ctx, id)
		if err != nil {
			return nil, err
		}
		if err := t.tenant.MarkDeleted(ctx, w, "voided", t.now, t.now.Add(t.store.options.DeletionGrace)); err != nil {
			return nil, err
		}
		left = append(left, w)
		events = append(events, audit.Event{WorkspaceID: id, ActorKind: audit.System, Action: "workspace.deleted", TargetID: id.String()})
	}
	return left, t.record(ctx, events...)
}

// hand makes who has proven an address an owner of the workspaces that a voided
// account of that address left, and tells them: perhaps it was their own, and
// they want to undelete it.
func (t *tx) hand(ctx context.Context, left []*tenant.Workspace, heir *identity.User) error {
	for _, w := range left {
		m := &team.Membership{
			ID: ids.New[ids.Membership](), WorkspaceID: w.ID, UserID: heir.ID, Role: authz.Owner, CreateTime: t.now, UpdateTime: t.now,
		}
		if err := t.team.Insert(ctx, m); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{
			WorkspaceID: w.ID, ActorKind: audit.System, Action: "membership.created", TargetID: m.ID.String(),
			Details: map[string]any{"user_id": heir.ID.String(), "role": m.Role},
		}); err != nil {
			return err
		}
		if err := t.mailOwners(ctx, w); err != nil {
			return err
		}
	}
	return nil
}
