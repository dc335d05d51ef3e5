package team

import (
	"context"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
)

// ListJoinableWorkspaces implements JoinRequestService.
func (m *Module) ListJoinableWorkspaces(ctx context.Context, _ *teamv1.ListJoinableWorkspacesRequest) (*teamv1.ListJoinableWorkspacesResponse, error) {
	found, err := m.options.Store.Joinable(ctx, authz.SessionFrom(ctx).User)
	if err != nil || found == nil {
		return &teamv1.ListJoinableWorkspacesResponse{}, err
	}
	return &teamv1.ListJoinableWorkspacesResponse{Workspaces: []*teamv1.JoinableWorkspace{{
		WorkspaceId:   found.Enrollment.WorkspaceID.String(),
		WorkspaceName: found.Enrollment.WorkspaceName,
		Domain:        found.Enrollment.Domain,
		JoinRequest:   joinRequest(found.Request),
	}}}, nil
}

// CreateJoinRequest implements JoinRequestService.
func (m *Module) CreateJoinRequest(ctx context.Context, req *teamv1.CreateJoinRequestRequest) (*teamv1.CreateJoinRequestResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	if err := m.options.Store.Throttle.Take(ctx, "join requests of "+authz.SessionFrom(ctx).User.String(), m.options.Requests); err != nil {
		return nil, err
	}
	row, err := m.options.Store.CreateJoinRequest(ctx, workspace, req.Message)
	if err != nil {
		return nil, err
	}
	return &teamv1.CreateJoinRequestResponse{JoinRequest: joinRequest(row)}, nil
}

// ListJoinRequests implements JoinRequestService.
func (m *Module) ListJoinRequests(ctx context.Context, req *teamv1.ListJoinRequestsRequest) (*teamv1.ListJoinRequestsResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	rows, next, err := m.options.Store.Team.ListJoinRequests(ctx, workspace, joinStates[req.State], page(req.PageSize, req.PageToken))
	if err != nil {
		return nil, err
	}
	res := &teamv1.ListJoinRequestsResponse{NextPageToken: next}
	for i := range rows {
		res.JoinRequests = append(res.JoinRequests, joinRequest(&rows[i]))
	}
	return res, nil
}

// ApproveJoinRequest implements JoinRequestService.
func (m *Module) ApproveJoinRequest(ctx context.Context, req *teamv1.ApproveJoinRequestRequest) (*teamv1.ApproveJoinRequestResponse, error) {
	workspace, id, err := ofJoinRequest(req.WorkspaceId, req.JoinRequestId)
	if err != nil {
		return nil, err
	}
	row, membership, err := m.options.Store.ApproveJoinRequest(ctx, workspace, id, roleOr(req.Role, authz.Member))
	if err != nil {
		return nil, err
	}
	return &teamv1.ApproveJoinRequestResponse{JoinRequest: joinRequest(row), Membership: convert.Membership(membership)}, nil
}

// RejectJoinRequest implements JoinRequestService.
func (m *Module) RejectJoinRequest(ctx context.Context, req *teamv1.RejectJoinRequestRequest) (*teamv1.RejectJoinRequestResponse, error) {
	workspace, id, err := ofJoinRequest(req.WorkspaceId, req.JoinRequestId)
	if err != nil {
		return nil, err
	}
	row, err := m.options.Store.RejectJoinRequest(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	return &teamv1.RejectJoinRequestResponse{JoinRequest: joinRequest(row)}, nil
}

// ofJoinRequest reads the ids of a request about one request to join.
func ofJoinRequest(workspace, request string) (ids.Workspace, ids.JoinRequest, error) {
	w, err := workspaceID(workspace)
	if err != nil {
		return w, ids.JoinRequest{}, err
	}
	id, err := parse("join_request_id", request, ids.Parse[ids.JoinRequest])
	return w, id, err
}
