package e2e

import (
	"bytes"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/logicspike/manager/client"
	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/secret"
	"github.com/logicspike/manager/internal/testkit"
)

// keyOf makes a key of somebody in their workspace.
func keyOf(t testing.TB, p *testkit.Person, permissions ...string) *authv1.CreateApiKeyResponse {
	t.Helper()
	return keyOfAccount(t, p, "", permissions...)
}

// keyOfAccount makes a key of a service account.
func keyOfAccount(t testing.TB, p *testkit.Person, account string, permissions ...string) *authv1.CreateApiKeyResponse {
	t.Helper()
	res, err := p.APIKeys.CreateApiKey(t.Context(), &authv1.CreateApiKeyRequest{
		WorkspaceId: p.Workspace.Id, DisplayName: "Key", Permissions: permissions, ServiceAccountId: account,
	})
	if err != nil {
		t.Fatalf("CreateApiKey: %v", err)
	}
	return res
}

func serviceAccountOf(t testing.TB, p *testkit.Person, name string) string {
	t.Helper()
	res, err := p.ServiceAccounts.CreateServiceAccount(t.Context(), &authv1.CreateServiceAccountRequest{WorkspaceId: p.Workspace.Id, DisplayName: name})
	if err != nil {
		t.Fatalf("CreateServiceAccount: %v", err)
	}
	return res.ServiceAccount.Id
}

// deleteUser deletes somebody with the workspaces that they alone own.
func deleteUser(t testing.TB, p *testkit.Person) error {
	t.Helper()
	preview, err := p.Users.PreviewDeleteMe(t.Context(), &identityv1.PreviewDeleteMeRequest{})
	if err != nil {
		return err
	}
	req := &identityv1.DeleteMeRequest{Etag: preview.Etag}
	for _, owned := range preview.SoleOwnedWorkspaces {
		req.Resolutions = append(req.Resolutions, &identityv1.WorkspaceResolution{
			WorkspaceId: owned.WorkspaceId, Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true},
		})
	}
	_, err = p.Users.DeleteMe(t.Context(), req)
	return err
}

func byKey(srv *testkit.Server, token string) *client.Client {
	return srv.Client("", client.WithAPIKey(token))
}

// reads returns why a key cannot read a workspace; "" when it can.
func reads(t testing.TB, srv *testkit.Server, token, workspace string) string {
	t.Helper()
	_, err := byKey(srv, token).Workspaces.GetWorkspace(t.Context(), &tenantv1.GetWorkspaceRequest{WorkspaceId: workspace})
	return reasonOf(err)
}

func keysOf(t testing.TB, c *client.Client, workspace, account string) (ids []string) {
	t.Helper()
	res, err := c.APIKeys.ListApiKeys(t.Context(), &authv1.ListApiKeysRequest{WorkspaceId: workspace, ServiceAccountId: account})
	if err != nil {
		t.Fatalf("ListApiKeys: %v", err)
	}
	for _, k := range res.ApiKeys {
		ids = append(ids, k.Id)
	}
	return ids
}

func revokeKey(t testing.TB, c *client.Client, workspace, key string) error {
	t.Helper()
	_, err := c.APIKeys.RevokeApiKey(t.Context(), &authv1.RevokeApiKeyRequest{WorkspaceId: workspace, ApiKeyId: key})
	return err
}

func rotateKey(t testing.TB, c *client.Client, workspace, key string, overlap time.Duration) (*authv1.RotateApiKeyResponse, error) {
	t.Helper()
	return c.APIKeys.RotateApiKey(t.Context(), &authv1.RotateApiKeyRequest{
		WorkspaceId: workspace, ApiKeyId: key, OverlapSeconds: int32(overlap / time.Second),
	})
}

