package e2e

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	faultv1 "github.com/logicspike/manager/gen/go/logicspike/fault/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// TestARefreshTokenIsUsedOnce follows a line: each token gives one successor, again
// within 30 seconds, until that is used (RFC 9700, 4.14.2).
func TestARefreshTokenIsUsedOnce(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	v := verifierOf(t, srv)
	first := refreshToken(t, p, p.Workspace.Id)
	if !strings.HasPrefix(first, "lsmf_") || len(first) > 256 {
		t.Errorf("the token is %q", first)
	}
	second := mustRefresh(t, srv, first)
	if c, err := v.Verify(t.Context(), second.AccessToken); err != nil || c.UserID != p.User.Id || c.SessionID != p.Session.Id || c.Role != "owner" {
		t.Errorf("%+v, %v", c, err)
	}
	srv.Clock.Advance(29 * time.Second)
	if again := mustRefresh(t, srv, first); again.RefreshToken != second.RefreshToken || again.AccessToken == second.AccessToken {
		t.Error("the same token gives another successor")
	}
	third := mustRefresh(t, srv, second.RefreshToken)
	if third.RefreshToken == second.RefreshToken {
		t.Error("the successor is no other token")
	}
	// The first one is two uses old, though not yet 30 seconds.
	_, err := refresh(t.Context(), srv, first)
	tokenRefused(t, "a token whose successor was used", err, faultv1.Reason_REASON_TOKEN_INVALID)
	for _, token := range []string{first, second.RefreshToken, third.RefreshToken} {
		_, err := refresh(t.Context(), srv, token)
		tokenRefused(t, "a token of the revoked line", err, faultv1.Reason_REASON_TOKEN_INVALID)
	}
	// The session itself, and other lines of it, go on.
	other := refreshToken(t, p, "")
	logged(t, p, "", "user.registered", "refresh_token.created", "refresh_token.reused", "refresh_token.created")

	// Used again after 30 seconds.
	next := mustRefresh(t, srv, other)
	srv.Clock.Advance(31 * time.Second)
	_, err = refresh(t.Context(), srv, other)
	tokenRefused(t, "used again too late", err, faultv1.Reason_REASON_TOKEN_INVALID)
	_, err = refresh(t.Context(), srv, next.RefreshToken)
	tokenRefused(t, "its successor", err, faultv1.Reason_REASON_TOKEN_INVALID)
	if n := lines(t, srv); n != 0 {
		t.Errorf("%d lines are left", n)
	}
	checkLog(t, srv, first[5:48], first[48:], second.RefreshToken, second.AccessToken, other[48:])
}

