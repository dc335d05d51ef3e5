package store

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/team"
)

// UserDeletion is what the deletion of a user would remove.
type UserDeletion struct {
	Memberships []team.Membership // in the order of the workspaces' ids
	Sessions    int
	APIKeys     int              // their own that work, in all workspaces
	SoleOwned   []team.SoleOwned // live workspaces of which they are the only owner
	ETag        string           // names the user, the memberships and the sole-owned workspaces
}

// PreviewDeleteUser tells what the deletion of a user would remove.
func (s *Store) PreviewDeleteUser(ctx context.Context, user ids.User) (d *UserDeletion, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		d, err = t.userDeletion(ctx, user)
		return err
	})
	return d, err
}

func (t *tx) userDeletion(ctx context.Context, user ids.User) (*UserDeletion, error) {
	var d UserDeletion
	var err error
	if d.Memberships, err = t.team.OfUser(ctx, user); err != nil {
		return nil, err
	}
	if d.SoleOwned, err = t.team.SoleOwnedBy(ctx, user); err != nil {
		return nil, err
	}
	if d.Sessions, err = t.auth.CountSessions(ctx, user, t.now); err != nil {
		return nil, err
	}
	if d.APIKeys, err = t.auth.CountAPIKeysOf(ctx, user, t.now); err != nil {
		return nil, err
	}
	h := sha256.New()
	fmt.Fprintln(h, user)
	for _, m := range d.Memberships {
		fmt.Fprintln(h, m.ID, m.Role)
	}
	for _, w := range d.SoleOwned {
		fmt.Fprintln(h, w.WorkspaceID, w.OtherMembers, w.DeletedUsers)
	}
	d.ETag = hex.EncodeToString(h.Sum(nil))
	return &d, nil
}

// Resolution is what becomes of a workspace whose only owner is deleted: it is
// transferred to a member, or purged.
type Resolution struct {
	Workspace  ids.Workspace
	TransferTo ids.Membership // zero purges the workspace
}

// DeleteUser removes a user from every module, with their memberships, and
// resolves the workspaces of which they are the only owner.
//
// Errors: fault ETAG_MISMATCH when the etag is not that of the present preview;
// OWNER_REQUIRED when a workspace has no resolution; FIELD_INVALID when a
// resolution is for another workspace or names a membership that is not another
// one of it; SECOND_FACTOR_REQUIRED_BY_WORKSPACE when a workspace with a resolution is
// closed to the caller's session.
func (s *Store) DeleteUser(ctx context.Context, user ids.User, etag string, resolutions []Resolution) error {
	return s.write(ctx, func(ctx context.Context, t *tx) error {
		// Workspaces first, then users: the order in which everything locks.
		before, err := t.team.OfUser(ctx, user)
		if err != nil {
			return err
		}
		for _, m := range before {
			if _, err := t.tenant.LockWorkspace(ctx, m.WorkspaceID); err != nil && !fault.Has(err, fault.Missing) {
				return err
			}
		}
		if err := t.identity.LockUsers(ctx, []ids.User{user}); err != nil {
			return err
		}
		u, err := t.identity.User(ctx, user)
		if fault.Has(err, fault.Missing) {
			return errGone()
		}
		if err != nil {
			return err
		}
		deletion, err := t.userDeletion(ctx, user)
		if err != nil {
			return err
		}
		if deletion.ETag != etag {
			return errPreview()
		}
		if err := t.resolve(ctx, user, deletion, resolutions); err != nil {
			return err
		}
		if err := t.leaveAll(ctx, user); err != nil {
			return err
		}
		if err := t.deleteUsers(ctx, []ids.User{user}); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{ActorKind: audit.System, Action: "user.deleted", TargetID: user.String()}); err != nil {
			return err
		}
		if u.Email == nil {
			return nil
		}
		return t.mail(ctx, letter{Message: mail.Message{
			Template: mail.AccountDeleted, To: u.Email.Address, Data: map[string]string{"name": u.DisplayName},
		}})
	})
}

// resolve transfers or purges the workspaces whose only owner is deleted.
func (t *tx) resolve(ctx context.Context, user ids.User, d *UserDeletion, resolutions []Resolution) error {
	open := map[ids.Workspace]bool{}
	for _, w := range d.SoleOwned {
		open[w.WorkspaceID] = true
	}
	for i, r := range resolutions {
		if !open[r.Workspace] {
			return fault.Invalid(fmt.Sprintf("resolutions[%d].workspace_id", i), "is not a workspace of which you are the only owner, or was named twice")
		}
		delete(open, r.Workspace)
	}
	for id := range open {
		return fault.New(fault.FailedPrecondition, fault.OwnerRequired, "a workspace of which you are the only owner has no resolution").
			WithField("resolutions").WithMetadata("workspace_id", id.String())
	}
	// What becomes of a workspace is decided by who may enter it.
	caller := authz.SessionFrom(ctx)
	for _, r := range resolutions {
		w, err := t.tenant.Workspace(ctx, r.Workspace)
		if err != nil {
			return err
		}
		if w.SecondFactorRequired && (caller == nil || !caller.SecondFactorProven) {
			return fault.SecondFactorMissing()
		}
	}
	// Transfers first: to whom a workspace was transferred belongs to something.
	for i, r := range resolutions {
		if r.TransferTo.IsZero() {
			continue
		}
		m, err := t.team.Membership(ctx, r.Workspace, r.TransferTo)
		if fault.Has(err, fault.Missing) || err == nil && (m.UserID == user || !m.Active()) {
			return fault.Invalid(fmt.Sprintf("resolutions[%d].transfer_to_membership_id", i), "is not another active member of the workspace")
		}
		if err != nil {
			return err
		}
		from := m.Role
		if err := t.team.SetRole(ctx, m, authz.Owner, t.now); err != nil {
			return err
		}
		if err := t.record(ctx, audit.Event{
			WorkspaceID: r.Workspace, Action: "membership.role_changed", TargetID: m.ID.String(),
			Details: map[string]any{"role": map[string]any{"before": from, "after": authz.Owner}},
		}); err != nil {
			return err
		}
	}
	for _, r := range resolutions {
		if r.TransferTo.IsZero() {
			if _, err := t.purge(ctx, r.Workspace, ""); err != nil {
				return err
			}
		}
	}
	return nil
}

// leaveAll ends a user's memberships.
func (t *tx) leaveAll(ctx context.Context, user ids.User) error {
	left, err := t.team.OfUser(ctx, user)
	if err != nil {
		return err
	}
	for i := range left {
		if err := t.leave(ctx, &left[i], !left[i].Active()); err != nil {
			return err
		}
	}
	return nil
}