func TestAnAPIKeyActsForItsUser(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	w := owner.Workspace.Id
	var made *authv1.CreateApiKeyResponse
	e := s.eventAfter(t, owner, func() error {
		made = keyOf(t, owner, "workspace.update", "workspace.get", "event.list", "api_key.list")
		return nil
	})
	k := made.ApiKey
	if e.Action != "api_key.created" || e.TargetId != k.Id || e.ActorUserId != owner.User.Id || e.ActorApiKeyId != "" {
		t.Errorf("the event of the key: %v", e)
	}
	now := s.Clock.Now()
	if want := (&authv1.ApiKey{
		Id: k.Id, DisplayName: "Key", UserId: owner.User.Id, CreatorUserId: owner.User.Id, Hint: made.Token[len(made.Token)-4:],
		Permissions: []string{"api_key.list", "event.list", "workspace.get", "workspace.update"}, CreateTime: k.CreateTime, ExpireTime: k.ExpireTime,
	}); !cmp.Equal(want, k, protocmp.Transform()) {
		t.Errorf("the key (-want +got):\n%s", cmp.Diff(want, k, protocmp.Transform()))
	}
	if end := k.ExpireTime.AsTime(); end.Sub(k.CreateTime.AsTime()) != 90*24*time.Hour || end.Before(now.Add(90*24*time.Hour-time.Minute)) {
		t.Errorf("the key ends at %v", end)
	}
	if list := s.queue(t, owner.Email); len(list) == 0 || list[0].Template != mail.SecurityChange || list[0].Data["change"] != string(mail.APIKeyCreated) {
		t.Errorf("the owner was mailed %v", list)
	}
	// What the proto tells scanners.
	if !regexp.MustCompile(`^\blsmk_[0-9A-Za-z]{49}\b$`).MatchString(made.Token) || !secret.IsChecked("lsmk_", made.Token) {
		t.Errorf("the token has another form: %q", made.Token)
	}
	for table := range s.contents(t) {
		if n := count(t, s.Server, "SELECT count(*) FROM "+table+" a_row WHERE a_row::text LIKE $1", "%"+made.Token[5:48]+"%"); n != 0 {
			t.Errorf("%s holds the key", table)
		}
	}

	program := byKey(s.Server, made.Token)
	e = s.eventAfter(t, owner, func() error {
		_, err := program.Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: w, Name: "Renamed"})
		return err
	})
	if e.ActorKind != auditv1.ActorKind_ACTOR_KIND_USER || e.ActorUserId != owner.User.Id || e.ActorApiKeyId != k.Id || e.ActorServiceAccountId != "" {
		t.Errorf("the event of what the key did: %v", e)
	}
	if _, err := program.Events.ListEvents(t.Context(), &auditv1.ListEventsRequest{WorkspaceId: w}); err != nil {
		t.Errorf("ListEvents: %v", err)
	}
	_, err := program.Events.ListEvents(t.Context(), &auditv1.ListEventsRequest{})
	because(t, "the log of the caller's account", err, "API_KEY_NOT_ALLOWED")

	// The time of its last use, to the minute.
	used := func() time.Time {
		t.Helper()
		res, err := owner.APIKeys.ListApiKeys(t.Context(), &authv1.ListApiKeysRequest{WorkspaceId: w})
		if err != nil || len(res.ApiKeys) != 1 || res.ApiKeys[0].LastUseTime == nil {
			t.Fatalf("ListApiKeys = %v, %v", res, err)
		}
		return res.ApiKeys[0].LastUseTime.AsTime()
	}
	first := used()
	s.Clock.Advance(50 * time.Second)
	reads(t, s.Server, made.Token, w)
	if again := used(); !again.Equal(first) {
		t.Errorf("used again within a minute: %v, then %v", first, again)
	}
	s.Clock.Advance(time.Minute)
	reads(t, s.Server, made.Token, w)
	if again := used(); again.Sub(first) < time.Minute {
		t.Errorf("used again after a minute: %v, then %v", first, again)
	}

	s.Clock.Advance(90*24*time.Hour - 3*time.Minute)
	if got := reads(t, s.Server, made.Token, w); got != "" {
		t.Errorf("shortly before its end: %s", got)
	}
	s.Clock.Advance(2 * time.Minute)
	if got := reads(t, s.Server, made.Token, w); got != "SESSION_REQUIRED" {
		t.Errorf("after its end: %q", got)
	}
	s.SignIn(t, owner)
	if got := keysOf(t, owner.Client, w, ""); !slices.Equal(got, []string{k.Id}) {
		t.Errorf("after its end the list is %v", got)
	}
	_, err = rotateKey(t, owner.Client, w, k.Id, 0)
	because(t, "rotated after its end", err, "NOT_FOUND")
	s.Clock.Advance(120 * 24 * time.Hour)
	if err := s.Store.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.SignIn(t, owner)
	if got := keysOf(t, owner.Client, w, ""); got != nil {
		t.Errorf("long after its end the list is %v", got)
	}
	checkLog(t, s.Server, made.Token)
}

