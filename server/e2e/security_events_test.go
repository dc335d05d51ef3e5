package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// securityEvents returns all security events of a person, the newest first, page by
// page.
func securityEvents(t testing.TB, c *client.Client, size int32) (list []*authv1.SecurityEvent) {
	t.Helper()
	for token, pages := "", 0; ; pages++ {
		res, err := c.Security.ListSecurityEvents(t.Context(), &authv1.ListSecurityEventsRequest{PageSize: size, PageToken: token})
		if err != nil {
			t.Fatalf("ListSecurityEvents: %v", err)
		}
		list = append(list, res.SecurityEvents...)
		if token = res.NextPageToken; token == "" || pages > 100 {
			return list
		}
	}
}

// waitForEvents waits until there are so many of an action, and returns them.
func waitForEvents(t testing.TB, c *client.Client, action string, count int) (list []*authv1.SecurityEvent) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d events %s", count, action), func() bool {
		list = nil
		for _, e := range securityEvents(t, c, 200) {
			if e.Action == action {
				list = append(list, e)
			}
		}
		return len(list) >= count
	})
	return list
}

func TestRefusedSignInsAreInTheLogOfTheAccount(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, other := srv.Register(t), srv.Register(t)
	g := newGadget(srv, "203.0.113.7")
	g.agent = "curl/8.0 (a stranger)"
	if _, err := g.signIn(t, p.Email, "a wrong password"); reasonOf(err) != "CREDENTIALS_INVALID" {
		t.Fatal(err)
	}
	e := waitForEvents(t, p.Client, "sign_in.refused", 1)[0]
	if e.ClientAddress != "203.0.113.7" || e.UserAgent != g.agent || e.OperatorUserId != "" || e.Reason != "" || e.Id == "" || e.CreateTime == nil {
		t.Errorf("the event: %v", e)
	}
	for what, has := range map[string]int{
		"secrets in the log": count(t, srv, "SELECT count(*) FROM audit.events WHERE details::text LIKE '%wrong password%'"),
		"addresses in the queue": count(t, srv, "SELECT count(*) FROM river.river_job WHERE kind = 'refusal' AND args::text LIKE '%' || $1 || '%'",
			p.Email),
		"of somebody else": len(waitForEvents(t, other.Client, "sign_in.refused", 0)),
	} {
		if has != 0 {
			t.Errorf("%s: %d", what, has)
		}
	}
	// Nobody's address leaves nothing.
	if _, err := g.signIn(t, testkit.NewEmail(), "a wrong password"); reasonOf(err) != "CREDENTIALS_INVALID" {
		t.Fatal(err)
	}
	// Those who have a session and not the password are noted, too.
	if _, err := p.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: "a wrong password"}); reasonOf(err) != "CREDENTIALS_INVALID" {
		t.Fatal(err)
	}
	waitForEvents(t, p.Client, "reauthentication.refused", 1)
	start, err := p.EmailChallenges.StartEmailReauthentication(t.Context(), &authv1.StartEmailReauthenticationRequest{})
	if err != nil {
		t.Fatal(err)
	}
	right := testkit.CodeIn(t, mailAbout(t, srv, p.Email, "Confirm that it is you", 1))
	wrong := right[1:] + right[:1]
	if wrong == right {
		wrong = "123456"
	}
	if _, err := p.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{
		EmailCode: &authv1.EmailCode{EmailChallengeId: start.EmailChallengeId, Code: wrong},
	}); reasonOf(err) != "CODE_INVALID" {
		t.Fatal(err)
	}
	waitForEvents(t, p.Client, "reauthentication.refused", 2)

	// Wrong second factors.
	a, _ := enrol(t, srv, p)
	token := owing(t, srv, p.Email)
	if _, err := verifyTOTP(t, srv, token, a.other(t)); reasonOf(err) != "SECOND_FACTOR_INVALID" {
		t.Fatal(err)
	}
	waitForEvents(t, p.Client, "sign_in.refused", 2)
	if n := count(t, srv, "SELECT count(*) FROM audit.events WHERE action = 'sign_in.refused' AND details = '{\"method\": \"totp\", \"refusal\": \"SECOND_FACTOR_INVALID\"}'"); n != 1 {
		t.Errorf("%d events tell of the second factor", n)
	}

	// Whoever guesses on does not fill the log.
	for range 30 {
		_, _ = g.signIn(t, p.Email, "a wrong password")
	}
	testkit.Eventually(t, "the queue to be empty", func() bool {
		return count(t, srv, "SELECT count(*) FROM river.river_job WHERE kind = 'refusal' AND state <> 'completed'") == 0
	})
	if n := count(t, srv, "SELECT count(*) FROM audit.events WHERE action = 'sign_in.refused'"); n != 11 {
		t.Errorf("%d refusals are in the log", n)
	}
	srv.Clock.Advance(time.Hour)
	_, _ = g.signIn(t, p.Email, "a wrong password")
	waitForEvents(t, p.Client, "sign_in.refused", 12)
	srv.CheckInvariants(t)
}