// TestTheReuseOfARefreshTokenIsMailedOnce uses old tokens again and again, also at
// once: each line that ends is one mail and one event.
func TestTheReuseOfARefreshTokenIsMailedOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t, nil)
	p := s.person(t)
	alerts := func() (n int) {
		t.Helper()
		for _, m := range s.queue(t, p.Email) {
			if m.Template != mail.SecurityChange || m.Data["change"] != string(mail.RefreshTokenReused) {
				continue
			}
			n++
			if m.Data["address"] != "127.0.0.1" || m.Data["agent"] == "" {
				t.Errorf("the mail does not say from where the token was used: %v", m.Data)
			}
		}
		return n
	}
	events := func() int {
		t.Helper()
		return count(t, s.Server, "SELECT count(*) FROM audit.events WHERE action = 'refresh_token.reused' AND user_id = $1", uuidOf(t, p.User.Id))
	}
	for i := 1; i <= 2; i++ {
		first := refreshToken(t, p, p.Workspace.Id)
		second := mustRefresh(t, s.Server, first).RefreshToken
		if again := mustRefresh(t, s.Server, first).RefreshToken; again != second {
			t.Fatal("the same token gives another successor")
		}
		mustRefresh(t, s.Server, second)
		if alerts() != i-1 || events() != i-1 {
			t.Errorf("before the token of line %d is reused: %d mails, %d events", i, alerts(), events())
		}
		var all sync.WaitGroup
		for n := range 20 {
			all.Go(func() {
				_, err := refresh(t.Context(), s.Server, []string{first, second}[n%2])
				if n%2 == 0 { // the second may be used again for a while
					tokenRefused(t, "an old token", err, faultv1.Reason_REASON_TOKEN_INVALID)
				}
			})
		}
		all.Wait()
		_, err := refresh(t.Context(), s.Server, first)
		tokenRefused(t, "an old token, again", err, faultv1.Reason_REASON_TOKEN_INVALID)
		if alerts() != i || events() != i {
			t.Errorf("after the token of line %d was reused: %d mails, %d events", i, alerts(), events())
		}
	}
	// A line that is revoked is no alarm, whatever is presented of it afterwards.
	first := refreshToken(t, p, "")
	mustRefresh(t, s.Server, first)
	if _, err := s.Client("").Tokens.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Token: first}); err != nil {
		t.Fatal(err)
	}
	_, err := refresh(t.Context(), s.Server, first)
	tokenRefused(t, "a token of a revoked line", err, faultv1.Reason_REASON_TOKEN_INVALID)
	if alerts() != 2 || events() != 2 {
		t.Errorf("in the end: %d mails, %d events", alerts(), events())
	}
	s.CheckInvariants(t)
}

// TestTwentyRefreshesAtOnceGiveOneSuccessor has the line go on as one.
func TestTwentyRefreshesAtOnceGiveOneSuccessor(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	present := refreshToken(t, p, "")
	for range 3 {
		var mu sync.Mutex
		successors := map[string]int{}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				res, err := refresh(t.Context(), srv, present)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				successors[res.RefreshToken]++
			})
		}
		all.Wait()
		if len(successors) != 1 {
			t.Fatalf("%d successors", len(successors))
		}
		for next := range successors {
			present = next
		}
	}
	var generation int
	if err := srv.SQL.QueryRow(t.Context(), "SELECT generation FROM auth.refresh_tokens").Scan(&generation); err != nil || generation != 4 {
		t.Errorf("generation %d, %v", generation, err)
	}
	// Used and used again at once, as by a thief and the client: never two lines.
	old := present
	present = mustRefresh(t, srv, old).RefreshToken
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() { _, _ = refresh(t.Context(), srv, []string{old, present}[i%2]) })
	}
	all.Wait()
	if n := lines(t, srv); n > 1 {
		t.Errorf("%d lines", n)
	}
}

