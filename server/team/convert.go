package team

import (
	"strconv"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/email"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store/team"
)

var storedStates = map[teamv1.InvitationState]team.InvitationState{
	teamv1.InvitationState_INVITATION_STATE_PENDING:  team.Pending,
	teamv1.InvitationState_INVITATION_STATE_ACCEPTED: team.Accepted,
	teamv1.InvitationState_INVITATION_STATE_DECLINED: team.Declined,
	teamv1.InvitationState_INVITATION_STATE_REVOKED:  team.Revoked,
	teamv1.InvitationState_INVITATION_STATE_EXPIRED:  team.Expired,
}

func invitationState(s team.InvitationState) teamv1.InvitationState {
	for written, stored := range storedStates {
		if stored == s {
			return written
		}
	}
	return teamv1.InvitationState_INVITATION_STATE_UNSPECIFIED
}

func (m *Module) invitation(i *team.Invitation) *teamv1.Invitation {
	return &teamv1.Invitation{
		Id:          i.ID.String(),
		WorkspaceId: i.WorkspaceID.String(),
		Email:       i.Address,
		Role:        string(i.Role),
		State:       invitationState(i.StateAt(m.options.Clock.Now())),
		InviterId:   i.InviterID.String(),
		CreateTime:  convert.Time(i.CreateTime),
		SendTime:    convert.Time(i.SendTime),
		ExpireTime:  convert.Time(i.ExpireTime),
		EndTime:     convert.Time(i.EndTime),

		InviterServiceAccountId: i.InviterServiceAccountID.String(),
	}
}

func (m *Module) link(l *team.Link) *teamv1.InvitationLink {
	return &teamv1.InvitationLink{
		Id:          l.ID.String(),
		WorkspaceId: l.WorkspaceID.String(),
		Role:        string(l.Role),
		State:       invitationState(l.StateAt(m.options.Clock.Now())),
		Domains:     l.Domains,
		MaxUses:     int32(l.MaxUses),
		UseCount:    int32(l.UseCount),
		CreatorId:   l.CreatorID.String(),
		CreateTime:  convert.Time(l.CreateTime),
		ExpireTime:  convert.Time(l.ExpireTime),

		CreatorServiceAccountId: l.CreatorServiceAccountID.String(),
	}
}

func (m *Module) received(i *team.Received) *teamv1.ReceivedInvitation {
	return &teamv1.ReceivedInvitation{
		Id:            i.ID.String(),
		WorkspaceId:   i.WorkspaceID.String(),
		WorkspaceName: i.WorkspaceName,
		InviterName:   i.InviterName,
		Role:          string(i.Role),
		RoleName:      nameOf(i.Role, i.RoleName),
		State:         invitationState(i.StateAt(m.options.Clock.Now())),
		ExpireTime:    convert.Time(i.ExpireTime),
	}
}

func (m *Module) receivedLink(l *team.ReceivedLink) *teamv1.ReceivedInvitation {
	return &teamv1.ReceivedInvitation{
		WorkspaceId:   l.WorkspaceID.String(),
		WorkspaceName: l.WorkspaceName,
		InviterName:   l.CreatorName,
		Role:          string(l.Role),
		RoleName:      nameOf(l.Role, l.RoleName),
		State:         invitationState(l.StateAt(m.options.Clock.Now())),
		ExpireTime:    convert.Time(l.ExpireTime),
	}
}

// nameOf returns what a role is called: a custom one by its name.
func nameOf(role authz.Role, custom string) string {
	if custom != "" {
		return custom
	}
	return string(role)
}

// failure is why an address of a batch was not invited.
func failure(err error) *teamv1.InvitationResult_Failure {
	f := fault.As(err)
	if f == nil { // the log has the cause
		f = fault.New(fault.Internal, fault.InternalFailure, "the server failed")
	}
	return &teamv1.InvitationResult_Failure{Failure: &teamv1.InvitationFailure{Reason: string(f.Reason), Message: f.Message}}
}

// linkDomains reads the domains of a link.
func linkDomains(given []string) ([]string, error) {
	domains := make([]string, 0, len(given))
	for i, s := range given {
		d, err := email.Domain(s)
		if err != nil {
			return nil, fault.Invalid("domains["+strconv.Itoa(i)+"]", err.Error())
		}
		domains = append(domains, d)
	}
	return domains, nil
}

func role(r *team.Role) *teamv1.Role {
	return &teamv1.Role{
		Id:          string(r.ID),
		Name:        r.Name,
		Description: r.Description,
		Permissions: r.Permissions,
		CreateTime:  convert.Time(r.CreateTime),
		UpdateTime:  convert.Time(r.UpdateTime),
		Etag:        convert.ETag(r.Version),
	}
}

var joinStates = map[teamv1.JoinRequestState]team.JoinRequestState{
	teamv1.JoinRequestState_JOIN_REQUEST_STATE_PENDING:  team.JoinPending,
	teamv1.JoinRequestState_JOIN_REQUEST_STATE_APPROVED: team.JoinApproved,
	teamv1.JoinRequestState_JOIN_REQUEST_STATE_REJECTED: team.JoinRejected,
}

func joinRequest(j *team.JoinRequest) *teamv1.JoinRequest {
	if j == nil {
		return nil
	}
	m := &teamv1.JoinRequest{
		Id:          j.ID.String(),
		WorkspaceId: j.WorkspaceID.String(),
		UserId:      j.UserID.String(),
		DisplayName: j.DisplayName,
		Email:       j.Address,
		Message:     j.Message,
		CreateTime:  convert.Time(j.CreateTime),
		DecideTime:  convert.Time(j.DecideTime),
	}
	for written, stored := range joinStates {
		if stored == j.State {
			m.State = written
		}
	}
	return m
}