func TestAServiceAccountActsByItsKeys(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	ctx, w := t.Context(), owner.Workspace.Id
	robot := serviceAccountOf(t, owner, "Röbot")
	_, err := owner.ServiceAccounts.CreateServiceAccount(ctx, &authv1.CreateServiceAccountRequest{WorkspaceId: w, DisplayName: "RÖBOT"})
	because(t, "a name in other letters", err, "SERVICE_ACCOUNT_NAME_TAKEN")
	other := serviceAccountOf(t, owner, "Other")
	_, err = owner.ServiceAccounts.UpdateServiceAccount(ctx, &authv1.UpdateServiceAccountRequest{WorkspaceId: w, ServiceAccountId: other, DisplayName: "röbot"})
	because(t, "renamed to that of another", err, "SERVICE_ACCOUNT_NAME_TAKEN")
	e := s.eventAfter(t, owner, func() error {
		res, err := owner.ServiceAccounts.UpdateServiceAccount(ctx, &authv1.UpdateServiceAccountRequest{
			WorkspaceId: w, ServiceAccountId: robot, DisplayName: "Deployer", Description: "left out",
			UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}},
		})
		if err == nil && (res.ServiceAccount.DisplayName != "Deployer" || res.ServiceAccount.Description != "") {
			t.Errorf("UpdateServiceAccount = %v", res)
		}
		return err
	})
	if e.Action != "service_account.updated" {
		t.Errorf("the event of the change: %v", e)
	}
	_, err = owner.ServiceAccounts.UpdateServiceAccount(ctx, &authv1.UpdateServiceAccountRequest{
		WorkspaceId: w, ServiceAccountId: robot, UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"display_name"}},
	})
	because(t, "no name", err, "FIELD_INVALID")
	list, err := owner.ServiceAccounts.ListServiceAccounts(ctx, &authv1.ListServiceAccountsRequest{WorkspaceId: w})
	if err != nil || len(list.ServiceAccounts) != 2 || list.ServiceAccounts[1].Id != robot || list.ServiceAccounts[1].CreatorUserId != owner.User.Id {
		t.Errorf("ListServiceAccounts = %v, %v", list, err)
	}

	key := keyOfAccount(t, owner, robot, "invitation.create", "invitation.list", "workspace.get", "membership.get", "api_key.list", "role.list")
	if key.ApiKey.UserId != "" || key.ApiKey.ServiceAccountId != robot || key.ApiKey.CreatorUserId != owner.User.Id {
		t.Errorf("the key: %v", key.ApiKey)
	}
	if list := s.queue(t, owner.Email); slices.ContainsFunc(list, func(m mail.Message) bool { return m.Template == mail.SecurityChange }) {
		t.Error("the owner was mailed of a service account's key")
	}
	program := byKey(s.Server, key.Token)
	viewers := roleOf(t, owner, "Guests", "workspace.get", "role.list")
	email := testkit.NewEmail()
	var sent *teamv1.Invitation
	e = s.eventAfter(t, owner, func() error {
		res, err := program.Invitations.CreateInvitation(ctx, &teamv1.CreateInvitationRequest{WorkspaceId: w, Email: email, Role: viewers})
		sent = res.GetInvitation()
		return err
	})
	if e.ActorKind != auditv1.ActorKind_ACTOR_KIND_SERVICE_ACCOUNT || e.ActorServiceAccountId != robot || e.ActorApiKeyId != key.ApiKey.Id || e.ActorUserId != "" {
		t.Errorf("the event of the invitation: %v", e)
	}
	if sent.InviterServiceAccountId != robot || sent.InviterId != "" {
		t.Errorf("the invitation: %v", sent)
	}
	mailed := s.mailed(t, sent)
	if m := s.queue(t, email)[0]; m.Data["inviter"] != "Deployer" {
		t.Errorf("the mail is from %q", m.Data["inviter"])
	}
	seen, err := s.Client("").Invitations.GetInvitationByToken(ctx, &teamv1.GetInvitationByTokenRequest{Token: mailed.token})
	if err != nil || seen.Invitation.InviterName != "Deployer" {
		t.Errorf("GetInvitationByToken = %v, %v", seen, err)
	}
	if _, err := s.enter(t, mailed.token); err != nil {
		t.Errorf("the invitation cannot be used: %v", err)
	}
	resent := s.invite(t, owner, testkit.NewEmail(), viewers)
	if res, err := program.Invitations.ResendInvitation(ctx, &teamv1.ResendInvitationRequest{WorkspaceId: w, InvitationId: resent.Id}); err != nil ||
		res.Invitation.InviterId != "" || res.Invitation.InviterServiceAccountId != robot {
		t.Errorf("ResendInvitation = %v, %v", res, err)
	}
	link, err := program.Invitations.CreateInvitationLink(ctx, &teamv1.CreateInvitationLinkRequest{WorkspaceId: w, Role: viewers})
	if err != nil || link.Link.CreatorServiceAccountId != robot {
		t.Fatalf("CreateInvitationLink = %v, %v", link, err)
	}
	_, err = program.Authorization.ExplainAccess(ctx, &teamv1.ExplainAccessRequest{WorkspaceId: w, Permission: "workspace.get"})
	because(t, "its own access, though it is no user", err, "FIELD_INVALID")
	if _, err := program.Authorization.ExplainAccess(ctx, &teamv1.ExplainAccessRequest{WorkspaceId: w, Permission: "workspace.get", UserId: owner.User.Id}); err != nil {
		t.Errorf("ExplainAccess: %v", err)
	}
	otherKey := keyOfAccount(t, owner, other, "api_key.list")
	if got := keysOf(t, program, w, ""); !slices.Equal(got, []string{key.ApiKey.Id}) {
		t.Errorf("the keys that it sees: %v", got)
	}
	if got := keysOf(t, program, w, other); got != nil {
		t.Errorf("the keys of another that it sees: %v", got)
	}
	because(t, "to revoke another's key", revokeKey(t, program, w, otherKey.ApiKey.Id), "NOT_FOUND")

	e = s.eventAfter(t, owner, func() error {
		_, err := owner.ServiceAccounts.DeleteServiceAccount(ctx, &authv1.DeleteServiceAccountRequest{WorkspaceId: w, ServiceAccountId: robot})
		return err
	})
	if f := e.Details.Fields; e.Action != "service_account.deleted" || f["revoked_api_keys"].GetNumberValue() != 1 || f["revoked_count"].GetNumberValue() != 2 {
		t.Errorf("the event of the deletion: %v", e)
	}
	if got := reads(t, s.Server, key.Token, w); got != "SESSION_REQUIRED" {
		t.Errorf("its key, once it is deleted: %q", got)
	}
	if got := s.stateOf(t, resent.Invitation); got != "revoked" {
		t.Errorf("its invitation, once it is deleted, is %s", got)
	}
	_, err = s.enter(t, link.Token)
	because(t, "its link, once it is deleted", err, "INVITATION_REVOKED")
	log, err := owner.Events.ListEvents(ctx, &auditv1.ListEventsRequest{WorkspaceId: w, Action: "invitation.created", PageSize: 200})
	if err != nil || !slices.ContainsFunc(log.Events, func(e *auditv1.Event) bool {
		return e.ActorServiceAccountId == robot && e.ActorApiKeyId == key.ApiKey.Id
	}) {
		t.Errorf("the log forgot what was deleted: %v, %v", log, err)
	}
	serviceAccountOf(t, owner, "deployer") // the name is free
	s.CheckInvariants(t)
}

