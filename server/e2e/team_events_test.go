package e2e

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// TestEachChangeOfATeamIsOneEvent makes every change there is, and looks who is said
// to have changed what, from what to what.
func TestEachChangeOfATeamIsOneEvent(t *testing.T) {
	t.Parallel()
	srv, resolver := withDNS(t, testkit.Options{WithoutJobs: true})
	s := &stage{srv}
	owner := s.person(t)
	workspace := owner.Workspace.Id
	p, guest, linked := s.member(t, owner, "viewer"), s.person(t), s.person(t)
	check := func(action string, actor *testkit.Person, target func() string, details map[string]any, call func() error) {
		t.Helper()
		e := s.eventAfter(t, owner, call)
		if e.Action != action || e.ActorUserId != actor.User.GetId() || e.TargetId != target() || e.WorkspaceId != workspace {
			t.Errorf("%s: the event is %v, want the actor %s and the target %s", action, e, actor.User.GetId(), target())
		}
		got := e.Details.AsMap()
		for key, want := range details {
			if diff := cmp.Diff(want, got[key]); diff != "" {
				t.Errorf("%s: the detail %s (-want +got):\n%s", action, key, diff)
			}
		}
	}
	is := func(s string) func() string { return func() string { return s } }
	from := func(before, after any) map[string]any { return map[string]any{"before": before, "after": after} }
	nobody := &testkit.Person{}

	var inv invited
	id := func() string { return inv.Id }
	check("invitation.created", owner, id, map[string]any{"role": "viewer"}, func() error { inv = s.invite(t, owner, guest.Email, "viewer"); return nil })
	first := inv
	check("invitation.created", owner, id, map[string]any{"role": "member", "replaced": first.Id}, func() error { inv = s.invite(t, owner, guest.Email, "member"); return nil })
	check("invitation.resent", owner, id, nil, func() error {
		res, err := owner.Invitations.ResendInvitation(t.Context(), &teamv1.ResendInvitationRequest{WorkspaceId: workspace, InvitationId: inv.Id})
		inv = s.mailed(t, res.GetInvitation())
		return err
	})
	check("invitation.declined", nobody, id, nil, func() error {
		_, err := s.Client("").Invitations.DeclineInvitation(t.Context(), &teamv1.DeclineInvitationRequest{Token: inv.token})
		return err
	})
	inv = s.invite(t, owner, guest.Email, "viewer")
	check("invitation.revoked", owner, id, nil, func() error {
		_, err := owner.Invitations.RevokeInvitation(t.Context(), &teamv1.RevokeInvitationRequest{WorkspaceId: workspace, InvitationId: inv.Id})
		return err
	})
	check("invitation.renewal_requested", nobody, id, nil, func() error {
		_, err := s.Client("").Invitations.RequestInvitationRenewal(t.Context(), &teamv1.RequestInvitationRenewalRequest{Token: inv.token})
		return err
	})
	var m *teamv1.Membership
	member := func() string { return m.Id }
	inv = s.invite(t, owner, guest.Email, "viewer")
	check("membership.created", guest, member, map[string]any{"user_id": guest.User.Id, "role": "viewer", "invitation_id": inv.Id}, func() error {
		m = mustAccept(t, guest, inv.token)
		return nil
	})
	var link *teamv1.CreateInvitationLinkResponse
	check("invitation_link.created", owner, func() string { return link.Link.Id }, map[string]any{"role": "viewer", "max_uses": 3.0}, func() error {
		link = linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{Role: "viewer", MaxUses: 3})
		return nil
	})
	check("membership.created", linked, member, map[string]any{"user_id": linked.User.Id, "role": "viewer", "invitation_link_id": link.Link.Id}, func() error {
		m = mustAccept(t, linked, link.Token)
		return nil
	})
	check("invitation_link.revoked", owner, is(link.Link.Id), nil, func() error { return revokeLink(t, owner, link.Link.Id) })
	check("membership.role_changed", owner, member, map[string]any{"role": from("viewer", "admin")}, func() error { return setRole(t, owner, m.Id, "admin") })
	check("membership.deactivated", owner, member, map[string]any{"role": "admin"}, func() error { return deactivate(t, owner, m.Id) })
	check("membership.reactivated", owner, member, map[string]any{"role": "admin"}, func() error { return reactivate(t, owner, m.Id) })
	links := linkTo(t, &testkit.Person{Client: linked.Client, Workspace: owner.Workspace}, &teamv1.CreateInvitationLinkRequest{})
	check("membership.deleted", owner, member, map[string]any{"user_id": linked.User.Id, "role": "admin", "revoked": []any{links.Link.Id}}, func() error {
		return removeMember(t, owner, m.Id)
	})
	check("membership.deleted", guest, func() string { return m.Id }, map[string]any{"user_id": guest.User.Id, "role": "viewer"}, func() error {
		m = mustAccept(t, guest, inv.token) // which is theirs, and changes nothing
		return leave(t, guest, workspace)
	})
	var role string
	roleID := func() string { return role }
	check("role.created", owner, roleID, map[string]any{"name": "Custom", "permissions": []any{"membership.get"}}, func() error {
		role = roleOf(t, owner, "Custom", "membership.get")
		return nil
	})
	check("role.updated", owner, roleID, map[string]any{"name": from("Custom", "Other"), "permissions": from([]any{"membership.get"}, []any{"event.list", "role.list"})}, func() error {
		_, err := owner.Roles.UpdateRole(t.Context(), &teamv1.UpdateRoleRequest{WorkspaceId: workspace, RoleId: role, Name: "Other", Permissions: []string{"role.list", "event.list"}})
		return err
	})
	if err := setRole(t, owner, p.Membership.Id, role); err != nil {
		t.Fatal(err)
	}
	check("role.deleted", owner, roleID, map[string]any{"name": "Other", "replacement": "member", "replaced_count": 1.0}, func() error {
		_, err := owner.Roles.DeleteRole(t.Context(), &teamv1.DeleteRoleRequest{WorkspaceId: workspace, RoleId: role, ReplacementRole: "member"})
		return err
	})
	var joe *testkit.Person
	var ask *teamv1.JoinRequest
	joe, ask = s.askToJoin(t, resolver, owner, "acme.com")
	asked := func() string { return ask.Id }
	check("join_request.rejected", owner, asked, map[string]any{"user_id": joe.User.Id}, func() error {
		_, err := owner.JoinRequests.RejectJoinRequest(t.Context(), &teamv1.RejectJoinRequestRequest{WorkspaceId: workspace, JoinRequestId: ask.Id})
		return err
	})
	jim := s.Person("jim@acme.com", s.registered(t, "jim@acme.com"))
	check("join_request.created", jim, asked, map[string]any{"user_id": jim.User.Id}, func() error {
		res, err := jim.JoinRequests.CreateJoinRequest(t.Context(), &teamv1.CreateJoinRequestRequest{WorkspaceId: workspace})
		ask = res.GetJoinRequest()
		return err
	})
	check("membership.created", owner, member, map[string]any{"user_id": jim.User.Id, "role": "viewer", "join_request_id": ask.Id}, func() error {
		res, err := owner.JoinRequests.ApproveJoinRequest(t.Context(), &teamv1.ApproveJoinRequestRequest{WorkspaceId: workspace, JoinRequestId: ask.Id, Role: "viewer"})
		m = res.GetMembership()
		return err
	})
	check("workspace.ownership_transferred", owner, is(workspace), map[string]any{
		"owner":  map[string]any{"membership_id": m.Id, "before": "viewer", "after": "owner"},
		"caller": map[string]any{"membership_id": owner.Membership.Id, "before": "owner", "after": "admin"},
	}, func() error {
		_, err := owner.Memberships.TransferOwnership(t.Context(), &teamv1.TransferOwnershipRequest{WorkspaceId: workspace, MembershipId: m.Id})
		return err
	})
	s.CheckInvariants(t)
}
