package store_test

import (
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/postgres"
	"github.com/logicspike/manager/store/team"
)

func (w *teamWorld) role(workspace ids.Workspace, name string, permissions ...string) *team.Role {
	w.t.Helper()
	r := &team.Role{
		WorkspaceID: workspace, ID: authz.Role(ids.New[ids.Role]().String()), Name: name, Description: "of the test", Permissions: permissions,
		Version: 1, CreateTime: now, UpdateTime: now,
	}
	w.call("InsertRole", r)
	return r
}

func names(roles []team.Role) []string {
	var list []string
	for _, r := range roles {
		list = append(list, r.Name)
	}
	return list
}

func (w *teamWorld) roles() {
	reader := w.role(w.w, "Reader", "a.get", "b.get")
	first := w.role(w.w, "Ännchen's", "a.get")
	none := w.role(w.w, "Nothing", []string{}...)
	elsewhere := w.role(w.own, "READER", []string{}...)
	w.want(reader, "Role", w.w, reader.ID)
	w.want([]string{"a.get", "b.get"}, "Permissions", w.w, reader.ID)
	w.want([]string(nil), "Permissions", w.w, authz.Admin)
	if got := w.call("Permissions", w.w, none.ID)[0].([]string); len(got) != 0 {
		w.t.Errorf("a role of nothing has %v", got)
	}
	for what, id := range map[string]authz.Role{"of another workspace": elsewhere.ID, "that never was": "rol_x", "that is no role": "root"} {
		if _, err := w.repository.Permissions(w.t.Context(), w.w, id); !fault.Has(err, fault.Missing) {
			w.t.Errorf("Permissions of a role %s: %v", what, err)
		}
	}
	inTurn(w.t, "Roles", names(w.call("Roles", w.w)[0].([]team.Role)), "Ännchen's", "Nothing", "Reader")
	w.refused("a name that is taken but for its case and accents", "roles_name_unique", func() error {
		return w.repository.InsertRole(w.t.Context(), &team.Role{
			WorkspaceID: w.w, ID: authz.Role(ids.New[ids.Role]().String()), Name: "REÁDER", CreateTime: now, UpdateTime: now, Permissions: []string{},
		})
	})
	first.Name, first.Permissions, first.Description = "Second", []string{"b.get"}, ""
	w.call("UpdateRole", first, now.Add(time.Minute))
	if first.Version != 2 || !first.UpdateTime.Equal(now.Add(time.Minute)) {
		w.t.Errorf("UpdateRole left %+v", first)
	}
	w.want(first, "Role", w.w, first.ID)
	w.refused("another one's name", "roles_name_unique", func() error {
		taken := *first
		taken.Name = "reader"
		return w.repository.UpdateRole(w.t.Context(), &taken, now)
	})

	w.want(false, "RoleInUse", w.w, reader.ID)
	w.call("SetRole", w.member, reader.ID, now)
	w.want(w.member, "MembershipOf", w.w, w.user)
	w.want(true, "RoleInUse", w.w, reader.ID)
	w.want(false, "RoleInUse", w.w, first.ID)
	w.refused("a role of another workspace", "memberships_role_fkey", func() error {
		m := *w.member
		return w.repository.SetRole(w.t.Context(), &m, elsewhere.ID, now)
	})
	w.refused("to delete a role that a member has", "memberships_role_fkey", func() error {
		return w.repository.DeleteRole(w.t.Context(), w.w, reader.ID)
	})
	w.want([]team.Role{*reader}, "RolesOf", w.user, []ids.Workspace{w.own, w.w})
	inTurn(w.t, "RolesOf elsewhere", w.call("RolesOf", w.user, []ids.Workspace{w.own})[0].([]team.Role))
	inTurn(w.t, "members with a custom role", users(w.call("List", w.w, team.Filter{Role: reader.ID}, postgres.Page{})[0]), w.user)

	// All that have the role get another one: members, invitations, also those that
	// ended, and links.
	inv := w.invite(w.w, "role@example.com", reader.ID, w.owner)
	w.want(true, "RoleInUse", w.w, reader.ID)
	ended := w.invite(w.w, "ended@example.com", reader.ID, w.owner)
	ended.State, ended.EndTime = team.Declined, now
	w.call("UpdateInvitation", ended)
	l := w.link(w.w, reader.ID, w.owner)
	w.want(1, "ReplaceRole", w.w, reader.ID, first.ID, now.Add(time.Hour))
	w.want(false, "RoleInUse", w.w, reader.ID)
	w.want(0, "ReplaceRole", w.w, reader.ID, first.ID, now)
	w.member.Role, w.member.UpdateTime = first.ID, now.Add(time.Hour)
	w.member.Version++
	w.want(w.member, "MembershipOf", w.w, w.user)
	inv.Role, ended.Role, l.Role = first.ID, first.ID, first.ID
	w.want(inv, "Invitation", inv.ID)
	w.want(ended, "Invitation", ended.ID)
	w.want(l, "Link", l.ID)
	w.call("DeleteRole", w.w, reader.ID)
	inTurn(w.t, "Roles without the deleted one", names(w.call("Roles", w.w)[0].([]team.Role)), "Nothing", "Second")

	w.want(1, "ReplaceRole", w.w, first.ID, authz.Admin, now)
	w.member.Role, w.member.UpdateTime = authz.Admin, now
	w.member.Version++
	w.run("DELETE FROM team.invitations")
	w.run("DELETE FROM team.invitation_links")

	// A pending invitation, and a link that is not revoked, are a use by themselves.
	inv = w.invite(w.w, "role@example.com", first.ID, w.owner)
	w.want(true, "RoleInUse", w.w, first.ID)
	inv.State, inv.EndTime = team.Revoked, now
	w.call("UpdateInvitation", inv)
	w.want(false, "RoleInUse", w.w, first.ID)
	l = w.link(w.w, first.ID, w.owner)
	w.want(true, "RoleInUse", w.w, first.ID)
	l.RevokeTime = now
	w.call("UpdateLink", l)
	w.want(false, "RoleInUse", w.w, first.ID)
	w.run("DELETE FROM team.invitations")
	w.run("DELETE FROM team.invitation_links")
}
