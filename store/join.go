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
	details := memberDetails(m)
	maps.Copy(details, way)
	invitation, err := t.team.AcceptPendingAt(ctx, workspace, m.AddressKey, user.ID, t.now)
	if err != nil {
		return nil, err
	}
	if invitation.IsZero() {
		err = t.takeSeats(ctx, workspace, 1)
	} else {
		details["invitation_id"] = invitation.String()
		err = t.takeReservedSeat(ctx, workspace)
	}
	if err != nil {
		return nil, err
	}
	if err := t.team.Insert(ctx, m); err != nil {
		return nil, err
	}
	if err := t.seatTaken(ctx, workspace); err != nil {
		return nil, err
	}
	request, err := t.team.ApproveJoinRequestOf(ctx, workspace, user.ID, t.now)
	if err != nil {
		return nil, err
	}
	if !request.IsZero() {
		details["join_request_id"] = request.String()
	}
	for _, hash := range departureHashes(m.UserID, m.AddressKey) {
		if err := t.team.ForgetDeparture(ctx, workspace, hash); err != nil {
			return nil, err
		}
	}
	e := audit.Event{WorkspaceID: workspace, Action: "membership.created", TargetID: m.ID.String(), Details: details}
	if authz.CallerFrom(ctx) == (authz.Caller{}) {
		e.ActorUserID = user.ID // who is signing up or in at this moment
	}
	return m, t.record(ctx, e)
}

// invitedRole returns the role that an invitation gives to an address, if there is one
// that can be accepted: it was meant for this person, more than what lets in others too.
// Else it returns the other role.
func (t *tx) invitedRole(ctx context.Context, workspace ids.Workspace, addressKey string, other authz.Role) (authz.Role, error) {
	pending, err := t.team.PendingAt(ctx, workspace, []string{addressKey})
	for i := range pending {
		if pending[i].StateAt(t.now) == team.Pending {
			return pending[i].Role, err
		}
	}
	return other, err
}

// departed reports whether somebody was removed from a workspace or left it; with
// removed, whether they were removed.
func (t *tx) departed(ctx context.Context, workspace ids.Workspace, user *identity.User, removed bool) (bool, error) {
	key := ""
	if user.Email != nil {
		key = user.Email.AddressKey
	}
	for _, hash := range departureHashes(user.ID, key) {
		ask := t.team.Departed
		if removed {
			ask = t.team.Removed
		}
		if found, err := ask(ctx, workspace, hash); err != nil || found {
			return found, err
		}
	}
	return false, nil
}

// leave ends a membership of a locked workspace. Whoever is removed, and does not
// leave by themselves, comes back by an invitation or a request only, not by a link
// that they may still have.
func (t *tx) leave(ctx context.Context, m *team.Membership, removed bool) error {
	details := memberDetails(m)
	if err := t.revokeGrants(ctx, m, nil, details); err != nil {
		return err
	}
	if err := t.endKeys(ctx, m, details); err != nil {
		return err
	}
	if _, err := t.auth.DeleteRefreshTokensOfMember(ctx, m.WorkspaceID, m.UserID); err != nil {
		return err
	}
	if err := t.team.Delete(ctx, m.ID); err != nil {
		return err
	}
	if m.Active() {
		if err := t.seatFreed(ctx, m.WorkspaceID); err != nil {
			return err
		}
	}
	// Nor by an invitation to the address that they have come to have since.
	if err := t.team.RevokePendingAt(ctx, m.WorkspaceID, []string{m.AddressKey}, t.now); err != nil {
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
	if err != nil {
		return err
	}
	return t.revokeUncoverable(ctx, m.WorkspaceID, granted, role, details)
}

// revokeUncoverable revokes those invitations and links of a locked workspace that
// somebody could not make, nil for nobody, and notes them in the details of the event.
func (t *tx) revokeUncoverable(ctx context.Context, workspace ids.Workspace, granted []team.Granted, role *acting, details map[string]any) error {
	if len(granted) == 0 {
		return nil
	}
	kept := map[authz.Role]bool{}
	if role != nil && role.holds(t.store.options.Invite) {
		for _, g := range granted {
			if _, known := kept[g.Role]; known {
				continue
			}
			custom, err := t.team.Permissions(ctx, workspace, g.Role)
			if err != nil {
				return err
			}
			kept[g.Role] = t.covers(role, g.Role, custom) == nil
		}
	}
	revoked := slices.DeleteFunc(granted, func(g team.Granted) bool { return kept[g.Role] })
	if len(revoked) == 0 {
		return nil
	}
	names := make([]string, 0, maxNamed)
	for _, g := range revoked[:min(len(revoked), maxNamed)] {
		names = append(names, g.String())
	}
	details["revoked"], details["revoked_count"] = names, len(revoked)
	return t.team.Revoke(ctx, revoked, t.now)
}

// maxNamed is how many of the invitations and links that a change revokes its event
// names; it has the count of all.
const maxNamed = 100

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
	return t.revokeGrants(ctx, m, &acting{role: role, custom: custom}, details)
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