// TestRefreshTokensEndWithTheirSession ends sessions in every way that there is.
func TestRefreshTokensEndWithTheirSession(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(t *testing.T, srv *testkit.Server, p *testkit.Person){
		"sign-out": func(t *testing.T, _ *testkit.Server, p *testkit.Person) {
			if _, err := p.Authentication.SignOut(t.Context(), &authv1.SignOutRequest{}); err != nil {
				t.Fatal(err)
			}
		},
		"revoked": func(t *testing.T, srv *testkit.Server, p *testkit.Person) {
			session := p.Session.Id
			srv.SignIn(t, p)
			if _, err := p.Sessions.RevokeSession(t.Context(), &authv1.RevokeSessionRequest{SessionId: session}); err != nil {
				t.Fatal(err)
			}
		},
		"others revoked": func(t *testing.T, srv *testkit.Server, p *testkit.Person) {
			srv.SignIn(t, p)
			if _, err := p.Sessions.RevokeOtherSessions(t.Context(), &authv1.RevokeOtherSessionsRequest{}); err != nil {
				t.Fatal(err)
			}
		},
		"password changed": func(t *testing.T, srv *testkit.Server, p *testkit.Person) {
			srv.SignIn(t, p)
			if _, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{
				CurrentPassword: testkit.Password, NewPassword: "another horse, another staple",
			}); err != nil {
				t.Fatal(err)
			}
		},
		"password changed by the session itself": func(t *testing.T, _ *testkit.Server, p *testkit.Person) {
			res, err := p.Passwords.ChangePassword(t.Context(), &authv1.ChangePasswordRequest{
				CurrentPassword: testkit.Password, NewPassword: "another horse, another staple",
			})
			if err != nil {
				t.Fatal(err)
			}
			p.Token, p.Client = res.SessionToken, p.As(res.SessionToken)
		},
		"password reset": func(t *testing.T, srv *testkit.Server, p *testkit.Person) {
			resetPassword(t, srv, srv.Client(""), p)
		},
		"idle": func(_ *testing.T, srv *testkit.Server, _ *testkit.Person) { srv.Clock.Advance(15 * 24 * time.Hour) },
		"disabled": func(t *testing.T, srv *testkit.Server, p *testkit.Person) {
			if _, err := srv.SQL.Exec(t.Context(), "INSERT INTO auth.disablements (user_id, reason, create_time) VALUES ($1, 'test', now())", uuidOf(t, p.User.Id)); err != nil {
				t.Fatal(err)
			}
		},
		"purged with the only workspace": func(t *testing.T, srv *testkit.Server, p *testkit.Person) {
			etag := preview(t, p, p.Workspace.Id).Etag
			if err := remove(t, p, p.Workspace.Id, etag); err != nil {
				t.Fatal(err)
			}
			srv.Clock.Advance(14*24*time.Hour + time.Second)
			if _, err := srv.Store.PurgeDue(t.Context()); err != nil {
				t.Fatal(err)
			}
			srv.CheckPurged(t, p.Workspace.Id, p.User.Id)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := testkit.New(t, testkit.Options{})
			p, witness := srv.Register(t), srv.Register(t)
			tokens := []string{refreshToken(t, p, ""), refreshToken(t, p, p.Workspace.Id)}
			tokens[1] = mustRefresh(t, srv, tokens[1]).RefreshToken
			session, user := parseID(t, p.Session.Id, ids.Parse[ids.Session]), parseID(t, p.User.Id, ids.Parse[ids.User])
			workspace := parseID(t, p.Workspace.Id, ids.Parse[ids.Workspace])
			if _, live, err := srv.Store.IntrospectSession(t.Context(), workspace, session, user); !live || err != nil {
				t.Errorf("the session is not live: %v", err)
			}
			if _, live, err := srv.Store.IntrospectSession(t.Context(), workspace, session, parseID(t, witness.User.Id, ids.Parse[ids.User])); live || err != nil {
				t.Errorf("it is live for somebody else: %v", err)
			}
			end(t, srv, p)
			for _, token := range tokens {
				_, err := refresh(t.Context(), srv, token)
				tokenRefused(t, "its refresh token", err, faultv1.Reason_REASON_TOKEN_INVALID)
			}
			itself := name == "password changed by the session itself" // which lives on, and begins anew
			if _, live, err := srv.Store.IntrospectSession(t.Context(), workspace, session, user); live != itself || err != nil {
				t.Errorf("the session is live: %t, %v", live, err)
			}
			if err := srv.Store.DeleteExpired(t.Context()); err != nil {
				t.Fatal(err)
			}
			if n := lines(t, srv); n != 0 && name != "disabled" { // whoever disables an account ends its sessions
				t.Errorf("%d lines are left", n)
			}
			if itself {
				mustRefresh(t, srv, refreshToken(t, p, ""))
			}
		})
	}
}

// TestAVoidedTokenMakesNoRefreshToken lets a call wait while its session gets another
// token.
func TestAVoidedTokenMakesNoRefreshToken(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	hold, err := srv.SQL.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = hold.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := hold.Exec(t.Context(), "UPDATE auth.sessions SET token_hash = 'another', auth_time = auth_time + interval '1 second' WHERE user_id = $1",
		uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := p.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{})
		done <- err
	}()
	testkit.Eventually(t, "the call to wait for the session", func() bool { return waiting(t, srv) > 0 })
	if err := hold.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	tokenRefused(t, "by a token that is void", <-done, faultv1.Reason_REASON_SESSION_REQUIRED)
	if n := lines(t, srv); n != 0 {
		t.Errorf("there are %d lines", n)
	}
}

