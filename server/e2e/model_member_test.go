package e2e

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"pgregory.net/rapid"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
)

// The steps of the model that are about members and roles.

// memberOfAny picks a member of a workspace, or of another one when it has none.
func (m *model) memberOfAny(rt *rapid.T, w *modelWorkspace, good func(*modelMember) bool) *modelMember {
	from := w.members
	if len(from) == 0 || rapid.IntRange(0, 15).Draw(rt, "a stranger") == 15 {
		from = nil
		for _, other := range m.workspaces {
			from = append(from, other.members...)
		}
	}
	if len(from) == 0 {
		return nil
	}
	return likely(rt, "member", from, good)
}

// mayChange is may, and then what a change of a member meets.
func (m *model) mayChange(s *modelSession, w *modelWorkspace, permission string, target *modelMember) string {
	reason := m.may(s, w, permission)
	switch {
	case reason != "":
	case !slices.Contains(w.members, target):
		return unknownHere
	case !m.covers(w, w.member(s.user), target.role):
		return tooMuch
	}
	return reason
}

func (m *model) setRole(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	target := m.memberOfAny(rt, w, func(*modelMember) bool { return true })
	if target == nil {
		return
	}
	role := m.anyRole(rt, w)
	want := m.mayChange(s, w, "membership.update", target)
	if want == "" {
		want = m.mayGrant(s, w, "membership.update", role)
	}
	if want == "" && role != authz.Owner && w.lastOwner(target) {
		want = needsOwner
	}
	_, err := m.as(s).Memberships.UpdateMembership(m.t.Context(), &teamv1.UpdateMembershipRequest{WorkspaceId: w.id, MembershipId: target.id, Role: string(role)})
	m.answered(rt, "UpdateMembership", err, want)
	if want == "" {
		target.role = role
		m.revokeGrants(w)
	}
}

func (m *model) deactivate(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	target := m.memberOfAny(rt, w, func(o *modelMember) bool { return !o.deactivated && o.user != s.user })
	if target == nil {
		return
	}
	want := m.mayChange(s, w, "membership.update", target)
	if want == "" && target.user == s.user {
		want = badField
	}
	_, err := m.as(s).Memberships.DeactivateMembership(m.t.Context(), &teamv1.DeactivateMembershipRequest{WorkspaceId: w.id, MembershipId: target.id})
	m.answered(rt, "DeactivateMembership", err, want)
	if want == "" {
		target.deactivated = true
		m.endPrograms(w, target.user)
		m.revokeGrants(w)
	}
}

func (m *model) reactivate(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	target := m.memberOfAny(rt, w, func(o *modelMember) bool { return o.deactivated })
	if target == nil {
		return
	}
	want := m.mayChange(s, w, "membership.update", target)
	_, err := m.as(s).Memberships.ReactivateMembership(m.t.Context(), &teamv1.ReactivateMembershipRequest{WorkspaceId: w.id, MembershipId: target.id})
	m.answered(rt, "ReactivateMembership", err, want)
	if want == "" {
		target.deactivated = false
	}
}

func (m *model) removeMember(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	target := m.memberOfAny(rt, w, func(*modelMember) bool { return true })
	if target == nil {
		return
	}
	want := m.mayChange(s, w, "membership.remove", target)
	if want == "" && w.lastOwner(target) {
		want = needsOwner
	}
	_, err := m.as(s).Memberships.RemoveMembership(m.t.Context(), &teamv1.RemoveMembershipRequest{WorkspaceId: w.id, MembershipId: target.id})
	m.answered(rt, "RemoveMembership", err, want)
	if want == "" {
		m.left(w, target, target.user != s.user)
	}
}

// left ends a membership. Who was removed, or left while deactivated, is not let in by
// a link.
func (m *model) left(w *modelWorkspace, member *modelMember, removed bool) {
	if removed {
		w.team.removed = append(w.team.removed, member.user.email)
	}
	w.members = slices.DeleteFunc(w.members, func(o *modelMember) bool { return o == member })
	m.endPrograms(w, member.user)
	m.revokeGrants(w)
}

func (m *model) leave(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	want, member := m.authenticate(s), w.member(s.user)
	switch {
	case want != "":
	case member == nil || !w.live():
		want = unknownHere
	case w.lastOwner(member):
		want = needsOwner
	}
	_, err := m.as(s).Memberships.LeaveWorkspace(m.t.Context(), &teamv1.LeaveWorkspaceRequest{WorkspaceId: w.id})
	m.answered(rt, "LeaveWorkspace", err, want)
	if want == "" {
		m.left(w, member, member.deactivated)
	}
}

