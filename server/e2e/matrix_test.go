package e2e

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// matrix says what every method answers to every kind of caller. The callers
// stand to the workspace that the request names:
//
//	anon      nobody: no session
//	stranger  signed in; a viewer of another workspace
//	other     signed in; the owner of another workspace
//	viewer, member, admin, owner  of this one
//	custom    of this one, with a custom role of some permissions (customPermissions)
//	inactive  an admin of this one, whose membership is deactivated
//	exowner   the owner of this one, which is deleted
//	exmember  an admin of this one, which is deleted
//	expired   the owner, with a session that has expired
//	stale     the owner, who signed in more than 10 minutes ago
//
// The answers are those of outcomes, below.
const matrix = `
method                                       anon     stranger other    viewer   member   admin    owner    custom   inactive exowner  exmember expired  stale

RegistrationService/Register                 ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
RegistrationService/VerifyRegistration       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
RegistrationService/ResendRegistrationCode   ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
AuthenticationService/SignInWithPassword     ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
PasswordService/RequestPasswordReset         ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
PasswordService/ResetPassword                ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
ExternalIdentityService/ListIdentityProviders ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
ExternalIdentityService/StartExternalSignIn  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
ExternalIdentityService/StartExternalSignIn(link) session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  reauth
ExternalIdentityService/CompleteExternalSignIn ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
InvitationService/GetInvitationByToken       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
InvitationService/RegisterWithInvitation     ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
InvitationService/DeclineInvitation          ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
InvitationService/RequestInvitationRenewal   ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
PasskeyService/StartPasskeyAssertion         ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
PasskeyService/SignInWithPasskey             ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
EmailChallengeService/StartEmailSignIn       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
EmailChallengeService/CompleteEmailSignIn    ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
PlanService/ListPlans                        ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
PlanService/GetPlan                          ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok

TokenService/RefreshAccessToken              ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
TokenService/RevokeToken                     ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       ok
TokenService/CreateAccessToken               session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
TokenService/CreateRefreshToken              session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
AuthenticationService/Reauthenticate         session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
AuthenticationService/SignOut                session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
SessionService/GetSession                    session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
SessionService/ListSessions                  session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
SessionService/RevokeSession                 session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
SessionService/RevokeOtherSessions           session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
PasswordService/ChangePassword               session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  reauth
ExternalIdentityService/ListExternalIdentities session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
ExternalIdentityService/DeleteExternalIdentity session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  reauth
EmailChallengeService/StartEmailReauthentication session ok  ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
PasskeyService/StartPasskeyRegistration      session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  reauth
PasskeyService/RegisterPasskey               session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  reauth
PasskeyService/ListPasskeys                  session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
PasskeyService/UpdatePasskey                 session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
PasskeyService/DeletePasskey                 session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  reauth
MfaService/VerifySecondFactor                session  owes     owes     owes     owes     owes     owes     owes     owes     owes     owes     session  owes
MfaService/CreateTotpFactor                  session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  reauth
MfaService/ConfirmTotpFactor                 session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  reauth
MfaService/ListTotpFactors                   session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
MfaService/UpdateTotpFactor                  session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
MfaService/DeleteTotpFactor                  session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  reauth
MfaService/GetRecoveryCodes                  session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
MfaService/RegenerateRecoveryCodes           session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  reauth
SecurityService/GetSecurityOverview          session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
SecurityService/ListSecurityEvents           session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
UserService/GetMe                            session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
UserService/UpdateMe                         session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
UserService/RequestEmailChange               session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  reauth
UserService/ConfirmEmailChange               session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
UserService/PreviewDeleteMe                  session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
UserService/DeleteMe                         session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  reauth
WorkspaceService/CreateWorkspace             session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
WorkspaceService/ListWorkspaces              session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
WorkspaceService/CheckSlugAvailability       session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
EventService/ListEvents(own)                 session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
InvitationService/DeclineInvitation(by-id)   session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
InvitationService/AcceptInvitation           session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
InvitationService/ListReceivedInvitations    session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
JoinRequestService/ListJoinableWorkspaces    session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
JoinRequestService/CreateJoinRequest         session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
MembershipService/LeaveWorkspace             session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
AuthorizationService/CheckPermission         session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
AuthorizationService/BatchCheckPermissions   session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok
RoleService/ListPermissions                  session  ok       ok       ok       ok       ok       ok       ok       ok       ok       ok       session  ok

TokenService/CreateAccessToken(workspace)    session  hidden   hidden   ok       ok       ok       ok       ok       hidden   hidden   hidden   session  ok
TokenService/CreateRefreshToken(workspace)   session  hidden   hidden   ok       ok       ok       ok       ok       hidden   hidden   hidden   session  ok
TokenService/IntrospectToken                 session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
OperatorService/FindUsers                    session  op       op       op       op       op       op       op       op       op       op       session  op
OperatorService/DisableUser                  session  op       op       op       op       op       op       op       op       op       op       session  op
OperatorService/EnableUser                   session  op       op       op       op       op       op       op       op       op       op       session  op
OperatorService/SignOutUser                  session  op       op       op       op       op       op       op       op       op       op       session  op
OperatorService/ResetSecondFactors           session  op       op       op       op       op       op       op       op       op       op       session  op
OperatorService/ImpersonateUser              session  op       op       op       op       op       op       op       op       op       op       session  op
OperatorService/ImportUsers                  session  op       op       op       op       op       op       op       op       op       op       session  op

WorkspaceService/GetWorkspace                session  hidden   hidden   ok       ok       ok       ok       role     hidden   ok       hidden   session  ok
WorkspaceService/UpdateWorkspace             session  hidden   hidden   role     role     ok       ok       ok       hidden   hidden   hidden   session  ok
WorkspaceService/UpdateSecurityPolicy        session  hidden   hidden   role     role     ok       ok       ok       hidden   hidden   hidden   session  reauth
WorkspaceService/PreviewDeleteWorkspace      session  hidden   hidden   role     role     role     ok       role     hidden   ok       hidden   session  ok
WorkspaceService/DeleteWorkspace             session  hidden   hidden   role     role     role     ok       role     hidden   ok       hidden   session  reauth
WorkspaceService/UndeleteWorkspace           session  hidden   hidden   role     role     role     live     role     hidden   ok       hidden   session  live
WorkspaceService/PurgeWorkspace              session  hidden   hidden   role     role     role     live     role     hidden   ok       hidden   session  reauth
MembershipService/ListMemberships            session  hidden   hidden   ok       ok       ok       ok       ok       hidden   hidden   hidden   session  ok
MembershipService/GetMembership              session  hidden   hidden   ok       ok       ok       ok       ok       hidden   hidden   hidden   session  ok
MembershipService/LeaveWorkspace(this)       session  hidden   hidden   ok       ok       ok       last     ok       ok       hidden   hidden   session  last
MembershipService/UpdateMembership           session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
MembershipService/UpdateMembership(to-owner) session  hidden   hidden   role     role     more     ok       role     hidden   hidden   hidden   session  reauth
MembershipService/DeactivateMembership       session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
MembershipService/ReactivateMembership       session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
MembershipService/RemoveMembership           session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
MembershipService/TransferOwnership          session  hidden   hidden   role     role     role     ok       role     hidden   hidden   hidden   session  reauth
AuthorizationService/ExplainAccess           session  hidden   hidden   ok       ok       ok       ok       ok       hidden   hidden   hidden   session  ok
RoleService/GetRole                          session  hidden   hidden   ok       ok       ok       ok       role     hidden   hidden   hidden   session  ok
RoleService/ListRoles                        session  hidden   hidden   ok       ok       ok       ok       role     hidden   hidden   hidden   session  ok
RoleService/CreateRole                       session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
RoleService/UpdateRole                       session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
RoleService/DeleteRole                       session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
InvitationService/CreateInvitation           session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
InvitationService/CreateInvitation(owner)    session  hidden   hidden   role     role     more     ok       role     hidden   hidden   hidden   session  reauth
InvitationService/BatchCreateInvitations     session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
InvitationService/ListInvitations            session  hidden   hidden   role     role     ok       ok       ok       hidden   hidden   hidden   session  ok
InvitationService/ResendInvitation           session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
InvitationService/RevokeInvitation           session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
InvitationService/CreateInvitationLink       session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
InvitationService/ListInvitationLinks        session  hidden   hidden   role     role     ok       ok       ok       hidden   hidden   hidden   session  ok
InvitationService/RevokeInvitationLink       session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
JoinRequestService/ListJoinRequests          session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
JoinRequestService/ApproveJoinRequest        session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
JoinRequestService/RejectJoinRequest         session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
DomainService/CreateDomain                   session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
DomainService/VerifyDomain                   session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
SubscriptionService/GetSubscription          session  hidden   hidden   role     role     ok       ok       role     hidden   ok       hidden   session  ok
SubscriptionService/CreateCheckoutSession    session  hidden   hidden   role     role     unsold   unsold   role     hidden   hidden   hidden   session  unsold
SubscriptionService/CreatePortalSession      session  hidden   hidden   role     role     unsold   unsold   role     hidden   hidden   hidden   session  unsold
ReconciliationService/ReconcileSubscription  session  op       op       op       op       op       op       op       op       op       op       session  op
SubscriptionService/PreviewChangeSubscription session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
SubscriptionService/ChangeSubscription       session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
SubscriptionService/StartTrial               session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
SubscriptionService/CancelSubscription       session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
SubscriptionService/ResumeSubscription       session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
SeatService/UpdateSeatCount                  session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
SeatService/GetSeatUsage                     session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
EntitlementService/CheckEntitlement          session  hidden   hidden   ok       ok       ok       ok       role     hidden   hidden   hidden   session  ok
EntitlementService/ListEntitlements          session  hidden   hidden   ok       ok       ok       ok       role     hidden   hidden   hidden   session  ok
UsageService/RecordUsage                     session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
UsageService/BatchRecordUsage                session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
UsageService/QueryUsage                      session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
EntitlementService/OverrideEntitlement       session  op       op       op       op       op       op       op       op       op       op       session  op
TestClockService/GetTestClock                session  op       op       op       op       op       op       op       op       op       op       session  op
TestClockService/AdvanceTestClock            session  op       op       op       op       op       op       op       op       op       op       session  op
InvoiceService/ListInvoices                  session  hidden   hidden   role     role     ok       ok       role     hidden   ok       hidden   session  ok
InvoiceService/GetInvoice                    session  hidden   hidden   role     role     ok       ok       role     hidden   ok       hidden   session  ok
InvoiceService/GetUpcomingInvoice            session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
InvoiceService/RenderInvoice                 session  hidden   hidden   role     role     ok       ok       role     hidden   ok       hidden   session  ok
InvoiceService/MarkInvoicePaid               session  op       op       op       op       op       op       op       op       op       op       session  op
InvoiceService/VoidInvoice                   session  op       op       op       op       op       op       op       op       op       op       session  op
InvoiceService/SearchInvoices                session  op       op       op       op       op       op       op       op       op       op       session  op
DomainService/ListDomains                    session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
DomainService/UpdateDomainEnrollment         session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
DomainService/DeleteDomain                   session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
ApiKeyService/CreateApiKey                   session  hidden   hidden   role     ok       ok       ok       role     hidden   hidden   hidden   session  reauth
ApiKeyService/CreateApiKey(program's)        session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  reauth
ApiKeyService/ListApiKeys                    session  hidden   hidden   ok       ok       ok       ok       role     hidden   hidden   hidden   session  ok
ApiKeyService/RotateApiKey                   session  hidden   hidden   role     ok       ok       ok       role     hidden   hidden   hidden   session  reauth
ApiKeyService/RevokeApiKey                   session  hidden   hidden   ok       ok       ok       ok       role     hidden   hidden   hidden   session  ok
ServiceAccountService/CreateServiceAccount   session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
ServiceAccountService/ListServiceAccounts    session  hidden   hidden   role     ok       ok       ok       role     hidden   hidden   hidden   session  ok
ServiceAccountService/UpdateServiceAccount   session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
ServiceAccountService/DeleteServiceAccount   session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
EventService/ListEvents                      session  hidden   hidden   role     role     ok       ok       role     hidden   hidden   hidden   session  ok
`

