package e2e

import (
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/testkit"
)

func TestNobodyPutsMoreIntoAKeyThanTheyHold(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	ctx, w := t.Context(), owner.Workspace.Id
	robot := serviceAccountOf(t, owner, "Robot")
	keeper := s.member(t, owner, roleOf(t, owner, "Keeper", "api_key.create", "api_key.list", "service_account.manage", "workspace.get"))
	member := s.member(t, owner, "member")
	create := func(p *testkit.Person, account string, end time.Time, permissions ...string) error {
		req := &authv1.CreateApiKeyRequest{WorkspaceId: w, DisplayName: "Key", Permissions: permissions, ServiceAccountId: account}
		if !end.IsZero() {
			req.ExpireTime = timestamppb.New(end)
		}
		_, err := p.APIKeys.CreateApiKey(ctx, req)
		return err
	}
	now := s.Clock.Now()
	for what, c := range map[string]struct {
		err  func() error
		want string
	}{
		"more than one holds":                {func() error { return create(member, "", time.Time{}, "workspace.get", "role.manage") }, "PERMISSION_NOT_GRANTABLE"},
		"more, for a program":                {func() error { return create(keeper, robot, time.Time{}, "workspace.get", "invitation.create") }, "PERMISSION_NOT_GRANTABLE"},
		"what owners alone hold":             {func() error { return create(owner, "", time.Time{}, "workspace.delete") }, "PERMISSION_NOT_GRANTABLE"},
		"what owners alone hold, to robots":  {func() error { return create(owner, robot, time.Time{}, "workspace.transfer") }, "PERMISSION_NOT_GRANTABLE"},
		"what is no permission":              {func() error { return create(owner, "", time.Time{}, "workspace.fly") }, "FIELD_INVALID"},
		"for a program that one manages not": {func() error { return create(member, robot, time.Time{}, "workspace.get") }, "PERMISSION_MISSING"},
		"that is over":                       {func() error { return create(owner, "", now, "workspace.get") }, "FIELD_INVALID"},
		"that lasts too long":                {func() error { return create(owner, "", now.Add(367*24*time.Hour), "workspace.get") }, "FIELD_INVALID"},
	} {
		s.refuses(t, what, c.want, c.err)
	}
	if err := create(owner, "", now.Add(366*24*time.Hour), "workspace.get"); err != nil {
		t.Errorf("a key for 366 days: %v", err)
	}
	if err := create(keeper, robot, time.Time{}, "workspace.get"); err != nil {
		t.Errorf("a key of what one holds: %v", err)
	}

	// To rotate is to get hold of it.
	strong, users := keyOfAccount(t, owner, robot, "role.manage"), keyOf(t, member, "workspace.get")
	rotate := func(p *testkit.Person, key string) func() error {
		return func() error {
			_, err := rotateKey(t, p.Client, w, key, 0)
			return err
		}
	}
	s.refuses(t, "a program's key that holds more, to rotate", "PERMISSION_NOT_GRANTABLE", rotate(keeper, strong.ApiKey.Id))
	s.refuses(t, "a program's key, by who manages none", "NOT_FOUND", rotate(member, strong.ApiKey.Id))
	s.refuses(t, "a user's key, by the owner", "NOT_FOUND", rotate(owner, users.ApiKey.Id))
	if err := setRole(t, owner, member.Membership.Id, roleOf(t, owner, "Less", "api_key.create")); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "one's own key that holds more", "PERMISSION_NOT_GRANTABLE", rotate(member, users.ApiKey.Id))

	// Not without having proven who they are, recently, at their address.
	s.Clock.Advance(11 * time.Minute)
	s.refuses(t, "a key, after a while", "REAUTHENTICATION_REQUIRED", func() error { return create(owner, "", time.Time{}, "workspace.get") })
	s.refuses(t, "a rotation, after a while", "REAUTHENTICATION_REQUIRED", rotate(owner, strong.ApiKey.Id))
	s.SignIn(t, owner)
	if _, err := s.SQL.Exec(ctx, "UPDATE identity.emails SET verified_time = NULL WHERE user_id = $1", uuidOf(t, owner.User.Id)); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, "a key, unproven", "EMAIL_UNVERIFIED", func() error { return create(owner, "", time.Time{}, "workspace.get") })
	s.refuses(t, "a program's, unproven", "EMAIL_UNVERIFIED", func() error { return create(owner, robot, time.Time{}, "workspace.get") })
}

