package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
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

// TestMailIsSentWhileThePaymentProviderHangs: whoever waits for a code does not wait for
// that.
func TestMailIsSentWhileThePaymentProviderHangs(t *testing.T) {
	t.Parallel()
	over := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	defer hangs.Close()
	defer close(over)
	stripe := &testkit.Stripe{URL: hangs.URL}
	srv := testkit.New(t, testkit.Options{Settings: stripe.Settings})
	srv.Secret(testkit.StripeKey, testkit.StripeWebhookSecret)
	for n := range 4 {
		stripe.Tell(t, srv, testkit.StripeWebhookSecret, fmt.Sprintf("evt_%d", n), "customer.subscription.updated", map[string]any{"id": "sub_1", "object": "subscription"})
	}
	begin := time.Now()
	email := testkit.NewEmail()
	if _, err := srv.Client("").Registration.Register(t.Context(), &authv1.RegisterRequest{
		Email: email, Password: testkit.Password, WorkspaceName: "Acme",
	}); err != nil {
		t.Fatal(err)
	}
	srv.Code(t, email)
	if took := time.Since(begin); took > 9*time.Second {
		t.Errorf("the code came after %v", took)
	}
}