// TestAKeyOpensNothingElse brings a key to where it does not belong.
func TestAKeyOpensNothingElse(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	key := keyOf(t, owner, keyPermissions(t)...)
	methods := methodsByName(t, s.Server)
	get := methods["WorkspaceService/GetWorkspace"]
	message := &tenantv1.GetWorkspaceRequest{WorkspaceId: owner.Workspace.Id}
	call := func(name string, header ...string) answer {
		t.Helper()
		body, err := protojson.Marshal(message)
		if err != nil {
			t.Fatal(err)
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+procedureOf(methods[name]), bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			req.Header.Add(header[i], header[i+1])
		}
		return send(t, req, "")
	}
	bearer := "Bearer " + key.Token
	last := key.Token[len(key.Token)-1:]
	swapped := map[bool]string{true: "0", false: "1"}[last == "1"]
	for what, header := range map[string][]string{
		"as a cookie":                  {"Cookie", "__Host-manager_session=" + key.Token},
		"as another scheme's":          {"Authorization", "Basic " + key.Token},
		"in another header":            {"X-Api-Key", key.Token},
		"twice":                        {"Authorization", bearer, "Authorization", bearer},
		"with another checksum":        {"Authorization", bearer[:len(bearer)-1] + swapped},
		"without its checksum":         {"Authorization", bearer[:len(bearer)-6]},
		"longer":                       {"Authorization", bearer + "0"},
		"as a session's":               {"Authorization", "Bearer lsms_" + key.Token[5:]},
		"a session's as a key":         {"Authorization", "Bearer lsmk_" + owner.Token[5:]},
		"that nobody made":             {"Authorization", "Bearer " + secret.NewChecked("lsmk_")},
		"that nobody made, and cookie": {"Authorization", "Bearer " + secret.NewChecked("lsmk_"), "Cookie", "__Host-manager_session=" + owner.Token},
	} {
		if got := call("WorkspaceService/GetWorkspace", header...).outcome(); got != outcomes["session"] {
			t.Errorf("a key %s: %s", what, got)
		}
	}
	if got := call("WorkspaceService/GetWorkspace", "Authorization", "bearer "+key.Token).outcome(); got != "ok" {
		t.Errorf("the key: %s", got)
	}
	if got := reads(t, s.Server, key.Token, s.person(t).Workspace.Id); got != "NOT_FOUND" {
		t.Errorf("another workspace: %q", got)
	}
	if got := callJSON(t, s.Server, get, key.Token, &tenantv1.GetWorkspaceRequest{WorkspaceId: "wsp_nonsense"}).outcome(); got != "invalid_argument FIELD_INVALID" {
		t.Errorf("what is no workspace: %s", got)
	}

	// Where a mailed token is asked for, the key is none.
	ctx := t.Context()
	nobody := s.Client("")
	_, err := nobody.Invitations.GetInvitationByToken(ctx, &teamv1.GetInvitationByTokenRequest{Token: key.Token})
	because(t, "as an invitation's", err, "CODE_INVALID")
	_, err = nobody.Registration.VerifyRegistration(ctx, &authv1.VerifyRegistrationRequest{Token: key.Token, Password: testkit.Password})
	because(t, "as a registration's", err, "CODE_INVALID")
	_, err = nobody.Passwords.ResetPassword(ctx, &authv1.ResetPasswordRequest{Token: key.Token, NewPassword: "another horse, another staple"})
	because(t, "as a reset's", err, "CODE_INVALID")

	// To what looks at a session if there is one, who has a key is nobody.
	inv := s.invite(t, owner, testkit.NewEmail(), "member")
	seen, err := byKey(s.Server, key.Token).Invitations.GetInvitationByToken(ctx, &teamv1.GetInvitationByTokenRequest{Token: inv.token})
	if err != nil || seen.NextStep != teamv1.InvitationStep_INVITATION_STEP_REGISTER {
		t.Errorf("GetInvitationByToken by a key: %v, %v", seen, err)
	}
	_, err = byKey(s.Server, key.Token).Invitations.DeclineInvitation(ctx, &teamv1.DeclineInvitationRequest{InvitationId: inv.Id})
	because(t, "DeclineInvitation by id", err, "SESSION_REQUIRED")

	// Nothing is asked of the database for what is no key.
	if _, err := s.SQL.Exec(ctx, "ALTER TABLE auth.api_keys RENAME TO kept"); err != nil {
		t.Fatal(err)
	}
	if got := reads(t, s.Server, secret.NewChecked("lsmk_"), owner.Workspace.Id); got != "INTERNAL" {
		t.Errorf("without a table: %q", got)
	}
	if got := reads(t, s.Server, key.Token[:len(key.Token)-1]+swapped, owner.Workspace.Id); got != "SESSION_REQUIRED" {
		t.Errorf("with another checksum, without a table: %q", got)
	}
}

