package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	authzv1 "github.com/logicspike/manager/gen/go/logicspike/authz/v1"
	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/clock"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/internal/testkit/fake"
)

// broken is a call of a method that is disturbed.
type broken struct {
	token   string // of who calls; "" for nobody
	message proto.Message
	answer  string // when nothing disturbs it; "" for ok
}

// brokenCalls are calls for which the requests of the matrix are not enough: what such
// a method does where there is more to do. The part in parentheses tells calls of one
// method apart.
var brokenCalls = map[string]func(w *world) broken{
	"WorkspaceService/UpdateSecurityPolicy(required)": func(w *world) broken {
		token, _ := proven(w)
		return broken{token: token, message: &tenantv1.UpdateSecurityPolicyRequest{WorkspaceId: w.workspace, SecondFactorRequired: proto.Bool(true)}}
	},
	"PasskeyService/DeletePasskey(proven)": func(w *world) broken {
		token, passkey := proven(w)
		return broken{token: token, message: &authv1.DeletePasskeyRequest{PasskeyId: passkey}}
	},
	"MfaService/VerifySecondFactor(app)": func(w *world) broken {
		a, _ := enrol(w.t, w.srv, w.owner)
		return broken{token: owing(w.t, w.srv, w.owner.Email), message: &authv1.VerifySecondFactorRequest{
			Proof: &authv1.VerifySecondFactorRequest_TotpCode{TotpCode: a.code(w.t, 0)},
		}}
	},
	"MfaService/VerifySecondFactor(recovery-code)": func(w *world) broken {
		_, codes := enrol(w.t, w.srv, w.owner)
		return broken{token: owing(w.t, w.srv, w.owner.Email), message: &authv1.VerifySecondFactorRequest{
			Proof: &authv1.VerifySecondFactorRequest_RecoveryCode{RecoveryCode: codes[0]},
		}}
	},
	"MfaService/VerifySecondFactor(passkey)": func(w *world) broken {
		key, _ := addPasskey(w.t, w.srv, w.owner, fake.EdDSA)
		token := owing(w.t, w.srv, w.owner.Email)
		return broken{token: token, message: &authv1.VerifySecondFactorRequest{
			Proof: &authv1.VerifySecondFactorRequest_Passkey{Passkey: answerPasskey(w.t, key, askPasskey(w.t, passkeysOf(w.srv, token)))},
		}}
	},
	"AuthenticationService/Reauthenticate(passkey)": func(w *world) broken {
		key, _ := addPasskey(w.t, w.srv, w.owner, fake.EdDSA)
		return broken{token: w.owner.Token, message: &authv1.ReauthenticateRequest{
			Passkey: answerPasskey(w.t, key, askPasskey(w.t, passkeysOf(w.srv, w.owner.Token))),
		}}
	},
	"AuthenticationService/Reauthenticate(mail)": func(w *world) broken {
		res, err := factorsOf(w.srv, w.owner.Token).StartEmailReauthentication(w.t.Context(), &authv1.StartEmailReauthenticationRequest{})
		w.must(err)
		return broken{token: w.owner.Token, message: &authv1.ReauthenticateRequest{
			EmailCode: &authv1.EmailCode{EmailChallengeId: res.EmailChallengeId, Code: queued(w.t, w.srv, w.owner.Email).Data["code"]},
		}}
	},
	"AuthenticationService/Reauthenticate(app)": func(w *world) broken {
		a, _ := enrol(w.t, w.srv, w.owner)
		return broken{token: w.owner.Token, message: &authv1.ReauthenticateRequest{TotpCode: a.code(w.t, 0)}}
	},
	"AuthenticationService/SignInWithPassword(owing)": func(w *world) broken {
		enrol(w.t, w.srv, w.owner)
		return broken{message: &authv1.SignInWithPasswordRequest{Email: w.owner.Email, Password: testkit.Password}}
	},
	"TokenService/RefreshAccessToken(reused)": func(w *world) broken {
		first := refreshToken(w.t, w.owner, w.workspace)
		mustRefresh(w.t, w.srv, mustRefresh(w.t, w.srv, first).RefreshToken)
		return broken{message: &authv1.RefreshAccessTokenRequest{RefreshToken: first}, answer: "unauthenticated TOKEN_INVALID"}
	},
	"TokenService/RevokeToken(key)": func(w *world) broken {
		return broken{message: &authv1.RevokeTokenRequest{Token: keyOf(w.t, w.owner, "workspace.get").Token}}
	},
	"ApiKeyService/CreateApiKey(with-a-request-id)": func(w *world) broken {
		return broken{token: w.owner.Token, message: &authv1.CreateApiKeyRequest{
			WorkspaceId: w.workspace, DisplayName: "Key", Permissions: []string{"workspace.get"}, RequestId: uuid.NewString(),
		}}
	},
	"ApiKeyService/RevokeApiKey(itself)": func(w *world) broken {
		key := keyOf(w.t, w.owner, "api_key.list")
		return broken{token: key.Token, message: &authv1.RevokeApiKeyRequest{WorkspaceId: w.workspace, ApiKeyId: key.ApiKey.Id}}
	},
	"ServiceAccountService/DeleteServiceAccount(with-keys)": func(w *world) broken {
		id := w.serviceAccount(w.owner)
		for range 2 {
			keyOfAccount(w.t, w.owner, id, "workspace.get")
		}
		return broken{token: w.owner.Token, message: &authv1.DeleteServiceAccountRequest{WorkspaceId: w.workspace, ServiceAccountId: id}}
	},
	"MembershipService/DeactivateMembership(with-programs)": func(w *world) broken {
		return broken{token: w.owner.Token, message: &teamv1.DeactivateMembershipRequest{WorkspaceId: w.workspace, MembershipId: w.programmer()}}
	},
	"MembershipService/RemoveMembership(with-programs)": func(w *world) broken {
		return broken{token: w.owner.Token, message: &teamv1.RemoveMembershipRequest{WorkspaceId: w.workspace, MembershipId: w.programmer()}}
	},
	"OperatorService/DisableUser(of-much)": func(w *world) broken {
		return broken{token: w.operator(), message: &authv1.DisableUserRequest{UserId: w.guarded(), Reason: "A test"}}
	},
	"OperatorService/SignOutUser(of-much)": func(w *world) broken {
		return broken{token: w.operator(), message: &authv1.SignOutUserRequest{UserId: w.guarded(), Reason: "A test"}}
	},
	"OperatorService/ResetSecondFactors(of-much)": func(w *world) broken {
		return broken{token: w.operator(), message: &authv1.ResetSecondFactorsRequest{UserId: w.guarded(), Reason: "A test"}}
	},
	"OperatorService/EnableUser(disabled)": func(w *world) broken {
		operator, user := w.operator(), w.guarded()
		_, err := w.srv.Client("", client.WithSession(operator)).Operators.DisableUser(w.t.Context(), &authv1.DisableUserRequest{UserId: user, Reason: "A test"})
		w.must(err)
		return broken{token: operator, message: &authv1.EnableUserRequest{UserId: user, Reason: "A test"}}
	},
	"OperatorService/ImportUsers(all-fields)": func(w *world) broken {
		hash := "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHRzb21lc2FsdA$" + strings.Repeat("A", 43)
		return broken{token: w.operator(), message: &authv1.ImportUsersRequest{Users: []*authv1.ImportedUser{{
			Email: testkit.NewEmail(), EmailVerified: true, DisplayName: "Ann", WorkspaceName: "Ann's", PasswordHash: hash,
		}}}}
	},
	"SubscriptionService/CancelSubscription(paid)": func(w *world) broken {
		w.subscribe()
		return broken{token: w.owner.Token, message: &billingv1.CancelSubscriptionRequest{WorkspaceId: w.workspace}}
	},
	"SubscriptionService/ResumeSubscription(scheduled)": func(w *world) broken {
		w.subscribe()
		cancelPlan(w.t, w.owner, true)
		return broken{token: w.owner.Token, message: &billingv1.ResumeSubscriptionRequest{WorkspaceId: w.workspace}}
	},
	"UserService/DeleteMe(of-much)": func(w *world) broken {
		w.guarded()
		return broken{token: w.owner.Token, message: requests["UserService/DeleteMe"](w)}
	},
}

