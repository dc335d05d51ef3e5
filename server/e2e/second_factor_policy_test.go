package e2e

import (
	"slices"
	"testing"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"

	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	authzv1 "github.com/logicspike/manager/gen/go/logicspike/authz/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/internal/testkit/fake"
)

// requireSecondFactor has a person's workspace require a second factor, or no more.
func requireSecondFactor(t testing.TB, p *testkit.Person, workspace string, required bool) error {
	t.Helper()
	_, err := p.Workspaces.UpdateSecurityPolicy(t.Context(), &tenantv1.UpdateSecurityPolicyRequest{WorkspaceId: workspace, SecondFactorRequired: &required})
	return err
}

// confirm proves who a person is in their session, which goes on under another token.
func confirm(t testing.TB, srv *testkit.Server, p *testkit.Person, proof *authv1.ReauthenticateRequest) {
	t.Helper()
	res, err := p.Authentication.Reauthenticate(t.Context(), proof)
	if err != nil {
		t.Fatalf("Reauthenticate: %v", err)
	}
	p.Token, p.Session = res.SessionToken, res.Session
	p.Client = srv.Client("").As(p.Token)
}

const closedByPolicy = "SECOND_FACTOR_REQUIRED_BY_WORKSPACE"

func TestAWorkspaceRequiresASecondFactor(t *testing.T) {
	t.Parallel()
	s, owner := newTeam(t, testkit.Options{})
	id := owner.Workspace.Id
	member := s.person(t)
	home := member.Workspace.Id
	s.admit(t, member, owner, "member")
	robot := keyOfAccount(t, owner, serviceAccountOf(t, owner, "Robot"), "workspace.get").Token
	key := keyOf(t, member, "workspace.get").Token
	line := refreshToken(t, member, id)
	access, err := member.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{WorkspaceId: id})
	if err != nil {
		t.Fatal(err)
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	closed := func(what string, err error) {
		t.Helper()
		refused(t, what, err, connect.CodeFailedPrecondition, faultv1.Reason_REASON_SECOND_FACTOR_REQUIRED_BY_WORKSPACE)
	}

	// Who requires one has proven one themselves.
	closed("to require one without one", requireSecondFactor(t, owner, id, true))
	a, _ := enrol(t, s.Server, owner)
	closed("to require one that was not proven", requireSecondFactor(t, owner, id, true))
	confirm(t, s.Server, owner, &authv1.ReauthenticateRequest{TotpCode: a.code(t, 0)})
	for what, req := range map[string]*tenantv1.UpdateSecurityPolicyRequest{
		"nothing to change": {},
		"an unknown path":   {SecondFactorRequired: proto.Bool(true), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"name"}}},
	} {
		req.WorkspaceId = id
		_, err := owner.Workspaces.UpdateSecurityPolicy(t.Context(), req)
		refused(t, what, err, connect.CodeInvalidArgument, faultv1.Reason_REASON_FIELD_INVALID)
	}
	w, err := get(t, owner, id)
	must(err)
	_, err = owner.Workspaces.UpdateSecurityPolicy(t.Context(), &tenantv1.UpdateSecurityPolicyRequest{
		WorkspaceId: id, SecondFactorRequired: proto.Bool(true), Etag: "v0" + w.Etag[1:],
	})
	refused(t, "another etag", err, connect.CodeAborted, faultv1.Reason_REASON_ETAG_MISMATCH)
	changed, err := owner.Workspaces.UpdateSecurityPolicy(t.Context(), &tenantv1.UpdateSecurityPolicyRequest{
		WorkspaceId: id, SecondFactorRequired: proto.Bool(true), Etag: w.Etag,
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"second_factor_required"}},
	})
	if err != nil || !changed.Workspace.SecondFactorRequired || changed.Workspace.Etag == w.Etag {
		t.Fatalf("UpdateSecurityPolicy = %v, %v", changed, err)
	}

	// Who decides it sees who has one.
	seen := func(by *testkit.Person) (list []string) {
		t.Helper()
		res, err := by.Memberships.ListMemberships(t.Context(), &teamv1.ListMembershipsRequest{WorkspaceId: by.Workspace.Id})
		must(err)
		for _, m := range res.Memberships {
			text := m.Role
			if m.HasSecondFactor != nil {
				text += " " + boolText(*m.HasSecondFactor)
			}
			list = append(list, text)
		}
		return list
	}
	if got := seen(owner); !slices.Equal(got, []string{"owner on", "member off"}) {
		t.Errorf("the owner sees of second factors: %v", got)
	}

	// The members are told, once.
	s.told(t)
	must(s.Store.WorkNotices(t.Context()))
	must(requireSecondFactor(t, owner, id, true)) // again, which is no news
	must(s.Store.WorkNotices(t.Context()))
	told := s.told(t)
	for _, p := range []*testkit.Person{owner, member} {
		if told[p.Email] != string(mail.SecondFactorRequired)+" ;" {
			t.Errorf("%s was told %q", p.Email, told[p.Email])
		}
	}
	if len(told) != 2 {
		t.Errorf("told were %v", told)
	}

	// It is closed to whoever has proven none.
	permitted := func() bool {
		t.Helper()
		one, err := member.Authorization.CheckPermission(t.Context(), &teamv1.CheckPermissionRequest{WorkspaceId: id, Permission: "workspace.get"})
		must(err)
		many, err := member.Authorization.BatchCheckPermissions(t.Context(), &teamv1.BatchCheckPermissionsRequest{
			Checks: []*teamv1.PermissionCheck{{WorkspaceId: id, Permission: "workspace.get"}, {WorkspaceId: home, Permission: "workspace.get"}},
		})
		must(err)
		if many.Allowed[0] != one.Allowed || !many.Allowed[1] {
			t.Errorf("CheckPermission %v, BatchCheckPermissions %v", one, many)
		}
		return one.Allowed
	}
	active := func() bool {
		t.Helper()
		res, err := owner.Tokens.IntrospectToken(t.Context(), &authv1.IntrospectTokenRequest{WorkspaceId: id, Token: access.AccessToken})
		must(err)
		return res.Active
	}
	missing := func() bool {
		t.Helper()
		list, err := member.Workspaces.ListWorkspaces(t.Context(), &tenantv1.ListWorkspacesRequest{})
		must(err)
		i := slices.IndexFunc(list.Workspaces, func(m *tenantv1.WorkspaceMembership) bool { return m.Workspace.Id == id })
		j := 1 - i
		if len(list.Workspaces) != 2 || !list.Workspaces[i].Workspace.SecondFactorRequired || list.Workspaces[j].SecondFactorMissing {
			t.Errorf("ListWorkspaces = %v", list)
		}
		return list.Workspaces[i].SecondFactorMissing
	}
	shut := func(when, keys string) {
		t.Helper()
		_, err := get(t, member, id)
		closed(when, err)
		_, err = member.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{WorkspaceId: id})
		closed(when+": an access token", err)
		_, err = member.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{WorkspaceId: id})
		closed(when+": a refresh token", err)
		_, err = refresh(t.Context(), s.Server, line)
		closed(when+": a refresh", err)
		closed(when+": to end it", requireSecondFactor(t, member, id, false))
		if permitted() || active() || !missing() || lives(t, when, member.Client).Session.SecondFactorProven {
			t.Errorf("%s: the workspace is open", when)
		}
		if got := reads(t, s.Server, key, id); got != keys {
			t.Errorf("%s: an API key gets %q, want %q", when, got, keys)
		}
		if got := reads(t, s.Server, robot, id); got != "" {
			t.Errorf("%s: a service account's key gets %q", when, got)
		}
		_, err = get(t, member, home)
		must(err)
	}
	open := func(when string) {
		t.Helper()
		_, err := get(t, member, id)
		must(err)
		access, err = member.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{WorkspaceId: id})
		must(err)
		line = mustRefresh(t, s.Server, line).RefreshToken
		if !permitted() || !active() || missing() || !lives(t, when, member.Client).Session.SecondFactorProven || reads(t, s.Server, key, id) != "" {
			t.Errorf("%s: the workspace is closed", when)
		}
	}
	shut("without a factor", closedByPolicy)
	outsider := s.person(t)
	_, err = get(t, outsider, id)
	notFound(t, "to an outsider", err)

	// Who adds one, and proves it in the same session, gets in.
	passkey, added := addPasskey(t, s.Server, member, fake.EdDSA)
	prove := func() {
		t.Helper()
		confirm(t, s.Server, member, &authv1.ReauthenticateRequest{
			Passkey: answerPasskey(t, passkey, askPasskey(t, passkeysOf(s.Server, member.Token))),
		})
	}
	shut("with one that was not proven", "")
	confirm(t, s.Server, member, &authv1.ReauthenticateRequest{Password: testkit.Password})
	shut("by a password again", "")
	prove()
	open("proven")
	if got := seen(member); !slices.Equal(got, []string{"owner", "member"}) {
		t.Errorf("a member sees of second factors: %v", got)
	}
	if got := seen(owner); !slices.Equal(got, []string{"owner on", "member on"}) {
		t.Errorf("the owner sees of second factors: %v", got)
	}

	// Who removes the last one is shut out, also by what they proved before.
	app, _ := enrol(t, s.Server, member)
	_, err = passkeysOf(s.Server, member.Token).DeletePasskey(t.Context(), &authv1.DeletePasskeyRequest{PasskeyId: added.Passkey.Id})
	must(err)
	open("with another one left")
	_, err = factorsOf(s.Server, member.Token).DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: app.id})
	must(err)
	shut("once the last one is removed", closedByPolicy)
	app, _ = enrol(t, s.Server, member)
	shut("with a new one", "")
	confirm(t, s.Server, member, &authv1.ReauthenticateRequest{TotpCode: app.code(t, 0)})
	open("with a new one, proven")

	// A sign-in that gave its second factor has nothing to do.
	app.tick()
	given, err := verifyTOTP(t, s.Server, owing(t, s.Server, member.Email), app.code(t, 0))
	must(err)
	second := *member
	second.Client = s.Client("").As(given.SessionToken)
	if _, err = get(t, &second, id); err != nil || !given.Session.SecondFactorProven {
		t.Errorf("by a sign-in with a second factor: %v, %v", given, err)
	}

	// It can be left, and opened again.
	_, err = factorsOf(s.Server, member.Token).DeleteTotpFactor(t.Context(), &authv1.DeleteTotpFactorRequest{TotpFactorId: app.id})
	must(err)
	must(requireSecondFactor(t, owner, id, false))
	_, err = get(t, member, id)
	must(err)
	must(requireSecondFactor(t, owner, id, true))
	_, err = member.Memberships.LeaveWorkspace(t.Context(), &teamv1.LeaveWorkspaceRequest{WorkspaceId: id})
	must(err)
	must(requireSecondFactor(t, owner, id, false)) // before anybody was told
	must(s.Store.WorkNotices(t.Context()))
	if told := s.told(t); len(told) != 0 {
		t.Errorf("told of what is not required: %v", told)
	}
	var policies []string
	testkit.Eventually(t, "the events", func() bool {
		res, err := owner.Events.ListEvents(t.Context(), &auditv1.ListEventsRequest{WorkspaceId: id, Action: "workspace.security_policy_updated"})
		must(err)
		policies = nil
		for _, e := range slices.Backward(res.Events) {
			change := e.Details.AsMap()["second_factor_required"].(map[string]any)
			policies = append(policies, boolText(change["before"])+">"+boolText(change["after"]))
		}
		return len(policies) >= 5
	})
	if want := []string{"off>on", "on>on", "on>off", "off>on", "on>off"}; !slices.Equal(policies, want) {
		t.Errorf("the log says %v, want %v", policies, want)
	}
	s.CheckInvariants(t)
}

