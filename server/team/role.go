package team

import (
	"context"
	"slices"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/server/convert"
	"github.com/logicspike/manager/store"
)

// ListPermissions implements RoleService.
func (m *Module) ListPermissions(context.Context, *teamv1.ListPermissionsRequest) (*teamv1.ListPermissionsResponse, error) {
	res := new(teamv1.ListPermissionsResponse)
	for _, p := range m.options.Permissions.All() {
		res.Permissions = append(res.Permissions, &teamv1.Permission{Name: p.Name, Description: p.Description, LeastRole: string(p.LeastRole)})
	}
	return res, nil
}

// CreateRole implements RoleService.
func (m *Module) CreateRole(ctx context.Context, req *teamv1.CreateRoleRequest) (*teamv1.CreateRoleResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	row, err := m.options.Store.CreateRole(ctx, workspace, req.Name, req.Description, req.Permissions)
	if err != nil {
		return nil, err
	}
	return &teamv1.CreateRoleResponse{Role: role(row)}, nil
}

// descriptions say what the built-in roles are for.
var descriptions = map[authz.Role]string{
	authz.Owner:  "Owns the workspace: may do everything, and delete it",
	authz.Admin:  "Manages the workspace and its team",
	authz.Member: "Works in the workspace",
	authz.Viewer: "Sees the workspace",
}

func (m *Module) builtIn(id authz.Role) *teamv1.Role {
	r := &teamv1.Role{Id: string(id), Name: string(id), Description: descriptions[id], BuiltIn: true}
	for _, p := range m.options.Permissions.HeldBy(id, nil) {
		r.Permissions = append(r.Permissions, p.Name)
	}
	return r
}

// GetRole implements RoleService.
func (m *Module) GetRole(ctx context.Context, req *teamv1.GetRoleRequest) (*teamv1.GetRoleResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	id := authz.Role(req.RoleId)
	if !id.Custom() {
		return &teamv1.GetRoleResponse{Role: m.builtIn(id)}, nil
	}
	row, err := m.options.Store.Team.Role(ctx, workspace, id)
	if err != nil {
		return nil, err
	}
	return &teamv1.GetRoleResponse{Role: role(row)}, nil
}

// ListRoles implements RoleService.
func (m *Module) ListRoles(ctx context.Context, req *teamv1.ListRolesRequest) (*teamv1.ListRolesResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	rows, err := m.options.Store.Team.Roles(ctx, workspace)
	if err != nil {
		return nil, err
	}
	res := new(teamv1.ListRolesResponse)
	for _, id := range authz.BuiltIn {
		res.Roles = append(res.Roles, m.builtIn(id))
	}
	for i := range rows {
		res.Roles = append(res.Roles, role(&rows[i]))
	}
	return res, nil
}

// UpdateRole implements RoleService.
func (m *Module) UpdateRole(ctx context.Context, req *teamv1.UpdateRoleRequest) (*teamv1.UpdateRoleResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	id, err := parse("role_id", req.RoleId, ids.Parse[ids.Role])
	if err != nil {
		return nil, err
	}
	var change store.RoleChange
	if change.Version, err = convert.Version(req.Etag); err != nil {
		return nil, err
	}
	paths := req.UpdateMask.GetPaths()
	for _, path := range paths {
		if !slices.Contains([]string{"name", "description", "permissions"}, path) {
			return nil, fault.Invalid("update_mask", "names a field that cannot be changed; name, description and permissions can")
		}
	}
	asked := func(path string, set bool) bool { return slices.Contains(paths, path) || len(paths) == 0 && set }
	if asked("name", req.Name != "") {
		if req.Name == "" {
			return nil, fault.Invalid("name", "must have 1 to 50 characters")
		}
		change.Name = &req.Name
	}
	if asked("description", req.Description != "") {
		change.Description = &req.Description
	}
	if asked("permissions", len(req.Permissions) > 0) {
		change.Permissions = &req.Permissions
	}
	if change.Name == nil && change.Description == nil && change.Permissions == nil {
		return nil, fault.Invalid("update_mask", "names nothing to change")
	}
	row, err := m.options.Store.UpdateRole(ctx, workspace, authz.Role(id.String()), change)
	if err != nil {
		return nil, err
	}
	return &teamv1.UpdateRoleResponse{Role: role(row)}, nil
}

// DeleteRole implements RoleService.
func (m *Module) DeleteRole(ctx context.Context, req *teamv1.DeleteRoleRequest) (*teamv1.DeleteRoleResponse, error) {
	workspace, err := workspaceID(req.WorkspaceId)
	if err != nil {
		return nil, err
	}
	id, err := parse("role_id", req.RoleId, ids.Parse[ids.Role])
	if err != nil {
		return nil, err
	}
	replaced, err := m.options.Store.DeleteRole(ctx, workspace, authz.Role(id.String()), authz.Role(req.ReplacementRole))
	if err != nil {
		return nil, err
	}
	return &teamv1.DeleteRoleResponse{ReplacedCount: int32(replaced)}, nil
}