// operator makes an operator, and returns the token of their session.
func (w *world) operator() string {
	w.t.Helper()
	return makeOperator(w.t, w.srv, provenPerson(w.t, w.srv)).Token
}

// guarded gives the owner all that protects an account and acts for it: second
// factors, an identity, sessions, devices, refresh tokens and a key.
func (w *world) guarded() string {
	w.t.Helper()
	keyOf(w.t, w.owner, "workspace.get")
	w.identity(w.owner)
	addPasskey(w.t, w.srv, w.owner, fake.EdDSA)
	enrol(w.t, w.srv, w.owner)
	begin(w.t, w.srv, w.owner.Email)
	refreshToken(w.t, w.owner, w.workspace)
	return w.owner.User.Id
}

// programmer is a member who has programs in the workspace.
func (w *world) programmer() (membership string) {
	w.t.Helper()
	p, membership := w.member(authz.Admin)
	w.prove(p)
	w.apiKey(p, w.workspace, "", "workspace.get")
	refreshToken(w.t, p, w.workspace)
	return membership
}

// unbroken are the methods with an effect whose writes are not broken here, and why.
var unbroken = map[string]string{
	"TokenService/IntrospectToken":                "it reads; it has an effect so that no token is in a URL",
	"InvitationService/GetInvitationByToken":      "it reads; it has an effect so that no token is in a URL",
	"InvitationService/BatchCreateInvitations":    "TestABatchSurvivesAFailureOfAnyWrite: it goes on where a write fails",
	"TestClockService/AdvanceTestClock":           "it is many transactions, and says so",
	"ReconciliationService/ReconcileSubscription": "TestReconciliationFindsWhatDiffersAndRepairsIt: it is many transactions, each of which may fail and be repeated",
}