func (m *model) transfer(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	target := m.memberOfAny(rt, w, func(o *modelMember) bool { return !o.deactivated && o.user != s.user })
	if target == nil {
		return
	}
	own := m.anyRole(rt, w)
	want := m.may(s, w, "workspace.transfer")
	switch {
	case want != "":
	case m.now-s.auth > modelRecent:
		want = proveAgain
	case !slices.Contains(w.members, target):
		want = unknownHere
	case target.user == s.user:
		want = badField
	case target.deactivated:
		want = switchedOff
	case own == authz.Owner || !w.exists(own):
		want = badField
	}
	_, err := m.as(s).Memberships.TransferOwnership(m.t.Context(), &teamv1.TransferOwnershipRequest{WorkspaceId: w.id, MembershipId: target.id, OwnRole: string(own)})
	m.answered(rt, "TransferOwnership", err, want)
	if want == "" {
		target.role, w.member(s.user).role = authz.Owner, own
		m.revokeGrants(w)
	}
}

// somePermissions picks what a custom role is to hold, sorted.
func somePermissions(rt *rapid.T) []string {
	return pick(rt, "permissions", [][]string{
		{},
		{"membership.get", "workspace.get"},
		{"invitation.create", "membership.get"},
		{"invitation.create", "invitation.list", "invitation.revoke", "role.list"},
		{"invitation.create", "membership.get", "membership.remove", "membership.update", "role.list", "role.manage", "workspace.get"},
		{"membership.get", "workspace.delete"},
		{"membership.get", "no.such"},
	})
}

// addRole has the owner of a workspace make a role that manages members and roles.
func (m *model) addRole(rt *rapid.T, w *modelWorkspace) authz.Role {
	role := &modelRole{name: "Manager", permissions: []string{
		"invitation.create", "membership.get", "membership.remove", "membership.update", "role.list", "role.manage",
	}}
	res, err := m.as(m.sessions[0]).Roles.CreateRole(m.t.Context(), &teamv1.CreateRoleRequest{WorkspaceId: w.id, Name: role.name, Permissions: role.permissions})
	m.answered(rt, "CreateRole", err, "")
	role.id = authz.Role(res.Role.Id)
	w.team.roles = append(w.team.roles, role)
	return role.id
}

// permissionsFit reports whether a custom role can hold the permissions, and whether
// the member may say so.
func (m *model) permissionsFit(w *modelWorkspace, member *modelMember, permissions []string) string {
	for _, p := range permissions {
		if least, known := m.permissions[p]; !known || least == authz.Owner {
			return badField
		}
	}
	for _, p := range permissions {
		if !m.holds(w, member.role, p) {
			return tooMuch
		}
	}
	return ""
}

func (m *model) createRole(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	permissions := somePermissions(rt)
	want := m.may(s, w, "role.manage")
	if want == "" {
		want = m.permissionsFit(w, w.member(s.user), permissions)
	}
	name := fmt.Sprint("Role ", m.names)
	if m.names++; want == "" && len(w.team.roles) > 0 && rapid.IntRange(0, 7).Draw(rt, "a name that is taken") == 7 {
		name, want = w.team.roles[0].name, nameTaken
	}
	res, err := m.as(s).Roles.CreateRole(m.t.Context(), &teamv1.CreateRoleRequest{WorkspaceId: w.id, Name: name, Permissions: permissions})
	m.answered(rt, "CreateRole", err, want)
	if want == "" {
		w.team.roles = append(w.team.roles, &modelRole{authz.Role(res.Role.Id), name, permissions})
	}
}

// customRole picks a custom role of the workspace, or of another one when it has none.
func (m *model) customRole(rt *rapid.T, w *modelWorkspace) *modelRole {
	from := w.team.roles
	if len(from) == 0 || rapid.IntRange(0, 15).Draw(rt, "another's role") == 15 {
		for _, other := range m.workspaces {
			from = append(slices.Clone(from), other.team.roles...)
		}
	}
	if len(from) == 0 {
		return nil
	}
	return pick(rt, "custom role", from)
}

// mayManage is what a change of a custom role meets first.
func (m *model) mayManage(s *modelSession, w *modelWorkspace, role *modelRole) string {
	reason := m.may(s, w, "role.manage")
	switch {
	case reason != "":
	case !slices.Contains(w.team.roles, role):
		return unknownHere
	case !m.covers(w, w.member(s.user), role.id):
		return tooMuch
	}
	return reason
}

