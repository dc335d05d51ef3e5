package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/logicspike/manager/internal/testkit"
	"github.com/logicspike/manager/store"
)

// TestInvoicesOnTheCommandLine lists and settles invoices while the server runs.
func TestInvoicesOnTheCommandLine(t *testing.T) {
	database, _ := testkit.NewPostgres(t)
	conn, err := pgx.Connect(t.Context(), database.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "CREATE DATABASE invoices"); err != nil {
		t.Fatal(err)
	}
	url := database.URL("invoices")
	if err := store.Migrate(t.Context(), url); err != nil {
		t.Fatal(err)
	}
	srv := testkit.New(t, testkit.Options{URL: url})
	t.Setenv("MANAGER_SECRET_KEY", srv.Key.Encode())
	t.Setenv("MANAGER_DATABASE_URL", url)
	run := func(want int, args ...string) string {
		t.Helper()
		var out, errOut bytes.Buffer
		if status := execute(append([]string{"invoice"}, args...), &out, &errOut); status != want {
			t.Fatalf("%q: status %d\n%s%s", args, status, &out, &errOut)
		}
		return out.String() + errOut.String()
	}
	if got := run(statusDone, "list"); !strings.HasSuffix(got, "0 invoices\n") {
		t.Errorf("at first: %s", got)
	}
	ann := srv.Register(t)
	for range 3 {
		srv.Invoice(t, ann.Workspace.Id)
	}
	got := run(statusDone, "list", "--open")
	if !strings.Contains(got, "INV-000003  open   EUR 20.00") || !strings.Contains(got, ann.Workspace.Id) || !strings.HasSuffix(got, "3 invoices\n") ||
		strings.Index(got, "INV-000003") > strings.Index(got, "INV-000001") {
		t.Errorf("three that are open: %s", got)
	}
	if got := run(statusDone, "list", "--limit=2"); !strings.HasSuffix(got, "2 invoices, and more\n") {
		t.Errorf("two of them: %s", got)
	}
	for range 2 { // the second time it is so already
		if got := run(statusDone, "paid", "INV-000001", "--note=Transfer 4711"); got != "INV-000001 over EUR 20.00 is paid\n" {
			t.Errorf("paid: %s", got)
		}
		if got := run(statusDone, "void", "INV-000002", "--reason=A mistake"); got != "INV-000002 over EUR 20.00 is void\n" {
			t.Errorf("void: %s", got)
		}
	}
	testkit.Eventually(t, "the mail of the payment", func() bool {
		return strings.Contains(srv.Mails(t, ann.Email)[0].Subject, "INV-000001")
	})
	for _, wrong := range []struct {
		want   string
		status int
		args   []string
	}{
		{"there is no invoice INV-000009", statusFailed, []string{"paid", "INV-000009"}},
		{"the invoice is paid", statusFailed, []string{"void", "INV-000001", "--reason=x"}},
		{"the invoice is void", statusFailed, []string{"paid", "INV-000002"}},
		{"--reason must be a line of 1 to 500 characters", statusFailed, []string{"void", "INV-000003", "--reason="}},
		{"--note must be a line of 0 to 500 characters", statusFailed, []string{"paid", "INV-000003", "--note=" + strings.Repeat("x", 501)}},
		{"--reason", statusUsage, []string{"void", "INV-000003"}},
		{"--limit", statusFailed, []string{"list", "--limit=0"}},
	} {
		if got := run(wrong.status, wrong.args...); !strings.Contains(got, wrong.want) {
			t.Errorf("%q: %s", wrong.args, got)
		}
	}
	if got := run(statusDone, "list", "--open"); !strings.Contains(got, "INV-000003") || !strings.HasSuffix(got, "\n1 invoice\n") {
		t.Errorf("one is open: %s", got)
	}
	srv.CheckInvariants(t)
}
