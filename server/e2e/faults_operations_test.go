package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	identityv1 "github.com/logicspike/manager/gen/go/logicspike/identity/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"

	"github.com/logicspike/manager/client"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/config"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// operation is a use case that is one transaction: what the fault tests disturb.
type operation struct {
	name     string
	settings func(*config.Settings)
	// repeatable says that the call has a request id.
	repeatable bool
	// prepare brings about what the call needs.
	prepare func(t *testing.T, s *stage) attempt
}

// attempt is a call that can be made at once, and again as long as it fails.
type attempt struct {
	token string // of the caller's session, if it has one
	// call returns what was made.
	call func(ctx context.Context, c *client.Client) (string, error)
	// check looks at what the call has left, if there is more to see than the
	// invariants.
	check func(t *testing.T)
}

func provenLater(s *config.Settings) { s.EmailVerification = config.VerifyAfter }
func purgeAtOnce(s *config.Settings) { s.DeletionGrace = 0 }
func accountIDs(a *authv1.Account) string {
	return a.GetUser().GetId() + " " + a.GetWorkspace().GetId()
}

// operations are what the fault tests disturb.
var operations = slices.Concat(accountOperations, teamOperations)

// accountOperations are the transactions that make or remove accounts and workspaces,
// or change who can enter them.
var accountOperations = []operation{
	{name: "Register", repeatable: true, prepare: beginRegistration},
	{name: "Register at once", settings: provenLater, repeatable: true, prepare: beginRegistration},
	{name: "VerifyRegistration", repeatable: true, prepare: beginVerification},
	{name: "VerifyRegistration of an account", settings: provenLater, repeatable: true, prepare: beginVerification},
	{name: "VerifyRegistration of an address that another account has not proven", settings: provenLater, repeatable: true,
		prepare: func(t *testing.T, s *stage) attempt {
			return s.verification(t, s.person(t).Email)
		}},
	{name: "CreateWorkspace", repeatable: true, prepare: beginWorkspace},
	{name: "DeleteWorkspace", prepare: func(t *testing.T, s *stage) attempt {
		p, _ := s.team(t)
		return deletionBy(p, s.preview(t, p, p.Workspace.Id))
	}},
	{name: "DeleteWorkspace without grace", settings: purgeAtOnce, prepare: func(t *testing.T, s *stage) attempt {
		p, sole := s.team(t)
		a := deletionBy(p, s.preview(t, p, p.Workspace.Id))
		a.check = func(t *testing.T) { s.CheckPurged(t, p.Workspace.Id, p.User.Id, sole.User.Id) }
		return a
	}},
	{name: "UndeleteWorkspace", prepare: func(t *testing.T, s *stage) attempt {
		p := s.person(t)
		s.delete(t, p, p.Workspace.Id)
		return attempt{token: p.Token, call: func(ctx context.Context, c *client.Client) (string, error) {
			res, err := c.Workspaces.UndeleteWorkspace(ctx, &tenantv1.UndeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id})
			return res.GetWorkspace().GetId(), err
		}}
	}},
	{name: "PurgeWorkspace", prepare: func(t *testing.T, s *stage) attempt {
		p, sole := s.team(t)
		etag := s.delete(t, p, p.Workspace.Id)
		return attempt{
			token: p.Token,
			call: func(ctx context.Context, c *client.Client) (string, error) {
				res, err := c.Workspaces.PurgeWorkspace(ctx, &tenantv1.PurgeWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: etag})
				return fmt.Sprint(res.GetMembershipCount(), res.GetDeletedUserCount()), err
			},
			check: func(t *testing.T) { s.CheckPurged(t, p.Workspace.Id, p.User.Id, sole.User.Id) },
		}
	}},
	{name: "DeleteMe", prepare: beginDeletionOfSelf},
	{name: "ResetPassword", prepare: beginReset},
	{name: "ConfirmEmailChange", prepare: func(t *testing.T, s *stage) attempt {
		return s.emailChange(t, testkit.NewEmail())
	}},
	{name: "ConfirmEmailChange to an address that another account has not proven", settings: provenLater,
		prepare: func(t *testing.T, s *stage) attempt {
			return s.emailChange(t, s.person(t).Email)
		}},
}

func beginRegistration(t *testing.T, s *stage) attempt {
	req := newRegistration(testkit.NewEmail())
	return attempt{call: func(ctx context.Context, c *client.Client) (string, error) {
		res, err := c.Registration.Register(ctx, req)
		return res.GetRegistration().GetId() + " " + accountIDs(res.GetAccount()), err
	}}
}

