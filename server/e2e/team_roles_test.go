package e2e

import (
	"slices"
	"testing"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/internal/testkit/fake"
)

// inviter is what a custom role holds that may do all to a team, but less than an
// admin elsewhere.
var inviter = []string{
	"workspace.get", "membership.get", "membership.update", "membership.remove", "role.list", "role.manage",
	"invitation.create", "invitation.list", "invitation.revoke", "join_request.list", "join_request.review", "api_key.list",
}

// grants are all ways to give a role to somebody, by a caller who may use them all.
// The targets are a member, and somebody whose request to join is pending.
func (s *stage) grants(t *testing.T, p *testkit.Person, member, joining, role string) map[string]func() error {
	t.Helper()
	workspace := p.Workspace.Id
	return map[string]func() error{
		"UpdateMembership": func() error { return setRole(t, p, member, role) },
		"UpdateMembership of themselves": func() error {
			return setRole(t, p, p.Membership.Id, role)
		},
		"CreateInvitation": func() error {
			_, err := p.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{WorkspaceId: workspace, Email: "x@example.com", Role: role})
			return err
		},
		"BatchCreateInvitations": func() error {
			_, err := p.Invitations.BatchCreateInvitations(t.Context(), &teamv1.BatchCreateInvitationsRequest{WorkspaceId: workspace, Emails: []string{"x@example.com"}, Role: role})
			return err
		},
		"CreateInvitationLink": func() error {
			_, err := p.Invitations.CreateInvitationLink(t.Context(), &teamv1.CreateInvitationLinkRequest{WorkspaceId: workspace, Role: role})
			return err
		},
		"ApproveJoinRequest": func() error {
			_, err := p.JoinRequests.ApproveJoinRequest(t.Context(), &teamv1.ApproveJoinRequestRequest{WorkspaceId: workspace, JoinRequestId: joining, Role: role})
			return err
		},
	}
}

// askToJoin has somebody ask to join a workspace that a domain entitles them to.
func (s *stage) askToJoin(t *testing.T, resolver *fake.DNS, owner *testkit.Person, domain string) (*testkit.Person, *teamv1.JoinRequest) {
	t.Helper()
	d := mustVerifyDomain(t, resolver, owner, domain)
	if _, err := enroll(t, owner, d, request, ""); err != nil {
		t.Fatal(err)
	}
	p := s.Person("joe@"+domain, s.registered(t, "joe@"+domain))
	res, err := p.JoinRequests.CreateJoinRequest(t.Context(), &teamv1.CreateJoinRequestRequest{WorkspaceId: owner.Workspace.Id})
	if err != nil {
		t.Fatal(err)
	}
	return p, res.JoinRequest
}

