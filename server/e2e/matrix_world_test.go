package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	billingv1 "github.com/logicspike/manager/gen/go/logicspike/billing/v1"
	teamv1 "github.com/logicspike/manager/gen/go/logicspike/team/v1"
	tenantv1 "github.com/logicspike/manager/gen/go/logicspike/tenant/v1"
	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store/tenant"
)

// world is what one call of the matrix finds.
type world struct {
	t         *testing.T
	srv       *testkit.Server
	workspace string // the one that requests name
	owner     *testkit.Person
	caller    *testkit.Person              // nil for nobody
	key       *authv1.CreateApiKeyResponse // by which the caller calls; nil for their session
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

// What requests need. It is made in the workspace that they name also when that is
// deleted by then.

// undeleted does something while the workspace is not deleted.
func (w *world) undeleted(do func()) {
	w.t.Helper()
	var deleted bool
	w.must(w.srv.SQL.QueryRow(w.t.Context(), "SELECT delete_time IS NOT NULL FROM tenant.workspaces WHERE id = $1", uuidOf(w.t, w.workspace)).Scan(&deleted))
	if !deleted {
		do()
		return
	}
	var deletion, purge time.Time
	var etag string
	w.must(w.srv.SQL.QueryRow(w.t.Context(), "SELECT delete_time, purge_time, delete_etag FROM tenant.workspaces WHERE id = $1", uuidOf(w.t, w.workspace)).
		Scan(&deletion, &purge, &etag))
	set := "UPDATE tenant.workspaces SET delete_time = $2, purge_time = $3, delete_etag = $4 WHERE id = $1"
	w.sql(set, uuidOf(w.t, w.workspace), nil, nil, nil)
	do()
	w.sql(set, uuidOf(w.t, w.workspace), deletion, purge, etag)
}

// previewOfChange is a request to preview a plan that has a price and can be tried.
func (w *world) previewOfChange() *billingv1.PreviewChangeSubscriptionRequest {
	w.t.Helper()
	w.sql(`WITH v AS (
		INSERT INTO billing.plan_versions VALUES ('plus', 1, '{"display_name": "Plus", "trial_days": 14, "prices": [{"currency": "EUR", "interval": "month", "flat": 2000}]}', now())
		ON CONFLICT DO NOTHING RETURNING plan)
		INSERT INTO billing.plans SELECT plan, 1, 1, true, false, now(), now() FROM v`)
	return &billingv1.PreviewChangeSubscriptionRequest{WorkspaceId: w.workspace, Plan: "plus", Currency: "EUR", Interval: billingv1.Interval_INTERVAL_MONTH}
}

// subscribe gives the workspace a plan that has a price.
func (w *world) subscribe() {
	w.t.Helper()
	req := w.previewOfChange()
	subscribe(w.t, w.owner, req.Plan, req.Currency, req.Interval)
}

// member makes a new person a member of the workspace.
func (w *world) member(role authz.Role) (p *testkit.Person, id string) {
	w.t.Helper()
	p = newPerson(w.t, w.srv)
	w.undeleted(func() { id = w.srv.Join(w.t, p, w.workspace, role).String() })
	return p, id
}

// deactivate ends the access of a member of the workspace.
func (w *world) deactivate(membership string) {
	w.t.Helper()
	w.undeleted(func() {
		_, err := w.owner.Memberships.DeactivateMembership(w.t.Context(), &teamv1.DeactivateMembershipRequest{
			WorkspaceId: w.workspace, MembershipId: membership,
		})
		w.must(err)
	})
}

// prove makes somebody's address a proven one.
func (w *world) prove(p *testkit.Person) {
	w.t.Helper()
	w.sql("UPDATE identity.emails SET verified_time = coalesce(verified_time, now()) WHERE user_id = $1", uuidOf(w.t, p.User.Id))
}

// role makes a custom role of somebody's workspace.
func (w *world) role(owner *testkit.Person, permissions ...string) (role authz.Role) {
	w.t.Helper()
	w.undeleted(func() {
		res, err := owner.Roles.CreateRole(w.t.Context(), &teamv1.CreateRoleRequest{
			WorkspaceId: owner.Workspace.Id, Name: "Role " + uuid.NewString(), Permissions: permissions,
		})
		w.must(err)
		role = authz.Role(res.Role.Id)
	})
	return role
}

// invitation invites an address to somebody's workspace.
func (w *world) invitation(owner *testkit.Person, email string) (id string) {
	w.t.Helper()
	w.prove(owner)
	w.undeleted(func() {
		res, err := owner.Invitations.CreateInvitation(w.t.Context(), &teamv1.CreateInvitationRequest{
			WorkspaceId: owner.Workspace.Id, Email: email, Role: "viewer",
		})
		w.must(err)
		id = res.Invitation.Id
	})
	return id
}

// mailedToken invites an address to a workspace of its own, and returns the token
// that is mailed to it.
func (w *world) mailedToken(email string) string {
	w.t.Helper()
	w.invitation(newPerson(w.t, w.srv), email)
	return queued(w.t, w.srv, email).Data["token"]
}

// link makes a link to somebody's workspace.
func (w *world) link(owner *testkit.Person) (id string) {
	w.t.Helper()
	w.prove(owner)
	w.undeleted(func() {
		res, err := owner.Invitations.CreateInvitationLink(w.t.Context(), &teamv1.CreateInvitationLinkRequest{WorkspaceId: owner.Workspace.Id})
		w.must(err)
		id = res.Link.Id
	})
	return id
}

// invoice has the workspace owe something.
func (w *world) invoice() (id string) {
	w.t.Helper()
	id, _ = w.srv.Invoice(w.t, w.workspace)
	return id
}

// domain gives somebody's workspace a verified domain. What DNS says is not asked.
func (w *world) domain(owner *testkit.Person, name string) (id string) {
	w.t.Helper()
	w.undeleted(func() {
		d, err := w.tryDomain(owner, name)
		w.must(err)
		id = d.ID.String()
	})
	return id
}

func (w *world) tryDomain(owner *testkit.Person, name string) (*tenant.Domain, error) {
	w.t.Helper()
	w.prove(owner)
	workspace, err := ids.Parse[ids.Workspace](owner.Workspace.Id)
	w.must(err)
	user, err := ids.Parse[ids.User](owner.User.Id)
	w.must(err)
	ctx := authz.WithSession(w.t.Context(), &authz.Session{User: user, EmailVerified: true})
	d, err := w.srv.Store.CreateDomain(ctx, workspace, name, "record")
	if err != nil {
		return nil, err
	}
	if d, err = w.srv.Store.VerifyDomain(ctx, workspace, d.ID, "record"); err != nil {
		return nil, err
	}
	return w.srv.Store.SetDomainEnrollment(ctx, workspace, d.ID, tenant.Request, "")
}

// joinable returns a workspace that the caller may ask to join.
func (w *world) joinable() string {
	w.t.Helper()
	w.prove(w.self())
	_, name, _ := strings.Cut(w.self().Email, "@")
	d, err := w.tryDomain(newPerson(w.t, w.srv), name)
	if fault.Has(err, fault.DomainTaken) { // by an earlier request in the same world
		d, err = w.srv.Store.Tenant.VerifiedDomain(w.t.Context(), name)
	}
	w.must(err)
	return d.WorkspaceID.String()
}

// joinRequest has somebody new ask to join a workspace.
func (w *world) joinRequest(owner *testkit.Person) (id string) {
	w.t.Helper()
	p := newPerson(w.t, w.srv)
	w.prove(p)
	_, name, _ := strings.Cut(p.Email, "@")
	w.domain(owner, name)
	w.undeleted(func() {
		res, err := p.JoinRequests.CreateJoinRequest(w.t.Context(), &teamv1.CreateJoinRequestRequest{WorkspaceId: owner.Workspace.Id})
		w.must(err)
		id = res.JoinRequest.Id
	})
	return id
}