func beginVerification(t *testing.T, s *stage) attempt { return s.verification(t, testkit.NewEmail()) }

func beginWorkspace(t *testing.T, s *stage) attempt {
	req := &tenantv1.CreateWorkspaceRequest{Name: "Second", RequestId: uuid.NewString()}
	return attempt{token: s.person(t).Token, call: func(ctx context.Context, c *client.Client) (string, error) {
		res, err := c.Workspaces.CreateWorkspace(ctx, req)
		return res.GetWorkspace().GetId() + " " + res.GetMembership().GetId(), err
	}}
}

// beginDeletionOfSelf is of a user who owns two workspaces, of which one is
// transferred and the other purged, and who belongs to a third.
func beginDeletionOfSelf(t *testing.T, s *stage) attempt {
	p, other := s.person(t), s.person(t)
	s.Join(t, p, other.Workspace.Id, authz.Admin)
	heir := s.Join(t, other, p.Workspace.Id, authz.Member)
	second, err := p.Workspaces.CreateWorkspace(t.Context(), &tenantv1.CreateWorkspaceRequest{Name: "Second"})
	if err != nil {
		t.Fatal(err)
	}
	sole := s.soleMember(t, second.Workspace.Id)
	preview, err := p.Users.PreviewDeleteMe(t.Context(), &identityv1.PreviewDeleteMeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	return attempt{
		token: p.Token,
		call: func(ctx context.Context, c *client.Client) (string, error) {
			_, err := c.Users.DeleteMe(ctx, &identityv1.DeleteMeRequest{Etag: preview.Etag, Resolutions: []*identityv1.WorkspaceResolution{
				{WorkspaceId: p.Workspace.Id, Resolution: &identityv1.WorkspaceResolution_TransferToMembershipId{TransferToMembershipId: heir.String()}},
				{WorkspaceId: second.Workspace.Id, Resolution: &identityv1.WorkspaceResolution_Delete{Delete: true}},
			}})
			return "", err
		},
		check: func(t *testing.T) { s.CheckPurged(t, second.Workspace.Id, p.User.Id, sole.User.Id) },
	}
}

func beginReset(t *testing.T, s *stage) attempt {
	p := s.person(t)
	res, err := s.Client("").Passwords.RequestPasswordReset(t.Context(), &authv1.RequestPasswordResetRequest{Email: p.Email})
	if err != nil {
		t.Fatal(err)
	}
	req := &authv1.ResetPasswordRequest{PasswordResetId: res.PasswordResetId, Code: s.code(t, p.Email), NewPassword: "another horse, another staple"}
	return attempt{call: func(ctx context.Context, c *client.Client) (string, error) {
		_, err := c.Passwords.ResetPassword(ctx, req)
		return "", err
	}}
}

func deletionBy(p *testkit.Person, etag string) attempt {
	return attempt{token: p.Token, call: func(ctx context.Context, c *client.Client) (string, error) {
		_, err := c.Workspaces.DeleteWorkspace(ctx, &tenantv1.DeleteWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: etag})
		return "", err
	}}
}

// newRegistration returns a request that may be repeated.
func newRegistration(email string) *authv1.RegisterRequest {
	return &authv1.RegisterRequest{
		Email: email, Password: testkit.Password, WorkspaceName: "Workspace of " + email, RequestId: uuid.NewString(),
	}
}

// stage is a server whose queue nobody works, so that all writes are those of the
// calls.
type stage struct{ *testkit.Server }

func newStage(t *testing.T, settings func(*config.Settings)) *stage {
	t.Helper()
	return &stage{testkit.New(t, testkit.Options{Settings: settings, WithoutJobs: true})}
}

// client returns the client that an attempt calls with.
func (s *stage) client(a attempt, options ...client.Option) *client.Client {
	return s.Client("", append(options, client.WithSession(a.token))...)
}

// person registers somebody.
func (s *stage) person(t *testing.T) *testkit.Person {
	t.Helper()
	email := testkit.NewEmail()
	began, err := s.Client("").Registration.Register(t.Context(), newRegistration(email))
	if err != nil {
		t.Fatal(err)
	}
	account := began.Account
	if account == nil {
		res, err := s.Client("").Registration.VerifyRegistration(t.Context(), &authv1.VerifyRegistrationRequest{
			RegistrationId: began.Registration.Id, Code: s.code(t, email),
		})
		if err != nil {
			t.Fatal(err)
		}
		account = res.Account
	}
	return s.Person(email, account)
}

