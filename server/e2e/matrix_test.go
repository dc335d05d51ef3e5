package e2e

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
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
// everything as it was share one. Of the callers for whom a call does its work, only the
// first and every third or so by chance make it, without -large. What an outsider gets is
// the same, to the byte, as for a workspace that never existed.
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
				worked := false
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
					} else if worked && cell == "ok" && !*large && rand.IntN(3) > 0 {
						continue
					} else {
						worked = worked || cell == "ok"
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