func TestAnAdminTouchesNoOwner(t *testing.T) {
	t.Parallel()
	srv, resolver := withDNS(t, testkit.Options{WithoutJobs: true})
	s := &stage{srv}
	owner := s.person(t)
	second, idle := s.member(t, owner, "owner"), s.member(t, owner, "owner")
	if err := deactivate(t, owner, idle.Membership.Id); err != nil {
		t.Fatal(err)
	}
	admin, member := s.member(t, owner, "admin"), s.member(t, owner, "member")
	_, joining := s.askToJoin(t, resolver, owner, "acme.com")
	for what, call := range s.grants(t, admin, member.Membership.Id, joining.Id, "owner") {
		reason := "ROLE_NOT_GRANTABLE"
		if what == "CreateInvitationLink" {
			reason = "FIELD_INVALID"
		}
		s.refuses(t, what, reason, call)
	}
	for _, target := range []*testkit.Person{owner, second, idle} {
		id := target.Membership.Id
		s.refuses(t, "an owner's role", "ROLE_NOT_GRANTABLE", func() error { return setRole(t, admin, id, "viewer") })
		s.refuses(t, "an owner's role, to the same", "ROLE_NOT_GRANTABLE", func() error { return setRole(t, admin, id, "owner") })
		s.refuses(t, "deactivate an owner", "ROLE_NOT_GRANTABLE", func() error { return deactivate(t, admin, id) })
		s.refuses(t, "reactivate an owner", "ROLE_NOT_GRANTABLE", func() error { return reactivate(t, admin, id) })
		s.refuses(t, "remove an owner", "ROLE_NOT_GRANTABLE", func() error { return removeMember(t, admin, id) })
	}
	s.refuses(t, "transfer the workspace", "PERMISSION_MISSING", func() error {
		_, err := admin.Memberships.TransferOwnership(t.Context(), &teamv1.TransferOwnershipRequest{WorkspaceId: owner.Workspace.Id, MembershipId: admin.Membership.Id})
		return err
	})
	inv := s.invite(t, owner, testkit.NewEmail(), "owner")
	s.refuses(t, "mail an owner's invitation again", "ROLE_NOT_GRANTABLE", func() error {
		_, err := admin.Invitations.ResendInvitation(t.Context(), &teamv1.ResendInvitationRequest{WorkspaceId: owner.Workspace.Id, InvitationId: inv.Id})
		return err
	})
	role := roleOf(t, owner, "Custom", "membership.get")
	s.refuses(t, "a role's replacement", "FIELD_INVALID", func() error {
		_, err := admin.Roles.DeleteRole(t.Context(), &teamv1.DeleteRoleRequest{WorkspaceId: owner.Workspace.Id, RoleId: role, ReplacementRole: "owner"})
		return err
	})
	// Of an owner nobody but an owner decides; the invitation makes one.
	if res, err := s.enter(t, inv.token); err != nil || res.Membership.Role != "owner" {
		t.Errorf("an owner's invitation: %v, %v", res, err)
	}
	because(t, "an admin makes a member an admin", setRole(t, admin, member.Membership.Id, "admin"), "")
	because(t, "an admin deactivates an admin", deactivate(t, admin, member.Membership.Id), "")
	s.CheckInvariants(t)
}

// TestNobodyGivesWhatTheyDoNotHold has somebody with a custom role, who may do all to
// the team, reach for a permission that they lack.
func TestNobodyGivesWhatTheyDoNotHold(t *testing.T) {
	t.Parallel()
	srv, resolver := withDNS(t, testkit.Options{WithoutJobs: true})
	s := &stage{srv}
	owner := s.person(t)
	workspace := owner.Workspace.Id
	_, joining := s.askToJoin(t, resolver, owner, "acme.com")
	own := roleOf(t, owner, "Inviter", inviter...)
	more := roleOf(t, owner, "More", "membership.get", "event.list")
	less := roleOf(t, owner, "Less", "membership.get")
	p, member := s.member(t, owner, own), s.member(t, owner, less)
	admin, other := s.member(t, owner, "admin"), s.member(t, owner, more)
	for _, role := range []string{"owner", "admin", more} {
		for what, call := range s.grants(t, p, member.Membership.Id, joining.Id, role) {
			reason := "ROLE_NOT_GRANTABLE"
			if what == "CreateInvitationLink" && role == "owner" {
				reason = "FIELD_INVALID"
			}
			s.refuses(t, what+" as "+role, reason, call)
		}
	}
	for _, target := range []*testkit.Person{owner, admin, other} {
		id := target.Membership.Id
		s.refuses(t, "change who holds more", "ROLE_NOT_GRANTABLE", func() error { return setRole(t, p, id, less) })
		s.refuses(t, "deactivate who holds more", "ROLE_NOT_GRANTABLE", func() error { return deactivate(t, p, id) })
		s.refuses(t, "remove who holds more", "ROLE_NOT_GRANTABLE", func() error { return removeMember(t, p, id) })
	}
	update := func(req *teamv1.UpdateRoleRequest) func() error {
		req.WorkspaceId = workspace
		return func() error { _, err := p.Roles.UpdateRole(t.Context(), req); return err }
	}
	remove := func(id, replacement string) func() error {
		return func() error {
			_, err := p.Roles.DeleteRole(t.Context(), &teamv1.DeleteRoleRequest{WorkspaceId: workspace, RoleId: id, ReplacementRole: replacement})
			return err
		}
	}
	s.refuses(t, "create a role that holds more", "ROLE_NOT_GRANTABLE", func() error {
		_, err := p.Roles.CreateRole(t.Context(), &teamv1.CreateRoleRequest{WorkspaceId: workspace, Name: "Mine", Permissions: []string{"event.list"}})
		return err
	})
	s.refuses(t, "raise their own role", "ROLE_NOT_GRANTABLE", update(&teamv1.UpdateRoleRequest{RoleId: own, Permissions: append(slices.Clone(inviter), "event.list")}))
	s.refuses(t, "raise the role of another", "ROLE_NOT_GRANTABLE", update(&teamv1.UpdateRoleRequest{RoleId: less, Permissions: []string{"domain.manage"}}))
	s.refuses(t, "lower a role that holds more", "ROLE_NOT_GRANTABLE", update(&teamv1.UpdateRoleRequest{RoleId: more, Permissions: []string{"membership.get"}}))
	s.refuses(t, "rename a role that holds more", "ROLE_NOT_GRANTABLE", update(&teamv1.UpdateRoleRequest{RoleId: more, Name: "Renamed"}))
	s.refuses(t, "delete a role that holds more", "ROLE_NOT_GRANTABLE", remove(more, less))
	for _, replacement := range []string{"admin", more} {
		s.refuses(t, "replace a role by "+replacement, "ROLE_NOT_GRANTABLE", remove(less, replacement))
	}
	inv := s.invite(t, owner, testkit.NewEmail(), more)
	s.refuses(t, "mail an invitation again that gives more", "ROLE_NOT_GRANTABLE", func() error {
		_, err := p.Invitations.ResendInvitation(t.Context(), &teamv1.ResendInvitationRequest{WorkspaceId: workspace, InvitationId: inv.Id})
		return err
	})
	// What they hold they may give, in all these ways.
	for what, call := range s.grants(t, p, member.Membership.Id, joining.Id, less) {
		if what != "UpdateMembership of themselves" {
			because(t, what+" as a role that holds less", call(), "")
		}
	}
	because(t, "replace a role by one that holds less", remove(less, "viewer")(), "")
	because(t, "remove who holds less", removeMember(t, p, member.Membership.Id), "")
	s.CheckInvariants(t)
}