// outcomes are the code and reason of each answer in the matrix.
var outcomes = map[string]string{
	"ok":      "ok",
	"session": "unauthenticated SESSION_REQUIRED",
	"hidden":  "not_found NOT_FOUND",
	"role":    "permission_denied PERMISSION_MISSING",
	"reauth":  "failed_precondition REAUTHENTICATION_REQUIRED",
	"live":    "failed_precondition WORKSPACE_NOT_DELETED",
	"last":    "failed_precondition OWNER_REQUIRED",
	"more":    "permission_denied ROLE_NOT_GRANTABLE",
	"op":      "permission_denied OPERATOR_REQUIRED",
	"no-key":  "permission_denied API_KEY_NOT_ALLOWED",
	"unsold":  "failed_precondition PAYMENT_PROVIDER_MISSING",
	"owes":    "failed_precondition FACTOR_MISSING", // of a session that owes no second factor
}

// customPermissions are those of the caller `custom`: two that an admin holds, and
// one that a viewer does.
var customPermissions = []string{"invitation.list", "membership.get", "workspace.update"}

// cast are people who call for all lines, with a twin each who signed in long ago: no call
// of theirs leaves anything.
type cast struct {
	outsiders map[string][2]*world
	insiders  map[string][2]*testkit.Person // who join the workspace of each line
}

