package e2e

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/internal/testkit/fake"
)

// TestWhatBelongsToOthersIsAnsweredLikeWhatNeverExisted is the same promise for
// ids that are not a workspace's.
func TestWhatBelongsToOthersIsAnsweredLikeWhatNeverExisted(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	methods := methodsByName(t, srv)
	w := newWorld(t, srv, "owner")
	ann, bob, carol := w.owner, newPerson(t, srv), newPerson(t, srv)
	w.prove(ann)
	address := testkit.NewEmail()
	change, err := bob.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: address})
	if err != nil {
		t.Fatal(err)
	}
	code := queued(t, srv, address).Data["code"]
	resolve := func(workspace string) proto.Message {
		preview, err := ann.Users.PreviewDeleteMe(t.Context(), &identityv1.PreviewDeleteMeRequest{})
		if err != nil {
			t.Fatal(err)
		}
		return &identityv1.DeleteMeRequest{Etag: preview.Etag, Resolutions: []*identityv1.WorkspaceResolution{
			{WorkspaceId: workspace, Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true}},
		}}
	}
	transfer := func(membership string) proto.Message {
		req := resolve(ann.Workspace.Id).(*identityv1.DeleteMeRequest)
		req.Resolutions[0].Resolution = &identityv1.WorkspaceResolution_TransferToMembershipId{TransferToMembershipId: membership}
		return req
	}
	own, bobs := ann.Workspace.Id, bob.Workspace.Id
	invitation, link, role := w.invitation(bob, carol.Email), w.link(bob), string(w.role(bob, "workspace.get"))
	ownRole := string(w.role(ann, "workspace.get"))
	domain, asked := w.domain(bob, newDomain()), w.joinRequest(bob)
	key, account := w.apiKey(bob, bobs, "", "workspace.get").ApiKey.Id, w.serviceAccount(bob)
	neverKey, neverAccount := ids.New[ids.APIKey]().String(), ids.New[ids.ServiceAccount]().String()
	w.prove(bob)
	_, added := addPasskey(t, srv, bob, fake.EdDSA)
	bobsPasskey := added.Passkey.Id
	never := struct{ workspace, membership, invitation, link, role, domain, joinRequest, user string }{
		ids.New[ids.Workspace]().String(), ids.New[ids.Membership]().String(), ids.New[ids.Invitation]().String(), ids.New[ids.InvitationLink]().String(),
		ids.New[ids.Role]().String(), ids.New[ids.Domain]().String(), ids.New[ids.JoinRequest]().String(), ids.New[ids.User]().String(),
	}
	const missing, invalid = "not_found NOT_FOUND", "invalid_argument FIELD_INVALID"
	for _, c := range []struct {
		promise        string
		method         string
		bobs, nobodies proto.Message
		want           string
	}{
		{
			"a session", "SessionService/RevokeSession",
			&authv1.RevokeSessionRequest{SessionId: bob.Session.Id},
			&authv1.RevokeSessionRequest{SessionId: ids.New[ids.Session]().String()}, "not_found NOT_FOUND",
		},
		{
			"a passkey to rename", "PasskeyService/UpdatePasskey",
			&authv1.UpdatePasskeyRequest{PasskeyId: bobsPasskey, DisplayName: "Mine"},
			&authv1.UpdatePasskeyRequest{PasskeyId: ids.New[ids.Passkey]().String(), DisplayName: "Mine"}, missing,
		},
		{
			"a passkey to remove", "PasskeyService/DeletePasskey",
			&authv1.DeletePasskeyRequest{PasskeyId: bobsPasskey},
			&authv1.DeletePasskeyRequest{PasskeyId: ids.New[ids.Passkey]().String()}, missing,
		},
		{
			"a membership", "MembershipService/GetMembership",
			&teamv1.GetMembershipRequest{WorkspaceId: ann.Workspace.Id, MembershipId: bob.Membership.Id},
			&teamv1.GetMembershipRequest{WorkspaceId: ann.Workspace.Id, MembershipId: ids.New[ids.Membership]().String()}, "not_found NOT_FOUND",
		},
		{
			"a membership to change", "MembershipService/UpdateMembership",
			&teamv1.UpdateMembershipRequest{WorkspaceId: own, MembershipId: bob.Membership.Id, Role: "viewer"},
			&teamv1.UpdateMembershipRequest{WorkspaceId: own, MembershipId: never.membership, Role: "viewer"}, missing,
		},
		{
			"a membership to deactivate", "MembershipService/DeactivateMembership",
			&teamv1.DeactivateMembershipRequest{WorkspaceId: own, MembershipId: bob.Membership.Id},
			&teamv1.DeactivateMembershipRequest{WorkspaceId: own, MembershipId: never.membership}, missing,
		},
		{
			"a membership to reactivate", "MembershipService/ReactivateMembership",
			&teamv1.ReactivateMembershipRequest{WorkspaceId: own, MembershipId: bob.Membership.Id},
			&teamv1.ReactivateMembershipRequest{WorkspaceId: own, MembershipId: never.membership}, missing,
		},
		{
			"a membership to remove", "MembershipService/RemoveMembership",
			&teamv1.RemoveMembershipRequest{WorkspaceId: own, MembershipId: bob.Membership.Id},
			&teamv1.RemoveMembershipRequest{WorkspaceId: own, MembershipId: never.membership}, missing,
		},
		{
			"a membership to make an owner's", "MembershipService/TransferOwnership",
			&teamv1.TransferOwnershipRequest{WorkspaceId: own, MembershipId: bob.Membership.Id},
			&teamv1.TransferOwnershipRequest{WorkspaceId: own, MembershipId: never.membership}, missing,
		},
		{
			"a workspace to leave", "MembershipService/LeaveWorkspace",
			&teamv1.LeaveWorkspaceRequest{WorkspaceId: bobs}, &teamv1.LeaveWorkspaceRequest{WorkspaceId: never.workspace}, missing,
		},
		{
			"a workspace to join", "JoinRequestService/CreateJoinRequest",
			&teamv1.CreateJoinRequestRequest{WorkspaceId: bobs}, &teamv1.CreateJoinRequestRequest{WorkspaceId: never.workspace}, missing,
		},
		{
			"a permission in a workspace", "AuthorizationService/CheckPermission",
			&teamv1.CheckPermissionRequest{WorkspaceId: bobs, Permission: "workspace.get"},
			&teamv1.CheckPermissionRequest{WorkspaceId: never.workspace, Permission: "workspace.get"}, "ok",
		},
		{
			"permissions in workspaces", "AuthorizationService/BatchCheckPermissions",
			&teamv1.BatchCheckPermissionsRequest{Checks: []*teamv1.PermissionCheck{{WorkspaceId: bobs, Permission: "workspace.get"}}},
			&teamv1.BatchCheckPermissionsRequest{Checks: []*teamv1.PermissionCheck{{WorkspaceId: never.workspace, Permission: "workspace.get"}}}, "ok",
		},
		{
			"the access of a user", "AuthorizationService/ExplainAccess",
			&teamv1.ExplainAccessRequest{WorkspaceId: own, Permission: "workspace.get", UserId: bob.User.Id},
			&teamv1.ExplainAccessRequest{WorkspaceId: own, Permission: "workspace.get", UserId: never.user}, "ok",
		},
		{
			"an invitation to mail again", "InvitationService/ResendInvitation",
			&teamv1.ResendInvitationRequest{WorkspaceId: own, InvitationId: invitation},
			&teamv1.ResendInvitationRequest{WorkspaceId: own, InvitationId: never.invitation}, missing,
		},
		{
			"an invitation to revoke", "InvitationService/RevokeInvitation",
			&teamv1.RevokeInvitationRequest{WorkspaceId: own, InvitationId: invitation},
			&teamv1.RevokeInvitationRequest{WorkspaceId: own, InvitationId: never.invitation}, missing,
		},
		{
			"an invitation of somebody else, to accept", "InvitationService/AcceptInvitation",
			&teamv1.AcceptInvitationRequest{InvitationId: invitation}, &teamv1.AcceptInvitationRequest{InvitationId: never.invitation}, missing,
		},
		{
			"an invitation of somebody else, to decline", "InvitationService/DeclineInvitation",
			&teamv1.DeclineInvitationRequest{InvitationId: invitation}, &teamv1.DeclineInvitationRequest{InvitationId: never.invitation}, missing,
		},
		{
			"a link", "InvitationService/RevokeInvitationLink",
			&teamv1.RevokeInvitationLinkRequest{WorkspaceId: own, LinkId: link},
			&teamv1.RevokeInvitationLinkRequest{WorkspaceId: own, LinkId: never.link}, missing,
		},
		{
			"a role", "RoleService/GetRole",
			&teamv1.GetRoleRequest{WorkspaceId: own, RoleId: role}, &teamv1.GetRoleRequest{WorkspaceId: own, RoleId: never.role}, missing,
		},
		{
			"a role to change", "RoleService/UpdateRole",
			&teamv1.UpdateRoleRequest{WorkspaceId: own, RoleId: role, Name: "Mine"},
			&teamv1.UpdateRoleRequest{WorkspaceId: own, RoleId: never.role, Name: "Mine"}, missing,
		},
		{
			"a role to delete", "RoleService/DeleteRole",
			&teamv1.DeleteRoleRequest{WorkspaceId: own, RoleId: role}, &teamv1.DeleteRoleRequest{WorkspaceId: own, RoleId: never.role}, missing,
		},
		{
			"a role to replace one by", "RoleService/DeleteRole",
			&teamv1.DeleteRoleRequest{WorkspaceId: own, RoleId: ownRole, ReplacementRole: role},
			&teamv1.DeleteRoleRequest{WorkspaceId: own, RoleId: ownRole, ReplacementRole: never.role}, invalid,
		},
		{
			"a role to give", "MembershipService/UpdateMembership",
			&teamv1.UpdateMembershipRequest{WorkspaceId: own, MembershipId: ann.Membership.Id, Role: role},
			&teamv1.UpdateMembershipRequest{WorkspaceId: own, MembershipId: ann.Membership.Id, Role: never.role}, invalid,
		},
		{
			"a role to invite with", "InvitationService/CreateInvitation",
			&teamv1.CreateInvitationRequest{WorkspaceId: own, Email: "new@example.com", Role: role},
			&teamv1.CreateInvitationRequest{WorkspaceId: own, Email: "new@example.com", Role: never.role}, invalid,
		},
		{
			"a role of a link", "InvitationService/CreateInvitationLink",
			&teamv1.CreateInvitationLinkRequest{WorkspaceId: own, Role: role},
			&teamv1.CreateInvitationLinkRequest{WorkspaceId: own, Role: never.role}, invalid,
		},
		{
			"a role to list members by", "MembershipService/ListMemberships",
			&teamv1.ListMembershipsRequest{WorkspaceId: own, Role: role}, &teamv1.ListMembershipsRequest{WorkspaceId: own, Role: never.role}, "ok",
		},
		{
			"a request to join, to approve", "JoinRequestService/ApproveJoinRequest",
			&teamv1.ApproveJoinRequestRequest{WorkspaceId: own, JoinRequestId: asked},
			&teamv1.ApproveJoinRequestRequest{WorkspaceId: own, JoinRequestId: never.joinRequest}, missing,
		},
		{
			"a request to join, to reject", "JoinRequestService/RejectJoinRequest",
			&teamv1.RejectJoinRequestRequest{WorkspaceId: own, JoinRequestId: asked},
			&teamv1.RejectJoinRequestRequest{WorkspaceId: own, JoinRequestId: never.joinRequest}, missing,
		},
		{
			"a domain to verify", "DomainService/VerifyDomain",
			&tenantv1.VerifyDomainRequest{WorkspaceId: own, DomainId: domain},
			&tenantv1.VerifyDomainRequest{WorkspaceId: own, DomainId: never.domain}, missing,
		},
		{
			"a domain to enrol by", "DomainService/UpdateDomainEnrollment",
			&tenantv1.UpdateDomainEnrollmentRequest{WorkspaceId: own, DomainId: domain, Enrollment: tenantv1.DomainEnrollment_DOMAIN_ENROLLMENT_AUTOMATIC},
			&tenantv1.UpdateDomainEnrollmentRequest{WorkspaceId: own, DomainId: never.domain, Enrollment: tenantv1.DomainEnrollment_DOMAIN_ENROLLMENT_AUTOMATIC},
			missing,
		},
		{
			"a domain to delete", "DomainService/DeleteDomain",
			&tenantv1.DeleteDomainRequest{WorkspaceId: own, DomainId: domain},
			&tenantv1.DeleteDomainRequest{WorkspaceId: own, DomainId: never.domain}, missing,
		},
		{
			"an API key to rotate", "ApiKeyService/RotateApiKey",
			&authv1.RotateApiKeyRequest{WorkspaceId: own, ApiKeyId: key}, &authv1.RotateApiKeyRequest{WorkspaceId: own, ApiKeyId: neverKey}, missing,
		},
		{
			"an API key to revoke", "ApiKeyService/RevokeApiKey",
			&authv1.RevokeApiKeyRequest{WorkspaceId: own, ApiKeyId: key}, &authv1.RevokeApiKeyRequest{WorkspaceId: own, ApiKeyId: neverKey}, missing,
		},
		{
			"a service account to make a key of", "ApiKeyService/CreateApiKey",
			&authv1.CreateApiKeyRequest{WorkspaceId: own, DisplayName: "Key", Permissions: []string{"workspace.get"}, ServiceAccountId: account},
			&authv1.CreateApiKeyRequest{WorkspaceId: own, DisplayName: "Key", Permissions: []string{"workspace.get"}, ServiceAccountId: neverAccount},
			missing,
		},
		{
			"a service account to list the keys of", "ApiKeyService/ListApiKeys",
			&authv1.ListApiKeysRequest{WorkspaceId: own, ServiceAccountId: account},
			&authv1.ListApiKeysRequest{WorkspaceId: own, ServiceAccountId: neverAccount}, "ok",
		},
		{
			"a service account to change", "ServiceAccountService/UpdateServiceAccount",
			&authv1.UpdateServiceAccountRequest{WorkspaceId: own, ServiceAccountId: account, DisplayName: "Mine"},
			&authv1.UpdateServiceAccountRequest{WorkspaceId: own, ServiceAccountId: neverAccount, DisplayName: "Mine"}, missing,
		},
		{
			"a service account to delete", "ServiceAccountService/DeleteServiceAccount",
			&authv1.DeleteServiceAccountRequest{WorkspaceId: own, ServiceAccountId: account},
			&authv1.DeleteServiceAccountRequest{WorkspaceId: own, ServiceAccountId: neverAccount}, missing,
		},
		{
			"a change of address, with its code", "UserService/ConfirmEmailChange",
			&identityv1.ConfirmEmailChangeRequest{EmailChangeId: change.EmailChangeId, Code: code},
			&identityv1.ConfirmEmailChangeRequest{EmailChangeId: ids.New[ids.EmailChange]().String(), Code: code}, "failed_precondition CODE_INVALID",
		},
		{
			"a workspace to delete with oneself", "UserService/DeleteMe",
			resolve(bob.Workspace.Id), resolve(ids.New[ids.Workspace]().String()), "invalid_argument FIELD_INVALID",
		},
		{
			"a membership to transfer to", "UserService/DeleteMe",
			transfer(bob.Membership.Id), transfer(ids.New[ids.Membership]().String()), "invalid_argument FIELD_INVALID",
		},
	} {
		got := callJSON(t, srv, methods[c.method], ann.Token, c.bobs)
		if got.outcome() != c.want {
			t.Errorf("%s of another: %s, want %s", c.promise, got.outcome(), c.want)
		}
		if diff := cmp.Diff(callJSON(t, srv, methods[c.method], ann.Token, c.nobodies).comparable(), got.comparable()); diff != "" {
			t.Errorf("%s of another can be told from one that never existed (-never +another's):\n%s", c.promise, diff)
		}
	}
	if got := callJSON(t, srv, methods["UserService/ConfirmEmailChange"], bob.Token, &identityv1.ConfirmEmailChangeRequest{
		EmailChangeId: change.EmailChangeId, Code: code,
	}); got.outcome() != "ok" {
		t.Errorf("the change was hurt by the attempts of another: %s", got.outcome())
	}
	w.prove(carol)
	for what, c := range map[string]struct {
		method  string
		caller  *testkit.Person
		message proto.Message
	}{
		"the membership": {"MembershipService/GetMembership", bob, &teamv1.GetMembershipRequest{WorkspaceId: bobs, MembershipId: bob.Membership.Id}},
		"the invitation": {"InvitationService/AcceptInvitation", carol, &teamv1.AcceptInvitationRequest{InvitationId: invitation}},
		"the link":       {"InvitationService/RevokeInvitationLink", bob, &teamv1.RevokeInvitationLinkRequest{WorkspaceId: bobs, LinkId: link}},
		"the role":       {"RoleService/DeleteRole", bob, &teamv1.DeleteRoleRequest{WorkspaceId: bobs, RoleId: role}},
		"the key":        {"ApiKeyService/RevokeApiKey", bob, &authv1.RevokeApiKeyRequest{WorkspaceId: bobs, ApiKeyId: key}},
		"the account":    {"ServiceAccountService/DeleteServiceAccount", bob, &authv1.DeleteServiceAccountRequest{WorkspaceId: bobs, ServiceAccountId: account}},
		"the domain":     {"DomainService/DeleteDomain", bob, &tenantv1.DeleteDomainRequest{WorkspaceId: bobs, DomainId: domain}},
		"the request":    {"JoinRequestService/ApproveJoinRequest", bob, &teamv1.ApproveJoinRequestRequest{WorkspaceId: bobs, JoinRequestId: asked}},
	} {
		if got := callJSON(t, srv, methods[c.method], c.caller.Token, c.message); got.outcome() != "ok" {
			t.Errorf("%s was hurt by the attempts of another: %s\n%s", what, got.outcome(), got.body)
		}
	}
	srv.CheckInvariants(t)
}

