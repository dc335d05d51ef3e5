package e2e

import (
	"testing"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// TestARevokedKeyIsDeadOnTheNextCall has it used on two replicas, and revoked by all
// who may.
func TestARevokedKeyIsDeadOnTheNextCall(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	two := replica(t, s.Server)
	w := owner.Workspace.Id
	member, admin := s.member(t, owner, "member"), s.member(t, owner, "admin")
	guard := keyOfAccount(t, owner, serviceAccountOf(t, owner, "Guard"), "service_account.manage", "api_key.list")
	for what, revoke := range map[string]func(key *authv1.CreateApiKeyResponse) error{
		"by its user": func(k *authv1.CreateApiKeyResponse) error { return revokeKey(t, member.Client, w, k.ApiKey.Id) },
		"by an admin": func(k *authv1.CreateApiKeyResponse) error { return revokeKey(t, admin.Client, w, k.ApiKey.Id) },
		"by itself": func(k *authv1.CreateApiKeyResponse) error {
			return revokeKey(t, byKey(s.Server, k.Token), w, k.ApiKey.Id)
		},
		"by who has it": func(k *authv1.CreateApiKeyResponse) error {
			_, err := s.Client("").Tokens.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Token: k.Token})
			return err
		},
		"by a program": func(k *authv1.CreateApiKeyResponse) error {
			return revokeKey(t, byKey(s.Server, guard.Token), w, k.ApiKey.Id)
		},
	} {
		key := keyOf(t, member, "workspace.get", "api_key.list")
		sibling := keyOf(t, member, "workspace.get", "api_key.list")
		for _, srv := range []*testkit.Server{s.Server, two} {
			if got := reads(t, srv, key.Token, w); got != "" {
				t.Errorf("before it is revoked %s: %s", what, got)
			}
		}
		because(t, "by another one of the user's", revokeKey(t, byKey(s.Server, sibling.Token), w, key.ApiKey.Id), "NOT_FOUND")
		because(t, "by another member", revokeKey(t, s.member(t, owner, "member").Client, w, key.ApiKey.Id), "NOT_FOUND")
		e := s.eventAfter(t, owner, func() error { return revoke(key) })
		if e.Action != "api_key.revoked" || e.TargetId != key.ApiKey.Id {
			t.Errorf("the event when it is revoked %s: %v", what, e)
		}
		if itself := what == "by itself" || what == "by who has it"; itself && (e.ActorUserId != member.User.Id || e.ActorApiKeyId != key.ApiKey.Id) {
			t.Errorf("who revoked it %s: %v", what, e)
		}
		for _, srv := range []*testkit.Server{two, s.Server} {
			if got := reads(t, srv, key.Token, w); got != "SESSION_REQUIRED" {
				t.Errorf("revoked %s: %q", what, got)
			}
		}
		because(t, "again", revokeKey(t, owner.Client, w, key.ApiKey.Id), "NOT_FOUND")
		if got := reads(t, two, sibling.Token, w); got != "" {
			t.Errorf("another one of the user's: %q", got)
		}
	}
	s.CheckInvariants(t)
}

// TestWhatAKeyLosesWhileItsCallWaitsCounts holds the workspace's row, so that a call
// which the rule has let through waits for it, and takes away meanwhile what the rule
// was about.
func TestWhatAKeyLosesWhileItsCallWaitsCounts(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	w := owner.Workspace.Id
	for what, c := range map[string]struct{ sql, want string }{
		"revoked":     {"DELETE FROM auth.api_keys WHERE id = $1", "SESSION_REQUIRED"},
		"rotated":     {"UPDATE auth.api_keys SET token_hash = 'another' WHERE id = $1", "SESSION_REQUIRED"},
		"expired":     {"UPDATE auth.api_keys SET expire_time = create_time WHERE id = $1", "SESSION_REQUIRED"},
		"disabled":    {"INSERT INTO auth.disablements SELECT user_id, NULL, 'test', now() FROM auth.api_keys WHERE id = $1", "SESSION_REQUIRED"},
		"demoted":     {"UPDATE team.memberships m SET role = 'viewer' FROM auth.api_keys k WHERE k.id = $1 AND m.user_id = k.user_id AND m.workspace_id = k.workspace_id", "PERMISSION_MISSING"},
		"deactivated": {"UPDATE team.memberships m SET deactivate_time = now() FROM auth.api_keys k WHERE k.id = $1 AND m.user_id = k.user_id AND m.workspace_id = k.workspace_id", "NOT_FOUND"},
		"left alone":  {"SELECT FROM auth.api_keys WHERE id = $1", ""},
	} {
		key := keyOf(t, s.member(t, owner, "admin"), "workspace.update")
		err := whileItWaits(t, s.Server, "tenant.workspaces", w, func() error {
			_, err := byKey(s.Server, key.Token).Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: w, Name: "Theirs"})
			return err
		}, c.sql, key.ApiKey.Id)
		because(t, what, err, c.want)
	}
}