// proven gives the owner a passkey, and proves it in their session: it returns its token,
// and the passkey's id.
func proven(w *world) (token, passkey string) {
	key, added := addPasskey(w.t, w.srv, w.owner, fake.EdDSA)
	res, err := w.owner.Authentication.Reauthenticate(w.t.Context(), &authv1.ReauthenticateRequest{
		Passkey: answerPasskey(w.t, key, askPasskey(w.t, passkeysOf(w.srv, w.owner.Token))),
	})
	w.must(err)
	return res.SessionToken, added.Passkey.Id
}

// TestFailureOfAnyWriteOfAnyMethodLeavesNothing calls every method that has an effect,
// with a request that succeeds, and lets each of its writes fail in turn: the database
// refuses the first, the connection is cut at the second, and so on. Each time the database
// is as before, and the caller learns nothing of the cause. In the end the same call succeeds.
func TestFailureOfAnyWriteOfAnyMethodLeavesNothing(t *testing.T) {
	t.Parallel()
	callers, rows := readMatrix(t)
	methods := methodsByName(t, quick(t))
	calls := maps.Clone(brokenCalls)
	for _, row := range rows {
		if request := requests[row.name]; request != nil {
			if caller := succeeding(row, callers); caller != "" {
				calls[row.name] = func(w *world) broken { return broken{token: w.token(), message: request(w)} }
			}
			if rule := methods[row.method()]; rule != nil && proto.GetExtension(rule.Options(), authzv1.E_Rule).(*authzv1.Rule).GetOperator() != nil {
				calls[row.name] = func(w *world) broken { return broken{token: w.operator(), message: request(w)} }
			}
		}
	}
	resolver := fake.NewDNS(t)
	calls["DomainService/VerifyDomain(unproven)"] = func(w *world) broken {
		d := mustCreateDomain(w.t, w.owner, newDomain())
		resolver.SetTXT(d.RecordName, d.RecordValue)
		return broken{token: w.owner.Token, message: &tenantv1.VerifyDomainRequest{WorkspaceId: w.workspace, DomainId: d.Id}}
	}
	stripe := testkit.NewStripe(t, new(clock.Manual))
	for name, request := range map[string]string{"CreateCheckoutSession(sold)": "CreateCheckoutSession", "CreatePortalSession(sold)": "CreatePortalSession"} {
		calls["SubscriptionService/"+name] = func(w *world) broken {
			applyPlans(w.t, w.srv, soldPlans)
			return broken{token: w.owner.Token, message: requests["SubscriptionService/"+request](w)}
		}
	}
	services := map[string][]string{} // each has a server of its own
	for _, call := range slices.Sorted(maps.Keys(calls)) {
		service, _, _ := strings.Cut(call, "/")
		if strings.HasSuffix(call, "(sold)") {
			service += "(sold)" // by other plans
		}
		services[service] = append(services[service], call)
	}
	var mu sync.Mutex
	writes := map[string]int{} // by method
	t.Run("calls", func(t *testing.T) {
		for service, names := range services {
			t.Run(service, func(t *testing.T) {
				t.Parallel()
				s := newStage(t, func(s *config.Settings) {
					s.EmailVerification = config.VerifyAfter
					s.IdentityProviders = "github?client-id=i&client-secret=s" // which is not asked anything
					s.DNSResolver = resolver.Address
					stripe.Settings(s)
				})
				sabotage := s.sabotage(t)
				// What a passkey has answered is used up, whatever comes of it: it is put
				// back, so that the same call can be made again.
				if _, err := s.SQL.Exec(t.Context(), "CREATE TABLE fault.challenges AS TABLE auth.challenges"); err != nil {
					t.Fatal(err)
				}
				for _, name := range names {
					row := matrixRow{name: name}
					if i := slices.IndexFunc(rows, func(r matrixRow) bool { return r.name == name }); i >= 0 {
						row = rows[i]
					}
					method := methods[row.method()]
					if method == nil {
						t.Errorf("%s: there is no such method", name)
						continue
					}
					if effectless(method) || name == "InvitationService/BatchCreateInvitations" || name == "TestClockService/AdvanceTestClock" {
						continue
					}
					t.Run(name[strings.Index(name, "/")+1:], func(t *testing.T) {
						caller := succeeding(row, callers)
						if caller == "" {
							caller = "owner"
						}
						n := sabotage.breakCall(t, method, calls[name](newWorld(t, s.Server, caller)))
						t.Logf("failed at %d writes", n)
						mu.Lock()
						defer mu.Unlock()
						writes[row.method()] += n
					})
				}
				s.CheckInvariants(t)
			})
		}
	})
	for _, name := range slices.Sorted(maps.Keys(methods)) {
		switch reason := unbroken[name]; {
		case effectless(methods[name]) && reason == "", !effectless(methods[name]) && (writes[name] > 0) != (reason != ""):
		case reason == "":
			t.Errorf("%s: no write was found that could fail, and no reason is given", name)
		default:
			t.Errorf("%s: %d writes were broken, though it is said: %s", name, writes[name], reason)
		}
	}
	for name := range unbroken {
		if methods[name] == nil {
			t.Errorf("%s: there is no such method", name)
		}
	}
}