// TestAnInvitationIsNobodysUntilTheAddressIsProven is the same promise to somebody
// whose address the invitation names.
func TestAnInvitationIsNobodysUntilTheAddressIsProven(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	w := newWorld(t, srv, "owner")
	methods := methodsByName(t, srv)
	ann := newPerson(t, srv)
	invitation, never := w.invitation(w.owner, ann.Email), ids.New[ids.Invitation]().String()
	for method, message := range map[string]func(id string) proto.Message{
		"InvitationService/AcceptInvitation":  func(id string) proto.Message { return &teamv1.AcceptInvitationRequest{InvitationId: id} },
		"InvitationService/DeclineInvitation": func(id string) proto.Message { return &teamv1.DeclineInvitationRequest{InvitationId: id} },
	} {
		got := callJSON(t, srv, methods[method], ann.Token, message(invitation))
		if got.outcome() != "not_found NOT_FOUND" {
			t.Errorf("%s: %s", method, got.outcome())
		}
		if diff := cmp.Diff(callJSON(t, srv, methods[method], ann.Token, message(never)).comparable(), got.comparable()); diff != "" {
			t.Errorf("%s: it can be told from one that never existed (-never +this):\n%s", method, diff)
		}
	}
	list := func() answer {
		return callJSON(t, srv, methods["InvitationService/ListReceivedInvitations"], ann.Token, &teamv1.ListReceivedInvitationsRequest{})
	}
	if got := list(); string(got.body) != "{}" {
		t.Errorf("before the address is proven the list is %s", got.body)
	}
	w.prove(ann)
	if got := list(); !strings.Contains(string(got.body), invitation) {
		t.Errorf("after that the list is %s", got.body)
	}
	if got := callJSON(t, srv, methods["InvitationService/AcceptInvitation"], ann.Token, &teamv1.AcceptInvitationRequest{InvitationId: invitation}); got.outcome() != "ok" {
		t.Errorf("after that it cannot be accepted: %s", got.body)
	}
	srv.CheckInvariants(t)
}

