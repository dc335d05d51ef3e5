package e2e

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	"github.com/logicspike/manager/internal/testkit"
)

func TestAnIdentityMakesAnAccountWithoutAPassword(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	c, email := a.Client(""), testkit.NewEmail()
	list, err := c.ExternalIdentities.ListIdentityProviders(t.Context(), &authv1.ListIdentityProvidersRequest{})
	if err != nil || len(list.IdentityProviders) != 1 || list.IdentityProviders[0].Name != "acme" || list.IdentityProviders[0].DisplayName != "Acme SSO" ||
		!list.IdentityProviders[0].CanReauthenticate {
		t.Fatalf("ListIdentityProviders = %v, %v", list, err)
	}
	req := a.goThere(c, 0, verified("ada", email))
	for range 3 { // looking uses nothing up
		res, err := c.ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
		if err != nil || res.Account != nil || res.Session != nil || res.ExternalIdentity != nil {
			t.Fatalf("without a workspace's name: %v, %v", res, err)
		}
		if s := res.Setup; s.GetEmail() != email || s.SuggestedDisplayName != "Ada Lovelace" || s.SuggestedWorkspaceName != "Ada Lovelace's workspace" {
			t.Errorf("setup %v", s)
		}
	}
	// A registration that waits for its code ends: the address is proven.
	waiting, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: email, Password: testkit.Password, WorkspaceName: "Mine"})
	if err != nil {
		t.Fatal(err)
	}
	code := testkit.CodeIn(t, a.Mail(t, email, 1))
	req.WorkspaceName = "Analytical Engines"
	res, err := c.ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if u := res.Account.GetUser(); u.GetEmail() != email || !u.GetEmailVerified() || u.GetDisplayName() != "Ada Lovelace" ||
		res.Account.Workspace.GetName() != "Analytical Engines" || res.Account.Membership.GetRole() != "owner" || res.Setup != nil || res.Session != nil {
		t.Errorf("account %v", res)
	}
	if x := res.ExternalIdentity; x.GetProvider() != "acme" || x.Issuer != a.acme.issuer() || x.Subject != "ada" || x.Email != email || x.LastUseTime == nil {
		t.Errorf("identity %v", x)
	}
	p := a.Person(email, res.Account)
	if s := lives(t, "the account's session", p.Client); len(s.Requirements) != 0 || !slices.Equal(s.Session.Methods, []authv1.AuthenticationMethod{
		authv1.AuthenticationMethod_AUTHENTICATION_METHOD_EXTERNAL,
	}) {
		t.Errorf("session %v", s)
	}
	_, err = c.Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{RegistrationId: waiting.Registration.Id, Code: code})
	codeInvalid(t, "a registration of the address", err)
	_, err = c.Authentication.SignInWithPassword(t.Context(), &authv1.SignInWithPasswordRequest{Email: email, Password: testkit.Password})
	refused(t, "a password", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_CREDENTIALS_INVALID)
	_, err = c.ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
	challengeInvalid(t, "completed again", err)

	// The provider's word on the address changes, who it is does not.
	a.Clock.Advance(time.Hour)
	again := a.entered(c, 0, verified("ada", "elsewhere@example.com"))
	if again.Account != nil || again.Session.GetUserId() != p.User.Id || again.ExternalIdentity.GetEmail() != "elsewhere@example.com" ||
		!again.ExternalIdentity.LastUseTime.AsTime().After(res.ExternalIdentity.LastUseTime.AsTime()) {
		t.Errorf("signed in again: %v", again)
	}
	lives(t, "the second session", c.As(again.SessionToken))
	logged(t, p, "", "user.registered", "external_identity.linked", "session.created")
	a.CheckInvariants(t)
}

