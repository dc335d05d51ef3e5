package team

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store"
)

func lifetime(d *durationpb.Duration) time.Duration {
	if d == nil {
		return store.InvitationLifetime
	}
	return d.AsDuration()
}

// limitInvitations counts mails of a workspace's invitations, and of the caller's.
//
// Errors: fault RATE_LIMITED.
func (m *Module) limitInvitations(ctx context.Context, workspace ids.Workspace, count int) error {
	throttle := m.options.Store.Throttle
	if err := throttle.TakeMany(ctx, "invitations of "+workspace.String(), count, m.options.Invitations); err != nil {
		return err
	}
	caller := authz.CallerFrom(ctx)
	by := caller.User.String()
	if caller.User.IsZero() {
		by = caller.ServiceAccount.String()
	}
	return throttle.TakeMany(ctx, "invitations by "+by, count, m.options.Inviter)
}

// CreateInvitation implements InvitationService.
func (m *Module) CreateInvitation(ctx context.Context, req *teamv1.CreateInvitationRequest) (*teamv1.CreateInvitationResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	address, err := parse("email", req.Email, email.Parse)
	if err != nil {
		return nil, err
	}
	if err := m.limitInvitations(ctx, workspace, 1); err != nil {
		return nil, err
	}
	if err := m.options.LimitMail(ctx, address); err != nil {
		return nil, err
	}
	results, err := m.options.Store.Invite(ctx, store.NewInvitation{
		Workspace: workspace, Addresses: []email.Address{address}, Role: roleOr(req.Role, authz.Member), Lifetime: lifetime(req.Lifetime),
	})
	if err == nil {
		err = results[0].Err
	}
	if err != nil {
		return nil, err
	}
	return &teamv1.CreateInvitationResponse{Invitation: m.invitation(results[0].Invitation)}, nil
}

// BatchCreateInvitations implements InvitationService.
func (m *Module) BatchCreateInvitations(ctx context.Context, req *teamv1.BatchCreateInvitationsRequest) (*teamv1.BatchCreateInvitationsResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	if err := m.limitInvitations(ctx, workspace, len(req.Emails)); err != nil {
		return nil, err
	}
	res := &teamv1.BatchCreateInvitationsResponse{Results: make([]*teamv1.InvitationResult, len(req.Emails))}
	var addresses []email.Address
	var results []*teamv1.InvitationResult // of the addresses
	seen := map[string]bool{}
	for i, given := range req.Emails {
		res.Results[i] = &teamv1.InvitationResult{Email: given}
		address, err := email.Parse(given)
		if err == nil && seen[address.Key] {
			res.Results[i].Result = failure(fault.New(fault.InvalidArgument, fault.Duplicate, "came before in the request"))
			continue
		}
		if err != nil {
			res.Results[i].Result = failure(fault.New(fault.InvalidArgument, fault.FieldInvalid, err.Error()))
			continue
		}
		seen[address.Key] = true
		addresses, results = append(addresses, address), append(results, res.Results[i])
	}
	limited, err := m.options.LimitMails(ctx, addresses)
	if err != nil {
		return nil, err
	}
	var free []email.Address
	var open []*teamv1.InvitationResult
	for i := range addresses {
		if limited[i] != nil {
			results[i].Result = failure(limited[i])
			continue
		}
		free, open = append(free, addresses[i]), append(open, results[i])
	}
	invited, err := m.options.Store.Invite(ctx, store.NewInvitation{
		Workspace: workspace, Addresses: free, Role: roleOr(req.Role, authz.Member), Lifetime: lifetime(req.Lifetime),
	})
	if err != nil {
		return nil, err
	}
	for i := range invited {
		if invited[i].Err != nil {
			open[i].Result = failure(invited[i].Err)
		} else {
			open[i].Result = &teamv1.InvitationResult_Invitation{Invitation: m.invitation(invited[i].Invitation)}
		}
	}
	return res, nil
}