// TestWhoHasProvenNoAddressLetsNobodyIn has an owner call every method of a
// workspace: only those that bring in others, or programs, ask for a proven address.
func TestWhoHasProvenNoAddressLetsNobodyIn(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	methods := methodsByName(t, srv)
	callers, rows := readMatrix(t)
	cell := func(r matrixRow, caller string) string { return r.cells[slices.Index(callers, caller)] }
	asked := map[string]bool{
		"InvitationService/CreateInvitation": true, "InvitationService/CreateInvitation(owner)": true,
		"InvitationService/BatchCreateInvitations": true, "InvitationService/ResendInvitation": true,
		"InvitationService/CreateInvitationLink": true, "DomainService/UpdateDomainEnrollment": true,
		"ApiKeyService/CreateApiKey": true, "ApiKeyService/CreateApiKey(program's)": true, "ApiKeyService/RotateApiKey": true,
		"ServiceAccountService/CreateServiceAccount": true,
	}
	for _, row := range rows {
		if cell(row, "stranger") != "hidden" || cell(row, "owner") != "ok" {
			continue
		}
		w := newWorld(t, srv, "owner")
		message := requests[row.name](w)
		w.sql("UPDATE identity.emails SET verified_time = NULL WHERE user_id = $1", uuidOf(t, w.owner.User.Id))
		want := "ok"
		if asked[row.name] {
			want = "failed_precondition EMAIL_UNVERIFIED"
		}
		if got := callJSON(t, srv, methods[row.method()], w.owner.Token, message); got.outcome() != want {
			t.Errorf("%s: %s, want %s", row.name, got.outcome(), want)
		}
		delete(asked, row.name)
	}
	for name := range asked {
		t.Errorf("the matrix has no line %s that an owner may call", name)
	}
}
