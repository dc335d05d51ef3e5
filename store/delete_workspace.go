package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/logicspike/manager/internal/authz"
	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/store/audit"
	"github.com/logicspike/manager/store/auth"
	"github.com/logicspike/manager/store/billing"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// previewSize is how many of each kind a preview names.
const previewSize = 100

// DeletionPreview is what the purge of a workspace would remove.
type DeletionPreview struct {
	team.Deletion
	FirstDeleted     []team.Membership // of the users who are deleted
	FirstRemaining   []team.Membership // of the users who stay
	FirstMemberships []team.Membership
	Sessions         int // of the users who are deleted
	FirstSessions    []auth.Session
	Ends             team.Ends
	Domains          int
	APIKeys          int // that work
	ServiceAccounts  int
	PurgeTime        time.Time // when it will be purged, or would be
	// SubscriptionEnd is until when the workspace is paid for, or tried; zero when it costs
	// nothing.
	SubscriptionEnd time.Time
	OpenInvoices    int
}

// PreviewDeleteWorkspace tells what the purge of a workspace would remove. All of
// it is as at one moment.
//
// Errors: fault NOT_FOUND.
func (s *Store) PreviewDeleteWorkspace(ctx context.Context, id ids.Workspace) (p *DeletionPreview, err error) {
	err = s.read(ctx, func(ctx context.Context, t *tx) error {
		w, err := t.tenant.Workspace(ctx, id)
		if err != nil {
			return err
		}
		p = &DeletionPreview{PurgeTime: w.PurgeTime}
		if !w.Deleted() {
			p.PurgeTime = t.now.Add(s.options.DeletionGrace)
		}
		if p.Deletion, err = t.team.Deletion(ctx, id); err != nil {
			return err
		}
		if p.FirstDeleted, err = t.team.FirstMembers(ctx, id, true, previewSize); err != nil {
			return err
		}
		if p.FirstRemaining, err = t.team.FirstMembers(ctx, id, false, previewSize); err != nil {
			return err
		}
		if p.FirstMemberships, err = t.team.First(ctx, id, previewSize); err != nil {
			return err
		}
		if p.FirstSessions, p.Sessions, err = t.auth.SoleSessions(ctx, id, t.now, previewSize); err != nil {
			return err
		}
		if p.Ends, err = t.team.Ends(ctx, id, t.now); err != nil {
			return err
		}
		if p.Domains, err = t.tenant.CountDomains(ctx, id); err != nil {
			return err
		}
		if p.APIKeys, p.ServiceAccounts, err = t.auth.CountPrograms(ctx, id, t.now); err != nil {
			return err
		}
		b, err := t.billing.Subscription(ctx, id)
		if err != nil {
			return err
		}
		if b.Charged() || b.State == billing.Trialing {
			p.SubscriptionEnd = b.PeriodEndTime
		}
		p.OpenInvoices, err = t.billing.CountOpenInvoices(ctx, id)
		return err
	})
	return p, err
}

// DeleteWorkspace ends everybody's access to a workspace, and the sessions of the
// users who belong to nothing else but for the caller's own, and sets the time of
// the purge, which the members are told; without a grace period it purges at once and returns nil. Repeated
// with the etag of the deletion it changes nothing.
//
// Errors: fault NOT_FOUND; WORKSPACE_DELETED; ETAG_MISMATCH when the etag is not
// that of the present members.
func (s *Store) DeleteWorkspace(ctx context.Context, id ids.Workspace, etag string) (w *tenant.Workspace, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if s.options.DeletionGrace == 0 {
			w = nil
			if _, err := t.lockActing(ctx, id, t.tenant.LockWorkspaceToPurge); err != nil {
				return err
			}
			_, err := t.purge(ctx, id, etag)
			return err
		}
		if w, err = t.lockActing(ctx, id, t.tenant.LockWorkspace); err != nil {
			return err
		}
		if w.Deleted() {
			if w.DeleteETag == etag {
				return nil
			}
			return fault.New(fault.FailedPrecondition, fault.WorkspaceDeleted, "the workspace is deleted already")
		}
		deletion, err := t.team.Deletion(ctx, id)
		if err != nil {
			return err
		}
		if deletion.ETag != etag {
			return errPreview()
		}
		if err := t.markDeleted(ctx, w, etag); err != nil {
			return err
		}
		var present ids.Session
		if caller := authz.SessionFrom(ctx); caller != nil {
			present = caller.ID
		}
		if err := t.auth.DeleteSoleSessions(ctx, id, present); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{
			WorkspaceID: id, Action: "workspace.deleted", TargetID: id.String(),
			Details: map[string]any{"purge_time": w.PurgeTime.Format(time.RFC3339)},
		})
	})
	return w, err
}

