package jobs

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/riverqueue/river"

	"github.com/logicspike/manager/internal/mail"
	"github.com/logicspike/manager/store"
)

// mailWorker sends mails.
type mailWorker struct {
	river.WorkerDefaults[store.MailJob]
	store    *store.Store
	renderer *mail.Renderer
	sender   mail.Sender
}

func (w *mailWorker) Work(ctx context.Context, job *river.Job[store.MailJob]) error {
	message, err := w.store.Letter(ctx, job.Args)
	if err != nil || message == nil {
		return err
	}
	rendered, err := w.renderer.Render(*message)
	if err != nil {
		return err
	}
	err = w.sender.Send(ctx, rendered)
	if errors.Is(err, mail.ErrRejected) {
		return river.JobCancel(err)
	}
	return err
}

// refusalWorker notes refused sign-ins.
type refusalWorker struct {
	river.WorkerDefaults[store.RefusalJob]
	store *store.Store
}

func (w *refusalWorker) Work(ctx context.Context, job *river.Job[store.RefusalJob]) error {
	return w.store.WorkRefusal(ctx, job.Args)
}

// noticeWorker has members told what becomes of their workspaces.
type noticeWorker struct {
	river.WorkerDefaults[store.NoticeJob]
	store *store.Store
}

// Timeout leaves time for large workspaces: the default is a minute.
func (*noticeWorker) Timeout(*river.Job[store.NoticeJob]) time.Duration { return 10 * time.Minute }

func (w *noticeWorker) Work(ctx context.Context, _ *river.Job[store.NoticeJob]) error {
	return w.store.WorkNotices(ctx)
}

// purgeJob purges the workspaces whose time has come.
type purgeJob struct{}

func (purgeJob) Kind() string { return "purge_workspaces" }

type purgeWorker struct {
	river.WorkerDefaults[purgeJob]
	store *store.Store
	log   *slog.Logger
}

// Timeout leaves time for large workspaces: the default is a minute.
func (*purgeWorker) Timeout(*river.Job[purgeJob]) time.Duration { return 10 * time.Minute }

func (w *purgeWorker) Work(ctx context.Context, _ *river.Job[purgeJob]) error {
	count, err := w.store.PurgeDue(ctx)
	if count > 0 {
		w.log.InfoContext(ctx, "purged workspaces", "count", count)
	}
	return err
}

// billJob does with subscriptions what is due.
type billJob struct{}

func (billJob) Kind() string { return "bill" }

type billWorker struct {
	river.WorkerDefaults[billJob]
	store *store.Store
}

// Timeout leaves time for many at once: the default is a minute.
func (*billWorker) Timeout(*river.Job[billJob]) time.Duration { return 10 * time.Minute }

func (w *billWorker) Work(ctx context.Context, _ *river.Job[billJob]) error {
	return w.store.BillDue(ctx)
}

// expireJob removes what can no longer be used.
type expireJob struct{}

func (expireJob) Kind() string { return "delete_expired" }

type expireWorker struct {
	river.WorkerDefaults[expireJob]
	store *store.Store
}

func (w *expireWorker) Work(ctx context.Context, _ *river.Job[expireJob]) error {
	return w.store.DeleteExpired(ctx)
}
