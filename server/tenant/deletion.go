package tenant

import (
	"context"

	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store/tenant"
)

// PreviewDeleteWorkspace implements WorkspaceService.
func (m *Module) PreviewDeleteWorkspace(ctx context.Context, req *tenantv1.PreviewDeleteWorkspaceRequest) (*tenantv1.PreviewDeleteWorkspaceResponse, error) {
	id, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	p, err := m.options.Store.PreviewDeleteWorkspace(ctx, id)
	if err != nil {
		return nil, err
	}
	res := &tenantv1.PreviewDeleteWorkspaceResponse{
		DeletedUserCount:   int32(p.DeletedUsers),
		RemainingUserCount: int32(p.RemainingUsers),
		MembershipCount:    int32(p.Deletion.Memberships),
		Memberships:        convert.Memberships(p.FirstMemberships),
		SessionCount:       int32(p.Sessions),
		InvitationCount:    int32(p.Ends.Invitations), InvitationLinkCount: int32(p.Ends.Links), RoleCount: int32(p.Ends.Roles),
		JoinRequestCount: int32(p.Ends.JoinRequests), DomainCount: int32(p.Domains),
		ApiKeyCount: int32(p.APIKeys), ServiceAccountCount: int32(p.ServiceAccounts),
		SubscriptionEndTime: convert.Time(p.SubscriptionEnd), OpenInvoiceCount: int32(p.OpenInvoices),
		PurgeTime: convert.Time(p.PurgeTime),
		Etag:      p.ETag,
	}
	for _, u := range p.FirstDeleted {
		res.DeletedUsers = append(res.DeletedUsers, &tenantv1.AffectedUser{
			UserId: u.UserID.String(), DisplayName: u.DisplayName, Email: u.Address,
		})
	}
	for _, u := range p.FirstRemaining {
		res.RemainingUsers = append(res.RemainingUsers, &tenantv1.AffectedUser{
			UserId: u.UserID.String(), DisplayName: u.DisplayName, Email: u.Address,
		})
	}
	for _, s := range p.FirstSessions {
		res.Sessions = append(res.Sessions, &tenantv1.AffectedSession{
			SessionId: s.ID.String(), UserId: s.UserID.String(), LastUseTime: convert.Time(s.LastUseTime),
		})
	}
	return res, nil
}

// DeleteWorkspace implements WorkspaceService.
func (m *Module) DeleteWorkspace(ctx context.Context, req *tenantv1.DeleteWorkspaceRequest) (*tenantv1.DeleteWorkspaceResponse, error) {
	id, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	var w *tenant.Workspace
	remove := func() (err error) {
		w, err = m.options.Store.DeleteWorkspace(ctx, id, req.Etag)
		return err
	}
	if member, _ := authz.MembershipFrom(ctx); member.Deleted { // repeated: nobody is told again
		err = remove()
	} else {
		err = m.telling(ctx, id, remove)
	}
	if err != nil {
		return nil, err
	}
	return &tenantv1.DeleteWorkspaceResponse{Workspace: convert.Workspace(w)}, nil
}

// UndeleteWorkspace implements WorkspaceService.
func (m *Module) UndeleteWorkspace(ctx context.Context, req *tenantv1.UndeleteWorkspaceRequest) (*tenantv1.UndeleteWorkspaceResponse, error) {
	id, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	w, err := m.options.Store.UndeleteWorkspace(ctx, id)
	if err != nil {
		return nil, err
	}
	return &tenantv1.UndeleteWorkspaceResponse{Workspace: convert.Workspace(w)}, nil
}

// PurgeWorkspace implements WorkspaceService.
func (m *Module) PurgeWorkspace(ctx context.Context, req *tenantv1.PurgeWorkspaceRequest) (*tenantv1.PurgeWorkspaceResponse, error) {
	id, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	purged, err := m.options.Store.PurgeWorkspace(ctx, id, req.Etag)
	if err != nil {
		return nil, err
	}
	return &tenantv1.PurgeWorkspaceResponse{
		MembershipCount: int32(purged.Memberships), DeletedUserCount: int32(purged.DeletedUsers),
	}, nil
}