// insiders are the callers who belong to the workspace, with their roles; "" for the custom one.
var insiders = map[string]authz.Role{
	"viewer": authz.Viewer, "member": authz.Member, "admin": authz.Admin, "custom": "", "inactive": authz.Admin, "exmember": authz.Admin, "stale": authz.Owner,
}

func newCast(t *testing.T, srv *testkit.Server) *cast {
	c := &cast{map[string][2]*world{}, map[string][2]*testkit.Person{}}
	for _, caller := range []string{"anon", "expired", "stranger", "other"} {
		twins := [2]*world{newWorld(t, srv, caller), newWorld(t, srv, caller)}
		twins[0].spoil(caller)
		if twins[1].caller != nil {
			twins[1].spoil("stale")
		}
		c.outsiders[caller] = twins
	}
	for caller := range insiders {
		var twins [2]*testkit.Person
		for i := range twins {
			w := newWorld(t, srv, "owner")
			if i == 1 || caller == "stale" {
				w.spoil("stale")
			}
			twins[i] = w.owner
		}
		c.insiders[caller] = twins
	}
	return c
}

// scene is what calls of one line share.
type scene struct {
	*cast
	live, gone *world // with the workspace, and with a deleted one
	request    func(*world) proto.Message
	messages   map[*world]proto.Message // made when they are needed
}

