package team

import (
	"context"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store/team"
)

var states = map[teamv1.MembershipState]team.State{
	teamv1.MembershipState_MEMBERSHIP_STATE_ACTIVE:      team.Active,
	teamv1.MembershipState_MEMBERSHIP_STATE_DEACTIVATED: team.Deactivated,
}

var orders = map[teamv1.MembershipOrder]team.Order{
	teamv1.MembershipOrder_MEMBERSHIP_ORDER_NEWEST_FIRST: team.NewestFirst,
	teamv1.MembershipOrder_MEMBERSHIP_ORDER_NAME:         team.ByName,
	teamv1.MembershipOrder_MEMBERSHIP_ORDER_EMAIL:        team.ByAddress,
}

// ListMemberships implements MembershipService.
func (m *Module) ListMemberships(ctx context.Context, req *teamv1.ListMembershipsRequest) (*teamv1.ListMembershipsResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	filter := team.Filter{Role: authz.Role(req.Role), State: states[req.State], Search: req.Search, Order: orders[req.Order]}
	for _, id := range req.UserIds {
		user, err := parse("user_ids", id, ids.Parse[ids.User])
		if err != nil {
			return nil, err
		}
		filter.Users = append(filter.Users, user)
	}
	rows, next, err := m.options.Store.Team.List(ctx, workspace, filter, page(req.PageSize, req.PageToken))
	if err != nil {
		return nil, err
	}
	res := &teamv1.ListMembershipsResponse{Memberships: convert.Memberships(rows), NextPageToken: next}
	protected, shown, err := m.options.Store.SecondFactorsOf(ctx, rows)
	if err != nil {
		return nil, err
	}
	if !shown {
		return res, nil
	}
	for i, row := range rows {
		has := protected[row.UserID]
		res.Memberships[i].HasSecondFactor = &has
	}
	return res, nil
}

// of reads the ids of a request about one membership.
func of(workspace, membership string) (ids.Workspace, ids.Membership, error) {
	w, err := workspaceID(workspace)
	if err != nil {
		return w, ids.Membership{}, err
	}
	id, err := parse("membership_id", membership, ids.Parse[ids.Membership])
	return w, id, err
}

// GetMembership implements MembershipService.
func (m *Module) GetMembership(ctx context.Context, req *teamv1.GetMembershipRequest) (*teamv1.GetMembershipResponse, error) {
	workspace, id, err := of(req.WorkspaceId, req.MembershipId)
	if err != nil {
		return nil, err
	}
	row, err := m.options.Store.Team.Membership(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	return &teamv1.GetMembershipResponse{Membership: convert.Membership(row)}, nil
}

// UpdateMembership implements MembershipService.
func (m *Module) UpdateMembership(ctx context.Context, req *teamv1.UpdateMembershipRequest) (*teamv1.UpdateMembershipResponse, error) {
	workspace, id, err := of(req.WorkspaceId, req.MembershipId)
	if err != nil {
		return nil, err
	}
	version, err := convert.Version(req.Etag)
	if err != nil {
		return nil, err
	}
	row, err := m.options.Store.UpdateMembership(ctx, workspace, id, authz.Role(req.Role), version)
	if err != nil {
		return nil, err
	}
	return &teamv1.UpdateMembershipResponse{Membership: convert.Membership(row)}, nil
}

// DeactivateMembership implements MembershipService.
func (m *Module) DeactivateMembership(ctx context.Context, req *teamv1.DeactivateMembershipRequest) (*teamv1.DeactivateMembershipResponse, error) {
	workspace, id, err := of(req.WorkspaceId, req.MembershipId)
	if err != nil {
		return nil, err
	}
	row, err := m.options.Store.DeactivateMembership(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	return &teamv1.DeactivateMembershipResponse{Membership: convert.Membership(row)}, nil
}

// ReactivateMembership implements MembershipService.
func (m *Module) ReactivateMembership(ctx context.Context, req *teamv1.ReactivateMembershipRequest) (*teamv1.ReactivateMembershipResponse, error) {
	workspace, id, err := of(req.WorkspaceId, req.MembershipId)
	if err != nil {
		return nil, err
	}
	row, err := m.options.Store.ReactivateMembership(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	return &teamv1.ReactivateMembershipResponse{Membership: convert.Membership(row)}, nil
}

// RemoveMembership implements MembershipService.
func (m *Module) RemoveMembership(ctx context.Context, req *teamv1.RemoveMembershipRequest) (*teamv1.RemoveMembershipResponse, error) {
	workspace, id, err := of(req.WorkspaceId, req.MembershipId)
	if err != nil {
		return nil, err
	}
	if err := m.options.Store.RemoveMembership(ctx, workspace, id); err != nil {
		return nil, err
	}
	return &teamv1.RemoveMembershipResponse{}, nil
}

// LeaveWorkspace implements MembershipService.
func (m *Module) LeaveWorkspace(ctx context.Context, req *teamv1.LeaveWorkspaceRequest) (*teamv1.LeaveWorkspaceResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	if err := m.options.Store.LeaveWorkspace(ctx, workspace); err != nil {
		return nil, err
	}
	return &teamv1.LeaveWorkspaceResponse{}, nil
}

// TransferOwnership implements MembershipService.
func (m *Module) TransferOwnership(ctx context.Context, req *teamv1.TransferOwnershipRequest) (*teamv1.TransferOwnershipResponse, error) {
	workspace, id, err := of(req.WorkspaceId, req.MembershipId)
	if err != nil {
		return nil, err
	}
	owner, caller, err := m.options.Store.TransferOwnership(ctx, workspace, id, roleOr(req.OwnRole, authz.Admin))
	if err != nil {
		return nil, err
	}
	return &teamv1.TransferOwnershipResponse{Owner: convert.Membership(owner), Caller: convert.Membership(caller)}, nil
}
