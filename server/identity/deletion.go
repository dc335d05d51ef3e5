package identity

import (
	"context"
	"fmt"

	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store"
)

// PreviewDeleteMe implements UserService.
func (m *Module) PreviewDeleteMe(ctx context.Context, _ *identityv1.PreviewDeleteMeRequest) (*identityv1.PreviewDeleteMeResponse, error) {
	d, err := m.options.Store.PreviewDeleteUser(ctx, authz.SessionFrom(ctx).User)
	if err != nil {
		return nil, err
	}
	res := &identityv1.PreviewDeleteMeResponse{
		MembershipCount: int32(len(d.Memberships)),
		SessionCount:    int32(d.Sessions),
		ApiKeyCount:     int32(d.APIKeys),
		Etag:            d.ETag,
	}
	for _, w := range d.SoleOwned {
		res.SoleOwnedWorkspaces = append(res.SoleOwnedWorkspaces, &identityv1.SoleOwnedWorkspace{
			WorkspaceId:      w.WorkspaceID.String(),
			WorkspaceName:    w.WorkspaceName,
			OtherMemberCount: int32(w.OtherMembers),
			DeletedUserCount: int32(w.DeletedUsers),
		})
	}
	return res, nil
}

// DeleteMe implements UserService.
func (m *Module) DeleteMe(ctx context.Context, req *identityv1.DeleteMeRequest) (*identityv1.DeleteMeResponse, error) {
	resolutions := make([]store.Resolution, len(req.Resolutions))
	for i, r := range req.Resolutions {
		var err error
		if resolutions[i].Workspace, err = ids.Parse[ids.Workspace](r.WorkspaceId); err != nil {
			return nil, fault.Invalid(fmt.Sprintf("resolutions[%d].workspace_id", i), err.Error())
		}
		if to := r.GetTransferToMembershipId(); to != "" {
			if resolutions[i].TransferTo, err = ids.Parse[ids.Membership](to); err != nil {
				return nil, fault.Invalid(fmt.Sprintf("resolutions[%d].transfer_to_membership_id", i), err.Error())
			}
		}
	}
	caller := authz.SessionFrom(ctx)
	if err := m.options.Store.DeleteUser(ctx, caller.User, req.Etag, resolutions); err != nil {
		return nil, err
	}
	if caller.Transport == authz.Cookie {
		m.options.ClearCookie(ctx)
	}
	return &identityv1.DeleteMeResponse{}, nil
}