func TestACustomRoleHoldsNothingThatIsTheOwnersAlone(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	role := roleOf(t, owner, "Custom", "membership.get")
	for _, name := range []string{"workspace.delete", "workspace.transfer", "no.permission", ""} {
		s.refuses(t, "create with "+name, "FIELD_INVALID", func() error {
			_, err := owner.Roles.CreateRole(t.Context(), &teamv1.CreateRoleRequest{WorkspaceId: owner.Workspace.Id, Name: "Other", Permissions: []string{name}})
			return err
		})
		s.refuses(t, "update to "+name, "FIELD_INVALID", func() error {
			_, err := owner.Roles.UpdateRole(t.Context(), &teamv1.UpdateRoleRequest{WorkspaceId: owner.Workspace.Id, RoleId: role, Permissions: []string{name}})
			return err
		})
	}
	// Nor if the database says so, as after a change of the rules.
	p := s.member(t, owner, role)
	if _, err := s.SQL.Exec(t.Context(), "UPDATE team.roles SET permissions = permissions || '{workspace.delete}'"); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "delete the workspace", "PERMISSION_MISSING", func() error { return remove(t, p, owner.Workspace.Id, "x") })
	empty := roleOf(t, owner, "Empty")
	if err := setRole(t, owner, p.Membership.Id, empty); err != nil {
		t.Fatal(err)
	}
	because(t, "with a role that holds nothing", func() error { _, err := get(t, p, owner.Workspace.Id); return err }(), "PERMISSION_MISSING")
	s.refuses(t, "a role's name, in capital letters", "ROLE_NAME_TAKEN", func() error {
		_, err := owner.Roles.CreateRole(t.Context(), &teamv1.CreateRoleRequest{WorkspaceId: owner.Workspace.Id, Name: "EMPTY"})
		return err
	})
	s.CheckInvariants(t)
}