// TestAKeyGivesNobodyMoreThanItHolds tries to become more by a key, whose user could do
// it all: through keys, roles, members and invitations.
func TestAKeyGivesNobodyMoreThanItHolds(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	ctx, w := t.Context(), owner.Workspace.Id
	held := []string{
		"role.manage", "role.list", "membership.get", "membership.update", "membership.remove", "invitation.create", "invitation.list",
		"invitation.revoke", "workspace.get", "domain.manage", "domain.list", "join_request.review", "join_request.list",
		"api_key.create", "api_key.list", "service_account.list", "service_account.manage", "event.list",
	}
	less := slices.DeleteFunc(slices.Clone(held), func(p string) bool { return p == "event.list" })
	fits, more := roleOf(t, owner, "Fits", "workspace.get", "invitation.create"), roleOf(t, owner, "More", "workspace.get", "event.list")
	admin, weak := s.member(t, owner, "admin"), s.member(t, owner, fits)
	strong := s.invite(t, owner, testkit.NewEmail(), "admin")
	for what, key := range map[string]string{
		"an owner's key": keyOf(t, owner, less...).Token,
		"a program's":    keyOfAccount(t, owner, serviceAccountOf(t, owner, "Robot"), less...).Token,
	} {
		c := byKey(s.Server, key)
		update := func(role string, permissions ...string) error {
			_, err := c.Roles.UpdateRole(ctx, &teamv1.UpdateRoleRequest{WorkspaceId: w, RoleId: role, Permissions: permissions})
			return err
		}
		give := func(membership, role string) error {
			_, err := c.Memberships.UpdateMembership(ctx, &teamv1.UpdateMembershipRequest{WorkspaceId: w, MembershipId: membership, Role: role})
			return err
		}
		invite := func(role string) error {
			_, err := c.Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: w, Email: testkit.NewEmail(), Role: role})
			return err
		}
		for trick, call := range map[string]func() error{
			"a role of more": func() error {
				_, err := c.Roles.CreateRole(ctx, &teamv1.CreateRoleRequest{WorkspaceId: w, Name: "Better", Permissions: []string{"event.list"}})
				return err
			},
			"more for a role":         func() error { return update(fits, "workspace.get", "event.list") },
			"less for a role of more": func() error { return update(more, "workspace.get") },
			"a role of more for one":  func() error { return give(weak.Membership.Id, more) },
			"admin for one":           func() error { return give(weak.Membership.Id, "admin") },
			"owner for one":           func() error { return give(weak.Membership.Id, "owner") },
			"less for an admin":       func() error { return give(admin.Membership.Id, "viewer") },
			"an admin's end": func() error {
				return removeMember(t, &testkit.Person{Client: c, Workspace: owner.Workspace}, admin.Membership.Id)
			},
			"an admin's deactivation": func() error {
				return deactivate(t, &testkit.Person{Client: c, Workspace: owner.Workspace}, admin.Membership.Id)
			},
			"the owner's end": func() error {
				return removeMember(t, &testkit.Person{Client: c, Workspace: owner.Workspace}, owner.Membership.Id)
			},
			"an invitation as admin": func() error { return invite("admin") },
			"an invitation as owner": func() error { return invite("owner") },
			"an invitation as more":  func() error { return invite(more) },
			"an admin's invitation": func() error {
				_, err := c.Invitations.ResendInvitation(ctx, &teamv1.ResendInvitationRequest{WorkspaceId: w, InvitationId: strong.Id})
				return err
			},
			"a link as admin": func() error {
				_, err := c.Invitations.CreateInvitationLink(ctx, &teamv1.CreateInvitationLinkRequest{WorkspaceId: w, Role: "admin"})
				return err
			},
		} {
			s.refusesKey(t, what+" gives "+trick, "ROLE_NOT_GRANTABLE", call)
		}
		s.refusesKey(t, what+" makes a key", "API_KEY_NOT_ALLOWED", func() error {
			_, err := c.APIKeys.CreateApiKey(ctx, &authv1.CreateApiKeyRequest{WorkspaceId: w, DisplayName: "Next", Permissions: []string{"workspace.get"}})
			return err
		})
		if err := invite(fits); err != nil {
			t.Errorf("%s cannot give what it holds: %v", what, err)
		}
	}
	s.CheckInvariants(t)
}