// TestARefusalOfWhoIsGoneIsForgotten: the account was deleted while it waited.
func TestARefusalOfWhoIsGoneIsForgotten(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{WithoutJobs: true, Settings: after})
	p := newPerson(t, srv)
	_, _ = newGadget(srv, "").signIn(t, p.Email, "a wrong password")
	_, _ = p.Authentication.Reauthenticate(t.Context(), &authv1.ReauthenticateRequest{Password: "a wrong password"})
	if err := deleteSelf(t, p); err != nil {
		t.Fatal(err)
	}
	for _, job := range refusals(t, srv, 2) {
		if err := srv.Store.WorkRefusal(t.Context(), job); err != nil {
			t.Error(err)
		}
	}
	if n := count(t, srv, "SELECT count(*) FROM audit.events WHERE action LIKE '%.refused'"); n != 0 {
		t.Errorf("%d events of nobody", n)
	}
}

func TestSecurityEventsAreTheCallersOwn(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, other := srv.Register(t), srv.Register(t)
	for range 7 {
		srv.SignIn(t, p)
	}
	if _, err := p.Users.UpdateMe(t.Context(), &identityv1.UpdateMeRequest{DisplayName: "Ann"}); err != nil {
		t.Fatal(err)
	}
	waitForEvents(t, p.Client, "session.created", 7)
	all := securityEvents(t, p.Client, 200)
	byTwo := securityEvents(t, p.Client, 2)
	if len(all) != len(byTwo) || len(all) < 8 {
		t.Fatalf("%d events, and %d page by page", len(all), len(byTwo))
	}
	seen := map[string]int{}
	for i := range all {
		seen[all[i].Action]++
		if all[i].Id != byTwo[i].Id || i > 0 && all[i].CreateTime.AsTime().After(all[i-1].CreateTime.AsTime()) {
			t.Errorf("event %d: %v, and page by page %v", i, all[i], byTwo[i])
		}
		if all[i].ClientAddress != "127.0.0.1" || all[i].UserAgent == "" {
			t.Errorf("event %d is from nowhere: %v", i, all[i])
		}
	}
	if seen["user.updated"] != 0 || seen["session.created"] != 7 || seen["user.registered"] != 1 {
		t.Errorf("%v", seen)
	}
	// A page's token is of one list of one user.
	first, err := p.Security.ListSecurityEvents(t.Context(), &authv1.ListSecurityEventsRequest{PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]*client.Client{"somebody else": other.Client, "nobody": srv.Client("")} {
		want := "PAGE_TOKEN_INVALID"
		if what == "nobody" {
			want = "SESSION_REQUIRED"
		}
		if _, err := c.Security.ListSecurityEvents(t.Context(), &authv1.ListSecurityEventsRequest{PageToken: first.NextPageToken}); reasonOf(err) != want {
			t.Errorf("the page's token for %s: %v", what, err)
		}
	}

	// Operators alone give reasons.
	if _, err := srv.Client("").Tokens.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Token: refreshToken(t, p, "")}); err != nil {
		t.Fatal(err)
	}
	if e := waitForEvents(t, p.Client, "refresh_token.revoked", 1)[0]; e.Reason != "" || e.OperatorUserId != "" {
		t.Errorf("a token that was revoked: %v", e)
	}

	// What an operator does has their name and reason, and not their address.
	operator := makeOperator(t, srv, srv.Register(t))
	if _, err := operator.Operators.SignOutUser(t.Context(), &authv1.SignOutUserRequest{UserId: p.User.Id, Reason: "asked by phone"}); err != nil {
		t.Fatal(err)
	}
	srv.SignIn(t, p)
	e := waitForEvents(t, p.Client, "user.signed_out", 1)[0]
	if e.OperatorUserId != operator.User.Id || e.Reason != "asked by phone" || e.ClientAddress != "" || e.UserAgent != "" {
		t.Errorf("what the operator did: %v", e)
	}
	impersonate(t, srv, operator, p)
	testkit.Eventually(t, "the impersonation among the events", func() bool {
		return slices.ContainsFunc(securityEvents(t, p.Client, 200), func(e *authv1.SecurityEvent) bool {
			return e.OperatorUserId == operator.User.Id && e.Action != "user.signed_out" && e.Reason != ""
		})
	})
}

// refusals are those that wait to be noted.
func refusals(t testing.TB, srv *testkit.Server, want int) []store.RefusalJob {
	t.Helper()
	rows, err := srv.SQL.Query(t.Context(), "SELECT args FROM river.river_job WHERE kind = 'refusal' ORDER BY id")
	if err != nil {
		t.Fatal(err)
	}
	jobs, err := pgx.CollectRows(rows, pgx.RowTo[store.RefusalJob])
	if err != nil || len(jobs) != want {
		t.Fatalf("%d refusals wait, %v", len(jobs), err)
	}
	return jobs
}
