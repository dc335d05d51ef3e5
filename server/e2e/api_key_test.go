package e2e

import (
	"bytes"
	"net/http"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	"github.com/logicspike/manager/client"
	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
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
			return deleteSelf(t, p)
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