// TestAKeyIsNeverMoreThanItsUser changes what a user is, and looks at their key on
// another replica from the next call on.
func TestAKeyIsNeverMoreThanItsUser(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	two := replica(t, s.Server)
	w := owner.Workspace.Id
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	p := s.member(t, owner, "admin")
	key := keyOf(t, p, keyPermissions(t)...)
	can := func(what, want string) {
		t.Helper()
		for _, srv := range []*testkit.Server{two, s.Server} {
			_, err := byKey(srv, key.Token).Roles.CreateRole(t.Context(), &teamv1.CreateRoleRequest{WorkspaceId: w, Name: uuid.NewString()})
			because(t, what, err, want)
		}
	}
	can("an admin's key", "")
	must(setRole(t, owner, p.Membership.Id, "viewer"))
	can("a viewer's", "PERMISSION_MISSING")
	if got := reads(t, two, key.Token, w); got != "" {
		t.Errorf("a viewer's key cannot read: %s", got)
	}
	custom := roleOf(t, owner, "Roles", "role.manage", "workspace.get")
	must(setRole(t, owner, p.Membership.Id, custom))
	can("that of a role that has it", "")
	_, err := owner.Roles.UpdateRole(t.Context(), &teamv1.UpdateRoleRequest{WorkspaceId: w, RoleId: custom, Permissions: []string{"workspace.get"}})
	must(err)
	can("once the role lost it", "PERMISSION_MISSING")
	must(setRole(t, owner, p.Membership.Id, "owner"))
	can("an owner's", "")
	_, err = byKey(two, key.Token).Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: w})
	because(t, "an owner's, to do what owners alone do", err, "PERMISSION_MISSING")
	must(setRole(t, owner, p.Membership.Id, "admin"))

	sql := func(statement string, args ...any) {
		t.Helper()
		_, err := s.SQL.Exec(t.Context(), statement, args...)
		must(err)
	}
	sql("INSERT INTO auth.disablements (user_id, reason, create_time) VALUES ($1, 'test', now())", uuidOf(t, p.User.Id))
	can("that of a disabled account", "SESSION_REQUIRED")
	sql("DELETE FROM auth.disablements")
	can("once it is enabled", "")

	etag := preview(t, owner, w).Etag
	if preview(t, owner, w).ApiKeyCount != 1 || preview(t, owner, w).ServiceAccountCount != 0 {
		t.Errorf("the preview: %v", preview(t, owner, w))
	}
	_, err = owner.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: w, Etag: etag})
	must(err)
	can("of a deleted workspace", "SESSION_REQUIRED")
	_, err = owner.Workspaces.UndeleteWorkspace(t.Context(), &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: w})
	must(err)
	can("of an undeleted one", "")

	e := s.eventAfter(t, owner, func() error { return deactivate(t, owner, p.Membership.Id) })
	if e.Details.Fields["revoked_api_keys"].GetNumberValue() != 1 {
		t.Errorf("the event of the deactivation: %v", e)
	}
	can("of a deactivated member", "SESSION_REQUIRED")
	must(reactivate(t, owner, p.Membership.Id))
	can("of a reactivated one, who makes a new one", "SESSION_REQUIRED")

	for what, end := range map[string]func(*testkit.Person) error{
		"of a removed member": func(p *testkit.Person) error { return removeMember(t, owner, p.Membership.Id) },
		"of one who left":     func(p *testkit.Person) error { return leave(t, p, w) },
		"of a deleted user": func(p *testkit.Person) error {
			return deleteUser(t, p)
		},
	} {
		p := s.member(t, owner, "admin")
		key = keyOf(t, p, keyPermissions(t)...)
		can("before", "")
		must(end(p))
		can(what, "SESSION_REQUIRED")
		if n := count(t, s.Server, "SELECT count(*) FROM auth.api_keys WHERE id = $1", uuidOf(t, key.ApiKey.Id)); n != 0 {
			t.Errorf("%s the key is left", what)
		}
	}
	s.CheckInvariants(t)
}

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