// ListInvitations implements InvitationService.
func (m *Module) ListInvitations(ctx context.Context, req *teamv1.ListInvitationsRequest) (*teamv1.ListInvitationsResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	rows, next, err := m.options.Store.Team.ListInvitations(ctx, workspace, storedStates[req.State], m.options.Clock.Now(), page(req.PageSize, req.PageToken))
	if err != nil {
		return nil, err
	}
	res := &teamv1.ListInvitationsResponse{NextPageToken: next}
	for i := range rows {
		res.Invitations = append(res.Invitations, m.invitation(&rows[i]))
	}
	return res, nil
}

// ResendInvitation implements InvitationService.
func (m *Module) ResendInvitation(ctx context.Context, req *teamv1.ResendInvitationRequest) (*teamv1.ResendInvitationResponse, error) {
	workspace, id, err := ofInvitation(req.WorkspaceId, req.InvitationId)
	if err != nil {
		return nil, err
	}
	if found, err := m.options.Store.Team.Invitation(ctx, id); err != nil {
		return nil, err
	} else if found != nil && found.WorkspaceID == workspace {
		if err := m.limitInvitations(ctx, workspace, 1); err != nil {
			return nil, err
		}
		if err := m.options.LimitMail(ctx, found.Email()); err != nil {
			return nil, err
		}
	}
	row, err := m.options.Store.ResendInvitation(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	return &teamv1.ResendInvitationResponse{Invitation: m.invitation(row)}, nil
}

// RevokeInvitation implements InvitationService.
func (m *Module) RevokeInvitation(ctx context.Context, req *teamv1.RevokeInvitationRequest) (*teamv1.RevokeInvitationResponse, error) {
	workspace, id, err := ofInvitation(req.WorkspaceId, req.InvitationId)
	if err != nil {
		return nil, err
	}
	row, err := m.options.Store.RevokeInvitation(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	return &teamv1.RevokeInvitationResponse{Invitation: m.invitation(row)}, nil
}

// ofInvitation reads the ids of a request about one invitation.
func ofInvitation(workspace, invitation string) (ids.Workspace, ids.Invitation, error) {
	w, err := workspaceID(workspace)
	if err != nil {
		return w, ids.Invitation{}, err
	}
	id, err := parse("invitation_id", invitation, ids.Parse[ids.Invitation])
	return w, id, err
}

// CreateInvitationLink implements InvitationService.
func (m *Module) CreateInvitationLink(ctx context.Context, req *teamv1.CreateInvitationLinkRequest) (*teamv1.CreateInvitationLinkResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	domains, err := linkDomains(req.Domains)
	if err != nil {
		return nil, err
	}
	row, token, err := m.options.Store.CreateInvitationLink(ctx, store.NewLink{
		Workspace: workspace, Role: roleOr(req.Role, authz.Member), Lifetime: lifetime(req.Lifetime), MaxUses: int(req.MaxUses), Domains: domains,
	})
	if err != nil {
		return nil, err
	}
	return &teamv1.CreateInvitationLinkResponse{Link: m.link(row), Token: token, Url: m.options.PublicURL + "/accept-invitation#token=" + token}, nil
}

// ListInvitationLinks implements InvitationService.
func (m *Module) ListInvitationLinks(ctx context.Context, req *teamv1.ListInvitationLinksRequest) (*teamv1.ListInvitationLinksResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	rows, next, err := m.options.Store.Team.ListLinks(ctx, workspace, page(req.PageSize, req.PageToken))
	if err != nil {
		return nil, err
	}
	res := &teamv1.ListInvitationLinksResponse{NextPageToken: next}
	for i := range rows {
		res.Links = append(res.Links, m.link(&rows[i]))
	}
	return res, nil
}

// RevokeInvitationLink implements InvitationService.
func (m *Module) RevokeInvitationLink(ctx context.Context, req *teamv1.RevokeInvitationLinkRequest) (*teamv1.RevokeInvitationLinkResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	id, err := parse("link_id", req.LinkId, ids.Parse[ids.InvitationLink])
	if err != nil {
		return nil, err
	}
	row, err := m.options.Store.RevokeInvitationLink(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	return &teamv1.RevokeInvitationLinkResponse{Link: m.link(row)}, nil
}