func parseID[I any](t testing.TB, s string, parse func(string) (I, error)) I {
	t.Helper()
	id, err := parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// TestARefreshTokenOfAWorkspaceEndsWithTheMembership also keeps it ended when its user
// comes back.
func TestARefreshTokenOfAWorkspaceEndsWithTheMembership(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	owner := srv.Register(t)
	for name, end := range map[string]func(p *testkit.Person, m ids.Membership) error{
		"removed": func(_ *testkit.Person, m ids.Membership) error {
			_, err := owner.Memberships.RemoveMembership(t.Context(), &teamv1.RemoveMembershipRequest{WorkspaceId: owner.Workspace.Id, MembershipId: m.String()})
			return err
		},
		"left": func(p *testkit.Person, _ ids.Membership) error {
			_, err := p.Memberships.LeaveWorkspace(t.Context(), &teamv1.LeaveWorkspaceRequest{WorkspaceId: owner.Workspace.Id})
			return err
		},
		"deactivated": func(_ *testkit.Person, m ids.Membership) error {
			_, err := owner.Memberships.DeactivateMembership(t.Context(), &teamv1.DeactivateMembershipRequest{WorkspaceId: owner.Workspace.Id, MembershipId: m.String()})
			return err
		},
		// Behind the product's back: the refresh itself finds out.
		"gone": func(_ *testkit.Person, m ids.Membership) error {
			_, err := srv.SQL.Exec(t.Context(), "DELETE FROM team.memberships WHERE id = $1", m.UUID())
			srv.CountSeats(t)
			return err
		},
	} {
		p := srv.Register(t)
		m := srv.Join(t, p, owner.Workspace.Id, authz.Member)
		token, elsewhere := refreshToken(t, p, owner.Workspace.Id), refreshToken(t, p, p.Workspace.Id)
		token = mustRefresh(t, srv, token).RefreshToken
		if err := end(p, m); err != nil {
			t.Fatal(err)
		}
		_, err := refresh(t.Context(), srv, token)
		tokenRefused(t, name, err, faultv1.Reason_REASON_TOKEN_INVALID)
		if name == "deactivated" {
			if _, err := owner.Memberships.ReactivateMembership(t.Context(), &teamv1.ReactivateMembershipRequest{WorkspaceId: owner.Workspace.Id, MembershipId: m.String()}); err != nil {
				t.Fatal(err)
			}
		} else {
			srv.Join(t, p, owner.Workspace.Id, authz.Member)
		}
		_, err = refresh(t.Context(), srv, token)
		tokenRefused(t, name+", and back", err, faultv1.Reason_REASON_TOKEN_INVALID)
		if _, err := refresh(t.Context(), srv, elsewhere); err != nil {
			t.Errorf("%s: the token of another workspace: %v", name, err)
		}
	}
}

func TestARefreshKeepsItsSessionInUse(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	token := refreshToken(t, p, "")
	for range 6 { // 60 days, of which the session was never unused for 14
		srv.Clock.Advance(10 * 24 * time.Hour)
		token = mustRefresh(t, srv, token).RefreshToken
	}
	if _, err := p.Sessions.GetSession(t.Context(), &authv1.GetSessionRequest{}); err != nil {
		t.Error(err)
	}
	srv.Clock.Advance(10 * 24 * time.Hour)
	token = mustRefresh(t, srv, token).RefreshToken
	srv.Clock.Advance(10 * 24 * time.Hour)
	token = mustRefresh(t, srv, token).RefreshToken
	srv.Clock.Advance(10*24*time.Hour + time.Minute) // 90 days: its whole lifetime
	_, err := refresh(t.Context(), srv, token)
	tokenRefused(t, "after the session's lifetime", err, faultv1.Reason_REASON_TOKEN_INVALID)
}

func TestASessionHasTwentyRefreshTokens(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	var mu sync.Mutex
	var made []string
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			res, err := p.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made = append(made, res.RefreshToken)
			} else {
				tokenRefused(t, "one too many", err, faultv1.Reason_REASON_TOO_MANY)
			}
		})
	}
	all.Wait()
	if len(made) != store.MaxRefreshTokens {
		t.Fatalf("%d were made", len(made))
	}
	if _, err := p.Tokens.RevokeToken(t.Context(), &authv1.RevokeTokenRequest{Token: made[0]}); err != nil {
		t.Fatal(err)
	}
	refreshToken(t, p, "")
	second := *p
	srv.SignIn(t, &second)
	refreshToken(t, &second, "")
}

