package e2e

import (
	"os"
	"strings"
	"testing"
	"time"

	authv1 "github.com/logicspike/manager/gen/go/logicspike/auth/v1"
	"github.com/logicspike/manager/internal/testkit"
)

// TestTheQueuePurgesWhatIsDue has nobody call the purge: a server that works the
// queue finds what came due while none did.
func TestTheQueuePurgesWhatIsDue(t *testing.T) {
	t.Parallel()
	before := testkit.New(t, testkit.Options{})
	owner := before.Register(t)
	if err := remove(t, owner, owner.Workspace.Id, preview(t, owner, owner.Workspace.Id).Etag); err != nil {
		t.Fatal(err)
	}
	before.Stop()
	before.Clock.Advance(14 * 24 * time.Hour)
	after := testkit.New(t, testkit.Options{URL: before.Database, Key: before.Key, Clock: before.Clock})
	testkit.Eventually(t, "the purge", func() bool {
		var left int
		if err := after.SQL.QueryRow(t.Context(), "SELECT count(*) FROM tenant.workspaces").Scan(&left); err != nil {
			t.Fatal(err)
		}
		return left == 0
	})
	after.CheckPurged(t, owner.Workspace.Id, owner.User.Id)
}

// TestMailIsSentAfterTheServerWasDown has the mail of a call wait for a server that
// works the queue.
func TestMailIsSentAfterTheServerWasDown(t *testing.T) {
	t.Parallel()
	before := testkit.New(t, testkit.Options{WithoutJobs: true})
	email := testkit.NewEmail()
	if _, err := before.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{
		Email: email, Password: testkit.Password, WorkspaceName: "Acme",
	}); err != nil {
		t.Fatal(err)
	}
	if n := len(before.Mails(t, email)); n != 0 {
		t.Fatalf("%d mails were sent", n)
	}
	after := testkit.New(t, testkit.Options{URL: before.Database, Key: before.Key})
	after.Code(t, email)
}

// TestAMailThatCannotBeSentIsLogged lets nobody wonder why no code arrives.
func TestAMailThatCannotBeSentIsLogged(t *testing.T) {
	t.Parallel()
	srv := testkit.New(t, testkit.Options{})
	if err := os.RemoveAll(srv.MailboxDir); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{
		Email: testkit.NewEmail(), Password: testkit.Password, WorkspaceName: "Acme",
	}); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "the warning", func() bool {
		return strings.Contains(srv.Log.String(), `level=WARN msg="a job failed" kind=mail attempt=1 of=12`)
	})
}