// markDeleted sets the time of a locked workspace's purge, ends its subscription, and has
// its members told.
func (t *tx) markDeleted(ctx context.Context, w *tenant.Workspace, etag string) error {
	if err := t.tenant.MarkDeleted(ctx, w, etag, t.now, t.now.Add(t.store.options.DeletionGrace)); err != nil {
		return err
	}
	if err := t.endSubscription(ctx, w.ID); err != nil {
		return err
	}
	if err := t.tenant.BeginDeletionNotice(ctx, w.ID); err != nil {
		return err
	}
	return t.queueNotices(ctx)
}

// UndeleteWorkspace brings a deleted workspace back. Who was told that it was deleted is
// told.
//
// Errors: fault WORKSPACE_NOT_DELETED; NOT_FOUND once it is due to be purged.
func (s *Store) UndeleteWorkspace(ctx context.Context, id ids.Workspace) (w *tenant.Workspace, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		if w, err = t.lockActing(ctx, id, t.tenant.LockWorkspace); err != nil {
			return err
		}
		if !w.Deleted() {
			return errNotDeleted()
		}
		if !t.now.Before(w.PurgeTime) {
			return fault.NotFoundFault()
		}
		if err := t.tenant.MarkUndeleted(ctx, w, t.now); err != nil {
			return err
		}
		if err := t.resumeSubscription(ctx, id); err != nil {
			return err
		}
		if err := t.tenant.RevertDeletionNotice(ctx, id); err != nil {
			return err
		}
		if err := t.queueNotices(ctx); err != nil {
			return err
		}
		return t.record(ctx, audit.Event{WorkspaceID: id, Action: "workspace.undeleted", TargetID: id.String()})
	})
	return w, err
}

func errNotDeleted() error {
	return fault.New(fault.FailedPrecondition, fault.WorkspaceNotDeleted, "the workspace is not deleted; delete it first")
}

// Purged is what a purge removed.
type Purged struct {
	Memberships  int
	DeletedUsers int
}

// PurgeWorkspace removes a deleted workspace for good, with the users who belong
// to no other one.
//
// Errors: fault NOT_FOUND; WORKSPACE_NOT_DELETED; ETAG_MISMATCH when the etag is
// not that of the present members.
func (s *Store) PurgeWorkspace(ctx context.Context, id ids.Workspace, etag string) (p Purged, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		w, err := t.lockActing(ctx, id, t.tenant.LockWorkspaceToPurge)
		if err != nil {
			return err
		}
		if !w.Deleted() {
			return errNotDeleted()
		}
		p, err = t.purge(ctx, id, etag)
		return err
	})
	return p, err
}

// PurgeDue purges the workspaces whose time has come, each in a transaction of
// its own, and returns how many. One that fails does not keep the others.
func (s *Store) PurgeDue(ctx context.Context) (int, error) {
	var count int
	var failures []error
	for {
		// Those that failed are due still, and were the first.
		due, err := s.Tenant.Due(ctx, s.options.Clock.Now(), len(failures))
		if err != nil {
			return count, errors.Join(append(failures, s.constraints.Fault(err))...)
		}
		for _, id := range due {
			var purged bool
			err := contained(func() (err error) {
				purged, err = s.purgeIfDue(ctx, id)
				return err
			})
			switch {
			case err != nil:
				failures = append(failures, fmt.Errorf("purge %s: %w", id, err))
			case purged:
				count++
			}
		}
		if len(due) == 0 || ctx.Err() != nil {
			return count, errors.Join(failures...)
		}
	}
}

// purgeIfDue purges a workspace unless somebody has undeleted or purged it meanwhile, and
// reports whether it did.
func (s *Store) purgeIfDue(ctx context.Context, id ids.Workspace) (purged bool, err error) {
	err = s.write(ctx, func(ctx context.Context, t *tx) error {
		purged = false
		w, err := t.tenant.LockWorkspaceToPurge(ctx, id)
		if fault.Has(err, fault.Missing) {
			return nil
		}
		if err != nil || !w.Deleted() || t.now.Before(w.PurgeTime) {
			return err
		}
		purged = true
		_, err = t.purge(ctx, id, "")
		return err
	})
	return purged, err
}