func boolText(v any) string {
	if v == true {
		return "on"
	}
	return "off"
}

// openToAll are the methods which name a workspace that need not be open to the caller:
// they leave it, ask to join it, or ask what may be done there.
var openToAll = []string{"MembershipService/LeaveWorkspace", "JoinRequestService/CreateJoinRequest", "AuthorizationService/CheckPermission"}

// TestEveryMethodOfAWorkspaceAsksForItsSecondFactor calls every method that names a
// workspace, as its owner and by the owner's API key.
func TestEveryMethodOfAWorkspaceAsksForItsSecondFactor(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	w := newWorld(t, srv, "owner")
	key := keyOf(t, w.owner, "workspace.get").Token
	stranger := newPerson(t, srv)
	srv.Join(t, w.owner, stranger.Workspace.Id, authz.Member) // which requires none
	w.sql("UPDATE tenant.workspaces SET second_factor_required = true WHERE id = $1", uuidOf(t, w.workspace))
	const want = "failed_precondition " + closedByPolicy
	count := 0
	for name, method := range methodsByName(t, srv) {
		rule := proto.GetExtension(method.Options(), authzv1.E_Rule).(*authzv1.Rule)
		if rule.GetWorkspace() == nil {
			field := method.Input().Fields().ByName("workspace_id")
			if rule.GetAuthenticated() == nil || field == nil || slices.Contains(openToAll, name) {
				continue
			}
			message := dynamicpb.NewMessage(method.Input())
			message.Set(field, protoreflect.ValueOfString(w.workspace))
			if a := callJSON(t, srv, method, w.owner.Token, message); a.outcome() != want {
				t.Errorf("%s: %s, want %s", name, a.outcome(), want)
			}
			continue
		}
		count++
		message := dynamicpb.NewMessage(method.Input())
		field := method.Input().Fields().ByName(protoreflect.Name(rule.GetWorkspace().Field))
		message.Set(field, protoreflect.ValueOfString(w.workspace))
		if a := callJSON(t, srv, method, w.owner.Token, message); a.outcome() != want {
			t.Errorf("%s: %s, want %s", name, a.outcome(), want)
		}
		byKey := want
		if rule.GetWorkspace().UsersOnly || rule.RecentAuthentication {
			byKey = outcomes["no-key"]
		}
		if a := callJSON(t, srv, method, key, message); a.outcome() != byKey {
			t.Errorf("%s by a key: %s, want %s", name, a.outcome(), byKey)
		}
		if a := callJSON(t, srv, method, stranger.Token, message); a.outcome() != outcomes["hidden"] {
			t.Errorf("%s by a stranger: %s", name, a.outcome())
		}
		message.Set(field, protoreflect.ValueOfString(stranger.Workspace.Id))
		if a := callJSON(t, srv, method, w.owner.Token, message); a.outcome() == want {
			t.Errorf("%s of a workspace that requires none: %s", name, a.outcome())
		}
	}
	if count < 50 {
		t.Errorf("only %d methods of workspaces were found", count)
	}
	// Nor is it given away or purged with an account.
	mine, err := w.owner.Users.PreviewDeleteMe(t.Context(), &identityv1.PreviewDeleteMeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	req := &identityv1.DeleteMeRequest{Etag: mine.Etag}
	for _, owned := range mine.SoleOwnedWorkspaces {
		req.Resolutions = append(req.Resolutions, &identityv1.WorkspaceResolution{
			WorkspaceId: owned.WorkspaceId, Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true},
		})
	}
	_, err = w.owner.Users.DeleteMe(t.Context(), req)
	because(t, "DeleteMe", err, closedByPolicy)
	w.sql("UPDATE tenant.workspaces SET second_factor_required = false WHERE id = $1", uuidOf(t, w.workspace))
}

