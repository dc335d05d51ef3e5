package store

import (
	"context"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/team"
)

// change runs fn on a member of a workspace whom the caller may change.
func (s *Store) change(ctx context.Context, workspace ids.Workspace, id ids.Membership, fn func(context.Context, *tx, *acting, *team.Membership) error) (m *team.Membership, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, workspace)
		if err != nil {
			return err
		}
		if m, err = t.team.Membership(ctx, workspace, id); err != nil {
			return err
		}
		if err := t.mayChange(ctx, a, m); err != nil {
			return err
		}
		return fn(ctx, t, a, m)
	})
	return m, err
}

// UpdateMembership gives a member another role. A version other than 0 must be the
// present one.
//
// Errors: fault NOT_FOUND, ROLE_NOT_GRANTABLE, OWNER_REQUIRED, ETAG_MISMATCH;
// FIELD_INVALID for the role.
func (s *Store) UpdateMembership(ctx context.Context, workspace ids.Workspace, id ids.Membership, role authz.Role, version int64) (*team.Membership, error) {
	return s.change(ctx, workspace, id, func(ctx context.Context, t *tx, a *acting, m *team.Membership) error {
		if version != 0 && version != m.Version {
			return errETag()
		}
		if err := t.mayGrant(ctx, a, "role", role); err != nil || m.Role == role {
			return err
		}
		details := map[string]any{"role": map[string]any{"before": m.Role, "after": role}}
		if err := t.setRole(ctx, m, role, details); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{WorkspaceID: workspace, Action: "membership.role_changed", TargetID: id.String(), Details: details})
	})
}

// DeactivateMembership ends a member's access until it is given back.
//
// Errors: fault NOT_FOUND, ROLE_NOT_GRANTABLE, OWNER_REQUIRED; FIELD_INVALID for the
// caller's own.
func (s *Store) DeactivateMembership(ctx context.Context, workspace ids.Workspace, id ids.Membership) (*team.Membership, error) {
	return s.change(ctx, workspace, id, func(ctx context.Context, t *tx, a *acting, m *team.Membership) error {
		if a.is(m) {
			return fault.Invalid("membership_id", "is your own; leave the workspace instead")
		}
		if !m.Active() {
			return nil
		}
		details := memberDetails(m)
		if err := t.revokeGrants(ctx, m, nil, details); err != nil {
			return err
		}
		if err := t.endKeys(ctx, m, details); err != nil {
			return err
		}
		if _, err := t.auth.DeleteRefreshTokensOfMember(ctx, workspace, m.UserID); err != nil {
			return err
		}
		if err := t.team.Deactivate(ctx, m, t.now); err != nil {
			return err
		}
		if err := t.seatFreed(ctx, workspace); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{WorkspaceID: workspace, Action: "membership.deactivated", TargetID: id.String(), Details: details})
	})
}

// ReactivateMembership gives a member access again, who takes a seat.
//
// Errors: fault NOT_FOUND, ROLE_NOT_GRANTABLE, SEATS_EXHAUSTED.
func (s *Store) ReactivateMembership(ctx context.Context, workspace ids.Workspace, id ids.Membership) (*team.Membership, error) {
	return s.change(ctx, workspace, id, func(ctx context.Context, t *tx, _ *acting, m *team.Membership) error {
		if m.Active() {
			return nil
		}
		if err := t.takeSeats(ctx, workspace, 1); err != nil {
			return err
		}
		if err := t.team.Reactivate(ctx, m, t.now); err != nil {
			return err
		}
		if err := t.seatTaken(ctx, workspace); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{
			WorkspaceID: workspace, Action: "membership.reactivated", TargetID: id.String(), Details: memberDetails(m),
		})
	})
}

// RemoveMembership ends a membership.
//
// Errors: fault NOT_FOUND, ROLE_NOT_GRANTABLE, OWNER_REQUIRED.
func (s *Store) RemoveMembership(ctx context.Context, workspace ids.Workspace, id ids.Membership) error {
	_, err := s.change(ctx, workspace, id, func(ctx context.Context, t *tx, a *acting, m *team.Membership) error {
		return t.leave(ctx, m, !a.is(m))
	})
	return err
}

// LeaveWorkspace ends the caller's own membership of a live workspace, active or
// not. Who leaves while deactivated was removed: a link does not bring them back.
//
// Errors: fault NOT_FOUND, OWNER_REQUIRED.
func (s *Store) LeaveWorkspace(ctx context.Context, workspace ids.Workspace) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		if _, err := t.lockLive(ctx, workspace); err != nil {
			return err
		}
		m, err := t.team.MembershipOf(ctx, workspace, authz.SessionFrom(ctx).User)
		if err != nil {
			return err
		}
		return t.leave(ctx, m, !m.Active())
	})
}

// TransferOwnership makes an active member an owner, and gives the caller, who is
// one, another role. It returns the membership of the new owner and the caller's.
//
// Errors: fault NOT_FOUND, MEMBERSHIP_DEACTIVATED; FIELD_INVALID for the caller's own
// membership and for the role.
func (s *Store) TransferOwnership(ctx context.Context, workspace ids.Workspace, to ids.Membership, own authz.Role) (owner, caller *team.Membership, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, workspace)
		if err != nil {
			return err
		}
		caller = a.member
		if owner, err = t.team.Membership(ctx, workspace, to); err != nil {
			return err
		}
		switch {
		case owner.ID == caller.ID:
			return fault.Invalid("membership_id", "is your own")
		case !owner.Active():
			return fault.New(fault.FailedPrecondition, fault.MembershipDeactivated, "the membership is deactivated; reactivate it first")
		case own == authz.Owner:
			return fault.Invalid("own_role", "is the role that you give away")
		}
		if err := t.mayGrant(ctx, a, "own_role", own); err != nil {
			return err
		}
		details := map[string]any{
			"owner":  map[string]any{"membership_id": owner.ID.String(), "before": owner.Role, "after": authz.Owner},
			"caller": map[string]any{"membership_id": caller.ID.String(), "before": caller.Role, "after": own},
		}
		if err := t.setRole(ctx, owner, authz.Owner, details); err != nil {
			return err
		}
		if err := t.setRole(ctx, caller, own, details); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{
			WorkspaceID: workspace, Action: "workspace.ownership_transferred", TargetID: workspace.String(), Details: details,
		})
	})
	return owner, caller, err
}
