package store

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/identity"
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
	if err := t.auth.DeleteDevices(ctx, user, secret.Hash{}); err != nil {
		return nil, err
	}
	if _, err := t.auth.DeleteAPIKeysOf(ctx, user, ids.Workspace{}); err != nil {
		return nil, err
	}
	if err := t.identity.TakeAddress(ctx, user); err != nil {
		return nil, err
	}
	u, err := t.identity.User(ctx, user)
	if err != nil {
		return nil, err
	}
	if err := t.describe(ctx, u); err != nil {
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
		if still, err := t.team.AloneIn(ctx, user); err != nil {
			return nil, err
		} else if !slices.Contains(still, id) {
			continue // deleted meanwhile, or somebody joined
		}
		if err := t.markDeleted(ctx, w, "voided"); err != nil {
			return nil, err
		}
		left = append(left, w)
		events = append(events, audit.Event{WorkspaceID: id, ActorKind: audit.System, Action: "workspace.deleted", TargetID: id.String()})
	}
	return left, t.record(ctx, events...)
}

// hand makes who has proven an address an owner of the workspaces that a voided
// account of that address left. That it is deleted they are told as all its members:
// perhaps it was their own, and they want to undelete it. Whoever had the account cannot come back by what they
// had made to invite people.
func (t *tx) hand(ctx context.Context, left []*tenant.Workspace, heir *identity.User) error {
	for _, w := range left {
		voided, err := t.team.Owners(ctx, w.ID) // the only active member
		if err != nil {
			return err
		}
		details := map[string]any{}
		for i := range voided {
			if err := t.revokeGrants(ctx, &voided[i], nil, details); err != nil {
				return err
			}
		}
		if err := t.makeOwner(ctx, w, heir, details); err != nil {
			return err
		}
	}
	return nil
}

// makeOwner makes a user an owner of a locked workspace, and writes the event with
// the details.
func (t *tx) makeOwner(ctx context.Context, w *tenant.Workspace, user *identity.User, details map[string]any) error {
	e := audit.Event{WorkspaceID: w.ID, ActorKind: audit.System, Details: details}
	m, err := t.team.MembershipOf(ctx, w.ID, user.ID)
	takes := fault.Has(err, fault.Missing) || err == nil && !m.Active() // a seat
	switch {
	case err == nil: // just enrolled, or deactivated
		e.Action = "membership.role_changed"
		details["role"] = map[string]any{"before": m.Role, "after": authz.Owner}
		if !m.Active() {
			if err := t.record(ctx, audit.Event{
				WorkspaceID: w.ID, ActorKind: audit.System, Action: "membership.reactivated", TargetID: m.ID.String(), Details: memberDetails(m),
			}); err != nil {
				return err
			}
		}
		m.DeactivateTime = time.Time{}
		err = t.team.SetRole(ctx, m, authz.Owner, t.now)
	case fault.Has(err, fault.Missing):
		e.Action = "membership.created"
		m = t.newMembership(w.ID, user, authz.Owner)
		maps.Copy(details, memberDetails(m))
		err = t.team.Insert(ctx, m)
	}
	if err != nil {
		return err
	}
	if takes {
		if err := t.seatTaken(ctx, w.ID); err != nil {
			return err
		}
	}
	e.TargetID = m.ID.String()
	return t.record(ctx, e)
}