func TestARoleInUseIsReplaced(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	workspace := owner.Workspace.Id
	remove := func(role, replacement string) (int32, error) {
		res, err := owner.Roles.DeleteRole(t.Context(), &teamv1.DeleteRoleRequest{WorkspaceId: workspace, RoleId: role, ReplacementRole: replacement})
		return res.GetReplacedCount(), err
	}
	refuses := func(what, role string) {
		t.Helper()
		s.refuses(t, what, "ROLE_IN_USE", func() error { _, err := remove(role, ""); return err })
	}
	members := roleOf(t, owner, "Of members", "membership.get")
	p, idle := s.member(t, owner, members), s.member(t, owner, members)
	if err := deactivate(t, owner, idle.Membership.Id); err != nil {
		t.Fatal(err)
	}
	invitations := roleOf(t, owner, "Of an invitation", "membership.get")
	invitee := s.person(t)
	inv := s.invite(t, owner, invitee.Email, invitations)
	links := roleOf(t, owner, "Of a link", "membership.get")
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{Role: links})
	refuses("a role of members", members)
	refuses("a role of an invitation", invitations)
	refuses("a role of a link", links)
	for _, replacement := range []string{members, "rol_01m84xh61aee3v97y61598j6kb", "owner"} {
		s.refuses(t, "replaced by "+replacement, "FIELD_INVALID", func() error { _, err := remove(members, replacement); return err })
	}
	if n, err := remove(members, "viewer"); err != nil || n != 2 {
		t.Errorf("DeleteRole of members = %d, %v", n, err)
	}
	for _, member := range []*testkit.Person{p, idle} {
		if m := memberOf(t, owner, member.Membership.Id); m.Role != "viewer" || m.Etag == member.Membership.Etag {
			t.Errorf("the member: %v", m)
		}
	}
	if n, err := remove(invitations, "admin"); err != nil || n != 0 {
		t.Errorf("DeleteRole of an invitation = %d, %v", n, err)
	}
	if m := mustAccept(t, invitee, inv.token); m.Role != "admin" {
		t.Errorf("who accepts it: %v", m)
	}
	if n, err := remove(links, "viewer"); err != nil || n != 0 {
		t.Errorf("DeleteRole of a link = %d, %v", n, err)
	}
	if m := mustAccept(t, s.person(t), link.Token); m.Role != "viewer" {
		t.Errorf("who joins by it: %v", m)
	}
	// What has ended holds no role back.
	unused := roleOf(t, owner, "Of the past", "membership.get")
	past := s.invite(t, owner, testkit.NewEmail(), unused)
	if _, err := owner.Invitations.RevokeInvitation(t.Context(), &teamv1.RevokeInvitationRequest{WorkspaceId: workspace, InvitationId: past.Id}); err != nil {
		t.Fatal(err)
	}
	if err := revokeLink(t, owner, linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{Role: unused}).Link.Id); err != nil {
		t.Fatal(err)
	}
	if n, err := remove(unused, ""); err != nil || n != 0 {
		t.Errorf("DeleteRole of a role of the past = %d, %v", n, err)
	}
	notFound(t, "deleted twice", func() error { _, err := remove(unused, ""); return err }())
	s.CheckInvariants(t)
}

