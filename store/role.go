package store

import (
	"context"
	"slices"
	"strconv"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/team"
)

// maxRoles is how many custom roles a workspace has at most.
const maxRoles = 100

// RoleChange is what a custom role is to be; nil leaves it as it is.
type RoleChange struct {
	Name        *string
	Description *string
	Permissions *[]string
	Version     int64 // must be the present one, unless 0
}

// CreateRole creates a custom role, of which all is given.
//
// Errors: fault ROLE_NAME_TAKEN, ROLE_NOT_GRANTABLE, RATE_LIMITED; FIELD_INVALID for a
// permission.
func (s *Store) CreateRole(ctx context.Context, workspace ids.Workspace, name, description string, permissions []string) (role *team.Role, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, workspace)
		if err != nil {
			return err
		}
		if err := t.checkPermissions(permissions); err != nil {
			return err
		}
		present, err := t.team.Roles(ctx, workspace)
		if err != nil {
			return err
		}
		if len(present) >= maxRoles {
			return fault.New(fault.ResourceExhausted, fault.RateLimited, "a workspace has "+strconv.Itoa(maxRoles)+" custom roles at most")
		}
		role = &team.Role{
			WorkspaceID: workspace, ID: authz.Role(ids.New[ids.Role]().String()), Name: name, Description: description,
			Permissions: sorted(permissions), Version: 1, CreateTime: t.now, UpdateTime: t.now,
		}
		if err := t.covers(a, role.ID, role.Permissions); err != nil {
			return err
		}
		if err := t.team.InsertRole(ctx, role); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{
			WorkspaceID: workspace, Action: "role.created", TargetID: string(role.ID),
			Details: map[string]any{"name": name, "permissions": role.Permissions},
		})
	})
	return role, err
}

// UpdateRole changes a custom role, for all who have it.
//
// Errors: as CreateRole; fault NOT_FOUND, ETAG_MISMATCH.
func (s *Store) UpdateRole(ctx context.Context, workspace ids.Workspace, id authz.Role, c RoleChange) (role *team.Role, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, workspace)
		if err != nil {
			return err
		}
		if role, err = t.team.Role(ctx, workspace, id); err != nil {
			return err
		}
		if err := t.covers(a, id, role.Permissions); err != nil {
			return err
		}
		if c.Version != 0 && c.Version != role.Version {
			return errETag()
		}
		details := map[string]any{}
		set := func(field string, to *string, value *string) {
			if value != nil && *value != *to {
				details[field] = map[string]any{"before": *to, "after": *value}
				*to = *value
			}
		}
		set("name", &role.Name, c.Name)
		set("description", &role.Description, c.Description)
		if c.Permissions != nil {
			if err := t.checkPermissions(*c.Permissions); err != nil {
				return err
			}
			after := sorted(*c.Permissions)
			if err := t.covers(a, id, after); err != nil {
				return err
			}
			if !slices.Equal(after, role.Permissions) {
				details["permissions"] = map[string]any{"before": role.Permissions, "after": after}
				role.Permissions = after
			}
		}
		if len(details) == 0 {
			return nil
		}
		if err := t.team.UpdateRole(ctx, role, t.now); err != nil {
			return err
		}
		if err := t.revokeUncovered(ctx, workspace, details); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{WorkspaceID: workspace, Action: "role.updated", TargetID: string(id), Details: details})
	})
	return role, err
}

// DeleteRole removes a custom role, and gives those who have it the replacement. It
// returns how many members were among them.
//
// Errors: fault NOT_FOUND, ROLE_NOT_GRANTABLE; ROLE_IN_USE without a replacement;
// FIELD_INVALID for the replacement.
func (s *Store) DeleteRole(ctx context.Context, workspace ids.Workspace, id, replacement authz.Role) (replaced int, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		a, err := t.lockTeam(ctx, workspace)
		if err != nil {
			return err
		}
		role, err := t.team.Role(ctx, workspace, id)
		if err != nil {
			return err
		}
		if err := t.covers(a, id, role.Permissions); err != nil {
			return err
		}
		details := map[string]any{"name": role.Name, "permissions": role.Permissions}
		replacement := replacement // this try's own
		if replacement == "" {
			used, err := t.team.RoleInUse(ctx, workspace, id)
			if err != nil {
				return err
			}
			if used {
				return fault.New(fault.FailedPrecondition, fault.RoleInUse, "the role is in use; name its replacement").WithField("replacement_role")
			}
			replacement = authz.Viewer // of what ended, and is kept for a while
		} else if replacement == id || replacement == authz.Owner {
			return fault.Invalid("replacement_role", "is the role itself, or owner")
		} else if err := t.mayGrant(ctx, a, "replacement_role", replacement); err != nil {
			return err
		} else {
			details["replacement"] = replacement
		}
		if replaced, err = t.team.ReplaceRole(ctx, workspace, id, replacement, t.now); err != nil {
			return err
		}
		if err := t.team.DeleteRole(ctx, workspace, id); err != nil {
			return err
		}
		if err := t.revokeUncovered(ctx, workspace, details); err != nil {
			return err
		}
		details["replaced_count"] = replaced
		return t.record(ctx, audit.Event{WorkspaceID: workspace, Action: "role.deleted", TargetID: string(id), Details: details})
	})
	return replaced, err
}

// sorted returns the names in order; never nil, which the database has no place for.
func sorted(names []string) []string {
	list := append([]string{}, names...)
	slices.Sort(list)
	return list
}

// checkPermissions reports whether a custom role can name the permissions.
//
// Errors: fault FIELD_INVALID.
func (t *tx) checkPermissions(names []string) error {
	for i, name := range names {
		field := "permissions[" + strconv.Itoa(i) + "]"
		p, ok := t.store.options.Permissions.Permission(name)
		if !ok {
			return fault.Invalid(field, "is not a permission")
		}
		if !authz.Admin.AtLeast(p.LeastRole) {
			return fault.Invalid(field, "is the owners' alone")
		}
	}
	return nil
}

// revokeUncovered revokes the invitations and links of a locked workspace that who
// made them could not make any more, after a role was changed, and notes them in the
// event's details. They may be of members who have that role, or give it.
func (t *tx) revokeUncovered(ctx context.Context, workspace ids.Workspace, details map[string]any) error {
	granters, err := t.team.Granters(ctx, workspace)
	if err != nil {
		return err
	}
	var revoked []string
	count := 0
	note := func(one map[string]any) {
		if names, ok := one["revoked"].([]string); ok {
			revoked = append(revoked, names...)
			count += one["revoked_count"].(int)
		}
	}
	for i := range granters {
		custom, err := t.team.Permissions(ctx, workspace, granters[i].Role)
		if err != nil {
			return err
		}
		one := map[string]any{}
		if err := t.revokeGrants(ctx, &granters[i], &acting{role: granters[i].Role, custom: custom}, one); err != nil {
			return err
		}
		note(one)
	}
	accounts, err := t.team.ServiceAccountGranters(ctx, workspace)
	if err != nil {
		return err
	}
	for _, account := range accounts {
		one := map[string]any{}
		if err := t.revokeGrantsOfAccount(ctx, workspace, account, one); err != nil {
			return err
		}
		note(one)
	}
	if count > 0 {
		details["revoked"], details["revoked_count"] = revoked[:min(len(revoked), maxNamed)], count
	}
	return nil
}
