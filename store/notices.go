package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/logicspike/manager/internal/ids"
)

// Members are mailed of what becomes of their workspace: its deletion and restoration
// (deletion_notice.go), and that it requires a second factor (security_policy.go). That is
// not the work of the transaction that makes it so, which writes down that they are to be
// told, and a job; this then does it page by page. A page is one transaction, that puts
// mails into the queue and notes how far it has come: so it can end anywhere and be done
// again, and each member is told once.

// noticePage is how many members one transaction has told.
const noticePage = 500

// NoticeJob has the members of all workspaces told who are to be. It names none, since of a
// purged workspace nothing may be left.
type NoticeJob struct{}

// Kind names the job in the queue.
func (NoticeJob) Kind() string { return "notices" }

// queueNotices has it done once the transaction commits.
func (t *tx) queueNotices(ctx context.Context) error {
	if _, err := t.store.jobs.InsertTx(ctx, t.sql.Tx, NoticeJob{}, nil); err != nil {
		return fmt.Errorf("queue what members are told: %w", err)
	}
	return nil
}

// WorkNotices puts the mails into the queue by which members are told. It may be run again,
// and several times at once.
func (s *Store) WorkNotices(ctx context.Context) error {
	return errors.Join(
		s.workNotices(ctx, s.Tenant.PendingDeletionNotices, (*tx).tellDeletionPage),
		s.workNotices(ctx, s.Tenant.PolicyNotices, (*tx).tellPolicyPage))
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