// TestProgramsEndWithTheirWorkspace purges a workspace, and deletes who made programs
// of another one.
func TestProgramsEndWithTheirWorkspace(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	other := s.person(t)
	ctx, w := t.Context(), owner.Workspace.Id
	robot := serviceAccountOf(t, owner, "Robot")
	key, own := keyOfAccount(t, owner, robot, "invitation.create", "workspace.get"), keyOf(t, owner, "workspace.get")
	guests := roleOf(t, owner, "Guests", "workspace.get")
	if _, err := byKey(s.Server, key.Token).Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: w, Email: testkit.NewEmail(), Role: guests}); err != nil {
		t.Fatal(err)
	}

	// What an admin made stays when they are deleted, and names them no more.
	admin := s.member(t, other, "admin")
	stays := serviceAccountOf(t, admin, "Stays")
	works := keyOfAccount(t, admin, stays, "workspace.get")
	if err := deleteSelf(t, admin); err != nil {
		t.Fatal(err)
	}
	s.CheckPurged(t, "", admin.User.Id)
	if got := reads(t, s.Server, works.Token, other.Workspace.Id); got != "" {
		t.Errorf("a service account's key, whose creator was deleted: %q", got)
	}
	list, err := other.APIKeys.ListApiKeys(ctx, &authv1.ListApiKeysRequest{WorkspaceId: other.Workspace.Id})
	if err != nil || len(list.ApiKeys) != 1 || list.ApiKeys[0].CreatorUserId != "" {
		t.Errorf("ListApiKeys = %v, %v", list, err)
	}

	etag := preview(t, owner, w).Etag
	if _, err := owner.Workspaces.DeleteWorkspace(ctx, &tenantv1.DeleteWorkspaceRequest{WorkspaceId: w, Etag: etag}); err != nil {
		t.Fatal(err)
	}
	p := preview(t, owner, w)
	if p.ApiKeyCount != 2 || p.ServiceAccountCount != 1 {
		t.Errorf("the preview of the purge: %v", p)
	}
	if _, err := owner.Workspaces.PurgeWorkspace(ctx, &tenantv1.PurgeWorkspaceRequest{WorkspaceId: w, Etag: p.Etag}); err != nil {
		t.Fatal(err)
	}
	s.CheckPurged(t, w, owner.User.Id)
	for _, token := range []string{key.Token, own.Token} {
		if got := reads(t, s.Server, token, w); got != "SESSION_REQUIRED" {
			t.Errorf("after the purge: %q", got)
		}
	}
	s.CheckInvariants(t)
}

// TestASessionThatEndedMakesNoKey lets calls wait while their session is ended: a key
// would outlive it.
func TestASessionThatEndedMakesNoKey(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	w := owner.Workspace.Id
	for what, call := range map[string]func(p *testkit.Person, key string) error{
		"CreateApiKey": func(p *testkit.Person, _ string) error {
			_, err := p.APIKeys.CreateApiKey(t.Context(), &authv1.CreateApiKeyRequest{WorkspaceId: w, DisplayName: "Mine", Permissions: []string{"workspace.get"}})
			return err
		},
		"RotateApiKey": func(p *testkit.Person, key string) error {
			_, err := p.APIKeys.RotateApiKey(t.Context(), &authv1.RotateApiKeyRequest{WorkspaceId: w, ApiKeyId: key})
			return err
		},
		"CreateServiceAccount": func(p *testkit.Person, _ string) error {
			_, err := p.ServiceAccounts.CreateServiceAccount(t.Context(), &authv1.CreateServiceAccountRequest{WorkspaceId: w, DisplayName: "Robot"})
			return err
		},
	} {
		p := s.member(t, owner, "admin")
		key := keyOf(t, p, "workspace.get")
		because(t, what, meanwhile(t, s.Server, p, endSessions, func() error { return call(p, key.ApiKey.Id) }), "SESSION_REQUIRED")
		if got := reads(t, s.Server, key.Token, w); got != "" {
			t.Errorf("%s: the key from before: %q", what, got)
		}
		if n := count(t, s.Server, "SELECT count(*) FROM auth.api_keys WHERE user_id = $1", uuidOf(t, p.User.Id)); n != 1 {
			t.Errorf("%s: there are %d keys", what, n)
		}
	}
}
