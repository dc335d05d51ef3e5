package e2e

import (
	"context"
	"fmt"
	"testing"

	"connectrpc.com/connect"
	"github.com/google/uuid"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// teamOperations are the transactions that change who belongs to a workspace, and as
// what.
var teamOperations = []operation{
	{name: "RegisterWithInvitation", repeatable: true, prepare: beginInvited},
	{name: "RegisterWithInvitation of an address that another account has not proven", settings: provenLater, repeatable: true,
		prepare: func(t *testing.T, s *stage) attempt {
			inv := s.invite(t, s.signedUp(t), testkit.NewEmail(), "")
			if _, err := s.Client("").Registration.Register(t.Context(), newRegistration(inv.Email)); err != nil {
				t.Fatal(err)
			}
			return s.entrance(t, inv, &teamv1.RegisterWithInvitationRequest{Token: inv.token})
		}},
	{name: "VerifyRegistration by a link", repeatable: true, prepare: func(t *testing.T, s *stage) attempt {
		owner := s.person(t)
		req := s.byLink(t, linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{MaxUses: 1}).Token, testkit.NewEmail())
		req.RequestId = uuid.NewString()
		return attempt{call: func(ctx context.Context, c *client.Client) (string, error) {
			res, err := c.Registration.VerifyRegistration(ctx, req)
			return accountIDs(res.GetAccount()), err
		}}
	}},
	{name: "AcceptInvitation", prepare: func(t *testing.T, s *stage) attempt {
		owner, p := s.person(t), s.person(t)
		return acceptance(p, s.invite(t, owner, p.Email, "admin").token)
	}},
	{name: "AcceptInvitation of a link", prepare: func(t *testing.T, s *stage) attempt {
		owner, p := s.person(t), s.person(t)
		return acceptance(p, linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{MaxUses: 1}).Token)
	}},
	{name: "CreateInvitation", prepare: func(t *testing.T, s *stage) attempt {
		owner := s.person(t)
		inv := s.invite(t, owner, testkit.NewEmail(), "") // which is replaced
		return attempt{token: owner.Token, call: func(ctx context.Context, c *client.Client) (string, error) {
			res, err := c.Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: owner.Workspace.Id, Email: inv.Email})
			return res.GetInvitation().GetId(), err
		}}
	}},
	{name: "RemoveMembership", prepare: func(t *testing.T, s *stage) attempt {
		owner := s.person(t)
		admin := s.member(t, owner, "admin")
		s.invite(t, admin, testkit.NewEmail(), "")
		linkTo(t, admin, &teamv1.CreateInvitationLinkRequest{})
		return attempt{token: owner.Token, call: func(ctx context.Context, c *client.Client) (string, error) {
			_, err := c.Memberships.RemoveMembership(ctx, &teamv1.RemoveMembershipRequest{WorkspaceId: owner.Workspace.Id, MembershipId: admin.Membership.Id})
			return "", err
		}}
	}},
	{name: "TransferOwnership", prepare: func(t *testing.T, s *stage) attempt {
		owner := s.person(t)
		heir := s.member(t, owner, "viewer")
		s.invite(t, owner, testkit.NewEmail(), "owner")
		return attempt{token: owner.Token, call: func(ctx context.Context, c *client.Client) (string, error) {
			res, err := c.Memberships.TransferOwnership(ctx, &teamv1.TransferOwnershipRequest{WorkspaceId: owner.Workspace.Id, MembershipId: heir.Membership.Id})
			return res.GetOwner().GetId(), err
		}}
	}},
	{name: "DeleteRole", prepare: func(t *testing.T, s *stage) attempt {
		owner := s.person(t)
		role := roleOf(t, owner, "Custom", inviter...)
		p := s.member(t, owner, role)
		s.invite(t, p, testkit.NewEmail(), role)
		linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{Role: role})
		return attempt{token: owner.Token, call: func(ctx context.Context, c *client.Client) (string, error) {
			_, err := c.Roles.DeleteRole(ctx, &teamv1.DeleteRoleRequest{WorkspaceId: owner.Workspace.Id, RoleId: role, ReplacementRole: "viewer"})
			return "", err
		}}
	}},
}

func beginInvited(t *testing.T, s *stage) attempt {
	inv := s.invite(t, s.person(t), testkit.NewEmail(), "")
	return s.entrance(t, inv, &teamv1.RegisterWithInvitationRequest{Token: inv.token})
}

// entrance is the registration of who was invited.
func (s *stage) entrance(t *testing.T, inv invited, req *teamv1.RegisterWithInvitationRequest) attempt {
	req.Password, req.RequestId = testkit.Password, uuid.NewString()
	return attempt{
		call: func(ctx context.Context, c *client.Client) (string, error) {
			res, err := c.Invitations.RegisterWithInvitation(ctx, req)
			return res.GetUserId() + " " + res.GetMembership().GetId(), err
		},
		check: func(t *testing.T) {
			if state := s.stateOf(t, inv.Invitation); state != "accepted" {
				t.Errorf("the invitation is %s", state)
			}
			if _, err := s.Client("").Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: inv.Email, Password: testkit.Password}); err != nil {
				t.Errorf("the account: %v", err)
			}
		},
	}
}

func acceptance(p *testkit.Person, token string) attempt {
	return attempt{token: p.Token, call: func(ctx context.Context, c *client.Client) (string, error) {
		res, err := c.Invitations.AcceptInvitation(ctx, &teamv1.AcceptInvitationRequest{Token: token})
		return res.GetMembership().GetId(), err
	}}
}

// TestABatchSurvivesAFailureOfAnyWrite lets each write of a batch fail in turn. When
// the database refuses it, the addresses are invited one by one; when the connection
// is cut, nothing is left and the call may be repeated. Either way each is mailed
// once.
func TestABatchSurvivesAFailureOfAnyWrite(t *testing.T) {
	t.Parallel()
	for _, state := range []string{"23514", cut} {
		t.Run(state, func(t *testing.T) {
			t.Parallel()
			s, owner := newTeam(t, testkit.Options{})
			sabotage := s.sabotage(t)
			for at, struck := 1, true; struck; at++ {
				req := &teamv1.BatchCreateInvitationsRequest{WorkspaceId: owner.Workspace.Id}
				for i := range 4 {
					req.Emails = append(req.Emails, fmt.Sprintf("guest%d.%d@example.com", at, i))
				}
				before := s.contents(t)
				sabotage.strike(t, blow{at, state})
				res, err := owner.Invitations.BatchCreateInvitations(t.Context(), req)
				struck = sabotage.rest(t)
				if struck && state == cut {
					if connect.CodeOf(err) != connect.CodeUnavailable {
						t.Fatalf("cut at write %d: %v, want unavailable", at, err)
					}
					s.requireContents(t, before)
					res, err = owner.Invitations.BatchCreateInvitations(t.Context(), req)
				}
				if err != nil {
					t.Fatalf("at write %d: %v", at, err)
				}
				for i, r := range res.Results {
					if r.GetInvitation() == nil || len(s.queue(t, req.Emails[i])) != 1 {
						t.Errorf("at write %d: %v; %d mails", at, r, len(s.queue(t, req.Emails[i])))
					}
				}
				if !struck && at < 4 {
					t.Errorf("only %d writes were found to fail", at-1)
				}
			}
			s.CheckInvariants(t)
		})
	}
}