// enter returns a kind of caller and their twin, and the message.
func (s *scene) enter(caller string) (w, old *world, message proto.Message) {
	stage := s.live
	if strings.HasPrefix(caller, "ex") && caller != "expired" {
		if s.gone == nil {
			s.gone = newWorld(s.live.t, s.live.srv, "exowner")
		}
		stage = s.gone
	}
	if s.messages[stage] == nil {
		s.messages[stage] = s.request(stage)
	}
	message = s.messages[stage]
	if twins, ok := s.outsiders[caller]; ok {
		return twins[0], twins[1], message
	}
	if caller == "owner" || caller == "exowner" {
		return stage, nil, message
	}
	role := insiders[caller]
	if role == "" {
		role = stage.role(stage.owner, customPermissions...)
	}
	var twins [2]*world
	for i, p := range s.insiders[caller] {
		twins[i] = &world{t: stage.t, srv: stage.srv, workspace: stage.workspace, owner: stage.owner, caller: p}
		stage.undeleted(func() {
			membership := stage.srv.Join(stage.t, p, stage.workspace, role).String()
			if caller == "inactive" {
				stage.deactivate(membership)
			}
		})
	}
	return twins[0], twins[1], message
}

// leavesAll reports whether a call leaves everything as it was: one that is refused, or
// that only reads. But where somebody is refused as the last owner, nobody else may be one.
func leavesAll(method protoreflect.MethodDescriptor, cell string) bool {
	level := method.Options().(*descriptorpb.MethodOptions).GetIdempotencyLevel()
	return cell != "last" && (cell != "ok" || level == descriptorpb.MethodOptions_NO_SIDE_EFFECTS)
}

