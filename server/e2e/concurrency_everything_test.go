package e2e

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/logicspike/manager/client"
	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/testkit"
)

// TestSixteenPeopleDoingEverythingAtOnceLeaveEverythingWhole runs all mutating
// calls, at random, on shared accounts and workspaces.
func TestSixteenPeopleDoingEverythingAtOnceLeaveEverythingWhole(t *testing.T) {
	t.Parallel()
	const workers, duration = 16, 3 * time.Second
	srv := quick(t)
	c := &crowd{t: t, srv: srv, client: srv.Client("", client.WithHTTPClient(&http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: workers}}))}
	for range 12 {
		c.people = append(c.people, newPerson(t, srv))
	}
	for i, p := range c.people {
		for n, role := range []authz.Role{authz.Owner, authz.Admin, authz.Member} {
			srv.Join(t, p, c.people[(i+n+1)%len(c.people)].Workspace.Id, role)
		}
		c.workspaces = append(c.workspaces, p.Workspace.Id)
	}
	if _, err := srv.SQL.Exec(t.Context(), "UPDATE identity.emails SET verified_time = now()"); err != nil { // so that they can accept
		t.Fatal(err)
	}
	outcomes := make([]map[string]int, workers)
	end := time.Now().Add(duration)
	var wg sync.WaitGroup
	for i := range workers {
		outcomes[i] = map[string]int{}
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			for time.Now().Before(end) {
				name, err := c.act(random)
				outcomes[i][name+": "+reasonOf(err)]++
			}
		})
	}
	wg.Wait()
	total := map[string]int{}
	for _, o := range outcomes {
		add(total, "", o)
	}
	for _, outcome := range slices.Sorted(maps.Keys(total)) {
		t.Logf("%5d %s", total[outcome], outcome)
	}
	allowed(t, total, "", "SESSION_REQUIRED", "CREDENTIALS_INVALID", "REAUTHENTICATION_REQUIRED", "PERMISSION_MISSING", "NOT_FOUND",
		"CODE_INVALID", "REGISTRATION_EXPIRED", "RATE_LIMITED", "SLUG_TAKEN", "ETAG_MISMATCH", "REQUEST_ID_REUSED",
		"WORKSPACE_DELETED", "WORKSPACE_NOT_DELETED", "OWNER_REQUIRED", "FIELD_INVALID",
		"EMAIL_UNVERIFIED", "EMAIL_TAKEN", "ALREADY_MEMBER", "ROLE_NOT_GRANTABLE", "ROLE_NAME_TAKEN", "ROLE_IN_USE",
		"INVITATION_USED", "INVITATION_REVOKED", "MEMBERSHIP_DEACTIVATED", "MEMBER_REMOVED")
	succeeded := 0
	for _, call := range teamwork {
		succeeded += min(total[call.name+": "], 1)
	}
	if succeeded < len(teamwork)/2 {
		t.Errorf("only %d of %d calls about teams ever succeeded", succeeded, len(teamwork))
	}
	srv.CheckInvariants(t)
	srv.Clock.Advance(15 * 24 * time.Hour)
	if _, err := srv.Store.PurgeDue(t.Context()); err != nil {
		t.Errorf("PurgeDue: %v", err)
	}
	srv.CheckInvariants(t)
	checkLog(t, srv, testkit.Password)
}

// crowd is the people and workspaces that random calls are about.
type crowd struct {
	t      *testing.T
	srv    *testkit.Server
	client *client.Client

	mu         sync.Mutex
	people     []*testkit.Person // the tokens of whom change
	workspaces []string
	links      []string // tokens of invitation links
}