// team registers the owner of a workspace to which two others belong: one who
// belongs to another one too, and one who does not.
func (s *stage) team(t *testing.T) (owner, sole *testkit.Person) {
	t.Helper()
	owner = s.person(t)
	s.Join(t, s.person(t), owner.Workspace.Id, authz.Member)
	return owner, s.soleMember(t, owner.Workspace.Id)
}

// soleMember registers somebody who belongs to a workspace and no longer to their
// own.
func (s *stage) soleMember(t *testing.T, workspace string) *testkit.Person {
	t.Helper()
	p := s.person(t)
	s.Join(t, p, workspace, authz.Member)
	etag := s.delete(t, p, p.Workspace.Id)
	_, err := p.Workspaces.PurgeWorkspace(t.Context(), &tenantv1.PurgeWorkspaceRequest{WorkspaceId: p.Workspace.Id, Etag: etag})
	if err != nil && s.Settings.DeletionGrace > 0 {
		t.Fatal(err)
	}
	return p
}

// preview returns the etag for the deletion of a workspace.
func (s *stage) preview(t *testing.T, p *testkit.Person, workspace string) string {
	t.Helper()
	res, err := p.Workspaces.PreviewDeleteWorkspace(t.Context(), &tenantv1.PreviewDeleteWorkspaceRequest{WorkspaceId: workspace})
	if err != nil {
		t.Fatal(err)
	}
	return res.Etag
}

// delete deletes a workspace, and returns the etag for its purge.
func (s *stage) delete(t *testing.T, p *testkit.Person, workspace string) string {
	t.Helper()
	etag := s.preview(t, p, workspace)
	if _, err := p.Workspaces.DeleteWorkspace(t.Context(), &tenantv1.DeleteWorkspaceRequest{WorkspaceId: workspace, Etag: etag}); err != nil {
		t.Fatal(err)
	}
	return etag
}

// verification begins a registration, and returns the call that completes it.
func (s *stage) verification(t *testing.T, email string) attempt {
	t.Helper()
	began, err := s.Client("").Registration.Register(t.Context(), newRegistration(email))
	if err != nil {
		t.Fatal(err)
	}
	req := &authv1.VerifyRegistrationRequest{RegistrationId: began.Registration.Id, Code: s.code(t, email), RequestId: uuid.NewString()}
	return attempt{call: func(ctx context.Context, c *client.Client) (string, error) {
		res, err := c.Registration.VerifyRegistration(ctx, req)
		return accountIDs(res.GetAccount()), err
	}}
}

// emailChange begins a change of somebody's address, and returns the call that
// completes it.
func (s *stage) emailChange(t *testing.T, to string) attempt {
	t.Helper()
	p := s.person(t)
	res, err := p.Users.RequestEmailChange(t.Context(), &identityv1.RequestEmailChangeRequest{NewEmail: to})
	if err != nil {
		t.Fatal(err)
	}
	req := &identityv1.ConfirmEmailChangeRequest{EmailChangeId: res.EmailChangeId, Code: s.code(t, to)}
	return attempt{token: p.Token, call: func(ctx context.Context, c *client.Client) (string, error) {
		res, err := c.Users.ConfirmEmailChange(ctx, req)
		return res.GetUser().GetEmail(), err
	}}
}

// code returns the code of the newest mail to an address, from the queue.
func (s *stage) code(t *testing.T, email string) string {
	t.Helper()
	code, err := queuedCode(t.Context(), s.Server, email)
	if err != nil {
		t.Fatalf("the code for %s: %v", email, err)
	}
	return code
}

func queuedCode(ctx context.Context, s *testkit.Server, email string) (string, error) {
	rows, err := s.SQL.Query(ctx, "SELECT args FROM river.river_job WHERE kind = 'mail' ORDER BY id DESC LIMIT 100")
	if err != nil {
		return "", err
	}
	jobs, err := pgx.CollectRows(rows, pgx.RowTo[store.MailJob])
	if err != nil {
		return "", err
	}
	for _, job := range jobs {
		m, err := s.Store.Letter(ctx, job)
		if err != nil {
			return "", err
		}
		if m != nil && m.To == email && m.Data["code"] != "" {
			return m.Data["code"], nil
		}
	}
	return "", fmt.Errorf("none in %d mails", len(jobs))
}
