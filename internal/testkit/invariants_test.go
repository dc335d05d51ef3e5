package testkit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"

	"github.com/logicspike/manager/internal/authz"
)

func TestMain(m *testing.M) { Main(m) }

// breaks are statements that break the database, by the promises that they break;
// each alone, and without foreign keys and triggers. $w and $o are workspaces, $u, $v
// and $x users, and $m is the membership of $u in $w.
var breaks = map[string][]string{
	"a user registered exactly once": {
		"UPDATE audit.events SET action = 'user.renamed' WHERE action = 'user.registered' AND user_id = $u",
	},
	"every user was given a workspace, or a membership, by the transaction that registered them": {
		"UPDATE audit.events SET tx = '1' WHERE action = 'workspace.created' AND workspace_id = $w",
		"UPDATE audit.events SET tx = '1' WHERE action = 'membership.created' AND details ->> 'user_id' = (SELECT target_id FROM audit.events WHERE user_id = $x AND action = 'user.registered')",
	},
	"a workspace was created exactly once": {
		"INSERT INTO audit.events SELECT gen_random_uuid(), tx, workspace_id, user_id, actor_kind, actor_user_id, action, target_id, details, create_time FROM audit.events WHERE action = 'workspace.created' AND workspace_id = $w",
		"DELETE FROM audit.events WHERE action = 'workspace.created' AND workspace_id = $w",
	},
	"a workspace is deleted if, and only if, its log has one deletion more than undeletions": {
		"UPDATE tenant.workspaces SET delete_time = now(), purge_time = now(), delete_etag = '' WHERE id = $w",
	},
	"a workspace is purged once, and then gone from the log": {
		"INSERT INTO audit.events SELECT gen_random_uuid(), '1', NULL, NULL, actor_kind, NULL, 'workspace.purged', target_id, details, create_time FROM audit.events WHERE action = 'workspace.created' AND workspace_id = $w",
	},
	"what is left of a purged workspace or a deleted user names nobody": {
		"INSERT INTO audit.events SELECT gen_random_uuid(), tx, NULL, user_id, actor_kind, NULL, 'user.deleted', '', details, create_time FROM audit.events WHERE user_id = $u",
	},
	"an event is in the log of a workspace or of an account": {
		"INSERT INTO audit.events SELECT gen_random_uuid(), tx, NULL, NULL, actor_kind, NULL, 'user.renamed', '', details, create_time FROM audit.events WHERE user_id = $u",
	},
	"an address belongs to one user": {
		"ALTER TABLE identity.emails DROP CONSTRAINT emails_address_key_unique; UPDATE identity.emails SET address_key = 'same'",
	},
	"who has an address has a password, unless the account was voided": {
		"DELETE FROM auth.credentials WHERE user_id = $u",
	},
	"who has no address is a voided account: without a password, without sessions": {
		"DELETE FROM identity.emails WHERE user_id = $u",
	},
	"a verified registration names the user it created; the workspace may be purged since": {
		"UPDATE auth.registrations SET user_id = NULL WHERE user_id = $u",
	},
	"one account comes of one registration": {
		"INSERT INTO auth.registrations SELECT (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid(), 'request_id', NULL, 'token_hash', ''))).* FROM auth.registrations r WHERE user_id = $u",
	},
	"of several registrations of one address, those that are older than the verified one have ended": {
		"INSERT INTO auth.registrations SELECT (jsonb_populate_record(r, jsonb_build_object('id', gen_random_uuid(), 'request_id', NULL, 'token_hash', 'x', 'user_id', NULL, 'workspace_id', NULL, 'verify_time', NULL, 'create_time', r.create_time - interval '1 hour'))).* FROM auth.registrations r WHERE user_id = $u",
	},
	eventsAreInTheirLog: {
		"UPDATE audit.events SET target_id = 'usr_0' WHERE action = 'user.registered' AND user_id = $u",
	},

	"a live workspace has an active owner": {
		"UPDATE team.memberships SET role = 'admin' WHERE workspace_id = $w AND role = 'owner'",
		"UPDATE team.memberships SET deactivate_time = now() WHERE workspace_id = $w AND role = 'owner'",
		"DELETE FROM team.memberships WHERE workspace_id = $w AND role = 'owner'",
	},
	"a user belongs to a workspace once": {
		"ALTER TABLE team.memberships DROP CONSTRAINT memberships_once; INSERT INTO team.memberships (id, workspace_id, user_id, role, create_time, update_time) SELECT gen_random_uuid(), workspace_id, user_id, role, create_time, update_time FROM team.memberships WHERE workspace_id = $w",
	},
	"an address has one pending invitation to a workspace": {
		"DROP INDEX team.invitations_pending_once; UPDATE team.invitations SET state = 'pending', end_time = NULL, user_id = NULL, address_key = 'same' WHERE workspace_id = $w",
	},
	"an invitation names who accepted it, and nobody unless it was accepted": {
		"UPDATE team.invitations SET user_id = NULL WHERE state = 'accepted'",
		"UPDATE team.invitations SET user_id = $u WHERE state = 'pending'",
	},
	"what has a custom role has one of its own workspace": {
		"DELETE FROM team.roles WHERE workspace_id = $w",
		"UPDATE team.roles SET workspace_id = $o WHERE workspace_id = $w",
		"UPDATE team.invitations SET role = 'rol_0' WHERE state = 'accepted'",
		"UPDATE team.invitation_links SET role = 'rol_0'",
	},
	"a link is not used more often than it may be": {
		"ALTER TABLE team.invitation_links DROP CONSTRAINT invitation_links_not_overused; UPDATE team.invitation_links SET use_count = max_uses + 1",
	},
	"nobody asks to join what they belong to": {
		"UPDATE team.join_requests SET user_id = $u, workspace_id = $w",
	},
	"a domain is verified by one workspace": {
		"DROP INDEX tenant.domains_verified_once; UPDATE tenant.domains SET verify_time = now()",
	},
	membersAreFound: {
		"UPDATE team.memberships SET name_key = 'x' WHERE id = $m",
		"UPDATE team.memberships SET address_key = 'x' WHERE id = $m",
		"UPDATE team.memberships SET terms = '' WHERE id = $m",
		"UPDATE team.memberships SET terms = terms || 'x' WHERE id = $m",
		"UPDATE identity.users SET display_name = 'Somebody else' WHERE id = $u",
		"UPDATE identity.emails SET address_key = 'x@example.com' WHERE user_id = $u",
	},
	membersHaveBegun: {
		"DELETE FROM audit.events WHERE action = 'membership.created'",
		"INSERT INTO audit.events SELECT gen_random_uuid(), tx, workspace_id, user_id, actor_kind, actor_user_id, action, target_id, details, create_time FROM audit.events WHERE action = 'membership.created' AND workspace_id = $w",
		"UPDATE audit.events SET action = 'membership.deleted' WHERE action = 'membership.role_changed'",
		"UPDATE audit.events SET workspace_id = $o WHERE action = 'membership.created' AND workspace_id = $w",
	},
	membersHaveEnded: {
		"DELETE FROM team.memberships WHERE id = $m",
		"INSERT INTO audit.events SELECT gen_random_uuid(), tx, workspace_id, user_id, actor_kind, actor_user_id, action, target_id, details, create_time FROM audit.events WHERE action = 'membership.deleted'",
	},
	membersAreSwitched: {
		"UPDATE team.memberships SET deactivate_time = now() WHERE id = $m",
		"UPDATE team.memberships SET deactivate_time = NULL WHERE deactivate_time IS NOT NULL",
		"UPDATE audit.events SET action = 'membership.reactivated' WHERE action = 'membership.deactivated'",
	},
	grantsAreHeld: {
		"UPDATE team.memberships SET role = 'viewer' WHERE id = $m",
		"UPDATE team.memberships SET deactivate_time = now() WHERE id = $m",
		"DELETE FROM team.memberships WHERE id = $m",
		"UPDATE team.invitations SET inviter_id = NULL WHERE state = 'pending'",
		"UPDATE team.invitation_links SET creator_id = $v",
		"UPDATE team.roles SET permissions = array_remove(permissions, 'invitation.create')",
		"UPDATE team.invitations SET role = 'owner' WHERE state = 'pending'",
	},
}