// refusesKey is refuses for a call by a key, whose last use is recorded.
func (s *stage) refusesKey(t *testing.T, what, reason string, call func() error) {
	t.Helper()
	if _, err := s.SQL.Exec(t.Context(), "UPDATE auth.api_keys SET last_use_time = $1", s.Clock.Now()); err != nil {
		t.Fatal(err)
	}
	s.refuses(t, what, reason, call)
}

// TestWhatAProgramGrantedEndsWithWhatItCouldGrant: invitations of a service account
// stay while one of its keys could make them.
func TestWhatAProgramGrantedEndsWithWhatItCouldGrant(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	ctx, w := t.Context(), owner.Workspace.Id
	robot := serviceAccountOf(t, owner, "Robot")
	guests := roleOf(t, owner, "Guests", "workspace.get")
	one, two := keyOfAccount(t, owner, robot, "invitation.create", "workspace.get"), keyOfAccount(t, owner, robot, "invitation.create", "workspace.get")
	invite := func(key *authv1.CreateApiKeyResponse) *teamv1.Invitation {
		t.Helper()
		res, err := byKey(s.Server, key.Token).Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: w, Email: testkit.NewEmail(), Role: guests})
		if err != nil {
			t.Fatal(err)
		}
		return res.Invitation
	}
	is := func(what string, i *teamv1.Invitation, want string) {
		t.Helper()
		if got := s.stateOf(t, i); got != want {
			t.Errorf("%s the invitation is %s, want %s", what, got, want)
		}
		s.CheckInvariants(t)
	}
	i := invite(one)
	if err := revokeKey(t, owner.Client, w, one.ApiKey.Id); err != nil {
		t.Fatal(err)
	}
	is("with another key that could make it", i, "pending")
	if err := revokeKey(t, owner.Client, w, two.ApiKey.Id); err != nil {
		t.Fatal(err)
	}
	is("without", i, "revoked")

	// Found by somebody, who ends it.
	leaked := keyOfAccount(t, owner, robot, "invitation.create", "workspace.get")
	i = invite(leaked)
	if _, err := s.Client("").Tokens.RevokeToken(ctx, &authv1.RevokeTokenRequest{Token: leaked.Token}); err != nil {
		t.Fatal(err)
	}
	is("once its key was found", i, "revoked")

	three := keyOfAccount(t, owner, robot, "invitation.create", "workspace.get")
	i = invite(three)
	if _, err := rotateKey(t, owner.Client, w, three.ApiKey.Id, 0); err != nil {
		t.Fatal(err)
	}
	is("after a rotation", i, "pending")
	e := s.eventAfter(t, owner, func() error {
		_, err := owner.Roles.UpdateRole(ctx, &teamv1.UpdateRoleRequest{WorkspaceId: w, RoleId: guests, Permissions: []string{"workspace.get", "event.list"}})
		return err
	})
	is("once its role holds more", i, "revoked")
	if e.Details.Fields["revoked_count"].GetNumberValue() != 1 {
		t.Errorf("the event of the role: %v", e)
	}

	// What a user's key made is the user's, and stays when the key goes.
	host := s.member(t, owner, "admin")
	mine := keyOf(t, host, "invitation.create", "workspace.get", "event.list")
	i = invite(mine)
	if i.InviterId != host.User.Id || i.InviterServiceAccountId != "" {
		t.Errorf("the invitation is by %q and %q", i.InviterId, i.InviterServiceAccountId)
	}
	if err := revokeKey(t, host.Client, w, mine.ApiKey.Id); err != nil {
		t.Fatal(err)
	}
	is("without the user's key", i, "pending")
	if err := removeMember(t, owner, host.Membership.Id); err != nil {
		t.Fatal(err)
	}
	is("without the user", i, "revoked")
}