// succeeding returns a caller who succeeds, by a line of the matrix; the owner if
// possible, and "" for none.
func succeeding(row matrixRow, callers []string) string {
	for _, caller := range append([]string{"owner"}, callers...) {
		if i := slices.Index(callers, caller); i < len(row.cells) && row.cells[i] == "ok" {
			return caller
		}
	}
	return ""
}

// breakCall makes a call until none of its writes fails any more, and returns how many
// did: all with -large, otherwise the first, and after each every sixth or so, by chance.
func (s saboteur) breakCall(t *testing.T, method protoreflect.MethodDescriptor, b broken) int {
	t.Helper()
	if b.answer == "" {
		b.answer = "ok"
	}
	request := method.Input().Fields().ByName("request_id")
	if request != nil {
		b.message.ProtoReflect().Set(request, protoreflect.ValueOfString(uuid.NewString()))
	}
	// The use of all sessions and keys is noted by then, and for longer than the tries
	// take: it is a write of a call each minute.
	for _, table := range []string{"sessions", "api_keys"} {
		if _, err := s.SQL.Exec(t.Context(), "UPDATE auth."+table+" SET last_use_time = $1", s.Clock.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.SQL.Exec(t.Context(), "DELETE FROM fault.challenges; INSERT INTO fault.challenges TABLE auth.challenges"); err != nil {
		t.Fatal(err)
	}
	look := func() map[string]content {
		// Tries that were made stay counted.
		if _, err := s.SQL.Exec(t.Context(), "DELETE FROM auth.failures; UPDATE auth.email_challenges SET attempts = 0 WHERE attempts > 0; "+
			"INSERT INTO auth.challenges TABLE fault.challenges ON CONFLICT DO NOTHING"); err != nil {
			t.Fatal(err)
		}
		return s.contents(t)
	}
	before := look()
	for at, failed := 1, 0; ; failed++ {
		state, want := "23514", "internal INTERNAL"
		if at%2 == 0 {
			state, want = cut, "unavailable UNAVAILABLE"
		}
		s.strike(t, blow{at, state})
		a := callJSON(t, s.Server, method, b.token, b.message)
		if !s.rest(t) {
			if got := a.outcome(); got != b.answer {
				t.Fatalf("not disturbed: %s, want %s\n%s", got, b.answer, a.body)
			}
			s.again(t, method, b, request != nil)
			return failed
		}
		if got := a.outcome(); got != want {
			t.Fatalf("%s at write %d: %s, want %s\n%s", state, at, got, want, a.body)
		}
		if strings.Contains(string(a.body), secretCause) || strings.Contains(fmt.Sprint(a.header), secretCause) {
			t.Errorf("%s at write %d: the answer tells the cause", state, at)
		}
		if diff := cmp.Diff(before, look()); diff != "" {
			t.Fatalf("%s at write %d: the call failed, and left something (-before +after):\n%s", state, at, diff)
		}
		if at++; !*large {
			at += rand.IntN(10)
		}
	}
}

// again repeats a call whose answer was lost. With a request id nothing is made again;
// otherwise it may be refused, but is no failure of the server.
func (s saboteur) again(t *testing.T, method protoreflect.MethodDescriptor, b broken, same bool) {
	t.Helper()
	before := s.contents(t)
	a := callJSON(t, s.Server, method, b.token, b.message)
	got := a.outcome()
	if code, _, _ := strings.Cut(got, " "); slices.Contains([]string{"internal", "unknown", "unavailable", "HTTP"}, code) {
		t.Errorf("repeated: %s\n%s", got, a.body)
	}
	if !same {
		return
	}
	if got != b.answer {
		t.Errorf("repeated with the same request id: %s, want %s\n%s", got, b.answer, a.body)
	}
	after := s.contents(t)
	for _, all := range []map[string]content{before, after} {
		// Each answer that signs in has a session of its own, on a device of its own as
		// no cookie is sent here, and the event of it.
		for _, table := range []string{"auth.sessions", "auth.devices", "audit.events"} {
			delete(all, table)
		}
	}
	if method.FullName() == "logicspike.auth.v1.ApiKeyService.RotateApiKey" { // the secret that nobody saw has another in its place
		const table = "auth.api_keys"
		if before[table].Rows != after[table].Rows {
			t.Errorf("repeated with the same request id, the call made a key")
		}
		delete(before, table)
		delete(after, table)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("repeated with the same request id, the call made something (-before +after):\n%s", diff)
	}
}
