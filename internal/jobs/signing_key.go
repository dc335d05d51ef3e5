package jobs

import (
	"context"

	"github.com/riverqueue/river"

	"github.com/logicspike/manager/store"
)

// signingKeyJob does with the signing keys what is due.
type signingKeyJob struct{}

func (signingKeyJob) Kind() string { return "keep_signing_keys" }

type signingKeyWorker struct {
	river.WorkerDefaults[signingKeyJob]
	store *store.Store
}

func (w *signingKeyWorker) Work(ctx context.Context, _ *river.Job[signingKeyJob]) error {
	return w.store.KeepSigningKeys(ctx)
}
