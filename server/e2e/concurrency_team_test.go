package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store/team"
)

// teamwork are the calls about a team that a crowd makes at random. Each returns the
// error of the last one that it needed.
var teamwork = []struct {
	name string
	call func(context.Context, *teamCall) error
}{
	{"CreateInvitation", func(ctx context.Context, c *teamCall) error {
		_, err := c.me.Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: c.workspace, Email: c.other.Email, Role: c.role(ctx)})
		return err
	}},
	{"BatchCreateInvitations", func(ctx context.Context, c *teamCall) error {
		_, err := c.me.Invitations.BatchCreateInvitations(ctx, &teamv1.BatchCreateInvitationsRequest{
			WorkspaceId: c.workspace, Emails: []string{c.other.Email, c.crowd.somebody(c.random).Email, testkit.NewEmail()}, Role: c.role(ctx),
		})
		return err
	}},
	{"AcceptInvitation", func(ctx context.Context, c *teamCall) error {
		list, err := c.me.Invitations.ListReceivedInvitations(ctx, &teamv1.ListReceivedInvitationsRequest{})
		if err != nil || len(list.Invitations) == 0 {
			return err
		}
		_, err = c.me.Invitations.AcceptInvitation(ctx, &teamv1.AcceptInvitationRequest{InvitationId: pickAt(c.random, list.Invitations).Id})
		return err
	}},
	{"DeclineInvitation", func(ctx context.Context, c *teamCall) error {
		list, err := c.me.Invitations.ListReceivedInvitations(ctx, &teamv1.ListReceivedInvitationsRequest{})
		if err != nil || len(list.Invitations) == 0 {
			return err
		}
		_, err = c.me.Invitations.DeclineInvitation(ctx, &teamv1.DeclineInvitationRequest{InvitationId: pickAt(c.random, list.Invitations).Id})
		return err
	}},
	{"RegisterWithInvitation", func(ctx context.Context, c *teamCall) error {
		mails, err := readQueue(ctx, c.crowd.srv, "", 20)
		if err != nil {
			return nil // this test's own reading of the queue was cut short
		}
		for _, m := range mails {
			if m.Template == "invitation" {
				_, err = c.me.Invitations.RegisterWithInvitation(ctx, &teamv1.RegisterWithInvitationRequest{Token: m.Data["token"], Password: testkit.Password})
				return err
			}
		}
		return nil
	}},
	{"ResendInvitation", func(ctx context.Context, c *teamCall) error {
		return c.onInvitation(ctx, func(id string) error {
			_, err := c.me.Invitations.ResendInvitation(ctx, &teamv1.ResendInvitationRequest{WorkspaceId: c.workspace, InvitationId: id})
			return err
		})
	}},
	{"RevokeInvitation", func(ctx context.Context, c *teamCall) error {
		return c.onInvitation(ctx, func(id string) error {
			_, err := c.me.Invitations.RevokeInvitation(ctx, &teamv1.RevokeInvitationRequest{WorkspaceId: c.workspace, InvitationId: id})
			return err
		})
	}},
	{"CreateInvitationLink", func(ctx context.Context, c *teamCall) error {
		res, err := c.me.Invitations.CreateInvitationLink(ctx, &teamv1.CreateInvitationLinkRequest{WorkspaceId: c.workspace, Role: c.role(ctx), MaxUses: int32(c.random.IntN(3))})
		if err == nil {
			c.crowd.mu.Lock()
			c.crowd.links = append(c.crowd.links, res.Token)
			c.crowd.mu.Unlock()
		}
		return err
	}},
	{"AcceptInvitation by link", func(ctx context.Context, c *teamCall) error {
		token := c.crowd.link(c.random)
		if token == "" {
			return nil
		}
		_, err := c.me.Invitations.AcceptInvitation(ctx, &teamv1.AcceptInvitationRequest{Token: token})
		return err
	}},
	{"RegisterWithInvitation by link", func(ctx context.Context, c *teamCall) error {
		token := c.crowd.link(c.random)
		if token == "" {
			return nil
		}
		_, err := c.me.Invitations.RegisterWithInvitation(ctx, &teamv1.RegisterWithInvitationRequest{Token: token, Email: testkit.NewEmail(), Password: testkit.Password})
		return err
	}},
	{"RevokeInvitationLink", func(ctx context.Context, c *teamCall) error {
		list, err := c.me.Invitations.ListInvitationLinks(ctx, &teamv1.ListInvitationLinksRequest{WorkspaceId: c.workspace})
		if err != nil || len(list.Links) == 0 {
			return err
		}
		_, err = c.me.Invitations.RevokeInvitationLink(ctx, &teamv1.RevokeInvitationLinkRequest{WorkspaceId: c.workspace, LinkId: pickAt(c.random, list.Links).Id})
		return err
	}},
	{"UpdateMembership", func(ctx context.Context, c *teamCall) error {
		return c.onMember(ctx, func(id string) error {
			_, err := c.me.Memberships.UpdateMembership(ctx, &teamv1.UpdateMembershipRequest{WorkspaceId: c.workspace, MembershipId: id, Role: c.role(ctx)})
			return err
		})
	}},
	{"DeactivateMembership", func(ctx context.Context, c *teamCall) error {
		return c.onMember(ctx, func(id string) error {
			_, err := c.me.Memberships.DeactivateMembership(ctx, &teamv1.DeactivateMembershipRequest{WorkspaceId: c.workspace, MembershipId: id})
			return err
		})
	}},
	{"ReactivateMembership", func(ctx context.Context, c *teamCall) error {
		return c.onMember(ctx, func(id string) error {
			_, err := c.me.Memberships.ReactivateMembership(ctx, &teamv1.ReactivateMembershipRequest{WorkspaceId: c.workspace, MembershipId: id})
			return err
		})
	}},
	{"RemoveMembership", func(ctx context.Context, c *teamCall) error {
		return c.onMember(ctx, func(id string) error {
			_, err := c.me.Memberships.RemoveMembership(ctx, &teamv1.RemoveMembershipRequest{WorkspaceId: c.workspace, MembershipId: id})
			return err
		})
	}},
	{"LeaveWorkspace", func(ctx context.Context, c *teamCall) error {
		_, err := c.me.Memberships.LeaveWorkspace(ctx, &teamv1.LeaveWorkspaceRequest{WorkspaceId: c.workspace})
		return err
	}},
	{"TransferOwnership", func(ctx context.Context, c *teamCall) error {
		return c.onMember(ctx, func(id string) error {
			_, err := c.me.Memberships.TransferOwnership(ctx, &teamv1.TransferOwnershipRequest{WorkspaceId: c.workspace, MembershipId: id})
			return err
		})
	}},
	{"CreateRole", func(ctx context.Context, c *teamCall) error {
		_, err := c.me.Roles.CreateRole(ctx, &teamv1.CreateRoleRequest{
			WorkspaceId: c.workspace, Name: fmt.Sprint("Role ", c.random.IntN(5)), Permissions: []string{"invitation.create", "membership.get", "role.list"},
		})
		return err
	}},
	{"UpdateRole", func(ctx context.Context, c *teamCall) error {
		return c.onRole(ctx, func(id string) error {
			permissions := [][]string{{"membership.get"}, {"invitation.create", "membership.get"}, {"membership.update", "role.list"}}
			_, err := c.me.Roles.UpdateRole(ctx, &teamv1.UpdateRoleRequest{WorkspaceId: c.workspace, RoleId: id, Permissions: pickAt(c.random, permissions)})
			return err
		})
	}},
	{"DeleteRole", func(ctx context.Context, c *teamCall) error {
		return c.onRole(ctx, func(id string) error {
			_, err := c.me.Roles.DeleteRole(ctx, &teamv1.DeleteRoleRequest{WorkspaceId: c.workspace, RoleId: id, ReplacementRole: pickAt(c.random, []string{"", "viewer", "admin"})})
			return err
		})
	}},
	{"CheckPermission", func(ctx context.Context, c *teamCall) error {
		_, err := c.me.Authorization.CheckPermission(ctx, &teamv1.CheckPermissionRequest{WorkspaceId: c.workspace, Permission: "membership.get"})
		return err
	}},
}

