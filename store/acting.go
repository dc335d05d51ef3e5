package store

import (
	"context"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// acting is the caller in a workspace whose team is locked: what they hold cannot
// change until the transaction ends.
type acting struct {
	workspace *tenant.Workspace
	member    *team.Membership     // nil for a service account
	account   *auth.ServiceAccount // nil for a user
	// role and custom are what the caller may do: the member's role, with the
	// permissions that it has if it is a custom one, or what the API key holds by
	// which they call.
	role   authz.Role
	custom []string
}

// user returns the user who acts, zero for a service account.
func (a *acting) user() ids.User {
	if a.member == nil {
		return ids.User{}
	}
	return a.member.UserID
}

// program returns the service account that acts, zero for a user.
func (a *acting) program() ids.ServiceAccount {
	if a.account == nil {
		return ids.ServiceAccount{}
	}
	return a.account.ID
}

// name is what others know who acts by.
func (a *acting) name() string {
	if a.member == nil {
		return a.account.DisplayName
	}
	return a.member.DisplayName
}

// is reports whether who acts is a member, by an API key or not.
func (a *acting) is(m *team.Membership) bool { return a.member != nil && a.member.ID == m.ID }

// holds reports whether who acts holds a permission.
func (a *acting) holds(p authz.Permission) bool { return p.HeldBy(a.role, a.custom) }

// lockTeam locks a live workspace against other changes of its team, and returns
// the caller as its member. What the rule of the call asked for is asked for again: the
// role may have been changed since, or the workspace closed to who has proven no second
// factor.
//
// Errors: fault NOT_FOUND when the workspace is deleted, or the caller is not an
// active member; PERMISSION_MISSING; SECOND_FACTOR_REQUIRED_BY_WORKSPACE.
func (t *tx) lockTeam(ctx context.Context, id ids.Workspace) (*acting, error) {
	w, err := t.lockLive(ctx, id)
	if err != nil {
		return nil, err
	}
	return t.act(ctx, w)
}

// act returns the caller in a locked workspace, which may be deleted.
//
// Errors: as lockTeam; fault SESSION_REQUIRED when the API key that calls has ended.
func (t *tx) act(ctx context.Context, w *tenant.Workspace) (*acting, error) {
	a, err := t.actor(ctx, w)
	if err != nil {
		return nil, err
	}
	checked, ok := authz.MembershipFrom(ctx)
	if !ok {
		return a, nil
	}
	if w.SecondFactorRequired {
		if err := t.mayEnter(ctx, a); err != nil {
			return nil, err
		}
	}
	if !a.holds(checked.Permission) {
		return nil, fault.New(fault.PermissionDenied, fault.PermissionMissing, "your role in the workspace lacks the permission "+checked.Permission.Name).
			WithMetadata("permission", checked.Permission.Name)
	}
	return a, nil
}

// mayEnter reports whether a workspace that requires a second factor is open to who acts:
// by a session that has proven one, by an API key whose user has one, or as a program.
//
// Errors: fault SECOND_FACTOR_REQUIRED_BY_WORKSPACE.
func (t *tx) mayEnter(ctx context.Context, a *acting) error {
	if a.member == nil {
		return nil
	}
	if caller := authz.SessionFrom(ctx); caller != nil {
		if !caller.SecondFactorProven {
			return fault.SecondFactorMissing()
		}
		return nil
	}
	factors, err := t.auth.SecondFactors(ctx, a.user())
	if err == nil && !factors.Required() {
		err = fault.SecondFactorMissing()
	}
	return err
}

func (t *tx) actor(ctx context.Context, w *tenant.Workspace) (*acting, error) {
	if key := authz.KeyFrom(ctx); key != nil {
		return t.actByKey(ctx, w, key)
	}
	caller := authz.SessionFrom(ctx)
	if caller == nil {
		return nil, errNoSession()
	}
	a := &acting{workspace: w}
	if err := t.actAs(ctx, a, caller.User); err != nil {
		return nil, err
	}
	return a, nil
}

// actAs makes who acts a user.
//
// Errors: fault NOT_FOUND when they are not an active member.
func (t *tx) actAs(ctx context.Context, a *acting, user ids.User) (err error) {
	if a.member, err = t.team.MembershipOf(ctx, a.workspace.ID, user); err != nil {
		return err
	}
	if !a.member.Active() {
		return fault.NotFoundFault()
	}
	a.role = a.member.Role
	a.custom, err = t.team.Permissions(ctx, a.workspace.ID, a.role)
	return err
}

// lockActing locks a workspace, live or deleted, for a change by the caller of whom
// the rule of the call is asked for again.
//
// Errors: as lockTeam.
func (t *tx) lockActing(ctx context.Context, id ids.Workspace, lock func(context.Context, ids.Workspace) (*tenant.Workspace, error)) (*tenant.Workspace, error) {
	w, err := lock(ctx, id)
	if err == nil {
		_, err = t.act(ctx, w)
	}
	return w, err
}

// lockLive locks a workspace that is not deleted against changes of it and of its
// team.
//
// Errors: fault NOT_FOUND.
func (t *tx) lockLive(ctx context.Context, id ids.Workspace) (*tenant.Workspace, error) {
	w, err := t.tenant.LockWorkspace(ctx, id)
	if err == nil && w.Deleted() {
		err = fault.NotFoundFault()
	}
	return w, err
}

// mayInvite reports whether who acts may bring others into the workspace. Who has not
// proven their address may not: if it is somebody else's, the workspace will be theirs,
// and nobody else is to be in it.
//
// Errors: fault EMAIL_UNVERIFIED.
func mayInvite(ctx context.Context) error {
	if !authz.EmailVerified(ctx) {
		return errUnverified()
	}
	return nil
}

// mayGrant reports whether who acts may give somebody a role: an owner any, others
// one that holds nothing that they don't hold. The field is the request's that
// names the role.
//
// Whoever makes an owner must have signed in recently, as for what owners alone do.
//
// Errors: fault ROLE_NOT_GRANTABLE, REAUTHENTICATION_REQUIRED; FIELD_INVALID for a
// role that the workspace does not have.
func (t *tx) mayGrant(ctx context.Context, a *acting, field string, role authz.Role) error {
	custom, err := t.team.Permissions(ctx, a.workspace.ID, role)
	if fault.Has(err, fault.Missing) {
		return fault.Invalid(field, "is not a role of the workspace")
	}
	if err != nil {
		return err
	}
	if err := t.covers(a, role, custom); err != nil {
		return err
	}
	if s := authz.SessionFrom(ctx); role == authz.Owner && (s == nil || !s.Recent) {
		return fault.New(fault.FailedPrecondition, fault.ReauthenticationRequired, "sign in again or call Reauthenticate, then repeat the call")
	}
	return nil
}

// mayChange reports whether who acts may change or remove a member: an owner any,
// others one who holds nothing that they don't hold.
//
// Errors: fault ROLE_NOT_GRANTABLE.
func (t *tx) mayChange(ctx context.Context, a *acting, m *team.Membership) error {
	custom, err := t.team.Permissions(ctx, a.workspace.ID, m.Role)
	if err != nil {
		return err
	}
	return t.covers(a, m.Role, custom)
}

// covers reports whether who acts holds all that a role holds.
func (t *tx) covers(a *acting, role authz.Role, custom []string) error {
	if a.role == authz.Owner {
		return nil
	}
	refused := fault.New(fault.PermissionDenied, fault.RoleNotGrantable, "the role "+string(role)+" holds more than yours")
	if role == authz.Owner {
		return refused
	}
	for _, p := range t.store.options.Permissions.HeldBy(role, custom) {
		if !a.holds(p) {
			return refused.WithMetadata("permission", p.Name)
		}
	}
	return nil
}