// TestEveryMethodAnswersEveryKindOfCallerAsTheMatrixSays calls every method as
// every kind of caller, each time in a world of its own, except that calls that leave
// everything as it was share one. What an outsider gets is the same, to the byte, as for
// a workspace that never existed.
func TestEveryMethodAnswersEveryKindOfCallerAsTheMatrixSays(t *testing.T) {
	t.Parallel()
	srv := quick(t)
	callers, rows := readMatrix(t)
	methods := methodsByName(t, srv)
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		if !slices.ContainsFunc(rows, func(r matrixRow) bool { return r.method() == name }) {
			t.Errorf("%s: the matrix has no line for it", name)
		}
	}
	all := newCast(t, srv)
	t.Run("lines", func(t *testing.T) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				t.Parallel()
				method, request := methods[row.method()], requests[row.name]
				if method == nil || request == nil {
					t.Fatal("there is no such method, or no request for it")
				}
				shared := &scene{cast: all, live: newWorld(t, srv, "owner"), request: request, messages: map[*world]proto.Message{}}
				nobody := map[string]answer{} // the answers to those without a session
				for i, caller := range callers {
					cell := row.cells[i]
					want := outcomes[cell]
					if want == "" {
						t.Errorf("%s: %q is no answer", caller, cell)
						continue
					}
					var w, old *world
					var message proto.Message
					if leavesAll(method, cell) {
						w, old, message = shared.enter(caller)
					} else {
						w = newWorld(t, srv, caller)
						message = request(w)
						w.spoil(caller)
					}
					if a := checkCell(t, w, old, method, message, caller, want); cell == "session" {
						nobody[caller] = a
					}
				}
				for caller, a := range nobody {
					if diff := cmp.Diff(nobody["anon"].comparable(), a.comparable()); diff != "" {
						t.Errorf("%s is answered otherwise than who has no session (-anon +%s):\n%s", caller, caller, diff)
					}
				}
			})
		}
	})
	srv.CheckInvariants(t)
	checkLog(t, srv, testkit.Password, "another horse, another staple")
}

// checkCell makes one call of the matrix. The caller who signed in long ago is old, or for
// nil the same one, later.
func checkCell(t *testing.T, w, old *world, method protoreflect.MethodDescriptor, message proto.Message, caller, want string) answer {
	t.Helper()
	srv := w.srv
	a := callJSON(t, srv, method, w.token(), message)
	if got := a.outcome(); got != want {
		t.Errorf("%s: %s, want %s\n%s", caller, got, want, a.body)
		return a
	}
	switch want {
	case "ok":
		if err := protojson.Unmarshal(a.body, dynamicpb.NewMessage(method.Output())); err != nil {
			t.Errorf("%s: the answer: %v", caller, err)
		}
	case outcomes["hidden"]:
		random := proto.Clone(message)
		random.ProtoReflect().Set(workspaceOf(random), protoreflect.ValueOfString(ids.New[ids.Workspace]().String()))
		b := callJSON(t, srv, method, w.token(), random)
		if diff := cmp.Diff(b.comparable(), a.comparable()); diff != "" {
			t.Errorf("%s can tell the workspace from one that never existed (-never +this):\n%s", caller, diff)
		}
		if old == nil {
			old = w
			old.spoil("stale")
		}
		b = callJSON(t, srv, method, old.token(), message)
		if diff := cmp.Diff(b.comparable(), a.comparable()); diff != "" {
			t.Errorf("%s can tell the workspace by an old sign-in (-old +new):\n%s", caller, diff)
		}
	}
	return a
}