// teamCall is who calls, and about what.
type teamCall struct {
	crowd     *crowd
	random    *rand.Rand
	me        *client.Client
	other     testkit.Person
	workspace string
}

// role picks a role of the workspace.
func (c *teamCall) role(ctx context.Context) string {
	role := pickAt(c.random, []string{"owner", "admin", "member", "viewer", "custom"})
	if role == "custom" {
		role = "member"
		_ = c.onRole(ctx, func(id string) error { role = id; return nil })
	}
	return role
}

func (c *teamCall) onRole(ctx context.Context, do func(id string) error) error {
	list, err := c.me.Roles.ListRoles(ctx, &teamv1.ListRolesRequest{WorkspaceId: c.workspace})
	if err != nil || len(list.Roles) == 4 {
		return err
	}
	return do(pickAt(c.random, list.Roles[4:]).Id)
}

func (c *teamCall) onMember(ctx context.Context, do func(id string) error) error {
	list, err := c.me.Memberships.ListMemberships(ctx, &teamv1.ListMembershipsRequest{WorkspaceId: c.workspace})
	if err != nil || len(list.Memberships) == 0 {
		return err
	}
	if c.random.IntN(2) == 0 {
		return do(list.Memberships[len(list.Memberships)-1].Id) // who came last, and not the founder
	}
	return do(pickAt(c.random, list.Memberships).Id)
}

