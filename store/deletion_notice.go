package store

import (
	"bytes"
	"context"
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
// tenant.deletion_notices and a job: see notices.go.
//
// What a purge removes is told in its own transaction, since nobody is left to tell
// afterwards.

// purgePage is how many mails a purge puts into the queue at once.
const purgePage = 1000

// tellDeletionPage has the next members of a workspace told, and reports whether there may be more.
// What they are told is what is so now: whoever deletes, undeletes or purges it waits for
// the page, and the next one is about what they made of it.
func (t *tx) tellDeletionPage(ctx context.Context, id ids.Workspace) (more bool, err error) {
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