// TestWhatSomebodyMadeDiesWithWhatTheyMay ends, in every way, that somebody may
// invite, and uses what they had made before: also to come back by it themselves.
func TestWhatSomebodyMadeDiesWithWhatTheyMay(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	type made struct {
		owner, maker, guest *testkit.Person
		role, given         string // the maker's, and the one that they give
	}
	for what, c := range map[string]struct {
		end func(m made) error
		// keeps is whether what gives the role viewer stays.
		keeps bool
	}{
		"removed":     {func(m made) error { return removeMember(t, m.owner, m.maker.Membership.Id) }, false},
		"left":        {func(m made) error { return leave(t, m.maker, m.owner.Workspace.Id) }, false},
		"deactivated": {func(m made) error { return deactivate(t, m.owner, m.maker.Membership.Id) }, false},
		"demoted":     {func(m made) error { return setRole(t, m.owner, m.maker.Membership.Id, "member") }, false},
		"their role may no longer invite": {func(m made) error {
			_, err := m.owner.Roles.UpdateRole(t.Context(), &teamv1.UpdateRoleRequest{
				WorkspaceId: m.owner.Workspace.Id, RoleId: m.role, Permissions: []string{"membership.get", "role.list", "workspace.get"},
			})
			return err
		}, false},
		"their role is deleted": {func(m made) error {
			_, err := m.owner.Roles.DeleteRole(t.Context(), &teamv1.DeleteRoleRequest{
				WorkspaceId: m.owner.Workspace.Id, RoleId: m.role, ReplacementRole: "member",
			})
			return err
		}, false},
		"their role lacks what they gave": {func(m made) error {
			_, err := m.owner.Roles.UpdateRole(t.Context(), &teamv1.UpdateRoleRequest{
				WorkspaceId: m.owner.Workspace.Id, RoleId: m.role, Permissions: slices.DeleteFunc(slices.Clone(inviter), func(p string) bool { return p == "invitation.revoke" }),
			})
			return err
		}, true},
		"what they gave holds more": {func(m made) error {
			_, err := m.owner.Roles.UpdateRole(t.Context(), &teamv1.UpdateRoleRequest{
				WorkspaceId: m.owner.Workspace.Id, RoleId: m.given, Permissions: []string{"invitation.revoke", "domain.manage"},
			})
			return err
		}, true},
		"what they gave is replaced by more": {func(m made) error {
			_, err := m.owner.Roles.DeleteRole(t.Context(), &teamv1.DeleteRoleRequest{
				WorkspaceId: m.owner.Workspace.Id, RoleId: m.given, ReplacementRole: "admin",
			})
			return err
		}, true},
	} {
		t.Run(what, func(t *testing.T) {
			m := made{owner: s.person(t), guest: s.person(t)}
			m.role, m.given = roleOf(t, m.owner, "Inviter", inviter...), roleOf(t, m.owner, "Given", "invitation.revoke")
			m.maker = s.member(t, m.owner, m.role)
			inv, low := s.invite(t, m.maker, m.guest.Email, m.given), s.invite(t, m.maker, testkit.NewEmail(), "viewer")
			link := linkTo(t, m.maker, &teamv1.CreateInvitationLinkRequest{Role: m.given})
			lowLink := linkTo(t, m.maker, &teamv1.CreateInvitationLinkRequest{Role: "viewer"})
			owners := linkTo(t, m.owner, &teamv1.CreateInvitationLinkRequest{Role: m.given})
			if err := c.end(m); err != nil {
				t.Fatal(err)
			}
			s.refuses(t, "their invitation", "INVITATION_REVOKED", func() error { _, err := accept(t, m.guest, inv.token); return err })
			s.refuses(t, "their link", "INVITATION_REVOKED", func() error { _, err := accept(t, m.guest, link.Token); return err })
			reason := "INVITATION_REVOKED"
			if c.keeps {
				reason = ""
			}
			because(t, "their link that gives little", func() error { _, err := accept(t, s.person(t), lowLink.Token); return err }(), reason)
			because(t, "their invitation that gives little", func() error { _, err := s.enter(t, low.token); return err }(), reason)
			if what == "removed" || what == "left" {
				s.refuses(t, "they come back by their own link", "INVITATION_REVOKED", func() error { _, err := accept(t, m.maker, link.Token); return err })
			}
			if _, err := accept(t, s.person(t), owners.Token); err != nil {
				t.Errorf("the owner's link: %v", err)
			}
			s.CheckInvariants(t)
		})
	}
	// A deleted account too.
	owner := s.person(t)
	admin := s.member(t, owner, "admin")
	link := linkTo(t, admin, &teamv1.CreateInvitationLinkRequest{})
	inv := s.invite(t, admin, testkit.NewEmail(), "")
	p := s.person(t)
	if err := deleteSelf(t, admin); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "the link of a deleted account", "INVITATION_REVOKED", func() error { _, err := accept(t, p, link.Token); return err })
	s.refuses(t, "the invitation of a deleted account", "INVITATION_REVOKED", func() error { _, err := s.enter(t, inv.token); return err })
	s.CheckInvariants(t)
}