// world is what one call of the matrix finds.
type world struct {
	t         *testing.T
	srv       *testkit.Server
	workspace string // the one that requests name
	owner     *testkit.Person
	caller    *testkit.Person              // nil for nobody
	key       *authv1.CreateApiKeyResponse // by which the caller calls; nil for their session
}

// newWorld makes a workspace and a caller, whose addresses are proven.
func newWorld(t *testing.T, srv *testkit.Server, caller string) *world {
	t.Helper()
	w := &world{t: t, srv: srv, owner: newPerson(t, srv)}
	w.prove(w.owner)
	w.workspace = w.owner.Workspace.Id
	join := func(role authz.Role) { w.caller, _ = w.member(role) }
	switch caller {
	case "anon":
	case "stranger":
		w.caller = newPerson(t, srv)
		heir := newPerson(t, srv)
		_, err := w.caller.Memberships.TransferOwnership(t.Context(), &teamv1.TransferOwnershipRequest{
			WorkspaceId: w.caller.Workspace.Id, MembershipId: srv.Join(t, heir, w.caller.Workspace.Id, authz.Viewer).String(), OwnRole: "viewer",
		})
		w.must(err)
	case "other":
		w.caller = newPerson(t, srv)
	case "viewer", "member", "admin":
		join(authz.Role(caller))
	case "custom":
		join(w.role(w.owner, customPermissions...))
	case "inactive":
		var membership string
		w.caller, membership = w.member(authz.Admin)
		w.deactivate(membership)
	case "owner", "expired", "stale":
		w.caller = w.owner
	case "exowner":
		w.caller = w.owner
		w.delete()
	case "exmember":
		join(authz.Admin)
		w.delete()
	default:
		t.Fatalf("there is no kind of caller %q", caller)
	}
	if w.caller != nil {
		w.prove(w.caller)
	}
	return w
}

// spoil makes the caller's session what the kind of caller says.
func (w *world) spoil(caller string) {
	w.t.Helper()
	switch caller {
	case "expired":
		w.sql("UPDATE auth.sessions SET idle_expire_time = create_time WHERE id = $1", uuidOf(w.t, w.caller.Session.Id))
	case "stale":
		w.sql("UPDATE auth.sessions SET auth_time = auth_time - interval '11 minutes' WHERE id = $1", uuidOf(w.t, w.caller.Session.Id))
	}
}

// token is the caller's, or "".
func (w *world) token() string {
	if w.key != nil {
		return w.key.Token
	}
	if w.caller == nil {
		return ""
	}
	return w.caller.Token
}

// self is the caller, or the owner for nobody.
func (w *world) self() *testkit.Person {
	if w.caller == nil {
		return w.owner
	}
	return w.caller
}

// preview is the owner's.
func (w *world) preview() *tenantv1.PreviewDeleteWorkspaceResponse {
	w.t.Helper()
	preview, err := w.owner.Workspaces.PreviewDeleteWorkspace(w.t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: w.workspace})
	w.must(err)
	return preview
}

func (w *world) delete() {
	w.t.Helper()
	_, err := w.owner.Workspaces.DeleteWorkspace(w.t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: w.workspace, Etag: w.preview().Etag})
	w.must(err)
}

