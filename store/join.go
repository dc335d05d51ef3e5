package store

import (
	"context"
	"maps"
	"slices"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/identity"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// How people come to belong to a workspace, and how they cease to: the parts that
// every way has in common.

// newMembership makes a membership, to be stored.
func (t *tx) newMembership(workspace ids.Workspace, user *identity.User, role authz.Role) *team.Membership {
	m := &team.Membership{
		ID: ids.New[ids.Membership](), WorkspaceID: workspace, UserID: user.ID, Role: role, Version: 1,
		CreateTime: t.now, UpdateTime: t.now, DisplayName: user.DisplayName,
	}
	if user.Email != nil {
		m.Address, m.AddressKey = user.Email.Address, user.Email.AddressKey
	}
	return m
}

// join makes a user, who is none yet, a member of a locked workspace, and takes a
// seat. What they were invited to or had asked for is thereby done. The event's
// details say by what way they came.
//
// Errors: fault SEATS_EXHAUSTED.
func (t *tx) join(ctx context.Context, workspace ids.Workspace, user *identity.User, role authz.Role, way map[string]any) (*team.Membership, error) {
	m := t.newMembership(workspace, user, role)
	invited, err := t.team.AcceptPendingAt(ctx, workspace, m.AddressKey, user.ID, t.now)
	if err != nil {
		return nil, err
	}
	if invited {
		err = t.takeReservedSeat(ctx, workspace)
	} else {
		err = t.takeSeats(ctx, workspace, 1)
	}
	if err != nil {
		return nil, err
	}
	if err := t.team.Insert(ctx, m); err != nil {
		return nil, err
	}
	if err := t.team.ApproveJoinRequestOf(ctx, workspace, user.ID, t.now); err != nil {
		return nil, err
	}
	for _, hash := range departureHashes(m.UserID, m.AddressKey) {
		if err := t.team.ForgetDeparture(ctx, workspace, hash); err != nil {
			return nil, err
		}
	}
	e := audit.Event{WorkspaceID: workspace, Action: "membership.created", TargetID: m.ID.String(), Details: memberDetails(m)}
	maps.Copy(e.Details, way)
	if authz.SessionFrom(ctx) == nil {
		e.ActorUserID = user.ID // who is signing up or in at this moment
	}
	return m, t.record(ctx, e)
}

// leave ends a membership of a locked workspace. Whoever is removed, and does not
// leave by themselves, comes back by an invitation or a request only, not by a link
// that they may still have.
func (t *tx) leave(ctx context.Context, m *team.Membership, removed bool) error {
	details := memberDetails(m)
	if err := t.revokeGrants(ctx, m, nil, details); err != nil {
		return err
	}
	if err := t.team.Delete(ctx, m.ID); err != nil {
		return err
	}
	for _, hash := range departureHashes(m.UserID, m.AddressKey) {
		if err := t.team.RecordDeparture(ctx, m.WorkspaceID, hash, removed, t.now); err != nil {
			return err
		}
	}
	return t.record(ctx, audit.Event{WorkspaceID: m.WorkspaceID, Action: "membership.deleted", TargetID: m.ID.String(), Details: details})
}

func memberDetails(m *team.Membership) map[string]any {
	return map[string]any{"user_id": m.UserID.String(), "role": m.Role}
}

// departureHashes are by what it is known that somebody was removed or left: by their
// account, whatever its address, and by their address, whatever the account. Neither
// is kept itself.
func departureHashes(user ids.User, addressKey string) []secret.Hash {
	return []secret.Hash{secret.HashOf("departure", addressKey), secret.HashOf("departure of a user", user.String())}
}

// revokeGrants revokes the invitations and links of a member of a locked workspace
// that they could not make any more, and notes them in the details of the event.
// The role is theirs from now on; nil for none.
func (t *tx) revokeGrants(ctx context.Context, m *team.Membership, role *acting, details map[string]any) error {
	granted, err := t.team.GrantedBy(ctx, m.WorkspaceID, m.UserID)
	if err != nil || len(granted) == 0 {
		return err
	}
	var revoked []team.Granted
	var names []string
	for _, g := range granted {
		if role != nil {
			custom, err := t.team.Permissions(ctx, m.WorkspaceID, g.Role)
			if err != nil {
				return err
			}
			if t.store.options.Invite.HeldBy(role.member.Role, role.custom) && t.covers(role, g.Role, custom) == nil {
				continue
			}
		}
		revoked = append(revoked, g)
		if g.Link {
			names = append(names, ids.FromUUID[ids.InvitationLink](g.ID).String())
		} else {
			names = append(names, ids.FromUUID[ids.Invitation](g.ID).String())
		}
	}
	if len(revoked) == 0 {
		return nil
	}
	details["revoked"] = names
	return t.team.Revoke(ctx, revoked, t.now)
}

// setRole gives a member of a locked workspace another role, and revokes what they
// can no longer grant.
func (t *tx) setRole(ctx context.Context, m *team.Membership, role authz.Role, details map[string]any) error {
	if err := t.team.SetRole(ctx, m, role, t.now); err != nil {
		return err
	}
	custom, err := t.team.Permissions(ctx, m.WorkspaceID, role)
	if err != nil {
		return err
	}
	return t.revokeGrants(ctx, m, &acting{member: m, custom: custom}, details)
}

// lockAll locks those of the workspaces that are live, in the order of their ids,
// and returns them.
func (t *tx) lockAll(ctx context.Context, list ...ids.Workspace) (map[ids.Workspace]*tenant.Workspace, error) {
	list = slices.Clone(list)
	slices.SortFunc(list, ids.Workspace.Compare)
	locked := map[ids.Workspace]*tenant.Workspace{}
	for _, id := range slices.Compact(list) {
		if id.IsZero() {
			continue
		}
		w, err := t.lockLive(ctx, id)
		if fault.Has(err, fault.Missing) {
			continue
		}
		if err != nil {
			return nil, err
		}
		locked[id] = w
	}
	return locked, nil
}