func (m *model) updateRole(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	role := m.customRole(rt, w)
	if role == nil {
		return
	}
	permissions := somePermissions(rt)
	want := m.mayManage(s, w, role)
	if want == "" {
		want = m.permissionsFit(w, w.member(s.user), permissions)
	}
	_, err := m.as(s).Roles.UpdateRole(m.t.Context(), &teamv1.UpdateRoleRequest{
		WorkspaceId: w.id, RoleId: string(role.id), Permissions: permissions, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"permissions"}},
	})
	m.answered(rt, "UpdateRole", err, want)
	if want == "" {
		role.permissions = permissions
		m.revokeGrants(w)
	}
}

func (m *model) deleteRole(rt *rapid.T) {
	s := m.session(rt)
	w := m.workspaceOf(rt, s.user, false)
	role := m.customRole(rt, w)
	if role == nil {
		return
	}
	replacement := authz.Role("")
	if pick(rt, "replacement", []string{"none", "one"}) == "one" {
		replacement = m.anyRole(rt, w)
	}
	want := m.mayManage(s, w, role)
	switch {
	case want != "":
	case replacement == "":
		if w.uses(role.id) {
			want = roleUsed
		}
	case replacement == role.id || replacement == authz.Owner:
		want = badField
	default:
		want = m.mayGrant(s, w, "role.manage", replacement)
	}
	res, err := m.as(s).Roles.DeleteRole(m.t.Context(), &teamv1.DeleteRoleRequest{WorkspaceId: w.id, RoleId: string(role.id), ReplacementRole: string(replacement)})
	m.answered(rt, "DeleteRole", err, want)
	if want != "" {
		return
	}
	if replacement == "" {
		replacement = authz.Viewer
	}
	replaced := 0
	for _, member := range w.members {
		if member.role == role.id {
			member.role = replacement
			replaced++
		}
	}
	same(rt, "replaced members", int(res.ReplacedCount), replaced)
	for _, i := range w.team.invitations {
		if i.role == role.id {
			i.role = replacement
		}
	}
	for _, l := range w.team.links {
		if l.role == role.id {
			l.role = replacement
		}
	}
	w.team.roles = slices.DeleteFunc(w.team.roles, func(r *modelRole) bool { return r == role })
	m.revokeGrants(w)
}

// uses reports whether something that has not ended has a role.
func (w *modelWorkspace) uses(role authz.Role) bool {
	return slices.ContainsFunc(w.members, func(o *modelMember) bool { return o.role == role }) ||
		slices.ContainsFunc(w.team.invitations, func(i *modelInvitation) bool { return i.role == role && i.state == "pending" && !i.gone }) ||
		slices.ContainsFunc(w.team.links, func(l *modelLink) bool { return l.role == role && !l.revoked && !l.gone })
}

// ask asks what a session may do: one question, and all at once.
func (m *model) ask(rt *rapid.T) {
	s := m.session(rt)
	want := m.authenticate(s)
	var checks []*teamv1.PermissionCheck
	var answers []bool
	for _, w := range m.workspaces {
		for _, p := range []string{"membership.get", "invitation.create", "role.manage", "workspace.delete"} {
			checks = append(checks, &teamv1.PermissionCheck{WorkspaceId: w.id, Permission: p})
			answers = append(answers, m.allowed(w, s.user, p))
		}
	}
	checks, answers = checks[:min(len(checks), 200)], answers[:min(len(answers), 200)]
	all, err := m.as(s).Authorization.BatchCheckPermissions(m.t.Context(), &teamv1.BatchCheckPermissionsRequest{Checks: checks})
	m.answered(rt, "BatchCheckPermissions", err, want)
	n := rapid.IntRange(0, len(checks)-1).Draw(rt, "question")
	one, err := m.as(s).Authorization.CheckPermission(m.t.Context(), &teamv1.CheckPermissionRequest{
		WorkspaceId: checks[n].WorkspaceId, Permission: checks[n].Permission,
	})
	m.answered(rt, "CheckPermission", err, want)
	if want == "" {
		same(rt, "permissions", all.Allowed, answers)
		same(rt, "permission", one.Allowed, answers[n])
	}
}

// rarely does something one time in four: what ends a run's best part.
func rarely(do func(*rapid.T)) func(*rapid.T) {
	return func(rt *rapid.T) {
		if rapid.IntRange(0, 3).Draw(rt, "after all") == 3 {
			do(rt)
		}
	}
}