func TestARotatedKeyWorksOnForItsOverlap(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	two := replica(t, s.Server)
	w := owner.Workspace.Id
	made := keyOf(t, owner, "workspace.get")
	id := made.ApiKey.Id
	tokens := []string{made.Token}
	check := func(what string, want ...bool) {
		t.Helper()
		for i, token := range tokens {
			got := reads(t, two, token, w)
			if (got == "") != want[i] || got != "" && got != "SESSION_REQUIRED" {
				t.Errorf("%s: secret %d: %q", what, i, got)
			}
		}
	}
	rotate := func(overlap time.Duration) *authv1.ApiKey {
		t.Helper()
		res, err := rotateKey(t, owner.Client, w, id, overlap)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, res.Token)
		if res.ApiKey.Id != id || res.ApiKey.Hint != res.Token[len(res.Token)-4:] || (res.ApiKey.PreviousExpireTime != nil) != (overlap > 0) {
			t.Errorf("RotateApiKey = %v", res)
		}
		return res.ApiKey
	}
	rotate(time.Hour)
	check("within the overlap", true, true)
	if list := s.queue(t, owner.Email); list[0].Data["change"] != string(mail.APIKeyRotated) {
		t.Errorf("the owner was mailed %v", list[0])
	}
	s.Clock.Advance(time.Hour - time.Second)
	check("at the end of the overlap", true, true)
	s.Clock.Advance(2 * time.Second)
	check("after the overlap", false, true)
	s.SignIn(t, owner)
	if res, err := owner.APIKeys.ListApiKeys(t.Context(), &authv1.ListApiKeysRequest{WorkspaceId: w}); err != nil || res.ApiKeys[0].PreviousExpireTime != nil {
		t.Errorf("after the overlap: %v, %v", res, err)
	}
	rotate(time.Hour)
	rotate(time.Hour)
	check("rotated twice, of which one overlaps", false, false, true, true)
	rotate(0)
	check("rotated without an overlap", false, false, false, false, true)
	end := s.Clock.Now().Add(time.Minute).Truncate(time.Microsecond)
	res, err := owner.APIKeys.RotateApiKey(t.Context(), &authv1.RotateApiKeyRequest{
		WorkspaceId: w, ApiKeyId: id, OverlapSeconds: 3600, ExpireTime: timestamppb.New(end),
	})
	if err != nil || !res.ApiKey.ExpireTime.AsTime().Equal(end) || !res.ApiKey.PreviousExpireTime.AsTime().Equal(end) {
		t.Fatalf("RotateApiKey = %v, %v", res, err)
	}
	tokens = append(tokens, res.Token)
	check("with another end", false, false, false, false, true, true)
	// An answer that is lost costs the secret in use nothing.
	lost := &authv1.RotateApiKeyRequest{WorkspaceId: w, ApiKeyId: id, OverlapSeconds: 20, RequestId: uuid.NewString()}
	for range 3 {
		res, err := owner.APIKeys.RotateApiKey(t.Context(), lost)
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, res.Token)
	}
	check("rotated by a call that is repeated", false, false, false, false, false, true, false, false, true)
	s.Clock.Advance(21 * time.Second)
	check("after its overlap", false, false, false, false, false, false, false, false, true)
	tokens = tokens[:6]
	s.Clock.Advance(2 * time.Minute)
	check("after its end", false, false, false, false, false, false)
	_, err = owner.APIKeys.RotateApiKey(t.Context(), &authv1.RotateApiKeyRequest{WorkspaceId: w, ApiKeyId: id, ExpireTime: timestamppb.New(end.Add(time.Hour))})
	because(t, "to revive it", err, "NOT_FOUND")
	s.CheckInvariants(t)
}