// TestEachInvariantIsFoundWhenItIsBroken breaks the database in one way after the
// other, and proves that the checks see it.
func TestEachInvariantIsFoundWhenItIsBroken(t *testing.T) {
	t.Parallel()
	s := New(t, Options{})
	named := s.world(t)
	find := func(sql string) string {
		t.Helper()
		found := &reporter{TB: t}
		undo := errors.New("undo")
		if err := pgx.BeginFunc(t.Context(), s.SQL, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), "SET LOCAL session_replication_role = replica; "+named.Replace(sql)); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
			if err := checkInvariants(found, tx); err != nil {
				return fmt.Errorf("%s: %w", sql, err)
			}
			return undo
		}); !errors.Is(err, undo) {
			t.Fatal(err)
		}
		return strings.Join(found.errors, "\n")
	}
	if found := find("SELECT"); found != "" {
		t.Fatalf("before anything is broken: %s", found)
	}
	promises := []string{eventsAreInTheirLog, membersAreFound, membersHaveBegun, membersHaveEnded, membersAreSwitched, grantsAreHeld}
	for _, i := range slices.Concat(invariants, teamInvariants) {
		promises = append(promises, i.promise)
	}
	for _, promise := range promises {
		if len(breaks[promise]) == 0 {
			t.Errorf("nothing here breaks: %s", promise)
		}
		for _, sql := range breaks[promise] {
			if found := find(sql); !strings.Contains(found, promise) {
				t.Errorf("broken by %q, and not found: %s; found: %q", sql, promise, found)
			}
		}
	}
	if len(breaks) != len(promises) {
		t.Errorf("%d promises are broken here, of %d", len(breaks), len(promises))
	}

	// Every column that names a user or a workspace.
	var children []invariant
	if err := pgx.BeginFunc(t.Context(), s.SQL, func(tx pgx.Tx) (err error) {
		children, err = parents(t.Context(), tx)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	without := find("DELETE FROM identity.users") + find("DELETE FROM tenant.workspaces")
	for _, child := range children {
		if !strings.Contains(without, child.promise) {
			t.Errorf("broken, and not found: %s", child.promise)
		}
	}
	for _, column := range []string{"team.invitations has nothing without its inviter_id", "team.invitation_links has nothing without its creator_id"} {
		if !strings.Contains(without, column) {
			t.Errorf("broken, and not found: %s", column)
		}
	}
}

// world makes something of everything, so that there is something to break, and
// returns what the names in statements stand for.
func (s *Server) world(t *testing.T) *strings.Replacer {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("%v\n%s", err, s.Log)
		}
	}
	owner, other, mate, gone := s.Register(t), s.Register(t), s.Register(t), s.Register(t)
	w := owner.Workspace.Id
	role, err := owner.Roles.CreateRole(ctx, &teamv1.CreateRoleRequest{WorkspaceId: w, Name: "Host", Permissions: []string{"invitation.create", "membership.get"}})
	must(err)
	_, err = owner.Tokens.CreateRefreshToken(ctx, &authv1.CreateRefreshTokenRequest{WorkspaceId: w})
	must(err)
	join := func(p *Person, role string) *teamv1.Membership {
		t.Helper()
		inv, err := owner.Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: w, Email: p.Email, Role: role})
		must(err)
		accepted, err := p.Invitations.AcceptInvitation(ctx, &teamv1.AcceptInvitationRequest{InvitationId: inv.Invitation.Id})
		must(err)
		return accepted.Membership
	}
	host := join(mate, "admin")
	_, err = owner.Memberships.UpdateMembership(ctx, &teamv1.UpdateMembershipRequest{WorkspaceId: w, MembershipId: host.Id, Role: role.Role.Id})
	must(err)
	_, err = mate.Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: w, Email: NewEmail(), Role: role.Role.Id})
	must(err)
	_, err = mate.Invitations.CreateInvitationLink(ctx, &teamv1.CreateInvitationLinkRequest{WorkspaceId: w, Role: role.Role.Id, MaxUses: 2})
	must(err)
	_, err = owner.Memberships.DeactivateMembership(ctx, &teamv1.DeactivateMembershipRequest{WorkspaceId: w, MembershipId: join(other, "viewer").Id})
	must(err)
	_, err = owner.Memberships.RemoveMembership(ctx, &teamv1.RemoveMembershipRequest{WorkspaceId: w, MembershipId: join(gone, "member").Id})
	must(err)
	email := NewEmail()
	_, err = owner.Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: w, Email: email})
	must(err)
	invited, err := s.Client("").Invitations.RegisterWithInvitation(ctx, &teamv1.RegisterWithInvitationRequest{Token: TokenIn(t, s.Mail(t, email, 1)), Password: Password})
	must(err)
	_, err = owner.Users.RequestEmailChange(ctx, &identityv1.RequestEmailChangeRequest{NewEmail: NewEmail()})
	must(err)
	_, err = owner.Passwords.RequestPasswordReset(ctx, &authv1.RequestPasswordResetRequest{Email: owner.Email})
	must(err)
	s.Join(t, gone, other.Workspace.Id, authz.Member)

	id := func(sql string, args ...any) (found string) {
		t.Helper()
		if err := s.SQL.QueryRow(ctx, sql, args...).Scan(&found); err != nil {
			t.Fatal(err)
		}
		return "'" + found + "'"
	}
	user := func(email string) string {
		return id("SELECT user_id::text FROM identity.emails WHERE address = $1", email)
	}
	of := func(email string) string {
		return id("SELECT workspace_id::text FROM audit.events WHERE action = 'workspace.created' AND actor_user_id = (SELECT user_id FROM identity.emails WHERE address = $1)", email)
	}
	names := strings.NewReplacer(
		"$w", of(owner.Email), "$o", of(other.Email), "$u", user(mate.Email), "$v", user(gone.Email), "$x", user(email),
		"$m", id("SELECT m.id::text FROM team.memberships m JOIN identity.emails e USING (user_id) WHERE e.address = $1 AND m.role LIKE 'rol%'", mate.Email),
	)
	if invited.UserId == "" {
		t.Fatal("nobody registered")
	}
	for _, sql := range []string{
		"INSERT INTO team.join_requests (id, workspace_id, user_id, message, state, create_time) VALUES (gen_random_uuid(), $o, $u, '', 'pending', now())",
		"INSERT INTO tenant.domains (id, workspace_id, domain, record_value, create_time) VALUES (gen_random_uuid(), $w, 'example.org', '', now()), (gen_random_uuid(), $o, 'example.org', '', now())",
	} {
		_, err := s.SQL.Exec(ctx, names.Replace(sql))
		must(err)
	}
	return names
}

// reporter keeps what a check reports instead of failing the test.
type reporter struct {
	testing.TB
	errors []string
}

func (r *reporter) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}
