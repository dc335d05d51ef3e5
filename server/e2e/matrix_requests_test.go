package e2e

import (
	"strings"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	auditv1 "github.com/logicspike/manager/gen/go/logicspike/audit/v1"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/testkit"
)

// requests make, for each line of the matrix, a request that has all it needs to
// succeed.
var requests = map[string]func(w *world) proto.Message{
	"RegistrationService/Register": func(*world) proto.Message {
		return &authv1.RegisterRequest{Email: testkit.NewEmail(), Password: testkit.Password, WorkspaceName: "Acme"}
	},
	"RegistrationService/VerifyRegistration": func(w *world) proto.Message {
		id, email := w.registration()
		return &authv1.VerifyRegistrationRequest{RegistrationId: id, Code: queued(w.t, w.srv, email).Data["code"]}
	},
	"RegistrationService/ResendRegistrationCode": func(w *world) proto.Message {
		id, _ := w.registration()
		w.sql("UPDATE auth.registrations SET code_create_time = code_create_time - interval '2 minutes' WHERE id = $1", uuidOf(w.t, id))
		return &authv1.ResendRegistrationCodeRequest{RegistrationId: id}
	},
	"AuthenticationService/SignInWithPassword": func(w *world) proto.Message {
		return &authv1.SignInWithPasswordRequest{Email: w.owner.Email, Password: testkit.Password}
	},
	"ExternalIdentityService/ListIdentityProviders": func(*world) proto.Message { return &authv1.ListIdentityProvidersRequest{} },
	"ExternalIdentityService/StartExternalSignIn": func(*world) proto.Message {
		return &authv1.StartExternalSignInRequest{Provider: "github", ReturnUrl: "/"}
	},
	"ExternalIdentityService/StartExternalSignIn(link)": func(*world) proto.Message {
		return &authv1.StartExternalSignInRequest{
			Provider: "github", ReturnUrl: "/", Purpose: authv1.ExternalSignInPurpose_EXTERNAL_SIGN_IN_PURPOSE_LINK,
		}
	},
	"ExternalIdentityService/CompleteExternalSignIn": func(w *world) proto.Message { return w.externalSignIn(testkit.NewEmail()) },
	"ExternalIdentityService/ListExternalIdentities": func(*world) proto.Message { return &authv1.ListExternalIdentitiesRequest{} },
	"ExternalIdentityService/DeleteExternalIdentity": func(w *world) proto.Message {
		return &authv1.DeleteExternalIdentityRequest{ExternalIdentityId: w.identity(w.self())}
	},
	"AuthenticationService/Reauthenticate": func(*world) proto.Message {
		return &authv1.ReauthenticateRequest{Password: testkit.Password}
	},
	"AuthenticationService/SignOut": func(*world) proto.Message { return &authv1.SignOutRequest{} },
	"SessionService/GetSession":     func(*world) proto.Message { return &authv1.GetSessionRequest{} },
	"SessionService/ListSessions":   func(*world) proto.Message { return &authv1.ListSessionsRequest{} },
	"SessionService/RevokeSession":  func(w *world) proto.Message { return &authv1.RevokeSessionRequest{SessionId: w.self().Session.Id} },
	"SessionService/RevokeOtherSessions": func(*world) proto.Message {
		return &authv1.RevokeOtherSessionsRequest{}
	},
	"PasswordService/ChangePassword": func(*world) proto.Message {
		return &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: "another horse, another staple"}
	},
	"PasswordService/RequestPasswordReset": func(w *world) proto.Message {
		return &authv1.RequestPasswordResetRequest{Email: w.owner.Email}
	},
	"PasswordService/ResetPassword": func(w *world) proto.Message {
		reset, err := w.srv.Client("").Passwords.RequestPasswordReset(w.t.Context(), &authv1.RequestPasswordResetRequest{Email: w.owner.Email})
		w.must(err)
		return &authv1.ResetPasswordRequest{
			PasswordResetId: reset.PasswordResetId, Code: queued(w.t, w.srv, w.owner.Email).Data["code"], NewPassword: "another horse, another staple",
		}
	},
	"EmailChallengeService/StartEmailSignIn": func(w *world) proto.Message {
		return &authv1.StartEmailSignInRequest{Email: w.owner.Email}
	},
	"EmailChallengeService/CompleteEmailSignIn": func(w *world) proto.Message { return w.emailSignIn() },
	"EmailChallengeService/StartEmailReauthentication": func(*world) proto.Message {
		return &authv1.StartEmailReauthenticationRequest{}
	},
	"PasskeyService/StartPasskeyRegistration": func(*world) proto.Message { return &authv1.StartPasskeyRegistrationRequest{} },
	"PasskeyService/RegisterPasskey":          func(w *world) proto.Message { return w.newPasskey() },
	"PasskeyService/StartPasskeyAssertion": func(w *world) proto.Message {
		w.passkey()
		return &authv1.StartPasskeyAssertionRequest{}
	},
	"PasskeyService/SignInWithPasskey": func(w *world) proto.Message { return w.passkeyAnswer() },
	"PasskeyService/ListPasskeys":      func(*world) proto.Message { return &authv1.ListPasskeysRequest{} },
	"PasskeyService/UpdatePasskey": func(w *world) proto.Message {
		return &authv1.UpdatePasskeyRequest{PasskeyId: w.passkey(), DisplayName: "Phone"}
	},
	"PasskeyService/DeletePasskey": func(w *world) proto.Message { return &authv1.DeletePasskeyRequest{PasskeyId: w.passkey()} },
	"MfaService/VerifySecondFactor": func(*world) proto.Message {
		return &authv1.VerifySecondFactorRequest{Proof: &authv1.VerifySecondFactorRequest_TotpCode{TotpCode: "000000"}}
	},
	"MfaService/CreateTotpFactor":  func(*world) proto.Message { return &authv1.CreateTotpFactorRequest{} },
	"MfaService/ConfirmTotpFactor": func(w *world) proto.Message { return w.unconfirmedFactor() },
	"MfaService/ListTotpFactors":   func(*world) proto.Message { return &authv1.ListTotpFactorsRequest{} },
	"MfaService/UpdateTotpFactor": func(w *world) proto.Message {
		return &authv1.UpdateTotpFactorRequest{TotpFactorId: w.totpFactor(), DisplayName: "Phone"}
	},
	"MfaService/DeleteTotpFactor": func(w *world) proto.Message { return &authv1.DeleteTotpFactorRequest{TotpFactorId: w.totpFactor()} },
	"MfaService/GetRecoveryCodes": func(*world) proto.Message { return &authv1.GetRecoveryCodesRequest{} },
	"MfaService/RegenerateRecoveryCodes": func(w *world) proto.Message {
		w.totpFactor()
		return &authv1.RegenerateRecoveryCodesRequest{}
	},
	"SecurityService/ListSecurityEvents":  func(*world) proto.Message { return &authv1.ListSecurityEventsRequest{} },
	"SecurityService/GetSecurityOverview": func(*world) proto.Message { return &authv1.GetSecurityOverviewRequest{} },
	"UserService/GetMe":                   func(*world) proto.Message { return &identityv1.GetMeRequest{} },
	"UserService/UpdateMe":                func(*world) proto.Message { return &identityv1.UpdateMeRequest{DisplayName: "Ann"} },
	"TokenService/CreateAccessToken":      func(*world) proto.Message { return &authv1.CreateAccessTokenRequest{} },
	"TokenService/CreateRefreshToken":     func(*world) proto.Message { return &authv1.CreateRefreshTokenRequest{} },
	"TokenService/CreateAccessToken(workspace)": func(w *world) proto.Message {
		return &authv1.CreateAccessTokenRequest{WorkspaceId: w.workspace}
	},
	"TokenService/CreateRefreshToken(workspace)": func(w *world) proto.Message {
		return &authv1.CreateRefreshTokenRequest{WorkspaceId: w.workspace}
	},
	"TokenService/RefreshAccessToken": func(w *world) proto.Message {
		return &authv1.RefreshAccessTokenRequest{RefreshToken: w.refreshToken()}
	},
	"TokenService/RevokeToken": func(w *world) proto.Message { return &authv1.RevokeTokenRequest{Token: w.refreshToken()} },
	"TokenService/IntrospectToken": func(w *world) proto.Message {
		return &authv1.IntrospectTokenRequest{WorkspaceId: w.workspace, Token: "lsmf_"}
	},
	"UserService/RequestEmailChange": func(*world) proto.Message {
		return &identityv1.RequestEmailChangeRequest{NewEmail: testkit.NewEmail()}
	},
	"UserService/ConfirmEmailChange": func(w *world) proto.Message {
		address := testkit.NewEmail()
		change, err := w.self().Users.RequestEmailChange(w.t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: address})
		w.must(err)
		return &identityv1.ConfirmEmailChangeRequest{EmailChangeId: change.EmailChangeId, Code: queued(w.t, w.srv, address).Data["code"]}
	},
	"UserService/PreviewDeleteMe": func(*world) proto.Message { return &identityv1.PreviewDeleteMeRequest{} },
	"UserService/DeleteMe": func(w *world) proto.Message {
		preview, err := w.self().Users.PreviewDeleteMe(w.t.Context(), &identityv1.PreviewDeleteMeRequest{})
		w.must(err)
		req := &identityv1.DeleteMeRequest{Etag: preview.Etag}
		for _, owned := range preview.SoleOwnedWorkspaces {
			req.Resolutions = append(req.Resolutions, &identityv1.WorkspaceResolution{
				WorkspaceId: owned.WorkspaceId, Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true},
			})
		}
		return req
	},
	"OperatorService/FindUsers":   func(*world) proto.Message { return &authv1.FindUsersRequest{} },
	"OperatorService/DisableUser": func(w *world) proto.Message { return &authv1.DisableUserRequest{UserId: w.other(), Reason: "A test"} },
	"OperatorService/EnableUser":  func(w *world) proto.Message { return &authv1.EnableUserRequest{UserId: w.other(), Reason: "A test"} },
	"OperatorService/SignOutUser": func(w *world) proto.Message { return &authv1.SignOutUserRequest{UserId: w.other(), Reason: "A test"} },
	"OperatorService/ResetSecondFactors": func(w *world) proto.Message {
		return &authv1.ResetSecondFactorsRequest{UserId: w.other(), Reason: "A test"}
	},
	"OperatorService/ImpersonateUser": func(w *world) proto.Message {
		return &authv1.ImpersonateUserRequest{UserId: w.other(), Reason: "A test"}
	},
	"OperatorService/ImportUsers": func(*world) proto.Message {
		return &authv1.ImportUsersRequest{Users: []*authv1.ImportedUser{{Email: testkit.NewEmail()}}}
	},
	"WorkspaceService/CreateWorkspace": func(*world) proto.Message { return &tenantv1.CreateWorkspaceRequest{Name: "Acme"} },
	"WorkspaceService/GetWorkspace":    func(w *world) proto.Message { return &tenantv1.GetWorkspaceRequest{WorkspaceId: w.workspace} },
	"WorkspaceService/ListWorkspaces":  func(*world) proto.Message { return &tenantv1.ListWorkspacesRequest{ShowDeleted: true} },
	"WorkspaceService/UpdateWorkspace": func(w *world) proto.Message {
		return &tenantv1.UpdateWorkspaceRequest{WorkspaceId: w.workspace, Name: "Acme Ltd."}
	},
	"WorkspaceService/UpdateSecurityPolicy": func(w *world) proto.Message {
		return &tenantv1.UpdateSecurityPolicyRequest{WorkspaceId: w.workspace, SecondFactorRequired: proto.Bool(false)}
	},
	"WorkspaceService/CheckSlugAvailability": func(*world) proto.Message { return &tenantv1.CheckSlugAvailabilityRequest{Slug: "acme"} },
	"WorkspaceService/PreviewDeleteWorkspace": func(w *world) proto.Message {
		return &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: w.workspace}
	},
	"WorkspaceService/DeleteWorkspace": func(w *world) proto.Message {
		return &tenantv1.DeleteWorkspaceRequest{WorkspaceId: w.workspace, Etag: w.preview().Etag}
	},
	"WorkspaceService/UndeleteWorkspace": func(w *world) proto.Message {
		return &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: w.workspace}
	},
	"WorkspaceService/PurgeWorkspace": func(w *world) proto.Message {
		return &tenantv1.PurgeWorkspaceRequest{WorkspaceId: w.workspace, Etag: w.preview().Etag}
	},
	"ApiKeyService/CreateApiKey": func(w *world) proto.Message {
		return &authv1.CreateApiKeyRequest{WorkspaceId: w.workspace, DisplayName: "Mine", Permissions: []string{"workspace.get"}}
	},
	"ApiKeyService/CreateApiKey(program's)": func(w *world) proto.Message {
		return &authv1.CreateApiKeyRequest{
			WorkspaceId: w.workspace, DisplayName: "Robot's", Permissions: []string{"workspace.get"}, ServiceAccountId: w.serviceAccount(w.owner),
		}
	},
	"ApiKeyService/ListApiKeys": func(w *world) proto.Message { return &authv1.ListApiKeysRequest{WorkspaceId: w.workspace} },
	"ApiKeyService/RotateApiKey": func(w *world) proto.Message {
		return &authv1.RotateApiKeyRequest{WorkspaceId: w.workspace, ApiKeyId: w.ownKey()}
	},
	"ApiKeyService/RevokeApiKey": func(w *world) proto.Message {
		return &authv1.RevokeApiKeyRequest{WorkspaceId: w.workspace, ApiKeyId: w.ownKey()}
	},
	"ServiceAccountService/CreateServiceAccount": func(w *world) proto.Message {
		return &authv1.CreateServiceAccountRequest{WorkspaceId: w.workspace, DisplayName: "Robot " + uuid.NewString()}
	},
	"ServiceAccountService/ListServiceAccounts": func(w *world) proto.Message {
		return &authv1.ListServiceAccountsRequest{WorkspaceId: w.workspace}
	},
	"ServiceAccountService/UpdateServiceAccount": func(w *world) proto.Message {
		return &authv1.UpdateServiceAccountRequest{WorkspaceId: w.workspace, ServiceAccountId: w.serviceAccount(w.owner), Description: "Works"}
	},
	"ServiceAccountService/DeleteServiceAccount": func(w *world) proto.Message {
		return &authv1.DeleteServiceAccountRequest{WorkspaceId: w.workspace, ServiceAccountId: w.serviceAccount(w.owner)}
	},
	"MembershipService/ListMemberships": func(w *world) proto.Message { return &teamv1.ListMembershipsRequest{WorkspaceId: w.workspace} },
	"MembershipService/GetMembership": func(w *world) proto.Message {
		return &teamv1.GetMembershipRequest{WorkspaceId: w.workspace, MembershipId: w.owner.Membership.Id}
	},
	"PlanService/ListPlans": func(*world) proto.Message { return &billingv1.ListPlansRequest{} },
	"PlanService/GetPlan":   func(*world) proto.Message { return &billingv1.GetPlanRequest{Plan: "free"} },
	"SubscriptionService/GetSubscription": func(w *world) proto.Message {
		return &billingv1.GetSubscriptionRequest{WorkspaceId: w.workspace}
	},
	"SubscriptionService/CreateCheckoutSession": func(w *world) proto.Message {
		return &billingv1.CreateCheckoutSessionRequest{
			WorkspaceId: w.workspace, Plan: "team", Currency: "EUR", Interval: billingv1.Interval_INTERVAL_MONTH, SuccessUrl: "/paid", CancelUrl: "/",
		}
	},
	"SubscriptionService/CreatePortalSession": func(w *world) proto.Message {
		return &billingv1.CreatePortalSessionRequest{WorkspaceId: w.workspace, ReturnUrl: "/"}
	},
	"ReconciliationService/ReconcileSubscription": func(w *world) proto.Message {
		return &billingv1.ReconcileSubscriptionRequest{WorkspaceId: w.workspace}
	},
	"SubscriptionService/PreviewChangeSubscription": func(w *world) proto.Message { return w.previewOfChange() },
	"SubscriptionService/ChangeSubscription": func(w *world) proto.Message {
		req := w.previewOfChange()
		etag := "of-none"
		if res, err := w.owner.Subscriptions.PreviewChangeSubscription(w.t.Context(), req); err == nil { // of one that is not deleted
			etag = res.Etag
		}
		return &billingv1.ChangeSubscriptionRequest{WorkspaceId: req.WorkspaceId, Plan: req.Plan, Currency: req.Currency, Interval: req.Interval, Etag: etag}
	},
	"SubscriptionService/StartTrial": func(w *world) proto.Message {
		req := w.previewOfChange()
		return &billingv1.StartTrialRequest{WorkspaceId: req.WorkspaceId, Plan: req.Plan, Currency: req.Currency, Interval: req.Interval}
	},
	"SubscriptionService/CancelSubscription": func(w *world) proto.Message {
		return &billingv1.CancelSubscriptionRequest{WorkspaceId: w.workspace}
	},
	"SubscriptionService/ResumeSubscription": func(w *world) proto.Message {
		return &billingv1.ResumeSubscriptionRequest{WorkspaceId: w.workspace}
	},
	"SeatService/UpdateSeatCount": func(w *world) proto.Message {
		return &billingv1.UpdateSeatCountRequest{WorkspaceId: w.workspace, SeatCount: 50}
	},
	"SeatService/GetSeatUsage": func(w *world) proto.Message { return &billingv1.GetSeatUsageRequest{WorkspaceId: w.workspace} },
	"EntitlementService/CheckEntitlement": func(w *world) proto.Message {
		return &billingv1.CheckEntitlementRequest{WorkspaceId: w.workspace, Feature: "seats"}
	},
	"EntitlementService/ListEntitlements": func(w *world) proto.Message {
		return &billingv1.ListEntitlementsRequest{WorkspaceId: w.workspace}
	},
	"TestClockService/GetTestClock": func(*world) proto.Message { return &billingv1.GetTestClockRequest{} },
	"TestClockService/AdvanceTestClock": func(*world) proto.Message {
		return &billingv1.AdvanceTestClockRequest{By: durationpb.New(time.Hour)}
	},
	"InvoiceService/ListInvoices": func(w *world) proto.Message {
		w.invoice()
		return &billingv1.ListInvoicesRequest{WorkspaceId: w.workspace}
	},
	"InvoiceService/GetInvoice": func(w *world) proto.Message {
		return &billingv1.GetInvoiceRequest{WorkspaceId: w.workspace, InvoiceId: w.invoice()}
	},
	"InvoiceService/GetUpcomingInvoice": func(w *world) proto.Message {
		return &billingv1.GetUpcomingInvoiceRequest{WorkspaceId: w.workspace}
	},
	"InvoiceService/RenderInvoice": func(w *world) proto.Message {
		return &billingv1.RenderInvoiceRequest{WorkspaceId: w.workspace, InvoiceId: w.invoice(), Format: billingv1.InvoiceFormat_INVOICE_FORMAT_PDF}
	},
	"InvoiceService/MarkInvoicePaid": func(w *world) proto.Message {
		return &billingv1.MarkInvoicePaidRequest{InvoiceId: w.invoice(), Note: "A transfer"}
	},
	"InvoiceService/VoidInvoice": func(w *world) proto.Message {
		return &billingv1.VoidInvoiceRequest{InvoiceId: w.invoice(), Reason: "A test"}
	},
	"InvoiceService/SearchInvoices": func(w *world) proto.Message {
		w.invoice()
		return &billingv1.SearchInvoicesRequest{WorkspaceId: w.workspace}
	},
	"EntitlementService/OverrideEntitlement": func(w *world) proto.Message {
		return &billingv1.OverrideEntitlementRequest{
			WorkspaceId: w.workspace, Feature: "sso", Value: &billingv1.OverrideEntitlementRequest_Enabled{Enabled: true}, Reason: "A test",
		}
	},
	"UsageService/RecordUsage": func(w *world) proto.Message {
		return &billingv1.RecordUsageRequest{WorkspaceId: w.workspace, Event: used("one", "api_calls", 1, time.Time{})}
	},
	"UsageService/BatchRecordUsage": func(w *world) proto.Message {
		return &billingv1.BatchRecordUsageRequest{WorkspaceId: w.workspace, Events: []*billingv1.UsageEvent{
			used("one", "api_calls", 1, time.Time{}), used("two", "storage", 1, time.Time{}),
		}}
	},
	"UsageService/QueryUsage": func(w *world) proto.Message {
		return &billingv1.QueryUsageRequest{
			WorkspaceId: w.workspace, Meter: "api_calls", Bucket: billingv1.UsageBucket_USAGE_BUCKET_DAY,
			StartTime: timestamppb.New(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), EndTime: timestamppb.New(time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC)),
		}
	},
	"EventService/ListEvents":      func(w *world) proto.Message { return &auditv1.ListEventsRequest{WorkspaceId: w.workspace} },
	"EventService/ListEvents(own)": func(*world) proto.Message { return &auditv1.ListEventsRequest{} },

	"MembershipService/UpdateMembership": func(w *world) proto.Message {
		_, id := w.member(authz.Viewer)
		return &teamv1.UpdateMembershipRequest{WorkspaceId: w.workspace, MembershipId: id, Role: "member"}
	},
	"MembershipService/UpdateMembership(to-owner)": func(w *world) proto.Message {
		_, id := w.member(authz.Viewer)
		return &teamv1.UpdateMembershipRequest{WorkspaceId: w.workspace, MembershipId: id, Role: "owner"}
	},
	"MembershipService/DeactivateMembership": func(w *world) proto.Message {
		_, id := w.member(authz.Viewer)
		return &teamv1.DeactivateMembershipRequest{WorkspaceId: w.workspace, MembershipId: id}
	},
	"MembershipService/ReactivateMembership": func(w *world) proto.Message {
		_, id := w.member(authz.Viewer)
		w.deactivate(id)
		return &teamv1.ReactivateMembershipRequest{WorkspaceId: w.workspace, MembershipId: id}
	},
	"MembershipService/RemoveMembership": func(w *world) proto.Message {
		_, id := w.member(authz.Viewer)
		return &teamv1.RemoveMembershipRequest{WorkspaceId: w.workspace, MembershipId: id}
	},
	"MembershipService/LeaveWorkspace": func(w *world) proto.Message {
		elsewhere := newPerson(w.t, w.srv)
		w.srv.Join(w.t, w.self(), elsewhere.Workspace.Id, authz.Member)
		return &teamv1.LeaveWorkspaceRequest{WorkspaceId: elsewhere.Workspace.Id}
	},
	"MembershipService/LeaveWorkspace(this)": func(w *world) proto.Message {
		return &teamv1.LeaveWorkspaceRequest{WorkspaceId: w.workspace}
	},
	"MembershipService/TransferOwnership": func(w *world) proto.Message {
		_, id := w.member(authz.Viewer)
		return &teamv1.TransferOwnershipRequest{WorkspaceId: w.workspace, MembershipId: id, OwnRole: "viewer"}
	},
	"AuthorizationService/CheckPermission": func(w *world) proto.Message {
		return &teamv1.CheckPermissionRequest{WorkspaceId: w.workspace, Permission: "workspace.update"}
	},
	"AuthorizationService/BatchCheckPermissions": func(w *world) proto.Message {
		return &teamv1.BatchCheckPermissionsRequest{Checks: []*teamv1.PermissionCheck{
			{WorkspaceId: w.workspace, Permission: "workspace.update"}, {WorkspaceId: w.self().Workspace.Id, Permission: "workspace.delete"},
		}}
	},
	"AuthorizationService/ExplainAccess": func(w *world) proto.Message {
		return &teamv1.ExplainAccessRequest{WorkspaceId: w.workspace, Permission: "workspace.update", UserId: w.owner.User.Id}
	},
	"RoleService/ListPermissions": func(*world) proto.Message { return &teamv1.ListPermissionsRequest{} },
	"RoleService/GetRole": func(w *world) proto.Message {
		return &teamv1.GetRoleRequest{WorkspaceId: w.workspace, RoleId: string(w.role(w.owner, "workspace.get"))}
	},
	"RoleService/ListRoles": func(w *world) proto.Message { return &teamv1.ListRolesRequest{WorkspaceId: w.workspace} },
	"RoleService/CreateRole": func(w *world) proto.Message { // of no permissions
		return &teamv1.CreateRoleRequest{WorkspaceId: w.workspace, Name: "Role " + uuid.NewString()}
	},
	"RoleService/UpdateRole": func(w *world) proto.Message {
		return &teamv1.UpdateRoleRequest{
			WorkspaceId: w.workspace, RoleId: string(w.role(w.owner, "workspace.get")), UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"permissions"}},
		}
	},
	"RoleService/DeleteRole": func(w *world) proto.Message {
		role := w.role(w.owner, "workspace.get")
		w.member(role)
		return &teamv1.DeleteRoleRequest{WorkspaceId: w.workspace, RoleId: string(role), ReplacementRole: "viewer"}
	},
	"InvitationService/CreateInvitation": func(w *world) proto.Message {
		return &teamv1.CreateInvitationRequest{WorkspaceId: w.workspace, Email: testkit.NewEmail()}
	},
	"InvitationService/CreateInvitation(owner)": func(w *world) proto.Message {
		return &teamv1.CreateInvitationRequest{WorkspaceId: w.workspace, Email: testkit.NewEmail(), Role: "owner"}
	},
	"InvitationService/BatchCreateInvitations": func(w *world) proto.Message {
		return &teamv1.BatchCreateInvitationsRequest{WorkspaceId: w.workspace, Emails: []string{testkit.NewEmail(), testkit.NewEmail()}, Role: "viewer"}
	},
	"InvitationService/ListInvitations": func(w *world) proto.Message {
		w.invitation(w.owner, testkit.NewEmail())
		return &teamv1.ListInvitationsRequest{WorkspaceId: w.workspace}
	},
	"InvitationService/ResendInvitation": func(w *world) proto.Message {
		return &teamv1.ResendInvitationRequest{WorkspaceId: w.workspace, InvitationId: w.invitation(w.owner, testkit.NewEmail())}
	},
	"InvitationService/RevokeInvitation": func(w *world) proto.Message {
		return &teamv1.RevokeInvitationRequest{WorkspaceId: w.workspace, InvitationId: w.invitation(w.owner, testkit.NewEmail())}
	},
	"InvitationService/GetInvitationByToken": func(w *world) proto.Message {
		return &teamv1.GetInvitationByTokenRequest{Token: w.mailedToken(w.self().Email)}
	},
	"InvitationService/AcceptInvitation": func(w *world) proto.Message {
		w.prove(w.self())
		return &teamv1.AcceptInvitationRequest{Token: w.mailedToken(w.self().Email)}
	},
	"InvitationService/RegisterWithInvitation": func(w *world) proto.Message {
		return &teamv1.RegisterWithInvitationRequest{Token: w.mailedToken(testkit.NewEmail()), Password: testkit.Password}
	},
	"InvitationService/DeclineInvitation": func(w *world) proto.Message {
		return &teamv1.DeclineInvitationRequest{Token: w.mailedToken(testkit.NewEmail())}
	},
	"InvitationService/DeclineInvitation(by-id)": func(w *world) proto.Message {
		w.prove(w.self())
		return &teamv1.DeclineInvitationRequest{InvitationId: w.invitation(newPerson(w.t, w.srv), w.self().Email)}
	},
	"InvitationService/RequestInvitationRenewal": func(w *world) proto.Message {
		email := testkit.NewEmail()
		token := w.mailedToken(email)
		w.sql("UPDATE team.invitations SET expire_time = create_time WHERE address_key = $1", email)
		return &teamv1.RequestInvitationRenewalRequest{Token: token}
	},
	"InvitationService/ListReceivedInvitations": func(w *world) proto.Message {
		w.prove(w.self())
		w.invitation(newPerson(w.t, w.srv), w.self().Email)
		return &teamv1.ListReceivedInvitationsRequest{}
	},
	"InvitationService/CreateInvitationLink": func(w *world) proto.Message {
		return &teamv1.CreateInvitationLinkRequest{WorkspaceId: w.workspace, Role: "viewer", MaxUses: 3, Domains: []string{"example.com"}}
	},
	"InvitationService/ListInvitationLinks": func(w *world) proto.Message {
		w.link(w.owner)
		return &teamv1.ListInvitationLinksRequest{WorkspaceId: w.workspace}
	},
	"InvitationService/RevokeInvitationLink": func(w *world) proto.Message {
		return &teamv1.RevokeInvitationLinkRequest{WorkspaceId: w.workspace, LinkId: w.link(w.owner)}
	},
	"JoinRequestService/ListJoinableWorkspaces": func(w *world) proto.Message {
		w.joinable()
		return &teamv1.ListJoinableWorkspacesRequest{}
	},
	"JoinRequestService/CreateJoinRequest": func(w *world) proto.Message {
		return &teamv1.CreateJoinRequestRequest{WorkspaceId: w.joinable(), Message: "please"}
	},
	"JoinRequestService/ListJoinRequests": func(w *world) proto.Message {
		w.joinRequest(w.owner)
		return &teamv1.ListJoinRequestsRequest{WorkspaceId: w.workspace}
	},
	"JoinRequestService/ApproveJoinRequest": func(w *world) proto.Message {
		return &teamv1.ApproveJoinRequestRequest{WorkspaceId: w.workspace, JoinRequestId: w.joinRequest(w.owner), Role: "viewer"}
	},
	"JoinRequestService/RejectJoinRequest": func(w *world) proto.Message {
		return &teamv1.RejectJoinRequestRequest{WorkspaceId: w.workspace, JoinRequestId: w.joinRequest(w.owner)}
	},
	"DomainService/CreateDomain": func(w *world) proto.Message {
		return &tenantv1.CreateDomainRequest{WorkspaceId: w.workspace, Domain: newDomain()}
	},
	"DomainService/VerifyDomain": func(w *world) proto.Message { // which it is already
		return &tenantv1.VerifyDomainRequest{WorkspaceId: w.workspace, DomainId: w.domain(w.owner, newDomain())}
	},
	"DomainService/ListDomains": func(w *world) proto.Message {
		w.domain(w.owner, newDomain())
		return &tenantv1.ListDomainsRequest{WorkspaceId: w.workspace}
	},
	"DomainService/UpdateDomainEnrollment": func(w *world) proto.Message {
		return &tenantv1.UpdateDomainEnrollmentRequest{
			WorkspaceId: w.workspace, DomainId: w.domain(w.owner, newDomain()), Enrollment: tenantv1.DomainEnrollment_DOMAIN_ENROLLMENT_REQUEST, Role: "viewer",
		}
	},
	"DomainService/DeleteDomain": func(w *world) proto.Message {
		return &tenantv1.DeleteDomainRequest{WorkspaceId: w.workspace, DomainId: w.domain(w.owner, newDomain())}
	},
}

// newDomain returns a domain that nobody has.
func newDomain() string { return strings.Replace(testkit.NewEmail(), "@", ".", 1) }