func TestOfTwentyRotationsAtOnceTheLastOneCounts(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	w := owner.Workspace.Id
	made := keyOf(t, owner, "workspace.get")
	tokens := make([]string, 20)
	var all sync.WaitGroup
	for i := range tokens {
		all.Go(func() {
			res, err := rotateKey(t, owner.Client, w, made.ApiKey.Id, 0)
			if err != nil {
				t.Error(err)
				return
			}
			tokens[i] = res.Token
		})
	}
	all.Wait()
	var works []string
	for _, token := range append(tokens, made.Token) {
		if reads(t, s.Server, token, w) == "" {
			works = append(works, token)
		}
	}
	list, err := owner.APIKeys.ListApiKeys(t.Context(), &authv1.ListApiKeysRequest{WorkspaceId: w})
	if err != nil || len(works) != 1 || !strings.HasSuffix(works[0], list.ApiKeys[0].Hint) {
		t.Errorf("%d secrets work, of the key %v (%v)", len(works), list, err)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM audit.events WHERE action = 'api_key.rotated'"); n != len(tokens) {
		t.Errorf("%d events", n)
	}
}

func TestAKeyIsMadeOnceForARequestID(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	admin := s.member(t, owner, "admin")
	request := func() *authv1.CreateApiKeyRequest {
		return &authv1.CreateApiKeyRequest{
			WorkspaceId: owner.Workspace.Id, DisplayName: "Key", Permissions: []string{"workspace.get", "role.list"}, RequestId: uuid.NewString(),
		}
	}
	req := request()
	var mu sync.Mutex
	var tokens []string
	found := map[string]bool{}
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			res, err := owner.APIKeys.CreateApiKey(t.Context(), req)
			if err != nil {
				t.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			found[res.ApiKey.Id] = true
			if res.Token != "" {
				tokens = append(tokens, res.Token)
			}
		})
	}
	all.Wait()
	if len(found) != 1 || len(tokens) != 1 || reads(t, s.Server, tokens[0], owner.Workspace.Id) != "" {
		t.Errorf("%d keys were made, and shown %d times", len(found), len(tokens))
	}
	for what, change := range map[string]func(*authv1.CreateApiKeyRequest){
		"another name":        func(r *authv1.CreateApiKeyRequest) { r.DisplayName = "Other" },
		"other permissions":   func(r *authv1.CreateApiKeyRequest) { r.Permissions = []string{"workspace.get"} },
		"another end":         func(r *authv1.CreateApiKeyRequest) { r.ExpireTime = timestamppb.New(s.Clock.Now().Add(time.Hour)) },
		"a service account's": func(r *authv1.CreateApiKeyRequest) { r.ServiceAccountId = serviceAccountOf(t, owner, "Robot") },
	} {
		other := request()
		other.RequestId = req.RequestId
		change(other)
		_, err := owner.APIKeys.CreateApiKey(t.Context(), other)
		if reasonOf(err) != "REQUEST_ID_REUSED" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := admin.APIKeys.CreateApiKey(t.Context(), req); reasonOf(err) != "REQUEST_ID_REUSED" {
		t.Errorf("by somebody else: %v", err)
	}
	if n := count(t, s.Server, "SELECT count(*) FROM audit.events WHERE action = 'api_key.created'"); n != 1 {
		t.Errorf("%d events", n)
	}
}

