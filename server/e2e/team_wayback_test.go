package e2e

import (
	"testing"
	"time"

	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// TestWhoLeavesWhileDeactivatedIsNotLetInByALink: to leave, or to delete the account,
// is no way around the deactivation.
func TestWhoLeavesWhileDeactivatedIsNotLetInByALink(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{Role: "viewer"})
	p := s.member(t, owner, "member")
	if err := deactivate(t, owner, p.Membership.Id); err != nil {
		t.Fatal(err)
	}
	_, err := accept(t, p, link.Token)
	because(t, "deactivated", err, "MEMBERSHIP_DEACTIVATED")
	if err := leave(t, p, owner.Workspace.Id); err != nil {
		t.Fatal(err)
	}
	_, err = accept(t, p, link.Token)
	because(t, "left while deactivated", err, "MEMBER_REMOVED")
	mustAccept(t, p, s.invite(t, owner, p.Email, "member").token)

	// Who leaves by themselves may come back.
	if err := leave(t, p, owner.Workspace.Id); err != nil {
		t.Fatal(err)
	}
	mustAccept(t, p, link.Token)
	s.CheckInvariants(t)
}

// TestWhoMakesAnOwnerHasSignedInRecently: what only owners may do needs it, so the
// way to become one does.
func TestWhoMakesAnOwnerHasSignedInRecently(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	p := s.member(t, owner, "member")
	s.Clock.Advance(time.Hour)
	s.refuses(t, "UpdateMembership", "REAUTHENTICATION_REQUIRED", func() error { return setRole(t, owner, p.Membership.Id, "owner") })
	s.refuses(t, "CreateInvitation", "REAUTHENTICATION_REQUIRED", func() error {
		_, err := owner.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{
			WorkspaceId: owner.Workspace.Id, Email: testkit.NewEmail(), Role: "owner",
		})
		return err
	})
	because(t, "another role", setRole(t, owner, p.Membership.Id, "admin"), "")
	s.SignIn(t, owner)
	because(t, "after signing in", setRole(t, owner, p.Membership.Id, "owner"), "")
	s.CheckInvariants(t)
}

// TestNobodyEndsAnInvitationThatTheyCouldNotMake: to replace is to revoke.
func TestNobodyEndsAnInvitationThatTheyCouldNotMake(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	admin := s.member(t, owner, "admin")
	inv := s.invite(t, owner, testkit.NewEmail(), "owner")
	s.refuses(t, "an owner's invitation", "ROLE_NOT_GRANTABLE", func() error {
		_, err := admin.Invitations.CreateInvitation(t.Context(), &teamv1.CreateInvitationRequest{
			WorkspaceId: owner.Workspace.Id, Email: inv.Email, Role: "viewer",
		})
		return err
	})
	res, err := admin.Invitations.BatchCreateInvitations(t.Context(), &teamv1.BatchCreateInvitationsRequest{
		WorkspaceId: owner.Workspace.Id, Emails: []string{inv.Email, testkit.NewEmail()}, Role: "viewer",
	})
	if err != nil || res.Results[0].GetFailure().GetReason() != "ROLE_NOT_GRANTABLE" || res.Results[1].GetInvitation() == nil {
		t.Errorf("a batch: %v, %v", res, err)
	}
	s.refuses(t, "to revoke it", "ROLE_NOT_GRANTABLE", func() error {
		_, err := admin.Invitations.RevokeInvitation(t.Context(), &teamv1.RevokeInvitationRequest{WorkspaceId: owner.Workspace.Id, InvitationId: inv.Id})
		return err
	})
	if state := s.stateOf(t, inv.Invitation); state != "pending" {
		t.Errorf("it is %s", state)
	}
	s.CheckInvariants(t)
}

// TestAWorkspaceHasAHundredLinksAtMost: each of them is to be looked at when a member
// is demoted.
func TestAWorkspaceHasAHundredLinksAtMost(t *testing.T) {
	t.Parallel()
	_, owner := newTeam(t, testkit.Options{})
	var last *teamv1.CreateInvitationLinkResponse
	for range 100 {
		last = linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{})
	}
	one := &teamv1.CreateInvitationLinkRequest{WorkspaceId: owner.Workspace.Id}
	_, err := owner.Invitations.CreateInvitationLink(t.Context(), one)
	because(t, "the 101st", err, "RATE_LIMITED")
	if _, err := owner.Invitations.RevokeInvitationLink(t.Context(), &teamv1.RevokeInvitationLinkRequest{
		WorkspaceId: owner.Workspace.Id, LinkId: last.Link.Id,
	}); err != nil {
		t.Fatal(err)
	}
	_, err = owner.Invitations.CreateInvitationLink(t.Context(), one)
	because(t, "once one is revoked", err, "")
}

// TestTheCodeOfAnInvitationIsGoodForADay: six digits are not for long.
func TestTheCodeOfAnInvitationIsGoodForADay(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	byCode := func(inv invited) func() error {
		return func() error {
			_, err := s.Client("").Invitations.RegisterWithInvitation(t.Context(), &teamv1.RegisterWithInvitationRequest{
				Email: inv.Email, Code: inv.code, Password: testkit.Password,
			})
			return err
		}
	}
	first := s.invite(t, owner, testkit.NewEmail(), "member")
	s.Clock.Advance(time.Minute)
	second := s.invite(t, owner, testkit.NewEmail(), "member")
	s.Clock.Advance(24*time.Hour - time.Minute)
	s.refuses(t, "a day later", "CODE_INVALID", byCode(first))
	because(t, "just before", byCode(second)(), "")
	if _, err := s.enter(t, first.token); err != nil {
		t.Errorf("the link, a day later: %v", err)
	}
	s.CheckInvariants(t)
}