// act makes one random call, and returns its name.
func (c *crowd) act(random *rand.Rand) (string, error) {
	ctx := c.t.Context()
	c.mu.Lock()
	who := random.IntN(len(c.people))
	p, other := *c.people[who], *c.people[random.IntN(len(c.people))]
	workspace := c.workspaces[random.IntN(len(c.workspaces))]
	c.mu.Unlock()
	if random.IntN(2) == 0 {
		workspace = p.Workspace.Id
	}
	signedIn := func(token string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.people[who].User.Id == p.User.Id {
			again := p
			again.Token = token
			c.people[who] = &again
		}
	}
	me := c.client.As(p.Token)
	if random.IntN(2) == 0 {
		call := teamwork[random.IntN(len(teamwork))]
		return call.name, call.call(ctx, &teamCall{crowd: c, random: random, me: me, other: other, workspace: workspace})
	}
	switch action := random.IntN(40); action {
	case 0, 1, 2:
		res, err := c.client.Registration.Register(ctx, &authv1.RegisterRequest{Email: testkit.NewEmail(), Password: testkit.Password, WorkspaceName: "Acme"})
		if err == nil {
			c.mu.Lock()
			c.people[who] = c.srv.Person(res.Account.User.Email, res.Account)
			c.workspaces[random.IntN(len(c.workspaces))] = res.Account.Workspace.Id
			c.mu.Unlock()
		}
		return "Register", err
	case 3:
		_, err := c.client.Registration.Register(ctx, &authv1.RegisterRequest{Email: other.Email, Password: testkit.Password, WorkspaceName: "Acme"})
		return "Register a known address", err
	case 4, 5, 6, 7, 8:
		res, err := c.client.Authentication.SignInWithPassword(ctx, &authv1.SignInWithPasswordRequest{Email: p.Email, Password: testkit.Password})
		if err == nil {
			signedIn(res.SessionToken)
		}
		return "SignInWithPassword", err
	case 9:
		_, err := me.Authentication.SignOut(ctx, &authv1.SignOutRequest{})
		return "SignOut", err
	case 10, 11:
		res, err := me.Authentication.Reauthenticate(ctx, &authv1.ReauthenticateRequest{Password: testkit.Password})
		if err == nil {
			signedIn(res.SessionToken)
		}
		return "Reauthenticate", err
	case 12:
		_, err := me.Sessions.RevokeOtherSessions(ctx, &authv1.RevokeOtherSessionsRequest{})
		return "RevokeOtherSessions", err
	case 13:
		_, err := me.Sessions.RevokeSession(ctx, &authv1.RevokeSessionRequest{SessionId: p.Session.Id})
		return "RevokeSession", err
	case 14, 15:
		res, err := me.Passwords.ChangePassword(ctx, &authv1.ChangePasswordRequest{CurrentPassword: testkit.Password, NewPassword: testkit.Password})
		if err == nil {
			signedIn(res.SessionToken)
		}
		return "ChangePassword", err
	case 16:
		res, err := c.client.Passwords.RequestPasswordReset(ctx, &authv1.RequestPasswordResetRequest{Email: p.Email})
		if err != nil {
			return "RequestPasswordReset", err
		}
		_, err = c.client.Passwords.ResetPassword(ctx, &authv1.ResetPasswordRequest{
			PasswordResetId: res.PasswordResetId, Code: c.code(p.Email), NewPassword: testkit.Password,
		})
		return "ResetPassword", err
	case 17:
		_, err := me.Users.UpdateMe(ctx, &identityv1.UpdateMeRequest{DisplayName: fmt.Sprint("Ann ", random.IntN(100))})
		return "UpdateMe", err
	case 18, 19:
		to := testkit.NewEmail()
		res, err := me.Users.RequestEmailChange(ctx, &identityv1.RequestEmailChangeRequest{NewEmail: to})
		if err != nil {
			return "RequestEmailChange", err
		}
		changed, err := me.Users.ConfirmEmailChange(ctx, &identityv1.ConfirmEmailChangeRequest{EmailChangeId: res.EmailChangeId, Code: c.code(to)})
		if err == nil {
			c.mu.Lock()
			again := *c.people[who]
			if again.User.Id == p.User.Id {
				again.Email = changed.User.Email
				c.people[who] = &again
			}
			c.mu.Unlock()
		}
		return "ConfirmEmailChange", err
	case 20, 21:
		req := &identityv1.DeleteMeRequest{}
		preview, err := me.Users.PreviewDeleteMe(ctx, &identityv1.PreviewDeleteMeRequest{})
		if err != nil {
			return "PreviewDeleteMe", err
		}
		req.Etag = preview.Etag
		for _, w := range preview.SoleOwnedWorkspaces {
			req.Resolutions = append(req.Resolutions, &identityv1.WorkspaceResolution{
				WorkspaceId: w.WorkspaceId, Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true},
			})
		}
		_, err = me.Users.DeleteMe(ctx, req)
		return "DeleteMe", err
	case 22, 23, 24:
		slug := ""
		if random.IntN(2) == 0 {
			slug = fmt.Sprint("slug-", random.IntN(20))
		}
		res, err := me.Workspaces.CreateWorkspace(ctx, &tenantv1.CreateWorkspaceRequest{
			Name: "Acme", Slug: slug, RequestId: uuid.NewSHA1(uuid.NameSpaceOID, []byte(slug)).String(),
		})
		if err == nil {
			c.mu.Lock()
			c.workspaces[random.IntN(len(c.workspaces))] = res.Workspace.Id
			c.mu.Unlock()
		}
		return "CreateWorkspace", err
	case 25, 26:
		_, err := me.Workspaces.UpdateWorkspace(ctx, &tenantv1.UpdateWorkspaceRequest{WorkspaceId: workspace, Slug: fmt.Sprint("slug-", random.IntN(20))})
		return "UpdateWorkspace", err
	case 27, 28, 29, 30, 31:
		preview, err := me.Workspaces.PreviewDeleteWorkspace(ctx, &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: workspace})
		if err != nil {
			return "PreviewDeleteWorkspace", err
		}
		if action < 30 {
			_, err = me.Workspaces.DeleteWorkspace(ctx, &tenantv1.DeleteWorkspaceRequest{WorkspaceId: workspace, Etag: preview.Etag})
			return "DeleteWorkspace", err
		}
		_, err = me.Workspaces.PurgeWorkspace(ctx, &tenantv1.PurgeWorkspaceRequest{WorkspaceId: workspace, Etag: preview.Etag})
		return "PurgeWorkspace", err
	case 32, 33, 34:
		_, err := me.Workspaces.UndeleteWorkspace(ctx, &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: workspace})
		return "UndeleteWorkspace", err
	default:
		return "(join)", joinNow(ctx, c.srv, &other, workspace)
	}
}

// code returns the code that was mailed to an address last, or another one.
func (c *crowd) code(address string) string {
	if m, err := readQueue(c.t.Context(), c.srv, address, 50); err == nil && len(m) > 0 && m[0].Data["code"] != "" {
		return m[0].Data["code"]
	}
	return "000000"
}