func TestOneOfFiftyCompletionsMakesTheAccount(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	c := a.Client("")
	email := testkit.NewEmail()
	// Two sign-ins of one person, each completed many times at once.
	requests := []*authv1.CompleteExternalSignInRequest{a.goThere(c, 0, verified("ada", email)), a.goThere(c, 0, verified("ada", email))}
	var all sync.WaitGroup
	var mu sync.Mutex
	users, accounts, sessions := map[string]bool{}, 0, 0
	for i := range 50 {
		all.Go(func() {
			req := proto.CloneOf(requests[i%2])
			req.WorkspaceName = "Acme"
			res, err := c.ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
			if err != nil {
				challengeInvalid(t, "at once", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if res.Account != nil {
				accounts++
				users[res.Account.User.Id] = true
			} else {
				sessions++
				users[res.Session.UserId] = true
			}
		})
	}
	all.Wait()
	if accounts != 1 || sessions != 1 || len(users) != 1 {
		t.Errorf("%d accounts and %d sessions of %d users", accounts, sessions, len(users))
	}
	a.CheckInvariants(t)
}

func TestAnIdentityIsLinkedToTheAccountThatHasProvenItsAddress(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	p := a.Register(t)
	c := a.Client("")
	mails := len(a.Mails(t, p.Email))
	res := a.entered(c, 0, verified("ada", strings.ToUpper(p.Email)))
	if res.Session.GetUserId() != p.User.Id || res.Account != nil || len(res.Requirements) != 0 {
		t.Fatalf("signed in as %v", res)
	}
	if m := a.Mail(t, p.Email, mails+1); !strings.Contains(m.Text, "was linked") {
		t.Errorf("mailed: %s", m.Text)
	}
	if list := identities(t, p.Client); len(list) != 1 || list[0].Id != res.ExternalIdentity.Id {
		t.Errorf("linked %v", list)
	}
	lives(t, "the session before", p.Client)
	logged(t, p, "", "user.registered", "external_identity.linked", "session.created")
	a.CheckInvariants(t)
}

func TestASessionByAnIdentityOwesTheSecondFactor(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	p := a.Register(t)
	if _, err := a.SQL.Exec(t.Context(), `
		INSERT INTO auth.totp_factors (id, user_id, display_name, secret, confirm_time, expire_time, create_time)
		VALUES (gen_random_uuid(), $1, 'app', '\x00', now(), now(), now())`, uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	for _, how := range []string{"linked by its address", "known"} {
		res := a.entered(a.Client(""), 0, verified("ada", p.Email))
		if !res.Session.GetSecondFactorPending() || !slices.Contains(res.Requirements, authv1.AccountRequirement_ACCOUNT_REQUIREMENT_SECOND_FACTOR_REQUIRED) {
			t.Fatalf("%s: %v", how, res)
		}
		c := a.Client("", client.WithSession(res.SessionToken))
		_, err := c.ExternalIdentities.ListExternalIdentities(t.Context(), &authv1.ListExternalIdentitiesRequest{})
		precondition(t, how, err, faultv1.Reason_REASON_SECOND_FACTOR_REQUIRED)
		_, err = c.ExternalIdentities.StartExternalSignIn(t.Context(), &authv1.StartExternalSignInRequest{Provider: "acme", ReturnUrl: "/", Purpose: toReauthenticate})
		refused(t, how+": reauthentication", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
	}
}

func TestOnlyAnAddressThatTheProviderVouchesForCounts(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	p, c := a.Register(t), a.Client("")
	for what, claims := range map[string]map[string]any{
		"absent":           {"email": p.Email},
		"false":            {"email": p.Email, "email_verified": false},
		"the word true":    {"email": p.Email, "email_verified": "true"},
		"the number 1":     {"email": p.Email, "email_verified": 1},
		"null":             {"email": p.Email, "email_verified": nil},
		"a list":           {"email": p.Email, "email_verified": []bool{true}},
		"an object":        {"email": p.Email, "email_verified": map[string]bool{"true": true}},
		"no address":       {"email_verified": true},
		"not an address":   {"email": p.Email + "\r\nBcc: x@example.com", "email_verified": true},
		"a name, too":      {"email": "Ada <" + p.Email + ">", "email_verified": true},
		"edov is not ours": {"email": p.Email, "xms_edov": true},
	} {
		claims["sub"] = "mallory"
		_, err := a.enter(c, 0, claims)
		precondition(t, what+", of an account", err, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
		if claims["email"] == p.Email {
			claims["email"] = testkit.NewEmail()
			_, err = a.enter(c, 0, claims)
			precondition(t, what+", of nobody", err, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
		}
	}
	if list := identities(t, p.Client); len(list) != 0 {
		t.Errorf("linked %v", list)
	}
	// What is linked needs no address.
	linked := a.entered(p.Client, toLink, map[string]any{"sub": "ada"})
	if res := a.entered(c, 0, map[string]any{"sub": "ada"}); res.Session.GetUserId() != p.User.Id || res.ExternalIdentity.Id != linked.ExternalIdentity.Id {
		t.Errorf("signed in: %v", res)
	}
	a.CheckInvariants(t)
}

// Somebody registers with the address of a victim, and waits for them to come by their
// identity provider.
func TestAnAccountThatNeverProvedItsAddressIsNotOpened(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{Settings: verifyAfter}, nil)
	victim := testkit.NewEmail()
	c := a.Client("")
	res, err := c.Registration.Register(t.Context(), &authv1.RegisterRequest{Email: victim, Password: testkit.Password, WorkspaceName: "Trap"})
	if err != nil {
		t.Fatal(err)
	}
	attacker := c.As(res.Account.SessionToken)
	_, err = a.enter(c, 0, verified("victim", victim))
	precondition(t, "an account whose address is not proven", err, faultv1.Reason_REASON_IDENTITY_NOT_LINKED)
	// Nor can the attacker keep a way in for later.
	_, err = attacker.ExternalIdentities.StartExternalSignIn(t.Context(), &authv1.StartExternalSignInRequest{Provider: "acme", Purpose: toLink, ReturnUrl: "/"})
	precondition(t, "linking before the address is proven", err, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
	if list := identities(t, attacker); len(list) != 0 {
		t.Errorf("linked %v", list)
	}
	a.CheckInvariants(t)
}

func TestAnIdentityIsLinkedOnceAndUnlinked(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	p, other := a.Register(t), a.Register(t)
	c := a.Client("")
	mails := len(a.Mails(t, p.Email))
	// The address there is nobody's matter, not even whose account has it.
	res := a.entered(p.Client, toLink, verified("ada", other.Email))
	if res.Session != nil || res.SessionToken != "" || res.Account != nil || res.Setup != nil || res.ExternalIdentity.GetSubject() != "ada" ||
		res.ExternalIdentity.LastUseTime != nil {
		t.Fatalf("linked: %v", res)
	}
	a.Mail(t, p.Email, mails+1)
	if again := a.entered(p.Client, toLink, verified("ada", "")); again.ExternalIdentity.GetId() != res.ExternalIdentity.Id {
		t.Errorf("linked again: %v", again)
	}
	_, err := a.enter(other.Client, toLink, verified("ada", ""))
	precondition(t, "somebody else's identity", err, faultv1.Reason_REASON_IDENTITY_TAKEN)
	if in := a.entered(c, 0, verified("ada", other.Email)); in.Session.GetUserId() != p.User.Id {
		t.Errorf("signed in as %v", in)
	}

	unlink := func(who *client.Client, id string) error {
		_, err := who.ExternalIdentities.DeleteExternalIdentity(t.Context(), &authv1.DeleteExternalIdentityRequest{ExternalIdentityId: id})
		return err
	}
	id := res.ExternalIdentity.Id
	refused(t, "somebody else's", unlink(other.Client, id), connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
	if err := unlink(p.Client, id); err != nil {
		t.Fatal(err)
	}
	if m := a.Mail(t, p.Email, mails+2); !strings.Contains(m.Text, "was unlinked") {
		t.Errorf("mailed: %s", m.Text)
	}
	refused(t, "unlinked before", unlink(p.Client, id), connect.CodeNotFound, faultv1.Reason_REASON_NOT_FOUND)
	if list := identities(t, p.Client); len(list) != 0 {
		t.Errorf("linked %v", list)
	}
	_, err = a.enter(c, 0, map[string]any{"sub": "ada"})
	precondition(t, "an identity that was unlinked", err, faultv1.Reason_REASON_EMAIL_UNVERIFIED)
	// Now it may be somebody else's.
	a.entered(other.Client, toLink, verified("ada", ""))
	logged(t, p, "", "user.registered", "external_identity.linked", "session.created", "external_identity.unlinked")

	a.Clock.Advance(11 * time.Minute)
	precondition(t, "long after signing in", unlink(other.Client, identities(t, other.Client)[0].Id), faultv1.Reason_REASON_REAUTHENTICATION_REQUIRED)
	_, err = other.ExternalIdentities.StartExternalSignIn(t.Context(), &authv1.StartExternalSignInRequest{Provider: "acme", Purpose: toLink, ReturnUrl: "/"})
	precondition(t, "linking long after signing in", err, faultv1.Reason_REASON_REAUTHENTICATION_REQUIRED)
	a.CheckInvariants(t)
}

func TestTheLastWayToSignInStays(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	p := a.Register(t)
	first := a.entered(p.Client, toLink, verified("one", "")).ExternalIdentity.Id
	second := a.entered(p.Client, toLink, verified("two", "")).ExternalIdentity.Id
	// No code can be mailed, and there is no password.
	for _, sql := range []string{"UPDATE identity.emails SET verified_time = NULL WHERE user_id = $1", "DELETE FROM auth.credentials WHERE user_id = $1"} {
		if _, err := a.SQL.Exec(t.Context(), sql, uuidOf(t, p.User.Id)); err != nil {
			t.Fatal(err)
		}
	}
	// Of two at once one stays.
	errs := make([]error, 2)
	var both sync.WaitGroup
	for i, id := range []string{first, second} {
		both.Go(func() {
			_, errs[i] = p.ExternalIdentities.DeleteExternalIdentity(t.Context(), &authv1.DeleteExternalIdentityRequest{ExternalIdentityId: id})
		})
	}
	both.Wait()
	if (errs[0] == nil) == (errs[1] == nil) {
		t.Fatalf("unlinked at once: %v", errs)
	}
	for _, err := range errs {
		if err != nil {
			precondition(t, "the last way to sign in", err, faultv1.Reason_REASON_LAST_SIGN_IN_METHOD)
		}
	}
	if len(identities(t, p.Client)) != 1 {
		t.Error("the last identity is gone")
	}
}

func TestAnAccountHasTwentyIdentitiesAtMost(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	p := a.Register(t)
	var last *authv1.CompleteExternalSignInRequest
	for i := range 22 {
		req := a.goThere(p.Client, toLink, verified("person "+string(rune('a'+i)), ""))
		if i < 19 {
			if _, err := p.ExternalIdentities.CompleteExternalSignIn(t.Context(), req); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if last == nil {
			last = req
			continue
		}
		// Two at once for the last place, then one more.
		errs := make([]error, 2)
		var both sync.WaitGroup
		for j, r := range []*authv1.CompleteExternalSignInRequest{last, req} {
			both.Go(func() { _, errs[j] = p.ExternalIdentities.CompleteExternalSignIn(t.Context(), r) })
		}
		both.Wait()
		full := 0
		for _, err := range errs {
			if err != nil {
				full++
				if client.Reason(err) != faultv1.Reason_REASON_TOO_MANY && client.Reason(err) != faultv1.Reason_REASON_CHALLENGE_INVALID {
					t.Errorf("one too many: %v", err)
				}
			}
		}
		if full == 0 || len(identities(t, p.Client)) != 20 {
			t.Fatalf("%d identities, %v", len(identities(t, p.Client)), errs)
		}
	}
	_, err := a.enter(a.Client(""), 0, verified("by the address", p.Email))
	precondition(t, "one too many by its address", err, faultv1.Reason_REASON_TOO_MANY)
}

func TestReauthenticationByAnIdentity(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	p, other := a.Register(t), a.Register(t)
	a.entered(p.Client, toLink, verified("ada", ""))
	a.entered(other.Client, toLink, verified("bob", ""))
	a.Clock.Advance(time.Hour)
	for what, who := range map[string]string{"somebody else's identity": "bob", "an identity of nobody": "carol"} {
		_, err := a.enter(p.Client, toReauthenticate, verified(who, p.Email))
		precondition(t, what, err, faultv1.Reason_REASON_IDENTITY_NOT_LINKED)
	}
	for what, at := range map[string]any{
		"long ago": a.Clock.Now().Add(-2 * time.Minute).Unix(), "never": nil, "in the future": a.Clock.Now().Add(time.Hour).Unix(), "a word": "now",
	} {
		a.acme.now(map[string]any{"sub": "ada", "auth_time": at})
		told := a.back(a.authorize(a.start(p.Client, "acme", toReauthenticate)))
		if reason := told.Get("error"); told.Get("result_token") != "" || reason != "REAUTHENTICATION_REQUIRED" && what != "a word" || reason == "" {
			t.Errorf("signed in there %s: %v", what, told)
		}
	}
	res := a.entered(p.Client, toReauthenticate, verified("ada", ""))
	asked := a.acme.last
	if asked.Get("prompt") != "login" || asked.Get("max_age") != "0" {
		t.Errorf("asked: %v", asked)
	}
	if res.Session.GetId() != p.Session.Id || res.SessionToken == "" || res.SessionToken == p.Token {
		t.Fatalf("reauthenticated: %v", res)
	}
	ended(t, "the old token", p.Client)
	mine := p.As(res.SessionToken)
	lives(t, "the new token", mine)
	if _, err := mine.ExternalIdentities.DeleteExternalIdentity(t.Context(), &authv1.DeleteExternalIdentityRequest{
		ExternalIdentityId: res.ExternalIdentity.Id,
	}); err != nil {
		t.Errorf("what asks for it: %v", err)
	}
	a.CheckInvariants(t)
}

func TestALinkIsOfTheSessionThatStartedIt(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	p, other := a.Register(t), a.Register(t)
	second := signIn(t, a.Server, p.Email, testkit.Password)
	for _, purpose := range []authv1.ExternalSignInPurpose{toLink, toReauthenticate} {
		_, err := a.Client("").ExternalIdentities.StartExternalSignIn(t.Context(), &authv1.StartExternalSignInRequest{Provider: "acme", ReturnUrl: "/", Purpose: purpose})
		refused(t, "nobody", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
		a.acme.change(func() { a.acme.person = nil })
		req := a.goThere(p.Client, purpose, verified("ada", ""))
		_, err = a.Client("").ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
		refused(t, "completed by nobody", err, connect.CodeUnauthenticated, faultv1.Reason_REASON_SESSION_REQUIRED)
		for what, c := range map[string]*client.Client{"somebody else": other.Client, "another session of theirs": second} {
			_, err = c.ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
			challengeInvalid(t, "completed by "+what, err)
		}
		if purpose == toLink {
			if _, err = p.ExternalIdentities.CompleteExternalSignIn(t.Context(), req); err != nil {
				t.Errorf("completed by who started it: %v", err)
			}
		}
	}
	// It ends with the session.
	req := a.goThere(second, toLink, verified("bob", ""))
	if _, err := second.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{}); err != nil {
		t.Fatal(err)
	}
	_, err := second.ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
	challengeInvalid(t, "after the session", err)
	// The sign-in must be recent at the end, too; then it can still be completed.
	a.Clock.Advance(4 * time.Minute)
	req = a.goThere(p.Client, toLink, verified("bob", ""))
	a.Clock.Advance(7 * time.Minute)
	_, err = p.ExternalIdentities.CompleteExternalSignIn(t.Context(), req)
	precondition(t, "long after signing in", err, faultv1.Reason_REASON_REAUTHENTICATION_REQUIRED)
	renewed, err := p.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: testkit.Password})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.As(renewed.SessionToken).ExternalIdentities.CompleteExternalSignIn(t.Context(), req); err != nil {
		t.Errorf("after reauthentication: %v", err)
	}
}

func TestADisabledAccountIsNotOpenedByAnIdentity(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	p := a.Register(t)
	a.entered(p.Client, toLink, verified("ada", ""))
	if _, err := a.SQL.Exec(t.Context(), "WITH gone AS (DELETE FROM auth.sessions WHERE user_id = $1) INSERT INTO auth.disablements VALUES ($1, NULL, 'test', now())",
		uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	for _, who := range []string{"ada", "somebody new"} {
		_, err := a.enter(a.Client(""), 0, verified(who, p.Email))
		refused(t, who, err, connect.CodePermissionDenied, faultv1.Reason_REASON_ACCOUNT_DISABLED)
	}
	var linked int
	if err := a.SQL.QueryRow(t.Context(), "SELECT count(*) FROM auth.external_identities").Scan(&linked); err != nil || linked != 1 {
		t.Errorf("%d identities, %v", linked, err)
	}
	a.CheckInvariants(t)
}

func TestANewAccountByAnIdentityJoinsByItsDomain(t *testing.T) {
	t.Parallel()
	a := newAway(t, testkit.Options{}, nil)
	w := &world{t: t, srv: a.Server, owner: a.Register(t)}
	w.workspace = w.owner.Workspace.Id
	domain := newDomain()
	w.domain(w.owner, domain)
	if _, err := a.SQL.Exec(t.Context(), "UPDATE tenant.domains SET enrollment = 'automatic' WHERE domain = $1", domain); err != nil {
		t.Fatal(err)
	}
	res := a.entered(a.Client(""), 0, verified("ada", "ada@"+domain))
	var count int
	if err := a.SQL.QueryRow(t.Context(), "SELECT count(*) FROM team.memberships WHERE user_id = $1 AND workspace_id IN ($2, $3)",
		uuidOf(t, res.Account.User.Id), uuidOf(t, w.workspace), uuidOf(t, res.Account.Workspace.Id)).Scan(&count); err != nil || count != 2 {
		t.Errorf("a member of %d workspaces, %v", count, err)
	}
	a.CheckInvariants(t)
}
