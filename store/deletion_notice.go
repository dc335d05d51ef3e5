package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/logicspike/manager/internal/fault"
	"github.com/logicspike/manager/internal/ids"
	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store/team"
	"github.com/logicspike/manager/store/tenant"
)

// Who belongs to a workspace is told when it is deleted: those who belong to nothing else,
// and lose their account with the purge, until when they can keep it, and how. They are
// when it is undeleted, too. That is a mail for each member, so it is not the work of the
// transaction that deletes: this writes down that they are to be told, as the row of
// tenant.deletion_notices and a job, which then does it page by page. A page is one
// transaction, that puts mails into the queue and notes how far it has come: so it can end
// anywhere and be done again, and each member is told once.
//
// What a purge removes is told in its own transaction, since nobody is left to tell
// afterwards.

const (
	// noticePage is how many members one transaction has told.
	noticePage = 500
	// purgePage is how many mails a purge puts into the queue at once.
	purgePage = 1000
)

// DeletionNoticeJob has those told of the deletion of their workspaces, or that these were
// undeleted, who are to be. It says nothing, since of a purged workspace nothing may be left.
type DeletionNoticeJob struct{}

// Kind names the job in the queue.
func (DeletionNoticeJob) Kind() string { return "deletion_notices" }

// queueDeletionNotices has it done once the transaction commits.
func (t *tx) queueDeletionNotices(ctx context.Context) error {
	if _, err := t.store.jobs.InsertTx(ctx, t.sql.Tx, DeletionNoticeJob{}, nil); err != nil {
		return fmt.Errorf("queue what members are told: %w", err)
	}
	return nil
}

// WorkDeletionNotices puts the mails into the queue by which members are told of deletions
// and restorations. It may be run again, and several times at once.
func (s *Store) WorkDeletionNotices(ctx context.Context) error {
	return s.workNotices(ctx, s.Tenant.PendingDeletionNotices, (*tx).tellPage)
}

// workNotices has the members told of each workspace that is pending, page by page, each in
// a transaction of its own. A workspace that fails does not keep the others.
func (s *Store) workNotices(ctx context.Context, pending func(context.Context, ids.Workspace) ([]ids.Workspace, error),
	tellPage func(*tx, context.Context, ids.Workspace) (more bool, err error),
) error {
	var failures []error
	for after := (ids.Workspace{}); ; {
		list, err := pending(ctx, after)
		if err != nil {
			return errors.Join(append(failures, s.constraints.Fault(err))...)
		}
		for _, id := range list {
			after = id
			for more := true; more; {
				if err := contained(func() error {
					return s.write(ctx, func(ctx context.Context, t *tx) (err error) {
						more, err = tellPage(t, ctx, id)
						return err
					})
				}); err != nil {
					failures = append(failures, err) // without the id, which the queue would keep
					more = false
				}
			}
		}
		if len(list) == 0 || ctx.Err() != nil {
			return errors.Join(failures...)
		}
	}
}

// tellPage has the next members of a workspace told, and reports whether there may be more.
// What they are told is what is so now: whoever deletes, undeletes or purges it waits for
// the page, and the next one is about what they made of it.
func (t *tx) tellPage(ctx context.Context, id ids.Workspace) (more bool, err error) {
	w, err := t.tenant.LockWorkspace(ctx, id)
	if fault.Has(err, fault.Missing) {
		return false, nil // purged
	}
	if err != nil {
		return false, err
	}
	n, err := t.tenant.DeletionNotice(ctx, id)
	if err != nil || n == nil || !n.Pending {
		return false, err
	}
	var until ids.Membership
	if n.Undeleted {
		until = n.Until
	}
	members, err := t.team.Recipients(ctx, id, n.Last, until, noticePage)
	if err != nil {
		return false, err
	}
	if err := t.mail(ctx, lettersTo(w, members)...); err != nil {
		return false, err
	}
	if len(members) > 0 {
		n.Last = members[len(members)-1].MembershipID
	}
	n.Pending = len(members) == noticePage
	if n.Undeleted && !n.Pending {
		return false, t.tenant.DeleteDeletionNotice(ctx, id)
	}
	return n.Pending, t.tenant.UpdateDeletionNotice(ctx, n)
}

// mailPurged tells those who lose their account with a locked workspace, which is about to
// be purged, and all its members who were not told of its deletion before.
func (t *tx) mailPurged(ctx context.Context, w *tenant.Workspace) error {
	n, err := t.tenant.DeletionNotice(ctx, w.ID)
	if err != nil {
		return err
	}
	knows := func(m team.Recipient) bool {
		if !w.Deleted() || n == nil {
			return false
		}
		last, id := n.Last.UUID(), m.MembershipID.UUID()
		return !n.Pending || bytes.Compare(id[:], last[:]) <= 0
	}
	gone := *w
	gone.DeleteTime, gone.PurgeTime = t.now, time.Time{}
	for after := (ids.Membership{}); ; {
		members, err := t.team.Recipients(ctx, w.ID, after, ids.Membership{}, purgePage)
		if err != nil || len(members) == 0 {
			return err
		}
		after = members[len(members)-1].MembershipID
		told := members[:0]
		for _, m := range members {
			if m.Sole || !knows(m) {
				told = append(told, m)
			}
		}
		if err := t.mail(ctx, lettersTo(&gone, told)...); err != nil {
			return err
		}
	}
}

// lettersTo are what members are told of a workspace: that it was deleted and will be
// purged, is purged if it has no time for that, or was undeleted.
func lettersTo(w *tenant.Workspace, members []team.Recipient) []letter {
	letters := make([]letter, len(members))
	for i, m := range members {
		data := map[string]string{"workspace": w.Name}
		template := mail.WorkspaceUndeleted
		if w.Deleted() {
			template, data["purge_time"] = mail.WorkspaceDeleted, ""
			if !w.PurgeTime.IsZero() {
				data["purge_time"] = w.PurgeTime.Format(time.RFC3339)
			}
			if m.Sole {
				template = mail.AccountEnding
			}
		}
		letters[i] = letter{Message: mail.Message{Template: template, To: m.Address, Data: data}, bulk: true}
	}
	return letters
}
