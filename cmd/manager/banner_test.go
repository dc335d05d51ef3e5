package main

import (
	"strings"
	"testing"
	"time"
)

func TestBanner(t *testing.T) {
	b := banner{
		Version: "v1.2.3", Took: 123456789 * time.Nanosecond, API: "localhost:8080", Admin: "localhost:9090",
		Console: true, Mailbox: true, Database: "private server in manager-data", DataDir: "/srv/manager-data", Grpcurl: true,
	}
	const want = `
LogicSpike Manager v1.2.3 is ready, after 123ms.

  API       http://localhost:8080  (Connect, gRPC and gRPC-Web)
  Console   http://localhost:8080/
  Mailbox   http://localhost:8080/mailbox/  (all mail goes here)
  Health    http://localhost:8080/healthz, http://localhost:8080/readyz
  Admin     http://localhost:9090/metrics, http://localhost:9090/debug/pprof/
  Database  private server in manager-data
  Data      /srv/manager-data

Try it:

  grpcurl -plaintext -d '{"email": "ada@example.com", "password": "maple-lantern-quartz", "workspace_name": "Analytical Engines"}' \
    localhost:8080 logicspike.auth.v1.RegistrationService/Register

Ctrl-C ends it.

`
	if got := printed(t, b); got != want {
		t.Errorf("got\n%s", got)
	}
	b.Console, b.Mailbox, b.Admin, b.Grpcurl = false, false, "", false
	got := printed(t, b)
	for _, gone := range []string{"Mailbox", "Admin", "grpcurl"} {
		if strings.Contains(got, gone) {
			t.Errorf("it still shows %s:\n%s", gone, got)
		}
	}
	if !strings.Contains(got, "\n  Console   not in this program") {
		t.Errorf("it does not tell that there is no console:\n%s", got)
	}
	if !strings.Contains(got, "http://localhost:8080/logicspike.auth.v1.RegistrationService/Register") {
		t.Errorf("it shows nothing to try:\n%s", got)
	}
}

func printed(t *testing.T, b banner) string {
	t.Helper()
	var out strings.Builder
	if err := b.print(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}