// registration begins one, and returns its id and address.
func (w *world) registration() (id, email string) {
	w.t.Helper()
	email = testkit.NewEmail()
	res, err := w.srv.Client("").Registration.Register(w.t.Context(), &authv1.RegisterRequest{
		Email: email, Password: testkit.Password, WorkspaceName: "Acme",
	})
	w.must(err)
	return res.Registration.Id, email
}

func (w *world) sql(sql string, args ...any) {
	w.t.Helper()
	_, err := w.srv.SQL.Exec(w.t.Context(), sql, args...)
	w.must(err)
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// matrixRow is a line of the matrix.
type matrixRow struct {
	name  string // of the method, with what tells lines of one method apart
	cells []string
}

func (r matrixRow) method() string {
	method, _, _ := strings.Cut(r.name, "(")
	return method
}

func readMatrix(t *testing.T) (callers []string, rows []matrixRow) {
	t.Helper()
	for line := range strings.Lines(matrix) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0:
		case callers == nil:
			callers = fields[1:]
		case len(fields) != len(callers)+1:
			t.Fatalf("a line of the matrix has %d cells, want %d: %s", len(fields)-1, len(callers), line)
		default:
			rows = append(rows, matrixRow{fields[0], fields[1:]})
		}
	}
	return callers, rows
}

// quick returns a server on which people begin without a mail: accounts begin
// before their address is proven, and nothing is sent (see queued).
func quick(t *testing.T) *testkit.Server {
	t.Helper()
	return testkit.New(t, testkit.Options{
		WithoutJobs: true,
		Settings: func(s *config.Settings) {
			s.EmailVerification = config.VerifyAfter
			s.IdentityProviders = "github?client-id=i&client-secret=s" // which is not asked anything
			s.TestClock = true
		},
	})
}

// newPerson registers somebody on a quick server. The domain of the address is
// nobody else's.
func newPerson(t testing.TB, srv *testkit.Server) *testkit.Person {
	t.Helper()
	email := "ann@" + newDomain()
	res, err := srv.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{
		Email: email, Password: testkit.Password, WorkspaceName: "Acme",
	})
	if err != nil {
		t.Fatalf("Register: %v", err)
	}
	return srv.Person(email, res.Account)
}

// queued returns the newest mail to an address that waits to be sent, on a server
// that sends none.
func queued(t testing.TB, srv *testkit.Server, address string) mail.Message {
	t.Helper()
	for _, newest := range []int{30, 1000} { // mostly it is among the last
		list, err := readQueue(t.Context(), srv, address, newest)
		if err != nil {
			t.Fatal(err)
		}
		if len(list) > 0 {
			return list[0]
		}
	}
	t.Fatalf("no mail to %s is waiting", address)
	return mail.Message{}
}

// readQueue returns, of the newest mails that wait to be sent, those to an
// address, or to any for "", the newest first, as they would be sent now.
func readQueue(ctx context.Context, srv *testkit.Server, address string, newest int) ([]mail.Message, error) {
	rows, err := srv.SQL.Query(ctx, "SELECT args FROM river.river_job WHERE kind = 'mail' ORDER BY id DESC LIMIT $1", newest)
	if err != nil {
		return nil, err
	}
	waiting, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
	if err != nil {
		return nil, err
	}
	var list []mail.Message
	for _, args := range waiting {
		var job store.MailJob
		if err := json.Unmarshal(args, &job); err != nil {
			return nil, err
		}
		message, err := srv.Store.Letter(ctx, job)
		if err != nil {
			return nil, err
		}
		if message != nil && message.Data["change"] == string(mail.NewDevice) {
			continue // of nearly every sign-in
		}
		if message != nil && (address == "" || strings.EqualFold(message.To, address)) {
			list = append(list, *message)
		}
	}
	return list, nil
}