func TestWhoActsForAnotherGetsNoRefreshToken(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p, operator := srv.Register(t), srv.Register(t)
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE auth.sessions SET impersonator_id = $1, impersonation_reason = 'test' WHERE user_id = $2",
		uuidOf(t, operator.User.Id), uuidOf(t, p.User.Id)); err != nil {
		t.Fatal(err)
	}
	_, err := p.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{})
	tokenRefused(t, "a refresh token", err, faultv1.Reason_REASON_IMPERSONATION_NOT_ALLOWED)
	c, err := verifierOf(t, srv).Verify(t.Context(), accessToken(t, p, ""))
	if err != nil || c.OperatorID != operator.User.Id || c.UserID != p.User.Id {
		t.Errorf("%+v, %v", c, err)
	}
	// Nor who owes a second factor any token.
	q := srv.Register(t)
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE auth.sessions SET second_factor_pending = true WHERE user_id = $1", uuidOf(t, q.User.Id)); err != nil {
		t.Fatal(err)
	}
	_, err = q.Tokens.CreateAccessToken(t.Context(), &authv1.CreateAccessTokenRequest{})
	tokenRefused(t, "an access token", err, faultv1.Reason_REASON_SECOND_FACTOR_REQUIRED)
	_, err = q.Tokens.CreateRefreshToken(t.Context(), &authv1.CreateRefreshTokenRequest{})
	tokenRefused(t, "a refresh token", err, faultv1.Reason_REASON_SECOND_FACTOR_REQUIRED)
}

func TestOnlyHashesOfRefreshTokensAreStored(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	p := srv.Register(t)
	first := refreshToken(t, p, "")
	second := mustRefresh(t, srv, first).RefreshToken
	var row, keys string
	if err := srv.SQL.QueryRow(t.Context(), "SELECT to_jsonb(l)::text FROM auth.refresh_tokens l").Scan(&row); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{first, second, first[5:48], first[48:], second[48:]} {
		if strings.Contains(row, s) || strings.Contains(row, fmt.Sprintf("%x", s)) {
			t.Errorf("%s holds the token", row)
		}
	}
	// The sealed successor is there as long as it can be asked for.
	srv.Clock.Advance(time.Minute)
	if err := srv.Store.DeleteExpired(t.Context()); err != nil {
		t.Fatal(err)
	}
	var sealed int
	if err := srv.SQL.QueryRow(t.Context(), "SELECT count(successor) FROM auth.refresh_tokens").Scan(&sealed); err != nil || sealed != 0 {
		t.Errorf("%d successors are left, %v", sealed, err)
	}
	private, err := srv.Store.SigningKeys(t.Context())
	if err != nil || len(private) == 0 {
		t.Fatal(err)
	}
	if err := srv.SQL.QueryRow(t.Context(), "SELECT string_agg(to_jsonb(k)::text, ',') FROM auth.signing_keys k").Scan(&keys); err != nil {
		t.Fatal(err)
	}
	for _, k := range private {
		if strings.Contains(keys, fmt.Sprintf("%x", k.Private.Seed())) {
			t.Error("a private key is stored in the clear")
		}
	}
}