// TestAnOperatorActsInANameWithTheSecondFactorThatTheyHaveThen removes an operator's last
// factor while their call waits.
func TestAnOperatorActsInANameWithTheSecondFactorThatTheyHaveThen(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	srv := s.Server
	operator, ann := makeOperator(t, srv, s.person(t)), s.person(t)
	a, _ := enrol(t, srv, operator)
	confirm(t, srv, operator, &authv1.ReauthenticateRequest{TotpCode: a.code(t, 0)})
	var session *authv1.Session
	act := func() error {
		res, err := operator.Operators.ImpersonateUser(t.Context(), &authv1.ImpersonateUserRequest{UserId: ann.User.Id, Reason: "A test"})
		session = res.GetSession()
		return err
	}
	if err := act(); err != nil || !session.SecondFactorProven {
		t.Fatalf("with a second factor: %v, %v", session, err)
	}
	err := whileItWaits(t, srv, "identity.users", ann.User.Id, act, `
		WITH gone AS (DELETE FROM auth.totp_factors WHERE user_id = $1)
		UPDATE auth.sessions SET second_factor_proven = false WHERE $1 IN (user_id, impersonator_id)`, operator.User.Id)
	if err != nil || session.SecondFactorProven {
		t.Errorf("once it is removed: %v, %v", session, err)
	}
}