// purge removes every row of a workspace in every module, and the users who
// belong to no other one, set by set. What is left is an event that names nobody.
// An etag other than "" must be that of the members.
func (t *tx) purge(ctx context.Context, id ids.Workspace, etag string) (Purged, error) {
	w, err := t.tenant.LockWorkspaceToPurge(ctx, id)
	if err != nil {
		return Purged{}, err
	}
	users, err := t.lockSoleMembers(ctx, id)
	if err != nil {
		return Purged{}, err
	}
	if etag != "" {
		deletion, err := t.team.Deletion(ctx, id)
		if err != nil {
			return Purged{}, err
		}
		if deletion.ETag != etag {
			return Purged{}, errPreview()
		}
	}
	if err := t.mailPurged(ctx, w); err != nil {
		return Purged{}, err
	}
	if err := t.audit.DeleteOfWorkspace(ctx, id); err != nil {
		return Purged{}, err
	}
	if err := t.auth.ForgetWorkspace(ctx, id); err != nil {
		return Purged{}, err
	}
	if err := t.auth.DeleteProgramsOf(ctx, id); err != nil {
		return Purged{}, err
	}
	if err := t.auth.DeleteRefreshTokensOfWorkspace(ctx, id); err != nil {
		return Purged{}, err
	}
	memberships, err := t.team.DeleteOfWorkspace(ctx, id)
	if err != nil {
		return Purged{}, err
	}
	if err := t.providerWorkspacePurged(ctx, id); err != nil {
		return Purged{}, err
	}
	if err := t.billing.DeleteOfWorkspace(ctx, id); err != nil {
		return Purged{}, err
	}
	if err := t.tenant.DeleteDomains(ctx, id); err != nil {
		return Purged{}, err
	}
	if err := t.tenant.DeleteDeletionNotice(ctx, id); err != nil {
		return Purged{}, err
	}
	if err := t.tenant.DeletePolicyNotice(ctx, id); err != nil {
		return Purged{}, err
	}
	if err := t.tenant.Delete(ctx, id); err != nil {
		return Purged{}, err
	}
	if err := t.deleteUsers(ctx, users); err != nil {
		return Purged{}, err
	}
	p := Purged{Memberships: memberships, DeletedUsers: len(users)}
	return p, t.record(ctx, audit.Event{
		ActorKind: audit.System, Action: "workspace.purged", TargetID: id.String(),
		Details: map[string]any{"memberships": p.Memberships, "deleted_users": p.DeletedUsers},
	})
}

// lockSoleMembers returns the users who belong to this workspace and to no
// other, locked: none of them can join one until the transaction ends.
//
// First all members are locked against other purges: of two that both have a
// user as member, the second one sees what the first one left. Locking those who
// belong to nothing else waits for those who are just joining something, so it is
// looked again until nobody new is found.
func (t *tx) lockSoleMembers(ctx context.Context, workspace ids.Workspace) ([]ids.User, error) {
	members, err := t.team.Members(ctx, workspace)
	if err != nil {
		return nil, err
	}
	if err := t.identity.LockMembers(ctx, members); err != nil {
		return nil, err
	}
	locked := map[ids.User]bool{}
	for {
		sole, err := t.team.SoleMembers(ctx, workspace)
		if err != nil {
			return nil, err
		}
		var fresh []ids.User
		for _, user := range sole {
			if !locked[user] {
				locked[user] = true
				fresh = append(fresh, user)
			}
		}
		if len(fresh) == 0 {
			return sole, nil
		}
		if err := t.identity.LockUsers(ctx, fresh); err != nil {
			return nil, err
		}
	}
}

// deleteUsers removes locked users, whose memberships have ended, from every
// module.
func (t *tx) deleteUsers(ctx context.Context, users []ids.User) error {
	if len(users) == 0 {
		return nil
	}
	for _, remove := range []func(context.Context, []ids.User) error{
		t.auth.DeleteUsers, t.audit.DeleteOfUsers, t.team.DeleteOfUsers, t.tenant.ForgetUsers, t.identity.DeleteUsers,
	} {
		if err := remove(ctx, users); err != nil {
			return err
		}
	}
	return nil
}

// errPreview is the fault of an etag that is not that of the present preview.
func errPreview() error {
	return fault.New(fault.Aborted, fault.ETagMismatch,
		"etag: is not that of a present preview; look at the preview again").WithField("etag")
}