func TestKeysAndServiceAccountsAreLimitedAndListedByPages(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	ctx, w := t.Context(), owner.Workspace.Id
	var made []string
	for range 100 {
		made = append(made, keyOf(t, owner, "workspace.get").ApiKey.Id)
	}
	slices.Reverse(made)
	_, err := owner.APIKeys.CreateApiKey(ctx, &authv1.CreateApiKeyRequest{WorkspaceId: w, DisplayName: "Key", Permissions: []string{"workspace.get"}})
	because(t, "one key more", err, "TOO_MANY")
	var listed []string
	token := ""
	for pages := 0; pages == 0 || token != ""; pages++ {
		res, err := owner.APIKeys.ListApiKeys(ctx, &authv1.ListApiKeysRequest{WorkspaceId: w, PageSize: 33, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range res.ApiKeys {
			listed = append(listed, k.Id)
		}
		token = res.NextPageToken
		if pages == 0 {
			_, err := s.member(t, owner, "viewer").APIKeys.ListApiKeys(ctx, &authv1.ListApiKeysRequest{WorkspaceId: w, PageToken: token})
			if reasonOf(err) != "PAGE_TOKEN_INVALID" {
				t.Errorf("a page of another list: %v", err)
			}
		}
	}
	if !slices.Equal(listed, made) {
		t.Errorf("listed %d keys, of %d", len(listed), len(made))
	}
	if got := keysOf(t, s.member(t, owner, "viewer").Client, w, ""); got != nil {
		t.Errorf("a viewer sees %v", got)
	}
	if err := revokeKey(t, owner.Client, w, made[0]); err != nil {
		t.Fatal(err)
	}
	keyOf(t, owner, "workspace.get")
	robot := serviceAccountOf(t, owner, "Robot 0")
	keyOfAccount(t, owner, robot, "workspace.get") // has a limit of its own
	for i := range 99 {
		serviceAccountOf(t, owner, fmt.Sprint("Robot ", i+1))
	}
	_, err = owner.ServiceAccounts.CreateServiceAccount(ctx, &authv1.CreateServiceAccountRequest{WorkspaceId: w, DisplayName: "Robot 100"})
	because(t, "one service account more", err, "TOO_MANY")
	if p := preview(t, owner, w); p.ApiKeyCount != 101 || p.ServiceAccountCount != 100 {
		t.Errorf("the preview counts %d keys and %d service accounts", p.ApiKeyCount, p.ServiceAccountCount)
	}
	s.CheckInvariants(t)
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
		hold, err := s.SQL.Begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := hold.Exec(t.Context(), "SELECT FROM tenant.workspaces WHERE id = $1 FOR UPDATE", uuidOf(t, w)); err != nil {
			t.Fatal(err)
		}
		result := make(chan error, 1)
		go func() {
			_, err := byKey(s.Server, key.Token).Workspaces.UpdateWorkspace(t.Context(), &tenantv1.UpdateWorkspaceRequest{WorkspaceId: w, Name: "Theirs"})
			result <- err
		}()
		testkit.Eventually(t, what+" to wait", func() bool {
			return count(t, s.Server, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") > 0
		})
		if _, err := hold.Exec(t.Context(), c.sql, uuidOf(t, key.ApiKey.Id)); err != nil {
			t.Fatal(err)
		}
		if err := hold.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		because(t, what, <-result, c.want)
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
	if err := deleteUser(t, admin); err != nil {
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