func (c *teamCall) onInvitation(ctx context.Context, do func(id string) error) error {
	list, err := c.me.Invitations.ListInvitations(ctx, &teamv1.ListInvitationsRequest{WorkspaceId: c.workspace})
	if err != nil || len(list.Invitations) == 0 {
		return err
	}
	return do(pickAt(c.random, list.Invitations).Id)
}

func pickAt[V any](random *rand.Rand, list []V) V { return list[random.IntN(len(list))] }

// somebody picks one of the people.
func (c *crowd) somebody(random *rand.Rand) testkit.Person {
	c.mu.Lock()
	defer c.mu.Unlock()
	return *pickAt(random, c.people)
}

// link picks the token of a link, one of the newest; "" when there is none.
func (c *crowd) link(random *rand.Rand) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.links) == 0 {
		return ""
	}
	return pickAt(random, c.links[max(0, len(c.links)-20):])
}

// TestWhoIsRenamedWhileTheyJoinIsFoundByTheNewName changes name and address of
// somebody in a transaction that does not end before they are about to join.
func TestWhoIsRenamedWhileTheyJoinIsFoundByTheNewName(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true})
	s := &stage{srv}
	owner := s.person(t)
	link := linkTo(t, owner, &teamv1.CreateInvitationLinkRequest{})
	enrols := func(enrollment string) {
		t.Helper()
		if _, err := srv.SQL.Exec(t.Context(), `
			INSERT INTO tenant.domains (id, workspace_id, domain, record_value, verify_time, enrollment, create_time)
			VALUES (gen_random_uuid(), $1, 'example.com', '', now(), $2, now()) ON CONFLICT (workspace_id, domain) DO UPDATE SET enrollment = $2`,
			uuidOf(t, owner.Workspace.Id), enrollment); err != nil {
			t.Fatal(err)
		}
	}
	for what, join := range map[string]func(*testkit.Person) error{
		"by a workspace of their own": func(p *testkit.Person) error {
			_, err := p.Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Another"})
			return err
		},
		"by a link": func(p *testkit.Person) error {
			_, err := p.Invitations.AcceptInvitation(t.Context(), &teamv1.AcceptInvitationRequest{Token: link.Token})
			return err
		},
		"by signing in": func(p *testkit.Person) error {
			_, err := p.Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: p.Email, Password: testkit.Password})
			return err
		},
	} {
		enrols("off") // nobody belongs to more than their own workspace before
		p := s.person(t)
		before := count(t, srv, "SELECT count(*) FROM team.memberships WHERE user_id = $1", uuidOf(t, p.User.Id))
		enrols(map[bool]string{true: "automatic", false: "off"}[what == "by signing in"])
		tx, err := srv.SQL.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		keys := team.KeysOf(ids.FromUUID[ids.Workspace](uuidOf(t, p.Workspace.Id)), "Zoë", "zoe"+p.Email)
		for _, change := range []struct {
			sql  string
			args []any
		}{
			{"UPDATE identity.users SET display_name = 'Zoë' WHERE id = $1", nil},
			{"UPDATE identity.emails SET address = $2, address_key = $2 WHERE user_id = $1", []any{keys.Address}},
			{"UPDATE team.memberships SET name_key = $2, address_key = $3, terms = array_to_tsvector($4) WHERE user_id = $1", []any{keys.Name, keys.Address, keys.Terms}},
		} {
			if _, err := tx.Exec(t.Context(), change.sql, append([]any{uuidOf(t, p.User.Id)}, change.args...)...); err != nil {
				t.Fatal(err)
			}
		}
		done := make(chan error, 1)
		go func() { done <- join(p) }()
		testkit.Eventually(t, what+": the call waits, or is done", func() bool { return len(done) > 0 || waiting(t, srv) > 0 })
		if err := tx.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if n := count(t, srv, "SELECT count(*) FROM team.memberships WHERE user_id = $1", uuidOf(t, p.User.Id)); n != before+1 {
			t.Errorf("%s: %d memberships, want %d", what, n, before+1)
		}
		srv.CheckInvariants(t)
	}
}