// methodsByName returns the methods that a server has, by service and name
// without the package.
func methodsByName(t testing.TB, srv *testkit.Server) map[string]protoreflect.MethodDescriptor {
	t.Helper()
	methods := map[string]protoreflect.MethodDescriptor{}
	for _, procedure := range srv.Server.Rules().Procedures() {
		name := strings.ReplaceAll(procedure[1:], "/", ".")
		d, err := protoregistry.GlobalFiles.FindDescriptorByName(protoreflect.FullName(name))
		if err != nil {
			t.Fatal(err)
		}
		methods[fmt.Sprintf("%s/%s", d.Parent().Name(), d.Name())] = d.(protoreflect.MethodDescriptor)
	}
	return methods
}

func procedureOf(method protoreflect.MethodDescriptor) string {
	return fmt.Sprintf("/%s/%s", method.Parent().FullName(), method.Name())
}

// answer is what came back over HTTP.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// callJSON makes a call of the Connect protocol.
func callJSON(t testing.TB, srv *testkit.Server, method protoreflect.MethodDescriptor, token string, message proto.Message) answer {
	t.Helper()
	body, err := protojson.Marshal(message)
	if err != nil {
		t.Fatal(err)
	}
	if method.IsStreamingClient() {
		return postStream(t, srv, procedureOf(method), token, "application/connect+json", body)
	}
	return post(t, srv, procedureOf(method), token, "application/json", body)
}

// post sends a body.
func post(t testing.TB, srv *testkit.Server, path, token, contentType string, body []byte) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, srv.URL+path, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	return send(t, req, token)
}

// send sends a request.
func send(t testing.TB, req *http.Request, token string) answer {
	t.Helper()
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{res.StatusCode, res.Header, body}
}

// comparable is all of the answer that may not depend on what nobody may know:
// the whole, but for the time and the name of the call.
func (a answer) comparable() string {
	header := a.header.Clone()
	header.Del("Date")
	header.Del("X-Request-Id")
	var b bytes.Buffer
	fmt.Fprintln(&b, a.status)
	_ = header.Write(&b)
	return b.String() + string(a.body)
}

// wireError is an error in the Connect protocol.
type wireError struct {
	Code    string
	Message string
	Details []struct{ Type, Value string }
}

func (a answer) error() (e wireError) {
	_ = json.Unmarshal(a.body, &e)
	return e
}

// outcome is "ok", or the error's code and reason, or the status of HTTP when the
// answer is none of Connect.
func (a answer) outcome() string {
	if a.status == http.StatusOK {
		return "ok"
	}
	e := a.error()
	if e.Code == "" {
		return fmt.Sprint("HTTP ", a.status)
	}
	for _, d := range e.Details {
		var info errdetails.ErrorInfo
		if data, err := base64.RawStdEncoding.DecodeString(d.Value); d.Type == "google.rpc.ErrorInfo" && err == nil && proto.Unmarshal(data, &info) == nil {
			return e.Code + " " + info.Reason
		}
	}
	return e.Code
}

// uuidOf returns the UUID of an id of the API, whatever it names.
func uuidOf(t testing.TB, id string) uuid.UUID {
	t.Helper()
	_, digits, _ := strings.Cut(id, "_")
	parsed, err := ids.Parse[ids.User]("usr_" + digits)
	if err != nil {
		t.Fatalf("%q: %v", id, err)
	}
	return parsed.UUID()
}

// checkLog checks that a server logged no failure of its own and none of the
// secrets.
func checkLog(t testing.TB, srv *testkit.Server, secrets ...string) {
	t.Helper()
	log := srv.Log.String()
	for line := range strings.Lines(log) {
		if strings.Contains(line, "level=ERROR") {
			t.Errorf("the server logged an error: %s", line)
		}
	}
	for _, s := range secrets {
		if s == "" {
			t.Error("an empty string is no secret")
		} else if strings.Contains(log, s) {
			t.Errorf("the log contains the secret %q", s)
		}
	}
}
