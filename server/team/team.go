// Package team serves the module team: who belongs to a workspace.
package team

import (
	"context"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
)

// Module implements MembershipService.
type Module struct{ store *store.Store }

// New returns the module.
func New(s *store.Store) *Module { return &Module{s} }

// ListMemberships implements MembershipService.
func (m *Module) ListMemberships(ctx context.Context, req *teamv1.ListMembershipsRequest) (*teamv1.ListMembershipsResponse, error) {
	workspace, err := ids.Parse[ids.Workspace](req.WorkspaceId)
	if err != nil {
		return nil, fault.Invalid("workspace_id", err.Error())
	}
	rows, next, err := m.store.Team.List(ctx, workspace, store.Page{Size: int(req.PageSize), Token: req.PageToken})
	if err != nil {
		return nil, err
	}
	return &teamv1.ListMembershipsResponse{Memberships: convert.Memberships(rows), NextPageToken: next}, nil
}

// GetMembership implements MembershipService.
func (m *Module) GetMembership(ctx context.Context, req *teamv1.GetMembershipRequest) (*teamv1.GetMembershipResponse, error) {
	workspace, err := ids.Parse[ids.Workspace](req.WorkspaceId)
	if err != nil {
		return nil, fault.Invalid("workspace_id", err.Error())
	}
	id, err := ids.Parse[ids.Membership](req.MembershipId)
	if err != nil {
		return nil, fault.Invalid("membership_id", err.Error())
	}
	row, err := m.store.Team.Membership(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	return &teamv1.GetMembershipResponse{Membership: convert.Membership(row)}, nil
}
