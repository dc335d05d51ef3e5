package team

import (
	"context"
	"strconv"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
)

// permission returns a permission that a request names.
func (m *Module) permission(field, name string) (authz.Permission, error) {
	p, ok := m.options.Permissions.Permission(name)
	if !ok {
		return p, fault.Invalid(field, "is not a permission")
	}
	return p, nil
}

// CheckPermission implements AuthorizationService.
func (m *Module) CheckPermission(ctx context.Context, req *teamv1.CheckPermissionRequest) (*teamv1.CheckPermissionResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	p, err := m.permission("permission", req.Permission)
	if err != nil {
		return nil, err
	}
	session := authz.SessionFrom(ctx)
	member, err := m.options.Store.Membership(ctx, workspace, session.User)
	if err != nil && !fault.Has(err, fault.Missing) {
		return nil, err
	}
	return &teamv1.CheckPermissionResponse{Allowed: !member.Deleted && !member.ClosedTo(session) && member.Holds(p)}, nil
}

// BatchCheckPermissions implements AuthorizationService.
func (m *Module) BatchCheckPermissions(ctx context.Context, req *teamv1.BatchCheckPermissionsRequest) (*teamv1.BatchCheckPermissionsResponse, error) {
	workspaces := make([]ids.Workspace, len(req.Checks))
	permissions := make([]authz.Permission, len(req.Checks))
	for i, c := range req.Checks {
		at := "checks[" + strconv.Itoa(i) + "]."
		var err error
		if workspaces[i], err = parse(at+"workspace_id", c.WorkspaceId, ids.Parse[ids.Workspace]); err != nil {
			return nil, err
		}
		if permissions[i], err = m.permission(at+"permission", c.Permission); err != nil {
			return nil, err
		}
	}
	members, err := m.options.Store.Access(ctx, authz.SessionFrom(ctx), workspaces)
	if err != nil {
		return nil, err
	}
	res := &teamv1.BatchCheckPermissionsResponse{Allowed: make([]bool, len(req.Checks))}
	for i := range req.Checks {
		res.Allowed[i] = members[workspaces[i]].Holds(permissions[i])
	}
	return res, nil
}

// ExplainAccess implements AuthorizationService.
func (m *Module) ExplainAccess(ctx context.Context, req *teamv1.ExplainAccessRequest) (*teamv1.ExplainAccessResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	p, err := m.permission("permission", req.Permission)
	if err != nil {
		return nil, err
	}
	user := authz.CallerFrom(ctx).User
	if req.UserId == "" && user.IsZero() {
		return nil, fault.Invalid("user_id", "is required of a service account, which is no user")
	}
	if req.UserId != "" {
		if user, err = parse("user_id", req.UserId, ids.Parse[ids.User]); err != nil {
			return nil, err
		}
	}
	res := &teamv1.ExplainAccessResponse{LeastRole: string(p.LeastRole), Description: p.Description}
	member, role, err := m.options.Store.MemberWithRole(ctx, workspace, user)
	if fault.Has(err, fault.Missing) {
		res.Decision = teamv1.AccessDecision_ACCESS_DECISION_MEMBERSHIP_MISSING
		return res, nil
	}
	if err != nil {
		return nil, err
	}
	res.MembershipId, res.Role, res.RoleName = member.ID.String(), string(member.Role), nameOf(member.Role, role.Name)
	switch {
	case !member.Active():
		res.Decision = teamv1.AccessDecision_ACCESS_DECISION_MEMBERSHIP_DEACTIVATED
	case !p.HeldBy(member.Role, role.Permissions):
		res.Decision = teamv1.AccessDecision_ACCESS_DECISION_PERMISSION_MISSING
	default:
		res.Allowed, res.Decision = true, teamv1.AccessDecision_ACCESS_DECISION_GRANTED
	}
	return res, nil
}
